//! Putting a backup in the place of a database that no server has open. What was there is kept.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::backup::{BackupProgress, make_backup};
use super::copy::{BackupError, Cancellation};
use super::open::{failed, open_to_read};
use crate::base::clock::Timestamp;
use crate::base::error::Result as Told;
use crate::store::connection::connect;
use crate::store::error::{OpenError, StoreError};
use crate::store::integrity::adopt;
use crate::store::integrity::tables::install_triggers;
use crate::store::open::bring_up_to_date;
use crate::store::options::FILE_NAME;
use crate::store::read::log;
use crate::store::rows::LogHead;
use crate::store::server_lock::DirectoryLock;
use crate::store::wal;

/// The database to be, until it takes its place.
const NEW: &str = "rejoin.db.restored";

/// Takes over from the database that is replaced what was ended since the backup was made. The first connection is to
/// the restored database, the second to the replaced one; `None`: it cannot be read, and all that could have been ended
/// ends. Returns how much ended.
pub(crate) type CarryEnds<'a> = &'a dyn Fn(&Connection, Option<&Connection>) -> Told<usize>;

/// What a restore did.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Where the database and its WAL are that were there; `None`: there was none.
    pub replaced: Option<PathBuf>,
    /// What was ended, as far as the replaced database says.
    pub ended: usize,
    /// Whether the replaced database could be read.
    pub replaced_readable: bool,
    /// Where the log ends now.
    pub seq: u64,
}

/// Puts a verified copy of `file` in the place of the database of `data_dir`. Blocks. Errors: `Locked` while a server
/// has it; `Unverified`; no room; those of a file that is not ours. After an error everything is as it was.
pub(crate) fn restore(
    file: &Path,
    data_dir: &Path,
    now: Timestamp,
    carry_ends: CarryEnds<'_>,
    show: impl FnMut(BackupProgress),
) -> Result<Restored, BackupError> {
    let write = |source: io::Error| BackupError::Write { path: data_dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(write)?;
    let lock = DirectoryLock::take(data_dir)?;
    let new = data_dir.join(NEW);
    // Of an attempt that was killed.
    remove_if_there(&new).map_err(write)?;
    make_backup(file, &new, &Cancellation::default(), show).inspect_err(|error| {
        if let BackupError::Unverified { path, .. } = error {
            let _ = fs::remove_file(path);
        }
    })?;
    let database = data_dir.join(FILE_NAME);
    let finish = || {
        bring_up_to_date(&new, &database)?;
        let (ended, replaced_readable) = end_what_was_ended(&new, &database, carry_ends)?;
        let head = head(&new)?;
        let replaced = replace(data_dir, &database, &new, now).map_err(write)?;
        lock.note(head).map_err(write)?;
        Ok(Restored { replaced, ended, replaced_readable, seq: head.seq.0 })
    };
    finish().inspect_err(|_| drop(fs::remove_file(&new)))
}

fn head(path: &Path) -> Result<LogHead, BackupError> {
    let read = log::head(&open_to_read(path)?);
    read.map_err(|error| BackupError::Open(failed(path, error)))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Returns how much ended, and whether the replaced database could be read. One that is not there has ended nothing.
fn end_what_was_ended(new: &Path, replaced: &Path, carry_ends: CarryEnds<'_>) -> Result<(usize, bool), BackupError> {
    if !replaced.exists() {
        return Ok((0, true));
    }
    let carry = |old: Option<&Connection>| -> Result<usize, OpenError> {
        let sql = |error: rusqlite::Error| failed(new, error.into());
        let mut conn = connect(new, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(sql)?;
        conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL").map_err(sql)?;
        // Without the key of its MACs, the next start takes its rows as they are and says so.
        if adopt::use_existing(&conn, &[replaced]).map_err(sql)?.is_some() {
            install_triggers(&conn).map_err(sql)?;
        }
        let transaction = conn.transaction().map_err(sql)?;
        let ended = carry_ends(&transaction, old).map_err(|error| failed(new, StoreError::Known(error)))?;
        transaction.commit().map_err(sql)?;
        Ok(ended)
    };
    let known = open_to_read(replaced).and_then(|old| carry(Some(&old)));
    match known {
        Ok(ended) => Ok((ended, true)),
        Err(error) => {
            tracing::debug!(%error, "the replaced database cannot be read");
            Ok((carry(None)?, false))
        }
    }
}

/// Moves the files. The old WAL goes before the new database comes, which it does not belong to; and the old database
/// stays in its place until then. A kill between leaves it there without its WAL, which the next start says, and both
/// in the folder.
fn replace(data_dir: &Path, database: &Path, new: &Path, now: Timestamp) -> io::Result<Option<PathBuf>> {
    let wal = wal::path_of(database);
    let mut folder = None;
    if database.exists() || wal.exists() {
        let made = data_dir.join(format!("replaced-{}", now.to_string().replace([':', '.'], "-")));
        DirBuilder::new().mode(0o700).create(&made)?;
        if database.exists() {
            fs::hard_link(database, made.join(FILE_NAME))?;
        }
        if wal.exists() {
            fs::rename(&wal, made.join(format!("{FILE_NAME}-wal")))?;
        }
        File::open(&made)?.sync_all()?;
        File::open(data_dir)?.sync_all()?;
        folder = Some(made);
    }
    remove_if_there(&data_dir.join(format!("{FILE_NAME}-shm")))?;
    fs::rename(new, database)?;
    File::open(data_dir)?.sync_all()?;
    Ok(folder)
}
