//! Rows of features that come with a document: stored with its events or not at all.

use std::fmt;
use std::sync::Arc;

use rusqlite::Connection;

use crate::base::clock::Timestamp;
use crate::store::error::WriteError;

/// Writes rows of a feature that belong to a document's events, given the document's key. It must not fail but for
/// storage, and must be able to run again after a transaction that failed.
pub(crate) type CompanionWrite = Arc<dyn Fn(&Connection, i64, Timestamp) -> Result<(), WriteError> + Send + Sync>;

/// Such rows of one document. Unlike [`Rows`](crate::store::Rows), they take the transaction along when
/// they fail, and wait with the events while storage does.
#[derive(Clone)]
pub struct CompanionRows {
    /// The key of the document.
    pub document: i64,
    pub write: CompanionWrite,
}

impl fmt::Debug for CompanionRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompanionRows(document {})", self.document)
    }
}
