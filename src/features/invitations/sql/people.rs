//! The tables of those who were asked for a name.

use rusqlite::{CachedStatement, Connection, Params, Row};

use crate::base::clock::Timestamp;
use crate::base::display_name::DisplayName;
use crate::base::error::Result;
use crate::base::ids::UserId;
use crate::store::{rows, sql_error};

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map_err(sql_error)
}

/// Stores what a new user is called.
pub(crate) fn add(conn: &Connection, user: &UserId, name: &DisplayName, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO invited_users (user, name, folded, at) VALUES (?1, ?2, ?3, ?4)";
    execute(conn, sql, (user.as_str(), name.as_str(), name.folded(), now.to_string())).map(drop)
}

/// Notes that a user was invited to these documents.
pub(crate) fn invite(conn: &Connection, user: &UserId, documents: &[i64]) -> Result<()> {
    let sql = "INSERT INTO invited_user_documents (user, document) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    documents.iter().try_for_each(|key| execute(conn, sql, (user.as_str(), key)).map(drop))
}

/// Whether somebody who was invited to one of these documents, other than `except`, has a name that counts as this one.
pub(crate) fn is_taken(conn: &Connection, folded: &str, documents: &[i64], except: Option<&UserId>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM invited_users u JOIN invited_user_documents d ON d.user = u.user
                              WHERE d.document = ?1 AND u.folded = ?2 AND (?3 IS NULL OR u.user <> ?3))";
    for key in documents {
        let values = (key, folded, except.map(UserId::as_str));
        let ask = |mut asked: CachedStatement<'_>| asked.query_row(values, |row| row.get(0));
        if conn.prepare_cached(sql).and_then(ask).map_err(sql_error)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everybody's name.
pub(crate) fn all(conn: &Connection) -> Result<Vec<(UserId, DisplayName)>> {
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let sql = "SELECT user, name FROM invited_users";
    let read = || conn.prepare_cached(sql)?.query_map([], row)?.collect::<rusqlite::Result<Vec<_>>>();
    let named = read().map_err(sql_error)?;
    named.into_iter().map(|(user, name)| Ok((UserId::new(&user)?, DisplayName::new("name", &name)?))).collect()
}

/// A document is gone.
pub(crate) fn remove_document(conn: &Connection, key: i64) -> Result<()> {
    execute(conn, "DELETE FROM invited_user_documents WHERE document = ?1", [key]).map(drop)
}

/// Forgets those who came before `before` and were invited to nothing that is still there. Returns who they are.
pub(crate) fn trim(conn: &Connection, before: Timestamp) -> Result<Vec<UserId>> {
    let sql = "DELETE FROM invited_users WHERE at < ?1 AND user NOT IN (SELECT user FROM invited_user_documents)
               RETURNING user";
    let read = || {
        let mut delete = conn.prepare_cached(sql)?;
        let forgotten = delete.query_map([before.to_string()], |row| rows::user(row, 0))?;
        forgotten.collect::<rusqlite::Result<_>>()
    };
    read().map_err(sql_error)
}
