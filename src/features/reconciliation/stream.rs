//! What dashboards are told: the recent updates in a ring, each serialised once, and a cursor per stream.
//!
//! Updates are ordered by their place, which is given out when a row is written and may be filled a little later: what
//! comes after an open place waits for it. So a stream that has seen one has seen all before it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::audit::{AuditEntry, DetailLevel, EventId, ServerRun};
use super::sql::audit::StoredAudit;
use crate::features::reconciliation::limits::{RECONCILIATION_RING_BYTES_MAX, RECONCILIATION_RING_UPDATES_MAX};

#[derive(Clone, Debug)]
pub(crate) enum StreamUpdate {
    Verdict(Box<AuditEntry>),
    /// An outside service is no more, and its verdict with it.
    Removed {
        service: String,
    },
}

/// Something told, and its bytes: made once for each [`DetailLevel`], shared by all streams.
#[derive(Debug)]
pub(crate) struct Update {
    /// Its place among all.
    pub seq: u64,
    pub news: StreamUpdate,
    /// As it goes out to administrators.
    pub frame: Bytes,
    /// As it goes out to others; `None`: the same, since it names no document.
    limited_frame: Option<Bytes>,
}

impl Update {
    fn new(seq: u64, news: StreamUpdate) -> Self {
        let frame = match &news {
            StreamUpdate::Verdict(entry) => entry.frame(DetailLevel::Whole),
            StreamUpdate::Removed { service } => {
                let data = serde_json::json!({ "service": service });
                Bytes::from(format!("event: reconciliation.removed\ndata: {data}\n\n"))
            }
        };
        let limited_frame = match &news {
            StreamUpdate::Verdict(entry)
                if matches!(entry.limited_to(DetailLevel::WithoutDocuments), Cow::Owned(_)) =>
            {
                Some(entry.frame(DetailLevel::WithoutDocuments))
            }
            _ => None,
        };
        Self { seq, news, frame, limited_frame }
    }

    /// As it goes out with this detail.
    pub(crate) fn frame(&self, detail: DetailLevel) -> Bytes {
        let limited = self.limited_frame.as_ref().filter(|_| detail == DetailLevel::WithoutDocuments);
        limited.unwrap_or(&self.frame).clone()
    }

    /// Bytes that it takes.
    fn bytes(&self) -> usize {
        self.frame.len() + self.limited_frame.as_ref().map_or(0, Bytes::len)
    }

    /// The verdict that it tells of, if it does.
    pub(crate) fn entry(&self) -> Option<&AuditEntry> {
        match &self.news {
            StreamUpdate::Verdict(entry) => Some(entry),
            StreamUpdate::Removed { .. } => None,
        }
    }
}

/// What a cursor finds.
#[derive(Debug)]
pub(crate) enum BufferedUpdates {
    Updates(Vec<Arc<Update>>),
    Nothing,
    /// What comes next is not in memory any more: read it from the audit.
    Behind,
}

#[derive(Debug)]
struct FeedState {
    /// The next place to be given out.
    next: u64,
    /// Places from the first open one on: `None` is open, `Some(None)` stays empty.
    open: BTreeMap<u64, Option<Option<Arc<Update>>>>,
    ring: VecDeque<Arc<Update>>,
    bytes: usize,
    /// Everything after this place and up to `head` is in the ring.
    floor: u64,
    /// The last place before the first open one.
    head: u64,
    /// The verdict in force of each service. Bounded by the services.
    latest: BTreeMap<String, Arc<Update>>,
}

/// The updates of this run. Shared by who records and all streams; its lock is held for a few instructions only, since
/// the engine's thread takes it too.
#[derive(Debug)]
pub(crate) struct Feed {
    run: ServerRun,
    inner: Mutex<FeedState>,
    /// The head: wakes the streams.
    grown: watch::Sender<u64>,
}

/// A place that was given out. Dropped without being filled, it stays empty.
#[derive(Debug)]
pub(crate) struct Ticket {
    feed: Arc<Feed>,
    pub id: EventId,
    filled: bool,
}

