//! The audit: one row per comparison, unchanged verified ones folded.

use rusqlite::{Connection, OptionalExtension, Row, ToSql};

use super::text;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::reconciliation::audit::{AuditAction, AuditEntry, EventId};
use crate::features::reconciliation::limits::RECONCILIATION_RUNS_MAX;
use crate::features::reconciliation::verdict::{Compared, Verdict, VerdictStatus};
use crate::store::rows::{int, invalid_column, json, number, optional, time};
use crate::store::sql_error;

/// The columns of [`entry`], in its order.
const COLUMNS: &str = "seq, event_id, service, action, status, counts, checksum, latency_ms, details, documents, at, \
                       first_at, count, compared, all_since";

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let action: String = row.get(3)?;
    let status: String = row.get(4)?;
    let compared: String = row.get(13)?;
    Ok(AuditEntry {
        seq: number(row, 0)?,
        event_id: row.get(1)?,
        action: AuditAction::parse(&action).ok_or_else(|| invalid_column(3, "not an action"))?,
        at: time(row, 10)?,
        first_at: time(row, 11)?,
        count: number(row, 12)?,
        verdict: Verdict {
            service: row.get(2)?,
            status: VerdictStatus::parse(&status).ok_or_else(|| invalid_column(4, "not a status"))?,
            counts: json(row, 5)?,
            checksum: row.get(6)?,
            latency_ms: row.get(7)?,
            details: optional(row, 8, json)?,
            documents: optional(row, 9, json)?.unwrap_or_default(),
            compared: Compared::parse(&compared).ok_or_else(|| invalid_column(13, "not what can be compared"))?,
            all_since: optional(row, 14, time)?,
        },
    })
}

/// What there is at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredAudit {
    /// The last place that was given out, as far as it was stored.
    pub last: u64,
    pub rows: u64,
    /// The verdicts in force.
    pub latest: Vec<AuditEntry>,
    /// The newest rows, oldest first: many dashboards come back at once after a restart.
    pub recent: Vec<AuditEntry>,
    /// All rows after this place are in `recent`.
    pub floor: u64,
    /// The runs before, by the first place that each gave out.
    pub runs: Vec<(u64, String)>,
}

