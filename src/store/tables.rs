//! The statements that write the tables of documents, events and snapshots.

use std::sync::Arc;

use rusqlite::Connection;

use crate::base::clock::Timestamp;
use crate::base::ids::{Seq, Version};
use crate::document::access::Access;
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::store::error::{WriteError, WriteResult};
use crate::store::rows::{self, Text, TrimPoint};

/// The number of the format that this release writes, as in `schema.sql`.
pub(crate) const FORMAT: i64 = 5;
pub(crate) const SCHEMA: &str = include_str!("../../schema.sql");

pub(crate) fn insert_documents(conn: &Connection, documents: &[Arc<Meta>]) -> rusqlite::Result<()> {
    documents.iter().try_for_each(|meta| insert_document(conn, meta, Existing::Keep))
}

/// Stores the row of a document; of an existing one, where its history begins stays.
pub(crate) fn insert_document(conn: &Connection, meta: &Meta, existing: Existing) -> rusqlite::Result<()> {
    const INSERT: &str =
        "INSERT INTO documents (key, collection, id, host, access, created_at, access_seq, base_version, base_seq,
                                base_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8) ON CONFLICT (key) DO";
    const REPLACE: &str = "UPDATE SET collection = excluded.collection, id = excluded.id, host = excluded.host,
         access = excluded.access, access_seq = excluded.access_seq, created_at = excluded.created_at";
    let sql = match existing {
        Existing::Keep => format!("{INSERT} NOTHING"),
        Existing::Replace => format!("{INSERT} {REPLACE}"),
    };
    let access = access_column(meta).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    conn.prepare_cached(&sql)?.execute((
        meta.key,
        meta.name.collection.as_str(),
        meta.name.id.as_str(),
        meta.host.as_ref().map(|host| host.as_str()),
        access,
        meta.created_at.to_string(),
        rows::int(meta.access_seq.0),
        Hash::ZERO.to_string(),
    ))?;
    Ok(())
}

/// What stands in the column `access`. `None`: the defaults.
pub(crate) fn access_column(meta: &Meta) -> serde_json::Result<Option<String>> {
    (meta.access != Access::default()).then(|| serde_json::to_string(&meta.access)).transpose()
}

/// Writes host and access of the documents that these events change them of.
pub(crate) fn update_access(conn: &Connection, events: &[Arc<Event>]) -> WriteResult {
    events.iter().filter(|event| event.changes_access()).try_for_each(|event| write_access(conn, &event.meta))
}

/// Writes host and access of a document.
pub(crate) fn write_access(conn: &Connection, meta: &Meta) -> WriteResult {
    let sql = "UPDATE documents SET host = ?2, access = ?3, access_seq = ?4 WHERE key = ?1";
    let access = access_column(meta).map_err(WriteError::other)?;
    let host = meta.host.as_ref().map(|host| host.as_str());
    conn.prepare_cached(sql)?.execute((meta.key, host, access, rows::int(meta.access_seq.0)))?;
    Ok(())
}

pub(crate) fn insert_events(conn: &Connection, events: &[Arc<Event>]) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO events (seq, document, version, at, hash, deletes, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = conn.prepare_cached(sql)?;
    for event in events {
        statement.execute((
            rows::int(event.seq.0),
            event.meta.key,
            rows::int(event.version.0),
            event.at.to_string(),
            event.hash.to_string(),
            event.deletes,
            Text(&event.body),
        ))?;
    }
    Ok(())
}

/// What becomes of a row that is there already.
#[derive(Clone, Copy)]
pub(crate) enum Existing {
    Keep,
    Replace,
}

pub(crate) fn insert_snapshot(conn: &Connection, document: &Document, existing: Existing) -> rusqlite::Result<()> {
    let sql = match existing {
        Existing::Keep => {
            "INSERT INTO snapshots (document, version, seq, hash, at, checksum, state, mac)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, row_mac('snapshots', ?1, ?2, ?3, ?4, ?5, ?6)) ON CONFLICT DO NOTHING"
        }
        Existing::Replace => {
            "INSERT INTO snapshots (document, version, seq, hash, at, checksum, state, mac)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, row_mac('snapshots', ?1, ?2, ?3, ?4, ?5, ?6))
             ON CONFLICT (document, version) DO UPDATE
             SET seq = excluded.seq, hash = excluded.hash, at = excluded.at, checksum = excluded.checksum,
                 state = excluded.state, mac = excluded.mac"
        }
    };
    let Document { meta, version, hash, seq, updated_at, state } = document;
    let checksum = snapshot_checksum(*hash, *version, *seq, *updated_at, state.as_deref());
    conn.prepare_cached(sql)?.execute((
        meta.key,
        rows::int(version.0),
        rows::int(seq.0),
        hash.to_string(),
        updated_at.to_string(),
        checksum.to_string(),
        state.as_deref().map(Text),
    ))?;
    Ok(())
}

/// What a snapshot's row is checked by. Events carry their chain; a state is only covered by this, and this by the
/// row's MAC.
pub(crate) fn snapshot_checksum(hash: Hash, version: Version, seq: Seq, at: Timestamp, state: Option<&[u8]>) -> Hash {
    let kind = if state.is_some() { "state" } else { "deleted" };
    hash.after(format!("{version} {seq} {at} {kind}").as_bytes()).after(state.unwrap_or_default())
}

/// Moves the place where a document's kept history begins.
pub(crate) fn update_base(conn: &Connection, key: i64, base: TrimPoint) -> rusqlite::Result<()> {
    let TrimPoint { version, seq, hash } = base;
    let sql = "UPDATE documents SET base_version = ?2, base_seq = ?3, base_hash = ?4 WHERE key = ?1";
    conn.prepare_cached(sql)?.execute((key, rows::int(version.0), rows::int(seq.0), hash.to_string()))?;
    Ok(())
}

/// Deletes a document's events up to `base`, and its snapshots before it.
pub(crate) fn delete_history_before(conn: &Connection, key: i64, base: Version) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM events WHERE document = ?1 AND version <= ?2",
        "DELETE FROM snapshots WHERE document = ?1 AND version < ?2",
    ] {
        conn.prepare_cached(sql)?.execute((key, rows::int(base.0)))?;
    }
    Ok(())
}

/// Deletes a document's events and snapshots after `version`.
pub(crate) fn delete_history_after(conn: &Connection, key: i64, version: Version) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM events WHERE document = ?1 AND version > ?2",
        "DELETE FROM snapshots WHERE document = ?1 AND version > ?2",
    ] {
        conn.prepare_cached(sql)?.execute((key, rows::int(version.0)))?;
    }
    Ok(())
}

/// Deletes the snapshot at `version`, unless kept history begins there.
pub(crate) fn delete_snapshot(conn: &Connection, key: i64, version: Version) -> rusqlite::Result<()> {
    let sql = "DELETE FROM snapshots WHERE document = ?1 AND version = ?2
               AND version <> (SELECT base_version FROM documents WHERE key = ?1)";
    conn.prepare_cached(sql)?.execute((key, rows::int(version.0))).map(drop)
}

/// The statement of the schema that makes an object: a file from before it gets it at its next start.
pub(crate) fn create_statement(kind: &str, name: &str) -> &'static str {
    let begin = SCHEMA.find(&format!("CREATE {kind} {name} ")).unwrap_or(SCHEMA.len());
    let rest = SCHEMA.get(begin..).unwrap_or_default();
    rest.find(';').and_then(|end| rest.get(..=end)).unwrap_or_default()
}
