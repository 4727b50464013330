//! The tables of invitations. What writes runs on the engine's thread, in its transaction.

pub(crate) mod people;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::rules::{Invitation, InvitedSeat};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, SessionId, UserId, Version};
use crate::base::secret::SecretHash;
use crate::http::providers::ReachedDocument;
use crate::store::rows::{count as sql_count, int, number, optional, parsed, time, user};
use crate::store::sql_error;

/// The columns of the table but its MAC, in order.
const COLUMNS: &str = "id, hash, user, scoped, seat, uses, used, target, created_by, created_by_name, created_at,
                       expires_at, ended_at";
const DOCUMENT_COLUMNS: &str = "invitation, document, collection, id";

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map_err(sql_error)
}

/// Stores an invitation under the hash of its token.
pub(super) fn save(conn: &Connection, hash: &SecretHash, invitation: &Invitation) -> Result<()> {
    let sql =
        format!("INSERT INTO invitations ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, NULL)");
    let Invitation { id, user, documents, seat, uses, used, target, created_by, created_by_name, .. } = invitation;
    let values = rusqlite::params![
        id.as_str(),
        hash.to_string(),
        user.as_ref().map(UserId::as_str),
        documents.is_some(),
        seat.map(InvitedSeat::to_text),
        uses,
        used,
        target,
        created_by,
        created_by_name,
        invitation.created_at.to_string(),
        invitation.expires_at.to_string(),
    ];
    execute(conn, &sql, values)?;
    let sql = format!("INSERT INTO invitation_documents ({DOCUMENT_COLUMNS}) VALUES (?1, ?2, ?3, ?4)");
    for ReachedDocument { name, key } in documents.iter().flatten() {
        execute(conn, &sql, (id.as_str(), key, name.collection.as_str(), name.id.as_str()))?;
    }
    Ok(())
}

/// The invitation of this token. One that somebody else has written or changed is none.
pub(super) fn find(conn: &Connection, hash: &SecretHash) -> Result<Option<Invitation>> {
    one(conn, "hash = ?1", &hash.to_string())
}

/// The same by its id.
pub(super) fn by_id(conn: &Connection, id: &str) -> Result<Option<Invitation>> {
    one(conn, "id = ?1", id)
}

fn one(conn: &Connection, condition: &str, value: &str) -> Result<Option<Invitation>> {
    let sql =
        format!("SELECT {COLUMNS} FROM invitations WHERE {condition} AND mac_matches(mac, 'invitations', {COLUMNS})");
    let read = || conn.prepare_cached(&sql)?.query_row([value], invitation).optional();
    let found = read().map_err(sql_error)?;
    found.map(|invitation| with_documents(conn, invitation)).transpose()
}

/// At most `limit` invitations, newest first, older than the one that `before` names: those that `created_by` made, if
/// given, and for `document`, if given.
pub(super) fn list(
    conn: &Connection,
    created_by: Option<&str>,
    document: Option<i64>,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<Invitation>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invitations
         WHERE (?1 IS NULL OR created_by = ?1) AND (?2 IS NULL OR id < ?2)
           AND (?3 IS NULL OR id IN (SELECT invitation FROM invitation_documents WHERE document = ?3))
           AND mac_matches(mac, 'invitations', {COLUMNS}) ORDER BY id DESC LIMIT ?4"
    );
    let values = (created_by, before, document, sql_count(limit));
    let read = || conn.prepare_cached(&sql)?.query_map(values, invitation)?.collect::<rusqlite::Result<Vec<_>>>();
    read().map_err(sql_error)?.into_iter().map(|found| with_documents(conn, found)).collect()
}

fn invitation(row: &Row<'_>) -> rusqlite::Result<Invitation> {
    Ok(Invitation {
        id: parsed(row, 0, |id| SessionId::new(id).ok())?,
        user: optional(row, 2, user)?,
        documents: row.get::<_, bool>(3)?.then(Vec::new),
        seat: optional(row, 4, |row, column| parsed(row, column, InvitedSeat::parse))?,
        uses: row.get(5)?,
        used: row.get(6)?,
        target: row.get(7)?,
        created_by: row.get(8)?,
        created_by_name: row.get(9)?,
        created_at: time(row, 10)?,
        expires_at: time(row, 11)?,
        ended_at: optional(row, 12, time)?,
    })
}

