//! The table `projects_warnings`.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, Row};
use serde_json::Value;

use super::cached;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::document::visibility::Viewer;
use crate::features::projects::consistency::check::Severity;
use crate::features::projects::consistency::checks::CheckFinding;
use crate::features::projects::consistency::warning::{KnownWarning, WarningStatus};
use crate::features::projects::limits::WARNINGS_KEPT_MAX;
use crate::store::rows::{self, count, json};
use crate::store::{Connection, sql_error};

/// A warning as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct StoredWarning {
    /// Rises with time.
    pub number: i64,
    pub id: String,
    pub check: String,
    pub severity: Severity,
    pub status: WarningStatus,
    /// `collection/id`.
    pub document: String,
    pub path: String,
    pub what: String,
    pub why: String,
    pub values: Value,
    pub suggestion: String,
    pub found_at: Timestamp,
    /// When it came into its state, who brought it there (`None`: a check), and what they said.
    pub changed_at: Timestamp,
    pub changed_by: Option<String>,
    pub note: Option<String>,
}

const COLUMNS: &str = "number, id, check_name, severity, status, document, path, what, why, found_values, suggestion, \
                       found_at, changed_at, changed_by, note";

fn read(row: &Row<'_>) -> rusqlite::Result<StoredWarning> {
    Ok(StoredWarning {
        number: row.get(0)?,
        id: row.get(1)?,
        check: row.get(2)?,
        severity: rows::parsed(row, 3, Severity::named)?,
        status: rows::parsed(row, 4, WarningStatus::named)?,
        document: row.get(5)?,
        path: row.get(6)?,
        what: row.get(7)?,
        why: row.get(8)?,
        values: json(row, 9)?,
        suggestion: row.get(10)?,
        found_at: rows::time(row, 11)?,
        changed_at: rows::time(row, 12)?,
        changed_by: row.get(13)?,
        note: row.get(14)?,
    })
}

/// Which warnings of a project.
#[derive(Clone, Debug, Default)]
pub(crate) struct WarningFilter {
    /// `None`: in any state.
    pub status: Option<WarningStatus>,
    pub severity: Option<Severity>,
    pub check: Option<String>,
}

const MATCHES: &str = "project = ?1 AND (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR severity = ?3)
                         AND (?4 IS NULL OR check_name = ?4)";

impl WarningFilter {
    fn columns(&self) -> (Option<&'static str>, Option<&'static str>, Option<&str>) {
        (self.status.map(WarningStatus::as_str), self.severity.map(Severity::as_str), self.check.as_deref())
    }
}

/// Whether a warning `w` is shown to the viewer in a parameter, by today's rights: they may read the document that it
/// is of. What is not open any more is of then: it may be of any document of the project, so they may read all.
fn shown_to(parameter: &str) -> String {
    let readable = format!("coalesce({}, 0)", rows::readable_by(parameter));
    format!(
        "({parameter} IS NULL OR (
           EXISTS (SELECT 1 FROM documents d
                   WHERE d.collection = substr(w.document, 1, instr(w.document, '/') - 1)
                     AND d.id = substr(w.document, instr(w.document, '/') + 1) AND {readable})
           AND (w.status = 'open' OR NOT EXISTS (
                  SELECT 1 FROM projects_members m JOIN documents d ON d.key = m.document
                  WHERE m.project = w.project AND NOT {readable}))))"
    )
}

