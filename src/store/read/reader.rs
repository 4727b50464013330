//! What is stored, for everyone who reads. All methods block (for the disk, and up to 5 s for a connection of the
//! pool): call them where blocking is allowed. Error of each, beside those named: `StorageUnavailable`, `Damaged`.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use r2d2::Pool;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName, Seq, Version};
use crate::base::limits::STREAM_GONE_MAX;
use crate::document::chain::{Hash, SHORT_HASH_LENGTH, ShortHash};
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::store::error::{StoreError, WriteResult, damaged};
use crate::store::open_files::OpenFiles;
use crate::store::read::active_reads::ActiveReads;
use crate::store::read::log::{self, EventFilter, PageBound};
use crate::store::read::page_room::PageRoom;
use crate::store::read::pool::{self, Manager};
use crate::store::read::replay::{self, DocumentHead};
use crate::store::read::verify::{self, VerifiedDocument};
use crate::store::rows::{self, DocumentRow, LogHead};

/// A document in a list.
#[derive(Debug)]
pub struct ListedDocument {
    /// What stays the same.
    pub meta: Arc<Meta>,
    pub version: Version,
    /// The hash of its last event.
    pub hash: Hash,
    /// The place of that event in the log.
    pub seq: Seq,
    pub updated_at: Timestamp,
    /// The document with its state, when that was asked for.
    pub document: Option<Arc<Document>>,
}

impl ListedDocument {
    /// That of a document.
    pub fn new(document: &Arc<Document>, with_state: bool) -> Self {
        Self {
            meta: Arc::clone(&document.meta),
            version: document.version,
            hash: document.hash,
            seq: document.seq,
            updated_at: document.updated_at,
            document: with_state.then(|| Arc::clone(document)),
        }
    }
}

/// What of a collection somebody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionSummary {
    pub name: Collection,
    /// How many documents that is.
    pub documents: u64,
    /// When the last of them that was counted changed.
    pub updated_at: Timestamp,
}

/// What is stored of one document.
#[derive(Clone, Copy, Debug)]
pub struct StorageStatistics {
    pub snapshots: u64,
    /// Bytes of their states.
    pub snapshot_bytes: u64,
    /// The newest snapshot's version, 0 when there is none.
    pub snapshot_version: Version,
    pub events: u64,
    /// Bytes of their bodies.
    pub event_bytes: u64,
    /// The version of the oldest event.
    pub first_version: Version,
    /// The version of the newest.
    pub last_version: Version,
    /// When that was made.
    pub last_at: Timestamp,
}

/// The reader pool. Each call reads one moment of the database; two calls may see two. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    /// Behind a lock because the writer replaces it when it goes on with another file; held only to clone it.
    source: Arc<RwLock<Source>>,
    active: ActiveReads,
}

/// What is read from.
#[derive(Clone)]
struct Source {
    pool: Pool<Manager>,
    files: Arc<OpenFiles>,
    /// Connections of a pool that is not exclusive.
    readers: u32,
    /// See [`Reader::open_exclusive`].
    exclusive: bool,
}

impl Reader {
    /// Error: why no connection can be opened.
    pub(crate) fn open(files: Arc<OpenFiles>, readers: u32) -> std::result::Result<Self, r2d2::Error> {
        let pool = pool::build(Arc::clone(&files), readers)?;
        let source = Source { pool, files, readers, exclusive: false };
        Ok(Self { source: Arc::new(RwLock::new(source)), active: ActiveReads::default() })
    }

    /// A reader with a single connection, which keeps everybody else away from the file and needs no room on its disk.
    /// `readers`: for later. Error: why it cannot be opened.
    pub(crate) fn open_exclusive(files: Arc<OpenFiles>, readers: u32) -> std::result::Result<Self, r2d2::Error> {
        let pool = pool::build_exclusive(Arc::clone(&files))?;
        let source = Source { pool, files, readers, exclusive: true };
        Ok(Self { source: Arc::new(RwLock::new(source)), active: ActiveReads::default() })
    }

    pub(crate) fn is_exclusive(&self) -> bool {
        self.source.read().exclusive
    }

    /// Closes the single connection of an exclusive reader while `attempt` opens another reader. When that succeeds,
    /// all clones read from it.
    pub(crate) fn leave_exclusive<T>(&self, attempt: impl FnOnce() -> WriteResult<(T, Self)>) -> WriteResult<T> {
        let pool = self.source.read().pool.clone();
        let (made, other) = pool::without_connection(&pool, attempt)?;
        self.read_from(&other);
        Ok(made)
    }

