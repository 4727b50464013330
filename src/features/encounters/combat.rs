//! Hit points, conditions, counters.

use serde_json::{Map, Value, json};

use super::combatant::{CONDITIONS_MAX, Combatant, Condition, Counter, NAME_LENGTH_MAX, POINTS_MAX, check_text};
use super::payloads::{Amount, ChangeCondition, Damage, SetCounter};
use super::state::Encounter;
use crate::document::rules::Rejection;

/// Who has it must prove that they keep it when they are hurt.
const CONCENTRATING: &str = "concentrating";
/// The least that a proof is against.
const DC_MIN: u32 = 10;
/// Most rounds of a condition.
const ROUNDS_MAX: u32 = 10_000;

impl Encounter {
    /// Hurts. Returns what is added to the event: a check for each who concentrates.
    pub(super) fn damage(&mut self, sent: &Damage) -> Result<Map<String, Value>, Rejection> {
        let targets = sent.targets()?;
        check_points(sent.amount)?;
        if let Some(stranger) = sent.half.iter().find(|id| !targets.contains(id)) {
            return Err(Rejection::new(format!("half names {stranger}, who is not hurt")));
        }
        let mut checks = Vec::new();
        for id in &targets {
            let amount = if sent.half.contains(id) { sent.amount / 2 } else { sent.amount };
            let combatant = self.combatant_mut(id)?;
            subtract_hit_points(combatant, amount);
            if amount > 0 && combatant.conditions.iter().any(|condition| condition.name == CONCENTRATING) {
                checks.push(json!({ "combatantId": id, "dc": DC_MIN.max(amount / 2) }));
            }
        }
        let mut added = Map::new();
        match checks.as_slice() {
            [] => {}
            [check] => drop(added.insert("check".to_owned(), check.clone())),
            _ => drop(added.insert("checks".to_owned(), json!(checks))),
        }
        Ok(added)
    }

    pub(super) fn heal(&mut self, sent: &Amount) -> Result<(), Rejection> {
        check_points(sent.amount)?;
        for id in sent.targets()? {
            let combatant = self.combatant_mut(&id)?;
            let points = &mut combatant.hit_points;
            points.current = points.current.saturating_add(sent.amount).min(points.maximum);
            combatant.down = combatant.down && combatant.hit_points.current == 0;
        }
        Ok(())
    }

    pub(super) fn set_temporary_hit_points(&mut self, sent: &Amount) -> Result<(), Rejection> {
        check_points(sent.amount)?;
        for id in sent.targets()? {
            let points = &mut self.combatant_mut(&id)?.hit_points;
            points.temporary = points.temporary.max(sent.amount);
        }
        Ok(())
    }

    pub(super) fn add_condition(&mut self, sent: &ChangeCondition) -> Result<(), Rejection> {
        check_text(&sent.name, "a condition's name")?;
        if sent.rounds.is_some_and(|rounds| !(1..=ROUNDS_MAX).contains(&rounds)) {
            return Err(Rejection::new(format!("rounds is 1 to {ROUNDS_MAX}; left out, the condition stays")));
        }
        for id in sent.targets()? {
            let conditions = &mut self.combatant_mut(&id)?.conditions;
            if let Some(condition) = conditions.iter_mut().find(|condition| condition.name == sent.name) {
                condition.rounds = sent.rounds;
            } else if conditions.len() >= CONDITIONS_MAX {
                return Err(Rejection::new(format!("{id} has {CONDITIONS_MAX} conditions already")));
            } else {
                conditions.push(Condition { name: sent.name.clone(), rounds: sent.rounds });
            }
        }
        Ok(())
    }

    pub(super) fn remove_condition(&mut self, sent: &ChangeCondition) -> Result<(), Rejection> {
        let targets = sent.targets()?;
        let mut removed = false;
        for id in &targets {
            let conditions = &mut self.combatant_mut(id)?.conditions;
            let before = conditions.len();
            conditions.retain(|condition| condition.name != sent.name);
            removed |= conditions.len() < before;
        }
        if removed {
            return Ok(());
        }
        Err(Rejection::new(format!("{} has no condition of this name", targets.join(", "))))
    }

    pub(super) fn set_counter(&mut self, sent: &SetCounter) -> Result<(), Rejection> {
        if sent.name.is_empty() || sent.name.len() > NAME_LENGTH_MAX {
            return Err(Rejection::new(format!("a counter's name is 1 to {NAME_LENGTH_MAX} bytes")));
        }
        let combatant = self.combatant_mut(&sent.combatant_id)?;
        let before = combatant.counters.get(&sent.name).copied();
        if before.is_none() && combatant.counters.len() >= CONDITIONS_MAX {
            return Err(Rejection::new(format!("a combatant has at most {CONDITIONS_MAX} counters")));
        }
        let maximum = sent.maximum.or(before.and_then(|counter| counter.maximum));
        let bound = maximum.unwrap_or(POINTS_MAX).min(POINTS_MAX);
        let value = match (sent.value, sent.delta) {
            (Some(value), None) => i64::from(value),
            (None, Some(delta)) => i64::from(before.map_or(0, |counter| counter.value)).saturating_add(delta),
            _ => return Err(Rejection::new("give either value or delta")),
        };
        let value = u32::try_from(value.clamp(0, i64::from(bound))).unwrap_or(bound);
        combatant.counters.insert(sent.name.clone(), Counter { value, maximum });
        Ok(())
    }
}

/// Temporary hit points go first, and what is left never goes below 0.
fn subtract_hit_points(combatant: &mut Combatant, amount: u32) {
    let points = &mut combatant.hit_points;
    let absorbed = amount.min(points.temporary);
    points.temporary -= absorbed;
    points.current = points.current.saturating_sub(amount - absorbed);
    combatant.down = combatant.down || points.current == 0;
}

fn check_points(amount: u32) -> Result<(), Rejection> {
    if amount <= POINTS_MAX { Ok(()) } else { Err(Rejection::new(format!("amount is 0 to {POINTS_MAX}"))) }
}
