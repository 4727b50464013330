//! Events across documents: the log as streams read it. Pages are bounded by events and by bytes; a page holds at
//! least one event when there is one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params};

use crate::base::error::{Error, Kind};
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::visibility::Viewer;
use crate::store::error::{StoreError, damaged};
use crate::store::rows::{self, DocumentRow, EventRows, LogHead};

/// Which documents a stream follows: all that either list names.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Single documents, by [`Meta::key`](crate::document::model::Meta::key).
    pub documents: Vec<i64>,
    pub collections: Vec<Collection>,
    /// Of `collections`, only what this viewer may read, in counts of events and in the last of them.
    pub viewer: Option<Viewer>,
}

impl EventFilter {
    pub fn documents(keys: Vec<i64>) -> Self {
        Self { documents: keys, ..Self::default() }
    }

    pub fn collections(collections: Vec<Collection>) -> Self {
        Self { collections, ..Self::default() }
    }

    /// Both lists as JSON, for `json_each`.
    fn as_json(&self) -> Result<(String, String), StoreError> {
        let documents = serde_json::to_string(&self.documents).map_err(Error::internal)?;
        let collections = serde_json::to_string(&self.collections).map_err(Error::internal)?;
        Ok((documents, collections))
    }

    /// Whose rights count, as a parameter of [`rows::readable_by`].
    fn viewer(&self) -> Option<&str> {
        self.viewer.as_ref().and_then(rows::viewer_column)
    }

