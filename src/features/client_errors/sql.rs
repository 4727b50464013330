//! The table of client errors. What writes runs on the engine's thread, in its transaction.

use rusqlite::{Connection, Row};

use super::rules::ClientError;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::client_errors::limits::CLIENT_ERRORS_MAX;
use crate::store::rows::{int, number, time};
use crate::store::sql_error;

/// An error with its history.
#[derive(Clone, Debug)]
pub(crate) struct StoredClientError {
    /// See [`ClientError::fingerprint`].
    pub fingerprint: String,
    /// As it was told last.
    pub error: ClientError,
    /// Who told it last.
    pub reported_by: String,
    pub count: u64,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// Rises each time that one is seen.
    pub place: i64,
}

/// Notes that `error` happened `count` times more, and forgets those that were longest not seen past the bound. Returns
/// how often it happened in all.
pub(crate) fn record(
    conn: &Connection,
    error: &ClientError,
    reported_by: &str,
    count: u64,
    now: Timestamp,
) -> Result<u64> {
    let write = || -> rusqlite::Result<u64> {
        let sql =
            "INSERT INTO client_errors (fingerprint, message, stack, url, user_agent, app_version, reported_by, count,
                                              first_seen, last_seen, place)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9,
                           (SELECT coalesce(max(place), 0) + 1 FROM client_errors))
                   ON CONFLICT (fingerprint) DO UPDATE SET
                       url = excluded.url, user_agent = excluded.user_agent, reported_by = excluded.reported_by,
                       count = count + excluded.count, last_seen = excluded.last_seen, place = excluded.place
                   RETURNING count";
        let values = (
            error.fingerprint(),
            &error.message,
            &error.stack,
            &error.url,
            &error.user_agent,
            &error.app_version,
            reported_by,
            int(count),
            now.to_string(),
        );
        let all = conn.prepare_cached(sql)?.query_row(values, |row| number(row, 0))?;
        let sql = "DELETE FROM client_errors WHERE fingerprint IN
                       (SELECT fingerprint FROM client_errors ORDER BY place DESC LIMIT -1 OFFSET ?1)";
        conn.prepare_cached(sql)?.execute([CLIENT_ERRORS_MAX])?;
        Ok(all)
    };
    write().map_err(sql_error)
}

/// A page of errors, those last seen first, before the place `before`; one more than `limit` if there are more.
pub(crate) fn page(conn: &Connection, before: i64, limit: usize) -> Result<Vec<StoredClientError>> {
    let sql = "SELECT fingerprint, message, stack, url, user_agent, app_version, reported_by, count, first_seen,
                      last_seen, place
               FROM client_errors WHERE place < ?1 ORDER BY place DESC LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let read = || conn.prepare_cached(sql)?.query_map((before, limit), read_row)?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<StoredClientError> {
    Ok(StoredClientError {
        fingerprint: row.get(0)?,
        error: ClientError {
            message: row.get(1)?,
            stack: row.get(2)?,
            url: row.get(3)?,
            user_agent: row.get(4)?,
            app_version: row.get(5)?,
        },
        reported_by: row.get(6)?,
        count: number(row, 7)?,
        first_seen: time(row, 8)?,
        last_seen: time(row, 9)?,
        place: row.get(10)?,
    })
}
