//! What was answered to requests that carried an `Idempotency-Key`, so that it can be answered again: kept in the same
//! transaction as what the request did. [`run_once`] is all that a feature needs.

use bytes::Bytes;
use rusqlite::Connection;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::IDEMPOTENCY_KEPT;
use crate::document::chain::Hash;
use crate::store::error::{StoreError, sql_error};
use crate::store::integrity::changed_row::{RowName, changed_row};
use crate::store::rows::{self, Text};

/// Most idempotency keys that one commit forgets: a bound on its length. Commits add at most a batch's worth, mostly
/// a few, so that forgetting keeps pace.
const KEYS_FORGOTTEN_MAX: i64 = 100;

/// An idempotency key and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct IdempotencyKey {
    /// Who sent it: keys of two callers have nothing to do with each other.
    pub scope: String,
    pub key: String,
    /// A digest of the request that it came with.
    pub fingerprint: Hash,
    /// The key of the stored document that the request is about, if it is about one: the answer goes where that goes.
    pub document: Option<i64>,
}

/// What was answered to a request with an idempotency key.
#[derive(Clone, Debug)]
pub struct IdempotencyRow {
    pub scope: String,
    pub key: String,
    pub fingerprint: Hash,
    /// What was answered: UTF-8.
    pub answer: Bytes,
    pub at: Timestamp,
    /// The key of the document that it is about, if it is one.
    pub document: Option<i64>,
}

/// An answer, and whether it is an earlier one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotentAnswer {
    /// As it is kept: UTF-8.
    pub answer: Bytes,
    /// Whether it was given before.
    pub replayed: bool,
}

impl IdempotencyKey {
    /// The answer that was given to the same request before. Error: `IdempotencyMismatch` when it was given to another.
    pub(crate) fn find(&self, conn: &Connection) -> Result<Option<IdempotentAnswer>> {
        let row = find(conn, &self.scope, &self.key).map_err(StoreError::into_error)?;
        row.map(|row| {
            self.check(row.fingerprint)?;
            Ok(IdempotentAnswer { answer: row.answer, replayed: true })
        })
        .transpose()
    }

    /// An answer to it, to be kept.
    pub(crate) fn row(&self, answer: Bytes, at: Timestamp) -> IdempotencyRow {
        let Self { scope, key, fingerprint, document } = self.clone();
        IdempotencyRow { scope, key, fingerprint, answer, at, document }
    }

    /// Error: `IdempotencyMismatch`, unless the key was used with this fingerprint before.
    pub(crate) fn check(&self, before: Hash) -> Result<()> {
        if self.fingerprint == before { Ok(()) } else { Err(mismatch()) }
    }
}

/// The refusal of a key that came with another request before.
pub(crate) fn mismatch() -> Error {
    Error::new(Kind::IdempotencyMismatch, "this Idempotency-Key came with another request before")
}

/// Does `write`, whose answer is kept under `key`, unless it was done under that key before: then that answer is given
/// again and nothing is done. For the transaction that `conn` is in, of which `write` and the answer are parts; what
/// fails is not kept. Errors: `IdempotencyMismatch`; those of `write`.
pub(crate) fn run_once(
    key: Option<&IdempotencyKey>,
    conn: &Connection,
    now: Timestamp,
    write: impl FnOnce(&Connection, Timestamp) -> Result<Bytes>,
) -> Result<IdempotentAnswer> {
    if let Some(known) = key.map(|key| key.find(conn)).transpose()?.flatten() {
        return Ok(known);
    }
    let answer = write(conn, now)?;
    if let Some(key) = key {
        insert(conn, &[key.row(answer.clone(), now)]).map_err(sql_error)?;
    }
    Ok(IdempotentAnswer { answer, replayed: false })
}

/// Remembers an answer, also in place of the one that is there: for a call that is answered before all of it is done.
pub(crate) fn replace_answer(conn: &Connection, row: &IdempotencyRow) -> Result<()> {
    insert(conn, std::slice::from_ref(row)).map_err(sql_error)
}

pub(crate) fn insert(conn: &Connection, keys: &[IdempotencyRow]) -> rusqlite::Result<()> {
    // One that is there already is older than what is promised to be remembered: whoever adds one has looked.
    let sql = "INSERT INTO idempotency_keys (scope, key, fingerprint, answer, at, document, mac)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, row_mac('idempotency_keys', ?1, ?2, ?3, ?4, ?5, ?6))
               ON CONFLICT (scope, key) DO UPDATE
               SET fingerprint = excluded.fingerprint, answer = excluded.answer, at = excluded.at,
                   document = excluded.document, mac = excluded.mac";
    let mut statement = conn.prepare_cached(sql)?;
    for row in keys {
        let IdempotencyRow { scope, key, fingerprint, answer, at, document } = row;
        statement.execute((scope, key, fingerprint.to_string(), Text(answer), at.to_string(), document))?;
    }
    Ok(())
}

/// What was answered under a key. May be older than what is promised to be remembered.
pub(crate) fn find(
    conn: &Connection,
    scope: &str,
    key: &str,
) -> std::result::Result<Option<IdempotencyRow>, StoreError> {
    let sql = "SELECT fingerprint, answer, at, document,
                      mac_matches(mac, 'idempotency_keys', scope, key, fingerprint, answer, at, document)
               FROM idempotency_keys WHERE scope = ?1 AND key = ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query((scope, key))?;
    let Some(row) = found.next()? else { return Ok(None) };
    if !row.get(4)? {
        return Err(changed_row(&RowName::new(conn, "idempotency_keys", None, &[scope, key])).into());
    }
    let (fingerprint, answer, at) = (rows::hash(row, 0)?, rows::text(row, 1)?, rows::time(row, 2)?);
    let (scope, key, document) = (scope.to_owned(), key.to_owned(), row.get(3)?);
    Ok(Some(IdempotencyRow { scope, key, fingerprint, answer, at, document }))
}

/// Forgets some of the idempotency keys that are old enough. For a feature's rows.
pub(crate) fn forget_expired_keys(conn: &Connection, now: Timestamp) -> Result<()> {
    forget_expired(conn, now).map_err(sql_error)
}

/// See [`forget_expired_keys`].
pub(crate) fn forget_expired(conn: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "DELETE FROM idempotency_keys WHERE rowid IN
                 (SELECT rowid FROM idempotency_keys WHERE at < ?1 ORDER BY at LIMIT ?2)";
    conn.prepare_cached(sql)?.execute((now.minus(IDEMPOTENCY_KEPT).to_string(), KEYS_FORGOTTEN_MAX))?;
    Ok(())
}
