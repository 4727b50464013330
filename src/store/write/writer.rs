//! The one writer: a batch of changes in one transaction with one sync, and what follows when that fails.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Collection;
use crate::store::connection;
use crate::store::error::{Blocked, LostFile, OpenError, StoreError, WriteError, WriteResult};
use crate::store::file_size_limit;
use crate::store::integrity::adopt;
use crate::store::integrity::key_file;
use crate::store::integrity::tables::install_triggers;
use crate::store::open_files::OpenFiles;
use crate::store::options::{HistoryRetention, StoreOptions, Synchronous};
use crate::store::read::log;
use crate::store::read::reader::Reader;
use crate::store::recovery::{self, Opened};
use crate::store::revocation_journal::RevocationJournal;
use crate::store::rows::LogHead;
use crate::store::volatile::{self, VolatileRange};
use crate::store::write::batch::{Batch, CommitTimes, Rows};
use crate::store::write::checkpoint::{Checkpoint, Checkpoints, READERS_WAIT, checkpoint};
use crate::store::write::commit;

/// Looks at all tables (0x10000), not only at those that this connection has asked for: most is read by others.
/// Analyses (0x2) those that need it from a sample (0x10), so that it takes milliseconds however much is stored.
const OPTIMIZE: &str = "PRAGMA optimize = 0x10012";

/// How long a transaction waits for another process that writes.
const WRITE_WAIT: Duration = Duration::from_millis(250);
/// The same when the one before has waited in vain.
const LOCKED_WAIT: Duration = Duration::from_millis(20);

