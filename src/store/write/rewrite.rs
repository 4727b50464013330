//! Writing everything that is stored to another file and going on with that: where the path of the database names no
//! file any more, or where whoever runs the server says so.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use crate::base::ids::Seq;
use crate::store::connection;
use crate::store::error::{Blocked, LostFile, WriteError, WriteResult};
use crate::store::integrity::key_file;
use crate::store::open_files::{OpenFiles, StorePaths};
use crate::store::read::reader::Reader;
use crate::store::recovery::CommitNote;
use crate::store::rows::{self, LogHead};
use crate::store::server_place;
use crate::store::write::checkpoint::Checkpoint;
use crate::store::write::checkpoints::READERS_WAIT;
use crate::store::write::file_copy::{EmptyDatabase, FileCopy, NewLock, remove};
use crate::store::write::file_watch::FileWatch;
use crate::store::write::writer::Writer;

/// Why nothing was rescued.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// Nothing is written to such a path.
    #[error("{0}")]
    Refused(String),
    /// Nothing of what was written is left there.
    #[error(transparent)]
    Failed(#[from] WriteError),
}

/// What of the stored log a rescue has written.
#[derive(Clone, Copy, Debug)]
pub enum Rescued {
    /// All of it, which ends there.
    Everything(LogHead),
    /// The database was overwritten: the new one is empty.
    Nothing,
}

impl Writer {
    /// Writes everything to the path that the database had, where nothing is now, and goes on with the new files.
    /// Nothing that is there and is not ours is touched. Returns where the stored log ends. Error: also while it is
    /// being written, in a thread of its own.
    pub(super) fn restore_files(&mut self, lost: LostFile) -> WriteResult<LogHead> {
        let database = self.files.database().to_owned();
        self.try_restore(&lost).map_err(|error| {
            if error.blocked == Some(Blocked::Copying) {
                return error;
            }
            let (detail, full) = (format!("it cannot be written anew: {error}"), error.full);
            // Another process may have come in between.
            WriteError { full, ..WriteError::lost(error.lost.unwrap_or(lost), &detail) }
        })?;
        warn!("{} was removed or moved while it was open: everything is written there anew", database.display());
        Ok(self.head)
    }

    fn try_restore(&mut self, lost: &LostFile) -> WriteResult {
        let copy = match self.copying.take() {
            Some(copy) => copy,
            None => self.begin_restore(lost)?,
        };
        let Some(outcome) = copy.outcome(self.copy_wait) else {
            self.copying = Some(copy);
            return Err(WriteError::copying(lost.clone()));
        };
        let placed = outcome.and_then(|head| {
            // Before the file has its name: a start after a kill would otherwise miss the note.
            copy.lock.note.write(head);
            self.place(copy.part(), &copy.paths)
        });
        self.switch_to_copy(placed, copy)
    }

