//! The tables of games. What writes runs on the engine's thread, in its transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use super::revocations::Revoked;
use super::seats::Seat;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentId, UserId};
use crate::store::rows::{time, user};
use crate::store::{RowName, changed_row, sql_error};

pub(crate) mod attached_rows;
pub(crate) mod cleanup;
pub(crate) mod migrate;
pub(crate) mod persist;
pub(crate) mod tokens;

/// When the game ended, if it did. One without a row runs. Error: `changed-row`.
pub(crate) fn completed_at(conn: &Connection, document: i64) -> Result<Option<Timestamp>> {
    let sql = "SELECT completed_at, status = 'completed', mac_matches(mac, 'games', document, status, completed_at)
               FROM games WHERE document = ?1";
    let read = |row: &Row<'_>| match (row.get(2)?, row.get(1)?) {
        (false, _) => Ok(None),
        (true, true) => time(row, 0).map(|at| Some(Some(at))),
        (true, false) => Ok(Some(None)),
    };
    let one = || conn.prepare_cached(sql)?.query_row([document], read).optional();
    match one().map_err(sql_error)? {
        None => Ok(None),
        Some(Some(completed_at)) => Ok(completed_at),
        Some(None) => Err(changed_row(&RowName::new(conn, "games", Some(document), &[]))),
    }
}

/// Makes the game's row if it has none.
pub(crate) fn begin(conn: &Connection, document: i64) -> Result<()> {
    let sql = "INSERT INTO games (document, status) VALUES (?1, 'running') ON CONFLICT (document) DO NOTHING";
    conn.prepare_cached(sql).and_then(|mut statement| statement.execute([document])).map(drop).map_err(sql_error)
}

/// Ends the game. One that has ended stays as it is.
pub(crate) fn complete(conn: &Connection, document: i64, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO games (document, status, completed_at) VALUES (?1, 'completed', ?2)
               ON CONFLICT (document) DO UPDATE SET status = 'completed', completed_at = excluded.completed_at
               WHERE status = 'running'";
    let run = |mut statement: rusqlite::CachedStatement<'_>| statement.execute((document, now.to_string()));
    conn.prepare_cached(sql).and_then(run).map(drop).map_err(sql_error)
}

/// Whether the newest event of a stored game is its end as a document.
pub(crate) fn is_deleted(conn: &Connection, document: i64) -> Result<bool> {
    let sql = "SELECT deletes FROM events WHERE document = ?1 ORDER BY version DESC LIMIT 1";
    let one = || conn.prepare_cached(sql)?.query_row([document], |row| row.get(0)).optional();
    Ok(one().map_err(sql_error)?.unwrap_or(false))
}

/// Who sits in the game, by seat. Error: `changed-row`.
pub(crate) fn seats(conn: &Connection, document: i64) -> Result<Vec<Seat>> {
    let sql = format!("{SEAT} WHERE document = ?1 ORDER BY seat");
    let all = || conn.prepare_cached(&sql)?.query_map([document], seat)?.collect::<rusqlite::Result<Vec<_>>>();
    all().map_err(sql_error)?.into_iter().map(|read| ours(conn, document, read)).collect()
}

/// The key of the game of this id, if it has one.
pub(crate) fn key_of(conn: &Connection, id: &DocumentId) -> Result<Option<i64>> {
    let sql = "SELECT key FROM documents WHERE collection = 'games' AND id = ?1";
    let one = || conn.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0)).optional();
    one().map_err(sql_error)
}

/// The seat of a player. Error: `changed-row`.
pub(crate) fn seat_of(conn: &Connection, document: i64, player: &UserId) -> Result<Option<Seat>> {
    let sql = format!("{SEAT} WHERE document = ?1 AND player = ?2");
    let one = || conn.prepare_cached(&sql)?.query_row((document, player.as_str()), seat).optional();
    one().map_err(sql_error)?.map(|read| ours(conn, document, read)).transpose()
}

/// Seats a player. The game's row must be there.
pub(crate) fn sit(conn: &Connection, document: i64, seat: &Seat) -> Result<()> {
    let sql = "INSERT INTO seats (document, player, seat, identity, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = (document, seat.player.as_str(), seat.seat, seat.identity.as_str(), seat.joined_at.to_string());
    conn.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map(drop).map_err(sql_error)
}

/// Frees the seat of a player. Whether there was one.
pub(crate) fn leave(conn: &Connection, document: i64, player: &UserId) -> Result<bool> {
    let sql = "DELETE FROM seats WHERE document = ?1 AND player = ?2";
    let run = |mut statement: rusqlite::CachedStatement<'_>| statement.execute((document, player.as_str()));
    conn.prepare_cached(sql).and_then(run).map(|count| count > 0).map_err(sql_error)
}

/// Takes away what was revoked: what is there by the same name and is not the same stays.
pub(crate) fn revoke(conn: &Connection, revoked: &Revoked, now: Timestamp) -> Result<()> {
    match revoked {
        Revoked::Tokens { family } => tokens::revoke_family(conn, family, now),
        Revoked::Seat { document, player, joined_at } => {
            match seat_of(conn, *document, player) {
                Ok(seat) if seat.as_ref().is_none_or(|seat| seat.joined_at != *joined_at) => return Ok(()),
                // Of a row that somebody has changed it cannot be told: it goes, too.
                Err(error) if error.kind() != Kind::Damaged => return Err(error),
                _ => {}
            }
            leave(conn, *document, player)?;
            tokens::revoke_player(conn, *document, player, now)
        }
        Revoked::Game { document, created_at, at } => match is_stored(conn, *document, *created_at)? {
            true => complete(conn, *document, *at),
            false => Err(Error::not_found("the game is not stored")),
        },
    }
}

/// Whether the document with this key is one that was created then.
fn is_stored(conn: &Connection, document: i64, created_at: Timestamp) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM documents WHERE key = ?1 AND created_at = ?2)";
    let find = |mut statement: rusqlite::CachedStatement<'_>| {
        statement.query_row((document, created_at.to_string()), |row| row.get(0))
    };
    conn.prepare_cached(sql).and_then(find).map_err(sql_error)
}

/// The beginning of a query for [`seat`].
const SEAT: &str = "SELECT player, seat, identity, joined_at,
                           mac_matches(mac, 'seats', document, player, seat, identity, joined_at) FROM seats";

/// Error within: the player of a row that somebody else has changed.
fn seat(row: &Row<'_>) -> rusqlite::Result<std::result::Result<Seat, String>> {
    if !row.get(4)? {
        return Ok(Err(row.get(0)?));
    }
    Ok(Ok(Seat { player: user(row, 0)?, seat: row.get(1)?, identity: user(row, 2)?, joined_at: time(row, 3)? }))
}

fn ours(conn: &Connection, document: i64, read: std::result::Result<Seat, String>) -> Result<Seat> {
    read.map_err(|player| changed_row(&RowName::new(conn, "seats", Some(document), &[&player])))
}
