//! What can go wrong with storage: at start, in a write, in a read.

use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::base::error::{Error, Kind};
use crate::base::ids::{DocumentName, Version};

/// Why storage cannot be opened. One line each, for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The place cannot be made or written.
    #[error("the data directory {path} cannot be written: {source}")]
    DataDirectory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process, or another store in this one, has it open.
    #[error("the data directory {path} is in use by another process")]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The file is not an SQLite database, or is one of some other program.
    #[error("{path} is not a Rejoin database")]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// The file was written by a later release.
    #[error("{path} has format {found}, and this release knows formats up to {known}: use a newer release")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file was written by an earlier release, and what is to be done with it needs the format of this one.
    #[error("{path} has the earlier format {found}: start a server with it once, which brings it to format {known}")]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The file is ours and does not add up.
    #[error("{path} is damaged: {reason}; restore a backup")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Something that a server has stored is not there, and that is to be refused.
    #[error("{path} is not complete: {reason}; start without --strict to go on with what is there")]
    Incomplete {
        /// Which file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Anything else, a full disk included.
    #[error("{path} cannot be opened: {source}")]
    Other {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OpenError {
    /// What the process exits with: 10 place, 11 locked, 12 not ours, 13 newer, 14 damaged, 15 anything else, 16 not
    /// complete.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::DataDirectory { .. } => 10,
            Self::Locked { .. } => 11,
            Self::Foreign { .. } => 12,
            Self::Newer { .. } => 13,
            Self::Damaged { .. } => 14,
            Self::Older { .. } | Self::Other { .. } => 15,
            Self::Incomplete { .. } => 16,
        }
    }
}

/// A write or a sync that failed. What it was about is *unknown*, neither stored nor not stored, until
/// [`Writer::reopen`](super::Writer::reopen) has said what is durable.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct WriteError {
    /// Whether the reason is that no space is left, or that a file has reached its size limit. An exhausted quota looks
    /// like any other I/O error to SQLite and is not recognised.
    pub full: bool,
    /// Whether another connection is the reason: then what failed did not reach the disk.
    pub blocked: Option<Blocked>,
    /// Whether the reason is that a path does not name the file that is open, or that it was overwritten.
    pub lost: Option<LostFile>,
    /// What SQLite said.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A path that does not name the file that is open, or names it with other contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostFile {
    /// It was removed or moved, and nothing has taken its place.
    #[error("{} names no file any more: what was open there was removed or moved", .0.display())]
    Missing(PathBuf),
    /// The other file belongs to somebody else and is left as it is.
    #[error("{} names another file than the one that is open", .0.display())]
    Replaced(PathBuf),
    /// The WAL is the one that is open, and what was committed in it is not there any more.
    #[error("{} was cut or overwritten while it was open", .0.display())]
    WalOverwritten(PathBuf),
    /// The same of the database.
    #[error("{} was cut or overwritten while it was open", .0.display())]
    Overwritten(PathBuf),
}

/// Whether SQLite lacks room on the disk: for pages, or for the file of the WAL's index.
pub(crate) fn is_lack_of_room(error: &rusqlite::Error) -> bool {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
}

/// What another connection keeps the writer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// From beginning a transaction: another process writes. Nothing was written, and the connection is as good as
    /// before.
    Writing,
    /// From moving the WAL into the database after a failure: another process has a read transaction open.
    Recovering,
    /// No connection: everything is being written to another file.
    Copying,
}

pub(crate) type WriteResult<T = ()> = Result<T, WriteError>;

impl WriteError {
    /// Another process holds the write lock of the database.
    pub(crate) fn locked(source: rusqlite::Error) -> Self {
        let reason = format!("another process has a write transaction on the database open ({source})");
        Self { blocked: Some(Blocked::Writing), ..Self::other(reason) }
    }

    /// A reader keeps the WAL from being moved into the database.
    pub(crate) fn read_elsewhere() -> Self {
        let reason = "a write failed, and another process that has a read transaction on the database open keeps its \
                      WAL from being written again";
        Self { blocked: Some(Blocked::Recovering), ..Self::other(reason) }
    }

    /// A file is lost, and everything is being written anew.
    pub(crate) fn copying(lost: LostFile) -> Self {
        Self { blocked: Some(Blocked::Copying), ..Self::lost(lost, "everything is being written there anew") }
    }

    /// A file is lost. `detail`: why that could not be mended.
    pub(crate) fn lost(file: LostFile, detail: &str) -> Self {
        let reason = format!("{file}; {detail}");
        Self { lost: Some(file), ..Self::other(reason) }
    }

