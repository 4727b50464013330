//! The one writer: a batch of changes in one transaction with one sync, and what follows when that fails.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::base::limits::CHECKPOINT_FRAMES;
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Access, Document, Meta};
use crate::store::companion_rows::CompanionWrite;
use crate::store::error::{OpenError, StoreError, WriteError};
use crate::store::read::{log, replay};
use crate::store::rows::{self, Text};
use crate::store::volatile::{self, VolatileRange};
use crate::store::write::keys::{self, IdempotencyRow};
use crate::store::write::purge::{self, Purge};
use crate::store::write::repair::{self, DocumentRepair};
use crate::store::write::trim;
use crate::store::{History, Options, Synchronous, file_size_limit, open};

pub(crate) use crate::store::read::replay::{DocumentHead, LoadedDocument};

/// WAL frames from which on a checkpoint waits for readers, so that the WAL can start over: with reads that always
/// overlap it would otherwise grow for ever.
const RESTART_FRAMES: u64 = 4 * CHECKPOINT_FRAMES as u64;
/// How long the engine's thread lets a checkpoint wait for readers: they take milliseconds.
const READERS_WAIT: Duration = Duration::from_millis(250);

/// Looks at all tables (0x10000), not only at those that this connection has asked for: most is read by others.
/// Analyses (0x2) those that need it from a sample (0x10), so that it takes milliseconds however much is stored.
const OPTIMIZE: &str = "PRAGMA optimize = 0x10012";

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Of the last event; 0 when there is none.
    pub seq: Seq,
    pub hash: Hash,
}

/// What is stored in one transaction: all of it or nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// Documents that are new. One that is stored already is left as it is.
    pub documents: Vec<Arc<Meta>>,
    /// Events, in the order of their seq, all after the [`head`](Writer::head). A seq that is left out was that of a
    /// change that is not to be stored, or comes before a history that arrived without its beginning.
    pub events: Vec<Arc<Event>>,
    /// Snapshots of documents at versions whose events are stored already or in this batch.
    pub snapshots: Vec<Snapshot>,
    /// Where the kept history of some of the documents begins, when it does not begin with their first version: each as
    /// it was before the first event that this batch has of it, in the place of the log that is left out before that.
    /// Whoever follows from an earlier place thus sees that changes are missing there, as where history was trimmed.
    pub bases: Vec<Arc<Document>>,
    /// Answers to be remembered.
    pub keys: Vec<IdempotencyRow>,
    pub purges: Vec<Purge>,
    /// Documents, by key, of which somebody else stored what comes after this version: that goes.
    pub overwrites: Vec<(i64, Version)>,
    /// Documents whose rows are written anew.
    pub repairs: Vec<DocumentRepair>,
    /// Rows of features that go with the events.
    pub companions: Vec<CompanionWrite>,
}

impl Batch {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        let changes = self.documents.is_empty() && self.events.is_empty() && self.overwrites.is_empty();
        let others = self.purges.is_empty() && self.repairs.is_empty();
        changes && others && self.snapshots.is_empty() && self.keys.is_empty()
    }
}

/// A document's state to be stored whole.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The document at that version.
    pub document: Arc<Document>,
    /// Whether its history is to be trimmed now, at most up to this version.
    pub trim: bool,
}

/// Rows of a feature, to be written in the same transaction as the changes of a batch. What they are about is the
/// feature's affair; tables of features are in `schema.sql` like all others.
pub trait Rows: Send {
    /// Writes them, in a savepoint: an error takes back what was written here, and nothing else of the batch.
    fn write(&mut self, conn: &Connection, now: Timestamp) -> Result<()>;
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitTimes {
    pub write: Duration,
    /// The COMMIT, which syncs.
    pub sync: Duration,
}

/// What [`Writer::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceReport {
    /// Whether SQLite's statistics are up to date.
    pub optimized: bool,
    /// Frames that the WAL had.
    pub wal_frames: u64,
    /// Whether all of them are in the database now, and the WAL's file is empty.
    pub wal_emptied: bool,
}

/// The one connection that writes. Owned by the engine's thread; every method blocks. Holds the lock on the data
/// directory.
pub struct Writer {
    /// `None` when the last attempt to reopen did not get this far.
    conn: Option<Connection>,
    /// Whether a write failed since it was opened. It then only reads.
    distrusted: bool,
    path: PathBuf,
    synchronous: Synchronous,
    history: History,
    pages_max: Arc<AtomicU32>,
    head: LogHead,
    next_key: i64,
    pub(crate) foreign_commits: repair::ForeignCommits,
    /// Frames in the WAL at the last checkpoint that was tried.
    tried_at: u64,
    /// Let go after the connection: fields are dropped in this order.
    _lock: File,
}

