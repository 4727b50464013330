//! The rules as the engine calls them: who may do what, then the encounter does it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::payloads::{
    AddCombatant, AddNote, AddParty, Amount, ChangeCondition, Damage, DelayTurn, Duplicate, NextTurn, NoPayload,
    OneCombatant, ReorderCombatants, Reset, RollInitiative, SetCounter, SetInitiative,
};
use super::state::{self, Encounter, EncounterStatus, check_note};
use super::{merging, notices};
use crate::document::merge::strategies::MergeRules;
use crate::document::notices::Notice;
use crate::document::rules::{Action, Actor, Applied, Documents, NoDocuments, Rejection, Rules};

/// What an encounter knows, for whoever asks for something else.
const KNOWN: &str = "an encounter knows addCombatant, addParty, duplicate, removeCombatant, reveal, setInitiative, \
                     rollInitiative, reorder, reset, start, nextTurn, endTurn, previousTurn, delayTurn, damage, heal, \
                     setTemporaryHitPoints, addCondition, removeCondition, setCounter, pause, resume, complete, note";

/// The rules of the collection `encounters`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncounterRules;

impl Rules for EncounterRules {
    fn create(&self, state: Value, _creator: &Actor) -> Result<Value, Rejection> {
        Encounter::read(&state)?.into_value()
    }

    fn example(&self) -> Option<Value> {
        Some(json!({ "name": "Goblin ambush" }))
    }

    fn apply(&self, state: &Value, action: &Action<'_>, actor: &Actor) -> Result<Value, Rejection> {
        self.decide(state, action, actor, &NoDocuments).map(|applied| applied.state)
    }

    fn decide(
        &self,
        state: &Value,
        action: &Action<'_>,
        actor: &Actor,
        documents: &dyn Documents,
    ) -> Result<Applied, Rejection> {
        let mut encounter = Encounter::read(state)?;
        if !actor.host {
            check_player(&encounter, action, actor)?;
        }
        if encounter.status == EncounterStatus::Completed && action.kind != "note" {
            return Err(Rejection::new("the encounter is completed: it takes only note"));
        }
        let mut concealed = encounter.concealed();
        let added = act(&mut encounter, action, actor, documents)?;
        concealed.append(&mut encounter.concealed());
        let payload = event_payload(action.payload, added, &concealed);
        Ok(Applied { state: encounter.into_value()?, payload: Some(payload) })
    }

    fn edit(&self, _before: &Value, after: &Value, actor: &Actor) -> Result<(), Rejection> {
        if !actor.host {
            return Err(Rejection::new("only the host may change an encounter directly; send an action"));
        }
        state::check_concealed(after)?;
        Encounter::read(after).map(drop)
    }

    fn notices(&self, before: &Value, after: &Value) -> Vec<Notice> {
        notices::notices(before, after)
    }

    fn merge_rules(&self) -> MergeRules {
        merging::merge_rules()
    }

    fn accept_merge(&self, before: &Value, merged: Value, actor: &Actor) -> Result<Value, Rejection> {
        state::check_concealed(&merged)?;
        let merged = merging::consistent(merged)?;
        let accepted = match actor.host {
            true => merged,
            false => merging::as_player(Encounter::read(before)?, &merged, &actor.id)?,
        };
        accepted.into_value()
    }
}

/// Does the action. Returns what is added to the event's payload.
fn act(
    encounter: &mut Encounter,
    action: &Action<'_>,
    actor: &Actor,
    documents: &dyn Documents,
) -> Result<Map<String, Value>, Rejection> {
    match action.kind {
        "addCombatant" => {
            let id = encounter.add_combatant(action.payload_as::<AddCombatant>()?, documents)?;
            return Ok(Map::from_iter([("combatantId".to_owned(), json!(id))]));
        }
        "damage" => return encounter.damage(&action.payload_as::<Damage>()?),
        "addParty" => encounter.add_party(&action.payload_as::<AddParty>()?.party_id, documents),
        "duplicate" => {
            let Duplicate { combatant_id, count } = action.payload_as()?;
            encounter.duplicate(&combatant_id, count)
        }
        "removeCombatant" => {
            encounter.remove_combatant(&action.payload_as::<OneCombatant>()?.combatant_id, action.seed)
        }
        "reveal" => encounter.reveal(&action.payload_as::<OneCombatant>()?.combatant_id),
        "setInitiative" => {
            let SetInitiative { combatant_id, initiative } = action.payload_as()?;
            encounter.set_initiative(&combatant_id, initiative)
        }
        "rollInitiative" => {
            encounter.roll_initiative(action.payload_as::<RollInitiative>()?.combatant_ids, action.seed)
        }
        "reorder" => encounter.reorder(action.payload_as::<ReorderCombatants>()?.order),
        "reset" => encounter.reset(action.payload_as::<Reset>()?.keep_party.unwrap_or(true)),
        "heal" => encounter.heal(&action.payload_as::<Amount>()?),
        "setTemporaryHitPoints" => encounter.set_temporary_hit_points(&action.payload_as::<Amount>()?),
        "addCondition" => encounter.add_condition(&action.payload_as::<ChangeCondition>()?),
        "removeCondition" => encounter.remove_condition(&action.payload_as::<ChangeCondition>()?),
        "setCounter" => encounter.set_counter(&action.payload_as::<SetCounter>()?),
        _ => pass(encounter, action, actor),
    }?;
    Ok(Map::new())
}

