//! SessionOpening, describing and ending sessions, and what goes on with them by itself.
//!
//! A session is on disk before it can be shown. It ends in memory first, so that its token is void and its streams
//! close at once, also while storage fails. From the disk it is removed as a revocation: while storage fails it waits
//! for that, and does not come back by a restart.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::rules::{self, Device, Session, SessionHolder, SessionTerms, Token};
use super::sql;
use super::table::{LiveSession, SessionTable};
use crate::base::clock::{Clock, Timestamp};
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::{Entropy, new_id};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{SessionId, UserId};
use crate::engine::handle::Engine;
use crate::engine::hooks::DocumentHook;
use crate::engine::request::Durability;
use crate::engine::revocations::Revocation;
use crate::feature::memory_rows::MemoryRows;
use crate::features::sessions::limits::{SESSIONS_LOOKED_AT_EVERY, SESSIONS_PER_ROUND, SESSIONS_STORED_EVERY};
use crate::http::request::caller::{ActiveCredential, Caller, unknown_session};
use crate::http::request::cookie::SessionCookie;
use crate::jobs::{Job, JobContext, Schedule, Summary};
use crate::store::{Connection, Reader};

/// What a session is opened with.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionOpening {
    /// For whom, if not for oneself.
    pub user: Option<UserId>,
    pub device: Device,
    /// What the program calls itself.
    pub user_agent: Option<String>,
}

/// What is to be changed of what a user says of a session: what is given; an inner `None` takes it away.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    /// What the device is called.
    pub device_name: Option<Option<String>>,
    /// What its user is at.
    pub current_phase: Option<Option<String>>,
}

/// The sessions, and what it takes to keep them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct SessionStore {
    pub table: Arc<SessionTable>,
    engine: Engine,
}

impl SessionStore {
    /// Takes the stored sessions into memory. Error: storage.
    pub(crate) fn restore(reader: &Reader, engine: Engine, terms: SessionTerms, clock: Arc<dyn Clock>) -> Result<Self> {
        let cookie = SessionCookie::of_server(&reader.rows(sql::server_id)?);
        let revoked = engine.pending_revocations();
        let stored = reader.rows(sql::all)?;
        let good = stored.into_iter().filter(|(_, session)| !revoked.contains(&revocation(&session.id)));
        let table = SessionTable::new(good.collect(), terms, clock, cookie);
        for (session, documents) in reader.rows(sql::scopes::all)? {
            // One of a session that has ended, or that a backup had, goes at the next clean-up.
            if let Some(live) = table.find(&session, None) {
                table.grant(&live, &documents);
            }
        }
        Ok(Self { table: Arc::new(table), engine })
    }

    /// Opens a session; its token is in nobody's hands but the caller's. Errors: `Unauthenticated`, `Forbidden`,
    /// `sessions-full`, `StorageUnavailable`.
    pub(crate) async fn open(
        &self,
        caller: &Caller,
        opening: SessionOpening,
        made: &SessionCreation<'_>,
    ) -> Result<(Token, Session)> {
        if caller.service_token().is_some() && opening.user.is_none() {
            let message = "a service token is shown as it is and opens no session for itself; name a 'user'";
            return Err(Error::new(Kind::Forbidden, message));
        }
        // One that has ended is never taken for none: whoever showed it would be who the connection comes from.
        let known = |shown: &ActiveCredential| self.table.find(&shown.id, None).filter(|live| !live.has_ended());
        let shown = caller.session().map(|shown| known(shown).ok_or_else(unknown_session)).transpose()?;
        let shown = shown.map(|live| live.session().holder);
        let holder = rules::holder(opening.user, caller.administrator, &caller.peer.principal, shown.as_ref())?;
        let token = Token::new(made.entropy);
        let session = Session {
            id: SessionId::new(&new_id(made.entropy, made.now))?,
            holder,
            device: opening.device,
            user_agent: opening.user_agent,
            address: caller.peer.address.ip().to_canonical().to_string(),
            current_phase: None,
            created_at: made.now,
            renewed_at: made.now,
            last_seen_at: made.now,
            opened_by: caller.session().map(|shown| SessionId::new(&shown.id)).transpose()?,
        };
        self.store_new(token, session).await
    }

