//! The table `projects_snapshots`.

use rusqlite::{OptionalExtension as _, Row};

use super::{cached, members};
use crate::base::error::Result;
use crate::features::projects::limits::SNAPSHOTS_MAX;
use crate::features::projects::progress::measure::{Measures, ProjectProgress};
use crate::features::projects::progress::series::SeriesPoint;
use crate::store::rows::{self, int};
use crate::store::{Connection, sql_error};

/// Removed in one step, so that not every snapshot makes one.
const THINNED_AT_ONCE: u64 = 500;

const COLUMNS: &str = "number, at, version, phase, completion, words, chapters, characters, wiki_entries, loops_open, \
                       loops_closed, notes";

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, ProjectProgress)> {
    let measures = Measures {
        phase: row.get(3)?,
        completion_percent: row.get(4)?,
        word_count: rows::number(row, 5)?,
        entities: members::entities(row, 6)?,
        notes: row.get(11)?,
    };
    Ok((row.get(0)?, ProjectProgress { measures, version: rows::number(row, 2)?, at: rows::time(row, 1)? }))
}

pub(super) fn insert(conn: &Connection, key: i64, progress: &ProjectProgress) -> Result<()> {
    let sql = "INSERT INTO projects_snapshots (document, at, version, phase, completion, words, chapters, characters,
                                               wiki_entries, loops_open, loops_closed, notes)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let ProjectProgress { measures, version, at } = progress;
    let Measures { phase, completion_percent, word_count, entities, notes } = measures;
    let row = (
        key,
        at.to_string(),
        int(*version),
        phase,
        completion_percent,
        int(*word_count),
        int(entities.chapters),
        int(entities.characters),
        int(entities.wiki_entries),
        int(entities.plot_loops.open),
        int(entities.plot_loops.closed),
        notes,
    );
    cached(conn, sql)?.execute(row).map_err(sql_error)?;
    let count = count(conn, key)?;
    if count > SNAPSHOTS_MAX { thin_out(conn, key, count - SNAPSHOTS_MAX) } else { Ok(()) }
}

/// Removes snapshots that others of the same quarter of an hour follow, oldest first; where there is none, the oldest.
fn thin_out(conn: &Connection, key: i64, surplus: u64) -> Result<()> {
    // Quarters, since the local days of all time zones begin with one.
    let quarter = "substr(at, 1, 13) || (CAST(substr(at, 15, 2) AS INTEGER) / 15)";
    let thin = format!(
        "DELETE FROM projects_snapshots WHERE number IN (
           SELECT number FROM (SELECT number, {quarter} AS own, lead({quarter}) OVER (ORDER BY number) AS next
                               FROM projects_snapshots WHERE document = ?1)
           WHERE own = next ORDER BY number LIMIT ?2)"
    );
    let step = surplus.max(THINNED_AT_ONCE);
    if cached(conn, &thin)?.execute((key, int(step))).map_err(sql_error)? > 0 {
        return Ok(());
    }
    let oldest = "DELETE FROM projects_snapshots WHERE number IN (
                    SELECT number FROM projects_snapshots WHERE document = ?1 ORDER BY number LIMIT ?2)";
    cached(conn, oldest)?.execute((key, int(surplus))).map(drop).map_err(sql_error)
}

/// How many snapshots are kept.
pub(crate) fn count(conn: &Connection, key: i64) -> Result<u64> {
    let sql = "SELECT count(*) FROM projects_snapshots WHERE document = ?1";
    cached(conn, sql)?.query_row([key], |row| rows::number(row, 0)).map_err(sql_error)
}

/// At most `limit` snapshots of the project with the document `key`, after the given one. `newest_first`: which comes
/// first; else it is the oldest.
pub(crate) fn page(
    conn: &Connection,
    key: i64,
    (newest_first, after): (bool, Option<i64>),
    limit: usize,
) -> Result<Vec<(i64, ProjectProgress)>> {
    let (beyond, order) = if newest_first { ("<", "DESC") } else { (">", "ASC") };
    let sql = format!(
        "SELECT {COLUMNS} FROM projects_snapshots WHERE document = ?1 AND (?2 IS NULL OR number {beyond} ?2)
         ORDER BY number {order} LIMIT ?3"
    );
    let mut statement = cached(conn, &sql)?;
    let found = statement.query_map((key, after, rows::count(limit)), read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// What statistics need of all snapshots, oldest first.
pub(crate) fn points(conn: &Connection, key: i64) -> Result<Vec<SeriesPoint>> {
    let sql = "SELECT at, words, chapters, characters, wiki_entries, loops_open, loops_closed FROM projects_snapshots
               WHERE document = ?1 ORDER BY number";
    let read = |row: &Row<'_>| {
        Ok(SeriesPoint { at: rows::time(row, 0)?, words: rows::number(row, 1)?, entities: members::entities(row, 2)? })
    };
    let mut statement = cached(conn, sql)?;
    let found = statement.query_map([key], read).map_err(sql_error)?;
    found.collect::<rusqlite::Result<_>>().map_err(sql_error)
}

/// The newest of the project with the document `key`.
pub(super) fn last(conn: &Connection, key: i64) -> Result<Option<ProjectProgress>> {
    let sql = format!("SELECT {COLUMNS} FROM projects_snapshots WHERE document = ?1 ORDER BY number DESC LIMIT 1");
    let found = cached(conn, &sql)?.query_row([key], read).optional().map_err(sql_error)?;
    Ok(found.map(|(_, progress)| progress))
}
