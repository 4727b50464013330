//! Runs consumers, each in a task of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;
use tracing::warn;

use super::sql::{self, Range};
use super::{Consumer, LoggedChange};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, Seq};
use crate::engine::data::DataAccess;
use crate::live::topics::Interest;
use crate::store::Connection;
use crate::store::read::log::PageBound;

/// Most changes that a consumer is given at once: it holds up the engine with them.
const CHANGES_MAX: usize = 200;
/// Bytes of events after which no further one is given with them.
const BYTES_MAX: usize = 1 << 20;
/// Events that are looked through in one question.
const SCANNED_MAX: u64 = 20_000;
/// How many events of no interest a stored place may be behind.
const UNSTORED_MAX: u64 = 10_000;
/// How long changes are gathered, so that a busy collection costs one transaction more now and then and not each time.
const GATHERED: Duration = Duration::from_millis(50);
/// Shortest and longest delay before what failed is tried again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Changes that are counted of what a consumer still has before it.
pub(crate) const LAG_COUNTED_MAX: usize = 10_000;

/// A consumer with what is known of it in memory.
#[derive(Debug)]
struct Registered {
    consumer: Consumer,
    interest: Arc<Interest>,
    /// Its collections, as a JSON array.
    collections: String,
    state: Mutex<ConsumerState>,
}

#[derive(Debug, Default)]
struct ConsumerState {
    /// There is nothing for it up to here but what is stored as its place.
    scanned: Seq,
    /// Why it does not get on.
    error: Option<String>,
}

/// The consumers, once they are known: features are made with the way to them, and bring them.
#[derive(Clone)]
pub(crate) struct ConsumersHandle {
    all: Arc<OnceLock<Vec<Arc<Registered>>>>,
    data: DataAccess,
}

/// How far a consumer is.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerStatus {
    pub name: &'static str,
    pub collections: &'static [&'static str],
    /// Of the last event that it is done with.
    pub seq: Seq,
    /// When it last stored its place.
    pub stored_at: Option<Timestamp>,
    /// Changes that it still has before it; [`LAG_COUNTED_MAX`]: as many, or more.
    pub lag: u64,
    /// When the oldest of those was made.
    pub oldest: Option<Timestamp>,
    /// Why it does not get on.
    pub error: Option<String>,
}

impl ConsumersHandle {
    /// No consumers yet.
    pub(crate) fn new(data: DataAccess) -> Self {
        Self { all: Arc::default(), data }
    }

    /// Sets the consumers, with their collections. To be called once; returns what runs each.
    pub(crate) fn set(&self, consumers: Vec<(Consumer, Vec<Collection>)>) -> Vec<ConsumerRunner> {
        let register = |(consumer, collections): (Consumer, Vec<Collection>)| {
            let names = serde_json::to_string(consumer.collections).unwrap_or_default();
            let interest = Interest { collections: collections.into_iter().collect(), ..Interest::default() };
            Arc::new(Registered { consumer, interest: Arc::new(interest), collections: names, state: Mutex::default() })
        };
        let all: Vec<_> = consumers.into_iter().map(register).collect();
        let _ = self.all.set(all.clone());
        let runner = |of| ConsumerRunner { of, data: self.data.clone(), stored: None };
        all.into_iter().map(runner).collect()
    }

    /// How far each is. Error: `StorageUnavailable`.
    pub(crate) async fn status(&self) -> Result<Vec<ConsumerStatus>> {
        let all = self.all.get().cloned().unwrap_or_default();
        let to = self.data.reads.hub.gate().durable();
        let read = move |conn: &Connection| all.iter().map(|of| of.status(conn, to)).collect();
        self.data.read_rows(read).await
    }
}

impl Registered {
    fn status(&self, conn: &Connection, to: Seq) -> Result<ConsumerStatus> {
        let (scanned, error) = {
            let state = self.state.lock();
            (state.scanned, state.error.clone())
        };
        let stored = sql::place(conn, self.consumer.name)?;
        let seq = stored.map_or(Seq::ZERO, |stored| stored.seq).max(scanned);
        let (lag, oldest) = sql::lag(conn, self.range(seq, to), LAG_COUNTED_MAX)?;
        let Consumer { name, collections, .. } = self.consumer;
        Ok(ConsumerStatus { name, collections, seq, stored_at: stored.map(|stored| stored.at), lag, oldest, error })
    }

