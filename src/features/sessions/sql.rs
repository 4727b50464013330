//! The table of sessions. What writes runs on the engine's thread, in its transaction.

pub(crate) mod scopes;

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::rules::{Device, Session, SessionHolder};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{SessionId, UserId};
use crate::base::secret::SecretHash;
use crate::store::rows::{self, optional, parsed, time};
use crate::store::sql_error;

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map_err(sql_error)
}

/// Stores a session under the hash of its token.
pub(super) fn save(conn: &Connection, hash: &SecretHash, session: &Session) -> Result<()> {
    let sql = "INSERT INTO sessions (id, hash, user, bound, device_name, device_kind, device_os, user_agent, address,
                                     current_phase, created_at, renewed_at, last_seen_at, opened_by)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
    let Session { id, holder, device, user_agent, address, current_phase, .. } = session;
    let times = [session.created_at, session.renewed_at, session.last_seen_at].map(|time| time.to_string());
    let values = rusqlite::params![
        id.as_str(),
        hash.to_string(),
        holder.user().map(UserId::as_str),
        match holder {
            SessionHolder::Owner | SessionHolder::Member(_) => 1,
            SessionHolder::Granted(_) | SessionHolder::LinkedOwner => 0,
            SessionHolder::Scoped(_) => 2,
        },
        device.name,
        device.kind,
        device.os,
        user_agent,
        address,
        current_phase,
        times[0],
        times[1],
        times[2],
        session.opened_by.as_ref().map(SessionId::as_str),
    ];
    execute(conn, sql, values).map(drop)
}

/// The columns of [`session`], in the order of the table.
const COLUMNS: &str = "id, hash, user, bound, device_name, device_kind, device_os, user_agent, address, current_phase,
                       created_at, renewed_at, last_seen_at, opened_by";

/// All sessions, whether still good or not, but for those that somebody else has written or changed: nobody is let in
/// by one.
pub(super) fn all(conn: &Connection) -> Result<Vec<(SecretHash, Session)>> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE mac_matches(mac, 'sessions', {COLUMNS}) ORDER BY id");
    let read = || conn.prepare_cached(&sql)?.query_map([], session)?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

fn session(row: &Row<'_>) -> rusqlite::Result<(SecretHash, Session)> {
    let user = rows::user(row, 2);
    let holder = match (row.get_ref(2)?, row.get::<_, i64>(3)?) {
        (ValueRef::Null, 0) => SessionHolder::LinkedOwner,
        (ValueRef::Null, _) => SessionHolder::Owner,
        (_, 0) => SessionHolder::Granted(user?),
        (_, 2) => SessionHolder::Scoped(user?),
        (_, _) => SessionHolder::Member(user?),
    };
    let session = Session {
        id: session_id(row, 0)?,
        holder,
        device: Device { name: row.get(4)?, kind: row.get(5)?, os: row.get(6)? },
        user_agent: row.get(7)?,
        address: row.get(8)?,
        current_phase: row.get(9)?,
        created_at: time(row, 10)?,
        renewed_at: time(row, 11)?,
        last_seen_at: time(row, 12)?,
        opened_by: optional(row, 13, session_id)?,
    };
    Ok((parsed(row, 1, SecretHash::parse)?, session))
}

fn session_id(row: &Row<'_>, column: usize) -> rusqlite::Result<SessionId> {
    parsed(row, column, |text| SessionId::new(text).ok())
}

/// What this data is called, to tell it from another server's.
pub(super) fn server_id(conn: &Connection) -> Result<String> {
    conn.prepare_cached("SELECT id FROM server")
        .and_then(|mut sql| sql.query_row([], |row| row.get(0)))
        .map_err(sql_error)
}

/// Notes when a session was last used, and renewed.
pub(super) fn save_use(
    conn: &Connection,
    id: &SessionId,
    last_seen_at: Timestamp,
    renewed_at: Timestamp,
) -> Result<()> {
    let sql = "UPDATE sessions SET last_seen_at = ?2, renewed_at = ?3 WHERE id = ?1";
    execute(conn, sql, (id.as_str(), last_seen_at.to_string(), renewed_at.to_string())).map(drop)
}

/// Changes what a user says of a session: what is given; an inner `None` takes it away. Returns what it says then: the
/// device's name and the phase. `None`: it is not there.
pub(super) fn describe(
    conn: &Connection,
    id: &SessionId,
    name: Option<&Option<String>>,
    phase: Option<&Option<String>>,
) -> Result<Option<(Option<String>, Option<String>)>> {
    let sql = "UPDATE sessions SET device_name = iif(?2, ?3, device_name), current_phase = iif(?4, ?5, current_phase)
               WHERE id = ?1 RETURNING device_name, current_phase";
    let values = (id.as_str(), name.is_some(), name.cloned().flatten(), phase.is_some(), phase.cloned().flatten());
    let one = || conn.prepare_cached(sql)?.query_row(values, |row| Ok((row.get(0)?, row.get(1)?))).optional();
    one().map_err(sql_error)
}

