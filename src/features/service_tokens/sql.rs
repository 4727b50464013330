//! The table of service tokens. What writes runs on the engine's thread, in its transaction.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use super::rules::{ServiceToken, TokenAccess};
use crate::base::clock::Timestamp;
use crate::base::display_name::DisplayName;
use crate::base::error::{Error, Result};
use crate::base::ids::SessionId;
use crate::base::secret::SecretHash;
use crate::store::rows::{json, optional, parsed, time};
use crate::store::sql_error;

/// Stores a token under its hash.
pub(super) fn save(conn: &Connection, hash: &SecretHash, token: &ServiceToken) -> Result<()> {
    let sql = "INSERT INTO service_tokens (id, hash, name, access, extent, created_by, created_at, last_used_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let extent = token.extent.as_ref().map(serde_json::to_string).transpose().map_err(Error::internal)?;
    let values = (
        token.id.as_str(),
        hash.to_string(),
        token.name.as_str(),
        token.access.as_str(),
        extent,
        &token.created_by,
        token.created_at.to_string(),
        token.last_used_at.map(|at| at.to_string()),
    );
    conn.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).map(drop).map_err(sql_error)
}

/// The columns of [`token`], in the order of the table.
const COLUMNS: &str = "id, hash, name, access, extent, created_by, created_at, last_used_at";

/// All tokens, but for those that somebody else has written or changed: nobody is let in by one.
pub(super) fn all(conn: &Connection) -> Result<Vec<(SecretHash, ServiceToken)>> {
    let sql = format!("SELECT {COLUMNS} FROM service_tokens WHERE mac_matches(mac, 'service_tokens', {COLUMNS})");
    let read = || conn.prepare_cached(&sql)?.query_map([], token)?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

fn token(row: &Row<'_>) -> rusqlite::Result<(SecretHash, ServiceToken)> {
    let token = ServiceToken {
        id: parsed(row, 0, |text| SessionId::new(text).ok())?,
        name: parsed(row, 2, |text| DisplayName::new("name", text).ok())?,
        access: parsed(row, 3, TokenAccess::parse)?,
        extent: optional(row, 4, json)?,
        created_by: row.get(5)?,
        created_at: time(row, 6)?,
        last_used_at: optional(row, 7, time)?,
    };
    Ok((parsed(row, 1, SecretHash::parse)?, token))
}

/// Notes when a token was last used.
pub(super) fn save_use(conn: &Connection, id: &SessionId, used: Timestamp) -> Result<()> {
    let sql = "UPDATE service_tokens SET last_used_at = ?2 WHERE id = ?1";
    let values = (id.as_str(), used.to_string());
    conn.prepare_cached(sql).and_then(|mut update| update.execute(values)).map(drop).map_err(sql_error)
}

/// Removes a token. One that is not there is removed already.
pub(super) fn remove(conn: &Connection, id: &SessionId) -> Result<()> {
    remove_row(conn, id.as_str())
}

/// The same by what stands in the column, which may be no id.
pub(super) fn remove_row(conn: &Connection, id: &str) -> Result<()> {
    let sql = "DELETE FROM service_tokens WHERE id = ?1";
    conn.prepare_cached(sql).and_then(|mut delete| delete.execute([id])).map(drop).map_err(sql_error)
}

/// Ends the tokens of a restored database that the one in whose place it comes does not have any more; all when that
/// cannot be read. Returns how many.
pub(crate) fn end_as_in(restored: &Connection, replaced: Option<&Connection>) -> Result<usize> {
    let ids = |conn: &Connection| -> Result<Vec<String>> {
        let read = || {
            // A file of an older release has no such table.
            if !conn.table_exists(None, "service_tokens")? {
                return Ok(Vec::new());
            }
            let sql = "SELECT id FROM service_tokens";
            conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(sql_error)
    };
    let kept: BTreeSet<String> = replaced.map(ids).transpose()?.unwrap_or_default().into_iter().collect();
    let mut ended = 0;
    for id in ids(restored)?.into_iter().filter(|id| !kept.contains(id)) {
        ended += restored.execute("DELETE FROM service_tokens WHERE id = ?1", [&id]).map_err(sql_error)?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::base::ids::Collection;
    use crate::features::service_tokens::rules::{NamedExtent, ServiceTokenSecret};
    use crate::store::integrity::key::add_functions;

    fn database(tokens: &[&ServiceToken]) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        add_functions(&conn, None).unwrap();
        conn.execute_batch(include_str!("tables.sql")).unwrap();
        for (seed, token) in (0..).zip(tokens) {
            save(&conn, &ServiceTokenSecret::new(&SeededEntropy::new(seed)).hash(), token).unwrap();
        }
        conn
    }

    fn token(id: &str, extent: Option<NamedExtent>) -> ServiceToken {
        ServiceToken {
            id: SessionId::new(id).unwrap(),
            name: DisplayName::new("name", "Scores of the evening").unwrap(),
            access: TokenAccess::Write,
            extent,
            created_by: "@owner".to_owned(),
            created_at: Timestamp::from_millis(5),
            last_used_at: None,
        }
    }

    #[test]
    fn a_token_saved_is_restored_equal() {
        let collections = vec![Collection::new("games").unwrap()];
        let named = NamedExtent { documents: vec!["notes/n1".to_owned()], collections };
        let (one, two) = (token("t1", Some(named)), token("t2", None));
        let conn = database(&[&one, &two]);
        let stored = |conn: &Connection| all(conn).unwrap().into_iter().map(|(_, token)| token).collect::<Vec<_>>();
        assert_eq!(stored(&conn), [one.clone(), two.clone()]);
        save_use(&conn, &one.id, Timestamp::from_millis(9)).unwrap();
        remove(&conn, &two.id).unwrap();
        assert_eq!(stored(&conn), [ServiceToken { last_used_at: Some(Timestamp::from_millis(9)), ..one }]);
    }

    #[test]
    fn a_backup_brings_no_ended_token_back() {
        let (one, two) = (token("t1", None), token("t2", None));
        let restored = database(&[&one, &two]);
        assert_eq!(end_as_in(&restored, Some(&database(&[&two]))).unwrap(), 1);
        assert_eq!(all(&restored).unwrap().len(), 1);
        assert_eq!(end_as_in(&restored, None).unwrap(), 1);
        let older = Connection::open_in_memory().unwrap();
        assert_eq!(end_as_in(&older, None).unwrap(), 0);
    }
}