/// Those that are shown to `viewer`, the newest first, those before the number `before`.
pub(crate) fn page(
    conn: &Connection,
    (project, viewer): (&str, &Viewer),
    filter: &WarningFilter,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<StoredWarning>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM projects_warnings w WHERE {MATCHES} AND {} AND number < ?6
         ORDER BY number DESC LIMIT ?7",
        shown_to("?5")
    );
    let (status, severity, check) = filter.columns();
    let asks = rows::viewer_column(viewer);
    let values = (project, status, severity, check, asks, before.unwrap_or(i64::MAX), count(limit));
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map(values, read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// How many of each severity are shown to `viewer`.
pub(crate) fn counts(
    conn: &Connection,
    (project, viewer): (&str, &Viewer),
    filter: &WarningFilter,
) -> Result<HashMap<Severity, u64>> {
    let shown = shown_to("?5");
    let sql =
        format!("SELECT severity, count(*) FROM projects_warnings w WHERE {MATCHES} AND {shown} GROUP BY severity");
    let (status, severity, check) = filter.columns();
    let mut statement = cached(conn, &sql)?;
    let read = |row: &Row<'_>| Ok((rows::parsed(row, 0, Severity::named)?, rows::number(row, 1)?));
    let found = statement
        .query_map((project, status, severity, check, rows::viewer_column(viewer)), read)
        .map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// `None`: there is none that is shown to `viewer`.
pub(crate) fn find(conn: &Connection, (project, viewer): (&str, &Viewer), id: &str) -> Result<Option<StoredWarning>> {
    let shown = shown_to("?3");
    let sql = format!("SELECT {COLUMNS} FROM projects_warnings w WHERE project = ?1 AND id = ?2 AND {shown}");
    cached(conn, &sql)?.query_row((project, id, rows::viewer_column(viewer)), read).optional().map_err(sql_error)
}

pub(crate) fn by_number(conn: &Connection, number: i64) -> Result<Option<StoredWarning>> {
    let sql = format!("SELECT {COLUMNS} FROM projects_warnings WHERE number = ?1");
    cached(conn, &sql)?.query_row([number], read).optional().map_err(sql_error)
}

/// What is known of the warnings of a project, each with check and unit.
pub(crate) fn known(conn: &Connection, project: &str) -> Result<Vec<(String, String, KnownWarning)>> {
    known_where(conn, "project = ?1", (project,))
}

/// The same of one unit of a check.
pub(crate) fn known_of_unit(
    conn: &Connection,
    project: &str,
    check: &str,
    unit: &str,
) -> Result<Vec<(String, String, KnownWarning)>> {
    known_where(conn, "project = ?1 AND check_name = ?2 AND unit = ?3", (project, check, unit))
}

fn known_where(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Vec<(String, String, KnownWarning)>> {
    let sql = format!(
        "SELECT check_name, unit, number, fingerprint, values_digest, status FROM projects_warnings WHERE {condition}"
    );
    let read = |row: &Row<'_>| {
        let known = KnownWarning {
            number: row.get(2)?,
            fingerprint: row.get(3)?,
            values_digest: row.get(4)?,
            status: rows::parsed(row, 5, WarningStatus::named)?,
        };
        Ok((row.get(0)?, row.get(1)?, known))
    };
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map(values, read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// How many of a check are open.
pub(crate) fn count_open(conn: &Connection, project: &str, check: &str) -> Result<u64> {
    let sql = "SELECT count(*) FROM projects_warnings WHERE project = ?1 AND check_name = ?2 AND status = 'open'";
    cached(conn, sql)?.query_row((project, check), |row| rows::number(row, 0)).map_err(sql_error)
}

/// Check and unit of those that somebody resolved.
pub(crate) fn resolved_by_hand(conn: &Connection, project: &str) -> Result<Vec<(String, String)>> {
    let sql = "SELECT check_name, unit FROM projects_warnings
               WHERE project = ?1 AND status = 'resolved' AND changed_by IS NOT NULL";
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map([project], |row| Ok((row.get(0)?, row.get(1)?))).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// Adds one that was not found before. Returns its number.
pub(crate) fn insert(
    conn: &Connection,
    project: &str,
    (id, fingerprint): (&str, &str),
    found: &CheckFinding,
    now: Timestamp,
) -> Result<i64> {
    let sql = format!(
        "INSERT INTO projects_warnings (project, fingerprint, unit, values_digest, {}) VALUES (
           ?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open', ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14, NULL, NULL)",
        COLUMNS.trim_start_matches("number, ")
    );
    let finding = &found.finding;
    let row = (
        (project, fingerprint, found.unit.to_string(), finding.values_digest(), id, found.check),
        (found.severity.as_str(), finding.document.to_string(), &finding.path, &finding.what, &finding.why),
        (finding.values.to_string(), &finding.suggestion, now.to_string()),
    );
    let ((p1, p2, p3, p4, p5, p6), (p7, p8, p9, p10, p11), (p12, p13, p14)) = row;
    let values = rusqlite::params![p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14];
    cached(conn, &sql)?.execute(values).map_err(sql_error)?;
    Ok(conn.last_insert_rowid())
}

/// One is found again, and is in this state. Returns whether that is another one than before.
pub(crate) fn update(
    conn: &Connection,
    number: i64,
    found: &CheckFinding,
    status: WarningStatus,
    now: Timestamp,
) -> Result<bool> {
    let finding = &found.finding;
    let sql = "UPDATE projects_warnings SET severity = ?2, document = ?3, path = ?4, what = ?5, why = ?6,
                 found_values = ?7, values_digest = ?8, suggestion = ?9 WHERE number = ?1";
    let document = finding.document.to_string();
    let (values, digest) = (finding.values.to_string(), finding.values_digest());
    let (severity, suggestion) = (found.severity.as_str(), &finding.suggestion);
    let row = (number, severity, document, &finding.path, &finding.what, &finding.why, values, digest, suggestion);
    cached(conn, sql)?.execute(row).map_err(sql_error)?;
    set_status(conn, number, status, (None, None), now)
}

/// Brings one into a state. Returns whether it was in another one.
pub(crate) fn set_status(
    conn: &Connection,
    number: i64,
    status: WarningStatus,
    (by, note): (Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<bool> {
    let sql = "UPDATE projects_warnings SET status = ?2, changed_at = ?3, changed_by = ?4, note = ?5
               WHERE number = ?1 AND status <> ?2";
    let row = (number, status.as_str(), now.to_string(), by, note);
    cached(conn, sql)?.execute(row).map(|changed| changed > 0).map_err(sql_error)
}

/// Forgets the oldest of a project that are resolved, when there are more than are kept.
pub(crate) fn trim(conn: &Connection, project: &str) -> Result<()> {
    let sql = "DELETE FROM projects_warnings WHERE number IN (
                 SELECT number FROM projects_warnings WHERE project = ?1 AND status = 'resolved'
                 ORDER BY number DESC LIMIT -1 OFFSET ?2)";
    cached(conn, sql)?.execute((project, count(WARNINGS_KEPT_MAX))).map(drop).map_err(sql_error)
}

/// How many a project has, in whatever state.
pub(crate) fn count_all(conn: &Connection, project: &str) -> Result<u64> {
    let sql = "SELECT count(*) FROM projects_warnings WHERE project = ?1";
    cached(conn, sql)?.query_row([project], |row| rows::number(row, 0)).map_err(sql_error)
}

/// What checks know of a project goes. Returns how many warnings there were.
pub(crate) fn remove_project(conn: &Connection, project: &str) -> Result<usize> {
    for table in ["projects_unchecked", "projects_checks"] {
        cached(conn, &format!("DELETE FROM {table} WHERE project = ?1"))?.execute([project]).map_err(sql_error)?;
    }
    cached(conn, "DELETE FROM projects_warnings WHERE project = ?1")?.execute([project]).map_err(sql_error)
}
