//! The reader pool: a few read-only connections and a bounded wait for one of them.

use std::sync::Arc;

use r2d2::{ManageConnection, NopErrorHandler, Pool, PooledConnection};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::base::error::{Error, Kind, Result};
use crate::store::connection::BUSY_WAIT;
use crate::store::error::{LostFile, StoreError, WriteError, WriteResult};
use crate::store::open_files::OpenFiles;
use crate::store::read::active_reads::ActiveReads;

pub(crate) struct Manager {
    files: Arc<OpenFiles>,
    exclusive: bool,
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
        let conn = if self.exclusive { connect_exclusive(&self.files)? } else { connect_reader(&self.files)? };
        Ok(ReadConnection { conn, failed: false, files: Arc::clone(&self.files) })
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
    let conn = files.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    conn.execute_batch("PRAGMA query_only = ON")?;
    // SQLite opens the WAL when something is read.
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    files.check().map_err(unreadable)?;
    Ok(conn)
}

fn unreadable(lost: LostFile) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN), Some(lost.to_string()))
}

/// A connection that nobody else can have the file open beside. It has the index of the WAL in its memory: the file
/// of that index needs room on the disk. Closing it leaves the WAL as it is.
pub(crate) fn connect_exclusive(files: &OpenFiles) -> rusqlite::Result<Connection> {
    files.check_database().map_err(unreadable)?;
    // Locking a file alone takes the right to write it.
    let conn = files.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA query_only = ON")?;
    conn.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
    Ok(conn)
}

pub(crate) fn build(files: Arc<OpenFiles>, readers: u32) -> std::result::Result<Pool<Manager>, r2d2::Error> {
    build_with(readers.max(1), Manager { files, exclusive: false })
}

/// A pool of one connection: see [`connect_exclusive`].
pub(crate) fn build_exclusive(files: Arc<OpenFiles>) -> std::result::Result<Pool<Manager>, r2d2::Error> {
    build_with(1, Manager { files, exclusive: true })
}

fn build_with(connections: u32, manager: Manager) -> std::result::Result<Pool<Manager>, r2d2::Error> {
    Pool::builder()
        .max_size(connections)
        .test_on_check_out(false)
        .max_lifetime(None)
        .idle_timeout(None)
        .connection_timeout(BUSY_WAIT)
        .error_handler(Box::new(NopErrorHandler))
        .build(manager)
}

/// Runs `f` on a connection of the pool, in one read transaction: all that it reads is of one moment. Blocks, at most
/// 5 s for a connection. Error, beside those of `f`: `StorageUnavailable`.
pub(crate) fn read<T>(
    pool: &Pool<Manager>,
    reads: &ActiveReads,
    f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
) -> Result<T> {
    let mut connection = take(pool)?;
    connection.files.check_readable()?;
    let result = (|| {
        // Ends by rollback when dropped, which is all that a read needs.
        let _read = reads.begin(&connection.conn);
        let transaction = connection.conn.unchecked_transaction()?;
        f(&transaction)
    })();
    connection.failed = matches!(result, Err(StoreError::Sql(_)));
    result.map_err(|failure| connection.files.to_public_error(failure))
}

/// Runs `f` outside of any transaction, on a connection that may write to other files meanwhile. Error, beside those of
/// `f`: `StorageUnavailable`.
pub(crate) fn with_connection<T>(
    pool: &Pool<Manager>,
    f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
) -> Result<T> {
    let mut connection = take(pool)?;
    connection.files.check_readable()?;
    let result = (|| {
        connection.conn.execute_batch("PRAGMA query_only = OFF")?;
        let result = f(&connection.conn);
        connection.conn.execute_batch("PRAGMA query_only = ON")?;
        result
    })();
    connection.failed = matches!(result, Err(StoreError::Sql(_)));
    result.map_err(|failure| connection.files.to_public_error(failure))
}

/// Closes the only connection of an exclusive pool while `attempt` runs, and opens it again when that fails.
pub(crate) fn without_connection<T>(pool: &Pool<Manager>, attempt: impl FnOnce() -> WriteResult<T>) -> WriteResult<T> {
    let mut connection = take(pool).map_err(WriteError::from_error)?;
    drop(std::mem::replace(&mut connection.conn, Connection::open_in_memory()?));
    let made = attempt();
    match made.is_err().then(|| connect_exclusive(&connection.files)) {
        Some(Ok(conn)) => connection.conn = conn,
        // It is replaced, or the pool goes.
        _ => connection.failed = true,
    }
    made
}

fn take(pool: &Pool<Manager>) -> Result<PooledConnection<Manager>> {
    pool.get().map_err(|e| {
        Error::new(Kind::StorageUnavailable, "too many reads wait for the disk")
            .with("retryAfterSeconds", 1)
            .caused_by(e)
    })
}
