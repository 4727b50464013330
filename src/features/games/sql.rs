//! The tables of games. What writes runs on the engine's thread, in its transaction.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::revocations::Revoked;
use super::seats::Seat;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{DocumentId, UserId};
use crate::store::rows::time;
use crate::store::sql_error;

pub(crate) mod attached_rows;
pub(crate) mod cleanup;
pub(crate) mod migrate;
pub(crate) mod persist;
pub(crate) mod tokens;

/// When the game ended, if it did. One without a row runs.
pub(crate) fn completed_at(conn: &Connection, document: i64) -> Result<Option<Timestamp>> {
    let sql = "SELECT completed_at FROM games WHERE document = ?1 AND status = 'completed'";
    let read = |statement: &mut rusqlite::CachedStatement<'_>| statement.query_row([document], |row| time(row, 0));
    conn.prepare_cached(sql).and_then(|mut statement| read(&mut statement).optional()).map_err(sql_error)
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

/// Who sits in the game, by seat.
pub(crate) fn seats(conn: &Connection, document: i64) -> Result<Vec<Seat>> {
    let sql = "SELECT player, seat, identity, joined_at FROM seats WHERE document = ?1 ORDER BY seat";
    let all = || conn.prepare_cached(sql)?.query_map([document], seat)?.collect::<rusqlite::Result<_>>();
    all().map_err(sql_error)
}

/// The key of the game of this id, if it has one.
pub(crate) fn key_of(conn: &Connection, id: &DocumentId) -> Result<Option<i64>> {
    let sql = "SELECT key FROM documents WHERE collection = 'games' AND id = ?1";
    let one = || conn.prepare_cached(sql)?.query_row([id.as_str()], |row| row.get(0)).optional();
    one().map_err(sql_error)
}

/// The seat of a player.
pub(crate) fn seat_of(conn: &Connection, document: i64, player: &UserId) -> Result<Option<Seat>> {
    let sql = "SELECT player, seat, identity, joined_at FROM seats WHERE document = ?1 AND player = ?2";
    let one = || conn.prepare_cached(sql)?.query_row((document, player.as_str()), seat).optional();
    one().map_err(sql_error)
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
            let seat = seat_of(conn, *document, player)?;
            if seat.is_none_or(|seat| seat.joined_at != *joined_at) {
                return Ok(());
            }
            leave(conn, *document, player)?;
            tokens::revoke_player(conn, *document, player, now)
        }
    }
}

fn seat(row: &Row<'_>) -> rusqlite::Result<Seat> {
    Ok(Seat { player: user(row, 0)?, seat: row.get(1)?, identity: user(row, 2)?, joined_at: time(row, 3)? })
}

fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    let text: String = row.get(column)?;
    UserId::new(&text).map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e)))
}
