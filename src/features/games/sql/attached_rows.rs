//! What goes with a game that moves, read on one server and written on the other.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, Params};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::DocumentName;
use crate::base::limits::IDEMPOTENCY_KEPT;
use crate::engine::request::CompanionRows;
use crate::features::games::attached_rows::{
    AnswerRow, AttachedRow, Binary, GameRow, KeptAnswer, KeyRow, SeatRow, TokenRow,
};
use crate::features::games::limits::{EXPIRED_TOKENS_KEPT, MOVED_ANSWERS_BYTES_MAX};
use crate::features::games::sql::tokens::MATCHES;
use crate::store::rows::{invalid_column, optional, time, user};
use crate::store::sql_error;

/// All of it, in the order in which it can be written: what is of no use any more is left out, and of too many answers
/// the oldest go without their bodies.
pub(crate) fn read(conn: &Connection, document: i64, now: Timestamp) -> Result<Vec<AttachedRow>> {
    let mut attached = Vec::new();
    // Refuses what somebody else has changed: it would look as ours there.
    crate::features::games::sql::completed_at(conn, document)?;
    let game = "SELECT completed_at FROM games WHERE document = ?1";
    read_rows(conn, game, [document], &mut attached, |row| {
        Ok(AttachedRow::Game(GameRow { completed_at: optional(row, 0, time)? }))
    })?;
    for seat in crate::features::games::sql::seats(conn, document)? {
        let crate::features::games::sql::Seat { player, seat, identity, joined_at } = seat;
        attached.push(AttachedRow::Seat(SeatRow { player, seat, identity, joined_at }));
    }
    let kept = now.minus(EXPIRED_TOKENS_KEPT).to_string();
    let tokens = format!(
        "SELECT hash, player, identity, family, issued_at, expires_at, used_at, replaced_by, revoked_at
         FROM reconnect_tokens WHERE document = ?1 AND expires_at >= ?2 AND {MATCHES} ORDER BY rowid"
    );
    read_rows(conn, &tokens, (document, &kept), &mut attached, token)?;
    let answers = format!(
        "SELECT a.scope, a.key, a.fingerprint, a.token, a.nonce, a.sealed
         FROM (SELECT rowid AS place, hash FROM reconnect_tokens
               WHERE document = ?1 AND expires_at >= ?2 AND {MATCHES}) t
         JOIN reconnect_answers a ON a.token = t.hash ORDER BY t.place"
    );
    read_rows(conn, &answers, (document, &kept), &mut attached, |row| {
        Ok(AttachedRow::Answer(AnswerRow {
            scope: text(row, 0)?,
            key: row.get(1)?,
            fingerprint: text(row, 2)?,
            token: text(row, 3)?,
            nonce: Binary(row.get(4)?),
            sealed: Binary(row.get(5)?),
        }))
    })?;
    let keys = "SELECT scope, key, fingerprint, answer, at FROM idempotency_keys
                WHERE document = ?1 AND at >= ?2
                  AND mac_matches(mac, 'idempotency_keys', scope, key, fingerprint, answer, at, document)
                ORDER BY at DESC, rowid DESC";
    let mut bytes = 0;
    read_rows(conn, keys, (document, now.minus(IDEMPOTENCY_KEPT).to_string()), &mut attached, |row| {
        let answer: String = row.get(3)?;
        bytes += answer.len();
        let whole = bytes <= MOVED_ANSWERS_BYTES_MAX;
        let answer = if whole { Ok(answer.into_bytes()) } else { compact_json(&answer) };
        let answer = answer.map_err(|error| invalid_column(3, error))?;
        let (scope, fingerprint) = (text(row, 0)?, text(row, 2)?);
        Ok(AttachedRow::Key(KeyRow { scope, key: row.get(1)?, fingerprint, answer: Binary(answer), at: time(row, 4)? }))
    })?;
    Ok(attached)
}

fn compact_json(answer: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(&KeptAnswer::parse(answer.as_bytes())?.minimal()).map_err(Error::internal)
}

fn read_rows(
    conn: &Connection,
    sql: &str,
    parameters: impl Params,
    into: &mut Vec<AttachedRow>,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<AttachedRow>,
) -> Result<()> {
    let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
    for attached_row in statement.query_map(parameters, read).map_err(sql_error)? {
        into.push(attached_row.map_err(sql_error)?);
    }
    Ok(())
}

