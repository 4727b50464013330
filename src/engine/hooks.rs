//! What features have the engine do with documents: the one way in which they reach its thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, UserId, Version};
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Meta;
use crate::document::visibility::Viewer;
use crate::engine::request::Relocation;
use crate::live::messages::StreamMessage;
use crate::live::relocations::RelocationProblems;
use crate::store::{CompanionWrite, Connection};

/// A part of a feature that runs within the engine. Several can be; they are called in the order in which features are
/// added. Every method does nothing unless it is implemented. All are called on the engine's thread and hold up every
/// change meanwhile: no I/O but the rows that they are given a connection for, no waiting. A panic ends the engine.
///
/// ```
/// use rejoin::{Change, ChangeRows, DocumentHook, Kind, Error, StoredRows, sql_error};
///
/// /// Notes who changed which list, and keeps lists from being deleted.
/// struct ListLog;
///
/// impl DocumentHook for ListLog {
///     fn name(&self) -> &'static str {
///         "list-log"
///     }
///
///     fn before_store(&self, change: &Change<'_>, _: &StoredRows<'_>) -> rejoin::Result<Option<ChangeRows>> {
///         if change.document().collection.as_str() != "lists" {
///             return Ok(None);
///         }
///         if change.deletes() {
///             return Err(Error::new(Kind::Forbidden, "lists are kept"));
///         }
///         let (id, user) = (change.document().id.to_string(), change.user().map(ToString::to_string));
///         Ok(Some(ChangeRows::new("changes", move |conn| {
///             let sql = "INSERT INTO list_log_changes (list, user) VALUES (?1, ?2)";
///             conn.execute(sql, (&id, &user)).map(drop).map_err(sql_error)
///         })))
///     }
/// }
/// ```
pub trait DocumentHook: Send + Sync {
    /// Names the hook in logs and start errors, and keeps its rows apart from those of other hooks. Unique.
    fn name(&self) -> &'static str;

    /// Sees a change that is decided and not yet stored. What it returns is written in the transaction of the change,
    /// also when the change waits because storage fails: both are on disk, or neither. An error refuses the change, and
    /// with it the whole request that it is part of; rows of changes that are refused or undone are never written. Not
    /// called for documents that live in memory only.
    fn before_store(&self, change: &Change<'_>, rows: &StoredRows<'_>) -> Result<Option<ChangeRows>> {
        let _ = (change, rows);
        Ok(None)
    }

    /// The document with this [`key`](Change::document_key) is deleted or purged in the transaction that `conn` is in:
    /// rows that belong to it go. Created again under the same name, it is another document. An error takes back only
    /// what was written here.
    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        let _ = (conn, key);
        Ok(())
    }

    /// The history of the document with this [`key`](Change::document_key) is dropped in the transaction that `conn` is
    /// in, and its state stays. An error refuses that.
    fn history_dropped(&self, conn: &Connection, key: i64) -> Result<()> {
        let _ = (conn, key);
        Ok(())
    }

    /// The removal of a document is stored and visible. Of one that lives in memory only this is the only notice.
    fn removal_published(&self, removed: RemovedDocument<'_>) {
        let _ = removed;
    }

    /// The document with this [`key`](Change::document_key) was deleted, is there anew and about to be visible: it is
    /// another document, and what somebody was given of the deleted one ends. Also called for documents that live in
    /// memory only.
    fn before_recreation_published(&self, key: i64) {
        let _ = key;
    }

    /// Takes away what `subject` names, in the transaction that `conn` is in. Done before, it changes nothing: it is
    /// repeated after a transaction that failed, and may be after a kill. See
    /// `Engine::revoke`. Error `NotFound`: what it belongs to is not stored; it is tried again while other changes
    /// wait.
    fn revoke(&self, conn: &Connection, subject: &str, now: Timestamp) -> Result<()> {
        let _ = (conn, subject, now);
        Ok(())
    }

    /// At most `limit` documents that may be purged because the disk is full, the first to go first.
    fn removable_documents(&self, conn: &Connection, limit: usize) -> Result<Vec<DocumentName>> {
        let _ = (conn, limit);
        Ok(Vec::new())
    }
}

