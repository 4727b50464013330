//! Verifying everything that is kept of a document, not only what its newest version is made of.

use rusqlite::Connection;
use serde_json::Value;

use crate::base::ids::{DocumentName, Version};
use crate::document::model::Document;
use crate::document::patch;
use crate::store::error::StoreError;
use crate::store::read::replay::{Point, Replay, begins_with_tombstone, replay_events, start};
use crate::store::rows::{self, DocumentRow};

/// A document whose kept history was read and verified.
#[derive(Debug)]
pub struct VerifiedDocument {
    pub document: Document,
    /// The stretches that do not add up, first and last version of each: what is behind them depends on nothing of
    /// them, since an event after each brings the whole state along.
    pub damaged: Vec<(Version, Version)>,
}

/// The newest version of the document called `name`, after all that is kept of it was read: every event against its
/// chain and its effect, every snapshot against its event and against the state that the events make. Damage that lies
/// before an event which brings the whole state along is told of and passed over.
pub(crate) fn verify(conn: &Connection, name: &DocumentName) -> Result<Option<VerifiedDocument>, StoreError> {
    let read = || match rows::find_document(conn, name)? {
        None => Ok(None),
        Some(row) => verify_all(conn, &row).map(Some),
    };
    read().map_err(|failure: StoreError| failure.naming(name))
}

fn verify_all(conn: &Connection, row: &DocumentRow) -> Result<VerifiedDocument, StoreError> {
    let first = match begins_with_tombstone(conn, row)? {
        true => row.base.version.next(),
        false => row.base.version,
    };
    let mut damaged = Vec::new();
    let mut from = start(conn, row, Some(first)).map(|(point, _)| point);
    let mut good = first;
    loop {
        let verified = match from {
            Ok(point) => verify_from(conn, row, point),
            Err(failure) => Err((failure, good)),
        };
        let (failure, last_good) = match verified {
            Ok(document) => return Ok(VerifiedDocument { document, damaged }),
            Err(broken) => broken,
        };
        if !failure.is_damage() {
            return Err(failure);
        }
        let Some(point) = fresh_start(conn, row, last_good)? else { return Err(failure) };
        damaged.push((last_good.next(), Version(point.version.0.saturating_sub(1))));
        good = point.version;
        from = Ok(point);
    }
}

/// Verifies everything after `from`. Error: with the last version before it.
fn verify_from(conn: &Connection, row: &DocumentRow, from: Point) -> Result<Document, (StoreError, Version)> {
    let (begin, mut replay) = (from.version, Replay::new(row, from));
    let checked = (|| {
        let sql = "SELECT version FROM snapshots WHERE document = ?1 AND version > ?2 ORDER BY version DESC";
        let mut statement = conn.prepare_cached(sql)?;
        let found = statement.query_map((row.meta.key, rows::int(begin.0)), |found| rows::version(found, 0))?;
        let mut snapshots = found.collect::<rusqlite::Result<Vec<_>>>()?;
        replay_events(conn, &mut replay, None, |replay| {
            if snapshots.last() == Some(&replay.version) {
                snapshots.pop();
                replay.compare_snapshot(conn)?;
            }
            Ok(())
        })?;
        let head = rows::head_version(conn, row.meta.key)?;
        if replay.version == Version::ZERO || head != Some(replay.version) || !snapshots.is_empty() {
            return Err(replay.damaged(replay.version.next(), "the event is missing").into());
        }
        Ok(())
    })();
    match checked {
        Ok(()) => {
            let version = replay.version;
            replay.finish(begin).map(|loaded| loaded.document).map_err(|error| (error.into(), version))
        }
        Err(failure) => {
            // A snapshot that does not fit its version is told with that; the version before can be read.
            let told = match &failure {
                StoreError::Known(error) => error.details().get("lastGoodVersion").and_then(Value::as_u64).map(Version),
                StoreError::Sql(_) => None,
            };
            Err((failure, told.unwrap_or(replay.version)))
        }
    }
}

/// The first version after `after` whose event brings the whole state along and that has a snapshot of it.
fn fresh_start(conn: &Connection, row: &DocumentRow, after: Version) -> Result<Option<Point>, StoreError> {
    let sql = "SELECT version FROM snapshots WHERE document = ?1 AND version > ?2 ORDER BY version";
    let mut statement = conn.prepare_cached(sql)?;
    let found = statement.query_map((row.meta.key, rows::int(after.0)), |found| rows::version(found, 0))?;
    for version in found.collect::<rusqlite::Result<Vec<_>>>()? {
        match brings_state(conn, row, version) {
            Ok(Some(point)) => return Ok(Some(point)),
            Ok(None) => {}
            Err(failure) if failure.is_damage() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// The snapshot at `version`, if the event there brings that same state along.
fn brings_state(conn: &Connection, row: &DocumentRow, version: Version) -> Result<Option<Point>, StoreError> {
    let sql = rows::select_events("WHERE e.document = ?1 AND e.version = ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut found = statement.query((row.meta.key, rows::int(version.0)))?;
    let Some(event) = found.next()? else { return Ok(None) };
    let operations = rows::EventRows::default().event(event)?.operations()?;
    if operations.len() != 1 || operations.iter().any(|operation| !operation.path().is_empty()) {
        return Ok(None);
    }
    let (point, _) = start(conn, row, Some(version))?;
    let mut brought = None;
    patch::apply(&mut brought, operations)?;
    let stored = point.tree()?;
    Ok((stored == brought).then_some(point))
}