fn token(row: &rusqlite::Row<'_>) -> rusqlite::Result<AttachedRow> {
    Ok(AttachedRow::Token(TokenRow {
        hash: text(row, 0)?,
        player: user(row, 1)?,
        identity: user(row, 2)?,
        family: text(row, 3)?,
        issued_at: time(row, 4)?,
        expires_at: time(row, 5)?,
        used_at: optional(row, 6, time)?,
        replaced_by: optional(row, 7, text)?,
        revoked_at: optional(row, 8, time)?,
    }))
}

fn text<T: TryFrom<String, Error = &'static str>>(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    T::try_from(text).map_err(|error| invalid_column(column, error))
}

/// Writes all of it for a game that has come, in place of what was here of it before, and notes that it has come. What
/// was verified cannot be refused by the tables: an answer that another request here has the key of gives way.
pub(crate) fn companion_rows(game: &DocumentName, id: &str, attached: Vec<AttachedRow>) -> CompanionRows {
    let (game, id) = (game.id.clone(), id.to_owned());
    Arc::new(move |conn, document, now| {
        for sql in [
            "DELETE FROM reconnect_tokens WHERE document = ?1",
            "DELETE FROM seats WHERE document = ?1",
            "DELETE FROM games WHERE document = ?1",
            "DELETE FROM idempotency_keys WHERE document = ?1",
        ] {
            execute(conn, sql, [document])?;
        }
        for attached_row in &attached {
            write(conn, document, attached_row)?;
        }
        execute(conn, "DELETE FROM moves WHERE game = ?1", [game.as_str()])?;
        let sql = "UPDATE arrivals SET confirmed_at = ?3, head = NULL WHERE game = ?1 AND move = ?2";
        execute(conn, sql, (game.as_str(), &id, now.to_string()))?;
        for sql in [
            "DELETE FROM arrival_events WHERE game = ?1 AND move = ?2",
            "DELETE FROM arrival_rows WHERE game = ?1 AND move = ?2",
        ] {
            execute(conn, sql, (game.as_str(), &id))?;
        }
        Ok(())
    })
}

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<()> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map(drop).map_err(sql_error)
}

fn write(conn: &Connection, document: i64, attached_row: &AttachedRow) -> Result<()> {
    let said = |at: &Option<Timestamp>| at.map(|at| at.to_string());
    match attached_row {
        AttachedRow::Game(GameRow { completed_at }) => {
            let status = if completed_at.is_some() { "completed" } else { "running" };
            let sql = "INSERT INTO games (document, status, completed_at) VALUES (?1, ?2, ?3)";
            execute(conn, sql, (document, status, said(completed_at)))
        }
        AttachedRow::Seat(SeatRow { player, seat, identity, joined_at }) => {
            let sql = "INSERT INTO seats (document, player, seat, identity, joined_at) VALUES (?1, ?2, ?3, ?4, ?5)";
            execute(conn, sql, (document, player.as_str(), seat, identity.as_str(), joined_at.to_string()))
        }
        AttachedRow::Token(token) => {
            let sql = "INSERT INTO reconnect_tokens (hash, document, player, identity, family, issued_at, expires_at,
                                                     used_at, replaced_by, revoked_at)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
            let (player, identity) = (token.player.as_str(), token.identity.as_str());
            let (issued_at, expires_at) = (token.issued_at.to_string(), token.expires_at.to_string());
            let next = token.replaced_by.as_ref().map(|next| next.as_str());
            let (used_at, revoked_at) = (said(&token.used_at), said(&token.revoked_at));
            let (hash, family) = (token.hash.as_str(), token.family.as_str());
            let values = (hash, document, player, identity, family, issued_at, expires_at, used_at, next, revoked_at);
            execute(conn, sql, values)
        }
        AttachedRow::Answer(answer) => {
            let sql = "INSERT INTO reconnect_answers (scope, key, fingerprint, token, nonce, sealed)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
            let (scope, token) = (answer.scope.as_str(), answer.token.as_str());
            let (nonce, sealed) = (&answer.nonce.0, &answer.sealed.0);
            execute(conn, sql, (scope, &answer.key, answer.fingerprint.as_str(), token, nonce, sealed))
        }
        AttachedRow::Key(key) => {
            let sql = "INSERT INTO idempotency_keys (scope, key, fingerprint, answer, at, document)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING";
            let answer = String::from_utf8_lossy(&key.answer.0);
            let (scope, fingerprint) = (key.scope.as_str(), key.fingerprint.as_str());
            execute(conn, sql, (scope, &key.key, fingerprint, answer, key.at.to_string(), document))
        }
    }
}
