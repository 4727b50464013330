//! The part of a document's history that can be kept although its rows were changed: traced back from the newest
//! version, each event proved by the hash after it.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use crate::base::error::Error;
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::patch;
use crate::store::error::{StoreError, ignore_damage};
use crate::store::read::{raw_document, replay};
use crate::store::rows::{self, DocumentRow, TrimPoint};

/// The part of a document's history that can be kept: without a gap up to its newest version, and each event proved by
/// the hash of the one after it.
#[derive(Clone, Debug)]
pub struct ProvenHistory {
    pub(super) base: TrimPoint,
    pub(super) events: Vec<Link>,
}

impl ProvenHistory {
    /// The version of its first event.
    pub(in crate::store) fn first_version(&self) -> Version {
        self.base.version.next()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Link {
    pub version: Version,
    pub seq: Seq,
    pub hash: Hash,
    /// The event, when memory has it; else it is the row that is there.
    pub event: Option<Arc<Event>>,
}

/// What can be kept of the history of `document`, which is as it should be, in the rows or in `events` (of this
/// document, from memory, in order). `None`: not even its newest event together with a state before it.
pub(crate) fn find(
    conn: &Connection,
    document: &Document,
    events: &[Arc<Event>],
) -> Result<Option<ProvenHistory>, StoreError> {
    let row = rows::document_by_key(conn, document.meta.key).or_else(ignore_damage)?;
    let mut trace = HistoryTrace { conn, document, row: row.as_ref(), events, links: Vec::new() };
    let low = trace.trace_back()?;
    let mut events = std::mem::take(&mut trace.links);
    events.reverse();
    if low.version == Version::ZERO {
        return Ok(Some(ProvenHistory { base: low, events }));
    }
    let tombstone = document.is_deleted() && events.last().is_some();
    let base = match trace.first_snapshot(low, &events)? {
        Some(base) if base.version < document.version => base,
        // Nobody needs a state before the end.
        _ if tombstone => before_last(low, &events),
        _ => return Ok(None),
    };
    events.retain(|link| link.version > base.version);
    Ok(Some(ProvenHistory { base, events }))
}

/// The document of this key at the version that has this hash, made from what can be kept of its history, and that.
/// `None`: that is not enough to make it.
pub(crate) fn rebuild(
    conn: &Connection,
    (name, key): (&DocumentName, i64),
    (version, hash): (Version, Hash),
) -> Result<Option<(Document, ProvenHistory)>, StoreError> {
    let Some(mut row) = rows::document_by_key(conn, key).or_else(ignore_damage)? else { return Ok(None) };
    row.meta = raw_document::with_name(&row.meta, name);
    let sql = "SELECT seq, body FROM events WHERE document = ?1 AND version = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((rows::seq(row, 0)?, rows::text(row, 1)?));
    let found = conn.prepare_cached(sql)?.query_row((key, rows::int(version.0)), read).optional();
    let Some((seq, body)) = found.map_err(StoreError::from).or_else(ignore_damage)? else { return Ok(None) };
    let deletes = rows::body_deletes(&body);
    let Ok(event) = Event::stored(seq, Arc::clone(&row.meta), version, hash, deletes, body) else { return Ok(None) };
    // Only whether there is a state is looked at until it is made.
    let state = (!deletes).then(Bytes::new);
    let mut document = Document { meta: Arc::clone(&row.meta), version, hash, seq, updated_at: event.at, state };
    let Some(rest) = find(conn, &document, &[])? else { return Ok(None) };
    let Some(state) = replay_state(conn, &row, &rest)? else { return Ok(None) };
    if state.is_none() != deletes {
        return Ok(None);
    }
    let bytes = state.as_ref().map(serde_json::to_vec).transpose().map_err(Error::internal)?;
    document.state = bytes.map(Bytes::from);
    Ok(Some((document, rest)))
}

/// The state that a kept history makes; `None`: it makes none.
fn replay_state(
    conn: &Connection,
    row: &DocumentRow,
    rest: &ProvenHistory,
) -> Result<Option<Option<Value>>, StoreError> {
    let mut state = None;
    if rest.base.version > Version::ZERO {
        let snapshot = replay::read_snapshot(conn, row, rest.base.version).map(Some).or_else(ignore_damage)?;
        // A history that only deletes is kept without the state before.
        let Some(snapshot) = snapshot else { return Ok(Some(None)) };
        let parsed = snapshot.state.map(|bytes| serde_json::from_slice(&bytes)).transpose();
        state = parsed.map_err(Error::internal)?;
    }
    let sql = "SELECT body FROM events WHERE document = ?1 AND version = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    for link in &rest.events {
        let body = statement.query_row((row.meta.key, rows::int(link.version.0)), |found| rows::text(found, 0))?;
        let event = Event::stored(link.seq, Arc::clone(&row.meta), link.version, link.hash, false, body);
        let applied = event.and_then(|event| patch::apply(&mut state, event.operations()?));
        if applied.is_err() {
            return Ok(None);
        }
    }
    Ok(Some(state))
}

fn before_last(low: TrimPoint, events: &[Link]) -> TrimPoint {
    match events {
        [.., before, _] => TrimPoint { version: before.version, seq: before.seq, hash: before.hash },
        _ => low,
    }
}

/// An event that may be the one: its place in the log, the event when memory has it, its body.
type Candidate = (Seq, Option<Arc<Event>>, Bytes);

/// A way back through a history, from its end.
struct HistoryTrace<'a> {
    conn: &'a Connection,
    document: &'a Document,
    row: Option<&'a DocumentRow>,
    events: &'a [Arc<Event>],
    /// What is proved so far, the newest first.
    links: Vec<Link>,
}