    fn begin_restore(&self, lost: &LostFile) -> WriteResult<FileCopy> {
        let paths = self.files.paths().clone();
        DirBuilder::new().recursive(true).mode(0o700).create(paths.directory()).map_err(WriteError::other)?;
        let lock = match self.files.has_lock() {
            true => self.opened.note.lock().try_clone().map(NewLock::already_locked).map_err(WriteError::other)?,
            false => NewLock::take(&paths.lock, &self.opened.note).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => {
                    WriteError::lost(LostFile::Replaced(paths.lock.clone()), "another server has it locked")
                }
                _ => WriteError::other(error),
            })?,
        };
        FileCopy::begin(Some(lost.clone()), (paths, lock), &self.reader, self.conn.as_ref())
    }

    /// Removes a copy once it is written for which there is no use any more, since the file that is missing is not.
    /// Error: it is not written, or it is that of a rescue.
    pub(super) fn discard_copy(&mut self) -> WriteResult {
        let Some(copy) = self.copying.take() else { return Ok(()) };
        if copy.lost.is_some() && copy.outcome(self.copy_wait).is_some() {
            copy.discard();
            return Ok(());
        }
        self.copying = Some(copy);
        let waiting = WriteError::other("everything is being written to another file");
        Err(WriteError { blocked: Some(Blocked::Copying), ..waiting })
    }

    /// Puts the copy where the database was.
    fn place(&self, part: &Path, paths: &StorePaths) -> WriteResult {
        let found = self.files.check_without_lock();
        if let Err(replaced @ LostFile::Replaced(_)) = found {
            return Err(WriteError::lost(replaced, "another process has made it"));
        }
        // They belong to the file that is gone; SQLite would take them for those of the new one.
        [paths.wal(), paths.shm()].iter().try_for_each(|path| remove(path)).map_err(WriteError::other)?;
        // One that is there is ours, and has lost its WAL.
        let placed = match self.files.check_database() {
            Ok(()) => fs::rename(part, &paths.database),
            Err(_) => fs::hard_link(part, &paths.database).and_then(|()| fs::remove_file(part)),
        };
        placed.map_err(WriteError::other)
    }

    /// Begins to write everything to `to`, an absolute path where nothing is yet, in a thread of its own. Of a database
    /// that was overwritten there is nothing to write: then the file is empty, for what is in memory.
    pub fn begin_rescue(&mut self, to: &Path) -> Result<(), RescueError> {
        let paths = rescue_paths(to)?;
        self.take_wal_away();
        self.remove_wal_of_overwritten();
        self.discard_copy().map_err(|_| RescueError::Refused("everything is being written to a file now".into()))?;
        let lock = NewLock::take(&paths.lock, &self.opened.note).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => RescueError::Refused(format!("another server uses {}", paths.lock.display())),
            _ => RescueError::Failed(WriteError::other(error)),
        })?;
        self.copying = Some(match self.files.is_overwritten() {
            false => FileCopy::begin(None, (paths, lock), &self.reader, self.conn.as_ref())?,
            true => self.begin_empty_copy((paths, lock))?,
        });
        Ok(())
    }

    fn begin_empty_copy(&self, place: (StorePaths, NewLock)) -> WriteResult<FileCopy> {
        let feature_tables = self.feature_tables.lock();
        let (key, volatile_collections) = (self.files.key(), &self.volatile_collections);
        FileCopy::empty(place, &EmptyDatabase { key, feature_tables: &feature_tables, volatile_collections })
    }

    /// Goes on with the file that [`begin_rescue`](Self::begin_rescue) writes, when it is written. `None`: it is not
    /// finished.
    pub fn finish_rescue(&mut self) -> Option<Result<Rescued, RescueError>> {
        let copy = self.copying.take()?;
        let Some(outcome) = copy.outcome(self.copy_wait) else {
            self.copying = Some(copy);
            return None;
        };
        let placed = outcome.and_then(|head| {
            copy.lock.note.write(head);
            // Fails when somebody has made it meanwhile.
            let placed = fs::hard_link(copy.part(), &copy.paths.database);
            placed.and_then(|()| fs::remove_file(copy.part())).map_err(WriteError::other)
        });
        let (to, empty) = (copy.paths.database.clone(), copy.empty);
        if let Err(error) = self.switch_to_copy(placed, copy) {
            return Some(Err(error.into()));
        }
        let what = if empty { "what is in memory is" } else { "everything is" };
        warn!("{what} written to {}, which is the database from now on", to.display());
        Some(Ok(if empty { Rescued::Nothing } else { Rescued::Everything(self.head) }))
    }

    /// How long the engine's thread waits for a copy each time it asks for it.
    pub fn set_copy_wait(&mut self, wait: Duration) {
        self.copy_wait = wait;
    }

    fn switch_to_copy(&mut self, placed: WriteResult, copy: FileCopy) -> WriteResult {
        match placed {
            Ok(()) => self.switch_to(copy.paths, copy.lock),
            Err(error) => {
                copy.discard();
                Err(error)
            }
        }
    }

    /// Goes on with files that were just written. Error: then they are removed.
    fn switch_to(&mut self, paths: StorePaths, lock: NewLock) -> WriteResult {
        match self.open_copy(&paths, &lock.note) {
            Ok(opened) => {
                self.reader.read_from(&opened.reader);
                if let Some(old) = self.conn.replace(opened.conn) {
                    connection::keep_wal(&old);
                }
                (self.files, self.opened.note) = (opened.files, lock.note);
                (self.head, self.next_key) = opened.end;
                self.connection_replaced();
                if let Some(conn) = &self.conn {
                    self.watch.begin(&self.files, conn);
                }
                self.distrusted = false;
                Ok(())
            }
            Err(error) => {
                for path in [&paths.database, &paths.wal(), &paths.shm()] {
                    let _ = fs::remove_file(path);
                }
                lock.release(&paths.lock);
                Err(error)
            }
        }
    }

    fn open_copy(&mut self, paths: &StorePaths, note: &CommitNote) -> WriteResult<Adopted> {
        File::open(paths.directory()).and_then(|directory| directory.sync_all()).map_err(WriteError::other)?;
        let files = Arc::new(OpenFiles::open(paths.clone(), note.lock()).map_err(WriteError::other)?);
        if let Some(key) = self.files.key() {
            key_file::write(&paths.integrity_key(), key).map_err(WriteError::other)?;
            files.set_key(key.clone());
        }
        let conn = files.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // What is known of the old files says nothing of these.
        let old = std::mem::replace(&mut self.watch, FileWatch::new(0));
        let end = self.recover(&conn);
        self.watch = old;
        let end = end?;
        server_place::note(&conn, &files)?;
        files.note_wal();
        let reader = Reader::open(Arc::clone(&files), self.reader.readers()).map_err(WriteError::other)?;
        Ok(Adopted { conn, reader, files, end })
    }

    /// Another database is where ours was, and our WAL is still beside it: whoever opens that would read it as its own.
    /// Moves its content into our database, and removes its name. What fails is tried again with the next retry.
    pub(super) fn take_wal_away(&mut self) {
        let Some(conn) = self.conn.as_ref().filter(|_| self.files.has_foreign_database()) else { return };
        let emptied =
            self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT, &mut self.watch);
        if emptied.is_ok_and(|progress| progress.complete()) && self.files.has_foreign_database() {
            let paths = self.files.paths();
            let removed = [paths.wal(), paths.shm()].iter().try_for_each(|path| remove(path));
            removed.unwrap_or_else(|error| warn!(%error, "the WAL beside another database cannot be removed"));
        }
    }

    /// To be called when the server stops and the paths do not name the open files. Returns how many of the events up
    /// to `last` only this process has; `None`: none, since the database file has another name, and has them all.
    pub fn unnamed_events(&mut self, last: Seq) -> Option<u64> {
        let conn = self.conn.as_ref()?;
        let emptied =
            self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT, &mut self.watch);
        if self.files.has_name() && emptied.is_ok_and(|progress| progress.complete()) {
            return None;
        }
        let sql = "SELECT count(*) FROM events WHERE seq <= ?1";
        conn.query_row(sql, [rows::int(last.0)], |row| rows::number(row, 0)).ok()
    }
}

/// New files that a writer can go on with.
struct Adopted {
    conn: Connection,
    reader: Reader,
    files: Arc<OpenFiles>,
    /// The end of the log and the next document's key.
    end: (LogHead, i64),
}

/// Where a rescued store is.
fn rescue_paths(to: &Path) -> Result<StorePaths, RescueError> {
    let refuse = |why: String| Err(RescueError::Refused(why));
    if !to.is_absolute() || to.file_name().is_none() {
        return refuse(format!("'{}' is not the absolute path of a file", to.display()));
    }
    let paths = StorePaths::of_database(to);
    if !paths.directory().is_dir() {
        return refuse(format!("there is no folder {}", paths.directory().display()));
    }
    for path in [paths.database.clone(), paths.wal(), paths.shm(), paths.integrity_key()] {
        if fs::symlink_metadata(&path).is_ok() {
            return refuse(format!("{} exists already", path.display()));
        }
    }
    Ok(paths)
}
