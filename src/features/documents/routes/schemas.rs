//! The schemas of what is rendered by hand elsewhere, for the description. What is sent to the server is described by
//! the very types that read it.

#![expect(dead_code, reason = "these types are only looked at: what they stand for is rendered straight into bytes")]

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::page::Page;

/// A versioned JSON object in a collection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Document)]
pub(super) struct DocumentSchema {
    /// The collection that it is in.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$", example = "games")]
    collection: String,
    /// Its id there.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", example = "g1")]
    id: String,
    /// How many changes it has seen; each raises it by 1.
    #[schema(minimum = 1)]
    version: u64,
    /// SHA-256 over the hash before and the last event: stands for the whole history.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
    /// What it says, as far as the viewer may see it; null when it is deleted.
    #[schema(value_type = Option<Object>, required = true)]
    state: Value,
    /// There, and true, when it is deleted.
    #[schema(required = false)]
    deleted: bool,
    /// There for the host: who that is; `owner`: the owner of the server.
    #[schema(required = false, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    host: String,
    /// There for the host: who else may do what with it.
    #[schema(required = false)]
    access: AccessSchema,
    /// When it was first created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its last event was taken up.
    #[schema(format = DateTime)]
    updated_at: String,
    /// Whether this version is on disk.
    durable: bool,
    /// There, and false, when the document lives in memory only and is gone when the server stops.
    #[schema(required = false)]
    persistent: bool,
}

/// A document in a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ListedDocument)]
pub(super) struct ListedDocumentSchema {
    /// The collection that it is in.
    collection: String,
    /// Its id there.
    id: String,
    /// How many changes it has seen.
    version: u64,
    /// The hash of its history.
    hash: String,
    /// When it was first created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its last event was taken up.
    #[schema(format = DateTime)]
    updated_at: String,
    /// With `include=state`: what it says; with `fields`: the parts of it that were asked for.
    #[schema(required = false, value_type = Object)]
    state: Value,
    /// There, and false, when the document lives in memory only.
    #[schema(required = false)]
    persistent: bool,
    /// There when it is on another server now: `http://host:port`. Version and hash are then those with which it left,
    /// and there is no `state`.
    #[schema(required = false)]
    moved_to: String,
}

/// A page of a list of documents.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DocumentList)]
pub(super) struct DocumentListSchema {
    #[serde(flatten)]
    page: Page<ListedDocumentSchema>,
    /// With `where` or `sort`: how many documents were looked at for this page. A page ends at a bound of these, maybe
    /// without any entry; the next one goes on there.
    #[schema(required = false)]
    scanned: usize,
}

/// The record of one accepted change: the same in answers, history and streams.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventSchema {
    /// Its place in the log of the whole server.
    #[schema(minimum = 1)]
    seq: u64,
    /// The collection of the document.
    collection: String,
    /// The document's id there.
    id: String,
    /// The document's version after it.
    #[schema(minimum = 1)]
    version: u64,
    /// What was done: `create`, `put`, `patch`, `delete`, `rollback`, `access`, or the type of an action.
    r#type: String,
    /// Who did it.
    actor: String,
    /// When it was taken up.
    #[schema(format = DateTime)]
    at: String,
    /// What was sent along.
    payload: Value,
    /// How the state changed (RFC 6902, only `add`, `remove` and `replace`).
    patch: Vec<ChangeSchema>,
    /// There for the host when the change sets host and access.
    #[schema(required = false)]
    access: EventAccess,
    /// There when the change holds something that not everyone may see, for those who see all of it: makes the hash
    /// say nothing about it.
    #[schema(required = false)]
    salt: String,
    /// The document's hash after it: SHA-256 over the hash before and this event without `seq` and `hash`.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    hash: String,
}

/// One operation of an event's patch.
#[derive(Serialize, ToSchema)]
#[schema(as = Change)]
pub(super) struct ChangeSchema {
    /// What it does.
    op: ChangeOp,
    /// Where: a JSON Pointer into the state.
    path: String,
    /// What it puts there; absent for `remove`.
    #[schema(required = false)]
    value: Value,
}

/// What an operation of an event's patch does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChangeOp {
    /// Puts a value where none was.
    Add,
    /// Takes a value away.
    Remove,
    /// Puts a value in the place of another.
    Replace,
}

/// An action's event, and whether it is on disk.
#[derive(Serialize, ToSchema)]
pub(super) struct Acted {
    /// The event.
    #[serde(flatten)]
    event: EventSchema,
    /// Whether it is on disk.
    durable: bool,
    /// There, and false, when the document lives in memory only.
    #[schema(required = false)]
    persistent: bool,
}

/// A document's history, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HistoryPage)]
pub(super) struct HistoryPageSchema {
    #[serde(flatten)]
    page: Page<EventSchema>,
    /// The oldest version whose event is kept.
    first_version: u64,
}

