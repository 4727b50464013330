//! A document from what is stored of it: the nearest snapshot and the events after it, verified on the way.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value;
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::patch;
use crate::store::error::{StoreError, damaged};
use crate::store::integrity::rows::document_matches;
use crate::store::rows::{self, DocumentRow};
use crate::store::tables;

/// What is said of a snapshot that has another state than its events make.
pub(crate) const OTHER_STATE: &str = "the snapshot is not the state that the events make";

/// What is said of a document whose own row somebody else has written or changed.
pub(crate) const CHANGED_ROW: &str = "its row is not as this server wrote it";

/// A document as it was read, and what reading it took: what the next snapshot would save.
#[derive(Debug)]
pub struct LoadedDocument {
    /// The document. Its newest version may be a tombstone.
    pub document: Document,
    /// Bytes of event bodies since the last snapshot.
    pub patch_bytes: usize,
    /// Events since the last snapshot.
    pub events_since_snapshot: u64,
    /// The version of that snapshot; 0 when there is none.
    pub snapshot_version: Version,
    /// When that version was made; when the document was created when there is none.
    pub snapshot_at: Timestamp,
}

/// The end of a document's history, as its rows name it: nothing of it is verified, and its state is not looked at.
#[derive(Clone, Debug)]
pub struct DocumentHead {
    /// What stays the same.
    pub meta: Arc<Meta>,
    pub version: Version,
    /// The hash of its last event.
    pub hash: Hash,
    /// The place of that event in the log.
    pub seq: Seq,
    pub at: Timestamp,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// Where the document called `name` ends, if there ever was one: also of one that is too damaged to be read.
pub(crate) fn document_head(conn: &Connection, name: &DocumentName) -> Result<Option<DocumentHead>, StoreError> {
    let read = || -> Result<Option<DocumentHead>, StoreError> {
        let Some(DocumentRow { meta, .. }) = rows::find_document(conn, name)? else { return Ok(None) };
        let sql =
            "SELECT version, hash, seq, at, deletes FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
        let last = |row: &rusqlite::Row<'_>| {
            let (version, hash, seq) = (rows::version(row, 0)?, rows::hash(row, 1)?, rows::seq(row, 2)?);
            Ok(DocumentHead {
                meta: Arc::clone(&meta),
                version,
                hash,
                seq,
                at: rows::time(row, 3)?,
                deleted: row.get(4)?,
            })
        };
        let found = conn.prepare_cached(sql)?.query_row([meta.key], last).optional()?;
        found.map(Some).ok_or_else(|| damaged(name, Version(1), None, "its newest event is missing").into())
    };
    read().map_err(|failure| failure.naming(name))
}

/// The newest version of the document called `name`, if there ever was one.
pub(crate) fn load(conn: &Connection, name: &DocumentName) -> Result<Option<LoadedDocument>, StoreError> {
    let read = || match rows::find_document(conn, name)? {
        None => Ok(None),
        Some(row) => {
            check_row(conn, &row)?;
            restore(conn, &row, None).map(Some)
        }
    };
    read().map_err(|failure: StoreError| failure.naming(name))
}

/// The document called `name` as it was at `version`. Error: `NotFound` when it never was, or not yet at that version
/// (with `currentVersion`); `Gone` when that version is trimmed (with `firstVersion`).
pub(crate) fn state_at(conn: &Connection, name: &DocumentName, version: Version) -> Result<Document, StoreError> {
    state_at_version(conn, name, version).map_err(|failure| failure.naming(name))
}

fn state_at_version(conn: &Connection, name: &DocumentName, version: Version) -> Result<Document, StoreError> {
    let Some(row) = rows::find_document(conn, name)? else {
        return Err(Error::not_found(format!("there is no document {name}")).into());
    };
    let head = rows::head_version(conn, row.meta.key)?
        .ok_or_else(|| damaged(name, row.base.version.next(), None, "the newest event is missing"))?;
    if version > head || version == Version::ZERO {
        let message = format!("{name} has no version {version}");
        return Err(Error::not_found(message).with("currentVersion", head.0).into());
    }
    let first = match begins_with_tombstone(conn, &row)? {
        true => row.base.version.next(),
        false => row.base.version,
    };
    if version < first {
        let message = format!("version {version} of {name} is no longer kept");
        return Err(Error::new(Kind::Gone, message).with("firstVersion", first.0).into());
    }
    check_row(conn, &row)?;
    Ok(restore(conn, &row, Some(version))?.document)
}

