//! What a round stores besides changes and rows of features: snapshots on demand, removals, compactions, repairs.

use std::collections::HashSet;
use std::sync::Arc;

use super::document_cache::DocumentCache;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::model::Document;
use crate::engine::Hooks;
use crate::engine::hooks::DocumentHook;
use crate::engine::refusal::not_stored;
use crate::engine::request::{Durability, PurgedDocument, ReplyTo, StoredSnapshot};
use crate::engine::revocations::DocumentRevocation;
use crate::store::{Batch, Connection, DocumentRepair, Purge, Rows, compact};

/// See the module. Part of a round, and given up with its transaction, but for the repairs, which go with what waits.
#[derive(Default)]
pub(crate) struct Maintenance {
    /// Documents of which a snapshot is asked for.
    pub snapshots: HashSet<DocumentName>,
    pub removals: Vec<Removal>,
    /// See [`Batch::overwrites`].
    pub overwrites: Vec<(i64, Version)>,
    pub compactions: Vec<Compaction>,
    /// See [`Batch::repairs`].
    pub repairs: Vec<DocumentRepair>,
    replies: Vec<MaintenanceReply>,
    failed: bool,
}

enum MaintenanceReply {
    Snapshot(DocumentName, ReplyTo<StoredSnapshot>),
    Purge { tombstone: Arc<Document>, may_wait: bool, to: ReplyTo<PurgedDocument> },
}

/// What of a round's maintenance waits when its transaction has failed.
pub(crate) struct FailedMaintenance {
    /// They must go with the events that wait.
    pub repairs: Vec<DocumentRepair>,
    pub removals: Vec<Removal>,
}

impl Maintenance {
    /// Whether there is nothing to store.
    pub(crate) fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.removals.is_empty() && self.compactions.is_empty() && self.repairs.is_empty()
    }

    /// Whether the round takes nothing more: what comes after must not see what goes here.
    pub(crate) fn ends_round(&self) -> bool {
        !self.removals.is_empty()
    }

    pub(crate) fn reply_snapshot(&mut self, name: DocumentName, to: ReplyTo<StoredSnapshot>) {
        self.replies.push(MaintenanceReply::Snapshot(name, to));
    }

    /// Adds a purge, and who is to be told of it.
    pub(crate) fn add_purge(&mut self, removal: Removal, to: ReplyTo<PurgedDocument>) {
        let (tombstone, may_wait) = (Arc::clone(&removal.purge.tombstone), removal.revocation.is_some());
        self.replies.push(MaintenanceReply::Purge { tombstone, may_wait, to });
        self.removals.push(removal);
    }

    /// Adds it to a transaction; the snapshots are added with those that are due.
    pub(crate) fn add_to(&self, batch: &mut Batch) {
        batch.purges = self.removals.iter().map(|removal| removal.purge.clone()).collect();
        batch.overwrites.clone_from(&self.overwrites);
        batch.repairs.clone_from(&self.repairs);
    }

    /// Rows that belong to the same transaction.
    pub(crate) fn rows(&mut self) -> impl Iterator<Item = &mut dyn Rows> {
        let removals = self.removals.iter_mut().flat_map(Removal::rows);
        removals.chain(self.compactions.iter_mut().map(|compaction| compaction as &mut dyn Rows))
    }

    /// Its transaction failed. What may not wait is given up.
    pub(crate) fn fail(&mut self) -> FailedMaintenance {
        self.failed = true;
        let mut removals = std::mem::take(&mut self.removals);
        removals.retain(|removal| removal.revocation.is_some());
        FailedMaintenance { repairs: std::mem::take(&mut self.repairs), removals }
    }

    /// Answers those who asked for snapshots, purges and compactions.
    pub(crate) fn reply(&mut self, documents: &mut DocumentCache, at: Timestamp) {
        let failed = self.failed;
        for compaction in self.compactions.drain(..) {
            if let Some(name) = compaction.finish(!failed) {
                // Another snapshot would only hold the same state once more.
                documents.snapshot_taken(&name, at);
            }
        }
        for reply in self.replies.drain(..) {
            // Whoever asked may have gone.
            match reply {
                MaintenanceReply::Snapshot(_, to) if failed => drop(to.send(Err(not_stored()))),
                MaintenanceReply::Purge { may_wait: false, to, .. } if failed => drop(to.send(Err(not_stored()))),
                MaintenanceReply::Purge { tombstone, to, .. } => {
                    let durability = if failed { Durability::Pending } else { Durability::Durable };
                    drop(to.send(Ok(PurgedDocument { tombstone, durability })));
                }
                MaintenanceReply::Snapshot(name, to) => {
                    let version = documents.get(&name).map(|cached| cached.document.version);
                    let version = version.ok_or_else(|| Error::internal("a snapshot of what is not in memory"));
                    drop(to.send(version.map(|version| StoredSnapshot { version, at })));
                }
            }
        }
    }
}

