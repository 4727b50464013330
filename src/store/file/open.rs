//! Opening a file that is only looked at.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::store::connection::connect;
use crate::store::error::{OpenError, StoreError};
use crate::store::open::APPLICATION_ID;
use crate::store::tables::FORMAT;

/// KiB of pages that each connection keeps.
const CACHE_KIB: u32 = 16 * 1024;

/// Opens a file of ours that is not changed by it. Errors: it is not ours, of a newer release, or cannot be read.
pub(crate) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<(Connection, i64, i64)> {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.execute_batch(&format!("PRAGMA cache_size = -{CACHE_KIB}"))?;
        let application = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        let format = format_of(&conn)?;
        Ok((conn, application, format))
    };
    let (conn, application, found) = open().map_err(|error| failed(path, error.into()))?;
    let path = path.to_owned();
    match (application, found) {
        (APPLICATION_ID, 1..=FORMAT) => Ok(conn),
        (APPLICATION_ID, newer) if newer > FORMAT => Err(OpenError::Newer { path, found: newer, known: FORMAT }),
        (APPLICATION_ID, _) => {
            Err(OpenError::Damaged { path, reason: format!("it says that it has format {found}, which never was") })
        }
        _ => Err(OpenError::Foreign { path }),
    }
}

pub(super) fn format_of(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Why the file at `path` cannot be used.
pub(super) fn failed(path: &Path, failure: StoreError) -> OpenError {
    let path = path.to_owned();
    match failure {
        StoreError::Sql(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            OpenError::Foreign { path }
        }
        failure if failure.is_damage() => OpenError::Damaged { path, reason: failure.into_error().to_string() },
        StoreError::Sql(error) => OpenError::Other { path, source: error.into() },
        StoreError::Known(error) => OpenError::Other { path, source: error.into() },
    }
}
