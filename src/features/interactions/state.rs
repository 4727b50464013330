//! What an interaction is.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::clock::Timestamp;
use crate::base::ids::UserId;
use crate::document::rules::{Rejection, read_as};

/// Entries of the log that are kept in the state; older ones are in the document's history alone.
const LOG_MAX: usize = 200;
/// Most participants.
pub(super) const PARTICIPANTS_MAX: usize = 100;
/// Longest name of a participant, bytes.
pub(super) const NAME_LENGTH_MAX: usize = 200;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum InteractionStatus {
    #[default]
    Idle,
    WaitingForPlayers,
    InProgress,
    WaitingForDm,
    Paused,
    Completed,
    Cancelled,
}

impl InteractionStatus {
    /// Whether it is somebody's turn.
    pub(super) fn has_turn(self) -> bool {
        matches!(self, Self::InProgress | Self::WaitingForDm | Self::Paused)
    }

    pub(super) fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::WaitingForPlayers => "waiting-for-players",
            Self::InProgress => "in-progress",
            Self::WaitingForDm => "waiting-for-dm",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Participant {
    pub player_id: UserId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub character_id: Option<String>,
}

/// An action that waits for the DM.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pending {
    pub player_id: UserId,
    pub action: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LogEntry {
    pub at: Timestamp,
    /// Whom it is about: the participant, else who did it.
    pub player_id: UserId,
    /// An action's type; `approve`, `reject` and `drop` of an action that waited.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Interaction {
    pub status: InteractionStatus,
    pub participants: Vec<Participant>,
    pub order: Vec<UserId>,
    pub turn: Option<UserId>,
    pub round: u32,
    pub pending: Option<Pending>,
    pub log: Vec<LogEntry>,
    /// What else is in the state.
    #[serde(skip)]
    extra: Map<String, Value>,
}

const MEMBERS: [&str; 7] = ["status", "participants", "order", "turn", "round", "pending", "log"];

impl Interaction {
    /// Reads a state; what is left out gets its default. Error: names what does not hold.
    pub(super) fn read(state: &Value) -> Result<Self, Rejection> {
        let Value::Object(members) = state else { return Err(Rejection::new("the state must be an object")) };
        let all = members.iter().map(|(name, value)| (name.clone(), value.clone()));
        let (known, extra): (Map<_, _>, Map<_, _>) = all.partition(|(name, _)| MEMBERS.contains(&name.as_str()));
        let ordered = known.contains_key("order");
        let mut interaction = Self { extra, ..read_as(&Value::Object(known), "state")? };
        if !ordered {
            interaction.order = interaction.participants.iter().map(|one| one.player_id.clone()).collect();
        }
        interaction.check()?;
        Ok(interaction)
    }

    /// The state as it stands in the document.
    pub(super) fn into_value(mut self) -> Result<Value, Rejection> {
        let surplus = self.log.len().saturating_sub(LOG_MAX);
        self.log.drain(..surplus);
        let damaged = || Rejection::new("the interaction's state is damaged; the host may roll it back");
        let Ok(Value::Object(members)) = serde_json::to_value(&self) else { return Err(damaged()) };
        let mut state = self.extra;
        state.extend(members);
        Ok(Value::Object(state))
    }

    fn check(&self) -> Result<(), Rejection> {
        self.check_order(&self.order)?;
        if self.participants.len() > PARTICIPANTS_MAX {
            return Err(Rejection::new(format!("an interaction has at most {PARTICIPANTS_MAX} participants")));
        }
        let names = self.participants.iter().map(|participant| participant.name.len());
        if names.into_iter().any(|length| length == 0 || length > NAME_LENGTH_MAX) {
            return Err(Rejection::new(format!("a participant's name is 1 to {NAME_LENGTH_MAX} bytes")));
        }
        let holds = match &self.turn {
            Some(turn) => self.status.has_turn() && self.order.contains(turn) && self.round > 0,
            None => !self.status.has_turn(),
        };
        if !holds {
            let message = "turn must name a participant, and round be 1 or more, once it has started and until it ends";
            return Err(Rejection::new(message));
        }
        let waits = match &self.pending {
            Some(pending) => {
                self.status != InteractionStatus::InProgress && self.turn.as_ref() == Some(&pending.player_id)
            }
            None => self.status != InteractionStatus::WaitingForDm,
        };
        if waits {
            Ok(())
        } else {
            Err(Rejection::new("pending is an action of whose turn it is, while waiting-for-dm"))
        }
    }

    /// Refuses an order that does not name each participant once.
    pub(super) fn check_order(&self, order: &[UserId]) -> Result<(), Rejection> {
        let named: BTreeSet<&UserId> = order.iter().collect();
        let all: BTreeSet<&UserId> = self.participants.iter().map(|participant| &participant.player_id).collect();
        let once = named.len() == order.len() && all.len() == self.participants.len();
        if once && named == all { Ok(()) } else { Err(Rejection::new("order must name each participant once")) }
    }

    pub(super) fn takes_part(&self, player: &UserId) -> bool {
        self.participants.iter().any(|participant| participant.player_id == *player)
    }
}
