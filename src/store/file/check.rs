//! Verifying a whole file without changing it: every event against its chain and what it makes of its document, every
//! snapshot against its event and that state, and SQLite's own check. Beside a running server too: each document is
//! read in a transaction of its own, so that the WAL is held for no longer than the largest document and SQLite's check
//! take.
//!
//! Memory does not grow with the file: some documents at a time, one for each thread.

use std::fs::{self, File};
use std::num::NonZero;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::document::{DamagedDocument, assess_document};
use super::open::{failed, format_of, open_to_read};
use super::upgraded_copy::UpgradedCopy;
use crate::base::clock::Timestamp;
use crate::base::ids::{Seq, Version};
use crate::store::error::{OpenError, StoreError, is_damage};
use crate::store::integrity::adopt;
use crate::store::integrity::changed_row::RowName;
use crate::store::integrity::key::IntegrityKey;
use crate::store::integrity::rows::{self as integrity_rows, compared_tables};
use crate::store::options::{FILE_NAME, INTEGRITY_KEY_NAME, LOCK_NAME};
use crate::store::read::inspect::ReadTransaction;
use crate::store::read::log;
use crate::store::recovery::{self, CommitNote};
use crate::store::rows::{self, LogHead};
use crate::store::wal;

/// Documents that a thread takes at a time.
const PAGE: i64 = 64;
/// Threads that read documents, at the most; SQLite's own check has one more.
const THREADS_MAX: usize = 4;
/// What waits to be told. A thread that is ahead of the one that tells waits.
const MESSAGES_MAX: usize = 256;
/// Lines of SQLite's own check, and rows without an owner, that are told.
const FINDINGS_MAX: usize = 100;
/// Rows of features that are read at a time.
const ROWS_AT_ONCE: usize = 500;
/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckProgress {
    pub documents: u64,
    /// As many as there were at the beginning.
    pub documents_total: u64,
    /// Bytes of the rows that were read.
    pub bytes: u64,
}

/// Something that does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileDefect {
    Document(DamagedDocument),
    /// Not of one document: what SQLite's own check says, rows that belong to nothing.
    File(String),
    /// A row of a feature that is not as a server wrote it, by its name.
    Row(RowName),
}

/// What a check came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckReport {
    pub progress: CheckProgress,
    /// How often `tell` was called.
    pub findings: u64,
    /// How many of them are rows of features.
    pub rows: u64,
    /// What is missing that a server had stored here; `None`: nothing, or a server has the file open and knows.
    pub loss: Option<String>,
    /// Why it was not looked for rows that somebody else wrote; `None`: it was.
    pub unproven: Option<String>,
}

/// Whether a server has the file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileUse {
    ByServer,
    Unused,
}

enum Message {
    Finding(FileDefect),
    Read { documents: u64, bytes: u64 },
    Failed(StoreError),
}

/// Files of earlier formats are read as they would be after a start: their tables lack columns that are read here.
const FORMAT_READ_MIN: i64 = 4;

/// Checks the database at `path`. `beside`: databases of which one may have its key. `tell` is called for each thing
/// that does not add up, `show` now and then. Errors: it is not ours, of a newer release, or cannot be read.
pub(crate) fn check_file(
    path: &Path,
    beside: &[&Path],
    file_use: FileUse,
    tell: impl FnMut(FileDefect),
    show: impl FnMut(CheckProgress),
) -> Result<CheckReport, OpenError> {
    let _files = CreatedFiles::record_created(path, file_use);
    let conn = open_to_read(path)?;
    let loss = loss(&conn, path, file_use).map_err(|error| failed(path, error))?;
    let format = format_of(&conn).map_err(|error| failed(path, error.into()))?;
    drop(conn);
    if format >= FORMAT_READ_MIN {
        return Ok(CheckReport { loss, ..check_content(path, beside, tell, show)? });
    }
    let upgraded = UpgradedCopy::of(path)?;
    let report = check_content(&upgraded.path(), &[&upgraded.path()], tell, show)?;
    let unproven = format!("it has format {format}, without MACs: rows that somebody else wrote are not found");
    Ok(CheckReport { loss, unproven: Some(unproven), ..report })
}

