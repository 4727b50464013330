//! What is stored, read for being compared: everything as it stands there, and what does not add up in it. Nothing here
//! fails because a row was tampered with; it is reported instead.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row};

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::model::{Document, Meta};
use crate::store::error::{StoreError, is_damage};
use crate::store::integrity::rows::{self as integrity_rows, RowId, RowKey, RowsPage};
use crate::store::integrity::tables::MacTable;
use crate::store::open_files::OpenFiles;
use crate::store::read::active_reads::ActiveReads;
use crate::store::read::check::{CHECK_BYTES, Checked, Defect, DocumentCheck};
use crate::store::read::pool;
use crate::store::read::reader::Reader;
use crate::store::read::verify;
use crate::store::rows;

/// The newest event of a document, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredHead {
    pub version: Version,
    pub hash: Hash,
    /// Its place in the log.
    pub seq: Seq,
    /// Whether it deletes the document.
    pub deletes: bool,
}

/// Where a document stands on disk.
#[derive(Clone, Debug)]
pub struct StoredDocument {
    pub key: i64,
    /// Its name, as far as it is one.
    pub name: String,
    /// Its fixed facts; `None` when they cannot be read.
    pub meta: Option<Arc<Meta>>,
    /// The last event that was trimmed: version and hash.
    pub base: Option<(Version, Hash)>,
    /// Its newest event; `None` when there is none that can be read.
    pub head: Option<StoredHead>,
}

/// An event, without its content.
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// Its place in the log.
    pub seq: Seq,
    /// The row of its document.
    pub key: i64,
    /// The version that it makes.
    pub version: Version,
    /// Its hash; `None` when that is none.
    pub hash: Option<Hash>,
}

/// One moment of the file.
pub struct ReadTransaction<'a>(&'a Connection);

impl Reader {
    /// Looks at one moment of the file. Errors: those of `look`, `StorageUnavailable`, `Damaged`.
    pub fn read_transaction<T>(&self, look: impl FnOnce(&ReadTransaction<'_>) -> Result<T>) -> Result<T> {
        self.rows(|conn| look(&ReadTransaction(conn)))
    }

    /// The same with a connection of its own, which has read nothing yet: what it sees is in the file now. For several
    /// moments one after the other.
    pub fn uncached<T>(&self, look: impl FnOnce(&UncachedConnection) -> Result<T>) -> Result<T> {
        if self.is_exclusive() {
            return Err(Error::new(Kind::StorageUnavailable, "a single connection reads while there is no room"));
        }
        let files = self.files();
        let opened = UncachedConnection::open(self.active().clone(), Arc::clone(&files));
        look(&opened.map_err(|error| files.to_public_error(error.into()))?)
    }
}

/// A connection that has read nothing before, and keeps nothing of what it reads.
pub struct UncachedConnection {
    conn: Connection,
    active: ActiveReads,
    /// Let go after the connection.
    files: Arc<OpenFiles>,
}

impl UncachedConnection {
    fn open(active: ActiveReads, files: Arc<OpenFiles>) -> rusqlite::Result<Self> {
        let conn = pool::connect_reader(&files)?;
        conn.execute_batch("PRAGMA cache_size = 0")?;
        Ok(Self { conn, active, files })
    }

    /// See [`Reader::read_transaction`].
    pub fn read_transaction<T>(&self, look: impl FnOnce(&ReadTransaction<'_>) -> Result<T>) -> Result<T> {
        let _read = self.active.begin(&self.conn);
        let transaction =
            self.conn.unchecked_transaction().map_err(|error| self.files.to_public_error(error.into()))?;
        look(&ReadTransaction(&transaction)).map_err(|error| self.files.to_public_error(error.into()))
    }
}

impl<'a> ReadTransaction<'a> {
    /// What the transaction that `conn` is in sees.
    pub(in crate::store) fn new(conn: &'a Connection) -> Self {
        Self(conn)
    }

    /// Where the documents stand whose keys come after `after`, at most `limit`, by key.
    pub fn stored_documents(&self, after: i64, limit: usize) -> Result<Vec<StoredDocument>> {
        let read = || -> rusqlite::Result<_> {
            let sql = format!("{STORED_DOCUMENT} WHERE d.key > ?1 ORDER BY d.key LIMIT ?2");
            let mut statement = self.0.prepare_cached(&sql)?;
            let found = statement.query_map((after, rows::count(limit)), stored_document)?;
            found.collect()
        };
        read().map_err(|error| StoreError::Sql(error).into_error())
    }

    /// Where the document of this key stands, if there is one.
    pub fn stored_document(&self, key: i64) -> Result<Option<StoredDocument>> {
        let read = || {
            self.0
                .prepare_cached(&format!("{STORED_DOCUMENT} WHERE d.key = ?1"))?
                .query_row([key], stored_document)
                .optional()
        };
        read().map_err(|error| StoreError::Sql(error).into_error())
    }

