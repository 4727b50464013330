//! Repairing a file that no server has open: a document that does not verify goes back to its newest version that does,
//! or becomes a tombstone where there is none. The files are copied first, byte for byte.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};
use serde_json::json;

use super::check::integrity;
use super::document::{DamagedDocument, assess_document};
use super::open::{failed, format_of, open_to_read};
use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentName, Seq, UserId, Version};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::event::{Content, Event};
use crate::document::model::{Document, Meta};
use crate::document::patch;
use crate::document::visibility::OWNER;
use crate::store::connection::{configure, connect};
use crate::store::error::{OpenError, StoreError, ignore_damage};
use crate::store::integrity::adopt;
use crate::store::integrity::tables::install_triggers;
use crate::store::options::{FILE_NAME, Synchronous};
use crate::store::read::log;
use crate::store::rows::{self, LogHead, TrimPoint};
use crate::store::server_lock::DirectoryLock;
use crate::store::tables::{self, Existing, FORMAT};
use crate::store::wal;
use crate::store::write::checkpoint::{Checkpoint, checkpoint};
use crate::store::write::proven_history;
use crate::store::write::repair::{DocumentRepair, repair};

/// What was done about a damaged document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepairOutcome {
    /// It ends at this version now; it had ended at `lost`.
    Cut { version: Version, lost: Version },
    /// Its newest version is the same; what is kept of its history begins with this version.
    HistoryCut { first: Version },
    /// All of it is gone but its name and its last version and hash: it is deleted at the version after that.
    Tombstone { last: Version },
    /// It had no name, and its rows are gone.
    Removed,
    /// It is whole: only rows beside its history were damaged.
    Whole,
}

/// A file under repair. Holds the lock of its directory.
pub(crate) struct FileRepair {
    path: PathBuf,
    conn: Connection,
    lock: Option<DirectoryLock>,
    /// Where the files are as they were.
    pub copied_to: PathBuf,
}

impl FileRepair {
    /// Copies the database at `path` and its WAL into a new folder beside it, and opens it. Errors: `Locked` while a
    /// server has it; the copy cannot be made.
    pub(crate) fn begin(path: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let lock = DirectoryLock::take_for(path)?;
        let other = |source: io::Error| OpenError::Other { path: path.to_owned(), source: source.into() };
        check_format(path)?;
        let copied_to = copy_files(path, now).map_err(other)?;
        let open = || -> rusqlite::Result<Connection> {
            let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            match path.file_name().is_some_and(|name| name == FILE_NAME) {
                true => configure(&conn, Synchronous::Full, 0)?,
                false => conn.pragma_update(None, "synchronous", "FULL")?,
            }
            match adopt::use_existing(&conn, &[path])? {
                Some(_) => install_triggers(&conn)?,
                None => adopt::forget_key(&conn)?,
            }
            Ok(conn)
        };
        let conn = open().map_err(|error| failed(path, error.into()))?;
        Ok(Self { path: path.to_owned(), conn, lock, copied_to })
    }

    /// Makes the indexes anew when SQLite finds something wrong. Returns whether it is content now.
    pub(crate) fn rebuild_indexes(&mut self) -> Result<bool, OpenError> {
        let rebuild = |conn: &Connection| -> Result<bool, StoreError> {
            if integrity(conn)?.is_empty() {
                return Ok(true);
            }
            conn.execute_batch("REINDEX")?;
            Ok(integrity(conn)?.is_empty())
        };
        match rebuild(&self.conn) {
            Err(failure) if failure.is_damage() => Ok(false),
            rebuilt => rebuilt.map_err(|error| failed(&self.path, error)),
        }
    }

    /// Repairs one document, in a transaction of its own. `None`: it could not be.
    pub(crate) fn repair(
        &mut self,
        damaged: &DamagedDocument,
        now: Timestamp,
    ) -> Result<Option<RepairOutcome>, OpenError> {
        match repair_document(&mut self.conn, damaged, now) {
            Ok(repaired) => Ok(Some(repaired)),
            Err(failure) if failure.is_damage() || refers_to_it(&failure) => Ok(None),
            Err(failure) => Err(failed(&self.path, failure)),
        }
    }

    /// Moves the WAL into the database, and notes where its log ends now.
    pub(crate) fn finish(self) -> Result<(), OpenError> {
        let finish = || -> Result<LogHead, StoreError> {
            let head = log::head(&self.conn)?;
            if self.lock.is_some() {
                checkpoint(&self.conn, Checkpoint::Truncate)?;
            }
            Ok(head)
        };
        let head = finish().map_err(|error| failed(&self.path, error))?;
        match self.lock.as_ref().map(|lock| lock.note(head)) {
            Some(Err(source)) => Err(OpenError::Other { path: self.path.clone(), source: source.into() }),
            _ => Ok(()),
        }
    }
}

/// Whether rows of features refer to what would be removed.
fn refers_to_it(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation))
}

/// What is repaired is written as this format has it.
fn check_format(path: &Path) -> Result<(), OpenError> {
    let found = format_of(&open_to_read(path)?).map_err(|error| failed(path, error.into()))?;
    match found < FORMAT {
        true => Err(OpenError::Older { path: path.to_owned(), found, known: FORMAT }),
        false => Ok(()),
    }
}

fn copy_files(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = parent.join(format!("before-repair-{}", now.to_string().replace([':', '.'], "-")));
    DirBuilder::new().mode(0o700).create(&folder)?;
    for file in [path.to_owned(), wal::path_of(path)] {
        let mut from = match File::open(&file) {
            Ok(from) => from,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let to = folder.join(file.file_name().unwrap_or_default());
        let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
        io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).inspect_err(|_| {
            // Half a copy is none.
            let _ = fs::remove_dir_all(&folder);
        })?;
    }
    File::open(&folder)?.sync_all()?;
    File::open(parent)?.sync_all()?;
    Ok(folder)
}