/// Removes a session. One that is not there is removed already.
pub(super) fn remove(conn: &Connection, id: &SessionId) -> Result<()> {
    remove_row(conn, id.as_str())
}

/// The same by what stands in the column, which may be no id.
pub(super) fn remove_row(conn: &Connection, id: &str) -> Result<()> {
    scopes::remove_session(conn, id)?;
    execute(conn, "DELETE FROM sessions WHERE id = ?1", [id]).map(drop)
}

/// Ends the sessions of a restored database that the one in whose place it comes does not have any more; all when that
/// cannot be read. Returns how many.
pub(crate) fn end_as_in(restored: &Connection, replaced: Option<&Connection>) -> Result<usize> {
    let ids = |conn: &Connection| -> Result<Vec<String>> {
        let read = || {
            conn.prepare("SELECT id FROM sessions")?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(sql_error)
    };
    let kept: BTreeSet<String> = replaced.map(ids).transpose()?.unwrap_or_default().into_iter().collect();
    let mut ended = 0;
    for id in ids(restored)?.into_iter().filter(|id| !kept.contains(id)) {
        // What it reached is removed at the next start, if it was some documents only.
        ended += execute(restored, "DELETE FROM sessions WHERE id = ?1", [&id])?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use crate::property_tests::cases;
    use proptest::prelude::*;

    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::features::sessions::rules::Token;
    use crate::store::integrity::key::add_functions;

    prop_compose! {
        fn sessions()(
            id in "[A-Za-z0-9][A-Za-z0-9_-]{0,63}", user in "[A-Za-z0-9][A-Za-z0-9_-]{0,63}", kind in 0..5,
            by in prop::option::of("[A-Za-z0-9][A-Za-z0-9_-]{0,63}"),
            texts in prop::collection::vec(prop::option::of(".{1,40}"), 5), address in "[0-9a-f:.]{2,40}",
            times in prop::array::uniform3(0_i64..4_000_000_000_000),
        ) -> Session {
            let user = UserId::new(&user).unwrap();
            let holder = match kind {
                0 => SessionHolder::Owner,
                1 => SessionHolder::Member(user),
                2 => SessionHolder::LinkedOwner,
                3 => SessionHolder::Scoped(user),
                _ => SessionHolder::Granted(user),
            };
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap();
            let [created_at, renewed_at, last_seen_at] = times.map(Timestamp::from_millis);
            Session {
                id: SessionId::new(&id).unwrap(),
                holder,
                device: Device { name: text(), kind: text(), os: text() },
                user_agent: text(),
                address,
                current_phase: text(),
                created_at,
                renewed_at,
                last_seen_at,
                opened_by: by.map(|id| SessionId::new(&id).unwrap()),
            }
        }
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn a_session_saved_is_restored_equal(session in sessions(), seed: u64) {
            let conn = Connection::open_in_memory().unwrap();
            add_functions(&conn, None).unwrap();
            conn.execute_batch(include_str!("../../../schema.sql")).unwrap();
            conn.execute_batch(include_str!("tables.sql")).unwrap();
            let token = Token::new(&SeededEntropy::new(seed));
            save(&conn, &token.hash(), &session).unwrap();
            prop_assert_eq!(all(&conn).unwrap(), vec![(token.hash(), session.clone())]);
            // What is said of it, and its use, are changed without the rest.
            let said = describe(&conn, &session.id, None, Some(&Some("later".into()))).unwrap().unwrap();
            prop_assert_eq!(said, (session.device.name.clone(), Some("later".to_owned())));
            describe(&conn, &session.id, Some(&None), None).unwrap().unwrap();
            save_use(&conn, &session.id, session.created_at, session.created_at).unwrap();
            let changed = Session {
                device: Device { name: None, ..session.device.clone() },
                current_phase: Some("later".to_owned()),
                renewed_at: session.created_at,
                last_seen_at: session.created_at,
                ..session
            };
            prop_assert_eq!(all(&conn).unwrap(), vec![(token.hash(), changed.clone())]);
            remove(&conn, &changed.id).unwrap();
            prop_assert_eq!(all(&conn).unwrap(), vec![]);
            prop_assert_eq!(describe(&conn, &changed.id, None, None).unwrap(), None);
        }
    }
}