impl Writer {
    pub(crate) fn new(
        conn: Connection,
        path: PathBuf,
        options: &Options,
        lock: File,
    ) -> std::result::Result<Self, StoreError> {
        let (head, next_key) = (log::head(&conn)?, next_key(&conn)?);
        Ok(Self {
            conn: Some(conn),
            distrusted: false,
            path,
            synchronous: options.synchronous,
            history: options.history,
            pages_max: Arc::new(AtomicU32::new(options.pages_max.unwrap_or(0))),
            head,
            next_key,
            foreign_commits: repair::ForeignCommits::default(),
            tried_at: 0,
            _lock: lock,
        })
    }

    /// The end of the log, as far as it is stored. After a failed commit: as it was before, until reopened.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// To be called once, before anything else is stored: a run begins in which new documents of `collections` live in
    /// memory only. Returns what those of earlier runs left in the log.
    pub fn begin_run(
        &mut self,
        collections: &BTreeSet<Collection>,
    ) -> std::result::Result<Vec<VolatileRange>, OpenError> {
        let begun = self.reading().and_then(|conn| volatile::begin_run(conn, collections));
        begun.map_err(|failure| {
            let (path, damaged) = (self.path.clone(), failure.is_damage());
            let source = failure.into_error();
            match damaged {
                true => OpenError::Damaged { path, reason: source.to_string() },
                false => OpenError::Other { path, source: source.into() },
            }
        })
    }

    /// The key for the next new document; those after it follow one by one.
    pub fn next_key(&self) -> i64 {
        self.next_key
    }

