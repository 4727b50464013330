//! The published present: the documents in use, the recent events, and who waits for more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

use super::change_tracker::{ChangeRecord, ChangeTracker, ConsistentCut};
use super::messages::{MessageRecipient, MessageStore, StreamMessage};
use super::relocations::{MovedDocument, RelocationLog};
use super::ring::{Ring, RingBounds};
use super::topics::{Interest, Topics, Waiter, WakeReason};
use super::transient::{TransientInbox, TransientMessage};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, DocumentName, Seq};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;

/// A document in memory and when it was last used.
#[derive(Debug)]
struct HubEntry {
    document: Arc<Document>,
    /// Milliseconds since the epoch, by the engine's clock; readers and the engine write it, the engine reads it.
    used: AtomicI64,
}

/// What readers and streams see. Only the engine publishes into it; everyone else holds it to read.
///
/// The ring's lock is also the *publish gate*: a batch's documents and events appear under one write lock, so whoever
/// holds the read lock sees documents and log at one and the same point. Reading a single document needs no lock.
#[derive(Debug)]
pub struct Hub {
    documents: papaya::HashMap<DocumentName, Arc<HubEntry>>,
    ring: RwLock<Ring>,
    topics: Topics,
    /// The present as the engine last saw it, so that readers can say when they used a document without asking a clock.
    now: AtomicI64,
    /// How many of the documents are volatile.
    volatile: AtomicUsize,
    /// Raised when undurable events became durable; subscribers compare it.
    recoveries: AtomicU64,
    relocations: RelocationLog,
    changes: ChangeTracker,
    /// Set once at the start; nothing is stored without.
    message_stores: OnceLock<Vec<Arc<dyn MessageStore>>>,
    /// Tells the fan-out that the ring has grown. One task waits on it, so that the engine wakes one and not thousands.
    grown: Notify,
}

/// Where a reader of the ring is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingCursor {
    /// The events up to here are read.
    pub events: Seq,
    /// The messages about events up to here are read.
    pub messages: Seq,
}

/// What a cursor finds in the ring.
#[derive(Debug)]
pub(crate) enum RingRead {
    /// Events after the cursor.
    Events {
        /// Those that are of interest; maybe none.
        events: Vec<Arc<Event>>,
        /// What the reader is told besides, of what is up to there.
        messages: Vec<Arc<StreamMessage>>,
        /// The cursor after them.
        reached: Seq,
        /// Whether there are no others: what is published later wakes a subscriber.
        all: bool,
        /// Everything up to here is on disk.
        durable: Seq,
    },
    /// Events after the cursor are no longer in memory: read them from disk.
    Behind,
}

impl Hub {
    /// A hub at the end of a log whose last event is `head`.
    pub fn new(head: (Seq, Hash), bounds: RingBounds) -> Self {
        Self {
            documents: papaya::HashMap::new(),
            ring: RwLock::new(Ring::new(head, bounds)),
            topics: Topics::default(),
            now: AtomicI64::new(0),
            volatile: AtomicUsize::new(0),
            recoveries: AtomicU64::new(0),
            relocations: RelocationLog::default(),
            changes: ChangeTracker::default(),
            message_stores: OnceLock::new(),
            grown: Notify::new(),
        }
    }

    /// Engine only: makes a decided and stored batch visible, with what viewers are told of its events besides.
    /// `durable`: everything up to here that is not volatile is on disk.
    pub(crate) fn publish(
        &self,
        documents: impl IntoIterator<Item = Arc<Document>>,
        events: &[Arc<Event>],
        messages: impl IntoIterator<Item = Arc<StreamMessage>>,
        durable: Seq,
    ) {
        {
            let mut ring = self.ring.write();
            let map = self.documents.pin();
            for document in documents {
                let volatile = document.meta.volatile;
                self.changes.record(&document);
                if map.insert(document.meta.name.clone(), self.hot(document)).is_none() && volatile {
                    self.volatile.fetch_add(1, Ordering::Relaxed);
                }
            }
            for event in events {
                ring.push(Arc::clone(event));
                if event.changes_access() {
                    ring.replace_meta(&event.meta);
                }
            }
            messages.into_iter().for_each(|message| ring.push_message(message));
            ring.set_durable(durable);
        }
        self.grown.notify_one();
    }

    /// Engine only: puts a document that was read from disk in memory.
    pub fn insert_loaded(&self, document: Arc<Document>) {
        self.documents.pin().insert(document.meta.name.clone(), self.hot(document));
    }

    /// Engine only: what is stored up to here is not all kept; whoever is behind it reads from disk, and learns there
    /// what is gone.
    pub fn drop_stored(&self, through: Seq) {
        self.ring.write().drop_stored(through);
    }

