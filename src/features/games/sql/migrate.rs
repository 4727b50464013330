//! The tables of moving games: `moves`, `arrivals`, `arrival_events`.

use bytes::Bytes;
use rusqlite::OptionalExtension;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::chain::Hash;
use crate::document::transfer::SentEvent;
use crate::engine::standing::Standing;
use crate::store::{Connection, told};

/// A row of `moves`.
#[derive(Clone, Debug)]
pub struct MoveRow {
    /// Which game.
    pub name: DocumentName,
    /// Where to: `http://host:port`.
    pub target: String,
    /// Names the move.
    pub id: String,
    /// Of the last event that goes.
    pub version: Version,
}

/// A row of `arrivals`.
#[derive(Clone, Debug)]
pub struct ArrivalRow {
    /// Names the move.
    pub id: String,
    /// See [`Head`](crate::features::games::wire::Head), as JSON.
    pub head: String,
    /// Of its events so far.
    pub bytes: i64,
    /// Whether all is here and verified.
    pub prepared: bool,
    /// Whether it is live.
    pub confirmed: bool,
}

/// How the games stand that are on their way, or gone: for the engine, before it starts.
pub fn standings(conn: &Connection) -> Result<Vec<(DocumentName, Standing)>> {
    let sql = "SELECT game, target, confirmed_at IS NOT NULL FROM moves";
    let mut statement = conn.prepare(sql).map_err(told)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(told)?;
    let mut standings = Vec::new();
    for row in rows {
        let (game, target, confirmed): (String, String, bool) = row.map_err(told)?;
        standings.push((name(&game)?, if confirmed { Standing::Moved(target) } else { Standing::Frozen }));
    }
    // One that is a document already was only not marked as confirmed in time.
    let sql = "SELECT game FROM arrivals WHERE confirmed_at IS NULL AND NOT EXISTS
                 (SELECT 1 FROM documents d WHERE d.collection = 'games' AND d.id = arrivals.game)";
    let mut statement = conn.prepare(sql).map_err(told)?;
    let games = statement.query_map([], |row| row.get::<_, String>(0)).map_err(told)?;
    for game in games {
        standings.push((name(&game.map_err(told)?)?, Standing::Arriving));
    }
    Ok(standings)
}

/// Records that a game goes. From the moment that this is on disk, only the other server may change it.
pub fn record(conn: &Connection, row: &MoveRow, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO moves (game, target, move, version, at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
    let version = i64::try_from(row.version.0).unwrap_or(i64::MAX);
    conn.execute(sql, (row.name.id.as_str(), &row.target, &row.id, version, now.to_string())).map(drop).map_err(told)
}

/// Notes that the other server has made the game live.
pub fn note_confirmed(conn: &Connection, row: &MoveRow, now: Timestamp) -> Result<()> {
    let sql = "UPDATE moves SET confirmed_at = ?3 WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    conn.execute(sql, (row.name.id.as_str(), &row.id, now.to_string())).map(drop).map_err(told)
}

/// The moves that the other server has not confirmed yet.
pub fn unconfirmed(conn: &Connection) -> Result<Vec<MoveRow>> {
    let sql = "SELECT game, target, move, version FROM moves WHERE confirmed_at IS NULL ORDER BY game";
    let mut statement = conn.prepare(sql).map_err(told)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?));
    let mut found = Vec::new();
    for row in statement.query_map([], read).map_err(told)? {
        let (game, target, id, version) = row.map_err(told)?;
        let version = Version(u64::try_from(version).map_err(Error::internal)?);
        found.push(MoveRow { name: name(&game)?, target, id, version });
    }
    Ok(found)
}

/// What is known of a game that comes.
pub fn arrival(conn: &Connection, game: &DocumentName) -> Result<Option<ArrivalRow>> {
    let sql = "SELECT move, head, bytes, prepared, confirmed_at IS NOT NULL FROM arrivals WHERE game = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(ArrivalRow {
            id: row.get(0)?,
            head: row.get(1)?,
            bytes: row.get(2)?,
            prepared: row.get(3)?,
            confirmed: row.get(4)?,
        })
    };
    conn.query_row(sql, [game.id.as_str()], read).optional().map_err(told)
}

/// Takes note of a game that comes, in place of an earlier attempt.
pub fn begin(conn: &Connection, game: &DocumentName, id: &str, head: &str, now: Timestamp) -> Result<()> {
    conn.execute("DELETE FROM arrivals WHERE game = ?1", [game.id.as_str()]).map_err(told)?;
    let sql = "INSERT INTO arrivals (game, move, head, bytes, prepared, at) VALUES (?1, ?2, ?3, 0, 0, ?4)";
    conn.execute(sql, (game.id.as_str(), id, head, now.to_string())).map(drop).map_err(told)
}