/// Whether the document's own row, which says who may do what with it, is as this server wrote it. Error: `Damaged`.
fn check_row(conn: &Connection, row: &DocumentRow) -> Result<(), StoreError> {
    if document_matches(conn, row.meta.key)? {
        return Ok(());
    }
    let newest = rows::head_version(conn, row.meta.key)?.unwrap_or(row.base.version);
    Err(damaged(&row.meta.name, newest, None, CHANGED_ROW).into())
}

/// Whether the first event that is kept after the base deletes the document: then nobody needs the state before it, and
/// none is kept.
pub(crate) fn begins_with_tombstone(conn: &Connection, row: &DocumentRow) -> Result<bool, StoreError> {
    if row.base.version == Version::ZERO {
        return Ok(false);
    }
    let sql = "SELECT deletes FROM events WHERE document = ?1 AND version = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let first = rows::int(row.base.version.next().0);
    let deletes = statement.query_row((row.meta.key, first), |found| found.get(0)).optional()?.unwrap_or(false);
    let sql = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE document = ?1 AND version = ?2)";
    let base = (row.meta.key, rows::int(row.base.version.0));
    let has_base: bool = conn.prepare_cached(sql)?.query_row(base, |found| found.get(0))?;
    Ok(deletes && !has_base)
}

/// The document as it was at `at` (its newest version when `None`), which must not be before the base. A damaged
/// snapshot is passed over when the events since an earlier one, or since the beginning, make its version.
pub(crate) fn restore(conn: &Connection, row: &DocumentRow, at: Option<Version>) -> Result<LoadedDocument, StoreError> {
    match start(conn, row, at) {
        Ok(from) => replay_from(conn, row, from, at),
        Err(failure) if failure.is_damage() => match restore_past_damage(conn, row, at)? {
            Some(loaded) => Ok(loaded),
            None => Err(failure),
        },
        Err(failure) => Err(failure),
    }
}