/// Stores which documents are moved between servers: the feature that moves them.
pub trait RelocationStore: Send + Sync {
    /// The documents that were frozen, expected or moved when the server stopped. Called once, before the engine
    /// starts. Error: the server does not start.
    fn stored_relocations(&self, conn: &Connection) -> Result<Vec<(DocumentName, Relocation)>>;

    /// What requests about such documents are refused with.
    fn problems(&self) -> RelocationProblems;
}

/// A document that is gone.
#[derive(Clone, Copy)]
pub struct RemovedDocument<'a>(pub(super) &'a Meta);

impl<'a> RemovedDocument<'a> {
    /// Its name.
    pub fn document(&self) -> &'a DocumentName {
        &self.0.name
    }

    /// The key under which rows referred to it: see [`Change::document_key`].
    pub fn document_key(&self) -> i64 {
        self.0.key
    }

    /// Whether it lived in memory only.
    pub fn is_volatile(&self) -> bool {
        self.0.volatile
    }
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOrigin {
    /// A request to write.
    Request,
    /// A merge of edits that were made offline, or what a person decided of one.
    Merge,
    /// The history of a document that another server sends.
    Import,
    /// The server itself: a purge, a compaction, a repair.
    Maintenance,
}

/// States as values: before a change and after it.
#[derive(Clone, Copy, Default)]
pub(super) struct Trees<'a> {
    pub before: Option<&'a Value>,
    pub after: Option<&'a Value>,
}

/// A change that is decided and not yet stored.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    pub(super) event: &'a Event,
    pub(super) state: Option<&'a Bytes>,
    pub(super) trees: Trees<'a>,
    pub(super) creates: bool,
    pub(super) viewer: &'a Viewer,
    pub(super) origin: ChangeOrigin,
}

impl<'a> Change<'a> {
    /// The name of the document.
    pub fn document(&self) -> &'a DocumentName {
        &self.event.meta.name
    }

    /// The key under which rows refer to the document: `documents.key`.
    pub fn document_key(&self) -> i64 {
        self.event.meta.key
    }

    /// The document's version after the change.
    pub fn version(&self) -> Version {
        self.event.version
    }

    /// Whether the document was not there before, or deleted.
    pub fn creates(&self) -> bool {
        self.creates
    }

    /// Whether the document is deleted after it.
    pub fn deletes(&self) -> bool {
        self.event.deletes
    }

    /// The document's state after the change, as JSON; `None`: it is deleted, or the change is an imported one with
    /// others of the document after it.
    pub fn state(&self) -> Option<&'a Bytes> {
        self.state
    }

    /// The document's state before the change; `None`: it was not there, or the change is an imported one.
    pub fn value_before(&self) -> Option<&'a Value> {
        self.trees.before
    }

    /// The document's state after the change; `None`: it is deleted, or the change is an imported one.
    pub fn value_after(&self) -> Option<&'a Value> {
        self.trees.after
    }

    /// The event as it is stored and sent: JSON without seq and hash.
    pub fn event_body(&self) -> &'a Bytes {
        &self.event.body
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        self.event.at
    }

    /// Where it comes from.
    pub fn origin(&self) -> ChangeOrigin {
        self.origin
    }

    /// Who asked for it; `None`: the owner of the server, or the server itself.
    pub fn user(&self) -> Option<&'a UserId> {
        self.viewer.user()
    }

    pub(crate) fn viewer(&self) -> &'a Viewer {
        self.viewer
    }

    /// Where it is in the log, if it is stored or waits for that.
    pub(crate) fn position(&self) -> Position {
        self.event.position()
    }

    /// The fixed facts of the document, as they are after it.
    pub(crate) fn meta(&self) -> &'a Meta {
        &self.event.meta
    }
}

