//! The tables of moving games: `moves`, `arrivals`, `arrival_events`, `arrival_rows`.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::OptionalExtension;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::{Hash, Position};
use crate::document::transfer::SentEvent;
use crate::engine::request::Relocation;
use crate::features::games::problems::{GAME_FROZEN, RELOCATION_PROBLEMS};
use crate::features::games::protocol::too_large;
use crate::live::relocations::MovedDocument;
use crate::store::write::keys::{IdempotencyRow, replace_answer};
use crate::store::{Connection, sql_error};

/// A row of `moves`.
#[derive(Clone, Debug)]
pub(crate) struct MoveRow {
    pub name: DocumentName,
    /// Where to: `http://host:port`.
    pub target: String,
    pub id: String,
    /// Of the last event that goes.
    pub version: Version,
}

/// A row of `arrivals`.
#[derive(Clone, Debug)]
pub(crate) struct ArrivalRow {
    pub id: String,
    /// Of the last event that comes.
    pub version: Version,
    pub hash: Hash,
    /// See [`Head`](crate::features::games::protocol::Head), as JSON. `None`: it is live.
    pub head: Option<String>,
    /// Of its events and rows so far.
    pub bytes: i64,
    /// Whether all is here and verified.
    pub prepared: bool,
}

/// How the games stand that are on their way, or gone: for the engine, before it starts.
pub(crate) fn relocations(conn: &Connection) -> Result<Vec<(DocumentName, Relocation)>> {
    let mut relocations = Vec::new();
    for (name, moved, confirmed) in moves(conn)? {
        relocations.push((name, if confirmed { Relocation::Moved(moved) } else { Relocation::Frozen }));
    }
    let sql = "SELECT game, move FROM arrivals WHERE confirmed_at IS NULL";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let games = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).map_err(sql_error)?;
    for game in games {
        let (game, id) = game.map_err(sql_error)?;
        let name = name(&game)?;
        match relocations.iter_mut().find(|(known, _)| *known == name) {
            Some((_, relocation)) => {
                // What is about to leave stays so: nothing was let in before.
                if let Relocation::Moved(left) = &*relocation {
                    *relocation = Relocation::Expected { id, left: Some(Arc::clone(left)) };
                }
            }
            None => relocations.push((name, Relocation::Expected { id, left: None })),
        }
    }
    Ok(relocations)
}

/// The games that went, with where they were here at last, and whether the other server has said that they are there.
fn moves(conn: &Connection) -> Result<Vec<(DocumentName, Arc<MovedDocument>, bool)>> {
    let sql = "SELECT m.game, m.target, m.confirmed_at IS NOT NULL, e.seq, e.hash FROM moves m
               LEFT JOIN documents d ON d.collection = 'games' AND d.id = m.game
               LEFT JOIN events e ON e.document = d.key AND e.version = m.version";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let read = |row: &rusqlite::Row<'_>| {
        let (seq, hash): (Option<i64>, Option<String>) = (row.get(3)?, row.get(4)?);
        Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, seq, hash))
    };
    let mut moves = Vec::new();
    for row in statement.query_map([], read).map_err(sql_error)? {
        let (game, to, confirmed, seq, hash) = row.map_err(sql_error)?;
        let seq = seq.and_then(|seq| u64::try_from(seq).ok()).map(Seq);
        let hash = hash.and_then(|hash| Hash::parse(&hash));
        let position = seq.zip(hash).map_or(Position::Start, |(seq, hash)| Position::after(seq, hash));
        let name = name(&game)?;
        moves.push((
            name.clone(),
            Arc::new(MovedDocument { name, to, position, problems: RELOCATION_PROBLEMS }),
            confirmed,
        ));
    }
    Ok(moves)
}

/// Records that a game goes, with the answer to whoever asked for it with an `Idempotency-Key`. From the moment that
/// this is on disk, only the other server may change it.
pub(crate) fn record(conn: &Connection, row: &MoveRow, answer: Option<&IdempotencyRow>, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO moves (game, target, move, version, at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let version = i64::try_from(row.version.0).unwrap_or(i64::MAX);
    conn.execute(sql, (row.name.id.as_str(), &row.target, &row.id, version, now.to_string())).map_err(sql_error)?;
    answer.map_or(Ok(()), |answer| replace_answer(conn, answer))
}

/// Whether a game went, or is recorded to go.
pub(crate) fn is_recorded(conn: &Connection, game: &DocumentName) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM moves WHERE game = ?1)";
    conn.query_row(sql, [game.id.as_str()], |row| row.get(0)).map_err(sql_error)
}

