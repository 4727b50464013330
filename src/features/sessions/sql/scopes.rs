//! The table of the documents that sessions reach which reach some documents only.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::base::error::Result;
use crate::base::ids::{DocumentName, SessionId};
use crate::http::providers::ReachedDocument;
use crate::store::sql_error;

/// The columns of the table but its MAC, in order.
const COLUMNS: &str = "session, document, collection, id";

/// Has a session reach these documents. What it reached before stays.
pub(crate) fn add(conn: &Connection, session: &SessionId, documents: &[ReachedDocument]) -> Result<()> {
    let sql = format!("INSERT INTO session_documents ({COLUMNS}) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING");
    for ReachedDocument { name, key } in documents {
        let values = (session.as_str(), key, name.collection.as_str(), name.id.as_str());
        conn.prepare_cached(&sql).and_then(|mut insert| insert.execute(values)).map_err(sql_error)?;
    }
    Ok(())
}

/// What each of those sessions reaches, but for rows that somebody else has written or changed, and for documents that
/// lived in the memory of an earlier run.
pub(crate) fn all(conn: &Connection) -> Result<BTreeMap<String, Vec<ReachedDocument>>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM session_documents
         WHERE document >= 0 AND mac_matches(mac, 'session_documents', {COLUMNS}) ORDER BY session, document"
    );
    let row = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?, row.get::<_, String>(3)?))
    };
    let read = || conn.prepare_cached(&sql)?.query_map([], row)?.collect::<rusqlite::Result<Vec<_>>>();
    let mut found: BTreeMap<String, Vec<ReachedDocument>> = BTreeMap::new();
    for (session, key, collection, id) in read().map_err(sql_error)? {
        let name = DocumentName::new(&collection, &id)?;
        found.entry(session).or_default().push(ReachedDocument { name, key });
    }
    Ok(found)
}

/// A session has ended.
pub(super) fn remove_session(conn: &Connection, session: &str) -> Result<()> {
    let sql = "DELETE FROM session_documents WHERE session = ?1";
    conn.prepare_cached(sql).and_then(|mut delete| delete.execute([session])).map(drop).map_err(sql_error)
}

/// A document is gone.
pub(crate) fn remove_document(conn: &Connection, key: i64) -> Result<()> {
    let sql = "DELETE FROM session_documents WHERE document = ?1";
    conn.prepare_cached(sql).and_then(|mut delete| delete.execute([key])).map(drop).map_err(sql_error)
}

/// Removes what belongs to sessions that are not there any more, or to documents of an earlier run's memory.
pub(crate) fn remove_orphans(conn: &Connection) -> Result<usize> {
    let sql = "DELETE FROM session_documents WHERE session NOT IN (SELECT id FROM sessions)";
    conn.prepare_cached(sql).and_then(|mut delete| delete.execute([])).map_err(sql_error)
}
