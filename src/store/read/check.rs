//! Checking the rows of one document against each other: events against their chain and their columns, snapshots
//! against their checksum and their event.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, Row};

use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::store::error::{StoreError, is_damage};
use crate::store::integrity::rows::document_matches;
use crate::store::read::replay;
use crate::store::rows::{self, DocumentRow, TrimPoint};

/// Most defects reported of one document.
const DEFECTS_MAX: usize = 10;
/// What is said of an event whose body names another document, or another version, than its row.
pub(crate) const OTHER_DOCUMENT: &str = "the event is of another document or version";
/// What a document without names and bytes costs to check, for the rate at which that is done.
pub(super) const CHECK_BYTES: u64 = 4096;

/// What does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The first version concerned.
    pub version: Version,
    pub what: String,
    /// Whether the event of that version is not there.
    pub missing: bool,
    /// Whether it is a snapshot that the events which are there make again.
    pub of_snapshot: bool,
}

/// What was found in a document's rows.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// What does not add up, at most some.
    pub defects: Vec<Defect>,
    pub bytes: u64,
}

/// A document that is being checked.
pub(super) struct DocumentCheck<'a> {
    pub conn: &'a Connection,
    pub defects: Vec<Defect>,
    pub bytes: u64,
}

/// Where snapshots must stand: versions with seq and hash.
type Anchors = BTreeMap<Version, Option<(Seq, Hash)>>;

