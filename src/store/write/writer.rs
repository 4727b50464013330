//! The one writer: a batch of changes in one transaction with one sync, and what follows when that fails.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode};
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Collection;
use crate::store::connection::BUSY_WAIT;
use crate::store::error::{Blocked, LostFile, OpenError, StoreError, WriteError, WriteResult};
use crate::store::file_size_limit;
use crate::store::integrity::key_file;
use crate::store::open_files::OpenFiles;
use crate::store::options::{HistoryRetention, StoreOptions, Synchronous};
use crate::store::read::log;
use crate::store::read::reader::Reader;
use crate::store::recovery::{self, Opened};
use crate::store::revocation_journal::RevocationJournal;
use crate::store::rows::LogHead;
use crate::store::volatile::{self, VolatileRange};
use crate::store::write::batch::{Batch, CommitTimes, Rows};
use crate::store::write::checkpoint::{Checkpoint, checkpoint};
use crate::store::write::checkpoints::{Checkpoints, READERS_WAIT};
use crate::store::write::commit;
use crate::store::write::file_copy::FileCopy;
use crate::store::write::file_watch::FileWatch;

/// Looks at all tables (0x10000), not only at those that this connection has asked for: most is read by others.
/// Analyses (0x2) those that need it from a sample (0x10), so that it takes milliseconds however much is stored.
const OPTIMIZE: &str = "PRAGMA optimize = 0x10012";

/// How long all others wait for a copy of the file each time it is asked for: enough for a small one.
const COPY_WAIT: Duration = Duration::from_millis(20);

/// How long a transaction waits for another process that writes.
const WRITE_WAIT: Duration = Duration::from_millis(250);
/// The same when the one before has waited in vain.
const LOCKED_WAIT: Duration = Duration::from_millis(20);

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

/// What the writer's connection knows of other connections.
#[derive(Debug, Default)]
pub(super) struct ForeignCommits {
    /// What it last said about their commits; `None`: it was not asked yet.
    pub(super) data_version: Option<i64>,
    /// See [`Writer::foreign_commits`].
    count: u64,
}

/// The one connection that writes. Owned by the engine's thread; every method blocks. Holds the lock on the data
/// directory.
pub struct Writer {
    /// `None` when the last attempt to reopen did not get this far.
    pub(super) conn: Option<Connection>,
    /// Whether a write failed since it was opened. It then only reads.
    pub(super) distrusted: bool,
    /// Whether another process held the write lock when a transaction was last begun.
    pub(super) locked: bool,
    pub(super) files: Arc<OpenFiles>,
    /// The reader pool, which follows when the writer goes on with another file.
    pub(super) reader: Reader,
    pub(super) synchronous: Synchronous,
    history: HistoryRetention,
    removes_by_time: bool,
    pub(super) pages_max: Arc<AtomicU32>,
    pub(super) head: LogHead,
    pub(super) next_key: i64,
    /// The run that begins once something can be written: see [`begin_run`](Self::begin_run).
    pub(super) pending_run: Option<BTreeSet<Collection>>,
    /// The collections of [`begin_run`](Self::begin_run).
    pub(super) volatile_collections: BTreeSet<Collection>,
    /// The SQL that made the tables of features.
    pub(super) feature_tables: Mutex<Vec<&'static str>>,
    pub(super) foreign_commits: ForeignCommits,
    pub(super) checkpoints: Checkpoints,
    pub(super) watch: FileWatch,
    /// A copy that is being made, to go on with.
    pub(super) copying: Option<FileCopy>,
    pub(super) copy_wait: Duration,
    /// Holds the lock. Let go after the connection: fields are dropped in this order.
    pub(super) opened: Opened,
}

