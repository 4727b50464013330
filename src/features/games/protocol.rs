//! What two servers tell each other about a game that moves: pieces of JSON, each small enough for a request.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::problems::GAME_TOO_LARGE;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, UserId, Version};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::transfer::{Chain, SentEvent, TrimmedBase};

/// Bytes of events or rows in a piece, beside the first of it.
pub(crate) const PIECE_BYTES_MAX: usize = 512 << 10;

/// What the other server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MigrationStep {
    /// Take note of what comes; with `head`.
    Begin,
    /// Keep `events`.
    Events,
    /// Keep `rows`.
    Rows,
    /// Verify that everything is there and adds up.
    Prepare,
    Confirm,
    Cancel,
}

/// A piece of a move.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MigrationPiece {
    /// What is to be done.
    pub step: MigrationStep,
    pub r#move: String,
    /// See [`HistoryHead`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<HistoryHead>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<PieceEvent>,
    /// See [`AttachedRow`](crate::features::games::attached_rows::AttachedRow): each a line of JSON, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
}

/// What is to be known of a game beside its events.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HistoryHead {
    /// Who hosts it; `None`: the owner.
    pub host: Option<UserId>,
    pub access: Access,
    /// When it was first created.
    pub created_at: Timestamp,
    /// What comes before its first kept event.
    pub base: Option<HistoryBase>,
    pub version: Version,
    pub hash: String,
    /// The digest of the rows that come with it.
    pub rows: String,
}

/// A game before its first kept event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryBase {
    pub version: Version,
    pub hash: String,
    pub at: Timestamp,
    /// The state there; null: deleted.
    pub state: Option<Value>,
}

/// An event as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PieceEvent {
    /// The game's version after it.
    pub version: Version,
    /// The game's hash after it.
    pub hash: String,
    /// Whether it deletes the game.
    pub deletes: bool,
    /// Its stored bytes, as they are.
    pub body: Box<RawValue>,
}

impl MigrationPiece {
    /// A piece that only says what to do.
    pub(crate) fn step(step: MigrationStep, name: &str) -> Self {
        Self { step, r#move: name.to_owned(), head: None, events: Vec::new(), rows: Vec::new() }
    }
}

impl HistoryHead {
    /// The history that it is the head of.
    pub(crate) fn chain(self, name: DocumentName, events: Vec<SentEvent>) -> Result<Chain> {
        let base = self.base.map(|base| -> Result<TrimmedBase> {
            Ok(TrimmedBase { version: base.version, hash: hash(&base.hash)?, at: base.at, state: base.state })
        });
        Ok(Chain {
            name,
            host: self.host,
            access: self.access,
            created_at: self.created_at,
            base: base.transpose()?,
            events,
            version: self.version,
            hash: hash(&self.hash)?,
        })
    }
}

impl PieceEvent {
    /// As it will be stored.
    pub(crate) fn sent(&self) -> Result<SentEvent> {
        let body = Bytes::copy_from_slice(self.body.get().as_bytes());
        Ok(SentEvent { version: self.version, hash: hash(&self.hash)?, deletes: self.deletes, body })
    }
}

/// The refusal of a game that cannot move.
pub(crate) fn too_large(bytes_max: usize) -> Error {
    let message = format!(
        "a game that moves has at most {bytes_max} bytes of history and of what belongs to it; keep less history \
         (history-events, history-days), or end the game here"
    );
    GAME_TOO_LARGE.error(message).with("maxBytes", bytes_max)
}

pub(super) fn hash(text: &str) -> Result<Hash> {
    Hash::parse(text).ok_or_else(|| Error::invalid_field("hash", "must be 64 hexadecimal digits"))
}