    /// The bound on the database's pages, 0 for none, for whoever wants to change it while the engine's thread has the
    /// writer: holds from the next [`reopen`](Self::reopen) on.
    pub fn pages_max(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.pages_max)
    }

    /// Stores the batch. When it returns `Ok`, all of it is on disk. When not, it is unknown whether all or nothing of
    /// it is, and nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn commit(&mut self, batch: &Batch, now: Timestamp) -> std::result::Result<CommitTimes, WriteError> {
        self.commit_with(batch, &mut std::iter::empty(), now)
    }

    /// The same, with rows of features in the same transaction.
    pub fn commit_with(
        &mut self,
        batch: &Batch,
        rows: &mut dyn Iterator<Item = &mut dyn Rows>,
        now: Timestamp,
    ) -> std::result::Result<CommitTimes, WriteError> {
        let mut rows = rows.peekable();
        if batch.is_empty() && rows.peek().is_none() {
            return Ok(CommitTimes::default());
        }
        debug_assert!(batch.events.first().is_none_or(|event| event.seq > self.head.seq), "seq rises");
        debug_assert!(batch.events.iter().all(|event| !event.meta.volatile), "what is volatile is not stored");
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else {
            return Err(WriteError::other("the database must be reopened first"));
        };
        let times = store(conn, batch, &mut rows, self.history, now).map_err(|error| {
            // Most failures have ended the transaction already; ending it twice would be an error of its own.
            if !conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err() {
                warn!("a failed transaction could not be rolled back");
            }
            WriteError { full: error.full || file_size_limit::is_reached(&self.path), ..error }
        });
        self.distrusted = times.is_err();
        if times.is_ok() {
            if let Some(last) = batch.events.last() {
                self.head = LogHead { seq: last.seq, hash: last.hash };
            }
            let keys = batch.documents.iter().map(|meta| meta.key.saturating_add(1));
            self.next_key = keys.fold(self.next_key, i64::max);
        }
        times
    }

    /// After a failure: closes the connection, opens another and finds out what is durable, which the returned head
    /// tells. An event that the failed batch gave that seq *and* hash is stored, with its whole batch.
    ///
    /// After a failed sync the kernel may count pages as written that are not, so that a later sync of the same file
    /// succeeds and proves nothing. Therefore the WAL's content is copied into the database, which is synced in turn:
    /// those pages are newly written. What is in neither, the failed batch perhaps, is gone with the old WAL.
    pub fn reopen(&mut self) -> std::result::Result<LogHead, WriteError> {
        self.distrusted = true;
        drop(self.conn.take());
        (self.tried_at, self.foreign_commits.data_version) = (0, None);
        let conn = open::connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let found = self.recover(&conn);
        let found =
            found.map_err(|error| WriteError { full: error.full || file_size_limit::is_reached(&self.path), ..error });
        self.conn = Some(conn);
        (self.head, self.next_key) = found?;
        self.distrusted = false;
        Ok(self.head)
    }

    fn recover(&self, conn: &Connection) -> std::result::Result<(LogHead, i64), WriteError> {
        open::configure(conn, self.synchronous, self.pages_max.load(Ordering::Relaxed))?;
        conn.busy_timeout(READERS_WAIT)?;
        let moved = checkpoint(conn, Checkpoint::Truncate);
        conn.busy_timeout(open::BUSY_WAIT)?;
        if !moved?.complete() {
            return Err(WriteError::other("someone who reads keeps the WAL from being moved into the database"));
        }
        Ok((log::head(conn)?, next_key(conn)?))
    }

    /// A question of a feature to its own tables, as they are between two transactions. Error: what the question
    /// answers with; `StorageUnavailable` when the file cannot be read.
    pub fn ask<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.reading().map_err(StoreError::into_error).and_then(question)
    }

    /// The newest version of a document on disk, whoever wrote it.
    pub fn stored_version(&self, key: i64) -> Result<Option<Version>> {
        self.reading().and_then(|conn| rows::head_version(conn, key)).map_err(StoreError::into_error)
    }

    /// Bytes of the body of a stored event; `None`: it is not there.
    pub fn event_bytes(&self, seq: Seq) -> Result<Option<usize>> {
        self.reading().and_then(|conn| log::event_bytes(conn, seq)).map_err(StoreError::into_error)
    }

    /// The hash of a stored event, to compare what is durable with what was meant to be.
    pub fn event_hash(&self, seq: Seq) -> Result<Option<Hash>> {
        let found = self.reading().and_then(|conn| log::event_at(conn, seq));
        Ok(found.map_err(StoreError::into_error)?.map(|(hash, _)| hash))
    }

    /// The newest version of the document called `name`, if there ever was one. Error: `Damaged`.
    pub fn load(&self, name: &DocumentName) -> Result<Option<LoadedDocument>> {
        self.reading().and_then(|conn| replay::load(conn, name)).map_err(StoreError::into_error)
    }

    /// Where the document called `name` ends, if there ever was one: also of one that is too damaged to be read.
    pub fn tip(&self, name: &DocumentName) -> Result<Option<DocumentHead>> {
        self.reading().and_then(|conn| replay::tip(conn, name)).map_err(StoreError::into_error)
    }

    /// The document called `name` as it was at `version`. Error: `NotFound` when it never was, or not yet at that
    /// version (with `currentVersion`); `Gone` when that version is trimmed (with `firstVersion`); `Damaged`.
    pub fn state_at(&self, name: &DocumentName, version: Version) -> Result<Document> {
        self.reading().and_then(|conn| replay::state_at(conn, name, version)).map_err(StoreError::into_error)
    }

    /// What was answered to the request with this key. May be older than what is promised to be remembered.
    pub fn find_key(&self, scope: &str, key: &str) -> Result<Option<IdempotencyRow>> {
        self.reading().and_then(|conn| keys::find(conn, scope, key)).map_err(StoreError::into_error)
    }

    /// Moves the WAL into the database when it has grown enough. To be called between batches, after the waiting ones
    /// were answered. A failure loses nothing, since the WAL still has everything; it is only logged.
    pub fn checkpoint_if_due(&mut self) {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return };
        let result = checkpoint(conn, Checkpoint::Ask).and_then(|progress| {
            if progress.frames < self.tried_at {
                self.tried_at = 0;
            }
            let done = progress.moved.max(self.tried_at);
            if progress.frames.saturating_sub(done) < u64::from(CHECKPOINT_FRAMES) {
                return Ok(());
            }
            self.tried_at = progress.frames;
            if progress.frames < RESTART_FRAMES {
                return checkpoint(conn, Checkpoint::Passive).map(drop);
            }
            conn.busy_timeout(READERS_WAIT)?;
            let restarted = checkpoint(conn, Checkpoint::Restart);
            conn.busy_timeout(open::BUSY_WAIT)?;
            restarted.map(drop)
        });
        if let Err(error) = result {
            warn!(%error, "the WAL could not be moved into the database");
        }
    }

    /// Lets SQLite look after its statistics, then moves the whole WAL into the database and empties its file. Takes as
    /// long as the WAL is large, and waits a quarter of a second for readers: to be called when nothing else waits.
    /// Error: a write failed, so that nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn maintain(&mut self) -> std::result::Result<MaintenanceReport, WriteError> {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else {
            return Err(WriteError::other("the database must be reopened first"));
        };
        let mut report = MaintenanceReport::default();
        match conn.execute_batch(OPTIMIZE) {
            Ok(()) => report.optimized = true,
            // Somebody else writes; it is for another time.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => {
                // It may have been a sync: nobody knows what is durable.
                self.distrusted = true;
                return Err(error.into());
            }
        }
        let emptied = (|| {
            report.wal_frames = checkpoint(conn, Checkpoint::Ask)?.frames;
            conn.busy_timeout(READERS_WAIT)?;
            let emptied = checkpoint(conn, Checkpoint::Truncate);
            conn.busy_timeout(open::BUSY_WAIT)?;
            emptied
        })();
        match emptied {
            Ok(progress) => report.wal_emptied = progress.complete(),
            // Nothing is lost: the WAL still has everything.
            Err(error) => warn!(%error, "the WAL could not be moved into the database"),
        }
        self.tried_at = 0;
        Ok(report)
    }

    /// Moves the WAL into the database and lets go of both. What fails here is only logged: the next start does it
    /// then.
    pub fn close(self) {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return };
        let result = conn.execute_batch("PRAGMA optimize").and_then(|()| checkpoint(conn, Checkpoint::Truncate));
        if let Err(error) = result {
            warn!(%error, "the WAL could not be moved into the database at the end");
        }
    }

    pub(crate) fn reading(&self) -> std::result::Result<&Connection, StoreError> {
        self.conn.as_ref().ok_or_else(|| Error::new(Kind::StorageUnavailable, "storage cannot be read now").into())
    }
}

