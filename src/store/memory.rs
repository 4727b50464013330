//! A database in memory with the tables of the one on disk: for the rows that belong to documents which live in memory
//! only. Features ask it with the same SQL, and it ends with the process as those documents do.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::error::{OpenError, StoreError};
use super::integrity::key::add_functions;
use super::{rows, tables};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::VOLATILE_ROWS_BYTES_MAX;
use crate::document::model::Meta;

/// Bytes of a page.
const PAGE_BYTES: usize = 4096;

/// See the module. Shared by everybody who reads and writes it; each call holds the lock for the time of some
/// statements on memory, so that it may be made where nothing may block for long.
pub(crate) struct MemoryStore(Mutex<Connection>);

impl MemoryStore {
    pub(crate) fn open() -> std::result::Result<Self, OpenError> {
        let make = || -> rusqlite::Result<Connection> {
            let conn = Connection::open_in_memory()?;
            // Nobody else reaches its rows.
            add_functions(&conn, None)?;
            conn.execute_batch(tables::SCHEMA)?;
            conn.pragma_update(None, "foreign_keys", true)?;
            conn.pragma_update(None, "max_page_count", rows::count(VOLATILE_ROWS_BYTES_MAX / PAGE_BYTES))?;
            Ok(conn)
        };
        let failed =
            |source: rusqlite::Error| OpenError::Other { path: PathBuf::from(":memory:"), source: source.into() };
        make().map(|conn| Self(Mutex::new(conn))).map_err(failed)
    }

    /// Asks a question. Error: that of the question.
    pub(crate) fn read<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        question(&self.0.lock())
    }

    /// Writes rows that belong to the document of `meta`, all or none. Errors: that of `write`; `TooLarge` when there
    /// are as many as may be.
    pub(crate) fn write<T>(
        &self,
        meta: &Arc<Meta>,
        now: Timestamp,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T>,
    ) -> Result<T> {
        let conn = self.0.lock();
        let transaction = conn.unchecked_transaction().map_err(full)?;
        tables::insert_documents(&transaction, std::slice::from_ref(meta)).map_err(Error::internal)?;
        let written = write(&transaction, now).map_err(|error| match error.kind() {
            Kind::StorageUnavailable | Kind::StorageFull => too_much(),
            _ => error,
        })?;
        transaction.commit().map_err(full)?;
        Ok(written)
    }

    /// The document with this key is gone: `remove` takes away what belongs to it. Error: that of `remove`.
    pub(crate) fn forget(&self, key: i64, remove: impl FnOnce(&Connection, i64) -> Result<()>) -> Result<()> {
        let conn = self.0.lock();
        let transaction = conn.unchecked_transaction().map_err(full)?;
        remove(&transaction, key)?;
        transaction.execute("DELETE FROM documents WHERE key = ?1", [key]).map_err(full)?;
        transaction.commit().map_err(full)
    }
}

fn too_much() -> Error {
    let message = "documents that live in memory only have as much of it, for what is kept beside them, as they may";
    Error::new(Kind::TooLarge, message).with("maxBytes", VOLATILE_ROWS_BYTES_MAX)
}

/// Memory is full, or something is wrong with us.
fn full(error: rusqlite::Error) -> Error {
    let told = StoreError::Sql(error).into_error();
    if told.kind() == Kind::StorageUnavailable { too_much() } else { told }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}
