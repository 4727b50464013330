//! The table `conflicts`.

use std::cmp::Reverse;
use std::ops::RangeInclusive;

use rusqlite::types::Value as SqlValue;
use rusqlite::{OptionalExtension, Row};
use serde_json::Value;

use super::rules::{MergedPath, Resolution};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{DocumentId, DocumentName, Seq, Version};
use crate::document::chain::Position;
use crate::live::topics::Interest;
use crate::store::rows::{self, int, invalid_column, json, optional, time};
use crate::store::{Connection, sql_error};

/// Most rows of a document; the oldest that are not open go first.
const ROWS_PER_DOCUMENT_MAX: u32 = 1_000;
/// Most rows in all, likewise.
const ROWS_MAX: u32 = 100_000;
/// Most open conflicts that a stream that comes back is told; the list has all.
const OPEN_TOLD_MAX: usize = 100;
/// Bytes of their values past which no more are told to it.
const OPEN_TOLD_BYTES_MAX: usize = 1 << 20;

/// A place that both sides changed, as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct StoredConflict {
    /// Rises with time.
    pub number: i64,
    pub document: DocumentName,
    pub place: MergedPath,
    /// The document's version that the merge made.
    pub version: Version,
    /// Whose edits they were: the scope of their viewer.
    pub made_by: String,
    pub at: Timestamp,
    pub resolved_by: Option<String>,
    pub resolved_at: Option<Timestamp>,
}

impl StoredConflict {
    /// Whether a person has still to decide.
    pub(crate) fn is_open(&self) -> bool {
        self.place.resolution.is_none()
    }
}

/// Whose rows, and of which document.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConflictFilter {
    pub document: Option<DocumentName>,
    /// Whether it is open.
    pub open: Option<bool>,
    /// Also those that a rule decided.
    pub audit: bool,
}

/// Where a page goes on: open ones first, then the newest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConflictCursor {
    pub open: bool,
    pub number: i64,
}

const COLUMNS: &str = "c.number, c.id, d.collection, d.id, c.path, c.rule, c.base, c.local, c.server,
                       c.value, c.suggestion, c.resolution, c.version, c.made_by, c.at, c.resolved_by, c.resolved_at";

pub(crate) fn insert(
    conn: &Connection,
    key: i64,
    place: &MergedPath,
    (version, who, at): (u64, &str, Timestamp),
) -> Result<()> {
    let sql =
        "INSERT INTO conflicts (id, document, path, rule, base, local, server, value, suggestion, resolution, version,
                 made_by, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let row = (
        &place.id,
        key,
        &place.path,
        &place.rule,
        text(&place.base),
        text(&place.local),
        text(&place.server),
        text(&place.value),
        text(&place.suggestion),
        &place.resolution,
        i64::try_from(version).unwrap_or(i64::MAX),
        who,
        at.to_string(),
    );
    conn.prepare_cached(sql).and_then(|mut statement| statement.execute(row)).map(drop).map_err(sql_error)
}

/// Drops what is too much.
pub(crate) fn trim(conn: &Connection, key: i64) -> Result<()> {
    let of_document = "DELETE FROM conflicts WHERE number IN (SELECT number FROM conflicts WHERE document = ?1
                         ORDER BY resolution IS NULL DESC, number DESC LIMIT -1 OFFSET ?2)";
    let of_all = "DELETE FROM conflicts WHERE number IN (SELECT number FROM conflicts
                    WHERE number <= (SELECT max(number) FROM conflicts) - ?1 AND resolution IS NOT NULL)";
    let run = || {
        conn.prepare_cached(of_document)?.execute((key, ROWS_PER_DOCUMENT_MAX))?;
        conn.prepare_cached(of_all)?.execute([ROWS_MAX])
    };
    run().map(drop).map_err(sql_error)
}

pub(crate) fn resolve(conn: &Connection, id: &str, how: Resolution, who: &str, at: Timestamp) -> Result<()> {
    let sql = "UPDATE conflicts SET resolution = ?2, resolved_by = ?3, resolved_at = ?4
               WHERE id = ?1 AND resolution IS NULL";
    let row = (id, how.name(), who, at.to_string());
    conn.prepare_cached(sql).and_then(|mut statement| statement.execute(row)).map(drop).map_err(sql_error)
}

pub(crate) fn remove(conn: &Connection, key: i64) -> Result<()> {
    conn.execute("DELETE FROM conflicts WHERE document = ?1", [key]).map(drop).map_err(sql_error)
}

pub(crate) fn find(conn: &Connection, id: &str) -> Result<Option<StoredConflict>> {
    let sql = format!("SELECT {COLUMNS} FROM conflicts c JOIN documents d ON d.key = c.document WHERE c.id = ?1");
    let mut statement = conn.prepare_cached(&sql).map_err(sql_error)?;
    statement.query_row([id], read).optional().map_err(sql_error)
}