fn next_key(conn: &Connection) -> std::result::Result<i64, StoreError> {
    let key: i64 = conn.query_row("SELECT coalesce(max(key), 0) FROM documents", [], |row| row.get(0))?;
    Ok(key.saturating_add(1))
}

fn store(
    conn: &Connection,
    batch: &Batch,
    rows: &mut dyn Iterator<Item = &mut dyn Rows>,
    history: History,
    now: Timestamp,
) -> std::result::Result<CommitTimes, WriteError> {
    let started = Instant::now();
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    batch.repairs.iter().try_for_each(|repair| repair::repair(conn, repair))?;
    for (key, version) in &batch.overwrites {
        purge::forget_after(conn, *key, *version)?;
    }
    // Before anything is added, so that they make room for it; and after, since what was added may go, too.
    for going in &batch.purges {
        purge::purge(conn, going)?;
    }
    insert_documents(conn, &batch.documents)?;
    insert_events(conn, &batch.events)?;
    for base in &batch.bases {
        insert_snapshot(conn, base, Existing::Replace)?;
        let sql = "UPDATE documents SET base_version = ?2, base_seq = ?3, base_hash = ?4 WHERE key = ?1";
        let (version, seq) = (rows::int(base.version.0), rows::int(base.seq.0));
        conn.prepare_cached(sql)?.execute((base.meta.key, version, seq, base.hash.to_string()))?;
        // There when the document was here before, and was trimmed elsewhere meanwhile.
        conn.prepare_cached("DELETE FROM events WHERE document = ?1 AND version <= ?2")?
            .execute((base.meta.key, version))?;
        conn.prepare_cached("DELETE FROM snapshots WHERE document = ?1 AND version < ?2")?
            .execute((base.meta.key, version))?;
    }
    for snapshot in &batch.snapshots {
        insert_snapshot(conn, &snapshot.document, Existing::Replace)?;
    }
    for going in &batch.purges {
        purge::purge(conn, going)?;
    }
    keys::insert(conn, &batch.keys)?;
    if !batch.keys.is_empty() {
        trim::forget_keys(conn, now)?;
    }
    for rows in rows {
        in_savepoint(conn, |conn| rows.write(conn, now))?;
    }
    // After the rows, in whatever order both were asked for: those that go with a deleted document are gone before rows
    // come for one of the same name, and those that set a feature's own count back come before what is added to it.
    batch.companions.iter().try_for_each(|companion| companion.run(conn, now))?;
    // Last: trimming looks at the newest version, which this batch may hold.
    for snapshot in batch.snapshots.iter().filter(|snapshot| snapshot.trim) {
        trim::trim(conn, history, &snapshot.document, now)?;
    }
    let write = started.elapsed();
    conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(CommitTimes { write, sync: started.elapsed().saturating_sub(write) })
}