    /// The hash of a document's event, as stored; `None` when there is none.
    pub fn hash_at(&self, key: i64, version: Version) -> Result<Option<Hash>> {
        let sql = "SELECT hash FROM events WHERE document = ?1 AND version = ?2";
        let read = || {
            let mut statement = self.0.prepare_cached(sql)?;
            statement.query_row((key, rows::int(version.0)), |row| Ok(rows::hash(row, 0).ok())).optional()
        };
        Ok(read().map_err(|error| StoreError::Sql(error).into_error())?.flatten())
    }

    /// The document's newest event up to `seq`, or where its kept history begins when that is later; `None`: it was not
    /// there yet.
    pub fn head_before(&self, key: i64, seq: Seq) -> Result<Option<StoredHead>> {
        let sql = "SELECT version, hash, seq, deletes FROM events WHERE document = ?1 AND seq <= ?2
                   ORDER BY version DESC LIMIT 1";
        let head = |row: &Row<'_>| {
            let (version, hash) = (rows::version(row, 0)?, rows::hash(row, 1)?);
            Ok(StoredHead { version, hash, seq: rows::seq(row, 2)?, deletes: row.get(3)? })
        };
        let read = || {
            let found = self.0.prepare_cached(sql)?.query_row((key, rows::int(seq.0)), head).optional()?;
            let sql = "SELECT base_version, base_hash, base_seq, 0 FROM documents WHERE key = ?1 AND base_version > 0";
            match found {
                None => self.0.prepare_cached(sql)?.query_row([key], head).optional(),
                found => Ok(found),
            }
        };
        read().or_else(|error| if is_damage(&error) { Ok(None) } else { Err(StoreError::Sql(error).into_error()) })
    }

    /// Shows each event with `after < seq <= to`, in order, without its content.
    pub fn each_event(&self, after: Seq, to: Seq, mut show: impl FnMut(EventHeader)) -> Result<()> {
        let mut read = || -> rusqlite::Result<()> {
            let sql = "SELECT seq, document, version, hash FROM events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
            let mut statement = self.0.prepare_cached(sql)?;
            let mut found = statement.query((rows::int(after.0), rows::int(to.0)))?;
            while let Some(row) = found.next()? {
                show(event_header(row)?);
            }
            Ok(())
        };
        read().map_err(|error| StoreError::Sql(error).into_error())
    }

    /// The last events of the log that come after `seq`, at most `limit`, the last first.
    pub fn last_events(&self, seq: Seq, limit: usize) -> Result<Vec<EventHeader>> {
        let sql = "SELECT seq, document, version, hash FROM events WHERE seq > ?1 ORDER BY seq DESC LIMIT ?2";
        let read = || -> rusqlite::Result<_> {
            let mut statement = self.0.prepare_cached(sql)?;
            let found = statement.query_map((rows::int(seq.0), rows::count(limit)), event_header)?;
            found.collect()
        };
        read().map_err(|error| StoreError::Sql(error).into_error())
    }