    /// The keys, each once.
    fn keys(&self) -> Vec<i64> {
        let mut keys = self.documents.clone();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// How much a page may hold.
#[derive(Clone, Copy)]
pub(crate) struct PageBound {
    pub events: usize,
    pub bytes: usize,
}

/// A page that is being filled.
struct PageBuilder {
    bound: PageBound,
    events: Vec<Event>,
    bytes: usize,
}

impl PageBuilder {
    fn new(bound: PageBound) -> Self {
        Self { bound, events: Vec::new(), bytes: 0 }
    }

    /// Takes the event, unless it does not fit any more.
    fn push(&mut self, event: Event) -> bool {
        let bytes = self.bytes.saturating_add(event.body.len());
        let fits = self.events.len() < self.bound.events && (self.events.is_empty() || bytes <= self.bound.bytes);
        if fits {
            self.bytes = bytes;
            self.events.push(event);
        }
        fits
    }
}

fn read_page(
    conn: &Connection,
    rest: &str,
    parameters: impl Params,
    bound: PageBound,
) -> Result<Vec<Event>, StoreError> {
    let mut statement = conn.prepare_cached(&rows::select_events(rest))?;
    let mut found = statement.query(parameters)?;
    let (mut rows, mut page) = (EventRows::default(), PageBuilder::new(bound));
    while let Some(row) = found.next()? {
        if !page.push(rows.event(row)?) {
            break;
        }
    }
    Ok(page.events)
}

/// A document's events after `after`, oldest first.
pub(crate) fn history(
    conn: &Connection,
    row: &DocumentRow,
    after: Version,
    bound: PageBound,
) -> Result<Vec<Event>, StoreError> {
    let parameters = (row.meta.key, rows::int(after.max(row.base.version).0), rows::count(bound.events));
    let rest = "WHERE e.document = ?1 AND e.version > ?2 ORDER BY e.version LIMIT ?3";
    let events = read_page(conn, rest, parameters, bound)?;
    // Rows that are missing inside show by the hash before them; at the front they would show by nothing else.
    let first = after.max(row.base.version).next();
    if events.first().is_some_and(|event| event.version != first) {
        return Err(damaged(&row.meta.name, first, None, "the event is missing").into());
    }
    Ok(events)
}

/// The newest events of the whole log, oldest first.
pub(crate) fn newest_events(conn: &Connection, bound: PageBound) -> Result<Vec<Event>, StoreError> {
    let rest = "ORDER BY e.seq DESC LIMIT ?1";
    let mut events = read_page(conn, rest, [rows::count(bound.events)], bound)?;
    events.reverse();
    Ok(events)
}

/// The events with `after < seq <= to` of the documents that `filter` names, in order.
pub(crate) fn between(
    conn: &Connection,
    filter: &EventFilter,
    (after, to): (Seq, Seq),
    bound: PageBound,
) -> Result<Vec<Event>, StoreError> {
    if filter.collections.is_empty() {
        return merged(conn, filter.keys(), (after, to), bound);
    }
    let (documents, collections) = filter.as_json()?;
    let rest = "WHERE e.seq > ?1 AND e.seq <= ?2 AND (d.collection IN (SELECT value FROM json_each(?3))
                  OR +e.document IN (SELECT value FROM json_each(?4)))
                ORDER BY e.seq LIMIT ?5";
    let parameters = (rows::int(after.0), rows::int(to.0), collections, documents, rows::count(bound.events));
    read_page(conn, rest, parameters, bound)
}

/// The events of single documents merged by seq. Reads each document's history by its own index, so that a quiet
/// document in a busy log costs nothing.
fn merged(
    conn: &Connection,
    keys: Vec<i64>,
    (after, to): (Seq, Seq),
    bound: PageBound,
) -> Result<Vec<Event>, StoreError> {
    let mut next = BinaryHeap::new();
    for key in keys {
        let Some(row) = rows::document_by_key(conn, key)? else { continue };
        let version = version_at(conn, &row, after)?.next();
        if let Some(seq) = seq_after_version(conn, key, version)? {
            next.push(Reverse((seq, key, version)));
        }
    }
    let mut statement = conn.prepare_cached(&rows::select_events("WHERE e.seq = ?1"))?;
    let (mut rows, mut page) = (EventRows::default(), PageBuilder::new(bound));
    while let Some(Reverse((seq, key, version))) = next.pop() {
        if seq > to || page.events.len() >= bound.events {
            break;
        }
        let mut found = statement.query([rows::int(seq.0)])?;
        let Some(row) = found.next()? else {
            return Err(Error::new(Kind::Damaged, format!("the stored event {seq} is missing")).into());
        };
        if !page.push(rows.event(row)?) {
            break;
        }
        if let Some(seq) = seq_after_version(conn, key, version.next())? {
            next.push(Reverse((seq, key, version.next())));
        }
    }
    Ok(page.events)
}

/// How many events there are with `after < seq <= to` of the documents that `filter` names.
pub(crate) fn count_between(conn: &Connection, filter: &EventFilter, after: Seq, to: Seq) -> Result<u64, StoreError> {
    if to <= after {
        return Ok(0);
    }
    if filter.collections.is_empty() {
        let mut count = 0;
        for key in filter.keys() {
            let Some(row) = rows::document_by_key(conn, key)? else { continue };
            let (first, last) = (version_at(conn, &row, after)?, version_at(conn, &row, to)?);
            count += last.0.saturating_sub(first.0);
        }
        return Ok(count);
    }
    let (documents, collections) = filter.as_json()?;
    let readable = rows::readable_by("?5");
    let sql = format!(
        "SELECT count(*) FROM events e CROSS JOIN documents d ON d.key = e.document
         WHERE e.seq > ?1 AND e.seq <= ?2 AND {readable} AND (d.collection IN (SELECT value FROM json_each(?3))
           OR +e.document IN (SELECT value FROM json_each(?4)))"
    );
    let parameters = (rows::int(after.0), rows::int(to.0), collections, documents, filter.viewer());
    Ok(conn.prepare_cached(&sql)?.query_row(parameters, |row| rows::number(row, 0))?)
}

/// Seq and hash of the last event with `after < seq <= to` of the documents that `filter` names.
pub(crate) fn last_between(
    conn: &Connection,
    filter: &EventFilter,
    after: Seq,
    to: Seq,
) -> Result<Option<(Seq, Hash)>, StoreError> {
    let mut last = Seq::ZERO;
    for key in filter.keys() {
        let Some(row) = rows::document_by_key(conn, key)? else { continue };
        let version = version_at(conn, &row, to)?;
        last = last.max(seq_of(conn, key, version)?.unwrap_or(Seq::ZERO));
    }
    let sql = format!(
        "SELECT e.seq FROM events e CROSS JOIN documents d ON d.key = e.document
         WHERE e.seq > ?1 AND e.seq <= ?2 AND d.collection IN (SELECT value FROM json_each(?3)) AND {}
         ORDER BY e.seq DESC LIMIT 1",
        rows::readable_by("?4")
    );
    if !filter.collections.is_empty() {
        let (_, collections) = filter.as_json()?;
        let mut statement = conn.prepare_cached(&sql)?;
        let parameters = (rows::int(after.0), rows::int(to.0), collections, filter.viewer());
        last = last.max(statement.query_row(parameters, |row| rows::seq(row, 0)).optional()?.unwrap_or(Seq::ZERO));
    }
    if last <= after {
        return Ok(None);
    }
    Ok(event_at(conn, last)?.map(|(hash, _)| (last, hash)))
}

/// The seq of the last event that was trimmed from any document that `filter` names.
pub(crate) fn base_seq(conn: &Connection, filter: &EventFilter) -> Result<Seq, StoreError> {
    let mut base = Seq::ZERO;
    let sql = "SELECT coalesce(max(base_seq), 0) FROM documents WHERE collection = ?1";
    for collection in &filter.collections {
        base = base.max(conn.prepare_cached(sql)?.query_row([collection.as_str()], |row| rows::seq(row, 0))?);
    }
    for key in &filter.documents {
        base = rows::document_by_key(conn, *key)?.map_or(base, |row| base.max(row.base.seq));
    }
    Ok(base)
}

/// The seq of the last event that changed host or access of any document that `filter` names.
pub(crate) fn access_seq(conn: &Connection, filter: &EventFilter) -> Result<Seq, StoreError> {
    let mut last = Seq::ZERO;
    let sql = "SELECT coalesce(max(access_seq), 0) FROM documents WHERE collection = ?1 AND access_seq > 0";
    for collection in &filter.collections {
        last = last.max(conn.prepare_cached(sql)?.query_row([collection.as_str()], |row| rows::seq(row, 0))?);
    }
    for key in &filter.documents {
        last = rows::document_by_key(conn, *key)?.map_or(last, |row| last.max(row.meta.access_seq));
    }
    Ok(last)
}

/// The document's version after the last of its events with a seq not above `seq`; its base version when that is
/// trimmed. Versions are dense and rise with seq, so this is a binary search over an index that holds both.
pub(crate) fn version_at(conn: &Connection, row: &DocumentRow, seq: Seq) -> Result<Version, StoreError> {
    let key = row.meta.key;
    // Events up to `low` are not above `seq`, events from `high` on are.
    let mut low = row.base.version.0;
    let mut high = rows::head_version(conn, key)?.unwrap_or(row.base.version).0.saturating_add(1);
    while high.saturating_sub(low) > 1 {
        let middle = Version(low + (high - low) / 2);
        let found =
            seq_of(conn, key, middle)?.ok_or_else(|| damaged(&row.meta.name, middle, None, "the event is missing"))?;
        if found <= seq { low = middle.0 } else { high = middle.0 }
    }
    Ok(Version(low))
}

/// The seq of the event that makes `version`; `None` when the document is not there yet.
fn seq_after_version(conn: &Connection, key: i64, version: Version) -> Result<Option<Seq>, StoreError> {
    let seq = seq_of(conn, key, version)?;
    if seq.is_none()
        && rows::head_version(conn, key)?.is_some_and(|head| head >= version)
        && let Some(row) = rows::document_by_key(conn, key)?
    {
        return Err(damaged(&row.meta.name, version, None, "the event is missing").into());
    }
    Ok(seq)
}

fn seq_of(conn: &Connection, key: i64, version: Version) -> Result<Option<Seq>, StoreError> {
    let sql = "SELECT seq FROM events WHERE document = ?1 AND version = ?2";
    Ok(conn.prepare_cached(sql)?.query_row((key, rows::int(version.0)), |row| rows::seq(row, 0)).optional()?)
}

/// The seq of a document's first event, if that is kept.
pub(crate) fn first_seq(conn: &Connection, key: i64) -> Result<Option<Seq>, StoreError> {
    seq_of(conn, key, Version(1))
}

/// Hash and document of an event.
pub(crate) fn event_at(conn: &Connection, seq: Seq) -> Result<Option<(Hash, i64)>, StoreError> {
    let sql = "SELECT hash, document FROM events WHERE seq = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row([rows::int(seq.0)], |row| Ok((rows::hash(row, 0)?, row.get(1)?))).optional()?)
}

/// Bytes of an event's body.
pub(crate) fn event_bytes(conn: &Connection, seq: Seq) -> Result<Option<usize>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT octet_length(body) FROM events WHERE seq = ?1")?;
    let bytes = statement.query_row([rows::int(seq.0)], |row| rows::number(row, 0)).optional()?;
    Ok(bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)))
}