/// Runs a feature's writes so that their failure is theirs alone. A failure that took the whole transaction along (a
/// full disk) is everybody's.
fn in_savepoint(
    conn: &Connection,
    write: impl FnOnce(&Connection) -> Result<()>,
) -> std::result::Result<(), WriteError> {
    conn.prepare_cached("SAVEPOINT rows")?.execute([])?;
    if let Err(error) = write(conn) {
        if conn.is_autocommit() {
            return Err(WriteError::other(error));
        }
        conn.prepare_cached("ROLLBACK TO rows")?.execute([])?;
    }
    conn.prepare_cached("RELEASE rows")?.execute([])?;
    Ok(())
}

pub(crate) fn insert_documents(conn: &Connection, documents: &[Arc<Meta>]) -> std::result::Result<(), WriteError> {
    let sql = "INSERT INTO documents (key, collection, id, host, access, created_at, base_version, base_seq, base_hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7) ON CONFLICT (key) DO NOTHING";
    let mut statement = conn.prepare_cached(sql)?;
    for meta in documents {
        let access = if meta.access == Access::default() {
            None
        } else {
            Some(serde_json::to_string(&meta.access).map_err(WriteError::other)?)
        };
        statement.execute((
            meta.key,
            meta.name.collection.as_str(),
            meta.name.id.as_str(),
            meta.host.as_ref().map(|host| host.as_str()),
            access,
            meta.created_at.to_string(),
            Hash::ZERO.to_string(),
        ))?;
    }
    Ok(())
}

fn insert_events(conn: &Connection, events: &[Arc<Event>]) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO events (seq, document, version, at, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = conn.prepare_cached(sql)?;
    for event in events {
        statement.execute((
            rows::int(event.seq.0),
            event.meta.key,
            rows::int(event.version.0),
            event.at.to_string(),
            event.hash.to_string(),
            event.deletes,
            Text(&event.body),
        ))?;
    }
    Ok(())
}

/// What becomes of a snapshot that is there already.
#[derive(Clone, Copy)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

pub(crate) fn insert_snapshot(conn: &Connection, document: &Document, existing: Existing) -> rusqlite::Result<()> {
    let sql = match existing {
        Existing::Keep => {
            "INSERT INTO snapshots (document, version, seq, hash, at, checksum, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"
        }
        Existing::Replace => {
            "INSERT INTO snapshots (document, version, seq, hash, at, checksum, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (document, version) DO UPDATE
             SET seq = excluded.seq, hash = excluded.hash, at = excluded.at, checksum = excluded.checksum,
                 state = excluded.state"
        }
    };
    let Document { meta, version, hash, seq, updated_at, state } = document;
    let checksum = replay::checksum(*hash, *version, *seq, *updated_at, state.as_deref());
    conn.prepare_cached(sql)?.execute((
        meta.key,
        rows::int(version.0),
        rows::int(seq.0),
        hash.to_string(),
        updated_at.to_string(),
        checksum.to_string(),
        state.as_deref().map(Text),
    ))?;
    Ok(())
}

/// A way of moving the WAL into the database.
#[derive(Clone, Copy)]
pub(crate) enum Checkpoint {
    /// Moves nothing; only tells.
    Ask,
    /// What can be moved without waiting for anybody.
    Passive,
    /// Everything, and waits until nobody reads from the WAL, so that it starts over.
    Restart,
    /// The same, and empties the file.
    Truncate,
}

/// How far a checkpoint got.
pub(crate) struct Progress {
    busy: bool,
    /// Frames in the WAL.
    frames: u64,
    /// Of those, already in the database.
    moved: u64,
}

impl Progress {
    /// Whether everything is in the database.
    pub(crate) fn complete(&self) -> bool {
        !self.busy && self.frames == self.moved
    }
}

pub(crate) fn checkpoint(conn: &Connection, how: Checkpoint) -> rusqlite::Result<Progress> {
    let sql = match how {
        Checkpoint::Ask => "PRAGMA wal_checkpoint(NOOP)",
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Checkpoint::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    // SQLite says -1 where it does not know.
    let known = |number: i64| u64::try_from(number).unwrap_or(0);
    conn.prepare_cached(sql)?
        .query_row([], |row| Ok(Progress { busy: row.get(0)?, frames: known(row.get(1)?), moved: known(row.get(2)?) }))
}
