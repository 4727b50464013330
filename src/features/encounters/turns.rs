//! Whose turn it is, and how to take that back.

use std::collections::BTreeSet;

use super::combatant::{Combatant, Side};
use super::state::{ConditionChange, Encounter, EncounterStatus, RerollRecord, TurnRecord};
use crate::document::rules::Rejection;

/// What begins with a round.
#[derive(Default)]
struct RoundChange {
    conditions: Vec<ConditionChange>,
    reroll: Option<RerollRecord>,
}

impl Encounter {
    pub(super) fn start(&mut self) -> Result<(), Rejection> {
        if self.status != EncounterStatus::Planning {
            return Err(self.wrong_status("start"));
        }
        if !self.combatants.values().any(|combatant| combatant.initiative.is_some()) {
            return Err(Rejection::new("at least one combatant needs an initiative; send rollInitiative"));
        }
        self.sort();
        (self.status, self.round) = (EncounterStatus::Active, 1);
        self.turn = self.order.first().cloned();
        self.turns_mut().clear();
        Ok(())
    }

    pub(super) fn next_turn(&mut self, skip_down: bool, seed: [u8; 32]) -> Result<(), Rejection> {
        let current = self.current_turn()?;
        let round = self.round;
        let everybody_down = self.combatants.values().all(|combatant| combatant.down);
        if skip_down && everybody_down {
            return Err(Rejection::new("everybody is down; leave skipDown out"));
        }
        let after = self.order.iter().skip_while(|id| **id != current).skip(1);
        let next = after.clone().find(|id| self.takes_turn(id, skip_down)).cloned();
        let mut began = RoundChange::default();
        let next = match next {
            Some(next) => next,
            None => {
                began = self.begin_round(seed);
                let first = self.order.iter().find(|id| self.takes_turn(id, skip_down));
                first.cloned().ok_or_else(|| Rejection::new("there is nobody whose turn it could be"))?
            }
        };
        let RoundChange { conditions, reroll } = began;
        self.push_turn(TurnRecord { turn: current, round, delayed_from: None, reroll, conditions });
        self.turn = Some(next);
        Ok(())
    }

    fn takes_turn(&self, id: &str, skip_down: bool) -> bool {
        self.combatants.get(id).is_some_and(|combatant| !(skip_down && combatant.down))
    }

    /// Raises the round, lets conditions lose one, and rolls anew where that is wanted.
    fn begin_round(&mut self, seed: [u8; 32]) -> RoundChange {
        self.round = self.round.saturating_add(1);
        let conditions = self.combatants.iter_mut().flat_map(|(id, combatant)| lose_round(id, combatant)).collect();
        let mut reroll = None;
        if self.reroll_each_round {
            let initiatives = self.combatants.iter().map(|(id, combatant)| (id.clone(), combatant.initiative));
            reroll = Some(RerollRecord { order: self.order.clone(), initiatives: initiatives.collect() });
            self.reroll_all(seed);
        }
        RoundChange { conditions, reroll }
    }

    pub(super) fn delay_turn(&mut self, after: &str) -> Result<(), Rejection> {
        let current = self.current_turn()?;
        self.combatant(after)?;
        let place = |id: &str| self.order.iter().position(|other| other == id);
        let (Some(from), Some(to)) = (place(&current), place(after)) else {
            return Err(self.wrong_status("delayTurn"));
        };
        if to <= from {
            return Err(Rejection::new("a turn can be delayed only behind one that is still to come in this round"));
        }
        let next = self.order.get(from + 1).cloned();
        self.order.remove(from);
        self.order.insert(to, current.clone());
        let (round, delayed_from) = (self.round, next.clone());
        self.push_turn(TurnRecord { turn: current, round, delayed_from, reroll: None, conditions: Vec::new() });
        self.turn = next;
        Ok(())
    }

    /// Takes back the last turn that passed or was delayed.
    pub(super) fn previous_turn(&mut self) -> Result<(), Rejection> {
        self.current_turn()?;
        let record = self.pop_turn().ok_or_else(|| Rejection::new("this is the first turn"))?;
        let TurnRecord { turn, round, delayed_from, reroll, conditions } = record;
        for change in conditions.into_iter().rev() {
            if let Some(combatant) = self.combatants.get_mut(&change.combatant_id) {
                give_round_back(combatant, change);
            }
        }
        if let Some(RerollRecord { order, initiatives }) = reroll {
            for (id, initiative) in initiatives {
                if let Some(combatant) = self.combatants.get_mut(&id) {
                    combatant.initiative = initiative;
                }
            }
            self.restore_order(order);
        }
        if let Some(at) = delayed_from.and_then(|next| self.order.iter().position(|id| *id == next))
            && let Some(from) = self.order.iter().position(|id| *id == turn).filter(|from| *from > at)
        {
            let delayed = self.order.remove(from);
            self.order.insert(at, delayed);
        }
        (self.turn, self.round) = (Some(turn), round);
        Ok(())
    }

    /// Orders as `before`; who was added since stays behind whom they stand now.
    fn restore_order(&mut self, before: Vec<String>) {
        let known: BTreeSet<&String> = before.iter().collect();
        let mut order: Vec<String> = before.iter().filter(|id| self.combatants.contains_key(*id)).cloned().collect();
        let mut previous: Option<&String> = None;
        for id in &self.order {
            if !known.contains(id) {
                let at = previous.and_then(|previous| order.iter().position(|other| other == previous));
                order.insert(at.map_or(0, |at| at + 1), id.clone());
            }
            previous = Some(id);
        }
        self.order = order;
    }

