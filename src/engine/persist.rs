//! What the engine does to storage beyond the changes themselves: snapshots on demand, taking documents away, and room
//! when the disk is full.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::oneshot;

use super::batch::{Moment, Round};
use super::command::not_stored;
use super::compact::Compaction;
use super::hooks::{ChangeOrigin, DocumentHook};
use super::thread::Thread;
use super::volatile::check_stored;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::decide::{Decision, absent};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::store::{Batch, Connection, DocumentRepair, Purge, Rows, Snapshot, WriteError};

/// Documents that go in one transaction when room is needed. Few, so that no more go than must.
const ROOM_DOCUMENTS: usize = 4;
/// Documents that go in one outage at the most: when so many do not help, it is not their room that is needed.
const ROOM_DOCUMENTS_MAX: usize = 32;

/// What was persisted, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persisted {
    /// The version of the snapshot.
    pub version: Version,
    /// When it was stored.
    pub at: Timestamp,
}

/// What a round stores besides changes and rows.
#[derive(Default)]
pub struct Extras {
    /// Documents of which a snapshot is wanted.
    pub snapshots: HashSet<DocumentName>,
    purges: Vec<Going>,
    /// See [`Batch::overwrites`].
    overwrites: Vec<(i64, Version)>,
    /// Documents whose history goes.
    pub compactions: Vec<Compaction>,
    /// See [`Batch::repairs`].
    pub mends: Vec<DocumentRepair>,
    replies: Vec<ExtraReply>,
    /// The transaction failed that they were in.
    failed: bool,
}

/// A document that goes.
pub struct Going {
    purge: Purge,
    /// Where what went before the tombstone ends in the log.
    through: Seq,
    removed: Vec<Removed>,
}

enum ExtraReply {
    Snapshot(DocumentName, oneshot::Sender<Result<Persisted>>),
    Purge(Arc<Document>, oneshot::Sender<Result<Arc<Document>>>),
}

impl Extras {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.purges.is_empty() && self.compactions.is_empty() && self.mends.is_empty()
    }

    /// Whether the round takes nothing more: what comes after must not see what goes here.
    pub fn ends_round(&self) -> bool {
        !self.purges.is_empty()
    }

    /// Adds them to the transaction; the snapshots are added by the engine.
    pub fn join(&self, batch: &mut Batch) {
        batch.purges = self.purges.iter().map(|going| going.purge.clone()).collect();
        batch.overwrites.clone_from(&self.overwrites);
        batch.repairs.clone_from(&self.mends);
    }

    /// Rows of features that go along.
    pub fn rows(&mut self) -> impl Iterator<Item = &mut dyn Rows> {
        let purges = self.purges.iter_mut().flat_map(|going| &mut going.removed).map(|rows| rows as &mut dyn Rows);
        purges.chain(self.compactions.iter_mut().map(|compaction| compaction as &mut dyn Rows))
    }

    /// Their transaction failed. What is left must go with what waits.
    pub fn fail(&mut self) -> Vec<DocumentRepair> {
        self.failed = true;
        self.purges.clear();
        std::mem::take(&mut self.mends)
    }
}

/// What a hook does when a document goes.
pub struct Removed {
    hook: Arc<dyn DocumentHook>,
    key: i64,
}

impl Rows for Removed {
    fn write(&mut self, conn: &Connection, _: Timestamp) -> Result<()> {
        let (hook, removed) = (self.hook.name(), self.hook.document_removed(conn, self.key));
        removed.inspect_err(|error| tracing::warn!(%error, hook, "rows of a document that goes were not removed"))
    }
}