    /// Opens a session of the server's owner for whoever came by an administrator's link. Errors: `sessions-full`,
    /// `StorageUnavailable`.
    pub(crate) async fn open_linked(
        &self,
        address: String,
        user_agent: Option<String>,
        made: &SessionCreation<'_>,
    ) -> Result<(Token, Session)> {
        let session = Session {
            id: SessionId::new(&new_id(made.entropy, made.now))?,
            holder: SessionHolder::LinkedOwner,
            device: Device::default(),
            user_agent,
            address,
            current_phase: None,
            created_at: made.now,
            renewed_at: made.now,
            last_seen_at: made.now,
            opened_by: None,
        };
        self.store_new(Token::new(made.entropy), session).await
    }

    /// Stores a new session, and lets it be shown then.
    async fn store_new(&self, token: Token, session: Session) -> Result<(Token, Session)> {
        let (live, surplus) = self.table.reserve(token.hash(), session.clone())?;
        let mut place = ReservedSession { table: &self.table, live: &live, taken: false };
        let (hash, stored, removed) = (token.hash(), session.clone(), surplus.clone());
        let write = move |conn: &Connection, _: Timestamp| {
            removed.iter().try_for_each(|live| sql::remove(conn, live.id()))?;
            sql::save(conn, &hash, &stored)
        };
        self.engine.rows(write).await?;
        place.taken = true;
        self.table.forget(&surplus);
        self.table.admit(&live);
        info!(session = %session.id, user = session.holder.viewer().scope(), "a session is opened");
        Ok((token, session))
    }

    /// Changes what a user says of a session. Errors: `NotFound`, `StorageUnavailable`.
    pub(crate) async fn describe(&self, live: &Arc<LiveSession>, description: Description) -> Result<Session> {
        let writer = Arc::clone(live);
        let write = move |conn: &Connection, _: Timestamp| {
            let Description { device_name, current_phase } = &description;
            let said = sql::describe(conn, writer.id(), device_name.as_ref(), current_phase.as_ref())?;
            Ok((writer.next_write(), said.ok_or_else(session_not_found)?))
        };
        let (number, (name, phase)) = self.engine.rows(write).await?;
        live.update_description(number, name, phase);
        Ok(live.session())
    }

    /// Ends sessions: at once in memory, and then on disk. Returns how many were still good, and whether they are gone
    /// from the disk.
    pub(crate) async fn end(&self, sessions: Vec<Arc<LiveSession>>) -> (usize, Durability) {
        let mut ended = 0;
        for live in sessions.iter().filter(|live| !live.has_ended()) {
            self.table.end(live);
            info!(session = %live.id(), "a session is ended");
            ended += 1;
        }
        // What is not even pending is revoked again by and by.
        (ended, self.remove(sessions).await.unwrap_or(Durability::Pending))
    }

    /// Removes sessions that have ended from the disk, and forgets those that are gone from there.
    async fn remove(&self, ended: Vec<Arc<LiveSession>>) -> Result<Durability> {
        let mut durability = Durability::Durable;
        for round in ended.chunks(SESSIONS_PER_ROUND) {
            let revocations = round.iter().map(|live| revocation(live.id())).collect();
            match self.engine.revoke(None, revocations).await? {
                Durability::Durable => self.table.forget(round),
                Durability::Pending => durability = Durability::Pending,
            }
        }
        Ok(durability)
    }

    /// Stores what is stored from time to time only. Error: `StorageUnavailable`.
    pub(crate) async fn store(&self) -> Result<()> {
        self.remove(self.table.ended()).await?;
        self.store_uses().await
    }

    /// Stores when sessions were last used. Error: `StorageUnavailable`.
    pub(crate) async fn store_uses(&self) -> Result<()> {
        for round in self.table.unstored().chunks(SESSIONS_PER_ROUND) {
            let used = round.to_vec();
            let write = move |conn: &Connection, _: Timestamp| {
                used.iter().try_for_each(|(live, seen, renewed)| sql::save_use(conn, live.id(), *seen, *renewed))
            };
            self.engine.rows(write).await?;
            round.iter().for_each(|(live, seen, _)| self.table.stored(live, *seen));
        }
        Ok(())
    }

