//! What comes of an encounter when a device that was away brings its edits.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::combatant::{Combatant, Condition, HitPoints};
use super::state::{Encounter, EncounterStatus, NOTES_MAX, Note, check_note};
use crate::base::ids::UserId;
use crate::document::json::whole_value;
use crate::document::merge::strategies::{MergeRules, Strategy};
use crate::document::rules::Rejection;

const COMPLETED: &str = "the encounter is completed: it takes only note";
/// Most turns in a row that a player's device may have ended.
const TURNS_ENDED_MAX: usize = 50;

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

/// What a player's edits make of `before`: what their actions could do. Error: it goes beyond.
pub(super) fn as_player(before: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    if before.status == EncounterStatus::Completed {
        let after = with_notes(before, merged, player)?;
        let mut expected = after.clone();
        expected.notes.clone_from(&merged.notes);
        let only_notes = expected.shown()? == merged.shown()?;
        return only_notes.then_some(after).ok_or_else(|| Rejection::new(COMPLETED));
    }
    // Whether the initiative was set before the turn ended, or after it, nobody knows.
    let acted = with_own(before.clone(), merged, player)?;
    let ended = match with_turns(acted, merged, player) {
        Ok(ended) => ended,
        Err(_) => with_own(with_turns(before.clone(), merged, player)?, merged, player)?,
    };
    let ended = with_own_conditions(ended, merged, player)?;
    let after = with_notes(ended, merged, player)?;
    if as_shown(&before, &after, merged, player)? { Ok(after) } else { Err(beyond()) }
}

fn beyond() -> Rejection {
    Rejection::new("a player's edits may only do to their own combatants what their actions could")
}

/// Whether players see of `merged` what they see of `after`, but for what stands in it as it was `before`.
fn as_shown(before: &Encounter, after: &Encounter, merged: &Encounter, player: &UserId) -> Result<bool, Rejection> {
    let mut expected = after.clone();
    expected.notes.clone_from(&merged.notes);
    let reordered = after.combatants.iter().any(|(id, combatant)| {
        before.combatants.get(id).is_none_or(|before| before.initiative != combatant.initiative)
    });
    if reordered {
        expected.order.clone_from(&merged.order);
    }
    // The device has taken a round off the conditions that it knew.
    for (id, combatant) in expected.combatants.iter_mut().filter(|(_, combatant)| !combatant.is_of(player)) {
        let (Some(then), Some(brought)) = (before.combatants.get(id), merged.combatants.get(id)) else { continue };
        let known =
            |condition: &Condition| combatant.conditions.contains(condition) || then.conditions.contains(condition);
        let kept = |condition: &Condition| brought.conditions.iter().any(|other| other.name == condition.name);
        if brought.conditions.iter().all(known) && combatant.conditions.iter().all(kept) {
            combatant.conditions.clone_from(&brought.conditions);
        }
    }
    Ok(expected.shown()? == merged.shown()?)
}

/// The player's own combatants as they brought them, but for their conditions.
fn with_own(mut after: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    let mut reordered = false;
    for (id, combatant) in &mut after.combatants {
        let Some(brought) = merged.combatants.get(id).filter(|_| combatant.is_of(player)) else { continue };
        reordered |= combatant.initiative != brought.initiative;
        let hit_points = HitPoints { maximum: combatant.hit_points.maximum, ..brought.hit_points };
        let Combatant { initiative, down, .. } = *brought;
        *combatant = Combatant { hit_points, initiative, down, ..combatant.clone() };
    }
    if reordered {
        after.initiatives_changed();
    }
    Ok(after)
}

/// Their conditions: what the end of a round took off is as the device has it.
fn with_own_conditions(mut after: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    for (id, combatant) in after.combatants.iter_mut().filter(|(_, combatant)| combatant.is_of(player)) {
        if let Some(brought) = merged.combatants.get(id) {
            combatant.conditions.clone_from(&brought.conditions);
        }
        combatant.check(id)?;
    }
    Ok(after)
}

/// Ends the player's turns until it is whose turn the device says. Error: that does not come of ending their turns.
fn with_turns(from: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    let there = |encounter: &Encounter| (&encounter.turn, encounter.round) == (&merged.turn, merged.round);
    if there(&from) {
        return Ok(from);
    }
    // With and without those who are down; a player may have several turns in a row.
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    for _ in 0..TURNS_ENDED_MAX {
        let mut after = Vec::new();
        for encounter in next {
            let own = encounter.turn.as_ref().and_then(|turn| encounter.combatants.get(turn));
            if !own.is_some_and(|combatant| combatant.is_of(player)) {
                continue;
            }
            for skip_down in [false, true] {
                let mut ended = encounter.clone();
                if ended.next_turn(skip_down, [0; 32]).is_err() {
                    continue;
                }
                if ended.round > encounter.round && ended.reroll_each_round {
                    return Err(Rejection::new("initiative is rolled anew for this round: end the turn with endTurn"));
                }
                if there(&ended) {
                    return Ok(ended);
                }
                if reached.insert((ended.turn.clone(), ended.round)) {
                    after.push(ended);
                }
            }
        }
        next = after;
    }
    Err(beyond())
}

/// The notes that the player wrote, behind all others. Error: other notes are not as they were.
fn with_notes(mut after: Encounter, merged: &Encounter, player: &UserId) -> Result<Encounter, Rejection> {
    let mut left = after.notes.clone();
    let mut added = Vec::new();
    for note in &merged.notes {
        match left.iter().position(|known| known == note) {
            Some(at) => drop(left.remove(at)),
            None => added.push(note.clone()),
        }
    }
    // The device let the oldest go as the server would have.
    let surplus = (after.notes.len() + added.len()).saturating_sub(NOTES_MAX);
    let gone = left.iter().zip(&after.notes).filter(|(left, oldest)| left == oldest).count();
    let own = |note: &Note| note.by == player.as_str() && check_note(&note.text).is_ok();
    let takes_part = after.combatants.values().any(|combatant| combatant.is_of(player));
    if gone < left.len() || left.len() > surplus || !(added.is_empty() || takes_part) || !added.iter().all(own) {
        return Err(beyond());
    }
    added.into_iter().for_each(|note| after.add_note(note));
    Ok(after)
}
