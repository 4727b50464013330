//! The table `projects_phases`.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::cached;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::projects::limits::PHASE_CHANGES_MAX;
use crate::features::projects::progress::phases::PhaseChange;
use crate::store::rows::{self, int};
use crate::store::{Connection, sql_error};

/// Adds a change of phase, and drops what are too many.
pub(crate) fn insert(conn: &Connection, key: i64, change: &PhaseChange) -> Result<()> {
    let sql = "INSERT INTO projects_phases (document, from_phase, to_phase, reason, changed_by, at, lasted_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let PhaseChange { from, to, reason, changed_by, at, lasted_ms } = change;
    let row = (key, from, to, reason, changed_by, at.to_string(), int(*lasted_ms));
    cached(conn, sql)?.execute(row).map_err(sql_error)?;
    let surplus = "DELETE FROM projects_phases WHERE number IN (
                     SELECT number FROM projects_phases WHERE document = ?1 ORDER BY number DESC LIMIT -1 OFFSET ?2)";
    cached(conn, surplus)?.execute((key, int(PHASE_CHANGES_MAX))).map(drop).map_err(sql_error)
}

/// At most `limit` changes of phase, oldest first, after the given one.
pub(crate) fn page(conn: &Connection, key: i64, after: i64, limit: usize) -> Result<Vec<(i64, PhaseChange)>> {
    let sql = "SELECT number, from_phase, to_phase, reason, changed_by, at, lasted_ms FROM projects_phases
               WHERE document = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
    let read = |row: &Row<'_>| {
        let change = PhaseChange {
            from: row.get(1)?,
            to: row.get(2)?,
            reason: row.get(3)?,
            changed_by: row.get(4)?,
            at: rows::time(row, 5)?,
            lasted_ms: rows::number(row, 6)?,
        };
        Ok((row.get(0)?, change))
    };
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map((key, after, rows::count(limit)), read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// When the project with the document `key` went into the phase that it is in; `None`: it never left its first.
pub(crate) fn since(conn: &Connection, key: i64) -> Result<Option<Timestamp>> {
    let sql = "SELECT (SELECT at FROM projects_phases WHERE document = ?1 ORDER BY number DESC LIMIT 1)";
    cached(conn, sql)?.query_row([key], |row| rows::optional(row, 0, rows::time)).map_err(sql_error)
}

/// How long the project was in each phase that it left, milliseconds.
pub(crate) fn lasted(conn: &Connection, key: i64) -> Result<BTreeMap<String, u64>> {
    let sql = "SELECT from_phase, sum(lasted_ms) FROM projects_phases WHERE document = ?1 GROUP BY from_phase";
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map([key], |row| Ok((row.get(0)?, rows::number(row, 1)?))).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// How many changes of phase are kept.
pub(crate) fn count(conn: &Connection, key: i64) -> Result<u64> {
    let sql = "SELECT count(*) FROM projects_phases WHERE document = ?1";
    cached(conn, sql)?.query_row([key], |row| rows::number(row, 0)).map_err(sql_error)
}
