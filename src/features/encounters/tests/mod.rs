#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]

mod actions;
mod concealed;
mod merging;
mod notices;
mod random;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::rules::EncounterRules;
use crate::base::clock::Timestamp;
use crate::base::ids::UserId;
use crate::document::rules::{Action, Actor, Applied, Documents, Rejection, Rules as _};

/// Documents by name.
pub(super) struct StoredEncounter(pub(super) BTreeMap<&'static str, Value>);

impl Documents for StoredEncounter {
    fn state(&self, collection: &str, id: &str) -> Option<Value> {
        self.0.get(format!("{collection}/{id}").as_str()).cloned()
    }
}

fn stored() -> StoredEncounter {
    let members = json!([{ "name": "Ana", "playerId": "ana", "hitPoints": 22, "dexterity": 14 },
                         { "name": "Bo", "playerId": "bo", "hitPoints": { "current": 5, "maximum": 18 } }]);
    StoredEncounter(BTreeMap::from([
        ("creatures/goblin", json!({ "name": "Goblin", "armorClass": 15, "hitPoints": 7, "dexterity": 14, "xp": 50 })),
        ("parties/heroes", json!({ "members": members })),
        ("parties/broken", json!({ "members": [{ "name": "Ana" }] })),
    ]))
}

pub(super) fn actor(id: &str) -> Actor {
    Actor { id: UserId::new(id).unwrap(), host: id == "host" }
}

pub(super) fn create(state: &Value) -> Value {
    EncounterRules.create(state.clone(), &actor("host")).unwrap()
}

/// What `who` does, with dice that always fall alike for a seed.
pub(super) fn attempt(state: &Value, who: &str, kind: &str, payload: &Value, seed: u8) -> Result<Applied, Rejection> {
    let action = Action { kind, payload, at: Timestamp::from_millis(1_000), seed: [seed; 32] };
    EncounterRules.decide(state, &action, &actor(who), &stored())
}

/// The state after the host's action.
#[track_caller]
pub(super) fn after(state: &Value, kind: &str, payload: &Value) -> Value {
    attempt(state, "host", kind, payload, 1).unwrap().state
}

/// The state after several actions of the host.
#[track_caller]
fn play(state: &Value, actions: &[(&str, Value)]) -> Value {
    actions.iter().fold(state.clone(), |state, (kind, payload)| after(&state, kind, payload))
}

#[track_caller]
fn rejection(state: &Value, who: &str, kind: &str, payload: &Value) -> String {
    attempt(state, who, kind, payload, 1).unwrap_err().message
}

/// Ana and Bo against an orc and a concealed spy, in this order of initiative, not yet begun.
pub(super) fn planned() -> Value {
    let combatants = json!({
        "ana": { "name": "Ana", "side": "party", "initiative": 17, "armorClass": 15, "hitPoints": 22,
                 "playerId": "ana", "conditions": [{ "name": "prone", "rounds": 2 }] },
        "bo": { "name": "Bo", "side": "party", "initiative": 12, "hitPoints": 18, "playerId": "bo" },
        "orc": { "name": "Orc", "side": "foe", "initiative": 15, "hitPoints": 15 },
        "spy": { "name": "Mirabel", "alias": "Shadow", "side": "foe", "initiative": 9, "hitPoints": 31,
                 "concealed": true },
    });
    create(&json!({ "name": "Goblin ambush", "combatants": combatants }))
}

pub(super) fn started() -> Value {
    after(&planned(), "start", &json!({}))
}
