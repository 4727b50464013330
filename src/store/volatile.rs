//! What is on disk about documents that are not: in which places of the log earlier runs had some. A position among
//! those may be of someone who saw what is gone now.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::error::StoreError;
use super::rows;
use crate::base::ids::{Collection, Seq};
use crate::store::read::log;

/// Where in the log documents of a collection lived in memory only, in runs that are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolatileRange {
    pub collection: Collection,
    /// Events up to here are from before the first of them.
    pub after: Seq,
    /// Every event from here on is of this run.
    pub until: Seq,
}

impl VolatileRange {
    /// Whether the event `seq` may have been told to someone who had been told of such documents.
    pub fn covers(&self, seq: Seq) -> bool {
        self.after < seq && seq <= self.until
    }
}

/// Notes that a run begins in which new documents of `collections` live in memory only. Returns what earlier runs left.
pub(crate) fn begin_run(
    conn: &Connection,
    collections: &BTreeSet<Collection>,
) -> Result<Vec<VolatileRange>, StoreError> {
    let head = rows::int(log::head(conn)?.seq.0);
    // Most servers never have any: they write nothing here.
    let known: bool = conn.query_row("SELECT EXISTS (SELECT 1 FROM volatile_collections)", [], |row| row.get(0))?;
    if !known && collections.is_empty() {
        return Ok(Vec::new());
    }
    let transaction = conn.unchecked_transaction()?;
    conn.execute("UPDATE volatile_collections SET until = ?1 WHERE until IS NULL", [head])?;
    let vanished = read(conn, head)?;
    let sql = "INSERT INTO volatile_collections (collection, after, until) VALUES (?1, ?2, NULL)
               ON CONFLICT (collection) DO UPDATE SET until = NULL";
    for collection in collections {
        conn.execute(sql, (collection.as_str(), head))?;
    }
    transaction.commit()?;
    Ok(vanished)
}

/// What earlier runs left, where it cannot be noted that another begins.
pub(crate) fn left_by_earlier_runs(conn: &Connection) -> Result<Vec<VolatileRange>, StoreError> {
    read(conn, rows::int(log::head(conn)?.seq.0))
}

/// `head`: the end of the range of a run that has not ended.
fn read(conn: &Connection, head: i64) -> Result<Vec<VolatileRange>, StoreError> {
    let mut statement = conn.prepare("SELECT collection, after, coalesce(until, ?1) FROM volatile_collections")?;
    let mut found = statement.query([head])?;
    let mut vanished = Vec::new();
    while let Some(row) = found.next()? {
        let name: String = row.get(0)?;
        vanished.push(VolatileRange {
            collection: Collection::new(&name)?,
            after: rows::seq(row, 1)?,
            until: rows::seq(row, 2)?,
        });
    }
    Ok(vanished)
}