/// What is said of a path that names another file.
const LEFT_ALONE: &str = "it is left alone, and what is in memory and in the open file waits to be rescued";

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
struct ForeignCommits {
    /// What it last said about their commits; `None`: it was not asked yet.
    data_version: Option<i64>,
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
    locked: bool,
    pub(super) files: Arc<OpenFiles>,
    /// The reader pool, which follows when the writer goes on with another file.
    pub(super) reader: Reader,
    synchronous: Synchronous,
    history: HistoryRetention,
    removes_by_time: bool,
    pages_max: Arc<AtomicU32>,
    pub(super) head: LogHead,
    pub(super) next_key: i64,
    /// The run that begins once something can be written: see [`begin_run`](Self::begin_run).
    pending_run: Option<BTreeSet<Collection>>,
    foreign_commits: ForeignCommits,
    pub(super) checkpoints: Checkpoints,
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
            foreign_commits: ForeignCommits::default(),
            checkpoints: Checkpoints::new(options.wal_bytes_max, options.read_age_max),
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
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else {
            return Err(WriteError::other("the database must be reopened first"));
        };
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
            // What was stored in a file that no path names is stored nowhere.
            self.check_files()?;
        }
        times
    }

    /// Whether the paths name the files that are open. Error: they do not, so that nothing more is written before
    /// [`reopen`](Self::reopen) succeeded.
    pub fn check_files(&mut self) -> WriteResult {
        let lost = match self.files.check() {
            Ok(()) => return Ok(()),
            Err(lost) => lost,
        };
        self.distrusted = true;
        let detail = match lost {
            LostFile::Missing(_) => "everything is written there anew",
            LostFile::Replaced(_) => LEFT_ALONE,
        };
        Err(WriteError::lost(lost, detail))
    }

    /// After a failure: closes the connection, opens another and finds out what is durable, which the returned head
    /// tells. An event that the failed batch gave that seq *and* hash is stored, with its whole batch.
    ///
    /// After a failed sync the kernel may count pages as written that are not, so that a later sync of the same file
    /// succeeds and proves nothing. Therefore the WAL's content is copied into the database, which is synced in turn:
    /// those pages are newly written. What is in neither, the failed batch perhaps, is gone with the old WAL.
    ///
    /// Where a path names nothing, the open file is written there anew: closed, it would be gone. Where a path names
    /// another file, that is left alone, which is an error.
    pub fn reopen(&mut self) -> WriteResult<LogHead> {
        self.distrusted = true;
        // The WAL belongs to the connection.
        let checked = if self.conn.is_some() { self.files.check() } else { self.files.check_database() };
        match checked {
            Ok(()) if self.reader.is_exclusive() => self.reopen_with_room(),
            Ok(()) => self.reopen_same(),
            Err(LostFile::Missing(path)) => self.restore_files(LostFile::Missing(path)),
            Err(lost @ LostFile::Replaced(_)) => {
                self.take_wal_away();
                Err(WriteError::lost(lost, LEFT_ALONE))
            }
        }
    }

    fn reopen_same(&mut self) -> WriteResult<LogHead> {
        drop(self.conn.take());
        self.connection_replaced();
        let conn = self.files.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let found = self.recover(&conn);
        self.files.note_wal();
        let found = found.map_err(|error| file_size_limit::explain_failure(error, self.files.database()));
        self.conn = Some(conn);
        (self.head, self.next_key) = found?;
        self.distrusted = false;
        Ok(self.head)
    }

    /// There was no room at the start, so that a single connection reads. Opens the file as at any other start.
    fn reopen_with_room(&mut self) -> WriteResult<LogHead> {
        let (reader, files) = (self.reader.clone(), Arc::clone(&self.files));
        let (conn, end, unproven) = reader.leave_exclusive(|| {
            let conn = files.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            // While there is no room, closing it leaves everything as it is.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection::configure(&conn, self.synchronous, self.pages_max.load(Ordering::Relaxed))?;
            let obtained = adopt::obtain(files.database()).map_err(WriteError::other)?;
            let unproven = adopt::adopt(&conn, &obtained)?;
            files.set_key(obtained.key);
            recovery::begin_use(&conn)?;
            let end = self.recover(&conn)?;
            if let Some(collections) = &self.pending_run {
                volatile::begin_run(&conn, collections)?;
            }
            files.note_wal();
            let reader = Reader::open(Arc::clone(&files), self.reader.readers()).map_err(WriteError::other)?;
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            Ok(((conn, end, unproven), reader))
        })?;
        if let Some(reason) = &unproven {
            warn!("{}: {reason}", self.files.database().display());
        }
        self.opened.unproven = unproven;
        (self.conn, self.pending_run) = (Some(conn), None);
        (self.head, self.next_key) = end;
        self.connection_replaced();
        self.distrusted = false;
        Ok(self.head)
    }

    /// Why nothing can be written since the start; once.
    pub fn take_fault(&mut self) -> Option<WriteError> {
        self.opened.fault.take()
    }

    /// Forgets what was known of the connection before.
    pub(super) fn connection_replaced(&mut self) {
        self.checkpoints.reset();
        (self.locked, self.foreign_commits.data_version) = (false, None);
    }

    pub(super) fn recover(&mut self, conn: &Connection) -> WriteResult<(LogHead, i64)> {
        connection::configure(conn, self.synchronous, self.pages_max.load(Ordering::Relaxed))?;
        install_triggers(conn)?;
        if !self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT)?.complete() {
            return Err(WriteError::read_elsewhere());
        }
        Ok((log::head(conn)?, log::next_key(conn)?))
    }

    /// Moves the WAL into the database when it has grown enough. To be called between batches, after the waiting ones
    /// were answered. A failure loses nothing, since the WAL still has everything.
    pub fn checkpoint_if_due(&mut self) -> rusqlite::Result<()> {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return Ok(()) };
        self.checkpoints.run_if_due(conn, self.reader.active())
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
        let emptied = checkpoint(conn, Checkpoint::Ask).and_then(|progress| {
            report.wal_frames = progress.frames;
            self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT)
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
    pub fn close(self) {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return };
        let result = conn.execute_batch("PRAGMA optimize").and_then(|()| {
            recovery::mark_open(conn, false)?;
            checkpoint(conn, Checkpoint::Truncate)
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
        self.conn.as_ref().ok_or_else(|| Error::new(Kind::StorageUnavailable, "storage cannot be read now").into())
    }
}
