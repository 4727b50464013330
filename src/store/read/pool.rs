//! The reader pool: a few read-only connections and a bounded wait for one of them.

use std::path::{Path, PathBuf};

use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use rusqlite::{Connection, OpenFlags};

use crate::base::error::{Error, Kind, Result};
use crate::store::connection::{BUSY_WAIT, connect};
use crate::store::error::StoreError;
use crate::store::read::active_reads::ActiveReads;

pub(crate) struct Manager {
    path: PathBuf,
}

/// A connection of the pool.
pub(crate) struct ReadConnection {
    conn: Connection,
    /// Whether SQLite failed on it: it is replaced then, since nobody knows what it remembers.
    failed: bool,
}

impl ManageConnection for Manager {
    type Connection = ReadConnection;
    type Error = rusqlite::Error;

    fn connect(&self) -> std::result::Result<ReadConnection, rusqlite::Error> {
        let conn = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.execute_batch("PRAGMA query_only = ON")?;
        Ok(ReadConnection { conn, failed: false })
    }

    fn is_valid(&self, _: &mut ReadConnection) -> std::result::Result<(), rusqlite::Error> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut ReadConnection) -> bool {
        connection.failed
    }
}

pub(crate) fn build(path: &Path, readers: u32) -> std::result::Result<Pool<Manager>, r2d2::Error> {
    Pool::builder()
        .max_size(readers.max(1))
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .connection_timeout(BUSY_WAIT)
        .error_handler(Box::new(NopErrorHandler))
        .build(Manager { path: path.to_owned() })
}

/// Runs `f` on a connection of the pool, in one read transaction: all that it reads is of one moment. Blocks, at most
/// 5 s for a connection. Error, beside those of `f`: `StorageUnavailable`.
pub(crate) fn read<T>(
    pool: &Pool<Manager>,
    reads: &ActiveReads,
    f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
) -> Result<T> {
    let mut connection: PooledConnection<Manager> = pool.get().map_err(|e| {
        Error::new(Kind::StorageUnavailable, "too many reads wait for the disk")
            .with("retryAfterSeconds", 1)
            .caused_by(e)
    })?;
    let result = (|| {
        // Ends by rollback when dropped, which is all that a read needs.
        let _read = reads.begin(&connection.conn);
        let transaction = connection.conn.unchecked_transaction()?;
        f(&transaction)
    })();
    connection.failed = matches!(result, Err(StoreError::Sql(_)));
    result.map_err(StoreError::into_error)
}