    /// All clones read from `other` from now on. Reads that have begun end where they began.
    pub(crate) fn read_from(&self, other: &Self) {
        let source = other.source.read().clone();
        *self.source.write() = source;
    }

    /// The path of the database file. It is another after a rescue.
    pub(crate) fn database(&self) -> PathBuf {
        self.files().database().to_owned()
    }

    pub(crate) fn files(&self) -> Arc<OpenFiles> {
        Arc::clone(&self.source.read().files)
    }

    /// Whether a connection is open.
    pub(crate) fn has_connections(&self) -> bool {
        self.source.read().pool.state().connections > 0
    }

    pub(crate) fn readers(&self) -> u32 {
        self.source.read().readers
    }

    /// The reads that run now.
    pub(crate) fn active(&self) -> &ActiveReads {
        &self.active
    }

    pub(crate) fn read<T>(&self, f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>) -> Result<T> {
        let pool = self.source.read().pool.clone();
        pool::read(&pool, &self.active, f)
    }

    /// Runs `f` outside of any transaction, on a connection that may write to other files.
    pub(crate) fn with_connection<T>(
        &self,
        f: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>,
    ) -> Result<T> {
        let pool = self.source.read().pool.clone();
        pool::with_connection(&pool, f)
    }

    /// A question of a feature to its own tables. Error: what the question answers with; for SQLite's failures see
    /// [`sql_error`](crate::store::sql_error).
    pub fn rows<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(|conn| question(conn).map_err(StoreError::from))
    }

    /// The newest version of the document called `name`, if there ever was one; it may be a tombstone.
    pub fn load(&self, name: &DocumentName) -> Result<Option<Document>> {
        Ok(self.read(|conn| replay::load(conn, name))?.map(|loaded| loaded.document))
    }

    /// The document called `name` as it was at `version`. Error: `NotFound` when it never was, or not yet at that
    /// version (with `currentVersion`); `Gone` when that version is trimmed (with `firstVersion`).
    pub fn state_at(&self, name: &DocumentName, version: Version) -> Result<Document> {
        self.read(|conn| replay::state_at(conn, name, version))
    }

    /// The same as [`load`](Self::load), after everything that is kept of the document was verified, not only what the
    /// newest version is made of. Error: `Damaged`, with `lastGoodVersion` where there is one, unless an event after
    /// the damage brings the whole state along.
    pub fn verify(&self, name: &DocumentName) -> Result<Option<VerifiedDocument>> {
        self.read(|conn| verify::verify(conn, name))
    }

    /// Where the document called `name` ends, if there ever was one: also of one that is too damaged to be read.
    pub fn document_head(&self, name: &DocumentName) -> Result<Option<DocumentHead>> {
        self.read(|conn| replay::document_head(conn, name))
    }

    /// What is stored of a document; `None` when nothing is.
    pub fn storage_statistics(&self, name: &DocumentName) -> Result<Option<StorageStatistics>> {
        self.read(|conn| {
            let Some(row) = rows::find_document(conn, name)? else { return Ok(None) };
            let sql = "SELECT count(*), coalesce(sum(octet_length(state)), 0), coalesce(max(version), 0)
                       FROM snapshots WHERE document = ?1";
            let key = row.meta.key;
            let snapshots = |row: &Row<'_>| Ok((rows::number(row, 0)?, rows::number(row, 1)?, rows::version(row, 2)?));
            let (snapshots, snapshot_bytes, snapshot_version) =
                conn.prepare_cached(sql)?.query_row([key], snapshots)?;
            let sql = "SELECT count(*), sum(octet_length(body)), min(version), max(version), max(at)
                       FROM events WHERE document = ?1 HAVING count(*) > 0";
            let read = |row: &Row<'_>| {
                Ok(StorageStatistics {
                    snapshots,
                    snapshot_bytes,
                    snapshot_version,
                    events: rows::number(row, 0)?,
                    event_bytes: rows::number(row, 1)?,
                    first_version: rows::version(row, 2)?,
                    last_version: rows::version(row, 3)?,
                    last_at: rows::time(row, 4)?,
                })
            };
            Ok(conn.prepare_cached(sql)?.query_row([key], read).optional()?)
        })
    }

    /// At most `limit` documents of a collection, ordered by id, those after `after`; deleted ones and those that
    /// `viewer` may not read are left out. With states, a single damaged document fails the whole call.
    /// `room`: states are wanted, as `viewer` is shown them, and once they have taken it the list ends early, which the
    /// flag says.
    pub fn list(
        &self,
        viewer: &Viewer,
        collection: &Collection,
        after: Option<&DocumentId>,
        limit: usize,
        mut room: Option<&mut PageRoom>,
    ) -> Result<(Vec<ListedDocument>, bool)> {
        self.read(|conn| {
            let sql = format!(
                "SELECT {}, e.version, e.hash, e.seq, e.at FROM documents d
                 LEFT JOIN events e ON e.document = d.key
                      AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
                 WHERE d.collection = ?1 AND d.id > ?2 AND e.deletes IS NOT 1 AND {} ORDER BY d.id LIMIT ?3",
                rows::META,
                rows::readable_by("?4")
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let after = after.map_or("", DocumentId::as_str);
            let asks = rows::viewer_column(viewer);
            let mut found = statement.query((collection.as_str(), after, rows::count(limit), asks))?;
            let mut entries = Vec::new();
            while let Some(row) = found.next()? {
                if room.as_ref().is_some_and(|room| room.is_taken()) {
                    return Ok((entries, true));
                }
                let mut entry = entry(row)?;
                if let Some(room) = room.as_deref_mut()
                    && let Some(loaded) = replay::load(conn, &entry.meta.name)?
                {
                    entry.document = Some(Arc::new(room.document(loaded.document, viewer)?));
                }
                entries.push(entry);
            }
            Ok((entries, false))
        })
    }

    /// At most `limit` ids of a collection, those after `after`, of documents that `viewer` may read; of deleted ones
    /// too.
    pub fn list_ids(
        &self,
        viewer: &Viewer,
        collection: &Collection,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentId>> {
        self.read(|conn| {
            let sql = format!(
                "SELECT d.id FROM documents d WHERE d.collection = ?1 AND d.id > ?2 AND {} ORDER BY d.id LIMIT ?3",
                rows::readable_by("?4")
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let after = after.map_or("", DocumentId::as_str);
            let asks = rows::viewer_column(viewer);
            let parameters = (collection.as_str(), after, rows::count(limit), asks);
            let ids = statement.query_map(parameters, |row| rows::document_id(row, 0))?;
            Ok(ids.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// At most `limit` collections by name, those after `after`, that have documents which are not deleted and which
    /// `viewer` may read; of each at most `count_max` are counted.
    pub fn collections(
        &self,
        viewer: &Viewer,
        after: Option<&Collection>,
        limit: usize,
        count_max: usize,
    ) -> Result<Vec<CollectionSummary>> {
        self.read(|conn| {
            // Each step finds the next name by the index.
            let next = "SELECT min(collection) FROM documents WHERE collection > ?1";
            let counted = format!(
                "SELECT count(*), max(at) FROM (
                     SELECT e.at FROM documents d JOIN events e ON e.document = d.key
                          AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
                     WHERE d.collection = ?1 AND e.deletes IS NOT 1 AND {} LIMIT ?3)",
                rows::readable_by("?2")
            );
            let (mut next, mut counted) = (conn.prepare_cached(next)?, conn.prepare_cached(&counted)?);
            let mut summaries = Vec::new();
            let mut last = after.map_or(String::new(), |after| after.as_str().to_owned());
            while summaries.len() < limit {
                let Some(name) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? else { break };
                let parameters = (&name, rows::viewer_column(viewer), rows::count(count_max));
                let (documents, updated_at) = counted
                    .query_row(parameters, |row| Ok((rows::number(row, 0)?, rows::optional(row, 1, rows::time)?)))?;
                if let Some(updated_at) = updated_at {
                    summaries.push(CollectionSummary { name: Collection::new(&name)?, documents, updated_at });
                }
                last = name;
            }
            Ok(summaries)
        })
    }

    /// The documents of `collections` whose last event, after `after` and up to `to`, deleted them, without those that
    /// `viewer` may not read: the last [`STREAM_GONE_MAX`], each with the place of that event.
    pub fn removed<'a>(
        &self,
        collections: impl IntoIterator<Item = &'a Collection>,
        after: Seq,
        to: Seq,
        viewer: &Viewer,
    ) -> Result<Vec<(Seq, DocumentName)>> {
        self.read(|conn| {
            let sql = format!(
                "SELECT e.seq, d.id FROM documents d
                 JOIN events e ON e.document = d.key
                      AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
                 WHERE d.collection = ?1 AND e.deletes = 1 AND e.seq > ?2 AND e.seq <= ?3 AND {}
                 ORDER BY e.seq DESC LIMIT ?5",
                rows::readable_by("?4")
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let mut removed = Vec::new();
            for collection in collections {
                let asks = (rows::viewer_column(viewer), rows::count(STREAM_GONE_MAX));
                let parameters = (collection.as_str(), rows::int(after.0), rows::int(to.0), asks.0, asks.1);
                let found =
                    statement.query_map(parameters, |row| Ok((rows::seq(row, 0)?, row.get::<_, String>(1)?)))?;
                for row in found {
                    let (seq, id) = row?;
                    removed.push((seq, DocumentName { collection: collection.clone(), id: DocumentId::new(&id)? }));
                }
            }
            Ok(removed)
        })
    }

    /// How many documents there are that are not deleted, counted up to `max`.
    pub fn documents_count(&self, max: usize) -> Result<usize> {
        self.read(|conn| {
            let sql = "SELECT count(*) FROM (
                 SELECT 1 FROM documents d JOIN events e ON e.document = d.key
                      AND e.version = (SELECT max(version) FROM events WHERE document = d.key)
                 WHERE e.deletes IS NOT 1 LIMIT ?1)";
            let count: i64 = conn.query_row(sql, [rows::count(max)], |row| row.get(0))?;
            Ok(usize::try_from(count).unwrap_or(max))
        })
    }

    /// The fixed facts of the document called `name`, if there ever was one.
    pub fn meta(&self, name: &DocumentName) -> Result<Option<Arc<Meta>>> {
        Ok(self.read(|conn| rows::find_document(conn, name))?.map(|row| row.meta))
    }

    /// Since which place of the log the document called `name` is stored, or a later one if its beginning is trimmed;
    /// `None`: it is not.
    pub fn stored_since(&self, name: &DocumentName) -> Result<Option<Seq>> {
        self.read(|conn| {
            let Some(row) = rows::find_document(conn, name)? else { return Ok(None) };
            match row.base.version {
                Version::ZERO => log::first_seq(conn, row.meta.key),
                _ => Ok(Some(row.base.seq)),
            }
        })
    }

    /// The fixed facts of at most `limit` documents of a collection, ordered by id, those after `after`, deleted ones
    /// included.
    pub fn metas(&self, collection: &Collection, after: Option<&DocumentId>, limit: usize) -> Result<Vec<Arc<Meta>>> {
        self.read(|conn| {
            let columns = rows::META;
            let sql = format!(
                "SELECT {columns} FROM documents d WHERE d.collection = ?1 AND d.id > ?2 ORDER BY d.id LIMIT ?3"
            );
            let mut statement = conn.prepare_cached(&sql)?;
            let after = after.map_or("", DocumentId::as_str);
            let found =
                statement.query_map((collection.as_str(), after, rows::count(limit)), |row| rows::meta(row, 0))?;
            Ok(found.collect::<rusqlite::Result<Vec<_>>>()?)
        })
    }

    /// At most `limit` events of the document called `name` after version `after`, and at most `bytes_max` bytes of
    /// their bodies (one event in any case), oldest first. What is trimmed is left out. Error: `NotFound`.
    pub fn history(&self, name: &DocumentName, after: Version, limit: usize, bytes_max: usize) -> Result<Vec<Event>> {
        let read = |conn: &Connection| {
            let row = rows::find_document(conn, name)?
                .ok_or_else(|| Error::not_found(format!("there is no document {name}")))?;
            log::history(conn, &row, after, PageBound { events: limit, bytes: bytes_max })
        };
        self.read(|conn| read(conn).map_err(|failure: StoreError| failure.naming(name)))
    }

    /// The version of the oldest event of a document that is kept. Error: `NotFound`.
    pub fn first_version(&self, key: i64) -> Result<Version> {
        self.read(|conn| Ok(by_key(conn, key)?.base.version.next()))
    }

    /// Hash and document of the event at `seq`, if it is there.
    pub fn event_at(&self, seq: Seq) -> Result<Option<(Hash, i64)>> {
        self.read(|conn| log::event_at(conn, seq))
    }

    /// Seq, version and hash of a document's kept event whose hash begins like this, the newest when there are several.
    /// Reads the hash of each kept event, newest first.
    pub fn by_short_hash(&self, key: i64, hash: ShortHash) -> Result<Option<(Seq, Version, Hash)>> {
        self.read(|conn| {
            let sql = "SELECT seq, version, hash FROM events WHERE document = ?1 AND substr(hash, 1, ?3) = ?2
                       ORDER BY version DESC LIMIT 1";
            let read = |row: &Row<'_>| Ok((rows::seq(row, 0)?, rows::version(row, 1)?, rows::hash(row, 2)?));
            let parameters = (key, hash.to_string(), rows::count(SHORT_HASH_LENGTH));
            Ok(conn.prepare_cached(sql)?.query_row(parameters, read).optional()?)
        })
    }

    /// The end of the log.
    pub fn head(&self) -> Result<LogHead> {
        self.read(log::head)
    }

    /// A document's version after the last of its events with a seq not above `seq`. Where that is trimmed, the
    /// version of the last trimmed event: whoever must know compares `seq` with [`base_seq`](Self::base_seq). Error:
    /// `NotFound`.
    pub fn version_at(&self, key: i64, seq: Seq) -> Result<Version> {
        self.read(|conn| log::version_at(conn, &by_key(conn, key)?, seq))
    }

    /// At most `limit` events with `after < seq <= to` of the documents that `filter` names, and at most `bytes_max`
    /// bytes of their bodies (one event in any case), oldest first.
    pub fn events_between(
        &self,
        filter: &EventFilter,
        after: Seq,
        to: Seq,
        limit: usize,
        bytes_max: usize,
    ) -> Result<Vec<Event>> {
        self.read(|conn| log::between(conn, filter, (after, to), PageBound { events: limit, bytes: bytes_max }))
    }

    /// How many kept events there are with `after < seq <= to` of the documents that `filter` names.
    pub fn count_between(&self, filter: &EventFilter, after: Seq, to: Seq) -> Result<u64> {
        self.read(|conn| log::count_between(conn, filter, after, to))
    }

    /// Seq and hash of the last kept event with `after < seq <= to` of the documents that `filter` names.
    pub fn last_between(&self, filter: &EventFilter, after: Seq, to: Seq) -> Result<Option<(Seq, Hash)>> {
        self.read(|conn| log::last_between(conn, filter, after, to))
    }

    /// The seq of the last event that was trimmed from a document that `filter` names; 0 when none was. What is after
    /// it is complete.
    pub fn base_seq(&self, filter: &EventFilter) -> Result<Seq> {
        self.read(|conn| log::base_seq(conn, filter))
    }

    /// The seq of the last event that changed host or access of a document that `filter` names; 0 when none did.
    pub fn access_seq(&self, filter: &EventFilter) -> Result<Seq> {
        self.read(|conn| log::access_seq(conn, filter))
    }

    /// The newest events of the whole log, at most `limit` and at most `bytes_max` bytes of their bodies (one event in
    /// any case), oldest first.
    pub fn newest_events(&self, limit: usize, bytes_max: usize) -> Result<Vec<Event>> {
        self.read(|conn| log::newest_events(conn, PageBound { events: limit, bytes: bytes_max }))
    }
}

fn by_key(conn: &Connection, key: i64) -> std::result::Result<DocumentRow, StoreError> {
    rows::document_by_key(conn, key)?.ok_or_else(|| Error::new(Kind::NotFound, "there is no such document").into())
}

/// A row of [`Reader::list`], without the document.
fn entry(row: &Row<'_>) -> std::result::Result<ListedDocument, StoreError> {
    let meta = rows::meta(row, 0)?;
    let read = || -> rusqlite::Result<_> {
        Ok((rows::version(row, 7)?, rows::hash(row, 8)?, rows::seq(row, 9)?, rows::time(row, 10)?))
    };
    let (version, hash, seq, updated_at) = read().map_err(|e| {
        damaged(&meta.name, Version(1), None, "its newest event is missing or not readable").caused_by(e)
    })?;
    Ok(ListedDocument { meta, version, hash, seq, updated_at, document: None })
}
