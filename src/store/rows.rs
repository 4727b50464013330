//! From rows to values and back. Nothing here trusts that a row is as we wrote it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use rusqlite::types::{ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql};
use serde::de::DeserializeOwned;

use super::error::{StoreError, damaged, is_damage};
use crate::base::clock::Timestamp;
use crate::base::ids::{Collection, DocumentId, DocumentName, Seq, UserId, Version};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Meta;
use crate::document::visibility::Viewer;

/// How the body of an event ends that deletes its document, but for the salt of those that have one.
const DELETION: &[u8] = br#""patch":[{"op":"replace","path":"","value":null}]"#;
/// What stands before the digits of a salt.
const SALT: &[u8] = br#","salt":""#;

/// A number as SQLite has it. What does not fit is larger than anything stored, and stays so.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as SQLite has it.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// UTF-8 bytes bound as text, without being checked or copied.
pub(crate) struct Text<'a>(pub &'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// A column that cannot have been written by us.
pub(crate) fn invalid_column(
    column: usize,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

/// A text column as `parse` reads it.
pub(crate) fn parsed<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    parse(str_of(row, column)?).ok_or_else(|| invalid_column(column, "not what it should be"))
}

/// What `read` reads of a column that is not NULL.
pub(crate) fn optional<'r, T>(
    row: &'r Row<'_>,
    column: usize,
    read: impl FnOnce(&'r Row<'_>, usize) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => read(row, column).map(Some),
    }
}

pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    serde_json::from_str(str_of(row, column)?).map_err(|error| invalid_column(column, error))
}

/// A number that is never negative.
pub(crate) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(crate) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    number(row, column).map(Seq)
}

pub(crate) fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<Version> {
    number(row, column).map(Version)
}

/// A text column's bytes, whatever they are.
pub(crate) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    bytes_of(row.get_ref(column)?, column)
}

fn bytes_of(value: ValueRef<'_>, column: usize) -> rusqlite::Result<Bytes> {
    match value {
        ValueRef::Text(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        _ => Err(invalid_column(column, "not text")),
    }
}

fn str_of<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<&'r str> {
    row.get_ref(column)?.as_str().map_err(|_| invalid_column(column, "not text"))
}

pub(crate) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    parsed(row, column, Hash::parse)
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    parsed(row, column, Timestamp::parse)
}

pub(crate) fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    parsed(row, column, |text| UserId::new(text).ok())
}

/// The columns of [`meta`], in its order; the table goes by the name `d`.
pub(crate) const META: &str = "d.key, d.collection, d.id, d.host, d.access, d.created_at, d.access_seq";
const META_COLUMNS: usize = 7;

/// A condition on `d`: whether the viewer whose [`viewer_column`] is this parameter may read the document. As
/// [`Meta::may_read`]; what is left out of the column is `"all"`.
pub(crate) fn readable_by(parameter: &str) -> String {
    format!(
        "({parameter} IS NULL OR d.host = {parameter} OR d.access IS NULL
          OR coalesce(json_extract(d.access, '$.read'), 'all') = 'all'
          OR (json_type(d.access, '$.read') = 'array'
              AND EXISTS (SELECT 1 FROM json_each(d.access, '$.read') WHERE value = {parameter})))"
    )
}

/// A viewer as a parameter. `None`: the owner, who may read everything. What the viewer's credential reaches is not in
/// it: whoever asks for a collection asks for what is reached of it.
pub(crate) fn viewer_column(viewer: &Viewer) -> Option<&str> {
    viewer.user().map(UserId::as_str)
}

/// A document's id.
pub(crate) fn document_id(row: &Row<'_>, index: usize) -> rusqlite::Result<DocumentId> {
    parsed(row, index, |text| DocumentId::new(text).ok())
}

/// A document's fixed facts, from the columns [`META`] that begin at `first`.
pub(crate) fn meta(row: &Row<'_>, first: usize) -> rusqlite::Result<Arc<Meta>> {
    let name = DocumentName {
        collection: parsed(row, first + 1, |text| Collection::new(text).ok())?,
        id: document_id(row, first + 2)?,
    };
    let host = optional(row, first + 3, user)?;
    let access: Access = optional(row, first + 4, json)?.unwrap_or_default();
    let (created_at, access_seq) = (time(row, first + 5)?, seq(row, first + 6)?);
    Ok(Arc::new(Meta { key: row.get(first)?, name, host, access, access_seq, created_at, volatile: false }))
}

/// Where a document's kept history begins: the last event that was trimmed, or zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrimPoint {
    pub version: Version,
    pub seq: Seq,
    pub hash: Hash,
}