    fn range(&self, after: Seq, to: Seq) -> Range<'_> {
        Range { collections: &self.collections, after, to }
    }

    /// Hands it changes, and stores that it is done with all up to `reached`, if its place is `before`. For the
    /// transaction that `conn` is in. False: it is elsewhere, and nothing was done.
    fn advance(
        &self,
        conn: &Connection,
        (before, reached): (Seq, Seq),
        changes: &[LoggedChange],
        now: Timestamp,
    ) -> Result<bool> {
        let place = sql::place(conn, self.consumer.name)?.map_or(Seq::ZERO, |stored| stored.seq);
        if place != before {
            return Ok(false);
        }
        if !changes.is_empty() {
            (self.consumer.handle)(conn, changes)?;
        }
        sql::set_place(conn, self.consumer.name, reached, now)?;
        Ok(true)
    }
}

/// Whether there is more to read at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remaining {
    Some,
    None,
}

/// Runs one consumer; see [`run`](Self::run).
pub(crate) struct ConsumerRunner {
    of: Arc<Registered>,
    data: DataAccess,
    /// Its stored place; `None`: to be read.
    stored: Option<Seq>,
}

impl ConsumerRunner {
    /// Reads the log, for ever. Dropped in the middle, it goes on from its stored place at the next start.
    pub(crate) async fn run(mut self) {
        let subscription = self.data.reads.hub.subscribe(Arc::clone(&self.of.interest));
        let mut retry = RETRY.0;
        loop {
            match self.step().await {
                Ok(step) => {
                    retry = RETRY.0;
                    self.of.state.lock().error = None;
                    if step == Remaining::None {
                        subscription.changed().await;
                        sleep(GATHERED).await;
                    }
                }
                Err(error) => {
                    if !self.data.engine.is_running() {
                        return;
                    }
                    self.note(&error);
                    self.stored = None;
                    sleep(retry).await;
                    retry = (retry * 2).min(RETRY.1);
                }
            }
        }
    }

    fn note(&self, error: &Error) {
        let told = error.message().to_owned();
        let before = self.of.state.lock().error.replace(told.clone());
        if before.as_ref() != Some(&told) {
            warn!(consumer = self.of.consumer.name, %error, "a consumer of the log does not get on; it is tried again");
        }
    }

    /// Takes a page of the log. Errors: that of the consumer; `StorageUnavailable`.
    async fn step(&mut self) -> Result<Remaining> {
        let stored = match self.stored {
            Some(stored) => stored,
            None => self.read_place().await?,
        };
        self.stored = Some(stored);
        let after = stored.max(self.of.state.lock().scanned);
        let end = self.data.reads.hub.gate().durable();
        if end <= after {
            return Ok(Remaining::None);
        }
        let to = end.min(Seq(after.0.saturating_add(SCANNED_MAX)));
        let of = Arc::clone(&self.of);
        let bound = PageBound { events: CHANGES_MAX, bytes: BYTES_MAX };
        let (changes, more) = self.data.read_rows(move |conn| sql::page(conn, of.range(after, to), bound)).await?;
        let reached = changes.last().filter(|_| more).map_or(to, |last| last.seq);
        if changes.is_empty() && reached.0.saturating_sub(stored.0) < UNSTORED_MAX {
            self.of.state.lock().scanned = reached;
        } else {
            self.store(stored, reached, changes).await?;
        }
        Ok(if reached < end { Remaining::Some } else { Remaining::None })
    }

    async fn read_place(&self) -> Result<Seq> {
        let name = self.of.consumer.name;
        let place = self.data.read_rows(move |conn| sql::place(conn, name)).await?;
        let place = place.map_or(Seq::ZERO, |stored| stored.seq);
        self.of.state.lock().scanned = place;
        Ok(place)
    }

    async fn store(&mut self, stored: Seq, reached: Seq, changes: Vec<LoggedChange>) -> Result<()> {
        let of = Arc::clone(&self.of);
        let advance = move |conn: &Connection, now| of.advance(conn, (stored, reached), &changes, now);
        if self.data.write_rows(advance).await? {
            self.stored = Some(reached);
            self.of.state.lock().scanned = reached;
            // Foreign code, and what is stored is stored whatever it does.
            let told = catch_unwind(AssertUnwindSafe(|| (self.of.consumer.on_stored)()));
            if told.is_err() {
                warn!(consumer = self.of.consumer.name, "a consumer panicked when told that it is stored");
            }
        } else {
            // It was stored after all when it was told that this is unknown.
            self.stored = None;
        }
        Ok(())
    }
}
