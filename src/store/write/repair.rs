//! Writing a document's rows anew, after somebody else has changed them or the disk has: what is kept of its history
//! verifies again, and what cannot be is let go.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;

use crate::base::error::{self, Error};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Access, Document, Meta};
use crate::document::patch;
use crate::store::LogHead;
use crate::store::error::StoreError;
use crate::store::read::replay;
use crate::store::rows::{self, Base, DocumentRow, Text};
use crate::store::write::writer::{self, Existing, Writer};

/// What the rows of a document are to be.
#[derive(Clone, Debug)]
pub enum DocumentRepair {
    /// Rewrites the rows to those of this document.
    Rewrite {
        document: Arc<Document>,
        /// Its kept history. `None`: no history is kept, and the document is the base of an event of the same batch.
        history: Option<ProvenHistory>,
        /// Hash of the event that follows `document`, if one does.
        next_hash: Option<Hash>,
    },
    /// Removes all rows of the document with this key.
    Remove(i64),
}

/// The part of a document's history that can be kept: without a gap up to its newest version, and each event proved by
/// the hash of the one after it.
#[derive(Clone, Debug)]
pub struct ProvenHistory {
    base: Base,
    events: Vec<Link>,
}

#[derive(Clone, Debug)]
struct Link {
    version: Version,
    seq: Seq,
    hash: Hash,
    /// The event, when memory has it; else it is the row that is there.
    event: Option<Arc<Event>>,
}

/// What is stored of a document, read without asking whether it adds up.
#[derive(Debug)]
pub struct RawDocument {
    pub meta: Arc<Meta>,
    /// Its newest version, as stored; zeros when no event is there.
    pub version: Version,
    /// Its place in the log and its hash, as stored.
    pub head: LogHead,
    /// The state that its rows make; `None`: it is deleted.
    pub state: Option<Value>,
}

/// What the writer's connection knows of other connections.
#[derive(Debug, Default)]
pub(crate) struct ForeignCommits {
    /// What it last said about their commits; `None`: it was not asked yet.
    pub data_version: Option<i64>,
    /// See [`Writer::foreign_commits`].
    count: u64,
}

impl Writer {
    /// Counts how often another connection was found to have committed: somebody with `sqlite3` in hand. The same
    /// number twice means that nobody did in between. What another connection did while this one was reopened cannot be
    /// told from nothing, so that counts too.
    pub fn foreign_commits(&mut self) -> error::Result<u64> {
        let read = |conn: &Connection| conn.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0));
        let now: i64 =
            self.reading().and_then(|conn| read(conn).map_err(StoreError::from)).map_err(StoreError::into_error)?;
        if self.foreign_commits.data_version.replace(now) != Some(now) {
            self.foreign_commits.count += 1;
        }
        Ok(self.foreign_commits.count)
    }

    /// Has what is read next come from the file. A page that this connection knows from before would still be as it
    /// was, and what has changed in the file without SQLite would be taken for intact.
    pub fn drop_page_cache(&self) -> error::Result<()> {
        let drop_pages = |conn: &Connection| conn.execute_batch("PRAGMA shrink_memory").map_err(StoreError::from);
        self.reading().and_then(drop_pages).map_err(StoreError::into_error)
    }

    /// What can be kept of the history of a document that is as it should be. See [`ProvenHistory`].
    pub fn proven_history(&self, document: &Document, events: &[Arc<Event>]) -> error::Result<Option<ProvenHistory>> {
        self.reading().and_then(|conn| proven_history(conn, document, events)).map_err(StoreError::into_error)
    }

    /// The document of this name and key at the version with this hash, made from what can be kept of its history;
    /// `None` when that is not enough.
    pub fn rebuild(
        &self,
        which: (&DocumentName, i64),
        at: (Version, Hash),
    ) -> error::Result<Option<(Document, ProvenHistory)>> {
        self.reading().and_then(|conn| rebuild(conn, which, at)).map_err(StoreError::into_error)
    }

    /// What is stored of a document, whether or not it adds up. See [`RawDocument`].
    pub fn raw_document(&self, which: (&DocumentName, i64)) -> error::Result<Option<RawDocument>> {
        self.reading().and_then(|conn| raw_document(conn, which)).map_err(StoreError::into_error)
    }

    /// Tries a mend, and takes it back. Error: why it cannot be done.
    pub fn try_repair(&self, repair: &DocumentRepair) -> error::Result<()> {
        let attempt = |conn: &Connection| -> Result<(), StoreError> {
            let transaction = conn.unchecked_transaction()?;
            crate::store::write::repair::repair(&transaction, repair)?;
            // Ends by rollback.
            drop(transaction);
            Ok(())
        };
        self.reading().and_then(attempt).map_err(StoreError::into_error)
    }
}

