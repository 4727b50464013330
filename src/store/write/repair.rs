//! Rewriting a document's rows after they were changed from outside or damaged: what is kept of its history verifies
//! again, and the rest is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::base::ids::{Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::store::error::{StoreError, ignore_damage};
use crate::store::integrity::rows::write_document_mac;
use crate::store::read::replay;
use crate::store::rows::{self, Text, TrimPoint};
use crate::store::tables::{self, Existing};
use crate::store::write::proven_history::{Link, ProvenHistory};

/// What the rows of a document are to be.
#[derive(Clone, Debug)]
pub enum DocumentRepair {
    /// Rewrites the rows to those of this document.
    Rewrite {
        document: Arc<Document>,
        /// Its kept history. `None`: no history is kept, and the document is the base of an event of the same batch.
        history: Option<ProvenHistory>,
        /// Hash of the event that follows `document`, if one does.
        next_hash: Option<Hash>,
    },
    /// Removes all rows of the document with this key.
    Remove(i64),
}

/// Writes the rows. Done twice it is the same as once.
pub(crate) fn repair(conn: &Connection, repair: &DocumentRepair) -> Result<(), StoreError> {
    match repair {
        DocumentRepair::Remove(key) => remove(conn, *key),
        DocumentRepair::Rewrite { document, history, next_hash } => {
            rewrite(conn, document, history.as_ref(), *next_hash)
        }
    }
}

fn remove(conn: &Connection, key: i64) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM snapshots WHERE document = ?1",
        "DELETE FROM events WHERE document = ?1",
        "DELETE FROM documents WHERE key = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([key])?;
    }
    Ok(())
}

fn rewrite(
    conn: &Connection,
    document: &Document,
    history: Option<&ProvenHistory>,
    next_hash: Option<Hash>,
) -> Result<(), StoreError> {
    let (meta, key) = (&document.meta, document.meta.key);
    let sql = "SELECT key FROM documents WHERE collection = ?1 AND id = ?2 AND key <> ?3";
    let parameters = (meta.name.collection.as_str(), meta.name.id.as_str(), key);
    if let Some(other) = conn.prepare_cached(sql)?.query_row(parameters, |row| row.get(0)).optional()? {
        remove(conn, other)?;
    }
    tables::insert_document(conn, meta, Existing::Replace)?;
    let base = history
        .map_or(TrimPoint { version: document.version, seq: document.seq, hash: document.hash }, |history| {
            history.base
        });
    tables::update_base(conn, key, base)?;
    write_document_mac(conn, key)?;
    let version = rows::int(base.version.0);
    let sql = "DELETE FROM events WHERE document = ?1
               AND (version <= ?2 OR (version > ?3 AND (version <> ?3 + 1 OR hash IS NOT ?4)))";
    let last = rows::int(document.version.0);
    conn.prepare_cached(sql)?.execute((key, version, last, next_hash.map(|hash| hash.to_string())))?;
    let mut known = BTreeMap::from([(base.version, (base.seq, base.hash))]);
    for link in history.map_or(&[][..], |history| &history.events) {
        write_event(conn, meta, link)?;
        known.insert(link.version, (link.seq, link.hash));
    }
    drop_snapshots(conn, document, &known)?;
    Ok(tables::insert_snapshot(conn, document, Existing::Replace)?)
}

fn write_event(conn: &Connection, meta: &Arc<Meta>, link: &Link) -> Result<(), StoreError> {
    let (key, version, seq) = (meta.key, rows::int(link.version.0), rows::int(link.seq.0));
    // Another event may have taken its place in the log.
    let sql = "DELETE FROM events WHERE seq = ?1 AND (document <> ?2 OR version <> ?3)";
    conn.prepare_cached(sql)?.execute((seq, key, version))?;
    let sql = "SELECT body FROM events WHERE document = ?1 AND version = ?2";
    let body = match &link.event {
        Some(event) => event.body.clone(),
        None => conn.prepare_cached(sql)?.query_row((key, version), |row| rows::text(row, 0))?,
    };
    let deletes = rows::body_deletes(&body);
    let event = Event::stored(link.seq, Arc::clone(meta), link.version, link.hash, deletes, body)?;
    let (at, hash) = (event.at.to_string(), link.hash.to_string());
    let columns = (seq, key, version, &at, &hash, event.deletes, Text(&event.body));
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE seq = ?1 AND document = ?2 AND version = ?3
                              AND at = ?4 AND hash = ?5 AND deletes = ?6 AND body = ?7)";
    if conn.prepare_cached(sql)?.query_row(columns, |row| row.get(0))? {
        return Ok(());
    }
    let sql = "DELETE FROM events WHERE document = ?1 AND version = ?2";
    conn.prepare_cached(sql)?.execute((key, version))?;
    let sql =
        "INSERT INTO events (seq, document, version, at, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let columns = (seq, key, version, &at, &hash, event.deletes, Text(&event.body));
    conn.prepare_cached(sql)?.execute(columns)?;
    Ok(())
}

/// Takes away the snapshots that are not as they were stored, or of what is not kept.
fn drop_snapshots(
    conn: &Connection,
    document: &Document,
    known: &BTreeMap<Version, (Seq, Hash)>,
) -> Result<(), StoreError> {
    let key = document.meta.key;
    let Some(row) = rows::document_by_key(conn, key)? else { return Ok(()) };
    let sql = "SELECT version FROM snapshots WHERE document = ?1";
    let versions: Vec<i64> =
        conn.prepare_cached(sql)?.query_map([key], |found| found.get(0))?.collect::<rusqlite::Result<_>>()?;
    for stored in versions {
        let version = Version(u64::try_from(stored).unwrap_or(u64::MAX));
        let snapshot = replay::read_snapshot(conn, &row, version).map(Some).or_else(ignore_damage)?;
        let fits = snapshot.is_some_and(|snapshot| known.get(&version) == Some(&(snapshot.seq, snapshot.hash)));
        if !fits {
            conn.prepare_cached("DELETE FROM snapshots WHERE document = ?1 AND version = ?2")?
                .execute((key, stored))?;
        }
    }
    Ok(())
}