impl Writer {
    pub(crate) fn new(
        conn: Option<Connection>,
        (head, next_key): (LogHead, i64),
        files: Arc<OpenFiles>,
        options: &StoreOptions,
        reader: Reader,
        opened: Opened,
    ) -> Self {
        opened.note.write(head);
        let mut watch = FileWatch::new(options.wal_bytes_max);
        if let Some(conn) = &conn {
            watch.begin(&files, conn);
        }
        Self {
            distrusted: conn.is_none(),
            conn,
            locked: false,
            files,
            reader,
            synchronous: options.synchronous,
            history: options.history,
            removes_by_time: true,
            pages_max: Arc::new(AtomicU32::new(options.pages_max.unwrap_or(0))),
            head,
            next_key,
            pending_run: None,
            volatile_collections: BTreeSet::new(),
            feature_tables: Mutex::default(),
            foreign_commits: ForeignCommits::default(),
            checkpoints: Checkpoints::new(options.wal_bytes_max, options.read_age_max),
            watch,
            copying: None,
            copy_wait: COPY_WAIT,
            opened,
        }
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
        self.volatile_collections.clone_from(collections);
        let begun = match &self.conn {
            Some(conn) => volatile::begin_run(conn, collections).map_err(|failure| self.files.to_public_error(failure)),
            None => {
                self.pending_run = Some(collections.clone());
                self.reader.read(volatile::left_by_earlier_runs)
            }
        };
        begun.map_err(|source| {
            let path = self.files.database().to_owned();
            match source.kind() == Kind::Damaged {
                true => OpenError::Damaged { path, reason: source.to_string() },
                false => OpenError::Other { path, source: source.into() },
            }
        })
    }

    /// The journal of revocations beside the database, and its lines.
    pub(crate) fn revocation_journal(&self) -> (RevocationJournal, Vec<String>) {
        RevocationJournal::open(&self.files.paths().journal())
    }

    /// Where the journal of revocations belongs; `None`: the files there are not ours now.
    pub(crate) fn journal_path(&self) -> Option<PathBuf> {
        self.has_our_paths().then(|| self.files.paths().journal())
    }

    /// Whether the paths name our files, but for what is missing beside the database.
    fn has_our_paths(&self) -> bool {
        let replaced = matches!(self.files.check(), Err(LostFile::Replaced(_)));
        !replaced && self.files.check_database().is_ok()
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

    /// Whether the time of a commit may decide that history is trimmed and that answers are forgotten.
    pub(crate) fn set_removes_by_time(&mut self, removes: bool) {
        self.removes_by_time = removes;
    }

    /// Stores the batch. When it returns `Ok`, all of it is on disk. When not, it is unknown whether all or nothing of
    /// it is, and nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn commit(&mut self, batch: &Batch, now: Timestamp) -> WriteResult<CommitTimes> {
        self.commit_with(batch, &mut std::iter::empty(), now)
    }

    /// The same, with rows of features in the same transaction.
    pub fn commit_with(
        &mut self,
        batch: &Batch,
        rows: &mut dyn Iterator<Item = &mut dyn Rows>,
        now: Timestamp,
    ) -> WriteResult<CommitTimes> {
        let mut rows = rows.peekable();
        if batch.is_empty() && rows.peek().is_none() {
            return Ok(CommitTimes::default());
        }
        debug_assert!(batch.events.first().is_none_or(|event| event.seq > self.head.seq), "seq rises");
        debug_assert!(batch.events.iter().all(|event| !event.meta.volatile), "what is volatile is not stored");
        if self.distrusted {
            return Err(WriteError::other("the database must be reopened first"));
        }
        // What is written behind a cut would hide it.
        self.check_files()?;
        let Some(conn) = &self.conn else { return Err(WriteError::other("the database must be reopened first")) };
        // All writes wait meanwhile. Whoever has kept the lock for long is not waited for again.
        conn.busy_timeout(if self.locked { LOCKED_WAIT } else { WRITE_WAIT })?;
        let history = (self.history, self.removes_by_time);
        let times = commit::write_batch(conn, batch, &mut rows, history, now).map_err(|error| {
            // Most failures have ended the transaction already; ending it twice would be an error of its own.
            if !conn.is_autocommit() && conn.execute_batch("ROLLBACK").is_err() {
                warn!("a failed transaction could not be rolled back");
            }
            file_size_limit::explain_failure(error, self.files.database())
        });
        // A transaction that could not begin has written nothing.
        self.locked = times.as_ref().is_err_and(|error| error.blocked == Some(Blocked::Writing));
        self.distrusted = times.is_err() && !self.locked;
        if times.is_ok() {
            if let Some(last) = batch.events.last() {
                self.head = LogHead { seq: last.seq, hash: last.hash };
            }
            // Rewritten rows may have been the last of the log.
            if !batch.repairs.is_empty() || !batch.overwrites.is_empty() {
                self.opened.note.write(log::head(conn).unwrap_or(self.head));
            } else {
                self.opened.note.write(self.head);
            }
            let keys = batch.documents.iter().map(|meta| meta.key.saturating_add(1));
            self.next_key = keys.fold(self.next_key, i64::max);
            let whole = self.watch.committed(conn);
            // What was stored in a file that no path names is stored nowhere.
            self.check_files()?;
            whole?;
        }
        times
    }