/// A row of `documents`.
#[derive(Clone, Debug)]
pub(crate) struct DocumentRow {
    pub meta: Arc<Meta>,
    pub base: TrimPoint,
}

fn document_row(row: &Row<'_>) -> rusqlite::Result<DocumentRow> {
    let base = TrimPoint {
        version: version(row, META_COLUMNS)?,
        seq: seq(row, META_COLUMNS + 1)?,
        hash: hash(row, META_COLUMNS + 2)?,
    };
    Ok(DocumentRow { meta: meta(row, 0)?, base })
}

/// The document called `name`, if there ever was one.
pub(crate) fn find_document(conn: &Connection, name: &DocumentName) -> Result<Option<DocumentRow>, StoreError> {
    let sql = select_documents("WHERE d.collection = ?1 AND d.id = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    Ok(statement.query_row((name.collection.as_str(), name.id.as_str()), document_row).optional()?)
}

/// The document of this key, if there ever was one.
pub(crate) fn document_by_key(conn: &Connection, key: i64) -> Result<Option<DocumentRow>, StoreError> {
    let mut statement = conn.prepare_cached(&select_documents("WHERE d.key = ?1"))?;
    Ok(statement.query_row([key], document_row).optional()?)
}

fn select_documents(condition: &str) -> String {
    format!("SELECT {META}, d.base_version, d.base_seq, d.base_hash FROM documents d {condition}")
}

/// The last of a document's events: its version, if there is one.
pub(crate) fn head_version(conn: &Connection, key: i64) -> Result<Option<Version>, StoreError> {
    let sql = "SELECT version FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
    Ok(conn.prepare_cached(sql)?.query_row([key], |row| version(row, 0)).optional()?)
}

/// The beginning of every query that reads events with what is needed to verify them one by one. The table of events
/// goes by `e`, its documents by `d`, each event's predecessor by `p`.
///
/// `CROSS JOIN` keeps SQLite from turning the order around: the events asked for lead.
pub(crate) fn select_events(rest: &str) -> String {
    format!(
        "SELECT {META}, e.seq, e.version, e.hash, e.deletes, e.body,
                CASE WHEN e.version = d.base_version + 1 THEN d.base_hash ELSE p.hash END
         FROM events e CROSS JOIN documents d ON d.key = e.document
         LEFT JOIN events p ON p.document = e.document AND p.version = e.version - 1
         {rest}"
    )
}

/// Reads the rows of one call: the events of one document share one [`Meta`].
#[derive(Default)]
pub(crate) struct EventRows {
    metas: HashMap<i64, Arc<Meta>>,
}

impl EventRows {
    /// The event in a row of [`select_events`], verified against its predecessor's hash.
    pub(super) fn event(&mut self, row: &Row<'_>) -> Result<Event, StoreError> {
        let key: i64 = row.get(0)?;
        let meta = match self.metas.get(&key) {
            Some(known) => Arc::clone(known),
            None => {
                let read = meta(row, 0)?;
                self.metas.insert(key, Arc::clone(&read));
                read
            }
        };
        let name = meta.name.clone();
        let version = version(row, META_COLUMNS + 1)?;
        verified(row, meta, version).map_err(|failure| match failure {
            StoreError::Sql(e) if is_damage(&e) => {
                damaged(&name, version, None, "the row is not readable").caused_by(e).into()
            }
            other => other,
        })
    }
}

fn verified(row: &Row<'_>, meta: Arc<Meta>, version: Version) -> Result<Event, StoreError> {
    let name = meta.name.clone();
    let claimed = hash(row, META_COLUMNS + 2)?;
    let body = text(row, META_COLUMNS + 4)?;
    let Some(previous) = optional(row, META_COLUMNS + 5, hash)? else {
        let before = Version(version.0.saturating_sub(1));
        return Err(damaged(&name, before, None, "the event is missing").into());
    };
    if previous.after(&body) != claimed {
        return Err(damaged(&name, version, None, "its hash does not follow from its content").into());
    }
    let event = Event::stored(seq(row, META_COLUMNS)?, meta, version, claimed, row.get(META_COLUMNS + 3)?, body);
    event.map_err(|e| damaged(&name, version, None, "the event is not readable").caused_by(e).into())
}

/// The end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Of the last event; 0 when there is none.
    pub seq: Seq,
    pub hash: Hash,
}

/// Whether the event with this body deletes its document.
pub(crate) fn body_deletes(body: &[u8]) -> bool {
    let members = body.strip_suffix(b"}").unwrap_or(body);
    let salted = memmem::rfind(members, SALT).filter(|at| members.len() - at == SALT.len() + 33);
    members.get(..salted.unwrap_or(members.len())).is_some_and(|members| members.ends_with(DELETION))
}
