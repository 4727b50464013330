//! Recording verdicts and telling them, and what outside services report.
//!
//! A verdict is recorded by the engine's thread, in its transaction, and told once that is on disk. While storage fails,
//! or takes too long, it is told all the same and its row is written later: a dashboard that falls silent when the disk
//! does would be of little use.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, warn};

use super::audit::{Action, Entry, EventId, Run};
use super::outside::{self, Report, Service};
use super::sql;
use super::sql::audit::{Beginning, Missed};
use super::sql::outside::Key;
use super::stream::{Feed, News, Ticket, Update};
use super::verdict::Verdict;
use crate::base::clock::{Clock, Timestamp};
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::{OUTSIDE_SERVICES_MAX, RECONCILIATION_PENDING_MAX, RECONCILIATION_REPLAY_MAX};
use crate::engine::command::Engine;
use crate::engine::reads::Reads;
use crate::store::{Connection, Reader};

/// How long a verdict waits for its row before it is told without: with what else there is on the way, a dashboard has
/// it within a second.
const STORE_PATIENCE: Duration = Duration::from_millis(400);
/// How often it is looked whether a report is overdue or a row is still to be written: half of what staleness may take.
const LOOK: Duration = Duration::from_millis(400);
/// Between two attempts to write rows while storage fails, in looks.
const LOOKS_BETWEEN_RETRIES: u32 = 5;

/// Rows read back into memory at the start.
const RECENT_MAX: u32 = 256;

/// Whether a verdict that is in force already is recorded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    Always,
    IfChanged,
}

/// Compares memory with disk.
pub trait Comparing: Send + Sync + 'static {
    /// Compares one of the server's own services, or all, now. Error: `NotFound` when there is no such service.
    fn compare(&self, service: Option<String>) -> BoxFuture<'static, Result<Vec<Verdict>>>;
}

/// Compares nothing.
#[derive(Clone, Copy, Debug)]
pub struct NothingToCompare;

impl Comparing for NothingToCompare {
    fn compare(&self, service: Option<String>) -> BoxFuture<'static, Result<Vec<Verdict>>> {
        let answer = match service {
            Some(service) => Err(no_service(&service)),
            None => Ok(Vec::new()),
        };
        Box::pin(async { answer })
    }
}

/// The refusal to ask of a service that nobody knows.
pub fn no_service(name: &str) -> Error {
    Error::not_found(format!("there is no service '{name}'"))
}

/// What reconciliation works with.
pub struct Parts {
    /// The way to write rows.
    pub engine: Engine,
    /// The way to read them.
    pub reads: Reads,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What compares the server's own services.
    pub comparing: Arc<dyn Comparing>,
    /// Most rows of the audit.
    pub rows_max: u64,
}

/// The verdicts: recording, telling, asking. Shared by whoever compares, the routes and the streams.
pub struct Reconciliation {
    parts: Parts,
    feed: Arc<Feed>,
    /// The last place that earlier runs gave out and stored.
    last_before: u64,
    /// The earlier runs, by the first place that each gave out.
    runs: Vec<(u64, String)>,
    /// What is told and not recorded: at most [`RECONCILIATION_PENDING_MAX`], then the oldest are dropped.
    pending: Mutex<VecDeque<Entry>>,
    /// Rows of the audit; may count some too many, which the job that trims it puts right.
    rows: Arc<AtomicU64>,
    /// The next moment, in milliseconds, at which a report may be overdue: before it, nobody looks.
    next_look: AtomicI64,
}

/// A verdict to be recorded.
#[derive(Clone, Debug)]
struct Draft {
    action: Action,
    verdict: Verdict,
}

/// What was recorded in a transaction whose end is not known yet. Beside the transaction, so that it can be told when
/// that takes too long.
type Begun = Vec<(Ticket, Entry)>;

/// Holds [`Begun`] for a transaction. `None`: nobody waits for it any more, and nothing is to be written.
#[derive(Clone, Debug)]
struct Slot(Arc<Mutex<Option<Begun>>>);

impl Slot {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Begun::new()))))
    }

    /// What was begun so far; more may follow.
    fn take(&self) -> Begun {
        self.0.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What was begun so far; nothing follows.
    fn abandon(&self) -> Begun {
        self.0.lock().take().unwrap_or_default()
    }

    /// Error: nobody waits for it any more.
    fn push(&self, ticket: Ticket, entry: Entry) -> Result<()> {
        match &mut *self.0.lock() {
            Some(begun) => {
                begun.push((ticket, entry));
                Ok(())
            }
            None => Err(Error::new(Kind::StorageUnavailable, "nobody waits for these rows")),
        }
    }
}