    /// Engine only: drops documents from memory.
    pub fn evict<'a>(&self, names: impl IntoIterator<Item = &'a DocumentName>) {
        let _gate = self.ring.write();
        let map = self.documents.pin();
        for name in names {
            if map.remove(name).is_some_and(|hot| hot.document.meta.volatile) {
                self.volatile.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Engine only: what waited for the disk is there now, up to `durable`.
    pub fn recovered(&self, durable: Seq) {
        self.ring.write().set_durable(durable);
        self.recoveries.fetch_add(1, Ordering::Release);
        self.topics.wake_all();
    }

    /// Engine only: a document is on another server from now on; those who follow it hear of it.
    pub fn document_left(&self, moved: Arc<MovedDocument>) {
        self.relocations.left(Arc::clone(&moved));
        self.topics.wake_names(&moved.name);
    }

    /// Engine only: a document that was on another server is here again.
    pub fn document_returned(&self, name: &DocumentName) {
        self.relocations.returned(name);
        self.topics.wake_names(name);
    }

    /// What went to other servers, and what came back.
    pub fn relocations(&self) -> &RelocationLog {
        &self.relocations
    }

    /// Engine only: the present, for noting when documents are used.
    pub fn set_now(&self, now: Timestamp) {
        self.now.store(now.as_millis(), Ordering::Relaxed);
    }

    /// The time as of the engine's last command.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// Engine only: when each document in memory was last used.
    pub fn uses(&self) -> Vec<(DocumentName, Timestamp)> {
        let map = self.documents.pin();
        map.iter().map(|(name, hot)| (name.clone(), Timestamp::from_millis(hot.used.load(Ordering::Relaxed)))).collect()
    }

    fn hot(&self, document: Arc<Document>) -> Arc<HubEntry> {
        Arc::new(HubEntry { document, used: AtomicI64::new(self.now.load(Ordering::Relaxed)) })
    }

    /// A document that is in memory, deleted ones included. Counts as use.
    pub fn document(&self, name: &DocumentName) -> Option<Arc<Document>> {
        let map = self.documents.pin();
        let hot = map.get(name)?;
        hot.used.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        Some(Arc::clone(&hot.document))
    }

    /// The documents in memory that `interest` covers.
    pub fn documents(&self, interest: &Interest) -> Vec<Arc<Document>> {
        if interest.collections.is_empty() {
            return interest.documents.iter().filter_map(|name| self.document(name)).collect();
        }
        let map = self.documents.pin();
        map.iter().filter(|(name, _)| interest.covers(name)).map(|(_, hot)| Arc::clone(&hot.document)).collect()
    }

    /// The same as [`document`](Self::document), and does not count as use: for whoever looks at all of them.
    pub fn peek(&self, name: &DocumentName) -> Option<Arc<Document>> {
        self.documents.pin().get(name).map(|hot| Arc::clone(&hot.document))
    }

    /// The document in memory with this [`key`](crate::document::model::Meta::key). Looks at all of them.
    pub fn by_key(&self, key: i64) -> Option<Arc<Document>> {
        let map = self.documents.pin();
        map.values().find(|hot| hot.document.meta.key == key).map(|hot| Arc::clone(&hot.document))
    }

    /// How many documents of each collection are in memory alone. Looks at all that are in memory, if there are such.
    pub fn volatile_counts(&self) -> BTreeMap<Collection, u64> {
        let mut counts = BTreeMap::new();
        for document in self.volatile_documents() {
            *counts.entry(document.meta.name.collection.clone()).or_default() += 1;
        }
        counts
    }

    /// The documents that are in memory alone and not deleted. Looks at all that are in memory, if there are such.
    pub fn volatile_documents(&self) -> Vec<Arc<Document>> {
        if !self.has_volatile() {
            return Vec::new();
        }
        let map = self.documents.pin();
        let volatile = map.values().filter(|hot| hot.document.meta.volatile && !hot.document.is_deleted());
        volatile.map(|hot| Arc::clone(&hot.document)).collect()
    }

    /// From now on it is recorded which documents change, for [`consistent_cut`](Self::consistent_cut): up to
    /// `documents_max`, past which it is only known that more did. For one who asks, and asks often.
    pub fn record_changes(&self, documents_max: usize) -> ConsistentCut {
        let ring = self.ring.read();
        self.changes.begin(documents_max);
        cut(&ring, None, 0)
    }

    /// A moment of what is published, and what changed since the last cut. Tells at most `pending_max` of the changes
    /// that are not on disk.
    pub fn consistent_cut(&self, pending_max: usize) -> ConsistentCut {
        let ring = self.ring.read();
        let pending = ring.after(ring.durable()).any(|event| !event.meta.volatile);
        cut(&ring, if pending { None } else { self.changes.take() }, pending_max)
    }

    /// Whether there are documents that are in memory alone.
    pub fn has_volatile(&self) -> bool {
        self.volatile.load(Ordering::Relaxed) > 0
    }

    /// How many documents are in memory.
    pub fn documents_count(&self) -> usize {
        self.documents.len()
    }

    /// The gate: while it is held, documents and log stay at one point. Hold it briefly, and never across an await: the
    /// engine waits for it.
    pub fn gate(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read()
    }

    /// Puts events read back from disk before those in memory, so that the many who come back after a restart are
    /// served without the disk.
    pub fn refill(&self, older: Vec<Arc<Event>>) {
        let mut ring = self.ring.write();
        let current = |event: Arc<Event>| match self.peek(&event.meta.name) {
            Some(document) if document.meta.access_seq != event.meta.access_seq => {
                Arc::new(event.with_meta(Arc::clone(&document.meta)))
            }
            _ => event,
        };
        ring.extend_back(older.into_iter().map(current).collect());
    }

    /// How often undurable events have become durable.
    pub fn recoveries(&self) -> u64 {
        self.recoveries.load(Ordering::Acquire)
    }

    /// Says who has stored messages. Once, at the start.
    pub(crate) fn set_message_stores(&self, stores: Vec<Arc<dyn MessageStore>>) {
        let _ = self.message_stores.set(stores);
    }

    /// Who has stored messages.
    pub(crate) fn message_stores(&self) -> &[Arc<dyn MessageStore>] {
        self.message_stores.get().map_or(&[], Vec::as_slice)
    }

    /// Up to `bytes_max` bytes of events after `cursor` that are of interest, and the messages up to there that are for
    /// `viewer`.
    pub(crate) fn read(&self, cursor: RingCursor, interest: &Interest, viewer: &Viewer, bytes_max: usize) -> RingRead {
        let ring = self.ring.read();
        if !ring.covers_after(cursor.events.min(cursor.messages)) {
            return RingRead::Behind;
        }
        let messages = |reached: Seq| {
            let messages = ring.messages_after(cursor.messages).take_while(|message| message.seq <= reached);
            messages.filter(|message| message.concerns(viewer, interest)).cloned().collect()
        };
        let (mut events, mut bytes, mut reached, durable) = (Vec::new(), 0, cursor.events, ring.durable());
        for event in ring.after(cursor.events) {
            if interest.covers(&event.meta.name) {
                if bytes >= bytes_max {
                    return RingRead::Events { events, messages: messages(reached), reached, all: false, durable };
                }
                bytes += event.body.len();
                events.push(Arc::clone(event));
            }
            reached = event.seq;
        }
        RingRead::Events { events, messages: messages(reached), reached, all: true, durable }
    }

    /// Joins those who hear of `interest`. Subscribe first and read the present after: then nothing falls between.
    pub fn subscribe(self: &Arc<Self>, interest: Arc<Interest>) -> HubSubscription {
        self.subscribe_for(interest, None)
    }

    /// The same for who also hears of what is for `viewer`.
    pub(crate) fn subscribe_for(self: &Arc<Self>, interest: Arc<Interest>, viewer: Option<Viewer>) -> HubSubscription {
        let waiter = match &viewer {
            Some(viewer) => Waiter::with_inbox(TransientInbox::new(viewer.clone())),
            None => Waiter::default(),
        };
        let waiter = Arc::new(waiter);
        self.topics.add(&interest, viewer.as_ref(), &waiter);
        HubSubscription { hub: Arc::clone(self), interest, viewer, waiter }
    }

    /// Wakes those who follow these documents, for news of who is there.
    pub fn wake_presence(&self, names: &[DocumentName]) {
        if !names.is_empty() {
            self.topics.wake_for_presence(names);
        }
    }

    /// Gives a message to those who follow its document now and whom it is for.
    pub(crate) fn send(&self, message: &Arc<TransientMessage>) {
        self.topics.send(message);
    }

    /// Whether a stream follows this very document now.
    pub fn is_followed(&self, name: &DocumentName) -> bool {
        self.topics.has(name)
    }

    /// Wakes subscribers as the log grows, for as long as the server runs. It is one task of its own, so that the
    /// engine's thread never pays for the number of subscribers.
    pub async fn fan_out(self: Arc<Self>) {
        let mut cursor = self.ring.read().head().0;
        loop {
            self.grown.notified().await;
            let (events, messages, complete) = {
                let ring = self.ring.read();
                let events = ring.after(cursor).cloned().collect::<Vec<_>>();
                let messages = ring.messages_after(cursor).cloned().collect::<Vec<_>>();
                let complete = ring.covers_after(cursor);
                cursor = ring.head().0;
                (events, messages, complete)
            };
            if !complete {
                // Whom the events that are gone from memory were for is not known any more.
                self.topics.wake_all();
                continue;
            }
            self.topics.wake(&events);
            for message in messages {
                if let MessageRecipient::Viewer(viewer) = &message.to {
                    self.topics.wake_viewer(viewer);
                }
            }
        }
    }
}

fn cut(ring: &Ring, changed: Option<ChangeRecord>, pending_max: usize) -> ConsistentCut {
    let (mut pending, mut pending_count) = (Vec::new(), 0);
    for event in ring.after(ring.durable()).filter(|event| !event.meta.volatile) {
        pending_count += 1;
        if pending.len() < pending_max {
            pending.push((event.meta.name.clone(), event.version));
        }
    }
    ConsistentCut { head: ring.last_persistent(), durable: ring.durable(), pending, pending_count, changed }
}

/// A place among those who hear of something; given up when dropped.
#[derive(Debug)]
pub struct HubSubscription {
    hub: Arc<Hub>,
    interest: Arc<Interest>,
    viewer: Option<Viewer>,
    waiter: Arc<Waiter>,
}

impl HubSubscription {
    /// What it is about.
    pub fn interest(&self) -> &Arc<Interest> {
        &self.interest
    }

    /// Waits until something of interest was published since the last return. Cancel safe.
    pub async fn changed(&self) {
        while !self.woken().await.is_for(WakeReason::EVENTS) {}
    }

    /// Waits until something of interest was published or somebody came or went, since the last return. Cancel safe.
    pub async fn woken(&self) -> WakeReason {
        self.waiter.woken().await
    }

    /// Takes what others have said, as frames: see [`TransientInbox::take_frames`].
    pub(crate) fn take_transient(&self) -> Result<Bytes> {
        self.waiter.inbox().map_or_else(|| Ok(Bytes::new()), |inbox| inbox.take_frames(|name| self.hub.peek(name)))
    }

    /// Has the next [`woken`](Self::woken) return at once.
    pub fn wake_later(&self, what: WakeReason) {
        self.waiter.wake(what);
    }
}

impl Drop for HubSubscription {
    fn drop(&mut self) {
        self.hub.topics.remove(&self.interest, self.viewer.as_ref(), &self.waiter);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use serde_json::Value;

    use super::*;
    use crate::base::ids::{UserId, Version};
    use crate::document::access::Access;
    use crate::document::event::Content;
    use crate::document::model::Meta;
    use crate::document::patch::diff;

    fn event(seq: u64, id: &str) -> Arc<Event> {
        let at = Timestamp::from_millis(0);
        let name = DocumentName::new("games", id).unwrap();
        let meta = Arc::new(Meta {
            key: 1,
            name,
            host: None,
            access: Access::default(),
            access_seq: Seq::ZERO,
            created_at: at,
            volatile: false,
        });
        let (payload, change) = (Value::Null, diff(None, Some(&payload()), 2).unwrap());
        let actor = UserId::new("alice").unwrap();
        let content = Content {
            kind: "create",
            actor: &actor,
            at,
            payload: &payload,
            change: &change,
            records_access: false,
            salt: [0; 16],
        };
        Arc::new(Event::new(Seq(seq), meta, Version(1), Hash::ZERO, &content).unwrap())
    }

    fn payload() -> Value {
        Value::Object(serde_json::Map::new())
    }

    #[tokio::test]
    async fn a_subscriber_wakes_for_an_event_that_left_memory_before_the_fan_out_came_to_it() {
        let bounds = RingBounds { events_max: 2, bytes_max: 1 << 20 };
        let hub = Arc::new(Hub::new((Seq::ZERO, Hash::ZERO), bounds));
        let name = DocumentName::new("games", "g1").unwrap();
        let subscription = hub.subscribe(Arc::new(Interest::document(name)));
        let fan_out = tokio::spawn(Arc::clone(&hub).fan_out());
        // Lets the fan-out take its place at the start of the log; nothing runs beside this test.
        tokio::task::yield_now().await;
        for seq in 1..=5 {
            hub.publish([], &[event(seq, if seq == 1 { "g1" } else { "other" })], [], Seq(seq));
        }
        let woken = tokio::time::timeout(std::time::Duration::from_secs(5), subscription.changed()).await;
        assert!(woken.is_ok());
        fan_out.abort();
    }
}
