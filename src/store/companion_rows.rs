//! Rows of features that are stored with the events of a document or not at all. Unlike [`Rows`](crate::store::Rows)
//! they wait with the events while storage fails.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;
use tracing::error;

use crate::base::clock::Timestamp;
use crate::base::error::{Kind, Result};
use crate::store::error::{WriteError, WriteResult};

/// Writes rows in the transaction that the connection is in.
pub(crate) type WriteCompanion = Arc<dyn Fn(&Connection, Timestamp) -> Result<()> + Send + Sync>;

/// See the module. It must be able to run again after a transaction that failed.
#[derive(Clone)]
pub struct CompanionWrite {
    /// Names it in the log.
    pub label: Arc<str>,
    /// Whether the events are worth nothing without it: then any error fails the transaction. Else only storage that
    /// fails does; another error is a bug of the feature that must not keep a change from the disk for ever.
    pub required: bool,
    pub write: WriteCompanion,
}

impl CompanionWrite {
    pub(crate) fn run(&self, conn: &Connection, now: Timestamp) -> WriteResult {
        conn.prepare_cached("SAVEPOINT companion")?.execute([])?;
        if let Err(failure) = (self.write)(conn, now) {
            if self.required || conn.is_autocommit() || failure.kind() == Kind::StorageUnavailable {
                return Err(WriteError::from_error(failure));
            }
            error!(error = %failure, "rows that go with a change are not written: {}", self.label);
            conn.prepare_cached("ROLLBACK TO companion")?.execute([])?;
        }
        conn.prepare_cached("RELEASE companion")?.execute([])?;
        Ok(())
    }
}

impl fmt::Debug for CompanionWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompanionWrite({})", self.label)
    }
}
