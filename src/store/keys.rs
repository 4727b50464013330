//! What was answered to requests that carried an `Idempotency-Key`, so that it can be answered again: kept in the same
//! transaction as what the request did. [`once`] is all that a feature needs.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};

use super::error::{Failure, told};
use super::rows::{self, Text};
use super::trim;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::document::chain::Hash;

/// An idempotency key and what it stands for.
#[derive(Clone, Debug)]
pub struct RequestKey {
    /// Who sent it: keys of two callers have nothing to do with each other.
    pub scope: String,
    /// The key.
    pub key: String,
    /// A digest of the request that it came with.
    pub fingerprint: Hash,
}

/// What was answered to a request with an idempotency key.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Who sent it.
    pub scope: String,
    /// The key.
    pub key: String,
    /// Of the request.
    pub fingerprint: Hash,
    /// What was answered: UTF-8.
    pub answer: Bytes,
    /// When.
    pub at: Timestamp,
}

/// An answer, and whether it is an earlier one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// As it is kept: UTF-8.
    pub answer: Bytes,
    /// Whether it was given before.
    pub replayed: bool,
}

impl RequestKey {
    /// The answer that was given to the same request before. Error: `IdempotencyMismatch` when it was given to another.
    pub fn find(&self, conn: &Connection) -> Result<Option<Answered>> {
        let row = find(conn, &self.scope, &self.key).map_err(Failure::told)?;
        row.map(|row| {
            self.check(row.fingerprint)?;
            Ok(Answered { answer: row.answer, replayed: true })
        })
        .transpose()
    }

    /// Error: `IdempotencyMismatch`, unless the key was used with this fingerprint before.
    pub fn check(&self, before: Hash) -> Result<()> {
        if self.fingerprint == before { Ok(()) } else { Err(mismatch()) }
    }
}

/// The refusal of a key that came with another request before.
pub fn mismatch() -> Error {
    Error::new(Kind::IdempotencyMismatch, "this Idempotency-Key came with another request before")
}

/// Does `write`, whose answer is kept under `key`, unless it was done under that key before: then that answer is given
/// again and nothing is done. For the transaction that `conn` is in, of which `write` and the answer are parts; what
/// fails is not kept. Errors: `IdempotencyMismatch`; those of `write`.
pub fn once(
    key: Option<&RequestKey>,
    conn: &Connection,
    now: Timestamp,
    write: impl FnOnce(&Connection, Timestamp) -> Result<Bytes>,
) -> Result<Answered> {
    if let Some(known) = key.map(|key| key.find(conn)).transpose()?.flatten() {
        return Ok(known);
    }
    let answer = write(conn, now)?;
    if let Some(RequestKey { scope, key, fingerprint }) = key {
        let (scope, key) = (scope.clone(), key.clone());
        let row = KeyRow { scope, key, fingerprint: *fingerprint, answer: answer.clone(), at: now };
        insert(conn, &[row]).and_then(|()| trim::forget_keys(conn, now)).map_err(told)?;
    }
    Ok(Answered { answer, replayed: false })
}

/// Remembers answers.
pub(super) fn insert(conn: &Connection, keys: &[KeyRow]) -> rusqlite::Result<()> {
    // One that is there already is older than what is promised to be remembered: whoever adds one has looked.
    let sql = "INSERT INTO idempotency_keys (scope, key, fingerprint, answer, at) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (scope, key) DO UPDATE
               SET fingerprint = excluded.fingerprint, answer = excluded.answer, at = excluded.at";
    let mut statement = conn.prepare_cached(sql)?;
    for row in keys {
        let parameters = (&row.scope, &row.key, row.fingerprint.to_string(), Text(&row.answer), row.at.to_string());
        statement.execute(parameters)?;
    }
    Ok(())
}

/// What was answered under a key. May be older than what is promised to be remembered.
pub(super) fn find(conn: &Connection, scope: &str, key: &str) -> std::result::Result<Option<KeyRow>, Failure> {
    let sql = "SELECT fingerprint, answer, at FROM idempotency_keys WHERE scope = ?1 AND key = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        let (fingerprint, answer, at) = (rows::hash(row, 0)?, rows::text(row, 1)?, rows::time(row, 2)?);
        Ok(KeyRow { scope: scope.to_owned(), key: key.to_owned(), fingerprint, answer, at })
    };
    Ok(conn.prepare_cached(sql)?.query_row((scope, key), read).optional()?)
}
