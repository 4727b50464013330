//! After a failure: looking whether the files are still what they were, and opening them again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::warn;

use crate::store::error::{LostFile, WriteError, WriteResult};
use crate::store::integrity::adopt;
use crate::store::integrity::tables::install_triggers;
use crate::store::read::log;
use crate::store::read::reader::Reader;
use crate::store::rows::LogHead;
use crate::store::write::checkpoint::Checkpoint;
use crate::store::write::checkpoints::READERS_WAIT;
use crate::store::write::file_copy::remove;
use crate::store::write::file_watch::FileWatch;
use crate::store::write::writer::Writer;
use crate::store::{connection, file_size_limit, recovery, volatile};

impl Writer {
    /// Whether the paths name the files that are open, and nobody but SQLite has written to those. Error: otherwise,
    /// and then nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn check_files(&mut self) -> WriteResult {
        let found = self.find_lost_file(FileWatch::check);
        self.distrust_lost(found)
    }

    /// The same of all that was committed since the last time: to be called each half second.
    pub fn check_commits(&mut self) -> WriteResult {
        let found = self.find_lost_file(FileWatch::check_commits);
        self.distrust_lost(found)
    }

    fn distrust_lost(&mut self, found: Result<(), LostFile>) -> WriteResult {
        let Err(lost) = found else { return Ok(()) };
        self.distrusted = true;
        let overwritten = matches!(lost, LostFile::Overwritten(_) | LostFile::WalOverwritten(_));
        if let Some(conn) = self.conn.as_ref().filter(|_| overwritten) {
            connection::keep_wal(conn);
        }
        Err(lost.into())
    }

    /// Whether the database was overwritten, so that nothing of it can be read.
    pub fn is_overwritten(&self) -> bool {
        self.files.is_overwritten()
    }

    /// Marks the file as open under the version that its schema has now: other programs may have changed that.
    /// Error: a write failed, so that nothing more is written before [`reopen`](Self::reopen) succeeded.
    pub fn refresh_open_mark(&mut self) -> WriteResult {
        let Some(conn) = self.conn.as_ref().filter(|_| !self.distrusted) else { return Ok(()) };
        match recovery::refresh_open_mark(conn) {
            Ok(()) => Ok(()),
            // Somebody else writes; it is for another time.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
            Err(error) => {
                self.distrusted = true;
                Err(error.into())
            }
        }
    }

    fn find_lost_file(
        &mut self,
        check: impl FnOnce(&mut FileWatch, &Connection) -> Result<(), LostFile>,
    ) -> Result<(), LostFile> {
        if self.files.is_overwritten() {
            return Err(LostFile::Overwritten(self.files.database().to_owned()));
        }
        let new_lock = self.copying.as_ref().filter(|copy| copy.lost.is_some()).map(|copy| copy.lock.note.lock());
        let found = match &self.conn {
            Some(conn) => new_lock
                .map_or_else(|| self.files.check(), |lock| self.files.check_with_lock(lock))
                .and_then(|()| check(&mut self.watch, conn)),
            // The WAL belongs to the connection.
            None => self.files.check_database(),
        };
        if matches!(found, Err(LostFile::Overwritten(_))) {
            self.files.set_overwritten();
        }
        found
    }

    /// After a failure: closes the connection, opens another and finds out what is durable, which the returned head
    /// tells. An event that the failed batch gave that seq *and* hash is stored, with its whole batch.
    ///
    /// After a failed sync the kernel may count pages as written that are not, so that a later sync of the same file
    /// succeeds and proves nothing. Therefore the WAL's content is copied into the database, which is synced in turn:
    /// those pages are newly written. What is in neither, the failed batch perhaps, is gone with the old WAL.
    ///
    /// Where a path names nothing, the open file is written there anew, by a thread of its own: closed, it would be
    /// gone. A WAL that was cut or overwritten is written again. Where a path names another file, or the database was
    /// overwritten, that is left alone, which is an error.
    pub fn reopen(&mut self) -> WriteResult<LogHead> {
        self.distrusted = true;
        let found = self.find_lost_file(FileWatch::check);
        if let Some(copy) = &self.copying {
            match (copy.lost.clone(), &found) {
                // Its lock is there already, which may be all that was missing.
                (Some(lost), Ok(()) | Err(LostFile::Missing(_))) => return self.restore_files(lost),
                _ => self.discard_copy()?,
            }
        }
        match found {
            Ok(()) if self.reader.is_exclusive() => self.reopen_with_room(),
            Ok(()) => self.reopen_same(),
            Err(lost @ LostFile::Missing(_)) => self.restore_files(lost),
            Err(LostFile::WalOverwritten(_)) => {
                self.restore_wal()?;
                self.reopen_same()
            }
            Err(lost @ LostFile::Replaced(_)) => {
                self.take_wal_away();
                Err(lost.into())
            }
            Err(lost @ LostFile::Overwritten(_)) => {
                self.remove_wal_of_overwritten();
                Err(lost.into())
            }
        }
    }

    /// Whoever opens the database that is there now would take our WAL for its own. Copies it beside itself and removes
    /// its name, unless it was overwritten too. What fails is tried again with the next retry.
    pub(super) fn remove_wal_of_overwritten(&mut self) {
        if !self.files.is_overwritten() {
            return;
        }
        let Some(conn) = self.conn.as_ref().filter(|_| self.files.has_wal() && self.watch.has_whole_wal()) else {
            return;
        };
        connection::keep_wal(conn);
        let paths = self.files.paths();
        let removed = recovery::copy_wal(&paths.wal())
            .and_then(|name| [paths.wal(), paths.shm()].iter().try_for_each(|path| remove(path)).map(|()| name));
        match removed {
            Ok(name) => warn!("the WAL of the database that was overwritten is copied to {name}"),
            Err(error) => warn!(%error, "the WAL of the database that was overwritten cannot be removed"),
        }
    }

    fn restore_wal(&mut self) -> WriteResult {
        match &self.conn {
            Some(conn) => self.watch.restore_wal(conn),
            None => Ok(()),
        }
    }

    fn reopen_same(&mut self) -> WriteResult<LogHead> {
        drop(self.conn.take());
        self.connection_replaced();
        let conn = self.files.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let found = self.recover(&conn);
        self.files.note_wal();
        let found = found.map_err(|error| file_size_limit::explain_failure(error, self.files.database()));
        if found.is_ok() {
            self.watch.begin(&self.files, &conn);
        }
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
        self.watch.begin(&self.files, &conn);
        (self.conn, self.pending_run) = (Some(conn), None);
        (self.head, self.next_key) = end;
        self.connection_replaced();
        self.distrusted = false;
        Ok(self.head)
    }

    /// Forgets what was known of the connection before.
    pub(super) fn connection_replaced(&mut self) {
        self.checkpoints.reset();
        (self.locked, self.foreign_commits.data_version) = (false, None);
    }

    /// Moves the WAL into the database. Returns the end of the log and the next document's key.
    pub(super) fn recover(&mut self, conn: &Connection) -> WriteResult<(LogHead, i64)> {
        connection::configure(conn, self.synchronous, self.pages_max.load(Ordering::Relaxed))?;
        install_triggers(conn)?;
        if !self
            .checkpoints
            .checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT, &mut self.watch)?
            .complete()
        {
            return Err(WriteError::read_elsewhere());
        }
        Ok((log::head(conn)?, log::next_key(conn)?))
    }
}