/// Notes that the other server has made the game live. `answer`: what whoever asked is told instead, if they were told
/// nothing yet.
pub(crate) fn note_confirmed(
    conn: &Connection,
    row: &MoveRow,
    answer: Option<&IdempotencyRow>,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE moves SET confirmed_at = ?3 WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    conn.execute(sql, (row.name.id.as_str(), &row.id, now.to_string())).map_err(sql_error)?;
    answer.map_or(Ok(()), |answer| replace_answer(conn, answer))
}

/// Forgets a move that was recorded and not confirmed: the game stays.
pub(crate) fn forget_move(conn: &Connection, row: &MoveRow) -> Result<()> {
    let sql = "DELETE FROM moves WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    conn.execute(sql, (row.name.id.as_str(), &row.id)).map(drop).map_err(sql_error)
}

/// The moves that the other server has not confirmed yet.
pub(crate) fn unconfirmed(conn: &Connection) -> Result<Vec<MoveRow>> {
    let sql = "SELECT game, target, move, version FROM moves WHERE confirmed_at IS NULL ORDER BY game";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?));
    let mut found = Vec::new();
    for row in statement.query_map([], read).map_err(sql_error)? {
        let (game, target, id, version) = row.map_err(sql_error)?;
        let version = Version(u64::try_from(version).map_err(Error::internal)?);
        found.push(MoveRow { name: name(&game)?, target, id, version });
    }
    Ok(found)
}

/// What is known of a move that brings a game, or has brought it.
pub(crate) fn arrival(conn: &Connection, game: &DocumentName, id: &str) -> Result<Option<ArrivalRow>> {
    let sql = "SELECT version, hash, head, bytes, prepared FROM arrivals WHERE game = ?1 AND move = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        let (version, hash): (i64, String) = (row.get(0)?, row.get(1)?);
        Ok((version, hash, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let found = conn.query_row(sql, (game.id.as_str(), id), read).optional().map_err(sql_error)?;
    let Some((version, hash, head, bytes, prepared)) = found else { return Ok(None) };
    let version = Version(u64::try_from(version).map_err(Error::internal)?);
    let hash = Hash::parse(&hash).ok_or_else(|| Error::internal("a kept hash that is none"))?;
    Ok(Some(ArrivalRow { id: id.to_owned(), version, hash, head, bytes, prepared }))
}

/// The move that is to bring a game.
pub(crate) fn announced(conn: &Connection, game: &DocumentName) -> Result<Option<String>> {
    let sql = "SELECT move FROM arrivals WHERE game = ?1 AND confirmed_at IS NULL";
    conn.query_row(sql, [game.id.as_str()], |row| row.get(0)).optional().map_err(sql_error)
}

/// Takes note of a game that comes, in place of an earlier attempt. Error: `Frozen` while another game of this name is
/// here, complete: the server that sent it may have let go of it.
pub(crate) fn begin(
    conn: &Connection,
    game: &DocumentName,
    id: &str,
    head: &str,
    (version, hash): (Version, Hash),
    now: Timestamp,
) -> Result<()> {
    let game_id = game.id.as_str();
    let sql = "SELECT count(*) FROM arrivals WHERE game = ?1 AND confirmed_at IS NULL AND prepared
                 AND json_extract(head, '$.createdAt') IS NOT json_extract(?2, '$.createdAt')";
    let others: i64 = conn.query_row(sql, (game_id, head), |row| row.get(0)).map_err(sql_error)?;
    if others > 0 {
        return Err(GAME_FROZEN.error(format!("another {game} is on its way here")));
    }
    let sql = "DELETE FROM arrivals WHERE game = ?1 AND confirmed_at IS NULL";
    conn.execute(sql, [game_id]).map_err(sql_error)?;
    let sql = "INSERT INTO arrivals (game, move, version, hash, head, bytes, prepared, at)
               VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6)";
    let version = i64::try_from(version.0).unwrap_or(i64::MAX);
    conn.execute(sql, (game_id, id, version, hash.to_string(), head, now.to_string())).map(drop).map_err(sql_error)
}

/// Counts what comes. Errors: `NotFound` when the game was not announced or is verified already; `game-too-large`.
fn count(conn: &Connection, game: &DocumentName, id: &str, bytes: usize, bytes_max: usize) -> Result<()> {
    let arrival = arrival(conn, game, id)?.filter(|arrival| arrival.head.is_some() && !arrival.prepared);
    let arrival = arrival.ok_or_else(|| Error::not_found("no such move is under way"))?;
    let bytes = arrival.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    if usize::try_from(bytes).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let sql = "UPDATE arrivals SET bytes = ?3 WHERE game = ?1 AND move = ?2";
    conn.execute(sql, (game.id.as_str(), id, bytes)).map(drop).map_err(sql_error)
}

/// Keeps events of a game that comes. Errors: `NotFound`; `game-too-large`.
pub(crate) fn store_events(
    conn: &Connection,
    game: &DocumentName,
    id: &str,
    events: &[SentEvent],
    bytes_max: usize,
) -> Result<()> {
    count(conn, game, id, events.iter().map(|event| event.body.len()).sum(), bytes_max)?;
    let sql = "INSERT INTO arrival_events (game, move, version, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
               ON CONFLICT DO NOTHING";
    let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
    for event in events {
        let body = std::str::from_utf8(&event.body).map_err(Error::internal)?;
        let version = i64::try_from(event.version.0).unwrap_or(i64::MAX);
        let (hash, deletes) = (event.hash.to_string(), event.deletes);
        statement.execute((game.id.as_str(), id, version, hash, deletes, body)).map_err(sql_error)?;
    }
    Ok(())
}

/// Keeps rows of a game that comes, after those that came before. Errors: `NotFound`; `game-too-large`.
pub(crate) fn keep_rows(
    conn: &Connection,
    game: &DocumentName,
    id: &str,
    rows: &[String],
    bytes_max: usize,
) -> Result<()> {
    count(conn, game, id, rows.iter().map(String::len).sum(), bytes_max)?;
    let sql = "INSERT INTO arrival_rows (game, move, number, body)
               VALUES (?1, ?2,
                       1 + (SELECT coalesce(max(number), 0) FROM arrival_rows WHERE game = ?1 AND move = ?2), ?3)";
    let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
    for row in rows {
        statement.execute((game.id.as_str(), id, row)).map_err(sql_error)?;
    }
    Ok(())
}

/// The events of a game that comes, oldest first.
pub(crate) fn stored_events(conn: &Connection, game: &DocumentName, id: &str) -> Result<Vec<SentEvent>> {
    let sql = "SELECT version, hash, deletes, body FROM arrival_events WHERE game = ?1 AND move = ?2 ORDER BY version";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get::<_, String>(3)?))
    };
    let mut events = Vec::new();
    for row in statement.query_map((game.id.as_str(), id), read).map_err(sql_error)? {
        let (version, hash, deletes, body) = row.map_err(sql_error)?;
        let version = Version(u64::try_from(version).map_err(Error::internal)?);
        let hash = Hash::parse(&hash).ok_or_else(|| Error::internal("a kept hash that is none"))?;
        events.push(SentEvent { version, hash, deletes, body: Bytes::from(body) });
    }
    Ok(events)
}