/// What there is, with the `recent_max` newest rows.
pub(crate) fn beginning(conn: &Connection, recent_max: u32) -> Result<StoredAudit> {
    let read = || -> rusqlite::Result<StoredAudit> {
        let sql = "SELECT (SELECT coalesce(max(seq), 0) FROM reconciliation_audit),
                          (SELECT coalesce(max(seq), 0) FROM reconciliation_trimmed),
                          (SELECT count(*) FROM reconciliation_audit)";
        let (newest, trimmed, rows) =
            conn.query_row(sql, [], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
        let sql = format!("SELECT {COLUMNS} FROM reconciliation_audit WHERE newest = 1");
        let latest = all(conn, &sql, &[])?;
        let sql = format!("SELECT {COLUMNS} FROM reconciliation_audit ORDER BY seq DESC LIMIT ?1");
        let mut recent = all(conn, &sql, &[&recent_max])?;
        recent.reverse();
        let complete = rows <= recent_max.into();
        let before = recent.first().map_or(0, |oldest| oldest.seq.saturating_sub(1));
        let floor = if complete { trimmed } else { trimmed.max(before) };
        let sql = "SELECT first_seq, run FROM reconciliation_runs ORDER BY first_seq";
        let mut runs = conn.prepare(sql)?;
        let runs = runs.query_map([], |row| Ok((number(row, 0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(StoredAudit { last: newest.max(trimmed), rows, latest, recent, floor, runs })
    };
    read().map_err(sql_error)
}

/// The verdict in force of a service.
pub(crate) fn newest(conn: &Connection, service: &str) -> Result<Option<AuditEntry>> {
    let read = || {
        let sql = format!("SELECT {COLUMNS} FROM reconciliation_audit WHERE service = ?1 AND newest = 1");
        conn.prepare_cached(&sql)?.query_row([service], entry).optional()
    };
    read().map_err(sql_error)
}

/// Records a verdict as the one in force of its service: in a row of its own, or in that of the last one if it says the
/// same. Returns the row, and whether it is a new one.
pub(crate) fn append(
    conn: &Connection,
    id: &EventId,
    action: AuditAction,
    at: Timestamp,
    verdict: &Verdict,
) -> Result<(AuditEntry, bool)> {
    note_run(conn, id)?;
    let fresh = AuditEntry::new(id, action, at, verdict.clone());
    match newest(conn, &verdict.service)? {
        Some(last) if last.is_repeat(action, verdict) => {
            let folded = AuditEntry { first_at: last.first_at, count: last.count.saturating_add(1), ..fresh };
            let sql = "UPDATE reconciliation_audit SET seq = ?2, event_id = ?3, latency_ms = ?4, at = ?5, count = ?6,
                           compared = ?7, all_since = ?8
                       WHERE seq = ?1";
            let write = || {
                conn.prepare_cached(sql)?.execute((
                    int(last.seq),
                    int(folded.seq),
                    &folded.event_id,
                    folded.verdict.latency_ms,
                    folded.at.to_string(),
                    int(folded.count),
                    folded.verdict.compared.as_str(),
                    folded.verdict.all_since.map(|since| since.to_string()),
                ))
            };
            write().map_err(sql_error)?;
            Ok((folded, false))
        }
        last => {
            if last.is_some() {
                end_verdict(conn, &verdict.service)?;
            }
            insert(conn, &fresh, true)?;
            Ok((fresh, true))
        }
    }
}

/// Records what could not be recorded when it was found. It is in force if nothing newer is. One that is there already,
/// since a commit that failed may have come through, stays as it is. Returns whether a row was added.
pub(crate) fn append_late(conn: &Connection, late: &AuditEntry) -> Result<bool> {
    let sql = "SELECT 1 FROM reconciliation_audit WHERE seq = ?1";
    let known = || conn.prepare_cached(sql)?.exists([int(late.seq)]);
    if known().map_err(sql_error)? {
        return Ok(false);
    }
    if let Some(id) = EventId::parse(&late.event_id) {
        note_run(conn, &id)?;
    }
    let is_newest = newest(conn, &late.verdict.service)?.is_none_or(|newest| newest.seq < late.seq);
    if is_newest {
        end_verdict(conn, &late.verdict.service)?;
    }
    insert(conn, late, is_newest)?;
    Ok(true)
}

fn insert(conn: &Connection, entry: &AuditEntry, newest: bool) -> Result<()> {
    let verdict = &entry.verdict;
    let details = verdict.details.as_ref().map(text).transpose()?;
    let documents = (!verdict.documents.is_empty()).then(|| text(&verdict.documents)).transpose()?;
    let counts = text(&verdict.counts)?;
    let sql = format!(
        "INSERT INTO reconciliation_audit ({COLUMNS}, newest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
    );
    let values: [&dyn ToSql; 16] = [
        &int(entry.seq),
        &entry.event_id,
        &verdict.service,
        &entry.action.as_str(),
        &verdict.status.as_str(),
        &counts,
        &verdict.checksum,
        &verdict.latency_ms,
        &details,
        &documents,
        &entry.at.to_string(),
        &entry.first_at.to_string(),
        &int(entry.count),
        &verdict.compared.as_str(),
        &verdict.all_since.map(|since| since.to_string()),
        &newest,
    ];
    let write = || conn.prepare_cached(&sql)?.execute(values);
    write().map(drop).map_err(sql_error)
}

/// Leaves a service without a verdict in force; its rows stay.
pub(crate) fn end_verdict(conn: &Connection, service: &str) -> Result<()> {
    let sql = "UPDATE reconciliation_audit SET newest = 0 WHERE service = ?1 AND newest = 1";
    let write = || conn.prepare_cached(sql)?.execute([service]);
    write().map(drop).map_err(sql_error)
}

/// Notes which run gave this id, once.
fn note_run(conn: &Connection, id: &EventId) -> Result<()> {
    let write = || -> rusqlite::Result<()> {
        let sql = "INSERT INTO reconciliation_runs (run, first_seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        if conn.prepare_cached(sql)?.execute((id.run.as_str(), int(id.seq)))? > 0 {
            let sql = "DELETE FROM reconciliation_runs WHERE run NOT IN
                           (SELECT run FROM reconciliation_runs ORDER BY first_seq DESC LIMIT ?1)";
            conn.execute(sql, [RECONCILIATION_RUNS_MAX])?;
        }
        Ok(())
    };
    write().map_err(sql_error)
}

/// What can be told to whoever saw an update last.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MissedEntries {
    /// The rows after it, oldest first, up to where was asked.
    Rows(Vec<AuditEntry>),
    /// Some are not kept any more.
    Trimmed,
    /// More than is told.
    TooMany,
}

/// The rows after the place `after` and up to `through`, at most `rows_max`.
pub(crate) fn missed(conn: &Connection, after: u64, through: u64, rows_max: usize) -> Result<MissedEntries> {
    let read = || -> rusqlite::Result<MissedEntries> {
        let sql = "SELECT coalesce(max(seq), 0) FROM reconciliation_trimmed";
        if conn.query_row(sql, [], |row| number(row, 0))? > after {
            return Ok(MissedEntries::Trimmed);
        }
        let sql =
            format!("SELECT {COLUMNS} FROM reconciliation_audit WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3");
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX).saturating_add(1);
        let rows = all(conn, &sql, &[&int(after), &int(through), &limit])?;
        Ok(if rows.len() > rows_max { MissedEntries::TooMany } else { MissedEntries::Rows(rows) })
    };
    read().map_err(sql_error)
}

/// Which rows are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    pub service: Option<String>,
    pub status: Option<VerdictStatus>,
    /// Found at this moment or later.
    pub since: Option<Timestamp>,
    /// Found at this moment or earlier.
    pub until: Option<Timestamp>,
    pub before: Option<u64>,
}

/// A page of rows, newest first, one more than `limit` if there are more.
pub(crate) fn page(conn: &Connection, filter: &AuditFilter, limit: usize) -> Result<Vec<AuditEntry>> {
    let mut wanted = vec!["seq < ?1".to_owned()];
    let before = filter.before.map_or(i64::MAX, int);
    let status = filter.status.map(VerdictStatus::as_str);
    let (since, until) = (filter.since.map(|at| at.to_string()), filter.until.map(|at| at.to_string()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut values: Vec<&dyn ToSql> = vec![&before, &limit];
    if let Some(service) = &filter.service {
        values.push(service);
        wanted.push(format!("service = ?{}", values.len()));
    }
    if let Some(status) = &status {
        values.push(status);
        wanted.push(format!("status = ?{}", values.len()));
    }
    if let Some(since) = &since {
        values.push(since);
        wanted.push(format!("at >= ?{}", values.len()));
    }
    if let Some(until) = &until {
        values.push(until);
        wanted.push(format!("first_at <= ?{}", values.len()));
    }
    let wanted = wanted.join(" AND ");
    let sql = format!("SELECT {COLUMNS} FROM reconciliation_audit WHERE {wanted} ORDER BY seq DESC LIMIT ?2");
    all(conn, &sql, &values).map_err(sql_error)
}

fn all(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<Vec<AuditEntry>> {
    conn.prepare_cached(sql)?.query_map(values, entry)?.collect()
}

/// Which rows may go: all but the verdicts in force; verified ones before others.
const OLD: &str = "newest = 0 AND at < ?1";

/// Forgets rows found last before `before`, at most `limit`. Returns how many.
pub(crate) fn trim_old(conn: &Connection, before: Timestamp, limit: u32) -> Result<u64> {
    let sql = format!(
        "DELETE FROM reconciliation_audit WHERE seq IN
             (SELECT seq FROM reconciliation_audit WHERE {OLD} ORDER BY at LIMIT ?2) RETURNING seq"
    );
    delete(conn, &sql, &[&before.to_string(), &limit])
}

/// How many rows [`trim_old`] would forget in the end.
pub(crate) fn count_old(conn: &Connection, before: Timestamp) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM reconciliation_audit WHERE {OLD}");
    conn.query_row(&sql, [before.to_string()], |row| number(row, 0)).map_err(sql_error)
}

/// How many rows there are.
pub(crate) fn count(conn: &Connection) -> Result<u64> {
    conn.query_row("SELECT count(*) FROM reconciliation_audit", [], |row| number(row, 0)).map_err(sql_error)
}

/// Forgets `count` rows, or as many as may go: the oldest, verified ones first. Returns how many.
pub(crate) fn drop_oldest(conn: &Connection, count: u64) -> Result<u64> {
    let sql = |which: &str| {
        format!(
            "DELETE FROM reconciliation_audit WHERE seq IN
                 (SELECT seq FROM reconciliation_audit WHERE {which} AND newest = 0 ORDER BY seq LIMIT ?1)
                 RETURNING seq"
        )
    };
    let dropped = delete(conn, &sql("status = 'verified'"), &[&int(count)])?;
    if dropped == count {
        return Ok(dropped);
    }
    Ok(dropped + delete(conn, &sql("seq > 0"), &[&int(count - dropped)])?)
}

/// Runs a DELETE that returns places, and notes up to where rows may be missing.
fn delete(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<u64> {
    let run = || -> rusqlite::Result<u64> {
        let places =
            conn.prepare_cached(sql)?.query_map(values, |row| number(row, 0))?.collect::<Result<Vec<_>, _>>()?;
        if let Some(last) = places.iter().max() {
            let sql = "INSERT INTO reconciliation_trimmed (only_row, seq) VALUES (1, ?1)
                       ON CONFLICT (only_row) DO UPDATE SET seq = max(seq, excluded.seq)";
            conn.prepare_cached(sql)?.execute([int(*last)])?;
        }
        Ok(u64::try_from(places.len()).unwrap_or(u64::MAX))
    };
    run().map_err(sql_error)
}