/// What a batch did, in the order of its operations.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchResults {
    /// One for each operation.
    results: Vec<BatchResult>,
    /// Whether all of it is on disk.
    durable: bool,
}

/// One change of a batch; its members are as in the call that makes the same change alone.
#[derive(Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum BatchChange {
    /// Creates a document; the server makes an id that is left out.
    #[serde(rename_all = "camelCase")]
    Create {
        #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
        collection: String,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        id: Option<String>,
        expected_version: Option<u64>,
        #[schema(value_type = Object)]
        state: Value,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        host: Option<String>,
        access: Option<AccessSchema>,
    },
    /// Creates a document, or replaces its state.
    #[serde(rename_all = "camelCase")]
    Put {
        #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
        collection: String,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        id: String,
        expected_version: Option<u64>,
        #[schema(value_type = Object)]
        state: Value,
    },
    /// Changes parts of a document's state.
    #[serde(rename_all = "camelCase")]
    Patch {
        #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
        collection: String,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        id: String,
        expected_version: Option<u64>,
        patch: StatePatch,
    },
    /// Deletes a document.
    #[serde(rename_all = "camelCase")]
    Delete {
        #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
        collection: String,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        id: String,
        expected_version: Option<u64>,
    },
    /// Acts on a document.
    #[serde(rename_all = "camelCase")]
    Action {
        #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
        collection: String,
        #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
        id: String,
        expected_version: Option<u64>,
        #[schema(pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
        r#type: String,
        payload: Option<Value>,
        patch: Option<StatePatch>,
    },
}

/// A JSON Patch (RFC 6902) if it is an array, else a merge patch (RFC 7396).
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum StatePatch {
    /// RFC 6902.
    Operations(Vec<PatchOperationSchema>),
    /// RFC 7396.
    Merge(BTreeMap<String, Value>),
}

/// Who may do what with a document besides its host, who always may.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Access)]
pub(super) struct AccessSchema {
    /// Left out: `all`.
    read: Option<GrantSchema>,
    /// Who of those that may read it; left out: `all`.
    write: Option<GrantSchema>,
    /// Who of those that may read it; left out: `host`.
    delete: Option<GrantSchema>,
}

/// `"all"`: everyone who gets in; `"host"`: nobody else; otherwise these users, at most 256.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Grant)]
pub(super) enum GrantSchema {
    /// Everyone, or nobody.
    Word(GrantWord),
    /// These users.
    Users(Vec<String>),
}

/// Everyone who gets in, or nobody besides the host.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GrantWord {
    /// Everyone who gets in.
    All,
    /// Nobody else.
    Host,
}

/// Host and access as an event sets them.
#[derive(Serialize, ToSchema)]
pub(super) struct EventAccess {
    /// Who hosts the document from here on; `owner`: the owner of the server.
    host: String,
    /// Who else may read it.
    read: GrantSchema,
    /// Who of those may write.
    write: GrantSchema,
    /// Who of those may delete it.
    delete: GrantSchema,
}

/// Who hosts a document, and who may do what with it.
#[derive(Serialize, ToSchema)]
pub(super) struct DocumentAccess {
    /// The collection of the document.
    collection: String,
    /// The document's id there.
    id: String,
    /// Its version.
    version: u64,
    /// Its hash.
    hash: String,
    /// Who hosts it; `owner`: the owner of the server.
    host: String,
    /// Who else may do what with it.
    access: AccessSchema,
    /// Whether this version is on disk.
    durable: bool,
    /// There, and false, when the document lives in memory only.
    #[schema(required = false)]
    persistent: bool,
}

/// What one operation of a batch did.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchResult {
    /// The collection of the document.
    collection: String,
    /// The document's id there.
    id: String,
    /// Its version now.
    version: u64,
    /// Its hash now.
    hash: String,
    /// The place of the event in the log.
    seq: u64,
    /// There, and false, when the document lives in memory only.
    #[schema(required = false)]
    persistent: bool,
}

/// The answer to a write that asked for no more, while storage fails.
#[derive(Serialize, ToSchema)]
pub(super) struct NotDurable {
    /// False: the change waits for the disk.
    durable: bool,
}

/// One operation of a JSON Patch (RFC 6902); paths begin at the state.
#[derive(Serialize, ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
#[schema(as = PatchOperation)]
pub(super) enum PatchOperationSchema {
    /// Puts a value there (in an array: before what is there).
    Add { path: String, value: Value },
    /// Takes the value away.
    Remove { path: String },
    /// Puts a value in the place of what is there.
    Replace { path: String, value: Value },
    /// Takes a value from elsewhere and puts it there.
    Move { from: String, path: String },
    /// Puts a value from elsewhere there too.
    Copy { from: String, path: String },
    /// Fails the whole patch unless this value is there.
    Test { path: String, value: Value },
}
