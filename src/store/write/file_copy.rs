//! A copy of everything that is stored, made by a thread of its own: nobody waits for it but who asked for it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::base::ids::Collection;
use crate::store::error::{LostFile, StoreError, WriteError, WriteResult};
use crate::store::integrity::adopt;
use crate::store::integrity::key::{IntegrityKey, add_functions};
use crate::store::open_files::{self, StorePaths};
use crate::store::read::log;
use crate::store::read::reader::Reader;
use crate::store::recovery::{self, CommitNote};
use crate::store::rows::LogHead;
use crate::store::tables::SCHEMA;
use crate::store::{connection, server_lock, volatile};

/// A copy on its way to files that nobody has yet, and their lock. One at a time: its name is always the same.
pub(super) struct FileCopy {
    /// Why everything is written anew; `None`: whoever runs the server has asked for it.
    pub lost: Option<LostFile>,
    /// Whether it is empty: what is in memory is to be stored there.
    pub empty: bool,
    pub paths: StorePaths,
    pub lock: NewLock,
    part: PathBuf,
    outcome: Receiver<WriteResult<LogHead>>,
}

impl FileCopy {
    /// Begins to write everything that is committed in the files that `reader` has open, whatever their paths name. By
    /// `conn`, and before this returns, when `reader` has no connection any more and cannot make one.
    pub(super) fn begin(
        lost: Option<LostFile>,
        (paths, lock): (StorePaths, NewLock),
        reader: &Reader,
        conn: Option<&Connection>,
    ) -> WriteResult<Self> {
        let (sender, copy) = Self::make(lost, false, (paths, lock))?;
        if let Some(conn) = conn.filter(|conn| conn.is_autocommit() && !reader.has_connections()) {
            let written = write(conn, &copy.part).map_err(WriteError::from).and_then(|head| copy.sync(head));
            let _ = sender.send(written);
            return Ok(copy);
        }
        let (reader, part) = (reader.clone(), copy.part.clone());
        let run = move || {
            let written = reader.with_connection(|conn| write(conn, &part)).map_err(WriteError::from_error);
            let _ = sender.send(written.and_then(|head| sync(&part).map(|()| head)));
        };
        match thread::Builder::new().name("rejoin-copy".to_owned()).spawn(run) {
            Ok(_) => Ok(copy),
            Err(error) => {
                copy.discard();
                Err(WriteError::other(error))
            }
        }
    }

    /// Makes an empty database instead, before this returns.
    pub(super) fn empty((paths, lock): (StorePaths, NewLock), content: &EmptyDatabase<'_>) -> WriteResult<Self> {
        let (sender, copy) = Self::make(None, true, (paths, lock))?;
        let written = content.write(&copy.part).map_err(WriteError::from).and_then(|head| copy.sync(head));
        let _ = sender.send(written);
        Ok(copy)
    }

    /// With its file, which nobody else can read.
    fn make(
        lost: Option<LostFile>,
        empty: bool,
        (paths, lock): (StorePaths, NewLock),
    ) -> WriteResult<(SyncSender<WriteResult<LogHead>>, Self)> {
        let part = part_of(&paths.database);
        let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        let made = remove(&part).and_then(|()| make());
        if let Err(error) = made {
            lock.release(&paths.lock);
            return Err(WriteError::other(error));
        }
        let (sender, outcome) = sync_channel(1);
        Ok((sender, Self { lost, empty, paths, lock, part, outcome }))
    }

    fn sync(&self, head: LogHead) -> WriteResult<LogHead> {
        sync(&self.part).map(|()| head)
    }

    /// Waits so long for it. Returns the end of the log that it has; `None`: it is not finished.
    pub(super) fn outcome(&self, wait: Duration) -> Option<WriteResult<LogHead>> {
        match self.outcome.recv_timeout(wait) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(WriteError::other("the thread that copies has ended"))),
        }
    }

    /// The copy, which has no name of its own yet.
    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    /// Removes what was made. Not while it is being written.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.part);
        self.lock.release(&self.paths.lock);
    }
}

/// What a database without documents has.
pub(super) struct EmptyDatabase<'a> {
    pub key: Option<&'a IntegrityKey>,
    /// The SQL that makes the tables of features.
    pub feature_tables: &'a [&'static str],
    pub volatile_collections: &'a BTreeSet<Collection>,
}

impl EmptyDatabase<'_> {
    fn write(&self, to: &Path) -> Result<LogHead, StoreError> {
        let conn = connection::connect(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        match self.key {
            Some(key) => adopt::write_schema(&conn, SCHEMA, key)?,
            None => {
                add_functions(&conn, None)?;
                conn.execute_batch(SCHEMA)?;
            }
        }
        self.feature_tables.iter().try_for_each(|sql| conn.execute_batch(sql))?;
        recovery::begin_use(&conn)?;
        volatile::begin_run(&conn, self.volatile_collections)?;
        let head = log::head(&conn)?;
        // Moves the WAL into the file.
        conn.close().map_err(|(_, error)| error)?;
        Ok(head)
    }
}

fn write(conn: &Connection, to: &Path) -> Result<LogHead, StoreError> {
    let head = log::head(conn)?;
    let name = to.to_str().ok_or_else(|| crate::base::error::Error::internal("the path is not UTF-8"))?;
    conn.execute("VACUUM INTO ?1", [name])?;
    Ok(head)
}

fn sync(part: &Path) -> WriteResult {
    File::open(part).and_then(|file| file.sync_all()).map_err(WriteError::other)
}

/// The lock for new files.
pub(super) struct NewLock {
    pub note: CommitNote,
    /// Whether its file was made for it.
    made: bool,
}

impl NewLock {
    pub(super) fn already_locked(lock: File) -> Self {
        Self { note: CommitNote::new(lock), made: false }
    }

    /// With what else `before` says of this server.
    pub(super) fn take(path: &Path, before: &CommitNote) -> io::Result<Self> {
        let made = !path.exists();
        let lock = open_files::lock(path)?;
        server_lock::copy(before.lock(), &lock)?;
        Ok(Self { note: CommitNote::new(lock), made })
    }

    /// Removes the file that was made.
    pub(super) fn release(self, path: &Path) {
        if self.made {
            let _ = fs::remove_file(path);
        }
    }
}

/// Where a database is written before it has its name.
fn part_of(database: &Path) -> PathBuf {
    let mut part = database.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
