//! The tables of reconnect tokens and of sealed answers.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::UserId;
use crate::base::secret::SecretHash;
use crate::features::games::limits::{RECONNECT_TOKENS_MAX, TOKENS_FORGOTTEN_AT_ONCE};
use crate::features::games::tokens::{SealedAnswer, StoredToken};
use crate::store::rows::{optional, time, user};
use crate::store::{IdempotencyKey, RowName, changed_row, rows, sql_error};

/// A token to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewToken<'a> {
    pub hash: &'a SecretHash,
    /// The key of the game that it is for.
    pub document: i64,
    /// The player that it is for.
    pub player: &'a UserId,
    /// The user that it is for.
    pub identity: &'a UserId,
    /// What its line is called; the first of a line names it by its own hash.
    pub family: &'a str,
    /// From when on it is good no more.
    pub expires_at: Timestamp,
}

fn execute(conn: &Connection, sql: &str, values: impl Params) -> Result<usize> {
    let run = |mut statement: CachedStatement<'_>| statement.execute(values);
    conn.prepare_cached(sql).and_then(run).map_err(sql_error)
}

/// Stores a token. Of one player in one game the newest [`RECONNECT_TOKENS_MAX`] are kept, unused ones first.
pub(crate) fn issue(conn: &Connection, token: &NewToken<'_>, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO reconnect_tokens (hash, document, player, identity, family, issued_at, expires_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (hash, player, identity) = (token.hash.to_string(), token.player.as_str(), token.identity.as_str());
    let times = (now.to_string(), token.expires_at.to_string());
    execute(conn, sql, (hash, token.document, player, identity, token.family, &times.0, &times.1))?;
    let sql = "DELETE FROM reconnect_tokens WHERE hash IN (
                   SELECT hash FROM reconnect_tokens WHERE document = ?1 AND player = ?2
                   ORDER BY used_at IS NOT NULL OR revoked_at IS NOT NULL, rowid DESC LIMIT -1 OFFSET ?3)";
    execute(conn, sql, (token.document, player, RECONNECT_TOKENS_MAX))?;
    Ok(())
}

/// Whether the MAC of a row matches.
pub(super) const MATCHES: &str = "mac_matches(mac, 'reconnect_tokens', hash, document, player, identity, family,
                                              issued_at, expires_at, used_at, replaced_by, revoked_at)";

/// What is known of a token. Error: `changed-row`.
pub(crate) fn find(conn: &Connection, hash: &SecretHash) -> Result<Option<StoredToken>> {
    let sql = format!(
        "SELECT document, player, identity, family, expires_at, used_at, revoked_at, {MATCHES}
         FROM reconnect_tokens WHERE hash = ?1"
    );
    let known = |row: &rusqlite::Row<'_>| {
        if !row.get(7)? {
            return Ok(None);
        }
        Ok(Some(StoredToken {
            document: row.get(0)?,
            player: user(row, 1)?,
            identity: user(row, 2)?,
            family: row.get(3)?,
            expires_at: time(row, 4)?,
            used_at: optional(row, 5, time)?,
            revoked_at: optional(row, 6, time)?,
        }))
    };
    let one = || conn.prepare_cached(&sql)?.query_row([hash.to_string()], known).optional();
    let found = one().map_err(sql_error)?;
    found.map(|known| known.ok_or_else(|| changed_token(conn, &hash.to_string()))).transpose()
}

/// The refusal to use the row of a token that somebody has changed.
pub(super) fn changed_token(conn: &Connection, hash: &str) -> Error {
    changed_row(&RowName::new(conn, "reconnect_tokens", None, &[hash]))
}

/// Uses a token up, in one statement that itself says whether it still could be. Returns its line. `None`: it could
/// not.
pub(crate) fn rotate(
    conn: &Connection,
    hash: &SecretHash,
    next: &SecretHash,
    now: Timestamp,
) -> Result<Option<String>> {
    let sql = "UPDATE reconnect_tokens SET used_at = ?2, replaced_by = ?3
               WHERE hash = ?1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > ?2 RETURNING family";
    let values = (hash.to_string(), now.to_string(), next.to_string());
    let one = || conn.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional();
    one().map_err(sql_error)
}

