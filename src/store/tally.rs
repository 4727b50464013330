//! What is counted when documents are created: written with the creation, in its transaction.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use tracing::error;

use super::error::WriteError;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;

/// What a creation counts as: one more of `what` for `who`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tally {
    /// Whose it is; see [`Viewer::scope`].
    pub who: Arc<str>,
    /// Of what there is one more.
    pub what: &'static str,
}

/// Counts creations, and may refuse one. A feature's affair; called on the engine's thread. A tally belongs to its
/// creation like the event: while storage fails it waits with that, and is on disk exactly when that is.
pub trait Creations: Send + Sync {
    /// What counts when `viewer` creates `name`; `None`: nothing.
    fn tally(&self, name: &DocumentName, viewer: &Viewer) -> Option<Tally>;

    /// Whether there may be one more at `at`, when beside those that `conn` shows `waiting` are decided already and not
    /// yet on disk. Error: the refusal of the creation.
    fn check(&self, conn: &Connection, tally: &Tally, waiting: u64, at: Timestamp) -> Result<()>;

    /// Writes one more, in the transaction of a creation that was decided at `at`.
    fn write(&self, conn: &Connection, tally: &Tally, at: Timestamp) -> Result<()>;
}

/// A tally on its way to the disk.
#[derive(Clone)]
pub struct Counted {
    pub by: Arc<dyn Creations>,
    pub tally: Tally,
    /// When its creation was decided.
    pub at: Timestamp,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Counted({:?} at {})", self.tally, self.at)
    }
}

/// Writes a tally. What the disk refuses fails the transaction, so that both are tried again; what is a bug of the
/// feature must not keep a change from the disk for ever, so it is told and the creation goes uncounted.
pub(crate) fn write(conn: &Connection, counted: &Counted) -> std::result::Result<(), WriteError> {
    conn.prepare_cached("SAVEPOINT tally")?.execute([])?;
    if let Err(failure) = counted.by.write(conn, &counted.tally, counted.at) {
        if conn.is_autocommit() || failure.kind() == Kind::StorageUnavailable {
            return Err(WriteError { full: is_full(&failure), source: failure.into() });
        }
        error!(error = %failure, tally = ?counted.tally, "a creation is not counted");
        conn.prepare_cached("ROLLBACK TO tally")?.execute([])?;
    }
    conn.prepare_cached("RELEASE tally")?.execute([])?;
    Ok(())
}

fn is_full(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<rusqlite::Error>());
    source.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DiskFull)
}