    /// The event loop: looks for expired sessions, and now and then stores what has changed. While the clock is doubted
    /// none is ended: an expired one is refused, and good again when the clock is set right.
    pub(crate) async fn run_expiry(self, trust: Arc<ClockTrust>) {
        let mut ticks = interval(SESSIONS_LOOKED_AT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stores_every = SESSIONS_STORED_EVERY.as_secs() / SESSIONS_LOOKED_AT_EVERY.as_secs().max(1);
        let (mut looks, mut failing) = (0_u64, false);
        loop {
            ticks.tick().await;
            let expired = if trust.is_trusted() { self.table.expire_sessions() } else { 0 };
            if expired > 0 {
                info!(expired, "sessions have expired");
            }
            looks += 1;
            if !looks.is_multiple_of(stores_every) {
                continue;
            }
            let outcome = self.store().await;
            if let (Err(error), false) = (&outcome, failing) {
                warn!(%error, "sessions cannot be stored; what has ended stays so, and it is tried again");
            }
            failing = outcome.is_err();
        }
    }

    /// The job `sessions-cleanup`, which removes sessions that have expired.
    pub(crate) fn cleanup_job(&self) -> Job {
        let keeper = self.clone();
        let run = move |context: JobContext| {
            let keeper = keeper.clone();
            async move {
                let mut summary = Summary::default();
                if context.dry_run {
                    summary.count("expired", keeper.table.over());
                    return Ok(summary);
                }
                keeper.table.expire_sessions();
                let ended = keeper.table.ended();
                summary.count("expired", ended.len());
                keeper.remove(ended).await?;
                keeper.engine.rows(|conn: &Connection, _: Timestamp| sql::scopes::remove_orphans(conn)).await?;
                keeper.store_uses().await?;
                Ok(summary)
            }
        };
        Job::new("sessions-cleanup", Schedule::Hourly, CLEANUP_TIMEOUT, run).with_dry_run().removing_by_time()
    }
}

/// How long a clean-up may take: all sessions that there may be, with time to spare.
const CLEANUP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// A place that is taken for a session. Dropped before the session is on disk, it ends the session: whether that
/// reaches the disk all the same is not known then, and it is removed from there before it is forgotten.
struct ReservedSession<'a> {
    table: &'a SessionTable,
    live: &'a LiveSession,
    taken: bool,
}

impl Drop for ReservedSession<'_> {
    fn drop(&mut self) {
        if !self.taken {
            self.table.end(self.live);
        }
    }
}

/// What a new session is made from, beside who asks.
pub(crate) struct SessionCreation<'a> {
    /// Where its token comes from.
    pub entropy: &'a dyn Entropy,
    pub now: Timestamp,
}

/// What the engine does with sessions: it removes those from the disk that have ended.
pub(crate) struct SessionsHook;

impl DocumentHook for SessionsHook {
    fn name(&self) -> &'static str {
        HOOK
    }

    fn revoke(&self, conn: &Connection, subject: &str, _: Timestamp) -> Result<()> {
        sql::remove(conn, &SessionId::new(subject)?)
    }
}

const HOOK: &str = "sessions";

/// The sessions in memory, which are compared with those on disk: an inserted one lets nobody in, and goes.
pub(crate) struct SessionRows(pub SessionStore);

impl MemoryRows for SessionRows {
    fn table(&self) -> &'static str {
        "sessions"
    }

    fn stored_keys(&self) -> Vec<String> {
        self.0.table.stored_ids()
    }

    fn has(&self, key: &str) -> bool {
        let pending = |id: &SessionId| self.0.engine.pending_revocations().contains(&revocation(id));
        self.0.table.find(key, None).is_some() || SessionId::new(key).is_ok_and(|id| pending(&id))
    }

    fn write(&self, conn: &Connection, key: &str) -> Result<()> {
        sql::remove_row(conn, key)?;
        match self.0.table.find(key, None).filter(|live| live.is_admitted() && !live.has_ended()) {
            Some(live) => sql::save(conn, live.hash(), &live.session()),
            None => Ok(()),
        }
    }
}

/// The end of a session, which no other has the id of.
fn revocation(id: &SessionId) -> Revocation {
    Revocation::new(HOOK, id.as_str())
}

/// The refusal of a session that is not there, or is somebody else's.
pub(crate) fn session_not_found() -> Error {
    Error::not_found("you have no such session; GET /api/v1/sessions lists yours")
}