fn repair_document(
    conn: &mut Connection,
    damaged: &DamagedDocument,
    now: Timestamp,
) -> Result<RepairOutcome, StoreError> {
    let key = damaged.key;
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let end = newest(&transaction, key)?;
    let repaired = match DocumentName::parse(&damaged.name) {
        Err(_) => {
            repair(&transaction, &DocumentRepair::Remove(key))?;
            RepairOutcome::Removed
        }
        Ok(name) => match truncate_document(&transaction, &name, damaged, end)? {
            Some(repaired) => repaired,
            None => make_tombstone(&transaction, &name, key, end, now)?,
        },
    };
    // What was written is read back before it counts.
    if let Some(judged) = assess_document(&transaction, key)?
        && let Some(still) = judged.damage
    {
        return Err(crate::store::error::damaged(
            &DocumentName::parse(&still.name)?,
            still.version,
            still.last_good,
            &still.what,
        )
        .into());
    }
    transaction.commit()?;
    Ok(repaired)
}

/// The newest event of a document that can be read, without what it says: its base when there is none.
fn newest(conn: &Connection, key: i64) -> Result<TrimPoint, StoreError> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(TrimPoint { version: rows::version(row, 0)?, seq: rows::seq(row, 1)?, hash: rows::hash(row, 2)? })
    };
    for sql in [
        "SELECT version, seq, hash FROM events WHERE document = ?1 AND length(hash) = 64
         AND hash NOT GLOB '*[^0-9a-f]*' ORDER BY version DESC LIMIT 1",
        "SELECT version, seq, hash FROM snapshots WHERE document = ?1 ORDER BY version DESC LIMIT 1",
        "SELECT base_version, base_seq, base_hash FROM documents WHERE key = ?1",
    ] {
        let found = conn.query_row(sql, [key], read).optional().map_err(StoreError::from).or_else(ignore_damage)?;
        if let Some(base) = found {
            return Ok(base);
        }
    }
    Ok(TrimPoint { version: Version::ZERO, seq: Seq::ZERO, hash: Hash::ZERO })
}

/// Puts a document back to its newest good version, with as much of its history as can be proved. `None`: there is no
/// such version.
fn truncate_document(
    conn: &Connection,
    name: &DocumentName,
    damaged: &DamagedDocument,
    end: TrimPoint,
) -> Result<Option<RepairOutcome>, StoreError> {
    // A snapshot that is not what was stored hides versions that the events still make.
    if rows::document_by_key(conn, damaged.key).or_else(ignore_damage)?.is_none() {
        return Ok(None);
    }
    for version in [Some(end.version), damaged.last_good].into_iter().flatten() {
        let Some(hash) = hash_of(conn, damaged.key, version)? else { continue };
        let Some((document, history)) = proven_history::rebuild(conn, (name, damaged.key), (version, hash))? else {
            continue;
        };
        let first = history.first_version();
        let rewrite = DocumentRepair::Rewrite { document: Arc::new(document), history: Some(history), next_hash: None };
        repair(conn, &rewrite)?;
        let kept_before = first <= damaged.version || damaged.version == Version::ZERO;
        return Ok(Some(match version == end.version {
            true if kept_before => RepairOutcome::Whole,
            true => RepairOutcome::HistoryCut { first },
            false => RepairOutcome::Cut { version, lost: end.version },
        }));
    }
    Ok(None)
}

fn hash_of(conn: &Connection, key: i64, version: Version) -> Result<Option<Hash>, StoreError> {
    let sql = "SELECT hash FROM events WHERE document = ?1 AND version = ?2";
    let found = conn.query_row(sql, (key, rows::int(version.0)), |row| rows::hash(row, 0)).optional();
    found.map_err(StoreError::from).or_else(ignore_damage)
}

/// Replaces all that is kept of a document by one event that deletes it, chained to its last version and hash.
fn make_tombstone(
    conn: &Connection,
    name: &DocumentName,
    key: i64,
    last: TrimPoint,
    now: Timestamp,
) -> Result<RepairOutcome, StoreError> {
    let meta = match rows::document_by_key(conn, key).or_else(ignore_damage)? {
        Some(row) => row.meta,
        None => Arc::new(Meta {
            key,
            name: name.clone(),
            host: None,
            access: Access::default(),
            access_seq: Seq::ZERO,
            created_at: now,
            volatile: false,
        }),
    };
    let seq = log::head(conn)?.seq.max(last.seq).next();
    let change = patch::diff(Some(&json!({})), None, 0)?;
    let (actor, payload) = (UserId::new(OWNER)?, json!({}));
    let content = Content {
        kind: "repair",
        actor: &actor,
        at: now,
        payload: &payload,
        change: &change,
        records_access: false,
        salt: [0; 16],
    };
    let event = Arc::new(Event::new(seq, Arc::clone(&meta), last.version.next(), last.hash, &content)?);
    let TrimPoint { version, seq: last_seq, hash } = last;
    let base = Document { meta: Arc::clone(&meta), version, hash, seq: last_seq, updated_at: now, state: None };
    repair(conn, &DocumentRepair::Rewrite { document: Arc::new(base), history: None, next_hash: None })?;
    conn.execute("DELETE FROM snapshots WHERE document = ?1", [key])?;
    tables::insert_events(conn, std::slice::from_ref(&event))?;
    let tombstone = Document { meta, version: event.version, hash: event.hash, seq, updated_at: now, state: None };
    tables::insert_snapshot(conn, &tombstone, Existing::Replace)?;
    Ok(RepairOutcome::Tombstone { last: version })
}