/// The answer to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// As it is sent.
    pub body: String,
    /// Whether it is an earlier answer again.
    pub replayed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportAnswer<'a> {
    /// Whether the report was the newest of its service, and made this verdict.
    applied: bool,
    verdict: Option<&'a Entry>,
}

/// A report as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Whose.
    pub service: String,
    /// What it says.
    pub report: Report,
    /// How long the service took to find that out, milliseconds.
    pub latency_ms: Option<f64>,
    /// What it is about.
    pub at: Option<Timestamp>,
    /// Makes a retry safe.
    pub key: Option<Key>,
}

/// How a service is to be known.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub name: String,
    /// How long it may be silent.
    pub report_every: Duration,
    /// What it is, for people.
    pub description: Option<String>,
}

/// What a stream begins with.
#[derive(Debug)]
pub struct Opening {
    /// Why what came after the last event cannot be told, where it cannot.
    pub reason: Option<&'static str>,
    /// What is told first: the serialised updates.
    pub frames: Vec<bytes::Bytes>,
    /// The cursor after them.
    pub cursor: u64,
}

impl Reconciliation {
    /// What there is at the start, read before anything runs.
    pub fn beginning(reader: &Reader) -> Result<Beginning> {
        reader.rows(|conn| sql::audit::beginning(conn, RECENT_MAX))
    }

    /// Goes on from `beginning`.
    pub fn new(parts: Parts, beginning: Beginning, entropy: &dyn Entropy) -> Arc<Self> {
        let (last_before, rows, runs) = (beginning.last, beginning.rows, beginning.runs.clone());
        Arc::new(Self {
            parts,
            feed: Arc::new(Feed::new(Run::new(entropy), beginning)),
            last_before,
            runs,
            pending: Mutex::default(),
            rows: Arc::new(AtomicU64::new(rows)),
            next_look: AtomicI64::new(0),
        })
    }

    /// What streams read.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The verdicts in force, by the name of their service.
    pub fn status(&self) -> Vec<Arc<Update>> {
        let mut latest = self.feed.start().0;
        let service = |update: &Arc<Update>| update.entry().map(|entry| entry.verdict.service.clone());
        latest.sort_by_cached_key(service);
        latest
    }

    /// Records verdicts and tells them. Never fails: what cannot be recorded now is recorded later. Not to be taken as
    /// undone when cancelled.
    pub async fn record(self: &Arc<Self>, action: Action, verdicts: Vec<Verdict>) -> Vec<Arc<Update>> {
        let drafts = verdicts.into_iter().map(|verdict| Draft { action, verdict }).collect();
        let this = Arc::clone(self);
        // In a task of its own: a place that was given out is filled even when nobody waits for it any more.
        let recorded = tokio::spawn(async move { this.record_drafts(drafts).await });
        recorded.await.unwrap_or_default()
    }

    async fn record_drafts(self: &Arc<Self>, drafts: Vec<Draft>) -> Vec<Arc<Update>> {
        if drafts.is_empty() {
            return Vec::new();
        }
        let writing = drafts.clone();
        let stored = self.store(move |writer, conn, slot, now| {
            writing.iter().try_for_each(|draft| writer.append(conn, slot, draft.action, now, &draft.verdict))
        });
        match stored.await {
            Ok(begun) => publish(begun),
            Err(begun) if begun.len() == drafts.len() => self.tell_unrecorded(begun),
            // The transaction did not get that far.
            Err(_) => self.tell_unrecorded(self.begin(drafts)),
        }
    }

    /// Writes rows, and waits some for that. Error: what was begun, of which it is not known whether it is stored.
    async fn store<F>(&self, write: F) -> Result<Begun, Begun>
    where
        F: FnOnce(&RowWriter, &Connection, &Slot, Timestamp) -> Result<()> + Send + 'static,
    {
        let slot = Slot::new();
        let (writer, filling) = (self.writer(), slot.clone());
        let rows = self.parts.engine.rows(move |conn, now| write(&writer, conn, &filling, now));
        match timeout(STORE_PATIENCE, rows).await {
            Ok(Ok(())) => Ok(slot.take()),
            Ok(Err(error)) => {
                warn!(%error, "verdicts of reconciliation cannot be recorded now");
                Err(slot.abandon())
            }
            Err(_) => {
                warn!("verdicts of reconciliation are not recorded yet: storage takes long");
                Err(slot.abandon())
            }
        }
    }

