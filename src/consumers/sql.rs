//! The table `consumers`, and the log as consumers read it.

use rusqlite::{OptionalExtension, Row};

use super::LoggedChange;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::store::read::log::PageBound;
use crate::store::rows::{self, count, int};
use crate::store::{Connection, sql_error};

/// Where a consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredPlace {
    /// Of the last event that it is done with.
    pub seq: Seq,
    pub at: Timestamp,
}

/// `None`: it has stored none yet.
pub(super) fn place(conn: &Connection, name: &str) -> Result<Option<StoredPlace>> {
    let sql = "SELECT seq, at FROM consumers WHERE name = ?1";
    let read = |row: &Row<'_>| Ok(StoredPlace { seq: rows::seq(row, 0)?, at: rows::time(row, 1)? });
    let found = conn.prepare_cached(sql).and_then(|mut statement| statement.query_row([name], read).optional());
    found.map_err(sql_error)
}

pub(super) fn set_place(conn: &Connection, name: &str, seq: Seq, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO consumers (name, seq, at) VALUES (?1, ?2, ?3)
               ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, at = excluded.at";
    let written = conn.prepare_cached(sql).and_then(|mut set| set.execute((name, int(seq.0), now.to_string())));
    written.map(drop).map_err(sql_error)
}

/// Which part of the log is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range<'a> {
    /// The names of collections, as a JSON array.
    pub collections: &'a str,
    pub after: Seq,
    pub to: Seq,
}

/// The changes of a range, in order, one at least, and whether there may be more of them.
pub(super) fn page(conn: &Connection, range: Range<'_>, bound: PageBound) -> Result<(Vec<LoggedChange>, bool)> {
    let sql = "SELECT e.seq, e.document, d.collection, d.id, e.version, e.at, e.deletes, e.body
               FROM events e CROSS JOIN documents d ON d.key = e.document
               WHERE e.seq > ?1 AND e.seq <= ?2 AND d.collection IN (SELECT value FROM json_each(?3))
               ORDER BY e.seq LIMIT ?4";
    let read = || -> rusqlite::Result<_> {
        let mut statement = conn.prepare_cached(sql)?;
        let parameters = (int(range.after.0), int(range.to.0), range.collections, count(bound.events));
        let mut found = statement.query(parameters)?;
        let (mut changes, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = found.next()? {
            let change = change(row)?;
            bytes = bytes.saturating_add(change.body.len());
            if !changes.is_empty() && bytes > bound.bytes {
                return Ok((changes, true));
            }
            changes.push(change);
        }
        let full = changes.len() >= bound.events;
        Ok((changes, full))
    };
    read().map_err(sql_error)
}

/// How many changes there are in a range, of which at most `limit` are counted, and when the oldest was made.
pub(super) fn lag(conn: &Connection, range: Range<'_>, limit: usize) -> Result<(u64, Option<Timestamp>)> {
    let sql = "SELECT count(*), min(at) FROM (
                 SELECT e.at FROM events e CROSS JOIN documents d ON d.key = e.document
                 WHERE e.seq > ?1 AND e.seq <= ?2 AND d.collection IN (SELECT value FROM json_each(?3))
                 ORDER BY e.seq LIMIT ?4)";
    let parameters = (int(range.after.0), int(range.to.0), range.collections, count(limit));
    let read = |row: &Row<'_>| Ok((rows::number(row, 0)?, rows::optional(row, 1, rows::time)?));
    conn.prepare_cached(sql).and_then(|mut statement| statement.query_row(parameters, read)).map_err(sql_error)
}

fn change(row: &Row<'_>) -> rusqlite::Result<LoggedChange> {
    let document = DocumentName::new(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?);
    Ok(LoggedChange {
        seq: rows::seq(row, 0)?,
        key: row.get(1)?,
        document: document.map_err(|error| rows::invalid_column(2, error))?,
        version: rows::version(row, 4)?,
        at: rows::time(row, 5)?,
        deletes: row.get(6)?,
        body: rows::text(row, 7)?,
    })
}
