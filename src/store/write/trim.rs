//! Bounded history: the oldest events of a document are deleted when they are too old or too many, and the rest still
//! verifies. The last deleted event becomes the *base*: its hash stays in the document's row, and a snapshot there
//! takes the place of everything before.

use rusqlite::{Connection, OptionalExtension};
use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::Result as Told;
use crate::base::ids::Version;
use crate::document::model::Document;
use crate::store::error::{StoreError, WriteResult};
use crate::store::options::HistoryRetention;
use crate::store::read::replay;
use crate::store::rows::{self, DocumentRow, TrimPoint};
use crate::store::tables::{self, Existing};

/// Trims the history of a document of which a snapshot was stored in this transaction. A history that does not verify
/// is left as it is, with a warning: that must not stop new changes.
pub(crate) fn trim(conn: &Connection, history: HistoryRetention, snapshot: &Document, now: Timestamp) -> WriteResult {
    conn.prepare_cached("SAVEPOINT trim")?.execute([])?;
    let bound = TrimBound { upto: snapshot.version, events: u64::MAX };
    match trim_document(conn, history, snapshot.meta.key, bound, now) {
        Ok(_) => {}
        Err(failure) if failure.is_damage() && !conn.is_autocommit() => {
            let reason = failure.into_error();
            warn!(document = %snapshot.meta.name, %reason, "its history is not trimmed");
            conn.prepare_cached("ROLLBACK TO trim")?.execute([])?;
        }
        Err(failure) => return Err(failure.into()),
    }
    conn.prepare_cached("RELEASE trim")?.execute([])?;
    Ok(())
}

/// What a cut may take at the most.
#[derive(Clone, Copy)]
struct TrimBound {
    /// Nothing after this version.
    upto: Version,
    events: u64,
}

/// Returns how many events went.
fn trim_document(
    conn: &Connection,
    history: HistoryRetention,
    key: i64,
    bound: TrimBound,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let Some(row) = rows::document_by_key(conn, key)? else { return Ok(0) };
    let Some(head) = rows::head_version(conn, key)? else { return Ok(0) };
    let by_count = Version(head.0.saturating_sub(history.events_max));
    let by_age = last_version_before(conn, &row, now.minus(history.kept), head)?;
    let before_head = Version(head.0.saturating_sub(1));
    let at_most = Version(row.base.version.0.saturating_add(bound.events));
    let cut = by_count.max(by_age).min(bound.upto).min(before_head).min(at_most);
    if cut <= row.base.version {
        return Ok(0);
    }
    drop_before(conn, &row, cut)?;
    Ok(cut.0 - row.base.version.0)
}

/// Lets a document's kept history begin after `cut`, which lies after its base and before its newest version.
fn drop_before(conn: &Connection, row: &DocumentRow, cut: Version) -> Result<(), StoreError> {
    let base = replay::restore(conn, row, Some(cut))?.document;
    tables::insert_snapshot(conn, &base, Existing::Keep)?;
    tables::update_base(conn, row.meta.key, TrimPoint { version: cut, seq: base.seq, hash: base.hash })?;
    Ok(tables::delete_history_before(conn, row.meta.key, cut)?)
}

/// Trims the history of a document by at most `events_max` events, whether or not a snapshot was stored lately. For a
/// feature's rows. Returns how many events went; 0: it keeps what it may. Error: `Damaged`: it is left as it is.
pub(crate) fn trim_some(
    conn: &Connection,
    history: HistoryRetention,
    key: i64,
    events_max: u64,
    now: Timestamp,
) -> Told<u64> {
    let bound = TrimBound { upto: Version(u64::MAX), events: events_max };
    trim_document(conn, history, key, bound, now).map_err(StoreError::into_error)
}

/// What a look at the documents' histories found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overdue {
    /// How many documents were examined at.
    pub examined: usize,
    /// The key of the last of them.
    pub last: Option<i64>,
    /// The keys of those that keep more history than they may.
    pub overdue: Vec<i64>,
}

/// Looks at the `limit` documents after the one with the key `after`, in the order of keys.
pub(crate) fn overdue(
    conn: &Connection,
    history: HistoryRetention,
    after: i64,
    limit: usize,
    now: Timestamp,
) -> Told<Overdue> {
    let sql = "SELECT d.key, d.base_version, (SELECT max(version) FROM events WHERE document = d.key),
                 (SELECT at FROM events WHERE document = d.key AND version = d.base_version + 1)
               FROM documents d WHERE d.key > ?1 ORDER BY d.key LIMIT ?2";
    let read = || -> Result<_, StoreError> {
        let mut found = Overdue::default();
        let oldest_kept = now.minus(history.kept).to_string();
        let mut statement = conn.prepare_cached(sql)?;
        let mut documents = statement.query((after, rows::count(limit)))?;
        while let Some(row) = documents.next()? {
            let (key, base, head): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let oldest: Option<String> = row.get(3)?;
            let kept = u64::try_from(head.unwrap_or(0).saturating_sub(base)).unwrap_or(0);
            // The newest stays, however old.
            let old = kept > 1 && oldest.is_some_and(|at| at < oldest_kept);
            if old || kept > history.events_max.max(1) {
                found.overdue.push(key);
            }
            found.last = Some(key);
            found.examined += 1;
        }
        Ok(found)
    };
    read().map_err(StoreError::into_error)
}

/// Drops all history of a document but its newest event, and all snapshots but the one which that is applied to. What
/// is left is read back before this returns. For the transaction that `conn` is in: to be taken back when it fails.
/// Error: `Damaged`.
pub(crate) fn compact(conn: &Connection, key: i64) -> crate::base::error::Result<()> {
    merge_base(conn, key).map_err(StoreError::into_error)
}

fn merge_base(conn: &Connection, key: i64) -> Result<(), StoreError> {
    let (Some(row), Some(head)) = (rows::document_by_key(conn, key)?, rows::head_version(conn, key)?) else {
        return Ok(());
    };
    let cut = Version(head.0.saturating_sub(1));
    if cut > row.base.version {
        drop_before(conn, &row, cut)?;
    }
    conn.prepare_cached("DELETE FROM snapshots WHERE document = ?1 AND version > ?2")?
        .execute((key, rows::int(cut.0)))?;
    let Some(row) = rows::document_by_key(conn, key)? else { return Ok(()) };
    replay::restore(conn, &row, None)?;
    Ok(())
}

/// The last of the oldest events that are all before `limit`. Reads those and one more.
fn last_version_before(
    conn: &Connection,
    row: &DocumentRow,
    limit: Timestamp,
    head: Version,
) -> Result<Version, StoreError> {
    // Times have one form and one length, so text compares as time.
    let sql = "SELECT version FROM events WHERE document = ?1 AND version > ?2 AND at >= ?3 ORDER BY version LIMIT 1";
    let mut statement = conn.prepare_cached(sql)?;
    let parameters = (row.meta.key, rows::int(row.base.version.0), limit.to_string());
    let first_kept = statement.query_row(parameters, |found| rows::version(found, 0)).optional()?;
    Ok(first_kept.map_or(head, |version| Version(version.0.saturating_sub(1))))
}