/// The open conflicts of a document that are of `who`.
pub(crate) fn open_of(conn: &Connection, key: i64, who: &str) -> Result<Vec<StoredConflict>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM conflicts c JOIN documents d ON d.key = c.document
         WHERE c.document = ?1 AND c.made_by = ?2 AND c.resolution IS NULL"
    );
    let run = || conn.prepare_cached(&sql)?.query_map((key, who), read)?.collect::<rusqlite::Result<Vec<_>>>();
    run().map_err(sql_error)
}

/// The newest open conflicts that events of these seqs made in what `interest` covers, with the positions of those
/// events, oldest first. At most [`OPEN_TOLD_MAX`], and no more once their values take [`OPEN_TOLD_BYTES_MAX`].
pub(crate) fn open_between(
    conn: &Connection,
    interest: &Interest,
    seqs: &RangeInclusive<Seq>,
) -> Result<Vec<(StoredConflict, Position)>> {
    let documents = interest.documents.iter().map(|name| (&name.collection, Some(&name.id)));
    let collections = interest.collections.iter().map(|collection| (collection, None));
    let mut found = Vec::new();
    for (collection, id) in documents.chain(collections) {
        let named = if id.is_some() { "d.id = ?4" } else { "?4 IS NULL" };
        let sql = format!(
            "SELECT {COLUMNS}, e.seq, e.hash FROM conflicts c JOIN documents d ON d.key = c.document
               JOIN events e ON e.document = c.document AND e.version = c.version
             WHERE c.resolution IS NULL AND d.collection = ?3 AND {named} AND e.seq BETWEEN ?1 AND ?2
             ORDER BY c.number DESC LIMIT {OPEN_TOLD_MAX}"
        );
        let read = |row: &Row<'_>| Ok((read(row)?, Position::after(rows::seq(row, 17)?, rows::hash(row, 18)?)));
        let (first, last) = (int(seqs.start().0), int(seqs.end().0));
        let values = (first, last, collection.as_str(), id.map(DocumentId::as_str));
        let run = || conn.prepare_cached(&sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<_>>>();
        found.extend(run().map_err(sql_error)?);
    }
    found.sort_unstable_by_key(|(kept, _)| Reverse(kept.number));
    found.dedup_by_key(|(kept, _)| kept.number);
    let mut bytes = 0;
    let told = found.into_iter().take(OPEN_TOLD_MAX).take_while(|(kept, _)| {
        let fits = bytes < OPEN_TOLD_BYTES_MAX;
        bytes += kept.place.value_bytes();
        fits
    });
    let mut told: Vec<_> = told.collect();
    told.reverse();
    Ok(told)
}

/// At most `limit` rows, open ones first, then the newest; of the audit the newest.
pub(crate) fn page(
    conn: &Connection,
    filter: &ConflictFilter,
    after: Option<ConflictCursor>,
    limit: usize,
) -> Result<Vec<StoredConflict>> {
    let first = if filter.audit { "c.number IS NULL" } else { "c.resolution IS NULL" };
    let sql = format!(
        "SELECT {COLUMNS} FROM conflicts c JOIN documents d ON d.key = c.document
         WHERE (?1 IS NULL OR (d.collection = ?1 AND d.id = ?2)) AND (?3 IS NULL OR (c.resolution IS NULL) = ?3)
           AND (?4 OR c.rule = 'manual') AND (?5 IS NULL OR (({first}), c.number) < (?5, ?6))
         ORDER BY ({first}) DESC, c.number DESC LIMIT ?7"
    );
    let name = filter.document.as_ref();
    let values = (
        name.map(|name| name.collection.as_str()),
        name.map(|name| name.id.as_str()),
        filter.open,
        filter.audit,
        after.map(|after| after.open),
        after.map(|after| after.number),
        i64::try_from(limit).unwrap_or(i64::MAX),
    );
    let run = || conn.prepare_cached(&sql)?.query_map(values, read)?.collect::<rusqlite::Result<Vec<_>>>();
    run().map_err(sql_error)
}

fn text(value: &Option<Value>) -> SqlValue {
    value.as_ref().map_or(SqlValue::Null, |value| SqlValue::Text(value.to_string()))
}

fn read(row: &Row<'_>) -> rusqlite::Result<StoredConflict> {
    let value = |column| optional(row, column, json);
    let name = DocumentName::new(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?);
    Ok(StoredConflict {
        number: row.get(0)?,
        document: name.map_err(|error| invalid_column(2, error))?,
        place: MergedPath {
            id: row.get(1)?,
            path: row.get(4)?,
            rule: row.get(5)?,
            base: value(6)?,
            local: value(7)?,
            server: value(8)?,
            value: value(9)?,
            suggestion: value(10)?,
            resolution: row.get(11)?,
            known: true,
        },
        version: rows::version(row, 12)?,
        made_by: row.get(13)?,
        at: time(row, 14)?,
        resolved_by: row.get(15)?,
        resolved_at: optional(row, 16, time)?,
    })
}