impl Ticket {
    /// Tells `news` in this place.
    pub(crate) fn publish(mut self, news: StreamUpdate) -> Arc<Update> {
        // Serialised here, outside of the lock.
        let update = Arc::new(Update::new(self.id.seq, news));
        self.filled = true;
        self.feed.fill_place(self.id.seq, Some(Arc::clone(&update)));
        update
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.filled {
            self.feed.fill_place(self.id.seq, None);
        }
    }
}

impl Feed {
    /// A feed that goes on from `beginning`.
    pub(crate) fn new(run: ServerRun, beginning: StoredAudit) -> Self {
        let StoredAudit { last, latest, recent, floor, .. } = beginning;
        let update = |entry: AuditEntry| Arc::new(Update::new(entry.seq, StreamUpdate::Verdict(Box::new(entry))));
        let in_force = |entry: AuditEntry| (entry.verdict.service.clone(), update(entry));
        let ring: VecDeque<_> = recent.into_iter().map(update).collect();
        let inner = FeedState {
            next: last.saturating_add(1),
            open: BTreeMap::new(),
            bytes: ring.iter().map(|update| update.bytes()).sum(),
            ring,
            floor,
            head: last,
            latest: latest.into_iter().map(in_force).collect(),
        };
        Self { run, inner: Mutex::new(inner), grown: watch::Sender::new(last) }
    }

    pub(crate) fn run(&self) -> &ServerRun {
        &self.run
    }

    /// Gives out the next place.
    pub(crate) fn ticket(self: &Arc<Self>) -> Ticket {
        let mut inner = self.inner.lock();
        let seq = inner.next;
        inner.next = seq.saturating_add(1);
        inner.open.insert(seq, None);
        drop(inner);
        Ticket { feed: Arc::clone(self), id: EventId { seq, run: self.run.clone() }, filled: false }
    }

    fn fill_place(&self, seq: u64, update: Option<Arc<Update>>) {
        let mut inner = self.inner.lock();
        inner.open.insert(seq, Some(update));
        let before = inner.head;
        inner.advance();
        let head = inner.head;
        drop(inner);
        if head != before {
            self.grown.send_replace(head);
        }
    }

