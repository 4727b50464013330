//! The schemas of the events of document streams, for the description. They are rendered straight into bytes elsewhere.

#![expect(dead_code, reason = "these types are only looked at")]

use serde::Serialize;
use utoipa::ToSchema;

use super::schemas::{DocumentSchema, EventSchema};

/// An event of a stream of documents. `event` and `id` are fields of the event stream, `data` is JSON. What has no `id`
/// does not change the position from which a client resumes.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "no value of it is ever made")]
pub(super) enum StreamEvent {
    Snapshot(SnapshotEvent),
    Resumed(ResumedEvent),
    Change(ChangeEvent),
    Left(LeftEvent),
    Durable(DurableEvent),
    Presence(PresenceEventSchema),
    Message(MessageEvent),
    Moved(MovedEvent),
    Heartbeat(HeartbeatEvent),
    Bye(ByeEvent),
}

/// Whole documents: the first event of a new stream, and whenever exact replay is impossible.
#[derive(Serialize, ToSchema)]
pub(super) struct SnapshotEvent {
    #[schema(pattern = "^snapshot$")]
    event: String,
    /// The position that the documents are of.
    id: String,
    data: SnapshotData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct SnapshotData {
    /// `start`, `trimmed`, `diverged`, `returned` or `access`; with `where` also `entered`, which adds and never
    /// replaces.
    reason: String,
    /// Names that were asked for and are not there, `collection/id`.
    #[schema(required = false)]
    gone: Vec<String>,
    documents: Vec<DocumentSchema>,
}

/// The first event after a reconnect: exactly `count` changes up to `to` follow.
#[derive(Serialize, ToSchema)]
pub(super) struct ResumedEvent {
    #[schema(pattern = "^resumed$")]
    event: String,
    data: ResumedData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ResumedData {
    /// A position.
    from: String,
    /// A position.
    to: String,
    count: u64,
}

/// An accepted change of a document.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangeEvent {
    #[schema(pattern = "^change$")]
    event: String,
    /// Its position.
    id: String,
    data: EventSchema,
}

/// With `where`: a document does not match any more.
#[derive(Serialize, ToSchema)]
pub(super) struct LeftEvent {
    #[schema(pattern = "^left$")]
    event: String,
    /// The position of the change by which it does not.
    id: String,
    data: LeftData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LeftData {
    collection: String,
    id: String,
    version: u64,
}

/// After degraded storage: the changes up to `seq` are on disk now.
#[derive(Serialize, ToSchema)]
pub(super) struct DurableEvent {
    #[schema(pattern = "^durable$")]
    event: String,
    data: DurableData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct DurableData {
    seq: u64,
}

/// Who is connected to a document or takes part in it.
#[derive(Serialize, ToSchema)]
#[schema(as = PresenceEvent)]
pub(super) struct PresenceEventSchema {
    #[schema(pattern = "^presence$")]
    event: String,
    data: PresenceDataSchema,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PresenceData)]
pub(super) struct PresenceDataSchema {
    collection: String,
    id: String,
    players: Vec<PresencePlayer>,
    /// Not when the stream begins.
    #[schema(required = false)]
    change: PresenceChangeSchema,
    #[schema(format = DateTime)]
    at: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PresencePlayer {
    player_id: String,
    /// Whether there is a connection, as far as it was told: a loss shows after a moment.
    connected: bool,
    /// When there was one last; null: not since the server started.
    #[schema(required = true, format = DateTime)]
    last_seen: Option<String>,
    /// Since when `connected` is what it is; null: since before the server started.
    #[schema(required = true, format = DateTime)]
    since: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PresenceChange)]
pub(super) struct PresenceChangeSchema {
    player_id: String,
    event: PresenceKind,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PresenceKind {
    Join,
    Leave,
    Connected,
    Lost,
}

/// What a follower says to others: see `sendMessage`. It is stored nowhere.
#[derive(Serialize, ToSchema)]
pub(super) struct MessageEvent {
    #[schema(pattern = "^message$")]
    event: String,
    data: MessageData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct MessageData {
    collection: String,
    id: String,
    /// The sender; the owner of the server is `owner`.
    from: String,
    #[serde(rename = "type")]
    kind: String,
    #[schema(format = DateTime)]
    at: String,
    /// As far as the caller may see it.
    payload: serde_json::Value,
}

/// A document continues on another server, from the same position.
#[derive(Serialize, ToSchema)]
pub(super) struct MovedEvent {
    #[schema(pattern = "^moved$")]
    event: String,
    data: MovedData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct MovedData {
    collection: String,
    id: String,
    /// The server, `http://host:port`.
    to: String,
    position: String,
}

/// Nothing happened for a while.
#[derive(Serialize, ToSchema)]
pub(super) struct HeartbeatEvent {
    #[schema(pattern = "^heartbeat$")]
    event: String,
    data: HeartbeatData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct HeartbeatData {
    #[schema(format = DateTime)]
    at: String,
}

/// The server ends the stream on purpose; `retry` says when to come back.
#[derive(Serialize, ToSchema)]
pub(super) struct ByeEvent {
    #[schema(pattern = "^bye$")]
    event: String,
    data: ByeData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ByeData {
    /// `shutdown`, `access-ended`, `rate-limited`, `too-many-streams` or `unavailable`.
    reason: String,
}
