//! Where what there is beside a game's state is kept: on disk, or for a game that lives in memory only in memory like
//! it. The tables and the SQL are the same.

use std::sync::Arc;

use super::revocations::Revoked;
use super::sql;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::document::model::Meta;
use crate::engine::request::Durability;
use crate::http::api::Api;
use crate::live::hub::Hub;
use crate::store::{Connection, MemoryStore, forget_expired_keys};

/// Asks the tables that a game has its rows in. Error: that of `question`; `StorageUnavailable`.
pub(crate) async fn read<T: Send + 'static>(
    api: &Api,
    meta: &Meta,
    question: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    if meta.volatile {
        return api.memory.read(question);
    }
    api.reads.read(move |reader| reader.rows(question)).await
}

/// Writes to them, all or nothing. Errors: those of `write`; `Gone` for a game that was deleted by then;
/// `StorageUnavailable`, and for one in memory `TooLarge`; `Frozen`, `Moved`.
pub(crate) async fn write<T: Send + 'static>(
    api: &Api,
    meta: &Arc<Meta>,
    write: impl FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
) -> Result<T> {
    if meta.volatile {
        return write_in_memory(&api.memory, &api.reads.hub, meta, api.clock.now(), |conn, now| {
            if api.clock_trust.is_trusted() {
                forget_expired_keys(conn, now)?;
            }
            write(conn, now)
        });
    }
    let (name, meta) = (meta.name.clone(), Arc::clone(meta));
    let checked = move |conn: &Connection, now: Timestamp| {
        check_on_disk(conn, &meta)?;
        write(conn, now)
    };
    // Not while the game is on its way to another server: what is written here must be so there.
    api.engine.rows_of(name, checked).await
}

/// [`write`] of a game that lives in memory only.
pub(super) fn write_in_memory<T>(
    memory: &MemoryStore,
    hub: &Hub,
    meta: &Arc<Meta>,
    now: Timestamp,
    write: impl FnOnce(&Connection, Timestamp) -> Result<T>,
) -> Result<T> {
    memory.write(meta, now, |conn, now| {
        // Looked at while nobody else writes here: what belongs to a game that is deleted later goes then.
        let there = hub.document(&meta.name);
        match there.filter(|there| !there.is_deleted() && there.meta.key == meta.key) {
            Some(_) => write(conn, now),
            None => Err(absent_document(meta)),
        }
    })
}

/// Error: `Gone`, for a game on disk that is deleted.
pub(super) fn check_on_disk(conn: &Connection, meta: &Meta) -> Result<()> {
    if sql::is_deleted(conn, meta.key)? { Err(absent_document(meta)) } else { Ok(()) }
}

/// Takes something from a player; while storage fails it is taken at once and stored when that returns. Returns
/// whether it is stored. Errors: those of [`write`], but for what is said of storage: `StorageUnavailable` when as much
/// is revoked and not stored as may be.
pub(crate) async fn revoke(api: &Api, meta: &Arc<Meta>, revoked: Revoked) -> Result<Durability> {
    if meta.volatile {
        let written = write(api, meta, move |conn, now| sql::revoke(conn, &revoked, now)).await;
        return written.map(|()| Durability::Durable);
    }
    api.engine.revoke(Some(meta.name.clone()), vec![revoked.into()]).await
}

fn absent_document(meta: &Meta) -> Error {
    Error::new(Kind::Gone, format!("{} was deleted", meta.name))
}