/// A feature's own tables while a change is decided: what is stored, and how much is still on its way there.
pub struct StoredRows<'a> {
    pub(super) hook: &'static str,
    pub(super) read: &'a ReadRows<'a>,
    pub(super) waiting: [&'a PendingGroups; 2],
}

/// Runs a question against the tables. Twice, when the first connection cannot be read.
pub(super) type ReadRows<'a> = dyn Fn(&mut dyn FnMut(&Connection) -> Result<()>) -> Result<()> + 'a;

impl StoredRows<'_> {
    /// Asks the tables as the last transaction left them. Errors: that of the question, which may be asked twice;
    /// `StorageUnavailable`.
    pub fn read<T>(&self, mut question: impl FnMut(&Connection) -> Result<T>) -> Result<T> {
        let mut answer = None;
        (self.read)(&mut |conn| {
            answer = Some(question(conn)?);
            Ok(())
        })?;
        answer.ok_or_else(|| Error::internal("a question of a feature was not asked"))
    }

    /// How many [`ChangeRows`] of this hook and group are decided and not yet stored.
    pub fn pending_rows(&self, group: &str) -> u64 {
        self.waiting.iter().map(|groups| groups.count(self.hook, group)).sum()
    }
}

/// Rows that a hook adds to the transaction of a change.
#[derive(Clone)]
pub struct ChangeRows {
    pub(crate) group: Arc<str>,
    pub(crate) write: WriteRows,
    /// What viewers are told once the change is visible.
    pub(crate) messages: Vec<Arc<StreamMessage>>,
}

impl ChangeRows {
    /// Rows that `write` writes, in a savepoint of the change's transaction. [`StoredRows::pending_rows`] counts them
    /// under `group`. `write` runs again after a transaction that failed. Storage that fails in it fails the
    /// transaction, and both are tried again; another error is logged, and the change is stored without the rows.
    pub fn new(group: &str, write: impl Fn(&Connection) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { group: group.into(), write: Arc::new(write), messages: Vec::new() }
    }

    /// The same, and viewers are told this once the change is visible. As long as it is in memory they are told of it
    /// from there; a [`MessageStore`](crate::live::messages::MessageStore) has to have it for whoever comes later.
    #[must_use]
    pub(crate) fn with_messages(self, messages: Vec<StreamMessage>) -> Self {
        Self { messages: messages.into_iter().map(Arc::new).collect(), ..self }
    }
}

/// Writes rows in the transaction that the connection is in.
pub(crate) type WriteRows = Arc<dyn Fn(&Connection) -> Result<()> + Send + Sync>;

/// [`ChangeRows`] on their way to the disk, with the hook that they are of.
#[derive(Clone)]
pub(crate) struct HookRows {
    pub(super) hook: &'static str,
    pub(super) rows: ChangeRows,
}

impl HookRows {
    pub(super) fn companion(&self) -> CompanionWrite {
        let write = Arc::clone(&self.rows.write);
        let label = Arc::from(format!("{} of {}", self.rows.group, self.hook));
        CompanionWrite { label, required: false, write: Arc::new(move |conn, _| write(conn)) }
    }
}

impl fmt::Debug for HookRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookRows({} of {})", self.rows.group, self.hook)
    }
}

/// How many [`HookRows`] of each group are decided and not yet stored: those of a round until it is stored, those of
/// the backlog until they are durable. As bounded as the events that they belong to.
#[derive(Debug, Default)]
pub(crate) struct PendingGroups(HashMap<(&'static str, Arc<str>), u64>);

impl PendingGroups {
    pub(crate) fn add(&mut self, rows: &HookRows) {
        *self.0.entry((rows.hook, Arc::clone(&rows.rows.group))).or_default() += 1;
    }

    /// They are on disk, or undone.
    pub(crate) fn remove(&mut self, rows: &HookRows) {
        let group = (rows.hook, Arc::clone(&rows.rows.group));
        if let Some(count) = self.0.get_mut(&group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&group);
            }
        }
    }

    fn count(&self, hook: &'static str, group: &str) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.get(&(hook, Arc::from(group))).copied().unwrap_or(0) }
    }
}
