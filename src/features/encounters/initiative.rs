//! Initiative: dice, and the order that comes of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::combatant::{Combatant, INITIATIVE_MAX};
use super::state::{Encounter, EncounterStatus, no_combatant};
use crate::document::rules::Rejection;

impl Encounter {
    pub(super) fn set_initiative(&mut self, id: &str, initiative: i64) -> Result<(), Rejection> {
        if initiative.abs() > INITIATIVE_MAX {
            return Err(Rejection::new(format!("initiative is at most {INITIATIVE_MAX}")));
        }
        self.combatant_mut(id)?.initiative = Some(initiative);
        self.initiatives_changed();
        Ok(())
    }

    /// Rolls for those named, or for all that have no initiative.
    pub(super) fn roll_initiative(&mut self, named: Option<Vec<String>>, seed: [u8; 32]) -> Result<(), Rejection> {
        if let Some(unknown) = named.iter().flatten().find(|id| !self.combatants.contains_key(*id)) {
            return Err(no_combatant(unknown));
        }
        let roll_for: BTreeSet<String> = match named {
            Some(named) => named.into_iter().collect(),
            None => self.without_initiative(),
        };
        if roll_for.is_empty() {
            return Err(Rejection::new("everybody has an initiative; name in combatantIds who rolls again"));
        }
        self.roll(&roll_for, seed);
        self.initiatives_changed();
        Ok(())
    }

    fn without_initiative(&self) -> BTreeSet<String> {
        let none = self.combatants.iter().filter(|(_, combatant)| combatant.initiative.is_none());
        none.map(|(id, _)| id.clone()).collect()
    }

    /// Rolls for everybody, and sorts.
    pub(super) fn reroll_all(&mut self, seed: [u8; 32]) {
        let all = self.combatants.keys().cloned().collect();
        self.roll(&all, seed);
        self.sort();
    }

    /// One die for each, and one for all of a group. In the order of ids, so that a seed always gives the same.
    fn roll(&mut self, roll_for: &BTreeSet<String>, seed: [u8; 32]) {
        let mut dice = StdRng::from_seed(seed);
        let mut groups: BTreeMap<String, i64> = BTreeMap::new();
        for (id, combatant) in &mut self.combatants {
            if !roll_for.contains(id) {
                continue;
            }
            let mut roll = || dice.random_range(1..=20_i64);
            let die = match &combatant.group {
                Some(group) => *groups.entry(group.clone()).or_insert_with(roll),
                None => roll(),
            };
            combatant.initiative = Some(die + dexterity_modifier(combatant));
        }
    }

    /// The order after initiatives changed.
    pub(super) fn initiatives_changed(&mut self) {
        if self.status == EncounterStatus::Planning { self.order_as_added() } else { self.sort() }
    }

    /// By initiative, then dexterity, then as it was; those without initiative last.
    pub(super) fn sort(&mut self) {
        let combatants = &self.combatants;
        self.order.sort_by_key(|id| Reverse(combatants.get(id).map(Combatant::precedence)));
    }

    /// Puts one that is not in the order where it belongs, and leaves the others where the host has them.
    pub(super) fn place(&mut self, id: &str) {
        if self.status == EncounterStatus::Planning {
            return self.order_as_added();
        }
        let precedence = |id: &String| self.combatants.get(id).map(Combatant::precedence);
        let own = precedence(&id.to_owned());
        let at = self.order.iter().position(|other| precedence(other) < own).unwrap_or(self.order.len());
        self.order.insert(at, id.to_owned());
    }

    pub(super) fn reorder(&mut self, order: Vec<String>) -> Result<(), Rejection> {
        let named: BTreeSet<&String> = order.iter().collect();
        if named.len() != order.len() || !self.combatants.keys().eq(named) {
            return Err(Rejection::new("order must name each combatant once"));
        }
        self.order = order;
        Ok(())
    }
}

/// What dexterity adds to a roll.
fn dexterity_modifier(combatant: &Combatant) -> i64 {
    (combatant.dexterity.unwrap_or(10) - 10).div_euclid(2)
}
