//! Writing everything that is stored to another file and going on with that: where the path of the database names no
//! file any more, or where whoever runs the server says so.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tracing::warn;

use crate::base::ids::Seq;
use crate::store::error::{LostFile, StoreError, WriteError, WriteResult};
use crate::store::integrity::key_file;
use crate::store::open_files::{self, OpenFiles, StorePaths};
use crate::store::read::log;
use crate::store::read::reader::Reader;
use crate::store::recovery::CommitNote;
use crate::store::rows::{self, LogHead};
use crate::store::server_lock;
use crate::store::server_place;
use crate::store::write::checkpoint::{Checkpoint, READERS_WAIT};
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

impl Writer {
    /// Writes everything to the path that the database had, where nothing is now, and goes on with the new files.
    /// Nothing that is there and is not ours is touched. Returns where the stored log ends.
    pub(super) fn restore_files(&mut self, lost: LostFile) -> WriteResult<LogHead> {
        let paths = self.files.paths().clone();
        self.try_restore(paths.clone()).map_err(|error| {
            let (detail, full) = (format!("it cannot be written anew: {error}"), error.full);
            // Another process may have come in between.
            WriteError { full, ..WriteError::lost(error.lost.unwrap_or(lost), &detail) }
        })?;
        warn!("{} was removed or moved while it was open: everything is written there anew", paths.database.display());
        Ok(self.head)
    }

    fn try_restore(&mut self, paths: StorePaths) -> WriteResult {
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
        let part = part_of(&paths.database);
        let placed = self.write_copy(&part, &lock.note).and_then(|()| self.place(&part, &paths));
        if let Err(error) = placed {
            let _ = fs::remove_file(&part);
            lock.release(&paths.lock);
            return Err(error);
        }
        self.switch_to(paths, lock)
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

    /// Writes everything to `to`, an absolute path where nothing is yet, and goes on with that file. Returns where the
    /// stored log ends.
    pub fn rescue(&mut self, to: &Path) -> Result<LogHead, RescueError> {
        let paths = rescue_paths(to)?;
        let lock = NewLock::take(&paths.lock, &self.opened.note).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => RescueError::Refused(format!("another server uses {}", paths.lock.display())),
            _ => RescueError::Failed(WriteError::other(error)),
        })?;
        let part = part_of(&paths.database);
        let placed = self.write_copy(&part, &lock.note).and_then(|()| {
            // Fails when somebody has made it meanwhile.
            fs::hard_link(&part, &paths.database).and_then(|()| fs::remove_file(&part)).map_err(WriteError::other)
        });
        if let Err(error) = placed {
            let _ = fs::remove_file(&part);
            lock.release(&paths.lock);
            return Err(error.into());
        }
        self.switch_to(paths, lock)?;
        warn!("everything is written to {}, which is the database from now on", to.display());
        Ok(self.head)
    }

    /// Writes everything that is committed in the open file to a new one, whatever the path of the open file names.
    fn write_copy(&self, to: &Path, note: &CommitNote) -> WriteResult {
        remove(to).map_err(WriteError::other)?;
        let name = to.to_str().ok_or_else(|| WriteError::other(format!("{} is not UTF-8", to.display())))?;
        // Made here so that nobody else can read it.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(WriteError::other)?;
        let copy = |conn: &Connection| -> Result<LogHead, StoreError> {
            let head = log::head(conn)?;
            conn.execute("VACUUM INTO ?1", [name])?;
            Ok(head)
        };
        let head = match self.conn.as_ref().filter(|conn| conn.is_autocommit()) {
            Some(conn) => copy(conn)?,
            None => self.reader.with_connection(copy).map_err(WriteError::from_error)?,
        };
        File::open(to).and_then(|file| file.sync_all()).map_err(WriteError::other)?;
        // Before the file has its name: a start after a kill would otherwise miss the note.
        note.write(head);
        Ok(())
    }

    /// Goes on with files that were just written. Error: then they are removed.
    fn switch_to(&mut self, paths: StorePaths, lock: NewLock) -> WriteResult {
        match self.open_copy(&paths, &lock.note) {
            Ok(opened) => {
                self.reader.read_from(&opened.reader);
                if let Some(old) = self.conn.replace(opened.conn) {
                    keep_names(&old);
                }
                (self.files, self.opened.note) = (opened.files, lock.note);
                (self.head, self.next_key) = opened.end;
                self.connection_replaced();
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
        let end = self.recover(&conn)?;
        server_place::note(&conn, &files)?;
        files.note_wal();
        let reader = Reader::open(Arc::clone(&files), self.reader.readers()).map_err(WriteError::other)?;
        Ok(Adopted { conn, reader, files, end })
    }

    /// Another database is where ours was, and our WAL is still beside it: whoever opens that would read it as its own.
    /// Moves its content into our database, and removes its name. What fails is tried again with the next retry.
    pub(super) fn take_wal_away(&mut self) {
        let Some(conn) = self.conn.as_ref().filter(|_| self.files.has_foreign_database()) else { return };
        let emptied = self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT);
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
        let emptied = self.checkpoints.checkpoint_with_timeout(conn, Checkpoint::Truncate, READERS_WAIT);
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

/// The lock for new files.
struct NewLock {
    note: CommitNote,
    /// Whether its file was made for it.
    made: bool,
}

impl NewLock {
    fn already_locked(lock: File) -> Self {
        Self { note: CommitNote::new(lock), made: false }
    }

    /// With what else `before` says of this server.
    fn take(path: &Path, before: &CommitNote) -> io::Result<Self> {
        let made = !path.exists();
        let lock = open_files::lock(path)?;
        server_lock::copy(before.lock(), &lock)?;
        Ok(Self { note: CommitNote::new(lock), made })
    }

    /// Removes the file that was made.
    fn release(self, path: &Path) {
        if self.made {
            let _ = fs::remove_file(path);
        }
    }
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

/// Where a database is written before it has its name.
fn part_of(database: &Path) -> PathBuf {
    let mut part = database.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps SQLite from removing, by their names, a WAL and an index that belong to another file now, when it closes the
/// last connection to this one.
fn keep_names(conn: &Connection) {
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}
