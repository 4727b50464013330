//! Who may see and touch what.
//!
//! In a state, `hidden` (top level) is for the host alone and `private.<playerId>` for that player and the host.
//! A player's copy has no `hidden`; it has `private` exactly when the state has it, with at most the player's own
//! member inside. Because of that *exactly*, each operation of a patch can be redacted by itself, and the redacted
//! operations turn one redacted state into the next.

use std::borrow::Cow;

use memchr::memmem;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json::Members;
use super::patch::{self, Operation};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;

/// What the owner of the server is called where others have their user ids. Nobody else is called so.
pub(crate) const OWNER: &str = "owner";
const HIDDEN: &str = "hidden";
const PRIVATE: &str = "private";

/// Who reads or writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// The owner of the server, host of everything.
    Owner,
    /// Someone else; host of what they created, a player of the rest.
    User(UserId),
}

impl Viewer {
    /// The name that events carry as `actor`.
    pub fn actor(&self) -> Result<UserId> {
        match self {
            Self::Owner => UserId::new("host"),
            Self::User(id) => Ok(id.clone()),
        }
    }

    /// The host of what the viewer creates.
    pub(crate) fn as_host(&self) -> Option<UserId> {
        match self {
            Self::Owner => None,
            Self::User(id) => Some(id.clone()),
        }
    }

    /// What the viewer is called where others have their user ids.
    pub(crate) fn user_id(&self) -> Result<UserId> {
        match self {
            Self::Owner => UserId::new(OWNER),
            Self::User(id) => Ok(id.clone()),
        }
    }

    /// Who is called so.
    pub(crate) fn called(id: UserId) -> Self {
        if id.as_str() == OWNER { Self::Owner } else { Self::User(id) }
    }

    /// Names the viewer where two viewers must not be taken for one, as in the scope of an idempotency key: no user id
    /// begins with `@`.
    pub fn scope(&self) -> &str {
        match self {
            Self::Owner => "@owner",
            Self::User(id) => id.as_str(),
        }
    }
}

/// What a viewer may see of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience<'a> {
    Host,
    /// What is for all, and what is for this player.
    Player(&'a UserId),
}

/// The serialised state that `audience` gets. Borrowed when that is all of it.
pub(crate) fn redact_state<'a>(state: &'a [u8], audience: Audience<'_>) -> Result<Cow<'a, [u8]>> {
    let Audience::Player(player) = audience else { return Ok(Cow::Borrowed(state)) };
    // A key is always written like this by our serialiser; elsewhere the same text only costs the slower way.
    if memmem::find(state, br#""hidden":"#).is_none() && memmem::find(state, br#""private":"#).is_none() {
        return Ok(Cow::Borrowed(state));
    }
    let mut members: Members<'_> = serde_json::from_slice(state).map_err(Error::internal)?;
    members.remove(HIDDEN);
    let own: Box<RawValue>;
    if let Some(private) = members.get_mut(PRIVATE) {
        let mut players: Members<'_> = serde_json::from_str(private.get()).unwrap_or_default();
        players.retain(|id, _| id == player.as_str());
        own = serde_json::value::to_raw_value(&players).map_err(Error::internal)?;
        *private = &own;
    }
    serde_json::to_vec(&members).map(Cow::Owned).map_err(Error::internal)
}

/// A whole state, or a payload, without what `player` may not see.
pub(crate) fn redact_value(mut value: Value, player: &UserId) -> Value {
    if let Value::Object(members) = &mut value {
        members.remove(HIDDEN);
        if let Some(private) = members.get_mut(PRIVATE) {
            *private = only_own(private.take(), player);
        }
    }
    value
}

/// One operation of a patch as `player` may see it, if anything of it.
pub(crate) fn redact_operation(operation: Operation, player: &UserId) -> Option<Operation> {
    let path = patch::tokens(operation.path());
    let tokens: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match tokens.as_slice() {
        [] => Some(operation.map_value(|value| redact_value(value, player))),
        [HIDDEN, ..] => None,
        [PRIVATE] => Some(operation.map_value(|value| only_own(value, player))),
        [PRIVATE, owner, ..] if *owner != player.as_str() => None,
        _ => Some(operation),
    }
}

fn only_own(private: Value, player: &UserId) -> Value {
    match private {
        Value::Object(mut players) => {
            players.retain(|id, _| id == player.as_str());
            Value::Object(players)
        }
        _ => Value::Object(Map::new()),
    }
}

/// The one refusal for every write that reaches where the writer may not look. It is the same whatever stands there.
fn untouchable() -> Error {
    Error::new(Kind::Forbidden, "this write reaches a part of the document that you may not see")
}

/// Refuses a path that `player` may not see, or that holds such a place below it. Error: `Forbidden`.
pub(crate) fn check_path(pointer: &str, player: &UserId) -> Result<()> {
    let path = patch::tokens(pointer);
    let tokens: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match tokens.as_slice() {
        [] | [HIDDEN, ..] | [PRIVATE] => Err(untouchable()),
        [PRIVATE, owner, ..] if *owner != player.as_str() => Err(untouchable()),
        _ => Ok(()),
    }
}

/// Refuses a merge patch, or a state sent whole, that names a place that `player` may not see. Error: `Forbidden`.
pub(crate) fn check_members(sent: &Value, player: &UserId) -> Result<()> {
    let Value::Object(members) = sent else { return Err(untouchable()) };
    let own_only = match members.get(PRIVATE) {
        None => true,
        Some(Value::Object(players)) => players.keys().all(|id| id == player.as_str()),
        Some(_) => false,
    };
    if own_only && !members.contains_key(HIDDEN) { Ok(()) } else { Err(untouchable()) }
}

/// The state after `player` replaced all that they see of `before` with `sent`: what they do not see stays.
pub(crate) fn overlay(before: &Value, sent: Value, player: &UserId) -> Value {
    let (Value::Object(before), Value::Object(mut after)) = (before, sent) else { return Value::Null };
    if let Some(hidden) = before.get(HIDDEN) {
        after.insert(HIDDEN.to_owned(), hidden.clone());
    }
    if let Some(Value::Object(players)) = before.get(PRIVATE) {
        let mut players = players.clone();
        players.remove(player.as_str());
        if let Some(Value::Object(own)) = after.remove(PRIVATE) {
            players.extend(own);
        }
        after.insert(PRIVATE.to_owned(), Value::Object(players));
    }
    Value::Object(after)
}
