//! Copying a database of which a server may go on writing: one moment of it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};
use rustix::fs::statvfs;

use super::open::{failed, open_to_read};
use crate::store::connection::connect;
use crate::store::error::OpenError;
use crate::store::recovery;
use crate::store::wal;

/// What must stay free beside a backup.
const MARGIN_BYTES: u64 = 16 << 20;

/// Why there is no backup. One line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("a backup needs {needed} bytes of room in {directory}, and {available} are free")]
    NoRoom { directory: PathBuf, needed: u64, available: u64 },
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("{path} cannot be written: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{0} is there already")]
    Exists(PathBuf),
    #[error("the backup was broken off")]
    Cancelled,
    /// It was made, and does not add up; what was found first.
    #[error("the backup {path} does not verify: {first}")]
    Unverified { path: PathBuf, first: String },
}

impl BackupError {
    /// What the process exits with, as of a server.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NoRoom { .. } | Self::Write { .. } | Self::Exists(_) => 10,
            Self::Open(error) => error.exit_code(),
            Self::Cancelled => 1,
            Self::Unverified { .. } => 14,
        }
    }
}

/// Ends a backup from another thread. Cheap to share; each backup wants its own.
#[derive(Default)]
pub(crate) struct Cancellation(Mutex<(bool, Option<InterruptHandle>)>);

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancellation")
    }
}

impl Cancellation {
    /// Breaks the backup off; it ends soon, with `Cancelled`.
    pub(crate) fn cancel(&self) {
        let mut state = self.0.lock();
        state.0 = true;
        if let Some(handle) = &state.1 {
            handle.interrupt();
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.lock().0
    }

    fn watch(&self, conn: Option<&Connection>) {
        self.0.lock().1 = conn.map(Connection::get_interrupt_handle);
    }
}

/// Bytes that a copy of `source` can have. Error: `NoRoom`.
pub(crate) fn check_room(source: &Path, directory: &Path) -> Result<u64, BackupError> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bytes = length(source).saturating_add(length(&wal::path_of(source)));
    let needed = bytes.saturating_add(MARGIN_BYTES);
    // The directory may be yet to be made.
    let existing = directory.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    let write = |error: rustix::io::Errno| BackupError::Write { path: directory.to_owned(), source: error.into() };
    let room = statvfs(existing).map_err(write)?;
    let available = room.f_bavail.saturating_mul(room.f_frsize);
    match available < needed {
        true => Err(BackupError::NoRoom { directory: directory.to_owned(), needed, available }),
        false => Ok(bytes),
    }
}

/// `VACUUM INTO` reads one moment, however long it takes, and holds nobody up.
pub(super) fn copy(source: &Path, partial: &Path, cancellation: &Cancellation) -> Result<(), BackupError> {
    let told = |path: &Path, error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => BackupError::Cancelled,
        _ => BackupError::Open(failed(path, error.into())),
    };
    let conn = open_to_read(source)?;
    cancellation.watch(Some(&conn));
    let copied = match cancellation.is_cancelled() {
        true => Err(BackupError::Cancelled),
        false => {
            conn.execute("VACUUM INTO ?1", [partial.to_string_lossy()]).map(drop).map_err(|error| told(source, error))
        }
    };
    cancellation.watch(None);
    copied?;
    // It says that a server has it open, as the original does, and nobody has.
    let close = || -> rusqlite::Result<()> {
        let conn = connect(partial, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        match recovery::has_object(&conn, "open_mark")? {
            true => recovery::mark_open(&conn, false),
            false => Ok(()),
        }
    };
    close().map_err(|error| told(partial, error))
}

/// What the copy could not be made for, as of a file that cannot be opened.
impl From<BackupError> for OpenError {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Open(error) => error,
            BackupError::NoRoom { ref directory, .. } | BackupError::Write { path: ref directory, .. } => {
                Self::DataDirectory { path: directory.clone(), source: error.into() }
            }
            BackupError::Exists(ref path) | BackupError::Unverified { ref path, .. } => {
                Self::Other { path: path.clone(), source: error.into() }
            }
            BackupError::Cancelled => Self::Other { path: PathBuf::new(), source: error.into() },
        }
    }
}