/// A document that is purged.
pub(crate) struct Removal {
    pub purge: Purge,
    /// Where what went before the tombstone ends in the log.
    pub through: Seq,
    /// What the journal has of it while it waits; `None`: it is given up when it cannot be stored with its round.
    pub revocation: Option<DocumentRevocation>,
    rows: Vec<RemovalRows>,
}

impl Removal {
    pub(crate) fn new(purge: Purge, through: Seq, hooks: &Hooks) -> Self {
        let rows = removal_rows(hooks, purge.tombstone.meta.key).collect();
        Self { purge, through, revocation: None, rows }
    }

    /// Whether the document was there before: its tombstone is an event of the same round.
    pub(crate) fn adds_event(&self) -> bool {
        self.purge.before.is_some()
    }

    pub(crate) fn rows(&mut self) -> impl Iterator<Item = &mut dyn Rows> {
        self.rows.iter_mut().map(|rows| rows as &mut dyn Rows)
    }
}

/// Removes the rows that one hook has of a document that is deleted or purged.
pub(crate) struct RemovalRows {
    hook: Arc<dyn DocumentHook>,
    key: i64,
}

/// The [`RemovalRows`] of the document with this key, one for each hook, so that each is in a savepoint of its own.
pub(crate) fn removal_rows(hooks: &Hooks, key: i64) -> impl Iterator<Item = RemovalRows> {
    hooks.iter().map(move |hook| RemovalRows { hook: Arc::clone(hook), key })
}

impl Rows for RemovalRows {
    fn write(&mut self, conn: &Connection, _: Timestamp) -> Result<()> {
        let (hook, removed) = (self.hook.name(), self.hook.document_removed(conn, self.key));
        removed.inspect_err(|error| tracing::warn!(%error, hook, "rows of a removed document were not removed"))
    }
}

/// A document whose history goes, and whoever waits for that.
pub(crate) struct Compaction {
    document: Arc<Document>,
    hooks: Hooks,
    outcome: Result<()>,
    reply: ReplyTo<Version>,
}

impl Compaction {
    pub(crate) fn new(document: Arc<Document>, hooks: Hooks, reply: ReplyTo<Version>) -> Self {
        Self { document, hooks, outcome: Ok(()), reply }
    }

    /// Answers. `stored`: the transaction that it was in is on disk. Returns the document, if it was compacted.
    fn finish(self, stored: bool) -> Option<DocumentName> {
        let done = if stored { self.outcome } else { Err(not_stored()) };
        let name = done.is_ok().then(|| self.document.meta.name.clone());
        // Whoever asked may have gone.
        drop(self.reply.send(done.map(|()| self.document.version)));
        name
    }
}

impl Rows for Compaction {
    fn write(&mut self, conn: &Connection, _: Timestamp) -> Result<()> {
        let key = self.document.meta.key;
        let written =
            compact(conn, key).and_then(|()| self.hooks.iter().try_for_each(|hook| hook.history_dropped(conn, key)));
        self.outcome = written;
        // The store only needs to know whether to take it back.
        self.outcome.as_ref().copied().map_err(|error| Error::new(error.kind(), "a history was not dropped"))
    }
}