    /// Gives each verdict its place, without a row.
    fn begin(&self, drafts: Vec<Draft>) -> Begun {
        let now = self.parts.clock.now();
        let begin = |Draft { action, verdict }: Draft| {
            let ticket = self.feed.ticket();
            let entry = Entry::new(&ticket.id, action, now, verdict);
            (ticket, entry)
        };
        drafts.into_iter().map(begin).collect()
    }

    /// Tells what has no row, and keeps it for later.
    fn tell_unrecorded(&self, begun: Begun) -> Vec<Arc<Update>> {
        let mut pending = self.pending.lock();
        pending.extend(begun.iter().map(|(_, entry)| Entry { first_at: entry.at, count: 1, ..entry.clone() }));
        let too_many = pending.len().saturating_sub(RECONCILIATION_PENDING_MAX);
        if too_many > 0 {
            pending.drain(..too_many);
            error!(too_many, "verdicts of reconciliation are dropped without a row: storage failed for too long");
        }
        drop(pending);
        publish(begun)
    }

    fn writer(&self) -> RowWriter {
        RowWriter { feed: Arc::clone(&self.feed), rows: Arc::clone(&self.rows), rows_max: self.parts.rows_max }
    }

    /// Writes the rows that could not be written before.
    async fn record_pending(&self) {
        let pending: Vec<Entry> = self.pending.lock().iter().cloned().collect();
        if pending.is_empty() {
            return;
        }
        let (writer, last) = (self.writer(), pending.last().map_or(0, |entry| entry.seq));
        let written = self.parts.engine.rows(move |conn, _| {
            for entry in &pending {
                writer.append_late(conn, entry)?;
            }
            Ok(())
        });
        if written.await.is_ok() {
            self.pending.lock().retain(|entry| entry.seq > last);
        }
    }

    /// Compares now: one service, or all, outside ones included. Returns the verdicts. Errors: `NotFound` when there is
    /// no such service; of the comparison.
    pub async fn run(self: &Arc<Self>, service: Option<String>) -> Result<Vec<Arc<Update>>> {
        let mut updates = Vec::new();
        if service.as_deref().is_none_or(outside::is_own) {
            let verdicts = self.parts.comparing.compare(service.clone()).await?;
            updates = self.record(Action::Compare, verdicts).await;
        }
        if service.as_deref().is_none_or(|service| !outside::is_own(service)) {
            updates.extend(self.judge_outside(service).await?);
        }
        Ok(updates)
    }

    /// Records what is known of one outside service, or of all, now. Error: `NotFound`.
    async fn judge_outside(self: &Arc<Self>, service: Option<String>) -> Result<Vec<Arc<Update>>> {
        let names = match service {
            Some(name) => vec![self.service(&name).await?.name],
            None => self.services(String::new(), OUTSIDE_SERVICES_MAX).await?.into_iter().map(|s| s.name).collect(),
        };
        let (this, now) = (Arc::clone(self), self.parts.clock.now());
        tokio::spawn(async move { this.record_known(names, now, Again::Always).await }).await.map_err(Error::internal)
    }

    /// Looks for overdue reports and for rows that are still to be written, for as long as the server runs.
    pub async fn keep_looking(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_retry = 0;
        loop {
            looks.tick().await;
            self.look(self.parts.clock.now()).await;
            until_retry = if until_retry == 0 { LOOKS_BETWEEN_RETRIES } else { until_retry - 1 };
            if until_retry == 0 {
                self.record_pending().await;
            }
        }
    }

