//! Changing limits, and keeping buckets across restarts.
//!
//! A change is on disk before it is in force, and both before it is answered. Buckets are stored a little later than
//! they are taken from: within some 250 ms when one falls below its half or is found exhausted, else within some 5 s,
//! and when the server stops. So a stop grants nothing; a crash grants at most what was spent since then, and never
//! more than one bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::{sleep, timeout};

use super::identity::BucketOwner;
use super::ledger::{LedgerBounds, SavedBucket};
use super::limiter::{LimitDecision, Limiter, Shortage};
use super::rules::matching::{Rule, Verb};
use super::rules::{Limit, UserLimit};
use super::sql::{self, RuleFields, StoredBucket, StoredLimits};
use crate::base::clock::{Clock, Timestamp};
use crate::base::entropy::{Entropy, new_id};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentId, UserId};
use crate::engine::handle::Engine;
use crate::engine::read::Reads;
use crate::http::idempotency::IdempotentCall;
use crate::http::request::caller::Caller;
use crate::store::{Connection, IdempotentAnswer, Reader};

/// How long what should be stored soon waits for more of it.
const SAVE_SOON: Duration = Duration::from_millis(250);
/// How often the rest is stored.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// A bucket that is full again within this is not stored: no restart is much faster.
const HORIZON: Duration = Duration::from_secs(2);
/// Most buckets in one transaction; the rest goes into the next.
const SAVE_BUCKETS_MAX: usize = 5000;

/// What the configuration says about limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimitSettings {
    /// The limit of whoever has no other.
    pub default: Limit,
    /// Whether administrators are limited too.
    pub administrators: bool,
}

/// The limits of a server. Shared by all requests.
pub(crate) struct RateLimits {
    pub limiter: Limiter,
    pub since: Timestamp,
    administrators: bool,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    engine: Engine,
    /// Held from before a change is stored until it is in force, so that both go in the same order.
    changing: Mutex<()>,
    /// Whether a change may be on disk that is not in force, since storage failed in the middle.
    doubtful: AtomicBool,
    /// Tells that a bucket should be stored soon.
    soon: Notify,
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").finish_non_exhaustive()
    }
}

impl RateLimits {
    /// The limits as they are stored. Error: what is stored cannot be read.
    pub(crate) fn open(
        options: RateLimitSettings,
        reader: &Reader,
        engine: Engine,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Arc<Self>> {
        let since = clock.now();
        let stored = reader.rows(|conn| sql::load(conn, since))?;
        let limits = Self {
            limiter: Limiter::new(options.default, LedgerBounds::default()),
            since,
            administrators: options.administrators,
            clock,
            entropy,
            engine,
            changing: Mutex::new(()),
            doubtful: AtomicBool::new(false),
            soon: Notify::new(),
        };
        limits.restore(stored);
        Ok(Arc::new(limits))
    }

    fn restore(&self, stored: StoredLimits) {
        self.limiter.set_all(stored.users, stored.rules);
        for StoredBucket { identity, scope, bucket, full_at } in stored.buckets {
            // One without is of a limit that is no more.
            if let Some(scope) = self.limiter.scope_of(&scope) {
                self.limiter.ledger.restore(SavedBucket { identity, scope, bucket, full_at }, self.since);
            }
        }
    }

    /// Whether somebody may ask as much as they like.
    pub(crate) fn exempts(&self, caller: Option<&Caller>) -> bool {
        !self.administrators && caller.is_some_and(|caller| caller.administrator)
    }

    /// Takes a token for a request.
    pub(crate) fn decide(&self, identity: &BucketOwner, verb: Option<Verb>, path: &str) -> LimitDecision {
        let decision = self.limiter.decide(identity, verb, path, self.clock.now());
        if decision.outcome.urgent {
            self.soon.notify_one();
        }
        decision
    }

    /// Takes tokens for calls that are sent in one request, for which one is taken: for all of them, or for none, not
    /// even for the request.
    pub(crate) fn decide_all(
        &self,
        identity: &BucketOwner,
        request: (Option<Verb>, &str),
        calls: &[(Option<Verb>, &str)],
    ) -> std::result::Result<(), Shortage> {
        if self.limiter.decide_all(identity, request, calls, self.clock.now())? {
            self.soon.notify_one();
        }
        Ok(())
    }

    /// The limit of requests to a path, and what it leaves now: takes nothing.
    pub(crate) fn present(&self, identity: &BucketOwner, (verb, path): (Option<Verb>, &str)) -> LimitDecision {
        self.limiter.present(identity, verb, path, self.clock.now())
    }

    /// Gives a user who has none a limit of their own, once. Errors: `AlreadyExists`, `TooLarge`,
    /// `IdempotencyMismatch`, `StorageUnavailable`.
    pub(crate) async fn create_user(
        self: &Arc<Self>,
        user: UserId,
        limit: Limit,
        once: IdempotentCall<UserLimit>,
    ) -> Result<IdempotentAnswer> {
        let for_whom = user.clone();
        let create = move |conn: &Connection, now| sql::put_user(conn, &user, &limit, true, now).map(|(put, _)| put);
        let write = move |conn: &Connection, now| once.run(conn, now, create);
        self.change(write, move |limiter, (_, made)| {
            made.iter().for_each(|made| limiter.set_user(for_whom.clone(), Some(*made)))
        })
        .await
        .map(|(said, _)| said)
    }

    /// Gives a user a limit of their own, in the place of any other. Returns it, and whether there was none. Errors:
    /// `TooLarge`, `StorageUnavailable`.
    pub(crate) async fn put_user(self: &Arc<Self>, user: UserId, limit: Limit) -> Result<(UserLimit, bool)> {
        let for_whom = user.clone();
        let write = move |conn: &Connection, now| sql::put_user(conn, &user, &limit, false, now);
        self.change(write, move |limiter, (limit, _)| limiter.set_user(for_whom, Some(*limit))).await
    }

    /// Takes a user's own limit away. Errors: `NotFound`, `StorageUnavailable`.
    pub(crate) async fn delete_user(self: &Arc<Self>, user: UserId) -> Result<()> {
        let for_whom = user.clone();
        let write = move |conn: &Connection, _| match sql::delete_user(conn, &user)? {
            true => Ok(()),
            false => Err(Error::not_found(format!("{user} has no limit of their own"))),
        };
        self.change(write, move |limiter, ()| limiter.set_user(for_whom, None)).await
    }

    /// Makes a rule, once; without `id`, it is given one. Errors: `AlreadyExists`, `TooLarge`, `IdempotencyMismatch`,
    /// `StorageUnavailable`.
    pub(crate) async fn create_rule(
        self: &Arc<Self>,
        id: Option<DocumentId>,
        fields: RuleFields,
        once: IdempotentCall<Rule>,
    ) -> Result<IdempotentAnswer> {
        let id = id.map_or_else(|| new_id(&*self.entropy, self.clock.now()), |id| id.to_string());
        let create = move |conn: &Connection, now| sql::insert_rule(conn, &id, fields, now);
        let write = move |conn: &Connection, now| once.run(conn, now, create);
        let apply = |limiter: &Limiter, (_, made): &(IdempotentAnswer, Option<Rule>)| {
            made.iter().for_each(|rule| limiter.set_rule(rule.clone()));
        };
        self.change(write, apply).await.map(|(said, _)| said)
    }

    /// Changes a rule. Errors: `NotFound`, `AlreadyExists`, `StorageUnavailable`.
    pub(crate) async fn replace_rule(self: &Arc<Self>, id: String, fields: RuleFields) -> Result<Rule> {
        let write = move |conn: &Connection, now| sql::update_rule(conn, &id, fields, now);
        self.change(write, |limiter, rule: &Rule| limiter.set_rule(rule.clone())).await
    }

    /// Takes a rule away. Errors: `NotFound`, `StorageUnavailable`.
    pub(crate) async fn delete_rule(self: &Arc<Self>, id: String) -> Result<()> {
        let which = id.clone();
        let write = move |conn: &Connection, _| match sql::delete_rule(conn, &id)? {
            true => Ok(()),
            false => Err(Error::not_found("there is no rule of this id")),
        };
        self.change(write, move |limiter, ()| limiter.remove_rule(&which)).await
    }

    /// Stores a change, then puts it in force. In a task of its own, since what is on disk must be in force also when
    /// whoever asked for it has gone meanwhile.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T> + Send + 'static,
        apply: impl FnOnce(&Limiter, &T) + Send + 'static,
    ) -> Result<T> {
        let limits = Arc::clone(self);
        let change = tokio::spawn(async move {
            let _in_order = limits.changing.lock().await;
            let written = limits.engine.rows(write).await;
            match &written {
                Ok(value) => apply(&limits.limiter, value),
                Err(error) if error.kind() == Kind::StorageUnavailable => {
                    limits.doubtful.store(true, Ordering::Relaxed);
                    limits.soon.notify_one();
                }
                Err(_) => {}
            }
            written
        });
        change.await.map_err(Error::internal)?
    }

