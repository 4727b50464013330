//! What handlers and jobs reach of the engine.

use std::sync::Arc;

use super::handle::Engine;
use super::read::Reads;
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::ids::{DocumentId, DocumentName};
use crate::store::Connection;

/// The server's time, the tables and the names of documents: what [`Api`](crate::Api) and
/// [`JobContext`](crate::JobContext) have in common. Cheap to clone.
#[derive(Clone)]
pub struct DataAccess {
    /// For writes.
    pub(crate) engine: Engine,
    pub(crate) reads: Reads,
    pub(crate) clock: Arc<dyn Clock>,
}

impl DataAccess {
    /// The server's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Asks tables, on a connection that only reads, in one transaction, and beside the engine. Errors: that of the
    /// question; `StorageUnavailable`.
    pub async fn read_rows<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.reads.rows(question).await
    }

    /// Writes rows in the next transaction of the engine, on its thread, in a savepoint. When it returns `Ok`, they are
    /// on disk. Errors: that of `write`, which wrote nothing then; `StorageUnavailable` while storage fails, after
    /// which it is unknown whether they were stored.
    pub async fn write_rows<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.engine.rows(write).await
    }

    /// The names of at most `limit` documents of a collection that are there, whoever may read them, by id, after the
    /// given one. Errors: `Invalid`, `StorageUnavailable`.
    pub async fn document_names(
        &self,
        collection: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentName>> {
        self.reads.names(collection, after, limit).await
    }
}
