//! Making and ending service tokens.
//!
//! A token is on disk before it can be shown. It ends in memory first, so that it is void and its streams close at
//! once, also while storage fails; from the disk it is removed as a revocation.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::limits::STORED_EVERY;
use super::rules::{ServiceToken, ServiceTokenSecret};
use super::sql;
use super::table::{LiveServiceToken, ServiceTokenTable};
use crate::base::clock::{Clock, Timestamp};
use crate::base::error::Result;
use crate::base::ids::SessionId;
use crate::engine::handle::Engine;
use crate::engine::hooks::DocumentHook;
use crate::engine::request::Durability;
use crate::engine::revocations::Revocation;
use crate::feature::memory_rows::MemoryRows;
use crate::store::{Connection, Reader};

/// The service tokens, and what it takes to keep them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ServiceTokenStore {
    pub table: Arc<ServiceTokenTable>,
    engine: Engine,
}

impl ServiceTokenStore {
    /// Takes the stored tokens into memory. Error: storage.
    pub(crate) fn restore(reader: &Reader, engine: Engine, clock: Arc<dyn Clock>) -> Result<Self> {
        let revoked = engine.pending_revocations();
        let stored = reader.rows(sql::all)?;
        let good = stored.into_iter().filter(|(_, token)| !revoked.contains(&revocation(&token.id)));
        Ok(Self { table: Arc::new(ServiceTokenTable::new(good.collect(), clock)), engine })
    }

    /// Stores a new token, and lets it be shown then. Errors: `service-tokens-full`, `StorageUnavailable`.
    pub(crate) async fn add(&self, secret: &ServiceTokenSecret, token: ServiceToken) -> Result<()> {
        let live = self.table.reserve(secret.hash(), token.clone())?;
        let mut unstored = UnstoredToken { table: &self.table, live: &live, taken: false };
        let (hash, id) = (secret.hash(), token.id.clone());
        self.engine.rows(move |conn: &Connection, _: Timestamp| sql::save(conn, &hash, &token)).await?;
        unstored.taken = true;
        self.table.admit(&live);
        info!(service_token = %id, "a service token is made");
        Ok(())
    }

    /// Ends a token: at once in memory, and then on disk. Returns whether it is gone from there.
    pub(crate) async fn end(&self, live: &Arc<LiveServiceToken>) -> Durability {
        if !live.has_ended() {
            self.table.end(live);
            info!(service_token = %live.id(), "a service token is ended");
        }
        // What is not even pending is revoked again by and by.
        self.remove(live).await.unwrap_or(Durability::Pending)
    }

    async fn remove(&self, live: &Arc<LiveServiceToken>) -> Result<Durability> {
        let durability = self.engine.revoke(None, vec![revocation(live.id())]).await?;
        if durability == Durability::Durable {
            self.table.forget(live);
        }
        Ok(durability)
    }

    /// Stores when tokens were last used, and what has ended. Error: `StorageUnavailable`.
    pub(crate) async fn store(&self) -> Result<()> {
        for live in self.table.ended() {
            self.remove(&live).await?;
        }
        let used = self.table.unstored();
        if used.is_empty() {
            return Ok(());
        }
        let stored = used.clone();
        let write = move |conn: &Connection, _: Timestamp| {
            stored.iter().try_for_each(|(live, at)| sql::save_use(conn, live.id(), *at))
        };
        self.engine.rows(write).await?;
        used.iter().for_each(|(live, at)| self.table.stored(live, *at));
        Ok(())
    }

    /// The event loop: stores now and then what has changed.
    pub(crate) async fn keep(self) {
        let mut ticks = interval(STORED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let outcome = self.store().await;
            if let (Err(error), false) = (&outcome, failing) {
                warn!(%error, "the use of service tokens cannot be stored; it is tried again");
            }
            failing = outcome.is_err();
        }
    }
}

/// A token whose place in the table is taken. Dropped before it is on disk, it ends the token: whether that reaches the
/// disk all the same is not known then, and it is removed from there before it is forgotten.
struct UnstoredToken<'a> {
    table: &'a ServiceTokenTable,
    live: &'a LiveServiceToken,
    taken: bool,
}

impl Drop for UnstoredToken<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.table.end(self.live);
        }
    }
}

/// What the engine does with service tokens: it removes those from the disk that have ended.
pub(crate) struct ServiceTokensHook;

impl DocumentHook for ServiceTokensHook {
    fn name(&self) -> &'static str {
        HOOK
    }

    fn revoke(&self, conn: &Connection, subject: &str, _: Timestamp) -> Result<()> {
        sql::remove(conn, &SessionId::new(subject)?)
    }
}

const HOOK: &str = "service-tokens";

/// The service tokens in memory, which are compared with those on disk: an inserted one lets nobody in, and goes.
pub(crate) struct ServiceTokenRows(pub ServiceTokenStore);

impl MemoryRows for ServiceTokenRows {
    fn table(&self) -> &'static str {
        "service_tokens"
    }

    fn stored_keys(&self) -> Vec<String> {
        self.0.table.list().iter().map(|token| token.id.to_string()).collect()
    }

    fn has(&self, key: &str) -> bool {
        let pending = |id: &SessionId| self.0.engine.pending_revocations().contains(&revocation(id));
        self.0.table.find(key).is_some() || SessionId::new(key).is_ok_and(|id| pending(&id))
    }

    fn write(&self, conn: &Connection, key: &str) -> Result<()> {
        sql::remove_row(conn, key)?;
        match self.0.table.find(key).filter(|live| !live.has_ended()) {
            Some(live) => sql::save(conn, live.hash(), &live.token()),
            None => Ok(()),
        }
    }
}

/// The end of a token, which no other has the id of.
fn revocation(id: &SessionId) -> Revocation {
    Revocation::new(HOOK, id.as_str())
}