    /// Puts in force what is on disk, if that is in doubt.
    async fn reload_if_unknown(&self, reads: &Reads) {
        if !self.doubtful.load(Ordering::Relaxed) {
            return;
        }
        let _in_order = self.changing.lock().await;
        // A write of nothing: when it is stored, storage is well again and what came before it is decided.
        if self.engine.rows(|_, _| Ok(())).await.is_err() {
            return;
        }
        match reads.read(|reader| reader.rows(sql::load_limits)).await {
            Ok((users, rules)) => {
                self.limiter.set_all(users, rules);
                self.doubtful.store(false, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the limits cannot be read back"),
        }
    }

    /// Stores the buckets that are not stored as they are. Error: `StorageUnavailable`; then they still are not.
    pub(crate) async fn save(&self) -> Result<()> {
        loop {
            let now = self.clock.now();
            let buckets = self.limiter.ledger.unsaved(now, later(now, HORIZON), SAVE_BUCKETS_MAX);
            if buckets.is_empty() {
                return Ok(());
            }
            let rows: Vec<_> = buckets.iter().filter_map(|saved| self.row(saved)).collect();
            let (all, stored) = (buckets.len(), self.engine.rows(move |conn, now| sql::save_buckets(conn, &rows, now)));
            if let Err(error) = stored.await {
                self.limiter.ledger.mark_unsaved(&buckets);
                return Err(error);
            }
            if all < SAVE_BUCKETS_MAX {
                return Ok(());
            }
        }
    }

    fn row(&self, saved: &SavedBucket) -> Option<StoredBucket> {
        let SavedBucket { identity, bucket, full_at, .. } = saved.clone();
        Some(StoredBucket { identity, scope: self.limiter.scope_name(saved.scope)?, bucket, full_at })
    }

    /// Keeps stored what should be, for as long as there is a server.
    pub(crate) async fn keep_saved(self: Arc<Self>, reads: Reads) {
        loop {
            // Either way: that the time is up is no error.
            if timeout(SAVE_EVERY, self.soon.notified()).await.is_ok() {
                sleep(SAVE_SOON).await;
            }
            self.reload_if_unknown(&reads).await;
            if let Err(error) = self.save().await {
                tracing::debug!(%error, "buckets were not stored; they are again later");
                sleep(SAVE_EVERY).await;
            }
        }
    }
}

fn later(moment: Timestamp, by: Duration) -> Timestamp {
    let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(moment.as_millis().saturating_add(millis))
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
