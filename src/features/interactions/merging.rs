//! What comes of an interaction when a device that was away brings its edits.

use serde_json::{Map, Value, json};

use crate::document::merge::strategies::MergeRules;

/// Participants are known by their player, and whose turn it is the server says.
pub(super) fn merge_rules() -> MergeRules {
    MergeRules::default().with_unit(&["turn", "round", "pending"]).with_id_member("/participants", "playerId")
}

/// Makes a merged state hold together: an order with each participant once, and a turn while it goes on.
pub(super) fn repair_turns(merged: &mut Map<String, Value>) {
    let list = |name: &str| merged.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let players: Vec<Value> = list("participants").iter().filter_map(|one| one.get("playerId").cloned()).collect();
    let mut order: Vec<Value> = Vec::new();
    for player in list("order").iter().chain(&players) {
        if players.contains(player) && !order.contains(player) {
            order.push(player.clone());
        }
    }
    let mut status = merged.get("status").and_then(Value::as_str).unwrap_or("idle").to_owned();
    let mut goes_on = ["in-progress", "waiting-for-dm", "paused"].contains(&status.as_str());
    if goes_on && order.is_empty() {
        (status, goes_on) = ("waiting-for-players".to_owned(), false);
    }
    let (mut turn, mut pending) = (Value::Null, Value::Null);
    if goes_on {
        let named = merged.get("turn").filter(|turn| order.contains(turn)).or(order.first());
        turn = named.cloned().unwrap_or_default();
        let waits = merged.get("pending").filter(|pending| pending.get("playerId") == Some(&turn));
        pending = waits.cloned().unwrap_or_default();
        let round = merged.get("round").and_then(Value::as_u64).unwrap_or(0).max(1);
        merged.insert("round".to_owned(), json!(round));
        if status != "paused" {
            status = if pending.is_null() { "in-progress" } else { "waiting-for-dm" }.to_owned();
        }
    }
    let members = [("status", json!(status)), ("turn", turn), ("pending", pending), ("order", Value::Array(order))];
    merged.extend(members.map(|(name, value)| (name.to_owned(), value)));
}
