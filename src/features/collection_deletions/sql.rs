//! The table of deletions. What writes runs on the engine's thread, in its transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use super::limits::KEPT_MAX;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::Collection;
use crate::store::rows::{int, number, optional, parsed, time};
use crate::store::sql_error;

/// A deletion of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CollectionDeletion {
    pub id: String,
    pub collection: Collection,
    /// `@owner`: the owner of the server.
    pub requested_by: String,
    pub requested_at: Timestamp,
    /// Documents that there were; `None`: not counted yet.
    pub total: Option<u64>,
    /// Documents that are still to be deleted, as of the last page.
    pub remaining: u64,
    /// Documents that could not be deleted.
    pub refused: u64,
    /// Why the first of those could not.
    pub error: Option<String>,
    /// `None`: it goes on.
    pub ended_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, collection, requested_by, requested_at, total, remaining, refused, error, ended_at";

/// Stores a new deletion, or gives the one of the same collection that goes on.
pub(super) fn begin(conn: &Connection, new: &CollectionDeletion) -> Result<CollectionDeletion> {
    let write = || -> rusqlite::Result<CollectionDeletion> {
        let sql = format!("SELECT {COLUMNS} FROM collection_deletions WHERE collection = ?1 AND ended_at IS NULL");
        let running = conn.query_row(&sql, [new.collection.as_str()], deletion).optional()?;
        if let Some(running) = running {
            return Ok(running);
        }
        let sql = "INSERT INTO collection_deletions
                       (id, collection, requested_by, requested_at, total, remaining, refused, error, ended_at)
                   VALUES (?1, ?2, ?3, ?4, NULL, 0, 0, NULL, NULL)";
        let values = (&new.id, new.collection.as_str(), &new.requested_by, new.requested_at.to_string());
        conn.execute(sql, values)?;
        let sql = "DELETE FROM collection_deletions WHERE ended_at IS NOT NULL AND id NOT IN
                       (SELECT id FROM collection_deletions ORDER BY requested_at DESC LIMIT ?1)";
        conn.execute(sql, [KEPT_MAX])?;
        Ok(new.clone())
    };
    write().map_err(sql_error)
}

/// Stores how far one is.
pub(super) fn save(conn: &Connection, deletion: &CollectionDeletion) -> Result<()> {
    let sql = "UPDATE collection_deletions SET total = ?2, remaining = ?3, refused = ?4, error = ?5, ended_at = ?6
               WHERE id = ?1";
    let values = (
        &deletion.id,
        deletion.total.map(int),
        int(deletion.remaining),
        int(deletion.refused),
        &deletion.error,
        deletion.ended_at.map(|at| at.to_string()),
    );
    conn.execute(sql, values).map(drop).map_err(sql_error)
}

/// The oldest that goes on.
pub(super) fn oldest_pending(conn: &Connection) -> Result<Option<CollectionDeletion>> {
    let sql =
        format!("SELECT {COLUMNS} FROM collection_deletions WHERE ended_at IS NULL ORDER BY requested_at, id LIMIT 1");
    conn.query_row(&sql, (), deletion).optional().map_err(sql_error)
}

pub(super) fn find(conn: &Connection, id: &str) -> Result<Option<CollectionDeletion>> {
    let sql = format!("SELECT {COLUMNS} FROM collection_deletions WHERE id = ?1");
    conn.query_row(&sql, [id], deletion).optional().map_err(sql_error)
}

/// All that are kept, newest first.
pub(super) fn all(conn: &Connection) -> Result<Vec<CollectionDeletion>> {
    let sql = format!("SELECT {COLUMNS} FROM collection_deletions ORDER BY requested_at DESC, id DESC");
    let read = || conn.prepare_cached(&sql)?.query_map((), deletion)?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

fn deletion(row: &Row<'_>) -> rusqlite::Result<CollectionDeletion> {
    Ok(CollectionDeletion {
        id: row.get(0)?,
        collection: parsed(row, 1, |text| Collection::new(text).ok())?,
        requested_by: row.get(2)?,
        requested_at: time(row, 3)?,
        total: optional(row, 4, number)?,
        remaining: number(row, 5)?,
        refused: number(row, 6)?,
        error: row.get(7)?,
        ended_at: optional(row, 8, time)?,
    })
}