    /// Wakes when there is more. Taken before the first look, so that nothing falls between.
    pub(crate) fn subscribe_growth(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// The verdicts in force, oldest first, and the cursor after them.
    pub(crate) fn start(&self) -> (Vec<Arc<Update>>, u64) {
        let inner = self.inner.lock();
        let mut latest: Vec<_> = inner.latest.values().cloned().collect();
        let head = inner.head;
        drop(inner);
        latest.sort_unstable_by_key(|update| update.seq);
        (latest, head)
    }

    /// The verdict in force of one service.
    pub(crate) fn latest(&self, service: &str) -> Option<Arc<Update>> {
        self.inner.lock().latest.get(service).cloned()
    }

    /// What comes after the cursor.
    pub(crate) fn after(&self, cursor: u64) -> BufferedUpdates {
        let inner = self.inner.lock();
        if cursor < inner.floor {
            return BufferedUpdates::Behind;
        }
        let from = inner.ring.partition_point(|update| update.seq <= cursor);
        let updates: Vec<_> = inner.ring.range(from..).cloned().collect();
        if updates.is_empty() { BufferedUpdates::Nothing } else { BufferedUpdates::Updates(updates) }
    }

    /// Up to where nothing is in memory.
    pub(crate) fn oldest_dropped(&self) -> u64 {
        self.inner.lock().floor
    }
}

impl FeedState {
    /// Takes in what is filled up to the first open place.
    fn advance(&mut self) {
        while let Some(first) = self.open.first_entry() {
            if first.get().is_none() {
                return;
            }
            let (seq, update) = first.remove_entry();
            self.head = seq;
            let Some(update) = update.flatten() else { continue };
            match &update.news {
                StreamUpdate::Verdict(entry) => {
                    drop(self.latest.insert(entry.verdict.service.clone(), Arc::clone(&update)))
                }
                StreamUpdate::Removed { service } => drop(self.latest.remove(service)),
            }
            self.bytes += update.bytes();
            self.ring.push_back(update);
        }
        while self.ring.len() > RECONCILIATION_RING_UPDATES_MAX || self.bytes > RECONCILIATION_RING_BYTES_MAX {
            let Some(oldest) = self.ring.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.floor = self.floor.max(oldest.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::panic, clippy::indexing_slicing, reason = "a panic fails the test")]
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::entropy::SeededEntropy;
    use crate::features::reconciliation::audit::AuditAction;
    use crate::features::reconciliation::verdict::{Compared, Verdict, VerdictCounts, VerdictStatus};

    fn feed(last: u64) -> Arc<Feed> {
        let beginning = StoredAudit { last, floor: last, ..StoredAudit::default() };
        Arc::new(Feed::new(ServerRun::new(&SeededEntropy::new(1)), beginning))
    }

    fn publish(ticket: Ticket, service: &str) -> Arc<Update> {
        let verdict = Verdict {
            service: service.into(),
            status: VerdictStatus::Verified,
            counts: VerdictCounts::new(),
            checksum: "0".repeat(64),
            latency_ms: 0.1,
            details: None,
            documents: Vec::new(),
            compared: Compared::Changes,
            all_since: None,
        };
        let entry = AuditEntry::new(&ticket.id, AuditAction::Compare, Timestamp::from_millis(0), verdict);
        ticket.publish(StreamUpdate::Verdict(Box::new(entry)))
    }

    fn seqs(found: BufferedUpdates) -> Vec<u64> {
        match found {
            BufferedUpdates::Updates(updates) => updates.iter().map(|update| update.seq).collect(),
            BufferedUpdates::Nothing => Vec::new(),
            BufferedUpdates::Behind => panic!("behind"),
        }
    }

    #[test]
    fn what_was_begun_first_is_told_first_and_what_came_to_nothing_holds_nobody_up() {
        let feed = feed(10);
        let woken = feed.subscribe_growth();
        let (first, second, third) = (feed.ticket(), feed.ticket(), feed.ticket());
        assert_eq!((first.id.seq, third.id.seq), (11, 13));
        publish(third, "c");
        assert_eq!(seqs(feed.after(10)), Vec::<u64>::new());
        publish(first, "a");
        assert_eq!(seqs(feed.after(10)), [11]);
        assert_eq!(*woken.borrow(), 11);
        drop(second);
        assert_eq!((seqs(feed.after(10)), seqs(feed.after(11)), *woken.borrow()), (vec![11, 13], vec![13], 13));
        assert!(matches!(feed.after(9), BufferedUpdates::Behind));
        let (latest, cursor) = feed.start();
        assert_eq!((latest.iter().map(|update| update.seq).collect::<Vec<_>>(), cursor), (vec![11, 13], 13));
    }

    #[test]
    fn hundreds_of_dashboards_share_one_serialisation() {
        let feed = feed(0);
        let dashboards: Vec<_> = (0..1000).map(|_| (feed.subscribe_growth(), feed.start().1)).collect();
        let made = publish(feed.ticket(), "a").frame.as_ptr();
        for (mut woken, cursor) in dashboards {
            assert!(woken.has_changed().is_ok_and(|changed| changed));
            woken.mark_unchanged();
            let BufferedUpdates::Updates(updates) = feed.after(cursor) else { panic!("nothing") };
            assert!(updates.len() == 1 && updates[0].frame.clone().as_ptr() == made, "the same bytes, not equal ones");
        }
    }

    #[test]
    fn the_ring_keeps_what_its_bounds_cover_and_says_who_is_behind() {
        let feed = feed(0);
        let count = u64::try_from(RECONCILIATION_RING_UPDATES_MAX).unwrap_or(0);
        for _ in 0..count + 3 {
            publish(feed.ticket(), "a");
        }
        assert!(matches!(feed.after(2), BufferedUpdates::Behind));
        assert_eq!((seqs(feed.after(3)).len(), feed.oldest_dropped()), (RECONCILIATION_RING_UPDATES_MAX, 3));
        assert_eq!(feed.start().0.len(), 1, "one service");
    }

    #[test]
    fn a_removed_service_has_no_verdict_and_its_removal_no_id() {
        let feed = feed(0);
        publish(feed.ticket(), "a");
        let update = feed.ticket().publish(StreamUpdate::Removed { service: "a".into() });
        assert!(feed.latest("a").is_none());
        assert_eq!(update.frame, "event: reconciliation.removed\ndata: {\"service\":\"a\"}\n\n");
        assert_eq!(seqs(feed.after(0)), [1, 2]);
    }
}