/// What can be kept of the history of `document`, which is as it should be, in the rows or in `events` (of this
/// document, from memory, in order). `None`: not even its newest event together with a state before it.
fn proven_history(
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
fn rebuild(
    conn: &Connection,
    (name, key): (&DocumentName, i64),
    (version, hash): (Version, Hash),
) -> Result<Option<(Document, ProvenHistory)>, StoreError> {
    let Some(mut row) = rows::document_by_key(conn, key).or_else(ignore_damage)? else { return Ok(None) };
    row.meta = with_name(&row.meta, name);
    let sql = "SELECT seq, body FROM events WHERE document = ?1 AND version = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((rows::seq(row, 0)?, rows::text(row, 1)?));
    let found = conn.prepare_cached(sql)?.query_row((key, rows::int(version.0)), read).optional();
    let Some((seq, body)) = found.map_err(StoreError::from).or_else(ignore_damage)? else { return Ok(None) };
    let deletes = crate::store::read::inspect::deletes(&body);
    let Ok(event) = Event::stored(seq, Arc::clone(&row.meta), version, hash, deletes, body) else { return Ok(None) };
    // Only whether there is a state is looked at until it is made.
    let state = (!deletes).then(Bytes::new);
    let mut document = Document { meta: Arc::clone(&row.meta), version, hash, seq, updated_at: event.at, state };
    let Some(rest) = proven_history(conn, &document, &[])? else { return Ok(None) };
    let Some(state) = replay_state(conn, &row, &rest)? else { return Ok(None) };
    if state.is_none() != deletes {
        return Ok(None);
    }
    let bytes = state.as_ref().map(serde_json::to_vec).transpose().map_err(Error::internal)?;
    document.state = bytes.map(Bytes::from);
    Ok(Some((document, rest)))
}

/// The same facts of a document of this name: its row may have been given another.
fn with_name(meta: &Meta, name: &DocumentName) -> Arc<Meta> {
    let Meta { key, host, access, created_at, volatile, .. } = meta;
    let (name, host, access) = (name.clone(), host.clone(), access.clone());
    Arc::new(Meta { key: *key, name, host, access, created_at: *created_at, volatile: *volatile })
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

/// Damage is nothing that could be kept.
fn ignore_damage<T>(failure: StoreError) -> Result<Option<T>, StoreError> {
    if failure.is_damage() { Ok(None) } else { Err(failure) }
}

fn before_last(low: Base, events: &[Link]) -> Base {
    match events {
        [.., before, _] => Base { version: before.version, seq: before.seq, hash: before.hash },
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
    fn trace_back(&mut self) -> Result<Base, StoreError> {
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
        Ok(Base { version, seq, hash })
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
    fn first_snapshot(&self, low: Base, events: &[Link]) -> Result<Option<Base>, StoreError> {
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
                return Ok(Some(Base { version, seq: snapshot.seq, hash: snapshot.hash }));
            }
        }
        Ok(None)
    }
}

/// Writes the rows. Done twice it is the same as once.
pub(crate) fn repair(conn: &Connection, repair: &DocumentRepair) -> Result<(), StoreError> {
    match repair {
        DocumentRepair::Remove(key) => remove(conn, *key),
        DocumentRepair::Rewrite { document, history, next_hash } => {
            rewrite(conn, document, history.as_ref(), *next_hash)
        }
    }
}

fn remove(conn: &Connection, key: i64) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM snapshots WHERE document = ?1",
        "DELETE FROM events WHERE document = ?1",
        "DELETE FROM documents WHERE key = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

fn rewrite(
    conn: &Connection,
    document: &Document,
    history: Option<&ProvenHistory>,
    next_hash: Option<Hash>,
) -> Result<(), StoreError> {
    let (meta, key) = (&document.meta, document.meta.key);
    let sql = "SELECT key FROM documents WHERE collection = ?1 AND id = ?2 AND key <> ?3";
    let parameters = (meta.name.collection.as_str(), meta.name.id.as_str(), key);
    if let Some(other) = conn.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()? {
        remove(conn, other)?;
    }
    write_row(conn, meta)?;
    let base = history
        .map_or(Base { version: document.version, seq: document.seq, hash: document.hash }, |history| history.base);
    let sql = "UPDATE documents SET base_version = ?2, base_seq = ?3, base_hash = ?4 WHERE key = ?1";
    let version = rows::int(base.version.0);
    conn.prepare_cached(sql)?.execute((key, version, rows::int(base.seq.0), base.hash.to_string()))?;
    let sql = "DELETE FROM events WHERE document = ?1
               AND (version <= ?2 OR (version > ?3 AND (version <> ?3 + 1 OR hash IS NOT ?4)))";
    let last = rows::int(document.version.0);
    conn.prepare_cached(sql)?.execute((key, version, last, next_hash.map(|hash| hash.to_string())))?;
    let mut known = BTreeMap::from([(base.version, (base.seq, base.hash))]);
    for link in history.map_or(&[][..], |history| &history.events) {
        write_event(conn, meta, link)?;
        known.insert(link.version, (link.seq, link.hash));
    }
    drop_snapshots(conn, document, &known)?;
    Ok(writer::insert_snapshot(conn, document, Existing::Replace)?)
}

fn write_row(conn: &Connection, meta: &Meta) -> Result<(), StoreError> {
    let access = match meta.access == Access::default() {
        true => None,
        false => Some(serde_json::to_string(&meta.access).map_err(Error::internal)?),
    };
    let sql = "INSERT INTO documents (key, collection, id, host, access, created_at, base_version, base_seq, base_hash)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7) ON CONFLICT (key) DO UPDATE
               SET collection = excluded.collection, id = excluded.id, host = excluded.host, access = excluded.access,
                   created_at = excluded.created_at";
    conn.prepare_cached(sql)?.execute((
        meta.key,
        meta.name.collection.as_str(),
        meta.name.id.as_str(),
        meta.host.as_ref().map(|host| host.as_str()),
        access,
        meta.created_at.to_string(),
        Hash::ZERO.to_string(),
    ))?;
    Ok(())
}

fn write_event(conn: &Connection, meta: &Arc<Meta>, link: &Link) -> Result<(), StoreError> {
    let (key, version, seq) = (meta.key, rows::int(link.version.0), rows::int(link.seq.0));
    // Another event may have taken its place in the log.
    let sql = "DELETE FROM events WHERE seq = ?1 AND (document <> ?2 OR version <> ?3)";
    conn.prepare_cached(sql)?.execute((seq, key, version))?;
    let sql = "SELECT body FROM events WHERE document = ?1 AND version = ?2";
    let body = match &link.event {
        Some(event) => event.body.clone(),
        None => conn.prepare_cached(sql)?.query_row((key, version), |row| rows::text(row, 0))?,
    };
    let deletes = crate::store::read::inspect::deletes(&body);
    let event = Event::stored(link.seq, Arc::clone(meta), link.version, link.hash, deletes, body)?;
    let (at, hash) = (event.at.to_string(), link.hash.to_string());
    let columns = (seq, key, version, &at, &hash, event.deletes, Text(&event.body));
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE seq = ?1 AND document = ?2 AND version = ?3
                              AND at = ?4 AND hash = ?5 AND deletes = ?6 AND body = ?7)";
    if conn.prepare_cached(sql)?.query_row(columns, |row| row.get(0))? {
        return Ok(());
    }
    let sql = "DELETE FROM events WHERE document = ?1 AND version = ?2";
    conn.prepare_cached(sql)?.execute((key, version))?;
    let sql =
        "INSERT INTO events (seq, document, version, at, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let columns = (seq, key, version, &at, &hash, event.deletes, Text(&event.body));
    conn.prepare_cached(sql)?.execute(columns)?;
    Ok(())
}

/// Takes away the snapshots that are not as they were stored, or of what is not kept.
fn drop_snapshots(
    conn: &Connection,
    document: &Document,
    known: &BTreeMap<Version, (Seq, Hash)>,
) -> Result<(), StoreError> {
    let key = document.meta.key;
    let Some(row) = rows::document_by_key(conn, key)? else { return Ok(()) };
    let sql = "SELECT version FROM snapshots WHERE document = ?1";
    let versions: Vec<i64> =
        conn.prepare_cached(sql)?.query_map([key], |found| found.get(0))?.collect::<rusqlite::Result<_>>()?;
    for stored in versions {
        let version = Version(u64::try_from(stored).unwrap_or(u64::MAX));
        let snapshot = replay::read_snapshot(conn, &row, version).map(Some).or_else(ignore_damage)?;
        let fits = snapshot.is_some_and(|snapshot| known.get(&version) == Some(&(snapshot.seq, snapshot.hash)));
        if !fits {
            conn.prepare_cached("DELETE FROM snapshots WHERE document = ?1 AND version = ?2")?
                .execute((key, stored))?;
        }
    }
    Ok(())
}

/// What the rows of a document say, whether or not it adds up: its newest readable snapshot, and the changes of the
/// events after it as far as they can be made. `None`: there is no row that can be read, or nothing of a state.
fn raw_document(conn: &Connection, (name, key): (&DocumentName, i64)) -> Result<Option<RawDocument>, StoreError> {
    let Some(row) = rows::document_by_key(conn, key).or_else(ignore_damage)? else { return Ok(None) };
    let sql = "SELECT version, state, seq, hash FROM snapshots WHERE document = ?1 ORDER BY version DESC";
    let read = |found: &rusqlite::Row<'_>| {
        let at = || Ok::<_, rusqlite::Error>((rows::version(found, 0)?, rows::seq(found, 2)?, rows::hash(found, 3)?));
        Ok((at().ok(), rows::optional_text(found, 1).ok()))
    };
    let snapshots: Vec<_> = conn.prepare_cached(sql)?.query_map([key], read)?.collect::<rusqlite::Result<_>>()?;
    let parse = |state: Option<Bytes>| state.map(|bytes| serde_json::from_slice::<Value>(&bytes)).transpose().ok();
    let start = snapshots.into_iter().find_map(|(at, state)| Some((at?, parse(state?)?)));
    let mut made = start.is_some();
    let ((mut newest, seq, hash), mut state) = start.unwrap_or(((Version::ZERO, Seq::ZERO, Hash::ZERO), None));
    let (mut version, mut head) = (newest, LogHead { seq, hash });
    let sql = "SELECT seq, version, hash, deletes, body FROM events WHERE document = ?1 ORDER BY version";
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query([key])?;
    while let Some(event) = found.next()? {
        let (Ok(seq), Ok(at), Ok(hash)) = (rows::seq(event, 0), rows::version(event, 1), rows::hash(event, 2)) else {
            continue;
        };
        if at >= newest {
            (newest, head) = (at, LogHead { seq, hash });
        }
        if at != version.next() {
            continue;
        }
        let (Ok(deletes), Ok(body)) = (event.get(3), rows::text(event, 4)) else { continue };
        let mut after = state.clone();
        let operations =
            Event::stored(seq, Arc::clone(&row.meta), at, hash, deletes, body).and_then(|e| e.operations());
        if operations.and_then(|operations| patch::apply(&mut after, operations)).is_ok() {
            (version, state, made) = (at, after, true);
        }
    }
    Ok(made.then(|| RawDocument { meta: with_name(&row.meta, name), version: newest, head, state }))
}
