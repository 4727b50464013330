//! The recent end of the log, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::messages::StreamMessage;
use crate::base::ids::{Collection, Seq};
use crate::base::limits;
use crate::document::chain::{Hash, Position};
use crate::document::event::Event;
use crate::document::model::Meta;

/// How much the ring keeps.
#[derive(Clone, Copy, Debug)]
pub struct RingBounds {
    /// Most events.
    pub events_max: usize,
    /// Most bytes that they take in memory.
    pub bytes_max: usize,
}

impl Default for RingBounds {
    fn default() -> Self {
        Self { events_max: limits::RING_EVENTS_MAX, bytes_max: limits::RING_BYTES_MAX }
    }
}

/// What an event takes in memory: its body, as much again once it was rendered for streams, and its own fields.
fn weight(event: &Event) -> usize {
    2 * event.body.len() + size_of::<Event>() + 200
}

/// The newest events, without a gap, up to the head of the log. Undurable events are never dropped from it: they are
/// nowhere else for readers to find. The engine's backlog bounds them. Those of volatile documents are nowhere else
/// either; they are dropped all the same, and it is noted up to where.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Arc<Event>>,
    /// What is told of them besides, by seq; dropped with the event.
    messages: VecDeque<Arc<StreamMessage>>,
    bytes: usize,
    bounds: RingBounds,
    /// The end of the log when the ring began: what is told of later events besides is here with them or nowhere.
    start: Seq,
    head: (Seq, Hash),
    durable: Seq,
    /// The newest event that is in the log of later runs too: not of a volatile document.
    last_persistent: (Seq, Hash),
    /// The newest event of a volatile document of each collection that was dropped: it is nowhere any more.
    lost: BTreeMap<Collection, Seq>,
}

impl Ring {
    /// An empty ring at the end of a log whose last event is `head`.
    pub fn new(head: (Seq, Hash), bounds: RingBounds) -> Self {
        Self {
            events: VecDeque::new(),
            messages: VecDeque::new(),
            bytes: 0,
            bounds,
            start: head.0,
            head,
            durable: head.0,
            last_persistent: head,
            lost: BTreeMap::new(),
        }
    }

    /// Seq and hash of the newest event; `Seq::ZERO` when there is none.
    pub fn head(&self) -> (Seq, Hash) {
        self.head
    }

    /// The position of the newest event.
    pub fn position(&self) -> Position {
        Position::after(self.head.0, self.head.1)
    }

    /// The newest event that is not of a volatile document: whatever comes after it is gone when the server stops.
    pub fn last_persistent(&self) -> (Seq, Hash) {
        self.last_persistent
    }

    /// The newest event of a volatile document of `collection` that has left memory, and with it this log.
    pub fn lost(&self, collection: &Collection) -> Seq {
        self.lost.get(collection).copied().unwrap_or(Seq::ZERO)
    }

    /// Everything up to here is on disk, but for what is volatile.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Moves the mark up to which everything is on disk, and lets go of what the bounds do not cover.
    pub fn set_durable(&mut self, seq: Seq) {
        self.durable = self.durable.max(seq);
        self.shrink();
    }

    /// Appends the event after the head. Where a place is left out, everything before must be on disk.
    pub fn push(&mut self, event: Arc<Event>) {
        debug_assert!(event.seq > self.head.0, "the log only grows");
        if event.seq != self.head.0.next() {
            // A place is left out before a document that came without its beginning. Nothing here reaches over that.
            while self.drop_oldest() {}
        }
        self.head = (event.seq, event.hash);
        if !event.meta.volatile {
            self.last_persistent = self.head;
        }
        self.bytes += weight(&event);
        self.events.push_back(event);
    }

    /// Appends a message about the newest event, or about one before it and after those of earlier messages.
    pub(super) fn push_message(&mut self, message: Arc<StreamMessage>) {
        self.bytes += message.weight();
        self.messages.push_back(message);
    }

    /// The messages about events after `seq`, oldest first. Complete only if [`covers_after`](Self::covers_after), and
    /// without those of events that were read back from disk.
    pub(crate) fn messages_after(&self, seq: Seq) -> impl Iterator<Item = &Arc<StreamMessage>> {
        self.messages.range(self.messages.partition_point(|message| message.seq <= seq)..)
    }

    /// From now on all events of a document that are here have these facts: whoever reads them has the rights of today.
    pub fn replace_meta(&mut self, meta: &Arc<Meta>) {
        for event in self.events.iter_mut().filter(|event| event.meta.key == meta.key) {
            if !Arc::ptr_eq(&event.meta, meta) {
                *event = Arc::new(event.with_meta(Arc::clone(meta)));
            }
        }
    }

    /// Puts events of before the ring, read back from disk, before those that are here. Ignored unless they join
    /// without a gap: what is missing on disk was trimmed or volatile.
    pub fn extend_back(&mut self, older: Vec<Arc<Event>>) {
        for event in older.into_iter().rev() {
            if event.seq.next() == self.first() && event.seq <= self.start {
                self.bytes += weight(&event);
                self.events.push_front(event);
            }
        }
        self.shrink();
    }

    /// The seq of the oldest event here; one past the head when there is none.
    pub fn first(&self) -> Seq {
        self.events.front().map_or(self.head.0.next(), |event| event.seq)
    }

    /// Whether every event after `seq` is here.
    pub fn covers_after(&self, seq: Seq) -> bool {
        seq.next() >= self.first()
    }

    /// The events after `seq`, oldest first. Complete only if [`covers_after`](Self::covers_after).
    pub fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Event>> {
        let skip = usize::try_from(seq.next().0.saturating_sub(self.first().0)).unwrap_or(usize::MAX);
        self.events.range(skip.min(self.events.len())..)
    }

    /// The event `seq`, if it is here.
    pub fn get(&self, seq: Seq) -> Option<&Arc<Event>> {
        let index = usize::try_from(seq.0.checked_sub(self.first().0)?).ok()?;
        self.events.get(index)
    }

    /// Drops the events up to `through` that are on disk.
    pub fn drop_stored(&mut self, through: Seq) {
        let end = through.min(self.durable);
        while self.events.front().is_some_and(|event| event.seq <= end) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest events past the bounds.
    pub fn shrink(&mut self) {
        while self.events.len() > self.bounds.events_max || self.bytes > self.bounds.bytes_max {
            match self.events.front() {
                Some(event) if event.seq <= self.durable => self.drop_oldest(),
                _ => return,
            };
        }
    }

    /// Lets go of the oldest event, and notes it if it is nowhere else. False: there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(event) = self.events.pop_front() else { return false };
        self.bytes -= weight(&event);
        while let Some(message) = self.messages.pop_front_if(|message| message.seq <= event.seq) {
            self.bytes -= message.weight();
        }
        if event.meta.volatile {
            self.lost.insert(event.meta.name.collection.clone(), event.seq);
        }
        true
    }
}
