//! Which games are completed, and what goes with them.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, UserId};
use crate::engine::handle::Engine;
use crate::engine::hooks::{DocumentHook, RelocationStore, RemovedDocument};
use crate::engine::request::Relocation;
use crate::features::games::problems::RELOCATION_PROBLEMS;
use crate::features::games::revocations::{HOOK, PendingRevoked, Revoked};
use crate::live::presence::{Participants, Presence};
use crate::live::relocations::RelocationProblems;
use crate::store::{Connection, MemoryStore, Reader, sql_error};

/// The collection that games are in.
pub(crate) const COLLECTION: &str = "games";

/// What the engine does with games. Completed games are what goes first when the disk is full, the one that was
/// completed first before all others. One that is on its way to another server stays: that server may need to be sent
/// it again.
pub(crate) struct GamesHook {
    /// What there is beside games that live in memory only.
    pub memory: Arc<MemoryStore>,
    /// Who is connected, and seated.
    pub presence: Arc<Presence>,
}

impl DocumentHook for GamesHook {
    fn name(&self) -> &'static str {
        HOOK
    }

    fn removable_documents(&self, conn: &Connection, limit: usize) -> Result<Vec<DocumentName>> {
        let sql = "SELECT d.id FROM games g JOIN documents d ON d.key = g.document
                   WHERE g.status = 'completed' AND d.collection = ?1
                     AND mac_matches(g.mac, 'games', g.document, g.status, g.completed_at)
                     AND NOT EXISTS (SELECT 1 FROM moves WHERE game = d.id)
                     ORDER BY g.completed_at, g.document LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut statement = conn.prepare_cached(sql).map_err(sql_error)?;
        let ids = statement.query_map((COLLECTION, limit), |row| row.get::<_, String>(0)).map_err(sql_error)?;
        let mut names = Vec::new();
        for id in ids {
            names.push(DocumentName::new(COLLECTION, &id.map_err(sql_error)?)?);
        }
        Ok(names)
    }

    fn document_removed(&self, conn: &Connection, key: i64) -> Result<()> {
        remove(conn, key)
    }

    fn revoke(&self, conn: &Connection, subject: &str, now: Timestamp) -> Result<()> {
        let revoked = Revoked::parse(subject).ok_or_else(|| Error::internal("a revocation of games is none"))?;
        super::revoke(conn, &revoked, now)
    }

    fn removal_published(&self, removed: RemovedDocument<'_>) {
        let game = removed.document();
        if game.collection.as_str() != COLLECTION {
            return;
        }
        if removed.is_volatile()
            && let Err(error) = self.memory.forget(removed.document_key(), remove)
        {
            tracing::warn!(document = %game, %error, "rows of a game that is gone stay in memory");
        }
        self.presence.all_left(game);
    }

    fn history_dropped(&self, conn: &Connection, key: i64) -> Result<()> {
        // Nobody comes back to a game that is over. Who sat where is part of how it ended.
        let sql = "DELETE FROM reconnect_tokens WHERE document = ?1";
        conn.prepare_cached(sql).and_then(|mut statement| statement.execute([key])).map(drop).map_err(sql_error)
    }
}

/// The games that are moved between servers, as they are stored.
pub(crate) struct StoredMoves;

impl RelocationStore for StoredMoves {
    fn stored_relocations(&self, conn: &Connection) -> Result<Vec<(DocumentName, Relocation)>> {
        super::migrate::relocations(conn)
    }

    fn problems(&self) -> RelocationProblems {
        RELOCATION_PROBLEMS
    }
}

/// Removes what there is beside a game. One that is created again under the same id is another. Answers go with their
/// tokens.
fn remove(conn: &Connection, key: i64) -> Result<()> {
    for sql in [
        "DELETE FROM reconnect_tokens WHERE document = ?1",
        "DELETE FROM seats WHERE document = ?1",
        "DELETE FROM games WHERE document = ?1",
    ] {
        conn.prepare_cached(sql).and_then(|mut statement| statement.execute([key])).map_err(sql_error)?;
    }
    Ok(())
}

/// Who is seated at games, on disk and in memory.
pub(crate) struct SeatedPlayers {
    /// What is on disk.
    pub reader: Reader,
    /// What belongs to games that live in memory only.
    pub memory: Arc<MemoryStore>,
    /// Knows what is revoked and still on disk.
    pub engine: Engine,
}

impl Participants for SeatedPlayers {
    fn participants(&self, name: &DocumentName) -> BoxFuture<'static, Vec<UserId>> {
        if name.collection.as_str() != COLLECTION {
            return Box::pin(std::future::ready(Vec::new()));
        }
        let (reader, memory, id) = (self.reader.clone(), Arc::clone(&self.memory), name.id.clone());
        let revoked = PendingRevoked(self.engine.pending_revocations());
        let seated = move |conn: &Connection| -> Result<Vec<UserId>> {
            let Some(key) = super::key_of(conn, &id)? else { return Ok(Vec::new()) };
            let seats = super::seats(conn, key)?.into_iter().filter(|seat| !revoked.has_seat(key, seat));
            Ok(seats.map(|seat| seat.player).collect())
        };
        let ask = move || match memory.read(&seated)? {
            players if players.is_empty() => reader.rows(&seated),
            players => Ok(players),
        };
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(ask).await.map_err(Error::internal);
            asked.and_then(|players| players).unwrap_or_else(|error| {
                tracing::debug!(%error, "who is seated could not be read");
                Vec::new()
            })
        })
    }
}
