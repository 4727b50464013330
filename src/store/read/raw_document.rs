//! A document as its rows have it, whether or not they add up.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use serde_json::Value;

use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Meta;
use crate::document::patch;
use crate::store::error::{StoreError, ignore_damage};
use crate::store::rows::{self, LogHead};

/// What is stored of a document, read without asking whether it adds up.
#[derive(Debug)]
pub struct RawDocument {
    pub meta: Arc<Meta>,
    /// Its newest version, as stored; zeros when no event is there.
    pub version: Version,
    /// Its place in the log and its hash, as stored.
    pub head: LogHead,
    /// The state that its rows make; `None`: it is deleted.
    pub state: Option<Value>,
}

/// What the rows of a document say, whether or not it adds up: its newest readable snapshot, and the changes of the
/// events after it as far as they can be made. `None`: there is no row that can be read, or nothing of a state.
pub(crate) fn read(conn: &Connection, (name, key): (&DocumentName, i64)) -> Result<Option<RawDocument>, StoreError> {
    let Some(row) = rows::document_by_key(conn, key).or_else(ignore_damage)? else { return Ok(None) };
    let sql = "SELECT version, state, seq, hash FROM snapshots WHERE document = ?1 ORDER BY version DESC";
    let read = |found: &rusqlite::Row<'_>| {
        let at = || Ok::<_, rusqlite::Error>((rows::version(found, 0)?, rows::seq(found, 2)?, rows::hash(found, 3)?));
        Ok((at().ok(), rows::optional(found, 1, rows::text).ok()))
    };
    let snapshots: Vec<_> = conn.prepare_cached(sql)?.query_map([key], read)?.collect::<rusqlite::Result<_>>()?;
    let parse = |state: Option<Bytes>| state.map(|bytes| serde_json::from_slice::<Value>(&bytes)).transpose().ok();
    let start = snapshots.into_iter().find_map(|(at, state)| Some((at?, parse(state?)?)));
    let mut made = start.is_some();
    let ((mut newest, seq, hash), mut state) = start.unwrap_or(((Version::ZERO, Seq::ZERO, Hash::ZERO), None));
    let (mut version, mut head) = (newest, LogHead { seq, hash });
    let sql = "SELECT seq, version, hash, deletes, body FROM events WHERE document = ?1 ORDER BY version";
    let mut statement = conn.prepare_cached(sql)?;
    let mut found = statement.query([key])?;
    while let Some(event) = found.next()? {
        let (Ok(seq), Ok(at), Ok(hash)) = (rows::seq(event, 0), rows::version(event, 1), rows::hash(event, 2)) else {
            continue;
        };
        if at >= newest {
            (newest, head) = (at, LogHead { seq, hash });
        }
        if at != version.next() {
            continue;
        }
        let (Ok(deletes), Ok(body)) = (event.get(3), rows::text(event, 4)) else { continue };
        let mut after = state.clone();
        let operations =
            Event::stored(seq, Arc::clone(&row.meta), at, hash, deletes, body).and_then(|e| e.operations());
        if operations.and_then(|operations| patch::apply(&mut after, operations)).is_ok() {
            (version, state, made) = (at, after, true);
        }
    }
    Ok(made.then(|| RawDocument { meta: with_name(&row.meta, name), version: newest, head, state }))
}

/// The same facts of a document of this name: its row may have been given another.
pub(crate) fn with_name(meta: &Meta, name: &DocumentName) -> Arc<Meta> {
    Arc::new(Meta { name: name.clone(), ..meta.clone() })
}