    /// Removes a combatant. If it is their turn, it passes on.
    pub(super) fn remove_combatant(&mut self, id: &str, seed: [u8; 32]) -> Result<(), Rejection> {
        self.combatant(id)?;
        if self.status.has_turn() && self.combatants.len() == 1 {
            return Err(Rejection::new("the last combatant stays as long as the encounter goes on; complete it"));
        }
        let place = self.order.iter().position(|other| other == id);
        let next = place.and_then(|place| self.order.get(place + 1)).cloned();
        self.take(id)?;
        self.forget_turns_of(id, next.as_ref());
        if self.turn.as_deref() != Some(id) {
            return Ok(());
        }
        let next = match next {
            Some(next) => Some(next),
            None => {
                let RoundChange { conditions, reroll } = self.begin_round(seed);
                if let Some(last) = self.turns_mut().last_mut() {
                    last.conditions.extend(conditions);
                    last.reroll = last.reroll.take().or(reroll);
                }
                self.order.first().cloned()
            }
        };
        self.turn = next;
        Ok(())
    }

    /// Nothing that can be taken back leads to this combatant any more: the turn before theirs leads to the one after.
    fn forget_turns_of(&mut self, id: &str, next: Option<&String>) {
        let mut kept: Vec<TurnRecord> = Vec::new();
        for mut record in std::mem::take(self.turns_mut()) {
            record.conditions.retain(|change| change.combatant_id != id);
            if let Some(reroll) = &mut record.reroll {
                reroll.order.retain(|other| other != id);
                reroll.initiatives.remove(id);
            }
            if record.delayed_from.as_deref() == Some(id) {
                record.delayed_from = next.cloned();
            }
            match (record.turn == id, kept.last_mut()) {
                (false, _) => kept.push(record),
                (true, Some(before)) => {
                    before.conditions.extend(record.conditions);
                    before.reroll = before.reroll.take().or(record.reroll);
                }
                (true, None) => {}
            }
        }
        *self.turns_mut() = kept;
    }

    /// Back to planning: foes, or with `keep_party` false everybody, go, and with them round and conditions.
    pub(super) fn reset(&mut self, keep_party: bool) -> Result<(), Rejection> {
        let goes = |combatant: &Combatant| !keep_party || combatant.side == Side::Foe;
        let going = self.combatants.iter().filter(|(_, combatant)| goes(combatant)).map(|(id, _)| id.clone());
        for id in going.collect::<Vec<_>>() {
            self.take(&id)?;
        }
        self.combatants.values_mut().for_each(|combatant| combatant.conditions.clear());
        (self.status, self.round, self.turn) = (EncounterStatus::Planning, 0, None);
        self.turns_mut().clear();
        self.order_as_added();
        Ok(())
    }

    pub(super) fn pause(&mut self) -> Result<(), Rejection> {
        self.change_status("pause", &[EncounterStatus::Active], EncounterStatus::Paused)
    }

    pub(super) fn resume(&mut self) -> Result<(), Rejection> {
        self.change_status("resume", &[EncounterStatus::Paused], EncounterStatus::Active)
    }

    pub(super) fn complete(&mut self) -> Result<(), Rejection> {
        self.change_status(
            "complete",
            &[EncounterStatus::Active, EncounterStatus::Paused],
            EncounterStatus::Completed,
        )?;
        self.turn = None;
        self.turns_mut().clear();
        Ok(())
    }

    fn change_status(&mut self, action: &str, from: &[EncounterStatus], to: EncounterStatus) -> Result<(), Rejection> {
        if !from.contains(&self.status) {
            return Err(self.wrong_status(action));
        }
        self.status = to;
        Ok(())
    }

    /// Whose turn it is. Error: it is nobody's, or turns are paused.
    fn current_turn(&self) -> Result<String, Rejection> {
        let turn = self.turn.clone().filter(|_| self.status == EncounterStatus::Active);
        turn.ok_or_else(|| Rejection::new(format!("turns pass only while active: it is {}", self.status.name())))
    }

    fn wrong_status(&self, action: &str) -> Rejection {
        Rejection::new(format!("the encounter is {}: it cannot {action} now", self.status.name()))
    }
}

/// Takes a round off each condition that has some.
fn lose_round(id: &str, combatant: &mut Combatant) -> Vec<ConditionChange> {
    let mut changes = Vec::new();
    let mut at = 0;
    while let Some(condition) = combatant.conditions.get_mut(at) {
        let before = condition.clone();
        let Some(rounds) = condition.rounds else {
            at += 1;
            continue;
        };
        let gone = rounds <= 1;
        changes.push(ConditionChange { combatant_id: id.to_owned(), before, gone_from: gone.then_some(at) });
        if gone {
            combatant.conditions.remove(at);
        } else {
            condition.rounds = Some(rounds - 1);
            at += 1;
        }
    }
    changes
}

/// Puts a condition back as it was, unless somebody has changed it since.
fn give_round_back(combatant: &mut Combatant, ConditionChange { before, gone_from, .. }: ConditionChange) {
    let now = combatant.conditions.iter_mut().find(|condition| condition.name == before.name);
    match (now, gone_from) {
        (None, Some(at)) => combatant.conditions.insert(at.min(combatant.conditions.len()), before),
        (Some(now), None) if now.rounds == before.rounds.map(|rounds| rounds.saturating_sub(1)) => *now = before,
        _ => {}
    }
}
