//! Who takes part.

use std::collections::BTreeMap;

use super::combatant::{Combatant, HitPoints, Side};
use super::payloads::{AddCombatant, Party, PartyMember, StatBlock};
use super::state::Encounter;
use crate::base::ids::{DocumentId, UserId};
use crate::document::rules::{Documents, Rejection, read_as};

/// Most copies that are made at once.
const COPIES_MAX: usize = 50;
/// Longest part of a name that an id is made of, bytes; a number may come behind it.
const SLUG_LENGTH_MAX: usize = 40;

impl Encounter {
    /// Adds a combatant and returns its id.
    pub(super) fn add_combatant(&mut self, sent: AddCombatant, documents: &dyn Documents) -> Result<String, Rejection> {
        let block = match &sent.creature_id {
            Some(id) => Some(stat_block(id, documents)?),
            None => None,
        };
        let block = block.as_ref();
        let missing =
            |name: &str| Rejection::new(format!("{name} is missing, and there is no creature to take it from"));
        let name = sent.name.or_else(|| block?.name.clone()).ok_or_else(|| missing("name"))?;
        let side = sent.side.or(block.map(|_| Side::Foe)).ok_or_else(|| missing("side"))?;
        let hit_points = sent.hit_points.or_else(|| block?.hit_points).ok_or_else(|| missing("hitPoints"))?;
        let combatant = Combatant {
            side,
            initiative: sent.initiative,
            dexterity: sent.dexterity.or_else(|| block?.dexterity),
            armor_class: sent.armor_class.or_else(|| block?.armor_class),
            hit_points,
            conditions: sent.conditions,
            down: hit_points.current == 0,
            concealed: sent.concealed,
            alias: sent.alias,
            player_id: sent.player_id,
            group: sent.group,
            counters: sent.counters,
            creature_id: sent.creature_id,
            name,
            extra: serde_json::Map::new(),
        };
        let id = sent.combatant_id.unwrap_or_else(|| self.new_id(&combatant));
        self.admit(id, combatant)
    }

    pub(super) fn add_party(&mut self, id: &str, documents: &dyn Documents) -> Result<(), Rejection> {
        let unknown = || Rejection::new(format!("there is no document parties/{id} that you may see"));
        let party: Party = read_as(&documents.state("parties", id).ok_or_else(unknown)?, &format!("parties/{id}"))?;
        for PartyMember { name, player_id, dexterity, armor_class, hit_points } in party.members {
            let combatant = Combatant { dexterity, armor_class, player_id, ..plain(name, Side::Party, hit_points) };
            let id = self.new_id(&combatant);
            self.admit(id, combatant)?;
        }
        Ok(())
    }

    fn admit(&mut self, id: String, combatant: Combatant) -> Result<String, Rejection> {
        self.insert(id.clone(), combatant)?;
        self.place(&id);
        Ok(id)
    }

    /// Makes copies, with hit points of their own, numbered after the one that they are made of.
    pub(super) fn duplicate(&mut self, id: &str, count: usize) -> Result<(), Rejection> {
        if !(1..=COPIES_MAX).contains(&count) {
            return Err(Rejection::new(format!("count is 1 to {COPIES_MAX}")));
        }
        let original = self.combatant(id)?.clone();
        let HitPoints { maximum, .. } = original.hit_points;
        for _ in 0..count {
            let mut copy = Combatant {
                hit_points: HitPoints { current: maximum, maximum, temporary: 0 },
                conditions: Vec::new(),
                down: false,
                ..original.clone()
            };
            copy.name = numbered(&original.name, self.combatants.values().map(|other| &other.name));
            if let Some(alias) = &original.alias {
                let others = self.combatants.values().filter_map(|other| other.alias.as_ref());
                copy.alias = Some(numbered(alias, others));
            }
            let id = self.new_id(&copy);
            self.admit(id, copy)?;
        }
        Ok(())
    }

    pub(super) fn reveal(&mut self, id: &str) -> Result<(), Rejection> {
        let combatant = self.combatant_mut(id)?;
        if !combatant.concealed {
            return Err(Rejection::new(format!("{id} is not concealed")));
        }
        combatant.concealed = false;
        combatant.alias = None;
        Ok(())
    }

    /// An id that nobody has, made of the name that everybody sees.
    fn new_id(&self, combatant: &Combatant) -> String {
        let shown = combatant.alias.as_ref().filter(|_| combatant.concealed).unwrap_or(&combatant.name);
        let slug = slug(shown);
        let numbered = (2..).map(|number: u32| format!("{slug}-{number}"));
        let free = |id: &String| !self.combatants.contains_key(id);
        std::iter::once(slug.clone()).chain(numbered).find(free).unwrap_or_default()
    }

    /// Whether a player may act for all of these. Error: names the first who is not theirs.
    pub(super) fn check_own(&self, ids: &[String], player: &UserId) -> Result<(), Rejection> {
        for id in ids {
            if !self.combatant(id)?.is_of(player) {
                return Err(Rejection::new(format!("{id} is not your combatant")));
            }
        }
        Ok(())
    }
}

fn plain(name: String, side: Side, hit_points: HitPoints) -> Combatant {
    Combatant {
        name,
        side,
        initiative: None,
        dexterity: None,
        armor_class: None,
        hit_points,
        conditions: Vec::new(),
        down: hit_points.current == 0,
        concealed: false,
        alias: None,
        player_id: None,
        group: None,
        counters: BTreeMap::new(),
        creature_id: None,
        extra: serde_json::Map::new(),
    }
}

fn stat_block(id: &str, documents: &dyn Documents) -> Result<StatBlock, Rejection> {
    let unknown = || Rejection::new(format!("there is no document creatures/{id} that you may see"));
    read_as(&documents.state("creatures", id).ok_or_else(unknown)?, &format!("creatures/{id}"))
}

/// `Goblin` as the next number that is free: `Goblin 2`, `Goblin 3`.
fn numbered<'a>(name: &str, others: impl Iterator<Item = &'a String>) -> String {
    let (base, _) = number_of(name);
    let highest = others.map(|other| number_of(other)).filter(|(other, _)| *other == base).map(|(_, number)| number);
    format!("{base} {}", highest.max().unwrap_or(1).saturating_add(1))
}

/// `Goblin 3` as `Goblin` and 3.
fn number_of(name: &str) -> (&str, u32) {
    let parts = name.rsplit_once(' ').and_then(|(base, number)| Some((base, number.parse().ok()?)));
    parts.unwrap_or((name, 1))
}

/// A name as an id.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() && slug.len() < SLUG_LENGTH_MAX {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if DocumentId::new(slug).is_ok() { slug.to_owned() } else { "combatant".to_owned() }
}