/// Does an action about turns and status.
fn pass(encounter: &mut Encounter, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    match action.kind {
        "start" => action.payload_as::<NoPayload>().and_then(|_| encounter.start()),
        "nextTurn" | "endTurn" => encounter.next_turn(action.payload_as::<NextTurn>()?.skip_down, action.seed),
        "previousTurn" => action.payload_as::<NoPayload>().and_then(|_| encounter.previous_turn()),
        "delayTurn" => encounter.delay_turn(&action.payload_as::<DelayTurn>()?.after),
        "pause" | "resume" | "complete" | "note" => {
            let AddNote { text } = action.payload_as()?;
            match action.kind {
                "pause" => encounter.pause(),
                "resume" => encounter.resume(),
                "complete" => encounter.complete(),
                _ if text.is_none() => Err(Rejection::new("a note needs a text")),
                _ => Ok(()),
            }?;
            let Some(text) = text else { return Ok(()) };
            check_note(&text)?;
            encounter.add_note(state::Note { at: action.at, by: actor.id.to_string(), text });
            Ok(())
        }
        _ => Err(Rejection::new(KNOWN)),
    }
}

/// Refuses what a player may not do: they act for their own combatants, and never in another's name.
fn check_player(encounter: &Encounter, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    let own = match action.kind {
        "damage" => action.payload_as::<Damage>()?.targets()?,
        "heal" | "setTemporaryHitPoints" => action.payload_as::<Amount>()?.targets()?,
        "addCondition" | "removeCondition" => action.payload_as::<ChangeCondition>()?.targets()?,
        "setInitiative" => vec![action.payload_as::<SetInitiative>()?.combatant_id],
        "note" => {
            let takes_part = encounter.combatants.values().any(|combatant| combatant.is_of(&actor.id));
            let stranger = || Rejection::new("only the host and players with a combatant write notes");
            return takes_part.then_some(()).ok_or_else(stranger);
        }
        "endTurn" => match &encounter.turn {
            Some(turn) if encounter.combatant(turn)?.is_of(&actor.id) => return Ok(()),
            Some(_) => return Err(Rejection::new("it is not your turn")),
            None => return Ok(()),
        },
        _ => return Err(Rejection::new("only the host may do this")),
    };
    encounter.check_own(&own, &actor.id)
}

/// The event's payload: what was sent and what is added. Of an action on a concealed combatant players see only whom it
/// is about: the rest goes under `hidden`. `concealed`: those who were before or are now.
fn event_payload(sent: &Value, added: Map<String, Value>, concealed: &BTreeSet<String>) -> Value {
    let mut payload = sent.as_object().cloned().unwrap_or_default();
    payload.extend(added);
    let one = payload.get("combatantId").into_iter();
    let several = payload.get("combatantIds").and_then(Value::as_array).into_iter().flatten();
    let guarded = one.chain(several).filter_map(Value::as_str).any(|id| concealed.contains(id));
    if !guarded {
        return Value::Object(payload);
    }
    let is_shown = |name: &String| ["combatantId", "combatantIds"].contains(&name.as_str());
    let (mut shown, rest): (Map<_, _>, Map<_, _>) = payload.into_iter().partition(|(name, _)| is_shown(name));
    if !rest.is_empty() {
        shown.insert("hidden".to_owned(), Value::Object(rest));
    }
    Value::Object(shown)
}