/// What does not add up within a file.
fn check_content(
    path: &Path,
    beside: &[&Path],
    mut tell: impl FnMut(FileDefect),
    mut show: impl FnMut(CheckProgress),
) -> Result<CheckReport, OpenError> {
    let fail = |source: StoreError| failed(path, source);
    let open = || open_with_key(path, beside);
    let (conn, key) = open()?;
    let count = "SELECT count(*) FROM documents";
    let total =
        conn.query_row(count, [], |row| rows::number(row, 0)).or_else(zero_on_damage).map_err(|e| fail(e.into()))?;
    let unproven = key.is_none().then(|| {
        format!("the key of its MACs, {INTEGRITY_KEY_NAME}, is not there: rows that somebody else wrote are not found")
    });
    let mut report = CheckReport { unproven, ..CheckReport::default() };
    report.progress.documents_total = total;
    let next = Mutex::new(Some(i64::MIN));
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    thread::scope(|scope| {
        let (sender, messages) = sync_channel(MESSAGES_MAX);
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || send_failure(&sender, open(), |conn| check_documents(conn, next, &sender)));
        }
        scope.spawn(move || send_failure(&sender, open(), |conn| check_whole(conn, &sender)));
        let mut failure = None;
        for message in messages {
            match message {
                Message::Finding(finding) => {
                    report.findings += 1;
                    report.rows += u64::from(matches!(finding, FileDefect::Row(_)));
                    tell(finding);
                }
                Message::Read { documents, bytes } => {
                    report.progress.documents += documents;
                    report.progress.bytes += bytes;
                    show(report.progress);
                }
                Message::Failed(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(()), Err)
    })
    .map_err(fail)?;
    Ok(report)
}

/// The same as [`open_to_read`], and the key of its MACs, which the connection then compares.
fn open_with_key(path: &Path, beside: &[&Path]) -> Result<(Connection, Option<IntegrityKey>), OpenError> {
    let conn = open_to_read(path)?;
    let key = adopt::use_existing(&conn, beside).map_err(|error| failed(path, error.into()))?;
    Ok((conn, key))
}

/// The newest event of a file: its seq, and when it was taken up. Error: it cannot be read.
pub(crate) fn newest_event(conn: &Connection) -> crate::base::error::Result<Option<(Seq, Timestamp)>> {
    let sql = "SELECT seq, at FROM events ORDER BY seq DESC LIMIT 1";
    let read = conn.query_row(sql, [], |row| Ok((rows::seq(row, 0)?, rows::time(row, 1)?)));
    read.optional().map_err(|error| StoreError::Sql(error).into_error())
}

/// What is missing of what a server had stored, as a start would find it.
fn loss(conn: &Connection, path: &Path, file_use: FileUse) -> Result<Option<String>, StoreError> {
    if file_use == FileUse::ByServer {
        return Ok(None);
    }
    let damage = wal::find_damage(&wal::path_of(path)).map_err(crate::base::error::Error::internal)?;
    if let Some(damage) = damage {
        let (offset, frames) = (damage.offset, damage.frames_lost);
        let told = format!("the WAL is damaged at byte {offset}: {frames} sound frames behind that cannot be read");
        return Ok(Some(told));
    }
    let Ok(head) = log::head(conn) else { return Ok(None) };
    Ok(recovery::find_loss(head, noted_head(path), false))
}

/// The end of the log that the last server has noted beside the file.
fn noted_head(path: &Path) -> Option<LogHead> {
    let directory = path.parent().filter(|_| path.file_name().is_some_and(|name| name == FILE_NAME))?;
    CommitNote::new(File::open(directory.join(LOCK_NAME)).ok()?).read()
}

fn send_failure(
    sender: &SyncSender<Message>,
    opened: Result<(Connection, Option<IntegrityKey>), OpenError>,
    check: impl FnOnce(&Connection) -> Result<(), StoreError>,
) {
    // It was opened a moment ago; what fails now is told by whoever opened it first.
    let Ok((conn, _)) = opened else { return };
    if let Err(failure) = check(&conn) {
        let message = match failure {
            failure if failure.is_damage() => Message::Finding(FileDefect::File(failure.into_error().to_string())),
            failure => Message::Failed(failure),
        };
        // The receiver lives as long as there are senders.
        let _ = sender.send(message);
    }
}

