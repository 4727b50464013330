//! What comes of an encounter when a device that was away brings its edits.

use serde_json::{Map, Value, json};

use super::state::{Combatant, Encounter, EncounterStatus, HitPoints};
use crate::base::ids::UserId;
use crate::document::json::whole_value;
use crate::document::merge::strategies::{MergeRules, Strategy};
use crate::document::rules::Rejection;

/// Changes of hit points and counters add up, conditions are known by their name, and whose turn it is the server says.
pub(super) fn merge_rules() -> MergeRules {
    let mut rules = MergeRules::default().with_unit(&["turn", "round"]);
    for of in ["/combatants/*", "/hidden/combatants/*"] {
        rules = rules
            .with_strategy(&format!("{of}/hitPoints/current"), Strategy::Counter)
            .with_strategy(&format!("{of}/counters/*/value"), Strategy::Counter)
            .with_strategy(&format!("{of}/down"), Strategy::Server)
            .with_id_member(&format!("{of}/conditions"), "name");
    }
    rules.with_strategy("/hidden/turns", Strategy::Server)
}

/// A merged state as an encounter that holds together: points within their bounds, who is down by their points, an
/// order with everybody once, and a turn of somebody who is there.
pub(super) fn consistent(mut merged: Value) -> Result<Encounter, Rejection> {
    for place in ["/combatants", "/hidden/combatants"] {
        let combatants = merged.pointer_mut(place).and_then(Value::as_object_mut);
        combatants.into_iter().flatten().for_each(|(_, combatant)| clamp(combatant));
    }
    if let Value::Object(members) = &mut merged {
        repair_order(members);
    }
    let mut encounter = Encounter::read(&merged)?;
    for combatant in encounter.combatants.values_mut() {
        combatant.down = combatant.hit_points.current == 0;
    }
    Ok(encounter)
}

/// Brings points and counters back within their bounds.
fn clamp(combatant: &mut Value) {
    let bound = |holder: &mut Value, name: &str| {
        let maximum = holder.get("maximum").and_then(whole_number).unwrap_or(i64::MAX).max(0);
        if let Some(value) = holder.get_mut(name)
            && let Some(number) = whole_number(value)
        {
            *value = json!(number.clamp(0, maximum));
        }
    };
    if let Some(points) = combatant.get_mut("hitPoints") {
        bound(points, "current");
    }
    for (_, counter) in combatant.get_mut("counters").and_then(Value::as_object_mut).into_iter().flatten() {
        bound(counter, "value");
    }
}

/// The whole number that a value is, however it is spelled.
fn whole_number(value: &Value) -> Option<i64> {
    value.as_number().and_then(whole_value).and_then(|number| i64::try_from(number).ok())
}

/// Both sides may have added, removed and ordered combatants: the order follows who is there.
fn repair_order(merged: &mut Map<String, Value>) {
    let there = merged.get("combatants").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut order: Vec<String> = Vec::new();
    let named = merged.get("order").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for id in named.chain(there.keys().map(String::as_str)) {
        if there.contains_key(id) && !order.iter().any(|other| other == id) {
            order.push(id.to_owned());
        }
    }
    let status = merged.get("status").and_then(Value::as_str).unwrap_or("planning").to_owned();
    let goes_on = ["active", "paused"].contains(&status.as_str()) && !order.is_empty();
    let turn = merged.get("turn").and_then(Value::as_str).filter(|turn| there.contains_key(*turn));
    let turn = turn.or(order.first().map(String::as_str)).filter(|_| goes_on).map(str::to_owned);
    if goes_on {
        let round = merged.get("round").and_then(whole_number).unwrap_or(0).max(1);
        merged.insert("round".to_owned(), json!(round));
    } else if status != "completed" {
        merged.insert("status".to_owned(), json!("planning"));
    }
    merged.insert("turn".to_owned(), json!(turn));
    merged.insert("order".to_owned(), json!(order));
}

/// What a player's edits make of `before`: what their actions could do to their own combatants. Error: it goes beyond.
pub(super) fn as_player(before: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    if before.status == EncounterStatus::Completed {
        return Err(Rejection::new("the encounter is completed: it takes only note"));
    }
    let mut after = before;
    let mut reordered = false;
    for (id, combatant) in &mut after.combatants {
        let Some(edited) = merged.combatants.get(id).filter(|_| combatant.is_of(player)) else { continue };
        reordered |= combatant.initiative != edited.initiative;
        let hit_points = HitPoints { maximum: combatant.hit_points.maximum, ..edited.hit_points };
        let Combatant { conditions, initiative, down, .. } = edited.clone();
        *combatant = Combatant { hit_points, conditions, initiative, down, ..combatant.clone() };
        combatant.check(id)?;
    }
    if reordered {
        after.initiatives_changed();
    }
    let mut may = after.clone();
    may.order.clone_from(&merged.order);
    if may.shown()? == merged.shown()? && (reordered || after.order == merged.order) {
        return Ok(after);
    }
    Err(Rejection::new("a player's edits may only do to their own combatants what their actions could"))
}