    /// Compares the server's own services each `every`, for as long as the server runs.
    pub async fn keep_comparing(self: Arc<Self>, every: Duration) {
        let mut times = interval(every);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            match self.parts.comparing.compare(None).await {
                Ok(verdicts) => drop(self.record(Action::Compare, verdicts).await),
                Err(error) => warn!(%error, "memory and disk could not be compared"),
            }
        }
    }

    /// Records which services are overdue at `now`, or not any more. Costs nothing before the first may be.
    pub async fn look(self: &Arc<Self>, now: Timestamp) {
        if now.as_millis() < self.next_look.load(Ordering::Acquire) {
            return;
        }
        // First, so that a deadline that is set while this looks is not overwritten.
        self.next_look.store(i64::MAX, Ordering::Release);
        let services = match self.parts.reads.ask(|reader| reader.rows(sql::outside::all)).await {
            Ok(services) => services,
            Err(error) => {
                warn!(%error, "overdue reports cannot be looked for");
                self.look_again(now);
                return;
            }
        };
        let mut changed = Vec::new();
        for service in services {
            let in_force = self.feed.latest(&service.name);
            let in_force = in_force.as_ref().and_then(|update| update.entry()).map(|entry| entry.verdict.status);
            match service.judge(now) {
                Some(verdict) if Some(verdict.status) != in_force => changed.push(service.name),
                _ if now < service.deadline() => self.look_again(service.deadline()),
                _ => {}
            }
        }
        if !changed.is_empty() {
            self.record_known(changed, now, Again::IfChanged).await;
            // They may have reported meanwhile.
            self.look_again(now);
        }
    }

    fn look_again(&self, at: Timestamp) {
        self.next_look.fetch_min(at.as_millis(), Ordering::AcqRel);
    }

    /// Records what is known of these services at `now`, in one transaction with looking: a report that comes meanwhile
    /// goes before or after, not under.
    async fn record_known(self: &Arc<Self>, names: Vec<String>, now: Timestamp, again: Again) -> Vec<Arc<Update>> {
        if names.is_empty() {
            return Vec::new();
        }
        let looked = names.clone();
        let stored = self.store(move |writer, conn, slot, _| {
            for name in looked {
                let Some(verdict) = sql::outside::find(conn, &name)?.and_then(|service| service.judge(now)) else {
                    continue;
                };
                let in_force = sql::audit::newest(conn, &name)?.map(|entry| entry.verdict.status);
                if again == Again::Always || in_force != Some(verdict.status) {
                    writer.append(conn, slot, Action::Compare, now, &verdict)?;
                }
            }
            Ok(())
        });
        match stored.await {
            Ok(begun) => publish(begun),
            Err(begun) if !begun.is_empty() => self.tell_unrecorded(begun),
            Err(_) => {
                // Nothing can be reported now either, so what is on disk is what there is.
                let known = self.parts.reads.ask(|reader| reader.rows(sql::outside::all)).await.unwrap_or_default();
                let asked = known.into_iter().filter(|service| names.contains(&service.name));
                let verdicts = asked.filter_map(|service| service.judge(now));
                let drafts = verdicts.map(|verdict| Draft { action: Action::Compare, verdict }).collect();
                self.tell_unrecorded(self.begin(drafts))
            }
        }
    }

    /// Takes a report and tells what is to be made of it. Errors: `NotFound` when nobody knows the service; `Invalid`;
    /// `IdempotencyMismatch`; `StorageUnavailable`, after which it is to be sent again with the same key.
    pub async fn report(self: &Arc<Self>, received: Received) -> Result<Reported> {
        received.report.check()?;
        let this = Arc::clone(self);
        // In a task of its own, as in `record`.
        tokio::spawn(async move { this.take_report(received).await }).await.map_err(Error::internal)?
    }

    async fn take_report(self: Arc<Self>, received: Received) -> Result<Reported> {
        let slot = Slot::new();
        let (writer, filling) = (self.writer(), slot.clone());
        let rows = self.parts.engine.rows(move |conn, now| writer.report(conn, &filling, now, &received));
        let mut rows = pin!(rows);
        // What takes long gives its places back, so that others need not wait; if it is stored, it is told in later ones.
        let mut late = Vec::new();
        let outcome = loop {
            match timeout(STORE_PATIENCE, &mut rows).await {
                Ok(outcome) => break outcome,
                Err(_) => late.extend(slot.take().into_iter().map(|(_, entry)| entry)),
            }
        };
        let (reported, deadline) = outcome?;
        publish(slot.take());
        publish(late.into_iter().map(|entry| (self.feed.ticket(), entry)).collect());
        if let Some(deadline) = deadline {
            self.look_again(deadline);
        }
        Ok(reported)
    }

    /// Makes a service known, or changes how it is. Returns it, and whether it is new. Errors: `Invalid`; `TooLarge` when
    /// there are too many; `StorageUnavailable`.
    pub async fn register(&self, registration: Registration) -> Result<(Service, bool)> {
        outside::check_name(&registration.name)?;
        let put = move |conn: &Connection, now: Timestamp| {
            let Registration { name, report_every, description } = registration;
            let known = sql::outside::find(conn, &name)?;
            if known.is_none() && sql::outside::count(conn)? >= OUTSIDE_SERVICES_MAX {
                let message = format!("there are {OUTSIDE_SERVICES_MAX} services, and no more may be; remove one");
                return Err(Error::new(Kind::TooLarge, message));
            }
            let fresh = known.is_none();
            let service = Service {
                report_every,
                description: description.clone(),
                updated_at: now,
                ..known.unwrap_or(Service {
                    name,
                    report_every,
                    description,
                    created_at: now,
                    updated_at: now,
                    reported_at: None,
                    received_at: None,
                    verdict: None,
                })
            };
            sql::outside::put(conn, &service)?;
            Ok((service, fresh))
        };
        let (service, fresh) = self.parts.engine.rows(put).await?;
        // What was overdue may not be any more, and the other way round.
        self.look_again(self.parts.clock.now());
        Ok((service, fresh))
    }

    /// Forgets a service, and its verdict; its rows in the audit stay. Errors: `NotFound`; `StorageUnavailable`.
    pub async fn forget(self: &Arc<Self>, name: String) -> Result<()> {
        let this = Arc::clone(self);
        let forget = async move {
            let (feed, service) = (Arc::clone(&this.feed), name.clone());
            let removed = this.parts.engine.rows(move |conn, _| {
                if !sql::outside::remove(conn, &service)? {
                    return Err(no_service(&service));
                }
                sql::audit::end_verdict(conn, &service)?;
                Ok(feed.ticket())
            });
            removed.await.map(|ticket| drop(ticket.publish(News::Removed { service: name })))
        };
        tokio::spawn(forget).await.map_err(Error::internal)?
    }

    /// The services after `after` by name, one more than `limit` if there are more.
    pub async fn services(&self, after: String, limit: usize) -> Result<Vec<Service>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        self.parts.reads.ask(move |reader| reader.rows(|conn| sql::outside::page(conn, &after, limit))).await
    }

    /// One service. Error: `NotFound`.
    pub async fn service(&self, name: &str) -> Result<Service> {
        let asked = name.to_owned();
        let found = self.parts.reads.ask(move |reader| reader.rows(|conn| sql::outside::find(conn, &asked))).await?;
        found.ok_or_else(|| no_service(name))
    }

    /// A page of the audit, newest first, one row more than `limit` if there are more.
    pub async fn audit(&self, filter: sql::audit::Filter, limit: usize) -> Result<Vec<Entry>> {
        self.parts.reads.ask(move |reader| reader.rows(|conn| sql::audit::page(conn, &filter, limit))).await
    }

    /// What a stream tells first: the verdicts in force to whoever is new, what was missed to whoever comes back. Whoever
    /// cannot be told what they missed gets the verdicts in force, and the reason.
    pub async fn open(&self, last_event_id: Option<&str>) -> Opening {
        let reason = match last_event_id {
            None => None,
            Some(text) => match self.catch_up(text).await {
                Ok(opening) => return opening,
                Err(reason) => Some(reason),
            },
        };
        let (latest, cursor) = self.feed.start();
        Opening { reason, frames: latest.iter().map(|update| update.frame.clone()).collect(), cursor }
    }

    async fn catch_up(&self, last_event_id: &str) -> Result<Opening, &'static str> {
        let id = EventId::parse(last_event_id).ok_or("diverged")?;
        let after = self.place(&id).ok_or("diverged")?;
        self.missed_after(after).await
    }

    /// After which place whoever saw `id` last is to be told. `None`: nobody here gave that id.
    fn place(&self, id: &EventId) -> Option<u64> {
        if id.run == *self.feed.run() {
            return (id.seq > self.last_before && id.seq <= self.feed.start().1).then_some(id.seq);
        }
        let index = self.runs.iter().position(|(_, run)| run == id.run.as_str())?;
        let (first, _) = self.runs.get(index)?;
        // Places that a run gave out and did not store were given out again by the next.
        let last = self.runs.get(index + 1).map_or(self.last_before, |(next, _)| next.saturating_sub(1));
        (id.seq >= *first).then(|| id.seq.min(last))
    }

    /// What comes after `cursor`, which is too old for memory.
    pub async fn behind(&self, cursor: u64) -> Opening {
        match self.missed_after(cursor).await {
            Ok(opening) => opening,
            Err(reason) => {
                let opening = self.open(None).await;
                Opening { reason: Some(reason), ..opening }
            }
        }
    }

    async fn missed_after(&self, after: u64) -> Result<Opening, &'static str> {
        let floor = self.feed.floor();
        if after >= floor {
            return Ok(Opening { reason: None, frames: Vec::new(), cursor: after });
        }
        let question = move |reader: &Reader| {
            reader.rows(|conn| sql::audit::missed(conn, after, floor, RECONCILIATION_REPLAY_MAX))
        };
        match self.parts.reads.ask(question).await {
            Ok(Missed::Rows(rows)) => {
                let frames = rows.iter().map(Entry::frame).collect();
                Ok(Opening { reason: None, frames, cursor: floor })
            }
            Ok(Missed::Trimmed) => Err("trimmed"),
            Ok(Missed::TooMany) => Err("too-many"),
            Err(error) => {
                warn!(%error, "missed updates of reconciliation cannot be read");
                Err("unavailable")
            }
        }
    }

    /// The number of rows, as it was counted.
    pub(super) fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }
}

