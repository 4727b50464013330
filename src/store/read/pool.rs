//! The reader pool: a few read-only connections and a bounded wait for one of them.

use std::sync::Arc;

use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use rusqlite::{Connection, OpenFlags};

use crate::base::error::{Error, Kind, Result};
use crate::store::connection::{BUSY_WAIT, connect};
use crate::store::error::{LostFile, StoreError};
use crate::store::open_files::OpenFiles;
use crate::store::read::active_reads::ActiveReads;

pub(crate) struct Manager {
    files: Arc<OpenFiles>,
}

/// A connection of the pool.
pub(crate) struct ReadConnection {
    conn: Connection,
    /// Whether SQLite failed on it: it is replaced then, since nobody knows what it remembers.
    failed: bool,
    /// Let go after the connection.
    files: Arc<OpenFiles>,
}

impl ManageConnection for Manager {
    type Connection = ReadConnection;
    type Error = rusqlite::Error;

    fn connect(&self) -> std::result::Result<ReadConnection, rusqlite::Error> {
        Ok(ReadConnection { conn: connect_reader(&self.files)?, failed: false, files: Arc::clone(&self.files) })
    }

    fn is_valid(&self, _: &mut ReadConnection) -> std::result::Result<(), rusqlite::Error> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut ReadConnection) -> bool {
        connection.failed
    }
}

/// A connection that reads the files that are open, and never what else their paths may name.
pub(crate) fn connect_reader(files: &OpenFiles) -> rusqlite::Result<Connection> {
    files.check().map_err(unreadable)?;
    let conn = connect(files.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.execute_batch("PRAGMA query_only = ON")?;
    // SQLite opens the WAL when something is read.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    files.check().map_err(unreadable)?;
    Ok(conn)
}

fn unreadable(lost: LostFile) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN), Some(lost.to_string()))
}

pub(crate) fn build(files: Arc<OpenFiles>, readers: u32) -> std::result::Result<Pool<Manager>, r2d2::Error> {
    Pool::builder()
        .max_size(readers.max(1))
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .connection_timeout(BUSY_WAIT)
        .error_handler(Box::new(NopErrorHandler))
        .build(Manager { files })
}

/// Runs `f` on a connection of the pool, in one read transaction: all that it reads is of one moment. Blocks, at most
/// 5 s for a connection. Error, beside those of `f`: `StorageUnavailable`.
pub(crate) fn read<T>(
    pool: &Pool<Manager>,
    reads: &ActiveReads,
    f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
) -> Result<T> {
    let mut connection = take(pool)?;
    let result = (|| {
        // Ends by rollback when dropped, which is all that a read needs.
        let _read = reads.begin(&connection.conn);
        let transaction = connection.conn.unchecked_transaction()?;
        f(&transaction)
    })();
    connection.failed = matches!(result, Err(StoreError::Sql(_)));
    result.map_err(|failure| connection.files.explain(failure))
}

/// Runs `f` outside of any transaction, on a connection that may write to other files meanwhile. Error, beside those of
/// `f`: `StorageUnavailable`.
pub(crate) fn with_connection<T>(
    pool: &Pool<Manager>,
    f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
) -> Result<T> {
    let mut connection = take(pool)?;
    let result = (|| {
        connection.conn.execute_batch("PRAGMA query_only = OFF")?;
        let result = f(&connection.conn);
        connection.conn.execute_batch("PRAGMA query_only = ON")?;
        result
    })();
    connection.failed = matches!(result, Err(StoreError::Sql(_)));
    result.map_err(|failure| connection.files.explain(failure))
}

fn take(pool: &Pool<Manager>) -> Result<PooledConnection<Manager>> {
    pool.get().map_err(|e| {
        Error::new(Kind::StorageUnavailable, "too many reads wait for the disk")
            .with("retryAfterSeconds", 1)
            .caused_by(e)
    })
}