fn with_documents(conn: &Connection, mut invitation: Invitation) -> Result<Invitation> {
    let Some(documents) = &mut invitation.documents else { return Ok(invitation) };
    let sql = format!(
        "SELECT document, collection, id FROM invitation_documents WHERE invitation = ?1
           AND mac_matches(mac, 'invitation_documents', {DOCUMENT_COLUMNS}) ORDER BY collection, id"
    );
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?));
    let read =
        || conn.prepare_cached(&sql)?.query_map([invitation.id.as_str()], row)?.collect::<rusqlite::Result<Vec<_>>>();
    for (key, collection, id) in read().map_err(sql_error)? {
        documents.push(ReachedDocument { name: DocumentName::new(&collection, &id)?, key });
    }
    Ok(invitation)
}

/// How many there are.
pub(super) fn count(conn: &Connection) -> Result<u64> {
    let sql = "SELECT count(*) FROM invitations";
    conn.prepare_cached(sql).and_then(|mut count| count.query_row([], |row| number(row, 0))).map_err(sql_error)
}

/// Uses one up once more. `false`: it could not be.
pub(super) fn use_up(conn: &Connection, id: &SessionId, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE invitations SET used = used + 1
               WHERE id = ?1 AND used < uses AND ended_at IS NULL AND expires_at > ?2";
    Ok(execute(conn, sql, (id.as_str(), now.to_string()))? == 1)
}

/// Notes that a session was opened or extended by one.
pub(super) fn add_session(
    conn: &Connection,
    invitation: &SessionId,
    session: &str,
    attempt: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO invitation_sessions (invitation, session, attempt, at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (invitation, session) DO NOTHING";
    execute(conn, sql, (invitation.as_str(), session, attempt, now.to_string())).map(drop)
}

/// The session that an attempt to come in has opened.
pub(super) fn session_of_attempt(conn: &Connection, attempt: &str) -> Result<Option<String>> {
    let sql = "SELECT session FROM invitation_sessions WHERE attempt = ?1";
    let one = || conn.prepare_cached(sql)?.query_row([attempt], |row| row.get(0)).optional();
    one().map_err(sql_error)
}

/// The sessions that were opened or extended by one.
pub(super) fn sessions(conn: &Connection, invitation: &str) -> Result<Vec<String>> {
    let sql = "SELECT session FROM invitation_sessions WHERE invitation = ?1 ORDER BY session";
    let read = || conn.prepare_cached(sql)?.query_map([invitation], |row| row.get(0))?.collect::<rusqlite::Result<_>>();
    read().map_err(sql_error)
}

/// Ends one. Done before, it changes nothing.
pub(super) fn end(conn: &Connection, id: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE invitations SET ended_at = ?2 WHERE id = ?1 AND ended_at IS NULL";
    execute(conn, sql, (id, now.to_string())).map(drop)
}

/// A document is gone: nothing is for it any more.
pub(super) fn remove_document(conn: &Connection, key: i64) -> Result<()> {
    execute(conn, "DELETE FROM invitation_documents WHERE document = ?1", [key])?;
    people::remove_document(conn, key)
}

/// Whether a document was deleted after it had this version: what is there now may be another.
pub(super) fn deleted_since(conn: &Connection, key: i64, version: Version) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE document = ?1 AND version > ?2 AND deletes = 1)";
    let ask = |mut asked: CachedStatement<'_>| asked.query_row((key, int(version.0)), |row| row.get(0));
    conn.prepare_cached(sql).and_then(ask).map_err(sql_error)
}

/// Forgets what was over before `before`. Returns how many invitations.
pub(super) fn trim(conn: &Connection, before: Timestamp) -> Result<usize> {
    let old = "SELECT id FROM invitations WHERE expires_at < ?1";
    let before = before.to_string();
    execute(conn, &format!("DELETE FROM invitation_documents WHERE invitation IN ({old})"), [&before])?;
    execute(conn, &format!("DELETE FROM invitation_sessions WHERE invitation IN ({old})"), [&before])?;
    execute(conn, "DELETE FROM invitations WHERE expires_at < ?1", [&before])
}