    /// Events, and keys of snapshots, that belong to no document: at most `limit` of each. Reads an entry of the index
    /// of each event.
    pub fn orphans(&self, limit: usize) -> Result<(Vec<EventHeader>, Vec<i64>)> {
        let read = || -> rusqlite::Result<_> {
            let sql = "SELECT seq, document, version, hash FROM events e
                       WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.key = e.document) LIMIT ?1";
            let mut statement = self.0.prepare(sql)?;
            let events = statement.query_map([rows::count(limit)], event_header)?.collect::<rusqlite::Result<_>>()?;
            let sql = "SELECT DISTINCT document FROM snapshots s
                       WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.key = s.document) LIMIT ?1";
            let mut statement = self.0.prepare(sql)?;
            let snapshots = statement.query_map([rows::count(limit)], |row| row.get(0))?;
            Ok((events, snapshots.collect::<rusqlite::Result<_>>()?))
        };
        read().map_err(|error| StoreError::Sql(error).into_error())
    }

    /// The name that the events of a document have, whatever became of its row.
    pub fn name_in_events(&self, key: i64) -> Result<Option<String>> {
        let sql = "SELECT body FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
        let read = || self.0.prepare_cached(sql)?.query_row([key], |row| Ok(rows::text(row, 0).ok())).optional();
        let body = read().map_err(|error| StoreError::Sql(error).into_error())?.flatten();
        let name = |body: &[u8]| {
            let body: serde_json::Value = serde_json::from_slice(body).ok()?;
            Some(format!("{}/{}", body.get("collection")?.as_str()?, body.get("id")?.as_str()?))
        };
        Ok(body.as_deref().and_then(name))
    }

    /// Reads all that is kept of a document: each event against its chain and its own columns, each snapshot against
    /// its checksum and its event. `memory`: the document as it is published; a snapshot of the same version must hold
    /// the same state. `None`: there is no row with this key. What the events make of the state is not looked at; for
    /// that see [`replay`](Self::replay). Errors: when it is not the rows that are at fault.
    pub fn check(&self, key: i64, memory: Option<&Document>) -> Result<Option<Checked>> {
        let mut check = DocumentCheck { conn: self.0, defects: Vec::new(), bytes: CHECK_BYTES };
        let found = match rows::document_by_key(self.0, key) {
            Ok(Some(row)) => check.document(&row, memory),
            Ok(None) => return Ok(None),
            Err(failure) => Err(failure),
        };
        match found {
            Ok(()) => {}
            Err(failure) if failure.is_damage() => {
                check.defect(Version::ZERO, false, format!("a row of it is not readable: {}", failure.into_error()));
            }
            Err(failure) => return Err(failure.into_error()),
        }
        Ok(Some(Checked { defects: check.defects, bytes: check.bytes }))
    }

    /// The tables whose rows have a MAC, but for those of documents and snapshots: see [`check`](Self::check).
    pub(crate) fn mac_tables(&self) -> Result<Vec<MacTable>> {
        integrity_rows::compared_tables(self.0).map_err(|error| StoreError::Sql(error).into_error())
    }

    /// At most `limit` rows of a table, by key, those after the key `after`.
    pub(crate) fn rows_page(&self, table: &MacTable, after: Option<&RowKey>, limit: usize) -> Result<RowsPage> {
        let page = integrity_rows::page(self.0, table, after, limit);
        page.map_err(|error| StoreError::Sql(error).into_error())
    }

    /// The row of a table with this key; `None`: it is not there, or the key of the table has several parts.
    pub(crate) fn find_row(&self, table: &str, key: &str) -> Result<Option<RowId>> {
        integrity_rows::find(self.0, table, key).map_err(|error| StoreError::Sql(error).into_error())
    }

    /// Makes every version of a document from its events, and compares its snapshots with those. Error: as [`check`].
    ///
    /// [`check`]: Self::check
    pub fn replay(&self, name: &DocumentName) -> Result<Option<Defect>> {
        match verify::verify(self.0, name) {
            Ok(_) => Ok(None),
            Err(failure) if failure.is_damage() => {
                let error = failure.into_error();
                let version = error.details().get("version").and_then(serde_json::Value::as_u64).unwrap_or(0);
                let what = error.message().rsplit_once(": ").map_or(error.message(), |(_, reason)| reason);
                let missing = what == "the event is missing";
                let of_snapshot = what == crate::store::read::replay::OTHER_STATE;
                Ok(Some(Defect { version: Version(version), what: what.to_owned(), missing, of_snapshot }))
            }
            Err(failure) => Err(failure.into_error()),
        }
    }
}

/// The beginning of a query for a [`StoredDocument`].
const STORED_DOCUMENT: &str =
    "SELECT d.key, d.collection, d.id, d.host, d.access, d.created_at, d.access_seq, d.base_version,
        d.base_hash, e.version, e.hash, e.seq, e.deletes
 FROM documents d LEFT JOIN events e ON e.document = d.key
      AND e.version = (SELECT max(version) FROM events WHERE document = d.key)";

fn stored_document(row: &Row<'_>) -> rusqlite::Result<StoredDocument> {
    let text = |column| row.get_ref(column).ok().and_then(|value| value.as_str().ok().map(str::to_owned));
    let base = || Ok::<_, rusqlite::Error>((rows::version(row, 7)?, rows::hash(row, 8)?));
    let head = || -> rusqlite::Result<_> {
        let (version, hash) = (rows::version(row, 9)?, rows::hash(row, 10)?);
        Ok(StoredHead { version, hash, seq: rows::seq(row, 11)?, deletes: row.get(12)? })
    };
    Ok(StoredDocument {
        key: row.get(0)?,
        name: format!("{}/{}", text(1).unwrap_or_default(), text(2).unwrap_or_default()),
        meta: rows::meta(row, 0).ok(),
        base: base().ok(),
        head: head().ok(),
    })
}

fn event_header(row: &Row<'_>) -> rusqlite::Result<EventHeader> {
    let number = |column| rows::number(row, column).unwrap_or(0);
    let (seq, version) = (Seq(number(0)), Version(number(2)));
    Ok(EventHeader { seq, key: row.get(1)?, version, hash: rows::hash(row, 3).ok() })
}
