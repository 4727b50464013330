//! Opening one SQLite connection with the settings that all have in common, and those of the writer.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::store::integrity::key::add_functions;
use crate::store::options::Synchronous;

/// How long a statement waits for another connection: only for people with `sqlite3` in hand, and for checkpoints.
pub(crate) const BUSY_WAIT: Duration = Duration::from_secs(5);
/// Statements kept prepared per connection; a third fewer than this are in use.
const STATEMENTS: usize = 64;
/// SQLite's own bound on pages.
const PAGES_MAX: u32 = 4_294_967_294;

/// What every connection has in common. It compares no MACs before it has a key: see
/// [`integrity`](crate::store::integrity).
pub(crate) fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.busy_timeout(BUSY_WAIT)?;
    conn.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")?;
    add_functions(&conn, None)?;
    Ok(conn)
}

/// Keeps SQLite from moving the WAL into the database, and from removing it and its index by their names, when it
/// closes the last connection: they may belong to another file, or hold what nobody committed.
pub(crate) fn keep_wal(conn: &Connection) {
    let _ = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
}

/// What the writer's connection has on top. `pages_max` 0: no bound of ours.
pub(crate) fn configure(conn: &Connection, synchronous: Synchronous, pages_max: u32) -> rusqlite::Result<()> {
    // Only the writer checkpoints, between batches. A WAL that grew is cut back to 32 MiB when it starts over.
    conn.execute_batch(
        "PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 33554432;
         PRAGMA cache_size = -8192;",
    )?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some("this file system has no shared memory, which WAL mode needs".to_owned()),
        ));
    }
    let hardness = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    conn.pragma_update(None, "synchronous", hardness)?;
    let pages = if pages_max == 0 { PAGES_MAX } else { pages_max };
    conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
}
