//! Where what there is beside a game's state is kept: on disk, or for a game that lives in memory only in memory like it.
//! The tables and the SQL are the same.

use std::sync::Arc;

use super::sql;
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::document::decide::absent;
use crate::document::model::{Document, Meta};
use crate::http::api::Api;
use crate::store::Connection;

/// Asks the tables that a game has its rows in. Error: that of `question`; `StorageUnavailable`.
pub async fn read<T: Send + 'static>(
    api: &Api,
    meta: &Meta,
    question: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    if meta.volatile {
        return api.memory.read(question);
    }
    api.reads.ask(move |reader| reader.rows(question)).await
}

/// Writes to them, all or nothing. Errors: those of `write`; `Gone` for a game that was deleted by then;
/// `StorageUnavailable`, and for one in memory `TooLarge`.
pub async fn write<T: Send + 'static>(
    api: &Api,
    game: &Arc<Document>,
    write: impl FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
) -> Result<T> {
    let name = &game.meta.name;
    if game.meta.volatile {
        return api.memory.write(&game.meta, api.clock.now(), |conn, now| {
            // Looked at while nobody else writes here: what belongs to a game that is deleted later goes then.
            match api.reads.hub.document(name) {
                Some(now) if !now.is_deleted() && now.meta.key == game.meta.key => {}
                other => return Err(absent(name, other.as_ref())),
            }
            write(conn, now)
        });
    }
    let game = Arc::clone(game);
    let checked = move |conn: &Connection, now: Timestamp| {
        if sql::is_deleted(conn, game.meta.key)? {
            return Err(absent(&game.meta.name, Some(&game)));
        }
        write(conn, now)
    };
    api.engine.rows(checked).await
}