impl HistoryTrace<'_> {
    /// Goes back as far as events are proved. Returns the place before the first of them; its seq is 0 when nobody says
    /// it.
    fn trace_back(&mut self) -> Result<TrimPoint, StoreError> {
        let (mut version, mut hash) = (self.document.version, self.document.hash);
        let mut after = self.document.seq.next();
        while version > Version::ZERO {
            let Some((seq, event, body)) = self.event(version)? else { break };
            let seq = if version == self.document.version { self.document.seq } else { seq };
            let before = Version(version.0 - 1);
            let proofs = self.hashes(before)?;
            let Some(previous) = proofs.into_iter().find(|previous| previous.after(&body) == hash) else { break };
            if seq >= after {
                break;
            }
            self.links.push(Link { version, seq, hash, event });
            (version, hash, after) = (before, previous, seq);
        }
        let seq = self.row.filter(|row| row.base.version == version).map_or(Seq::ZERO, |row| row.base.seq);
        Ok(TrimPoint { version, seq, hash })
    }

    /// The event of a version: seq, the event when memory has it, body.
    fn event(&self, version: Version) -> Result<Option<Candidate>, StoreError> {
        if let Some(event) = self.events.iter().find(|event| event.version == version) {
            return Ok(Some((event.seq, Some(Arc::clone(event)), event.body.clone())));
        }
        let sql = "SELECT seq, body FROM events WHERE document = ?1 AND version = ?2";
        let parameters = (self.document.meta.key, rows::int(version.0));
        let read = |row: &rusqlite::Row<'_>| Ok((rows::seq(row, 0)?, None, rows::text(row, 1)?));
        let found = self.conn.prepare_cached(sql)?.query_row(parameters, read).optional();
        found.map_err(StoreError::from).or_else(ignore_damage)
    }

    /// What the hash of a version is said to be.
    fn hashes(&self, version: Version) -> Result<Vec<Hash>, StoreError> {
        let mut hashes = Vec::new();
        if version == Version::ZERO {
            hashes.push(Hash::ZERO);
        }
        hashes.extend(self.events.iter().find(|event| event.version == version).map(|event| event.hash));
        hashes.extend(self.row.filter(|row| row.base.version == version).map(|row| row.base.hash));
        let parameters = (self.document.meta.key, rows::int(version.0));
        for sql in [
            "SELECT hash FROM events WHERE document = ?1 AND version = ?2",
            "SELECT hash FROM snapshots WHERE document = ?1 AND version = ?2",
        ] {
            let found = self.conn.prepare_cached(sql)?.query_row(parameters, |row| rows::hash(row, 0)).optional();
            hashes.extend(found.map_err(StoreError::from).or_else(ignore_damage)?);
        }
        Ok(hashes)
    }

    /// The first snapshot that is as it was stored and belongs to what is proved.
    fn first_snapshot(&self, low: TrimPoint, events: &[Link]) -> Result<Option<TrimPoint>, StoreError> {
        let Some(row) = self.row else { return Ok(None) };
        let sql = "SELECT version FROM snapshots WHERE document = ?1 AND version >= ?2 ORDER BY version";
        let mut statement = self.conn.prepare_cached(sql)?;
        let parameters = (row.meta.key, rows::int(low.version.0));
        let versions = statement.query_map(parameters, |found| rows::version(found, 0))?;
        for version in versions.collect::<rusqlite::Result<Vec<_>>>()? {
            let found = replay::read_snapshot(self.conn, row, version).map(Some).or_else(ignore_damage)?;
            let Some(snapshot) = found else { continue };
            let link = events.iter().find(|link| link.version == version);
            let fits = match link {
                Some(link) => (link.seq, link.hash) == (snapshot.seq, snapshot.hash),
                None => version == low.version && snapshot.hash == low.hash,
            };
            if fits {
                return Ok(Some(TrimPoint { version, seq: snapshot.seq, hash: snapshot.hash }));
            }
        }
        Ok(None)
    }
}
