//! What the front page tells of the database.

use crate::base::error::Result;
use crate::store::{Connection, sql_error};

/// Most collections that are listed.
const COLLECTIONS_MAX: i64 = 100;
/// Most documents of a collection that are counted, so that looking does not take longer the more there are.
pub(super) const DOCUMENTS_COUNTED_MAX: u64 = 1000;

/// Each collection, by name, and how many of its documents on disk are not deleted, of the first
/// [`DOCUMENTS_COUNTED_MAX`] and one.
pub(super) fn collection_counts(conn: &Connection) -> Result<Vec<(String, u64)>> {
    // Each step finds the next name by the index.
    let sql = "WITH RECURSIVE names (collection) AS (
                   SELECT min(collection) FROM documents
                   UNION ALL
                   SELECT (SELECT min(d.collection) FROM documents d WHERE d.collection > names.collection)
                   FROM names WHERE names.collection IS NOT NULL
               )
               SELECT collection, (
                   SELECT count(*) FROM (SELECT key FROM documents d WHERE d.collection = names.collection LIMIT ?2) d
                   WHERE (SELECT deletes FROM events e WHERE e.document = d.key ORDER BY version DESC LIMIT 1) = 0
               ) FROM names WHERE collection IS NOT NULL LIMIT ?1";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let counted = i64::try_from(DOCUMENTS_COUNTED_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let found = statement.query_map((COLLECTIONS_MAX, counted), |row| {
        Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0)))
    });
    found.map_err(sql_error)?.collect::<rusqlite::Result<_>>().map_err(sql_error)
}
