//! Recording verdicts and telling them, and what outside services report.
//!
//! A verdict is recorded by the engine's thread, in its transaction, and told once that is on disk. While storage
//! fails, or takes too long, it is told all the same and its row is written later: a dashboard that falls silent when
//! the disk does would be of little use.

mod reports;
mod resume;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, warn};

use super::audit::{AuditAction, AuditEntry, ServerRun};
use super::sql;
use super::sql::audit::StoredAudit;
use super::stream::{Feed, StreamUpdate, Ticket, Update};
use super::verdict::{Verdict, VerdictStatus};
use crate::base::clock::{Clock, Timestamp};
use crate::base::entropy::Entropy;
use crate::base::error::{Error, Kind, Result};
use crate::engine::handle::Engine;
use crate::engine::read::Reads;
use crate::features::reconciliation::external;
use crate::features::reconciliation::limits::RECONCILIATION_PENDING_MAX;
use crate::features::reconciliation::self_check::nothing_of;
use crate::store::{Connection, Reader};

pub(crate) use reports::{ReceivedReport, ReportOutcome, ServiceRegistration};
pub(crate) use resume::StreamStart;

/// How long a verdict waits for its row before it is told without: with what else there is on the way, a dashboard has
/// it within a second.
const STORE_PATIENCE: Duration = Duration::from_millis(400);
/// How often it is looked whether a report is overdue or a row is still to be written: half of what staleness may take.
const LOOK: Duration = Duration::from_millis(400);
/// Between two attempts to write rows while storage fails, in looks.
const LOOKS_BETWEEN_RETRIES: u32 = 5;

/// Rows read back into memory at the start.
const RECENT_MAX: u32 = 256;

/// Compares memory with disk.
pub(crate) trait CompareServices: Send + Sync + 'static {
    /// Compares one of the server's own services, or all, now. Error: `NotFound` when there is no such service.
    fn compare(&self, service: Option<String>) -> BoxFuture<'static, Result<Vec<Verdict>>>;

    /// Writes anew what was found different and needs nobody's decision: snapshots that the events make again, and rows
    /// that memory has. Returns the verdicts after that.
    fn repair_known(&self) -> BoxFuture<'static, Vec<Verdict>>;
}

/// The refusal to ask of a service that nobody knows.
pub(crate) fn no_service(name: &str) -> Error {
    Error::not_found(format!("there is no service '{name}'"))
}

/// What reconciliation works with.
pub(crate) struct ReconciliationParts {
    /// The way to write rows.
    pub engine: Engine,
    /// The way to read them.
    pub reads: Reads,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What compares the server's own services.
    pub comparing: Arc<dyn CompareServices>,
    /// Most rows of the audit.
    pub rows_max: u64,
}

/// The verdicts: recording, telling, asking. Shared by whoever compares, the routes and the streams.
pub(crate) struct Reconciliation {
    parts: ReconciliationParts,
    feed: Arc<Feed>,
    /// The last place that earlier runs gave out and stored.
    last_before: u64,
    /// The earlier runs, by the first place that each gave out.
    runs: Vec<(u64, String)>,
    /// What is told and not recorded: at most [`RECONCILIATION_PENDING_MAX`], then the oldest are dropped.
    pending: Mutex<VecDeque<AuditEntry>>,
    /// Rows of the audit; may count some too many, which the job that trims it puts right.
    rows: Arc<AtomicU64>,
    /// The next moment, in milliseconds, at which a report may be overdue: before it, nobody looks.
    next_look: AtomicI64,
}

/// A verdict to be recorded.
#[derive(Clone, Debug)]
struct UnrecordedVerdict {
    action: AuditAction,
    verdict: Verdict,
}

/// What was recorded in a transaction whose end is not known yet. Beside the transaction, so that it can be told when
/// that takes too long.
type RecordedVerdicts = Vec<(Ticket, AuditEntry)>;

/// Holds [`RecordedVerdicts`] for a transaction. `None`: nobody waits for it any more, and nothing is to be written.
#[derive(Clone, Debug)]
struct PendingRecords(Arc<Mutex<Option<RecordedVerdicts>>>);