/// Ends a line of tokens, with the answers that hold one.
pub(crate) fn revoke_family(conn: &Connection, family: &str, now: Timestamp) -> Result<()> {
    forget_answers(conn, family)?;
    let sql = "UPDATE reconnect_tokens SET revoked_at = ?2 WHERE family = ?1 AND revoked_at IS NULL";
    execute(conn, sql, (family, now.to_string())).map(drop)
}

/// Ends all lines of a player in a game.
pub(crate) fn revoke_player(conn: &Connection, document: i64, player: &UserId, now: Timestamp) -> Result<()> {
    let sql = "DELETE FROM reconnect_answers WHERE token IN (
                   SELECT hash FROM reconnect_tokens WHERE document = ?1 AND player = ?2)";
    execute(conn, sql, (document, player.as_str()))?;
    let sql = "UPDATE reconnect_tokens SET revoked_at = ?3
               WHERE document = ?1 AND player = ?2 AND revoked_at IS NULL";
    execute(conn, sql, (document, player.as_str(), now.to_string())).map(drop)
}

/// Forgets tokens that expired before `before`, with the answers under them: a few at a time, so that nobody waits.
/// Returns how many.
pub(crate) fn forget_expired(conn: &Connection, before: Timestamp) -> Result<usize> {
    let sql = "DELETE FROM reconnect_tokens WHERE hash IN (
                   SELECT hash FROM reconnect_tokens WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
    execute(conn, sql, (before.to_string(), TOKENS_FORGOTTEN_AT_ONCE))
}

/// The answer that was given to a request with this key before. Error: `IdempotencyMismatch` when that was another.
pub(crate) fn find_answer(conn: &Connection, key: &IdempotencyKey) -> Result<Option<SealedAnswer>> {
    let sql = "SELECT fingerprint, nonce, sealed FROM reconnect_answers WHERE scope = ?1 AND key = ?2";
    let read =
        |row: &rusqlite::Row<'_>| Ok((rows::hash(row, 0)?, SealedAnswer { nonce: row.get(1)?, text: row.get(2)? }));
    let one = || conn.prepare_cached(sql)?.query_row((&key.scope, &key.key), read).optional();
    let found = one().map_err(sql_error)?;
    found.map(|(fingerprint, sealed)| key.check(fingerprint).map(|()| sealed)).transpose()
}

/// Keeps an answer for a retry, in the place of the earlier ones of the line: who shows the next token got them.
pub(crate) fn keep_answer(
    conn: &Connection,
    family: &str,
    token: &SecretHash,
    key: &IdempotencyKey,
    sealed: &SealedAnswer,
) -> Result<()> {
    forget_answers(conn, family)?;
    let sql = "INSERT INTO reconnect_answers (scope, key, fingerprint, token, nonce, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let values = (&key.scope, &key.key, key.fingerprint.to_string(), token.to_string(), &sealed.nonce, &sealed.text);
    execute(conn, sql, values).map(drop)
}

/// Forgets the answers under the tokens of a line.
pub(crate) fn forget_answers(conn: &Connection, family: &str) -> Result<()> {
    let sql = "DELETE FROM reconnect_answers WHERE token IN (SELECT hash FROM reconnect_tokens WHERE family = ?1)";
    execute(conn, sql, [family]).map(drop)
}

/// Ends the tokens of a restored database that were used, revoked or removed in the one in whose place it comes; all
/// when that cannot be read. Returns how many.
pub(crate) fn end_as_in(restored: &Connection, replaced: Option<&Connection>, now: Timestamp) -> Result<usize> {
    let usable = "SELECT hash FROM reconnect_tokens WHERE used_at IS NULL AND revoked_at IS NULL";
    let hashes = |conn: &Connection| -> Result<Vec<String>> {
        let read = || conn.prepare(usable)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>();
        read().map_err(sql_error)
    };
    let kept: BTreeSet<String> = replaced.map(hashes).transpose()?.unwrap_or_default().into_iter().collect();
    let mut ended = 0;
    for hash in hashes(restored)?.into_iter().filter(|hash| !kept.contains(hash)) {
        execute(restored, "DELETE FROM reconnect_answers WHERE token = ?1", [&hash])?;
        let sql = "UPDATE reconnect_tokens SET revoked_at = ?2 WHERE hash = ?1";
        ended += execute(restored, sql, (&hash, now.to_string()))?;
    }
    Ok(ended)
}