    /// Whether another process is the reason, which may stop being one at any moment.
    pub(crate) fn is_up_to_others(&self) -> bool {
        matches!(self.blocked, Some(Blocked::Writing | Blocked::Copying))
            || matches!(self.lost, Some(LostFile::Replaced(_)))
    }

    /// What a read or a feature's write failed with.
    pub(crate) fn from_error(error: Error) -> Self {
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
        let full = source.is_some_and(is_lack_of_room);
        Self { full, ..Self::other(error) }
    }

    /// Another reason than SQLite's.
    pub fn other(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { full: false, blocked: None, lost: None, source: reason.into() }
    }
}

impl From<LostFile> for WriteError {
    fn from(lost: LostFile) -> Self {
        let detail = match &lost {
            LostFile::Missing(_) => "everything is written there anew",
            LostFile::Replaced(_) => "it is left alone, and what is in memory and in the open file waits to be rescued",
            LostFile::WalOverwritten(_) => "what was committed is written there again",
            LostFile::Overwritten(_) => "it is left alone, and what is in memory waits to be rescued",
        };
        Self::lost(lost, detail)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(source: rusqlite::Error) -> Self {
        Self { full: is_lack_of_room(&source), ..Self::other(source) }
    }
}

impl From<StoreError> for WriteError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::Sql(error) => error.into(),
            StoreError::Known(error) => Self::other(error),
        }
    }
}

/// An error inside the store, before it becomes a [`WriteError`], an [`OpenError`] or a public [`Error`].
#[derive(Debug)]
pub(crate) enum StoreError {
    Sql(rusqlite::Error),
    /// An error that can be shown to a caller as it is.
    Known(Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::Known(error)
    }
}

/// The error for a failure of SQLite: for `map_err` in the SQL of a feature. Which kind it has depends on the failure:
/// `StorageUnavailable`, `StorageFull`, `Damaged` or `Internal`.
///
/// ```
/// use rejoin::{Result, rusqlite::Connection, sql_error};
///
/// fn count(conn: &Connection) -> Result<i64> {
///     conn.query_row("SELECT count(*) FROM list_log_changes", (), |row| row.get(0)).map_err(sql_error)
/// }
/// # let conn = Connection::open_in_memory().unwrap();
/// # assert!(count(&conn).is_err());
/// ```
pub fn sql_error(error: rusqlite::Error) -> Error {
    StoreError::Sql(error).into_error()
}

impl StoreError {
    /// The public error.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Known(error) => error,
            Self::Sql(error) if is_damage(&error) => {
                Error::new(Kind::Damaged, "the database file is damaged").caused_by(error)
            }
            Self::Sql(error) if error.sqlite_error_code().is_some_and(is_unavailable) => {
                Error::new(Kind::StorageUnavailable, "storage cannot be read now").caused_by(error)
            }
            Self::Sql(error) => Error::internal(error),
        }
    }

    /// Names the document that was read, where damage of the file has hit it before its rows could be looked at.
    pub(crate) fn naming(self, name: &DocumentName) -> Self {
        match self {
            Self::Sql(error) if is_damage(&error) => Self::Known(
                Error::new(Kind::Damaged, format!("what is stored of {name} is damaged"))
                    .with("document", name.to_string())
                    .caused_by(error),
            ),
            other => other,
        }
    }

    /// Whether the reason is what is stored, not that it cannot be reached.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Sql(error) => is_damage(error),
            Self::Known(error) => error.kind() == Kind::Damaged,
        }
    }
}

/// Whether SQLite, or the reading of a row, met something that cannot have been written by us.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..) => true,
        E::Utf8Error(..) => true,
        other => {
            matches!(other.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        }
    }
}

fn is_unavailable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::PermissionDenied
            // A read that lasted too long: see `ActiveReads`.
            | ErrorCode::OperationInterrupted
    )
}

/// What is stored of the document `name` does not add up at `version`; up to `last_good` it does, where that is known.
pub(crate) fn damaged(name: &DocumentName, version: Version, last_good: Option<Version>, reason: &str) -> Error {
    let message = format!("what is stored of {name} is damaged at version {version}: {reason}");
    let error = Error::new(Kind::Damaged, message).with("document", name.to_string()).with("version", version.0);
    match last_good {
        Some(good) => error.with("lastGoodVersion", good.0),
        None => error,
    }
}

/// What damage hits counts as absent; other failures stay failures.
pub(crate) fn ignore_damage<T>(failure: StoreError) -> Result<Option<T>, StoreError> {
    if failure.is_damage() { Ok(None) } else { Err(failure) }
}