/// The newest snapshot is damaged. `None`: the events that are there do not make the state at its version.
fn restore_past_damage(
    conn: &Connection,
    row: &DocumentRow,
    at: Option<Version>,
) -> Result<Option<LoadedDocument>, StoreError> {
    let Some(damaged) = newest_snapshot(conn, row, at)? else { return Ok(None) };
    let mut passed = damaged;
    while passed > row.base.version {
        let before = Some(Version(passed.0 - 1));
        match start(conn, row, before).and_then(|from| replay_from(conn, row, from, at)) {
            Ok(loaded) if loaded.document.version >= damaged => {
                let name = &row.meta.name;
                warn!(document = %name, version = damaged.0, "a snapshot of {name} is damaged: its events are read");
                return Ok(Some(loaded));
            }
            Ok(_) => return Ok(None),
            Err(failure) if failure.is_damage() => match newest_snapshot(conn, row, before)? {
                Some(earlier) => passed = earlier,
                None => return Ok(None),
            },
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

fn replay_from(
    conn: &Connection,
    row: &DocumentRow,
    (snapshot, snapshot_version): (Point, Version),
    at: Option<Version>,
) -> Result<LoadedDocument, StoreError> {
    let mut replay = Replay::new(row, snapshot);
    replay_events(conn, &mut replay, at, |_| Ok(()))?;
    if at.is_some_and(|version| replay.version < version) || replay.version == Version::ZERO {
        return Err(replay.damaged(replay.version.next(), "the event is missing").into());
    }
    Ok(replay.finish(snapshot_version)?)
}

/// Applies the events up to `at`, or all, and shows what each made of the document.
pub(super) fn replay_events(
    conn: &Connection,
    replay: &mut Replay<'_>,
    at: Option<Version>,
    mut seen: impl FnMut(&Replay<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let sql = "SELECT seq, version, hash, deletes, body FROM events
               WHERE document = ?1 AND version > ?2 AND version <= ?3 ORDER BY version";
    let mut statement = conn.prepare_cached(sql)?;
    let end = at.map_or(i64::MAX, |version| rows::int(version.0));
    let mut found = statement.query((replay.row.meta.key, rows::int(replay.version.0), end))?;
    while let Some(event) = found.next()? {
        let version = rows::version(event, 1)?;
        let read = (|| Ok((rows::seq(event, 0)?, rows::hash(event, 2)?, event.get(3)?, rows::text(event, 4)?)))();
        let (seq, hash, deletes, body) = match read {
            Ok(columns) => columns,
            Err(e) if crate::store::error::is_damage(&e) => {
                return Err(replay.damaged(version, "the row is not readable").into());
            }
            Err(e) => return Err(e.into()),
        };
        replay.apply(seq, version, hash, deletes, body)?;
        seen(replay)?;
    }
    Ok(())
}

/// A document's state somewhere in its history.
pub(crate) struct Point {
    pub version: Version,
    pub seq: Seq,
    pub hash: Hash,
    pub at: Timestamp,
    pub state: Option<Bytes>,
}

impl Point {
    /// Its state as a tree.
    pub(super) fn tree(&self) -> Result<Option<Value>, StoreError> {
        let parse = |bytes: &Bytes| serde_json::from_slice(bytes);
        let unreadable = |e| Error::new(Kind::Damaged, "a stored state is not readable").caused_by(e);
        Ok(self.state.as_ref().map(parse).transpose().map_err(unreadable)?)
    }
}

/// The newest snapshot not after `at`, and its version; before the first event when there is none.
pub(super) fn start(conn: &Connection, row: &DocumentRow, at: Option<Version>) -> Result<(Point, Version), StoreError> {
    let name = &row.meta.name;
    let Some(version) = newest_snapshot(conn, row, at)? else {
        if row.base.version != Version::ZERO {
            return Err(
                damaged(name, row.base.version, None, "the snapshot that history starts from is missing").into()
            );
        }
        let at = row.meta.created_at;
        let point = Point { version: Version::ZERO, seq: Seq::ZERO, hash: Hash::ZERO, at, state: None };
        return Ok((point, Version::ZERO));
    };
    let snapshot = match read_snapshot(conn, row, version) {
        Err(StoreError::Sql(e)) if crate::store::error::is_damage(&e) => {
            return Err(damaged(name, version, None, "the snapshot is not readable").caused_by(e).into());
        }
        other => other?,
    };
    if snapshot_anchor(conn, row, version)? != Some((snapshot.seq, snapshot.hash)) {
        return Err(damaged(name, version, None, "the snapshot does not belong to its event").into());
    }
    Ok((snapshot, version))
}

/// The version of the newest snapshot not after `at`.
fn newest_snapshot(conn: &Connection, row: &DocumentRow, at: Option<Version>) -> Result<Option<Version>, StoreError> {
    let sql = "SELECT version FROM snapshots WHERE document = ?1 AND version <= ?2 ORDER BY version DESC LIMIT 1";
    let end = at.map_or(i64::MAX, |version| rows::int(version.0));
    let mut statement = conn.prepare_cached(sql)?;
    Ok(statement.query_row((row.meta.key, end), |found| rows::version(found, 0)).optional()?)
}

/// Seq and hash that a snapshot at `version` must have: those of its event, or of the base when that is trimmed.
fn snapshot_anchor(conn: &Connection, row: &DocumentRow, version: Version) -> Result<Option<(Seq, Hash)>, StoreError> {
    if version == row.base.version {
        return Ok(Some((row.base.seq, row.base.hash)));
    }
    let sql = "SELECT seq, hash FROM events WHERE document = ?1 AND version = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let read = |found: &rusqlite::Row<'_>| Ok((rows::seq(found, 0)?, rows::hash(found, 1)?));
    match statement.query_row((row.meta.key, rows::int(version.0)), read).optional() {
        Err(e) if crate::store::error::is_damage(&e) => {
            Err(damaged(&row.meta.name, version, None, "the row is not readable").caused_by(e).into())
        }
        other => Ok(other?),
    }
}

pub(crate) fn read_snapshot(conn: &Connection, row: &DocumentRow, version: Version) -> Result<Point, StoreError> {
    let sql = "SELECT seq, hash, at, state, checksum,
                      mac_matches(mac, 'snapshots', document, version, seq, hash, at, checksum)
               FROM snapshots WHERE document = ?1 AND version = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let (point, checksum, ours) = statement.query_row((row.meta.key, rows::int(version.0)), |found| {
        let (seq, hash, at) = (rows::seq(found, 0)?, rows::hash(found, 1)?, rows::time(found, 2)?);
        let point = Point { version, seq, hash, at, state: rows::optional(found, 3, rows::text)? };
        Ok((point, rows::hash(found, 4)?, found.get::<_, bool>(5)?))
    })?;
    let state = point.state.as_deref();
    if !ours || tables::snapshot_checksum(point.hash, version, point.seq, point.at, state) != checksum {
        return Err(damaged(&row.meta.name, version, None, "the snapshot is not what was stored").into());
    }
    Ok(point)
}

/// A document on its way from a snapshot to a later version.
pub(super) struct Replay<'a> {
    row: &'a DocumentRow,
    pub version: Version,
    seq: Seq,
    hash: Hash,
    at: Timestamp,
    /// The state as it was read; stands as long as no event was applied.
    bytes: Option<Bytes>,
    started_at: Timestamp,
    /// The state as a tree, once an event was applied.
    tree: Option<Option<Value>>,
    patch_bytes: usize,
    events: u64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(row: &'a DocumentRow, from: Point) -> Self {
        let Point { version, seq, hash, at, state } = from;
        Self { row, version, seq, hash, at, bytes: state, started_at: at, tree: None, patch_bytes: 0, events: 0 }
    }

    pub(super) fn damaged(&self, version: Version, reason: &str) -> Error {
        let good = Some(self.version).filter(|version| *version != Version::ZERO);
        damaged(&self.row.meta.name, version, good, reason)
    }

    fn apply(&mut self, seq: Seq, version: Version, hash: Hash, deletes: bool, body: Bytes) -> Result<(), Error> {
        if version != self.version.next() {
            return Err(self.damaged(self.version.next(), "the event is missing"));
        }
        if self.hash.after(&body) != hash {
            return Err(self.damaged(version, "its hash does not follow from its content"));
        }
        if seq <= self.seq {
            return Err(self.damaged(version, "its place in the log is not after the one before"));
        }
        self.patch_bytes += body.len();
        self.events += 1;
        let mut tree = match self.tree.take() {
            Some(tree) => tree,
            None => self.parse()?,
        };
        let at = Event::stored(seq, self.row.meta.clone(), version, hash, deletes, body)
            .and_then(|event| {
                patch::apply(&mut tree, event.operations()?)?;
                Ok(event.at)
            })
            .map_err(|e| self.damaged(version, "the event cannot be applied").caused_by(e))?;
        if tree.is_none() != deletes {
            return Err(self.damaged(version, "the event and its mark of deletion disagree"));
        }
        (self.version, self.seq, self.hash, self.at, self.tree) = (version, seq, hash, at, Some(tree));
        Ok(())
    }

    /// Compares the snapshot at this version with what the events made.
    pub(super) fn compare_snapshot(&self, conn: &Connection) -> Result<(), StoreError> {
        // Without it this version cannot be read, since reading begins at the snapshot; the one before can.
        let good = Version(self.version.0.saturating_sub(1));
        let told = |reason: &str| damaged(&self.row.meta.name, self.version, Some(good), reason);
        let snapshot = match read_snapshot(conn, self.row, self.version) {
            Err(failure) if failure.is_damage() => {
                return Err(told("the snapshot is not what was stored").caused_by(failure.into_error()).into());
            }
            other => other?,
        };
        if (snapshot.seq, snapshot.hash) != (self.seq, self.hash) {
            return Err(told("the snapshot does not belong to its event").into());
        }
        let state: Option<Value> = snapshot
            .state
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()
            .map_err(|e| told("the snapshot is not readable").caused_by(e))?;
        let made = match &self.tree {
            Some(tree) => tree.as_ref() == state.as_ref(),
            None => self.parse()? == state,
        };
        if made { Ok(()) } else { Err(told(OTHER_STATE).into()) }
    }

    fn parse(&self) -> Result<Option<Value>, Error> {
        let parse = |bytes: &Bytes| serde_json::from_slice(bytes);
        let tree = self.bytes.as_ref().map(parse).transpose();
        tree.map_err(|e| damaged(&self.row.meta.name, self.version, None, "the state is not readable").caused_by(e))
    }

    pub(super) fn finish(self, snapshot_version: Version) -> Result<LoadedDocument, Error> {
        let state = match self.tree {
            None => self.bytes,
            Some(None) => None,
            Some(Some(tree)) => Some(Bytes::from(serde_json::to_vec(&tree).map_err(Error::internal)?)),
        };
        let document = Document {
            meta: self.row.meta.clone(),
            version: self.version,
            hash: self.hash,
            seq: self.seq,
            updated_at: self.at,
            state,
        };
        let (patch_bytes, events_since_snapshot, snapshot_at) = (self.patch_bytes, self.events, self.started_at);
        Ok(LoadedDocument { document, patch_bytes, events_since_snapshot, snapshot_version, snapshot_at })
    }
}