impl DocumentCheck<'_> {
    pub(super) fn defect(&mut self, version: Version, missing: bool, what: impl Into<String>) {
        if self.defects.len() < DEFECTS_MAX {
            self.defects.push(Defect { version, what: what.into(), missing, of_snapshot: false });
        }
    }

    pub(super) fn document(&mut self, row: &DocumentRow, memory: Option<&Document>) -> Result<(), StoreError> {
        let sql = "SELECT version FROM snapshots WHERE document = ?1";
        let mut statement = self.conn.prepare_cached(sql)?;
        let versions = statement.query_map([row.meta.key], |found| rows::version(found, 0))?;
        let mut anchors: Anchors = versions.map(|version| Ok((version?, None))).collect::<rusqlite::Result<_>>()?;
        let TrimPoint { version, seq, hash } = row.base;
        if version > Version::ZERO {
            match anchors.get_mut(&version) {
                Some(anchor) => *anchor = Some((seq, hash)),
                None if replay::begins_with_tombstone(self.conn, row)? => {}
                None => self.defect(version, false, "the snapshot that history starts from is missing"),
            }
        }
        if version == Version::ZERO && (seq, hash) != (Seq::ZERO, Hash::ZERO) {
            self.defect(Version(1), false, "its history is said to begin where it does not");
        }
        self.events(row, &mut anchors)?;
        if !document_matches(self.conn, row.meta.key)? {
            let newest = rows::head_version(self.conn, row.meta.key).or_else(|failure| match failure.is_damage() {
                true => Ok(None),
                false => Err(failure),
            })?;
            self.defect(newest.unwrap_or(version), false, replay::CHANGED_ROW);
        }
        let of_events = self.defects.len();
        self.snapshots(row, &anchors, memory)?;
        for defect in self.defects.iter_mut().skip(of_events) {
            let anchored = matches!(anchors.get(&defect.version), Some(Some(_)));
            defect.of_snapshot = of_events == 0 && anchored && defect.version > version;
        }
        Ok(())
    }

    fn events(&mut self, row: &DocumentRow, anchors: &mut Anchors) -> Result<(), StoreError> {
        let sql = "SELECT seq, version, at, hash, deletes, body FROM events WHERE document = ?1 ORDER BY version";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut found = statement.query([row.meta.key])?;
        let TrimPoint { version: mut last, mut seq, mut hash } = row.base;
        let mut chained = true;
        while let Some(event) = found.next()? {
            let version = rows::version(event, 1)?;
            if version <= last {
                self.defect(version, false, "there is an event from before the kept history");
                continue;
            }
            if version != last.next() {
                let what = format!("the events up to version {} are missing", version.0 - 1);
                let one = version == last.next().next();
                self.defect(last.next(), true, if one { "the event is missing".to_owned() } else { what });
                chained = false;
            }
            last = version;
            let read = EventRow::read(event).map_err(|error| (is_damage(&error), error));
            let stored = match read {
                Ok(stored) => stored,
                Err((true, _)) => {
                    self.defect(version, false, "the event is not readable");
                    chained = false;
                    continue;
                }
                Err((false, error)) => return Err(error.into()),
            };
            self.bytes += u64::try_from(stored.body.len()).unwrap_or(0);
            if chained && hash.after(&stored.body) != stored.hash {
                self.defect(version, false, "the event is not what was stored: its hash does not follow from it");
            } else if stored.seq <= seq {
                self.defect(version, false, "its place in the log is not after the one before");
            } else if let Some(what) = stored.disagreement(&row.meta, version) {
                self.defect(version, false, what);
            }
            (seq, hash, chained) = (stored.seq, stored.hash, true);
            if let Some(anchor) = anchors.get_mut(&version) {
                *anchor = Some((seq, hash));
            }
        }
        if last == row.base.version {
            self.defect(last.next(), true, "the newest event is missing");
        }
        Ok(())
    }

    fn snapshots(&mut self, row: &DocumentRow, anchors: &Anchors, memory: Option<&Document>) -> Result<(), StoreError> {
        for (version, anchor) in anchors {
            let snapshot = match replay::read_snapshot(self.conn, row, *version) {
                Ok(snapshot) => snapshot,
                Err(failure) if failure.is_damage() => {
                    self.defect(*version, false, "the snapshot is not what was stored");
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            let state = snapshot.state.as_deref();
            self.bytes += state.map_or(0, |state| u64::try_from(state.len()).unwrap_or(0));
            match anchor {
                None => self.defect(*version, false, "there is a snapshot of a version that is not there"),
                Some(anchor) if *anchor != (snapshot.seq, snapshot.hash) => {
                    self.defect(*version, false, "the snapshot does not belong to its event");
                }
                Some(_) if memory.is_some_and(|memory| differs(memory, *version, snapshot.hash, state)) => {
                    self.defect(*version, false, "the snapshot is not the state that memory has");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether `memory` is that version and has another state.
fn differs(memory: &Document, version: Version, hash: Hash, state: Option<&[u8]>) -> bool {
    if (memory.version, memory.hash) != (version, hash) || memory.state.as_deref() == state {
        return false;
    }
    // The same state may be spelt in two ways.
    let parse = |bytes: Option<&[u8]>| bytes.map(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok());
    parse(memory.state.as_deref()) != parse(state)
}

/// A row of `events`.
struct EventRow {
    seq: Seq,
    at: Timestamp,
    hash: Hash,
    deletes: bool,
    body: bytes::Bytes,
}

impl EventRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (at, hash) = (rows::time(row, 2)?, rows::hash(row, 3)?);
        Ok(Self { seq: rows::seq(row, 0)?, at, hash, deletes: row.get(4)?, body: rows::text(row, 5)? })
    }

    /// How the other columns say something else than the body, which alone is hashed.
    fn disagreement(&self, meta: &Arc<Meta>, version: Version) -> Option<&'static str> {
        let DocumentName { collection, id } = &meta.name;
        let begins = format!(r#"{{"collection":"{collection}","id":"{id}","version":{version},"#);
        if !self.body.starts_with(begins.as_bytes()) {
            return Some(OTHER_DOCUMENT);
        }
        let body = self.body.clone();
        let event = Event::stored(self.seq, Arc::clone(meta), version, self.hash, self.deletes, body);
        match event {
            Err(_) => Some("the event is not readable"),
            Ok(event) if event.at != self.at => Some("the time beside the event is another than in it"),
            Ok(_) if rows::body_deletes(&self.body) != self.deletes => {
                Some("the event and its mark of deletion disagree")
            }
            Ok(_) => None,
        }
    }
}