/// Takes documents by their keys, in turns with the other threads, until there are no more.
fn check_documents(
    conn: &Connection,
    next: &Mutex<Option<i64>>,
    sender: &SyncSender<Message>,
) -> Result<(), StoreError> {
    loop {
        let keys = {
            let mut next = next.lock();
            let Some(after) = *next else { return Ok(()) };
            let keys = next_keys(conn, after);
            *next = keys.as_ref().ok().and_then(|keys| keys.last().copied());
            keys?
        };
        let (mut documents, mut bytes) = (0, 0);
        for key in keys {
            let transaction = conn.unchecked_transaction()?;
            let Some(judged) = assess_document(&transaction, key)? else { continue };
            documents += 1;
            bytes += judged.bytes;
            if let Some(damage) = judged.damage {
                let _ = sender.send(Message::Finding(FileDefect::Document(damage)));
            }
        }
        let _ = sender.send(Message::Read { documents, bytes });
    }
}

fn next_keys(conn: &Connection, after: i64) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT key FROM documents WHERE key > ?1 ORDER BY key LIMIT ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let keys = statement.query_map((after, PAGE), |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// SQLite's own check, and rows that belong to nothing.
fn check_whole(conn: &Connection, sender: &SyncSender<Message>) -> Result<(), StoreError> {
    let tell = |text: String| drop(sender.send(Message::Finding(FileDefect::File(text))));
    for complaint in integrity(conn)? {
        tell(complaint);
    }
    let transaction = conn.unchecked_transaction()?;
    let moment = ReadTransaction::new(&transaction);
    let (events, snapshots) = moment.orphans(FINDINGS_MAX)?;
    let mut keys: Vec<i64> = events.iter().map(|event| event.key).chain(snapshots).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let name = moment.name_in_events(key)?.unwrap_or_else(|| format!("the document with key {key}"));
        let what = "its row in documents is missing".to_owned();
        let damage = DamagedDocument { key, name, version: Version::ZERO, last_good: None, what };
        let _ = sender.send(Message::Finding(FileDefect::Document(damage)));
    }
    for complaint in orphaned_rows(&transaction)? {
        tell(complaint);
    }
    drop(transaction);
    changed_rows(conn, |row| drop(sender.send(Message::Finding(FileDefect::Row(row)))))
}

/// Tells the rows of features that are not as a server wrote them, at most some of each table.
fn changed_rows(conn: &Connection, mut tell: impl FnMut(RowName)) -> Result<(), StoreError> {
    for table in compared_tables(conn)? {
        let (mut after, mut found) = (None, 0);
        loop {
            let page = integrity_rows::page(conn, &table, after.as_ref(), ROWS_AT_ONCE)?;
            for (_, row) in page.changed.into_iter().take(FINDINGS_MAX - found) {
                tell(row.name);
                found += 1;
            }
            after = page.last;
            if after.is_none() || found == FINDINGS_MAX {
                break;
            }
        }
    }
    Ok(())
}

/// What SQLite says of the structure of the file; empty: nothing is wrong.
pub(super) fn integrity(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare(&format!("PRAGMA integrity_check({FINDINGS_MAX})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").map(|line| line.replace('\n', "; ")).collect())
}

/// Rows of features that refer to what is not there. Those of events and snapshots are told with their documents.
fn orphaned_rows(conn: &Connection) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT \"table\", parent, count(*) FROM pragma_foreign_key_check
               WHERE \"table\" NOT IN ('events', 'snapshots') GROUP BY 1, 2";
    let mut statement = conn.prepare(sql)?;
    let complaints = statement.query_map([], |row| {
        let (table, parent, count): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!("rows of {table} refer to nothing in {parent}: {count}"))
    })?;
    Ok(complaints.collect::<rusqlite::Result<_>>()?)
}

fn zero_on_damage(error: rusqlite::Error) -> rusqlite::Result<u64> {
    if is_damage(&error) { Ok(0) } else { Err(error) }
}

/// The WAL and its index that SQLite makes for a reader, and would leave: a start takes a file without a WAL for a copy
/// that lacks it. Removed at the end if they were not there before.
struct CreatedFiles<'a> {
    path: &'a Path,
    remove: bool,
}

impl<'a> CreatedFiles<'a> {
    fn record_created(path: &'a Path, file_use: FileUse) -> Self {
        Self { path, remove: file_use == FileUse::Unused && !wal::path_of(path).exists() }
    }
}

impl Drop for CreatedFiles<'_> {
    fn drop(&mut self) {
        let wal = wal::path_of(self.path);
        let empty = fs::metadata(&wal).is_ok_and(|metadata| metadata.len() == 0);
        if self.remove && empty {
            let _ = fs::remove_file(&wal);
            let mut index = self.path.as_os_str().to_owned();
            index.push("-shm");
            let _ = fs::remove_file(index);
        }
    }
}