/// Keeps events of a game that comes. Errors: `NotFound` when it was not announced or is verified already; `TooLarge`.
pub fn keep(conn: &Connection, game: &DocumentName, id: &str, events: &[SentEvent], bytes_max: usize) -> Result<()> {
    let arrival = arrival(conn, game)?.filter(|arrival| arrival.id == id && !arrival.prepared && !arrival.confirmed);
    let arrival = arrival.ok_or_else(|| Error::not_found("no such move is under way"))?;
    let bytes: usize = events.iter().map(|event| event.body.len()).sum();
    let bytes = arrival.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    if usize::try_from(bytes).is_ok_and(|bytes| bytes > bytes_max) {
        return Err(Error::new(Kind::TooLarge, format!("a game that moves has at most {bytes_max} bytes of history")));
    }
    let sql = "INSERT INTO arrival_events (game, version, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT DO NOTHING";
    let mut statement = conn.prepare_cached(sql).map_err(told)?;
    for event in events {
        let body = std::str::from_utf8(&event.body).map_err(Error::internal)?;
        let version = i64::try_from(event.version.0).unwrap_or(i64::MAX);
        statement.execute((game.id.as_str(), version, event.hash.to_string(), event.deletes, body)).map_err(told)?;
    }
    let sql = "UPDATE arrivals SET bytes = ?2 WHERE game = ?1";
    conn.execute(sql, (game.id.as_str(), bytes)).map(drop).map_err(told)
}

/// The events of a game that comes, oldest first.
pub fn kept(conn: &Connection, game: &DocumentName) -> Result<Vec<SentEvent>> {
    let sql = "SELECT version, hash, deletes, body FROM arrival_events WHERE game = ?1 ORDER BY version";
    let mut statement = conn.prepare(sql).map_err(told)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get::<_, String>(3)?))
    };
    let mut events = Vec::new();
    for row in statement.query_map([game.id.as_str()], read).map_err(told)? {
        let (version, hash, deletes, body) = row.map_err(told)?;
        let version = Version(u64::try_from(version).map_err(Error::internal)?);
        let hash = Hash::parse(&hash).ok_or_else(|| Error::internal("a kept hash that is none"))?;
        events.push(SentEvent { version, hash, deletes, body: Bytes::from(body) });
    }
    Ok(events)
}

/// Notes that all of it is here and verified. Error: `NotFound` when it is gone meanwhile.
pub fn note_prepared(conn: &Connection, game: &DocumentName, id: &str) -> Result<()> {
    let sql = "UPDATE arrivals SET prepared = 1 WHERE game = ?1 AND move = ?2";
    match conn.execute(sql, (game.id.as_str(), id)).map_err(told)? {
        0 => Err(Error::not_found("no such move is under way")),
        _ => Ok(()),
    }
}

/// Notes that it is live. What was kept of it meanwhile goes; the row stays, for whoever asks again.
pub fn note_arrived(conn: &Connection, game: &DocumentName, id: &str, now: Timestamp) -> Result<()> {
    let sql = "UPDATE arrivals SET confirmed_at = ?3 WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    conn.execute(sql, (game.id.as_str(), id, now.to_string())).map_err(told)?;
    conn.execute("DELETE FROM arrival_events WHERE game = ?1", [game.id.as_str()]).map(drop).map_err(told)
}

/// Forgets a game that did not come. True: there was one.
pub fn forget(conn: &Connection, game: &DocumentName, id: &str) -> Result<bool> {
    let sql = "DELETE FROM arrivals WHERE game = ?1 AND move = ?2 AND confirmed_at IS NULL";
    Ok(conn.execute(sql, (game.id.as_str(), id)).map_err(told)? > 0)
}

/// The games that did not come since `before`, with the names of their moves.
pub fn overdue(conn: &Connection, before: Timestamp) -> Result<Vec<(DocumentName, String)>> {
    let sql = "SELECT game, move FROM arrivals WHERE confirmed_at IS NULL AND at < ?1";
    let mut statement = conn.prepare(sql).map_err(told)?;
    let rows = statement.query_map([before.to_string()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let mut found = Vec::new();
    for row in rows.map_err(told)? {
        let (game, id) = row.map_err(told)?;
        found.push((name(&game)?, id));
    }
    Ok(found)
}

fn name(game: &str) -> Result<DocumentName> {
    DocumentName::new("games", game).map_err(Error::internal)
}
