//! The rules as the engine calls them: who may do what, then the interaction does it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::state::{Interaction, LogEntry, Participant};
use super::turns::Review;
use super::{merging, notices};
use crate::base::ids::UserId;
use crate::document::json;
use crate::document::merge::strategies::MergeRules;
use crate::document::notices::Notice;
use crate::document::rules::{Action, Actor, Rejection, Rules};

/// Largest action, result and reason, bytes of JSON: 200 log entries of them fit the largest state.
const TEXT_LENGTH_MAX: usize = 2_000;

/// What an interaction knows, for whoever asks for something else.
const KNOWN: &str = "an interaction knows open, join, leave, start, submitAction, reviewAction, nextTurn, skipTurn, \
                     reorder, pause, resume, complete and cancel";

/// The rules of the collection `interactions`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct InteractionRules;

impl Rules for InteractionRules {
    fn create(&self, state: Value, _creator: &Actor) -> Result<Value, Rejection> {
        Interaction::read(&state)?.into_value()
    }

    fn example(&self) -> Option<Value> {
        Some(json!({ "campaignId": "lost-mine" }))
    }

    fn apply(&self, state: &Value, action: &Action<'_>, actor: &Actor) -> Result<Value, Rejection> {
        let mut interaction = Interaction::read(state)?;
        check_actor(&interaction, action.kind, actor)?;
        act(&mut interaction, action, actor)?;
        interaction.into_value()
    }

    fn edit(&self, _before: &Value, after: &Value, actor: &Actor) -> Result<(), Rejection> {
        if !actor.host {
            return Err(Rejection::new("only the DM may change an interaction directly; send an action"));
        }
        Interaction::read(after).map(drop)
    }

    fn notices(&self, before: &Value, after: &Value) -> Vec<Notice> {
        notices::notices(before, after)
    }

    fn merge_rules(&self) -> MergeRules {
        merging::merge_rules()
    }

    fn accept_merge(&self, before: &Value, merged: Value, actor: &Actor) -> Result<Value, Rejection> {
        let mut merged = merged;
        if let Value::Object(members) = &mut merged {
            merging::repair_turns(members);
        }
        self.edit(before, &merged, actor)?;
        Interaction::read(&merged)?.into_value()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyPayload {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Join {
    name: Option<String>,
    character_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitAction {
    action: Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReviewDecision {
    Approve,
    Reject,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReviewAction {
    decision: ReviewDecision,
    reason: Option<String>,
    result: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SkipTurn {
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReorderTurns {
    order: Vec<UserId>,
}

/// Refuses who may not do this: what is the DM's, and what is for those whose turn it is.
fn check_actor(interaction: &Interaction, kind: &str, actor: &Actor) -> Result<(), Rejection> {
    match kind {
        "join" | "leave" => Ok(()),
        _ if actor.host => Ok(()),
        "submitAction" | "nextTurn" | "skipTurn" => {
            let own = interaction.turn.as_ref() == Some(&actor.id);
            if own { Ok(()) } else { Err(Rejection::new("it is not your turn")) }
        }
        _ => Err(Rejection::new("only the DM may do this")),
    }
}

/// Does the action, and logs it.
fn act(interaction: &mut Interaction, action: &Action<'_>, actor: &Actor) -> Result<(), Rejection> {
    let at = action.at;
    let turn = interaction.turn.clone().unwrap_or_else(|| actor.id.clone());
    let entry = |player_id: UserId| {
        let (kind, action, result, reason) = (action.kind.to_owned(), None, None, None);
        LogEntry { at, player_id, kind, action, result, reason }
    };
    let logged = match action.kind {
        "submitAction" => {
            let SubmitAction { action } = action.payload_as()?;
            if action.is_null() {
                return Err(Rejection::new("payload.action: must say what is done"));
            }
            check_length("action", &action)?;
            interaction.submit(action.clone())?;
            LogEntry { action: Some(action), ..entry(turn) }
        }
        "reviewAction" => {
            let ReviewAction { decision, reason, result } = action.payload_as()?;
            check_length("reason", &reason)?;
            check_length("result", &result)?;
            let approve = matches!(decision, ReviewDecision::Approve);
            return interaction.review(Review { approve, reason, result }, at);
        }
        "skipTurn" => {
            let SkipTurn { reason } = action.payload_as()?;
            check_length("reason", &reason)?;
            interaction.next_turn(at)?;
            LogEntry { reason, ..entry(turn) }
        }
        "nextTurn" => {
            action.payload_as::<EmptyPayload>()?;
            interaction.next_turn(at)?;
            entry(turn)
        }
        "join" => {
            let Join { name, character_id } = action.payload_as()?;
            let name = name.unwrap_or_else(|| actor.id.to_string());
            interaction.join(Participant { player_id: actor.id.clone(), name, character_id })?;
            entry(actor.id.clone())
        }
        "reorder" => {
            interaction.reorder(action.payload_as::<ReorderTurns>()?.order)?;
            entry(actor.id.clone())
        }
        kind => {
            action.payload_as::<EmptyPayload>()?;
            match kind {
                "open" => interaction.open(),
                "leave" => interaction.leave(&actor.id, at),
                "start" => interaction.start(),
                "pause" => interaction.pause(),
                "resume" => interaction.resume(),
                "complete" => interaction.complete(at),
                "cancel" => interaction.cancel(at),
                _ => Err(Rejection::new(KNOWN)),
            }?;
            entry(actor.id.clone())
        }
    };
    interaction.log.push(logged);
    Ok(())
}

fn check_length(member: &str, sent: &impl serde::Serialize) -> Result<(), Rejection> {
    let length = serde_json::to_value(sent).map_or(0, |value| json::size(&value));
    if length <= TEXT_LENGTH_MAX {
        return Ok(());
    }
    Err(Rejection::new(format!("payload.{member}: has more than {TEXT_LENGTH_MAX} bytes of JSON")))
}