/// The documents that changed within `span` before the newest event, as far as the last `limit` events tell.
pub(crate) fn changed_lately(conn: &Connection, span: Duration, limit: usize) -> Result<Vec<DocumentName>, StoreError> {
    let sql = format!(
        "SELECT DISTINCT {} FROM (SELECT document, at FROM events ORDER BY seq DESC LIMIT ?1) e
         JOIN documents d ON d.key = e.document WHERE e.at >= ?2",
        rows::META
    );
    let newest = "SELECT at FROM events ORDER BY seq DESC LIMIT 1";
    let Some(newest) = conn.query_row(newest, [], |row| rows::time(row, 0)).optional()? else { return Ok(Vec::new()) };
    let mut statement = conn.prepare(&sql)?;
    let parameters = (rows::count(limit), newest.minus(span).to_string());
    let found = statement.query_map(parameters, |row| Ok(rows::meta(row, 0)?.name.clone()))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// The key for the next new document.
pub(crate) fn next_key(conn: &Connection) -> Result<i64, StoreError> {
    let key: i64 = conn.query_row("SELECT coalesce(max(key), 0) FROM documents", [], |row| row.get(0))?;
    Ok(key.saturating_add(1))
}

/// Seq and hash of the last event; zeros when there is none.
pub(crate) fn head(conn: &Connection) -> Result<LogHead, StoreError> {
    let sql = "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok(LogHead { seq: rows::seq(row, 0)?, hash: rows::hash(row, 1)? });
    let found = conn.prepare_cached(sql)?.query_row([], read).optional()?;
    Ok(found.unwrap_or(LogHead { seq: Seq::ZERO, hash: Hash::ZERO }))
}