/// How many [`trim`] would forget.
pub(super) fn old(conn: &Connection, before: Timestamp) -> Result<usize> {
    let sql = "SELECT count(*) FROM invitations WHERE expires_at < ?1";
    let ask = |mut count: CachedStatement<'_>| count.query_row([before.to_string()], |row| number(row, 0));
    let count = conn.prepare_cached(sql).and_then(ask).map_err(sql_error)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Ends the invitations of a restored database that were ended or used up in the one in whose place it comes; all when
/// that cannot be read. Returns how many.
pub(crate) fn end_as_in(restored: &Connection, replaced: Option<&Connection>, now: Timestamp) -> Result<usize> {
    let open = "SELECT id, used FROM invitations WHERE ended_at IS NULL AND used < uses";
    let read = |conn: &Connection| -> Result<Vec<(String, u32)>> {
        let read = || {
            // A file of an older release has no such table.
            if !conn.table_exists(None, "invitations")? {
                return Ok(Vec::new());
            }
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            conn.prepare(open)?.query_map([], row)?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(sql_error)
    };
    let kept = replaced.map(read).transpose()?.unwrap_or_default();
    let mut ended = 0;
    for (id, used) in read(restored)? {
        match kept.iter().find(|(other, _)| *other == id) {
            None => {
                end(restored, &id, now)?;
                ended += 1;
            }
            Some((_, later)) if *later > used => {
                execute(restored, "UPDATE invitations SET used = ?2 WHERE id = ?1", (&id, later))?;
            }
            Some(_) => {}
        }
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::display_name::DisplayName;
    use crate::base::entropy::SeededEntropy;
    use crate::features::invitations::rules::{InvitationSecret, InvitationState};
    use crate::store::integrity::key::add_functions;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn database() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        add_functions(&conn, None).unwrap();
        conn.execute_batch(include_str!("tables.sql")).unwrap();
        conn
    }

    fn document(name: &str, key: i64) -> ReachedDocument {
        ReachedDocument { name: DocumentName::parse(name).unwrap(), key }
    }

    fn invitation(id: &str, documents: Option<Vec<ReachedDocument>>) -> Invitation {
        Invitation {
            id: SessionId::new(id).unwrap(),
            user: None,
            documents,
            seat: Some(InvitedSeat::Number(3)),
            uses: 2,
            used: 0,
            target: Some("/table.html".to_owned()),
            created_by: "ann".to_owned(),
            created_by_name: "Ann".to_owned(),
            created_at: at(5),
            expires_at: at(1000),
            ended_at: None,
        }
    }

    fn hash(seed: u64) -> SecretHash {
        InvitationSecret::new(&SeededEntropy::new(seed)).hash()
    }

    #[test]
    fn an_invitation_saved_is_found_equal_and_loses_what_is_deleted() {
        let conn = database();
        let saved = invitation("i1", Some(vec![document("games/g1", 1), document("notes/n1", 2)]));
        let named = Invitation { user: UserId::new("bob").ok(), seat: None, target: None, ..invitation("i2", None) };
        save(&conn, &hash(1), &saved).unwrap();
        save(&conn, &hash(2), &named).unwrap();
        assert_eq!(find(&conn, &hash(1)).unwrap(), Some(saved.clone()));
        assert_eq!(by_id(&conn, "i2").unwrap(), Some(named.clone()));
        assert_eq!(find(&conn, &hash(3)).unwrap(), None);
        let listed = |by: Option<&str>, of: Option<i64>, before: Option<&str>| {
            let found = list(&conn, by, of, before, 9).unwrap();
            found.into_iter().map(|found| found.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(listed(None, None, None), ["i2", "i1"]);
        assert_eq!(listed(Some("ann"), Some(2), None), ["i1"]);
        assert_eq!(listed(None, None, Some("i2")), ["i1"]);
        assert!(listed(Some("bob"), None, None).is_empty());
        remove_document(&conn, 1).unwrap();
        remove_document(&conn, 2).unwrap();
        let left = find(&conn, &hash(1)).unwrap().unwrap();
        assert_eq!(left.state(at(6)), InvitationState::DocumentsGone);
    }

    #[test]
    fn an_invitation_is_used_as_often_as_it_says() {
        let conn = database();
        let saved = invitation("i1", None);
        save(&conn, &hash(1), &saved).unwrap();
        assert!(!use_up(&conn, &saved.id, at(1000)).unwrap(), "not when it is over");
        assert!(use_up(&conn, &saved.id, at(999)).unwrap() && use_up(&conn, &saved.id, at(6)).unwrap());
        assert!(!use_up(&conn, &saved.id, at(6)).unwrap());
        add_session(&conn, &saved.id, "s1", Some("try"), at(7)).unwrap();
        assert_eq!(session_of_attempt(&conn, "try").unwrap().as_deref(), Some("s1"));
        assert!(add_session(&conn, &saved.id, "s2", Some("try"), at(7)).is_err(), "an attempt opens one");
        assert_eq!(sessions(&conn, "i1").unwrap(), ["s1"]);
        end(&conn, "i1", at(8)).unwrap();
        end(&conn, "i1", at(9)).unwrap();
        assert_eq!(by_id(&conn, "i1").unwrap().unwrap().ended_at, Some(at(8)));
        assert_eq!((old(&conn, at(1000)).unwrap(), old(&conn, at(1001)).unwrap()), (0, 1));
        assert_eq!((trim(&conn, at(1001)).unwrap(), count(&conn).unwrap()), (1, 0));
        assert!(sessions(&conn, "i1").unwrap().is_empty());
    }

    #[test]
    fn a_name_is_taken_where_its_bearer_was_invited() {
        let conn = database();
        let (ann, name) = (UserId::new("guest-a").unwrap(), DisplayName::new("name", "Ann").unwrap());
        people::add(&conn, &ann, &name, at(5)).unwrap();
        people::invite(&conn, &ann, &[1]).unwrap();
        let taken = |name: &str, keys: &[i64], except: Option<&UserId>| {
            people::is_taken(&conn, &DisplayName::new("name", name).unwrap().folded(), keys, except).unwrap()
        };
        assert!(taken("ANN", &[1], None) && taken("ann", &[2, 1], None));
        assert!(!taken("ann", &[2], None) && !taken("anna", &[1], None) && !taken("ann", &[1], Some(&ann)));
        assert_eq!(people::all(&conn).unwrap(), [(ann, name)]);
        remove_document(&conn, 1).unwrap();
        assert!(!taken("ann", &[1], None));
        assert_eq!(people::trim(&conn, at(5)).unwrap(), []);
        assert_eq!(people::trim(&conn, at(6)).unwrap(), [UserId::new("guest-a").unwrap()]);
        assert_eq!(people::all(&conn).unwrap(), []);
    }

    #[test]
    fn a_backup_makes_no_invitation_good_again() {
        let restored = database();
        for (id, seed) in [("ended", 1), ("used", 2), ("once", 3), ("untouched", 4)] {
            save(&restored, &hash(seed), &invitation(id, None)).unwrap();
        }
        let replaced = database();
        for (id, seed) in [("ended", 1), ("used", 2), ("once", 3), ("untouched", 4)] {
            save(&replaced, &hash(seed), &invitation(id, None)).unwrap();
        }
        end(&replaced, "ended", at(7)).unwrap();
        for id in ["used", "used", "once"] {
            assert!(use_up(&replaced, &SessionId::new(id).unwrap(), at(7)).unwrap());
        }
        assert_eq!(end_as_in(&restored, Some(&replaced), at(9)).unwrap(), 2);
        let state = |id: &str| by_id(&restored, id).unwrap().map(|found| (found.ended_at, found.used));
        assert_eq!(state("ended"), Some((Some(at(9)), 0)));
        assert_eq!(state("used"), Some((Some(at(9)), 0)));
        assert_eq!((state("once"), state("untouched")), (Some((None, 1)), Some((None, 0))));
        assert_eq!(end_as_in(&restored, None, at(9)).unwrap(), 2);
        assert_eq!(end_as_in(&Connection::open_in_memory().unwrap(), None, at(9)).unwrap(), 0);
    }
}
