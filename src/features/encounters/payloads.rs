//! What the actions are sent with.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::combatant::{Condition, Counter, HitPoints, Side};
use crate::base::ids::UserId;
use crate::document::rules::Rejection;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoPayload {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddCombatant {
    pub combatant_id: Option<String>,
    pub name: Option<String>,
    pub side: Option<Side>,
    pub initiative: Option<i64>,
    pub dexterity: Option<i64>,
    pub armor_class: Option<u32>,
    pub hit_points: Option<HitPoints>,
    pub player_id: Option<UserId>,
    #[serde(default)]
    pub concealed: bool,
    pub alias: Option<String>,
    pub creature_id: Option<String>,
    pub group: Option<String>,
    #[serde(default)]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub counters: BTreeMap<String, Counter>,
}

/// What is taken of a document of `creatures`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatBlock {
    pub name: Option<String>,
    pub dexterity: Option<i64>,
    pub armor_class: Option<u32>,
    pub hit_points: Option<HitPoints>,
}

/// What is taken of a document of `parties`.
#[derive(Deserialize)]
pub(super) struct Party {
    pub members: Vec<PartyMember>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartyMember {
    pub name: String,
    pub player_id: Option<UserId>,
    pub dexterity: Option<i64>,
    pub armor_class: Option<u32>,
    pub hit_points: HitPoints,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddParty {
    pub party_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Duplicate {
    pub combatant_id: String,
    pub count: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OneCombatant {
    pub combatant_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetInitiative {
    pub combatant_id: String,
    pub initiative: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RollInitiative {
    pub combatant_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReorderCombatants {
    pub order: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reset {
    pub keep_party: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NextTurn {
    #[serde(default)]
    pub skip_down: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelayTurn {
    pub after: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Damage {
    combatant_id: Option<String>,
    combatant_ids: Option<Vec<String>>,
    pub amount: u32,
    #[serde(default)]
    pub half: Vec<String>,
    /// Of what kind; for the record alone.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "only its type is checked: the event carries it")]
    pub kind: Option<String>,
}

impl Damage {
    pub(super) fn targets(&self) -> Result<Vec<String>, Rejection> {
        targets(self.combatant_id.as_ref(), self.combatant_ids.as_ref())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Amount {
    combatant_id: Option<String>,
    combatant_ids: Option<Vec<String>>,
    pub amount: u32,
}

impl Amount {
    pub(super) fn targets(&self) -> Result<Vec<String>, Rejection> {
        targets(self.combatant_id.as_ref(), self.combatant_ids.as_ref())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangeCondition {
    combatant_id: Option<String>,
    combatant_ids: Option<Vec<String>>,
    pub name: String,
    pub rounds: Option<u32>,
}

impl ChangeCondition {
    pub(super) fn targets(&self) -> Result<Vec<String>, Rejection> {
        targets(self.combatant_id.as_ref(), self.combatant_ids.as_ref())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SetCounter {
    pub combatant_id: String,
    pub name: String,
    pub value: Option<u32>,
    pub delta: Option<i64>,
    pub maximum: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AddNote {
    pub text: Option<String>,
}

/// Who is meant: one, or several, each once.
fn targets(one: Option<&String>, several: Option<&Vec<String>>) -> Result<Vec<String>, Rejection> {
    let named = match (one, several) {
        (Some(one), None) => vec![one.clone()],
        (None, Some(several)) => several.clone(),
        _ => return Err(Rejection::new("name either combatantId or combatantIds")),
    };
    let distinct: std::collections::BTreeSet<&String> = named.iter().collect();
    if named.is_empty() || distinct.len() < named.len() {
        return Err(Rejection::new("combatantIds must name at least one combatant, and each once"));
    }
    Ok(named)
}