impl PendingRecords {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(RecordedVerdicts::new()))))
    }

    /// What was begun so far; more may follow.
    fn take(&self) -> RecordedVerdicts {
        self.0.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What was begun so far; nothing follows.
    fn abandon(&self) -> RecordedVerdicts {
        self.0.lock().take().unwrap_or_default()
    }

    /// Error: nobody waits for it any more.
    fn push(&self, ticket: Ticket, entry: AuditEntry) -> Result<()> {
        match &mut *self.0.lock() {
            Some(begun) => {
                begun.push((ticket, entry));
                Ok(())
            }
            None => Err(Error::new(Kind::StorageUnavailable, "nobody waits for these rows")),
        }
    }
}

impl Reconciliation {
    /// What there is at the start, read before anything runs.
    pub(crate) fn beginning(reader: &Reader) -> Result<StoredAudit> {
        reader.rows(|conn| sql::audit::beginning(conn, RECENT_MAX))
    }

    /// Goes on from `beginning`.
    pub(crate) fn new(parts: ReconciliationParts, beginning: StoredAudit, entropy: &dyn Entropy) -> Arc<Self> {
        let (last_before, rows, runs) = (beginning.last, beginning.rows, beginning.runs.clone());
        Arc::new(Self {
            parts,
            feed: Arc::new(Feed::new(ServerRun::new(entropy), beginning)),
            last_before,
            runs,
            pending: Mutex::default(),
            rows: Arc::new(AtomicU64::new(rows)),
            next_look: AtomicI64::new(0),
        })
    }

    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The verdicts in force, by the name of their service.
    pub(crate) fn status(&self) -> Vec<Arc<Update>> {
        let mut latest = self.feed.start().0;
        let service = |update: &Arc<Update>| update.entry().map(|entry| entry.verdict.service.clone());
        latest.sort_by_cached_key(service);
        latest
    }

    /// Records verdicts and tells them. Never fails: what cannot be recorded now is recorded later. Not to be taken as
    /// undone when cancelled.
    pub(crate) async fn record(self: &Arc<Self>, action: AuditAction, verdicts: Vec<Verdict>) -> Vec<Arc<Update>> {
        let drafts = verdicts.into_iter().map(|verdict| UnrecordedVerdict { action, verdict }).collect();
        let this = Arc::clone(self);
        // In a task of its own: a place that was given out is filled even when nobody waits for it any more.
        let recorded = tokio::spawn(async move { this.record_drafts(drafts).await });
        recorded.await.unwrap_or_default()
    }

