//! Rows of external services.

use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::reconciliation::external::ExternalService;
use crate::features::reconciliation::sql::text;
use crate::store::rows::{invalid_column, json, optional, time};
use crate::store::sql_error;

const COLUMNS: &str =
    "service, report_every_seconds, description, created_at, updated_at, reported_at, received_at, verdict";

fn service(row: &Row<'_>) -> rusqlite::Result<ExternalService> {
    let seconds: u32 = row.get(1)?;
    if seconds == 0 {
        return Err(invalid_column(1, "no time between reports"));
    }
    Ok(ExternalService {
        name: row.get(0)?,
        report_every: std::time::Duration::from_secs(seconds.into()),
        description: row.get(2)?,
        created_at: time(row, 3)?,
        updated_at: time(row, 4)?,
        reported_at: optional(row, 5, time)?,
        received_at: optional(row, 6, time)?,
        verdict: optional(row, 7, json)?,
    })
}

/// All services, by name.
pub(crate) fn all(conn: &Connection) -> Result<Vec<ExternalService>> {
    page(conn, "", i64::MAX)
}

/// Services by name, after `after`.
pub(crate) fn page(conn: &Connection, after: &str, limit: i64) -> Result<Vec<ExternalService>> {
    let sql = format!("SELECT {COLUMNS} FROM reconciliation_services WHERE service > ?1 ORDER BY service LIMIT ?2");
    let read = || conn.prepare_cached(&sql)?.query_map((after, limit), service)?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

pub(crate) fn find(conn: &Connection, name: &str) -> Result<Option<ExternalService>> {
    let sql = format!("SELECT {COLUMNS} FROM reconciliation_services WHERE service = ?1");
    let read = || conn.prepare_cached(&sql)?.query_row([name], service).optional();
    read().map_err(sql_error)
}

/// How many there are.
pub(crate) fn count(conn: &Connection) -> Result<usize> {
    let read = |row: &Row<'_>| row.get::<_, i64>(0);
    let count = conn.query_row("SELECT count(*) FROM reconciliation_services", [], read).map_err(sql_error)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Stores a service as it is.
pub(crate) fn put(conn: &Connection, service: &ExternalService) -> Result<()> {
    let sql = format!(
        "INSERT INTO reconciliation_services ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (service) DO UPDATE SET
             report_every_seconds = excluded.report_every_seconds, description = excluded.description,
             updated_at = excluded.updated_at, reported_at = excluded.reported_at,
             received_at = excluded.received_at, verdict = excluded.verdict"
    );
    let moment = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let seconds = i64::try_from(service.report_every.as_secs()).unwrap_or(i64::MAX);
    let verdict = service.verdict.as_ref().map(text).transpose()?;
    let values: [&dyn ToSql; 8] = [
        &service.name,
        &seconds,
        &service.description,
        &service.created_at.to_string(),
        &service.updated_at.to_string(),
        &moment(service.reported_at),
        &moment(service.received_at),
        &verdict,
    ];
    let write = || conn.prepare_cached(&sql)?.execute(values);
    write().map(drop).map_err(sql_error)
}

/// Forgets a service. Whether it was there.
pub(crate) fn remove(conn: &Connection, name: &str) -> Result<bool> {
    let write = || conn.prepare_cached("DELETE FROM reconciliation_services WHERE service = ?1")?.execute([name]);
    write().map(|count| count > 0).map_err(sql_error)
}
