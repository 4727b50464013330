//! Taking documents away: what is kept of them verifies, and gives their id, last version and hash.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::base::ids::{Seq, Version};
use crate::document::chain::Hash;
use crate::document::model::Document;
use crate::store::error::{StoreError, damaged};
use crate::store::rows::{self, DocumentRow, TrimPoint};
use crate::store::tables::{self, Existing};

/// A document to be removed.
#[derive(Clone, Debug)]
pub struct Purge {
    /// Its tombstone. That event is stored already or in the same batch.
    pub tombstone: Arc<Document>,
    /// Seq and hash of the event before it, which becomes the base; `None`: that is looked up.
    pub before: Option<(Seq, Hash)>,
}

/// Removes all that is stored of a document before its tombstone. The event before that becomes the base, so that the
/// tombstone still verifies; a snapshot says that there is no state. Done twice it is the same as once.
pub(crate) fn purge(conn: &Connection, purge: &Purge) -> Result<(), StoreError> {
    let Purge { tombstone, before } = purge;
    debug_assert!(tombstone.is_deleted(), "only what is deleted is purged");
    let (key, last) = (tombstone.meta.key, tombstone.version);
    // Not there yet: it is new in this batch.
    let Some(row) = rows::document_by_key(conn, key)? else { return Ok(()) };
    let version = Version(last.0.saturating_sub(1));
    if version > row.base.version {
        let (seq, hash) = match before {
            Some(known) => *known,
            None => event_at(conn, &row, version)?,
        };
        tables::update_base(conn, key, TrimPoint { version, seq, hash })?;
    }
    for sql in [
        "DELETE FROM events WHERE document = ?1 AND version < ?2",
        "DELETE FROM snapshots WHERE document = ?1 AND version <= ?2",
    ] {
        conn.prepare_cached(sql)?.execute((key, rows::int(last.0)))?;
    }
    tables::insert_snapshot(conn, tombstone, Existing::Replace)?;
    Ok(())
}

fn event_at(conn: &Connection, row: &DocumentRow, version: Version) -> Result<(Seq, Hash), StoreError> {
    let sql = "SELECT seq, hash FROM events WHERE document = ?1 AND version = ?2";
    let read = |found: &rusqlite::Row<'_>| Ok((rows::seq(found, 0)?, rows::hash(found, 1)?));
    let found = conn.prepare_cached(sql)?.query_row((row.meta.key, rows::int(version.0)), read).optional()?;
    found.ok_or_else(|| damaged(&row.meta.name, version, None, "the event is missing").into())
}
