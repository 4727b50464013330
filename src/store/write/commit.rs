//! The transaction that stores a batch, and the order of what is in it.

use std::time::Instant;

use rusqlite::{Connection, ErrorCode};

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::store::error::{WriteError, WriteResult};
use crate::store::options::HistoryRetention;
use crate::store::rows::TrimPoint;
use crate::store::tables::{self, Existing};
use crate::store::write::batch::{Batch, CommitTimes, Rows};
use crate::store::write::{keys, purge, repair, trim};

/// `removes`: whether `now` may decide that something is removed.
pub(crate) fn write_batch(
    conn: &Connection,
    batch: &Batch,
    rows: &mut dyn Iterator<Item = &mut dyn Rows>,
    (history, removes): (HistoryRetention, bool),
    now: Timestamp,
) -> WriteResult<CommitTimes> {
    let started = Instant::now();
    match conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            return Err(WriteError::locked(error));
        }
        begun => begun?,
    };
    batch.repairs.iter().try_for_each(|repair| repair::repair(conn, repair))?;
    for (key, version) in &batch.overwrites {
        tables::delete_history_after(conn, *key, *version)?;
    }
    // Before anything is added, so that they make room for it; and after, since what was added may go, too.
    for going in &batch.purges {
        purge::purge(conn, going)?;
    }
    tables::insert_documents(conn, &batch.documents)?;
    tables::insert_events(conn, &batch.events)?;
    tables::update_access(conn, &batch.events)?;
    for base in &batch.bases {
        tables::insert_snapshot(conn, base, Existing::Replace)?;
        tables::write_access(conn, &base.meta)?;
        let moved = TrimPoint { version: base.version, seq: base.seq, hash: base.hash };
        tables::update_base(conn, base.meta.key, moved)?;
        // There when the document was here before, and was trimmed elsewhere meanwhile.
        tables::delete_history_before(conn, base.meta.key, base.version)?;
    }
    for snapshot in &batch.snapshots {
        tables::insert_snapshot(conn, &snapshot.document, Existing::Replace)?;
        if let Some(version) = snapshot.replaces {
            tables::delete_snapshot(conn, snapshot.document.meta.key, version)?;
        }
    }
    for going in &batch.purges {
        purge::purge(conn, going)?;
    }
    keys::insert(conn, &batch.keys)?;
    let mut adds_keys = !batch.keys.is_empty();
    for rows in rows {
        // They may keep answers of their own.
        adds_keys = true;
        in_savepoint(conn, |conn| rows.write(conn, now))?;
    }
    if adds_keys && removes {
        keys::forget_expired(conn, now)?;
    }
    // After the rows, in whatever order both were asked for: those that go with a deleted document are gone before rows
    // come for one of the same name, and those that set a feature's own count back come before what is added to it.
    batch.companions.iter().try_for_each(|companion| companion.run(conn, now))?;
    // Last: trimming looks at the newest version, which this batch may hold.
    for snapshot in batch.snapshots.iter().filter(|snapshot| snapshot.trim && removes) {
        trim::trim(conn, history, &snapshot.document, now)?;
    }
    let write = started.elapsed();
    conn.prepare_cached("COMMIT")?.execute([])?;
    Ok(CommitTimes { write, sync: started.elapsed().saturating_sub(write) })
}

/// Runs a feature's writes so that their failure is theirs alone. A failure that took the whole transaction along (a
/// full disk) is everybody's.
fn in_savepoint(conn: &Connection, write: impl FnOnce(&Connection) -> Result<()>) -> WriteResult {
    conn.prepare_cached("SAVEPOINT rows")?.execute([])?;
    if let Err(error) = write(conn) {
        if conn.is_autocommit() {
            return Err(WriteError::other(error));
        }
        conn.prepare_cached("ROLLBACK TO rows")?.execute([])?;
    }
    conn.prepare_cached("RELEASE rows")?.execute([])?;
    Ok(())
}
