//! Who may see and touch what.
//!
//! In a state, `hidden` (top level) is for the host alone and `private.<playerId>` for that player and the host.
//! A player's copy has no `hidden`; it has `private` exactly when the state has it, with at most the player's own
//! member inside. Because of that *exactly*, each operation of a patch can be redacted by itself, and the redacted
//! operations turn one redacted state into the next.

use std::borrow::Cow;
use std::sync::Arc;

use memchr::memmem;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json::Members;
use super::patch::{self, PatchOperation};
use super::scope::CredentialScope;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, UserId};

/// What the owner of the server is called where others have their user ids. Nobody else is called so.
pub(crate) const OWNER: &str = "owner";
/// What the owner is called as `actor` of events.
const OWNER_ACTOR: &str = "host";
const HIDDEN: &str = "hidden";
const PRIVATE: &str = "private";

/// Who reads or writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Viewer {
    /// The owner of the server, host of everything.
    Owner,
    /// Someone else; host of what they created, a player of the rest.
    User(UserId),
    /// Either of them, by a credential that does not reach everything.
    Scoped(Arc<ScopedViewer>),
}

/// See [`Viewer::Scoped`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ScopedViewer {
    /// Who that is; `None`: the owner of the server.
    pub user: Option<UserId>,
    /// What the credential reaches.
    pub scope: CredentialScope,
}

impl Viewer {
    /// The viewer who reaches no more than `scope`; `user`: who that is, `None`: the owner of the server.
    pub(crate) fn scoped(user: Option<UserId>, scope: CredentialScope) -> Self {
        Self::Scoped(Arc::new(ScopedViewer { user, scope }))
    }

    /// The user; `None`: the owner of the server.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Self::Owner => None,
            Self::User(id) => Some(id),
            Self::Scoped(scoped) => scoped.user.as_ref(),
        }
    }

    /// What the viewer's credential reaches; `None`: everything.
    pub fn credential_scope(&self) -> Option<&CredentialScope> {
        match self {
            Self::Owner | Self::User(_) => None,
            Self::Scoped(scoped) => Some(&scoped.scope),
        }
    }

    /// Whether the viewer's credential reaches every document of a collection.
    pub(crate) fn reaches_collection(&self, collection: &Collection) -> bool {
        self.credential_scope().is_none_or(|scope| scope.reaches_collection(collection))
    }

    /// The name that events carry as `actor`.
    pub fn actor(&self) -> Result<UserId> {
        self.user().map_or_else(|| UserId::new(OWNER_ACTOR), |id| Ok(id.clone()))
    }

    /// The host of what the viewer creates.
    pub(crate) fn as_host(&self) -> Option<UserId> {
        self.user().cloned()
    }

    /// What the viewer is called where others have their user ids.
    pub(crate) fn user_id(&self) -> Result<UserId> {
        self.user().map_or_else(|| UserId::new(OWNER), |id| Ok(id.clone()))
    }

    /// Whether `id` can be taken for a name of the owner: `owner`, or the `actor` of the owner's events, in letters of
    /// any case. Nobody else is called so.
    pub(crate) fn is_owners_name(id: &UserId) -> bool {
        [OWNER, OWNER_ACTOR].iter().any(|name| id.as_str().eq_ignore_ascii_case(name))
    }

    /// Reads the id of somebody who can be here: a user, or the owner as [`OWNER`].
    pub(crate) fn deserialize_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserId, D::Error> {
        let id = UserId::deserialize(deserializer)?;
        if id.as_str() != OWNER && Self::is_owners_name(&id) {
            return Err(serde::de::Error::custom(format!("is nobody's; the owner of the server is called {OWNER}")));
        }
        Ok(id)
    }

    /// The same where nobody may be named.
    pub(crate) fn deserialize_optional_id<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<UserId>, D::Error> {
        #[derive(Deserialize)]
        struct Named(#[serde(deserialize_with = "Viewer::deserialize_id")] UserId);
        Ok(Option::<Named>::deserialize(deserializer)?.map(|Named(id)| id))
    }

    /// Who is called so.
    pub(crate) fn member(id: UserId) -> Self {
        if id.as_str() == OWNER { Self::Owner } else { Self::User(id) }
    }

    /// Names the viewer where two viewers must not be taken for one, as in the scope of an idempotency key: no user id
    /// begins with `@`.
    pub fn scope(&self) -> &str {
        self.user().map_or("@owner", UserId::as_str)
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
            *private = retain_private_of(private.take(), player);
        }
    }
    value
}

/// One operation of a patch as `player` may see it, if anything of it.
pub(crate) fn redact_operation(operation: PatchOperation, player: &UserId) -> Option<PatchOperation> {
    let path = patch::tokens(operation.path());
    let tokens: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match tokens.as_slice() {
        [] => Some(operation.map_value(|value| redact_value(value, player))),
        [HIDDEN, ..] => None,
        [PRIVATE] => Some(operation.map_value(|value| retain_private_of(value, player))),
        [PRIVATE, owner, ..] if *owner != player.as_str() => None,
        _ => Some(operation),
    }
}

fn retain_private_of(private: Value, player: &UserId) -> Value {
    match private {
        Value::Object(mut players) => {
            players.retain(|id, _| id == player.as_str());
            Value::Object(players)
        }
        _ => Value::Object(Map::new()),
    }
}

/// The one refusal for every write that reaches where the writer may not look. It is the same whatever stands there.
fn hidden_write_error() -> Error {
    Error::new(Kind::Forbidden, "this write reaches a part of the document that you may not see")
}

/// Refuses a path that `player` may not see, or that holds such a place below it. Error: `Forbidden`.
pub(crate) fn check_path(pointer: &str, player: &UserId) -> Result<()> {
    let path = patch::tokens(pointer);
    let tokens: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    match tokens.as_slice() {
        [] | [HIDDEN, ..] | [PRIVATE] => Err(hidden_write_error()),
        [PRIVATE, owner, ..] if *owner != player.as_str() => Err(hidden_write_error()),
        _ => Ok(()),
    }
}

/// Refuses a merge patch, or a state sent whole, that names a place that `player` may not see. Error: `Forbidden`.
pub(crate) fn check_members(sent: &Value, player: &UserId) -> Result<()> {
    let Value::Object(members) = sent else { return Err(hidden_write_error()) };
    let own_only = match members.get(PRIVATE) {
        None => true,
        Some(Value::Object(players)) => players.keys().all(|id| id == player.as_str()),
        Some(_) => false,
    };
    if own_only && !members.contains_key(HIDDEN) { Ok(()) } else { Err(hidden_write_error()) }
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