/// Tells what is recorded.
fn publish(begun: Begun) -> Vec<Arc<Update>> {
    begun.into_iter().map(|(ticket, entry)| ticket.publish(News::Verdict(Box::new(entry)))).collect()
}

/// What writes rows, on the engine's thread.
#[derive(Clone)]
struct RowWriter {
    feed: Arc<Feed>,
    rows: Arc<AtomicU64>,
    rows_max: u64,
}

impl RowWriter {
    fn append(&self, conn: &Connection, slot: &Slot, action: Action, at: Timestamp, verdict: &Verdict) -> Result<()> {
        let ticket = self.feed.ticket();
        let (entry, added) = sql::audit::append(conn, &ticket.id, action, at, verdict)?;
        slot.push(ticket, entry)?;
        self.bound(conn, added)
    }

    fn append_late(&self, conn: &Connection, entry: &Entry) -> Result<()> {
        let added = sql::audit::append_late(conn, entry)?;
        self.bound(conn, added)
    }

    /// Makes room for a row that was added: two go for one that comes, until there are few enough.
    fn bound(&self, conn: &Connection, added: bool) -> Result<()> {
        if added && self.rows.fetch_add(1, Ordering::Relaxed) >= self.rows_max {
            let dropped = sql::audit::drop_oldest(conn, 2)?;
            self.rows.fetch_sub(dropped, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes a report. Returns the answer, and when the next is due if this one was taken.
    fn report(
        &self,
        conn: &Connection,
        slot: &Slot,
        now: Timestamp,
        received: &Received,
    ) -> Result<(Reported, Option<Timestamp>)> {
        if let Some(key) = &received.key
            && let Some(body) = sql::outside::find_answer(conn, key)?
        {
            return Ok((Reported { body, replayed: true }, None));
        }
        let mut service = sql::outside::find(conn, &received.service)?.ok_or_else(|| no_service(&received.service))?;
        let at = outside::moment(received.at, now)?;
        let applied = service.reported_at.is_none_or(|newest| at >= newest);
        if applied {
            let began = Instant::now();
            let mut verdict = received.report.judge(&service.name, 0.0);
            verdict.latency_ms = received.latency_ms.unwrap_or_else(|| began.elapsed().as_secs_f64() * 1000.0);
            self.append(conn, slot, Action::Report, now, &verdict)?;
            service.reported_at = Some(at);
            service.received_at = Some(now);
            service.verdict = Some(verdict);
            sql::outside::put(conn, &service)?;
        }
        let in_force = sql::audit::newest(conn, &service.name)?;
        let body = serde_json::to_string(&ReportAnswer { applied, verdict: in_force.as_ref() });
        let body = body.map_err(Error::internal)?;
        if let Some(key) = &received.key {
            sql::outside::keep_answer(conn, key, &body, now)?;
        }
        Ok((Reported { body, replayed: false }, applied.then(|| service.deadline())))
    }
}