    async fn record_drafts(self: &Arc<Self>, drafts: Vec<UnrecordedVerdict>) -> Vec<Arc<Update>> {
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
    async fn store<F>(&self, write: F) -> Result<RecordedVerdicts, RecordedVerdicts>
    where
        F: FnOnce(&RowWriter, &Connection, &PendingRecords, Timestamp) -> Result<()> + Send + 'static,
    {
        let slot = PendingRecords::new();
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
    fn begin(&self, drafts: Vec<UnrecordedVerdict>) -> RecordedVerdicts {
        let now = self.parts.clock.now();
        let begin = |UnrecordedVerdict { action, verdict }: UnrecordedVerdict| {
            let ticket = self.feed.ticket();
            let entry = AuditEntry::new(&ticket.id, action, now, verdict);
            (ticket, entry)
        };
        drafts.into_iter().map(begin).collect()
    }

    /// Tells what has no row, and keeps it for later.
    fn tell_unrecorded(&self, begun: RecordedVerdicts) -> Vec<Arc<Update>> {
        let mut pending = self.pending.lock();
        pending.extend(begun.iter().map(|(_, entry)| AuditEntry { first_at: entry.at, count: 1, ..entry.clone() }));
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
        let pending: Vec<AuditEntry> = self.pending.lock().iter().cloned().collect();
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
    pub(crate) async fn run(self: &Arc<Self>, service: Option<String>) -> Result<Vec<Arc<Update>>> {
        let mut updates = Vec::new();
        if service.as_deref().is_none_or(external::is_own) {
            let mut verdicts = self.parts.comparing.compare(service.clone()).await?;
            if service.is_none() {
                self.add_gone(&mut verdicts);
            }
            updates = self.record(AuditAction::Compare, verdicts).await;
            self.record_repairs().await;
        }
        if service.as_deref().is_none_or(|service| !external::is_own(service)) {
            updates.extend(self.check_services(service).await?);
        }
        Ok(updates)
    }

    /// Adds to verdicts on all there is those on collections of which nothing is left on either side: what is in force
    /// of them would stay so for ever. Only where the log as a whole is verified: else they may just not be known now.
    fn add_gone(&self, verdicts: &mut Vec<Verdict>) {
        let verified =
            |verdict: &&Verdict| verdict.service == external::LOG && verdict.status == VerdictStatus::Verified;
        let Some(log) = verdicts.iter().find(verified) else { return };
        let (compared, all_since) = (log.compared, log.all_since);
        let told: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.service.as_str()).collect();
        let in_force = self.status();
        let in_force = in_force.iter().filter_map(|update| update.entry()).map(|entry| &entry.verdict);
        let gone =
            in_force.filter(|known| known.service.starts_with(external::DOCUMENTS) && !told.contains(&*known.service));
        let nothing = |known: &Verdict| Verdict { compared, all_since, ..nothing_of(known.service.clone()) };
        let gone = gone.map(|known| (known, nothing(known)));
        let news = gone.filter(|(known, nothing)| known.status != nothing.status || known.counts != nothing.counts);
        let news: Vec<Verdict> = news.map(|(_, nothing)| nothing).collect();
        verdicts.extend(news);
    }

    /// Looks for overdue reports and for rows that are still to be written, for as long as the server runs.
    pub(crate) async fn run_report_checks(self: Arc<Self>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_retry = 0;
        loop {
            looks.tick().await;
            self.check_overdue(self.parts.clock.now()).await;
            until_retry = if until_retry == 0 { LOOKS_BETWEEN_RETRIES } else { until_retry - 1 };
            if until_retry == 0 {
                self.record_pending().await;
            }
        }
    }

    /// Compares the server's own services each `every`, for as long as the server runs. Zero: never.
    pub(crate) async fn run_comparisons(self: Arc<Self>, every: Duration) {
        if every.is_zero() {
            return;
        }
        let mut times = interval(every);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            times.tick().await;
            match self.parts.comparing.compare(None).await {
                Ok(mut verdicts) => {
                    self.add_gone(&mut verdicts);
                    drop(self.record(AuditAction::Compare, verdicts).await);
                    self.record_repairs().await;
                }
                Err(error) => warn!(%error, "memory and disk could not be compared"),
            }
        }
    }

    /// Mends what needs nobody's decision, and records it.
    pub(super) async fn record_repairs(self: &Arc<Self>) {
        let mended = self.parts.comparing.repair_known().await;
        drop(self.record(AuditAction::Repair, mended).await);
    }

    /// A page of the audit, newest first, one row more than `limit` if there are more.
    pub(crate) async fn audit(&self, filter: sql::audit::AuditFilter, limit: usize) -> Result<Vec<AuditEntry>> {
        self.parts.reads.read(move |reader| reader.rows(|conn| sql::audit::page(conn, &filter, limit))).await
    }

    /// The number of rows, as it was counted.
    pub(super) fn set_rows(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }
}

/// Tells what is recorded.
fn publish(begun: RecordedVerdicts) -> Vec<Arc<Update>> {
    begun.into_iter().map(|(ticket, entry)| ticket.publish(StreamUpdate::Verdict(Box::new(entry)))).collect()
}

/// What writes rows, on the engine's thread.
#[derive(Clone)]
struct RowWriter {
    feed: Arc<Feed>,
    rows: Arc<AtomicU64>,
    rows_max: u64,
}

impl RowWriter {
    fn append(
        &self,
        conn: &Connection,
        slot: &PendingRecords,
        action: AuditAction,
        at: Timestamp,
        verdict: &Verdict,
    ) -> Result<()> {
        let ticket = self.feed.ticket();
        let (entry, added) = sql::audit::append(conn, &ticket.id, action, at, verdict)?;
        slot.push(ticket, entry)?;
        self.bound(conn, added)
    }

    fn append_late(&self, conn: &Connection, entry: &AuditEntry) -> Result<()> {
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
}