    /// Why nothing can be written since the start; once.
    pub fn take_fault(&mut self) -> Option<WriteError> {
        self.opened.fault.take()
    }

    /// Moves the WAL into the database when it has grown enough. To be called between batches, after the waiting ones
    /// were answered. A failure loses nothing, since the WAL still has everything.
    pub fn checkpoint_if_due(&mut self) -> WriteResult {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return Ok(()) };
        self.checkpoints.run_if_due(conn, self.reader.active(), &mut self.watch)
    }

    /// Bytes of the WAL that are in use, as of the newest look.
    pub fn wal_bytes(&self) -> u64 {
        self.checkpoints.wal_bytes()
    }

    /// Bytes of the WAL, when they are more than its bound.
    pub fn wal_past_bound(&self) -> Option<u64> {
        self.checkpoints.wal_past_bound()
    }

    /// What was found missing when the file was opened; `None`: nothing.
    pub fn loss(&self) -> Option<&str> {
        self.opened.loss.as_deref()
    }

    /// Why it cannot be told which rows somebody else had written before the file was opened; `None`: it can.
    pub fn unproven(&self) -> Option<&str> {
        self.opened.unproven.as_deref()
    }

    /// Sees to it that the key of MACs is in its file beside the database.
    pub(crate) fn keep_key(&self) -> io::Result<()> {
        let path = self.files.paths().integrity_key();
        match self.files.key() {
            Some(key) if self.has_our_paths() && !path.exists() => {
                warn!("{} was not there and is written anew", path.display());
                key_file::write(&path, key)
            }
            _ => Ok(()),
        }
    }

    /// Whether the last server that had the file open did not close it.
    pub fn was_unclean(&self) -> bool {
        self.opened.unclean
    }

    /// Whether a write failed, so that nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted || self.conn.is_none()
    }

    /// Lets SQLite look after its statistics, then moves the whole WAL into the database and empties its file. Takes as
    /// long as the WAL is large, and waits a quarter of a second for readers: to be called when nothing else waits.
    /// Error: a write failed, so that nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn maintain(&mut self) -> WriteResult<MaintenanceReport> {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else {
            return Err(WriteError::other("the database must be reopened first"));
        };
        let mut report = MaintenanceReport::default();
        conn.busy_timeout(WRITE_WAIT)?;
        match conn.execute_batch(OPTIMIZE) {
            Ok(()) => report.optimized = true,
            // Somebody else writes; it is for another time.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => {
                // It may have been a sync: what is durable is unknown.
                self.distrusted = true;
                return Err(error.into());
            }
        }
        let emptied = checkpoint(conn, Checkpoint::Ask).map_err(WriteError::from).and_then(|progress| {
            report.wal_frames = progress.frames;
            self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT, &mut self.watch)
        });
        match emptied {
            Ok(progress) => report.wal_emptied = progress.complete(),
            // Nothing is lost: the WAL still has everything.
            Err(error) => warn!(%error, "the WAL could not be moved into the database"),
        }
        self.checkpoints.reset();
        Ok(report)
    }

    /// Moves the WAL into the database and lets go of both. What fails here is only logged: the next start does it
    /// then.
    pub fn close(mut self) {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return };
        let marked = conn.execute_batch("PRAGMA optimize").and_then(|()| recovery::mark_open(conn, false));
        let result = marked.map_err(WriteError::from).and_then(|()| {
            self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, BUSY_WAIT, &mut self.watch)
        });
        if let Err(error) = result {
            warn!(%error, "the WAL could not be moved into the database at the end");
        }
    }

    /// Counts the times at which commits of other connections (`sqlite3`, for one) were noticed. The same number twice
    /// means that there was none in between. A reopened connection cannot know, so reopening counts too.
    pub fn foreign_commits(&mut self) -> Result<u64> {
        let read = |conn: &Connection| conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0));
        let now: i64 = self
            .reading()
            .and_then(|conn| read(conn).map_err(StoreError::from))
            .map_err(|failure| self.files.to_public_error(failure))?;
        if self.foreign_commits.data_version.replace(now) != Some(now) {
            self.foreign_commits.count += 1;
        }
        Ok(self.foreign_commits.count)
    }

    pub(super) fn reading(&self) -> std::result::Result<&Connection, StoreError> {
        self.files.check_readable()?;
        self.conn.as_ref().ok_or_else(|| Error::new(Kind::StorageUnavailable, "storage cannot be read now").into())
    }
}