/// The rows of a game that comes, in their order.
pub(crate) fn kept_rows(conn: &Connection, game: &DocumentName, id: &str) -> Result<Vec<String>> {
    let sql = "SELECT body FROM arrival_rows WHERE game = ?1 AND move = ?2 ORDER BY number";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let rows = statement.query_map((game.id.as_str(), id), |row| row.get(0)).map_err(sql_error)?;
    rows.map(|row| row.map_err(sql_error)).collect()
}

/// Notes that all of it is here and verified. Error: `NotFound` when it is gone meanwhile.
pub(crate) fn note_prepared(conn: &Connection, game: &DocumentName, id: &str) -> Result<()> {
    let sql = "UPDATE arrivals SET prepared = 1 WHERE game = ?1 AND move = ?2";
    match conn.execute(sql, (game.id.as_str(), id)).map_err(sql_error)? {
        0 => Err(Error::not_found("no such move is under way")),
        _ => Ok(()),
    }
}

/// Forgets a game that did not come. True: there was one.
pub(crate) fn delete_arrival(conn: &Connection, game: &DocumentName, id: &str) -> Result<bool> {
    let sql = "DELETE FROM arrivals WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    Ok(conn.execute(sql, (game.id.as_str(), id)).map_err(sql_error)? > 0)
}

/// The games that did not come since `before`, with the names of their moves.
pub(crate) fn overdue(conn: &Connection, before: Timestamp) -> Result<Vec<(DocumentName, String)>> {
    let sql = "SELECT game, move FROM arrivals WHERE confirmed_at IS NULL AND at < ?1";
    let mut statement = conn.prepare(sql).map_err(sql_error)?;
    let rows = statement.query_map([before.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let mut found = Vec::new();
    for row in rows.map_err(sql_error)? {
        let (game, id) = row.map_err(sql_error)?;
        found.push((name(&game)?, id));
    }
    Ok(found)
}

fn name(game: &str) -> Result<DocumentName> {
    DocumentName::new("games", game).map_err(Error::internal)
}