impl Thread {
    /// Notes that a snapshot is wanted.
    pub fn take_snapshot(
        &mut self,
        name: DocumentName,
        overwrite: bool,
        reply: oneshot::Sender<Result<Persisted>>,
        round: &mut Round,
    ) {
        match self.check_snapshot(&name, overwrite) {
            Ok(overwrites) => {
                round.extras.overwrites.extend(overwrites);
                round.extras.snapshots.insert(name.clone());
                round.extras.replies.push(ExtraReply::Snapshot(name, reply));
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// What is to be overwritten for it. Errors: `StorageUnavailable`, `NotFound`, `Gone`, `VersionConflict`,
    /// `not-persistent`; `Frozen`, `Moved`.
    fn check_snapshot(&mut self, name: &DocumentName, overwrite: bool) -> Result<Option<(i64, Version)>> {
        self.check_well()?;
        self.standings.check(name)?;
        let slot = self.load(name)?;
        let document = match slot {
            Some(slot) if !slot.document.is_deleted() => slot.document,
            other => return Err(absent(name, other.as_ref().map(|slot| &slot.document))),
        };
        check_stored(&document)?;
        match self.writer.stored_version(document.meta.key)? {
            Some(stored) if stored > document.version && !overwrite => {
                let message = "somebody else has written a newer version of it to the disk than the one that runs; its \
                               host may store this one over it with forceOverwrite";
                Err(Error::new(Kind::VersionConflict, message)
                    .with("currentVersion", document.version.0)
                    .with("currentHash", document.hash.to_string())
                    .with("storedVersion", stored.0))
            }
            Some(stored) if stored > document.version => Ok(Some((document.meta.key, document.version))),
            _ => Ok(None),
        }
    }

    /// Error: `StorageUnavailable` while storage fails.
    pub fn check_well(&self) -> Result<()> {
        if self.backlog.is_failing() { Err(not_stored()) } else { Ok(()) }
    }

    /// What features have of a document, to be taken away.
    pub fn removed(&self, key: i64) -> impl Iterator<Item = Removed> {
        self.options.hooks.iter().map(move |hook| Removed { hook: Arc::clone(hook), key })
    }

    /// Notes that a document is to be taken away.
    pub fn take_purge(
        &mut self,
        (name, expected): (&DocumentName, Option<Version>),
        viewer: &Viewer,
        reply: oneshot::Sender<Result<Arc<Document>>>,
        round: &mut Round,
    ) {
        match self.check_well().and_then(|()| self.bury((name, expected), viewer, round)) {
            Ok(tombstone) => round.extras.replies.push(ExtraReply::Purge(tombstone, reply)),
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Decides that a document ends, without asking its rules, and that everything before its end goes. Not while it is
    /// on its way to another server, which may need to be sent it again.
    fn bury(
        &mut self,
        (name, expected): (&DocumentName, Option<Version>),
        viewer: &Viewer,
        round: &mut Round,
    ) -> Result<Arc<Document>> {
        self.standings.check(name)?;
        let slot = match self.load(name) {
            Err(error) => self.stand_in(name, error)?,
            loaded => loaded?.ok_or_else(|| absent(name, None))?,
        };
        let document = Arc::clone(&slot.document);
        check_stored(&document)?;
        if expected.is_some_and(|expected| expected != document.version) {
            let message = format!("{name} has changed since it was looked at");
            return Err(Error::new(Kind::VersionConflict, message).with("currentVersion", document.version.0));
        }
        let (tombstone, before, through) = if document.is_deleted() {
            let through = Seq(document.seq.0.saturating_sub(1));
            (document, None, through)
        } else {
            let origin = ChangeOrigin::Maintenance;
            let moment = Moment { viewer, at: self.options.clock.now(), seed: [0; 32], origin };
            let decision = Decision { kind: "purge".to_owned(), payload: json!({}), state: None };
            let tree = slot.tree()?;
            let meta = Arc::clone(&document.meta);
            let (outcome, _) = self.record(meta, Some(&slot), tree.as_deref(), decision, moment, round)?;
            round.changed.insert(name.clone());
            if let Some(entry) = round.entries.last_mut() {
                entry.ends_write = true;
            }
            (outcome.document, Some((document.seq, document.hash)), document.seq)
        };
        let removed = self.removed(tombstone.meta.key).collect();
        let purge = Purge { tombstone: Arc::clone(&tombstone), before };
        round.extras.purges.push(Going { purge, through, removed });
        Ok(tombstone)
    }

    /// What is told of a purge besides the change: nothing before it is in memory any more.
    pub fn publish_purges(&self, round: &Round) {
        round.extras.purges.iter().for_each(|going| self.hub.forget(going.through));
    }

    /// Answers those who asked for snapshots, purges and compactions.
    pub fn reply_extras(&mut self, round: &mut Round) {
        let (at, failed) = (self.options.clock.now(), round.extras.failed);
        for compaction in round.extras.compactions.drain(..) {
            if let Some(name) = compaction.finish(!failed) {
                // Another snapshot would only hold the same state once more.
                self.working.snapshot_taken(&name, at);
            }
        }
        for reply in round.extras.replies.drain(..) {
            // Whoever asked may have gone.
            match reply {
                ExtraReply::Snapshot(_, to) if failed => drop(to.send(Err(not_stored()))),
                ExtraReply::Purge(_, to) if failed => drop(to.send(Err(not_stored()))),
                ExtraReply::Purge(tombstone, to) => drop(to.send(Ok(tombstone))),
                ExtraReply::Snapshot(name, to) => {
                    let version = self.working.get(&name).map(|slot| slot.document.version);
                    let version = version.ok_or_else(|| Error::internal("a snapshot of what is not in memory"));
                    drop(to.send(version.map(|version| Persisted { version, at })));
                }
            }
        }
    }

    /// The snapshots that a round stores: those asked for, and those due.
    pub fn snapshots_of(&self, round: &Round) -> Vec<Snapshot> {
        let (now, events_max) = (self.options.clock.now(), self.options.snapshot_events_max);
        let due = round.changed.iter().filter(|name| !round.extras.snapshots.contains(*name));
        let due = due.filter_map(|name| self.working.get(name)).filter(|slot| slot.snapshot_due(events_max, now));
        let asked = round.extras.snapshots.iter().filter_map(|name| self.working.get(name));
        due.chain(asked).map(|slot| Snapshot { document: Arc::clone(&slot.document), trim: true }).collect()
    }

    /// Snapshots of what has not changed for a while and whose last snapshot is too old.
    pub fn snapshot_aged(&mut self) {
        let now = self.options.clock.now();
        let aged = self.working.slots().filter(|slot| slot.snapshot_aged(now)).take(super::thread::SNAPSHOTS_PER_BATCH);
        let documents = aged.map(|slot| Arc::clone(&slot.document)).collect();
        self.take_snapshots(documents);
    }

    /// The disk is full: takes away what may go, the first to go first, in one transaction with what waits. What is
    /// decided here is added to `round`. Error: why what waits is still not stored.
    pub fn make_room(&mut self, fault: WriteError, round: &mut Round) -> std::result::Result<(), WriteError> {
        let mut fault = fault;
        // What has gone in this outage already counts: if that does not help, more will not either.
        while fault.full && self.room.len() < ROOM_DOCUMENTS_MAX {
            let limit = self.room.len() + ROOM_DOCUMENTS;
            // Reading needs no trust in the connection. Whatever goes wrong here, the reason to be told stays the disk.
            let Ok(mut names) = self.removable(limit) else { return Err(fault) };
            names.retain(|name| !self.backlog.concerns(name) && self.standings.check(name).is_ok());
            if names.is_empty() || self.reopen().is_err() {
                return Err(fault);
            }
            for name in names.iter().take(ROOM_DOCUMENTS) {
                tracing::warn!(document = %name, "{name} is removed to make room: the disk is full");
                self.bury_for_room(name, round)?;
            }
            match self.append_backlog() {
                Ok(()) => return Ok(()),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    /// The documents that may go, the first to go first.
    fn removable(&self, limit: usize) -> Result<Vec<DocumentName>> {
        let mut names = Vec::new();
        for hook in &self.options.hooks {
            let left = limit.saturating_sub(names.len());
            names.extend(self.writer.ask(|conn| hook.removable_documents(conn, left))?);
        }
        Ok(names)
    }

    fn bury_for_room(&mut self, name: &DocumentName, round: &mut Round) -> std::result::Result<(), WriteError> {
        let first = round.entries.len();
        self.bury((name, None), &Viewer::Owner, round).map_err(WriteError::other)?;
        self.room.extend(round.extras.purges.pop());
        self.backlog.push(round.entries.iter().skip(first).cloned().collect(), Vec::new());
        Ok(())
    }

    /// Stores what waits, and takes away what is to make room for it, in one transaction: however much waits, since
    /// neither may be there without the other.
    pub fn append_with_room(&mut self) -> std::result::Result<(), WriteError> {
        let mut batch = self.backlog.whole();
        let mut room = std::mem::take(&mut self.room);
        batch.repairs = std::mem::take(&mut self.mends);
        batch.purges = room.iter().map(|going| going.purge.clone()).collect();
        let stored = self.commit(
            &batch,
            &mut room.iter_mut().flat_map(|going| &mut going.removed).map(|rows| rows as &mut dyn Rows),
        );
        match stored {
            Ok(()) => {
                // What comes after the last stored event is volatile.
                self.durable_to(self.end.head.0);
                room.iter().for_each(|going| self.hub.forget(going.through));
            }
            Err(_) => (self.room, self.mends) = (room, batch.repairs),
        }
        stored
    }
}
