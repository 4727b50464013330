//! Following documents: the present first, or what was missed, and then every change, exactly once and in order.
//!
//! A follower is a cursor into the log. Recent events come from the hub's ring, older ones from disk in pages, and the
//! hand-over between the two is by `seq`: nothing is queued for a follower, so one that reads slowly costs a number.

mod access;
mod item;
mod matching;
mod messages;
mod relocation;
mod snapshot;

use std::collections::HashSet;
use std::sync::Arc;

use self::access::ReadableEvents;
pub(crate) use self::item::{Item, Reason};
use self::matching::Matching;
use self::messages::MessageCursor;
use super::Reads;
use super::lost_changes::{LostChanges, any_not_stored};
use crate::base::error::{Kind, Result};
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Meta;
use crate::document::query::filter::Filter;
use crate::document::scope::DocumentGrant;
use crate::document::visibility::Viewer;
use crate::live::hub::{HubSubscription, RingCursor, RingRead};
use crate::live::presence::{Presence, PresenceSubscription};
use crate::live::relocations::MovedDocument;
use crate::live::topics::{Interest, WakeReason};
use crate::store::{EventFilter, Reader};

/// Events in one page from disk.
const PAGE_EVENTS: usize = 500;

/// Who follows.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Whose rights count: what they may not read is to them as if it were not there.
    pub viewer: Viewer,
    /// Whether they are connected to the documents that they name, which others are told of.
    pub counts: bool,
    /// What tells the viewer's devices apart: what one has acknowledged another may not have. `None`: it is told no
    /// messages.
    pub device: Option<Arc<str>>,
    /// Which of the documents that it follows it is told of; `None`: all.
    pub filter: Option<Filter>,
}

/// `interest` as far as the credential of `viewer` reaches: of a collection that it does not reach as a whole, its
/// single documents there. So whatever is asked of a collection needs to know nothing of scopes.
fn reached(mut interest: Interest, viewer: &Viewer) -> Interest {
    let Some(scope) = viewer.credential_scope() else { return interest };
    let single =
        scope.grants().iter().map(DocumentGrant::name).filter(|name| interest.collections.contains(&name.collection));
    interest.documents.extend(single.cloned().collect::<Vec<_>>());
    interest.collections.retain(|collection| scope.reaches_collection(collection));
    interest
}

/// Someone who follows documents.
pub(crate) struct Follow {
    reads: Reads,
    viewer: Viewer,
    subscription: HubSubscription,
    presence_subscription: PresenceSubscription,
    cursor: Seq,
    /// Changes of access up to here are in what it was told: as it may see it now, it can go on from there.
    access_known: Seq,
    recoveries: u64,
    /// The newest change told that was not on disk when it was told.
    undurable: Option<Seq>,
    /// Where the changes end that it was told will follow: nothing else comes between them.
    announced: Seq,
    /// Trimmed up to here when it asked for all that is kept: no gap for it.
    kept_after: Seq,
    /// The same of what was in memory alone.
    remembered_after: Seq,
    /// Whether everything published before the subscription's last wake-up is told: looking again before the next one
    /// would find nothing.
    caught_up: bool,
    /// Documents that were elsewhere already when it began, still to be told; the last is the next.
    moved_before: Vec<Arc<MovedDocument>>,
    /// How many relocation events were looked at.
    relocations_read: usize,
    /// Whether there may be news of who is there.
    presence_due: bool,
    messages: MessageCursor,
    /// `None`: it is told of all documents.
    matching: Option<Matching>,
}

impl Follow {
    /// Begins to follow. `resume`: the position that the follower last saw, as it gives it; whatever it says, the first
    /// item answers it, never a refusal. Error: `TooLarge` when a snapshot would hold too many documents;
    /// `StorageUnavailable`.
    pub(crate) async fn open(
        reads: Reads,
        presence: &Arc<Presence>,
        follower: Follower,
        interest: Interest,
        resume: Option<&str>,
    ) -> Result<(Self, Item)> {
        let Follower { viewer, counts, device, filter } = follower;
        let hears = device.is_some().then(|| viewer.clone());
        // Subscribing comes first: whatever is published from here on is either in what is read next or wakes us.
        let subscription = reads.hub.subscribe_for(Arc::new(reached(interest, &viewer)), hears);
        presence.load_participants(subscription.interest()).await;
        // A program that acts for the owner is nobody whom others wait for.
        let counts = counts && (viewer.user().is_some() || viewer.credential_scope().is_none());
        let user = counts.then(|| viewer.user_id()).transpose()?;
        let named: HashSet<_> = subscription.interest().documents.iter().cloned().collect();
        let presence_subscription = presence.subscribe(user, Arc::clone(subscription.interest()), &named);
        // Who is there already is told once what was missed is.
        subscription.wake_later(WakeReason::PRESENCE);
        let recoveries = reads.hub.recoveries();
        let (moved_before, relocations_read) =
            reads.hub.relocations().present(|name| subscription.interest().covers(name));
        let mut follow = Self {
            reads,
            viewer,
            subscription,
            presence_subscription,
            cursor: Seq::ZERO,
            access_known: Seq::ZERO,
            recoveries,
            undurable: None,
            announced: Seq::ZERO,
            kept_after: Seq::ZERO,
            remembered_after: Seq::ZERO,
            caught_up: false,
            moved_before,
            relocations_read,
            presence_due: false,
            messages: MessageCursor::new(device),
            matching: filter.map(Matching::new),
        };
        let first = match resume {
            None => follow.snapshot(Reason::Start).await?,
            Some(text) => match follow.resume(text).await {
                // What does not add up is as good as gone.
                Err(error) if error.kind() == Kind::Damaged => follow.snapshot(Reason::Trimmed).await?,
                resumed => resumed?,
            },
        };
        let resume = resume.and_then(Position::parse).map(|position| position.seq());
        follow.find_missed_at_start(&first, resume).await;
        // Only now: who is told the list of who is there finds themselves in it as news.
        let barred = if counts { follow.reads.unreadable(named, &follow.viewer).await? } else { HashSet::new() };
        follow.presence_subscription.count_except(&barred);
        Ok((follow, first))
    }

    /// The next thing to tell; waits until there is one. Cancel safe: nothing is taken before it is returned.
    pub(crate) async fn next(&mut self) -> Result<Item> {
        loop {
            if let Some(item) = self.next_ready().await? {
                return Ok(item);
            }
            let woken = self.subscription.woken().await;
            self.caught_up = !woken.is_for(WakeReason::EVENTS);
            self.presence_due = woken.is_for(WakeReason::PRESENCE);
        }
    }

    /// The next thing to tell, if there is one already. Cancel safe, too.
    pub(crate) async fn next_ready(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.pop_queued().await? {
                return Ok(Some(item));
            }
            if self.cursor >= self.announced
                && let Some(item) = self.recovered()
            {
                return Ok(Some(item));
            }
            if self.presence_due
                && let Some(item) = self.presence().await?
            {
                return Ok(Some(item));
            }
            if self.caught_up {
                let frames = self.subscription.take_transient()?;
                if !frames.is_empty() {
                    return Ok(Some(Item::Transient(frames)));
                }
                return self.next_relocation().await;
            }
            let cursor = RingCursor { events: self.cursor, messages: self.messages_after() };
            let interest = self.subscription.interest();
            match self.reads.hub.read(cursor, interest, &self.viewer, limits::STREAM_WRITE_BYTES_MAX) {
                RingRead::Behind => match self.page().await? {
                    Some(item) => return Ok(Some(item)),
                    None => continue,
                },
                RingRead::Events { events, messages, reached, all, durable } => {
                    let events = match self.readable(events) {
                        ReadableEvents::Told(events) => events,
                        other => return self.access_item(other).await.map(Some),
                    };
                    (self.cursor, self.caught_up) = (reached, all);
                    self.access_known = self.access_known.max(reached);
                    let undurable = |event: &&Arc<Event>| !event.meta.volatile && event.seq > durable;
                    if let Some(last) = events.iter().rfind(undurable) {
                        self.undurable = Some(last.seq);
                    }
                    self.messages.through = self.messages.through.max(reached);
                    self.messages.enqueue(events, messages, reached, self.announced);
                }
            }
        }
    }

    /// Whether all changes that there are have been told.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Whether this document is all that it follows.
    pub(crate) fn is_of(&self, name: &DocumentName) -> bool {
        let interest = self.subscription.interest();
        interest.collections.is_empty() && interest.documents.len() == 1 && interest.documents.contains(name)
    }

    async fn presence(&mut self) -> Result<Option<Item>> {
        let (frames, more) = if self.viewer == Viewer::Owner {
            self.presence_subscription.next_frames()
        } else {
            let (names, revision) = self.presence_subscription.pending();
            let barred = self.reads.unreadable(names, &self.viewer).await?;
            self.presence_subscription.next_frames_except(&barred, revision)
        };
        self.presence_due = false;
        if more {
            self.subscription.wake_later(WakeReason::PRESENCE);
        }
        Ok((!frames.is_empty()).then_some(Item::Presence(frames)))
    }

    fn recovered(&mut self) -> Option<Item> {
        let recoveries = self.reads.hub.recoveries();
        if recoveries == self.recoveries {
            return None;
        }
        self.recoveries = recoveries;
        let told = self.undurable?;
        let durable = self.reads.hub.gate().durable();
        if told <= durable {
            self.undurable = None;
        }
        Some(Item::Durable(durable))
    }

    /// Changes that are no longer in memory. `None`: there are none of interest before the ring.
    async fn page(&mut self) -> Result<Option<Item>> {
        self.reads.refill_ring().await;
        let (interest, after) = (Arc::clone(self.subscription.interest()), self.cursor);
        let (to, lost_changes) = {
            let ring = self.reads.hub.gate();
            if ring.covers_after(after.min(self.messages_after())) {
                return Ok(None);
            }
            (
                Seq(ring.first().0.saturating_sub(1)),
                LostChanges::after(&ring, &interest, after.max(self.remembered_after)),
            )
        };
        let read = self
            .reads
            .read(move |reader| {
                let filter = filter(reader, &interest, None)?;
                let bytes_max = limits::STREAM_WRITE_BYTES_MAX;
                let events = reader.events_between(&filter, after, to, PAGE_EVENTS, bytes_max)?;
                // After the events: had something been trimmed before they were read, the base shows it now.
                let base = reader.base_seq(&filter)?;
                Ok((events.into_iter().map(Arc::new).collect::<Vec<_>>(), base, lost_changes.concerns(reader)?))
            })
            .await;
        let (events, base, lost) = match read {
            // Else whoever comes back to before the damage would never get past it.
            Err(error) if error.kind() == Kind::Damaged => return self.snapshot_anew(Reason::Trimmed).await.map(Some),
            read => read?,
        };
        if lost || base > after.max(self.kept_after) {
            return self.snapshot_anew(Reason::Trimmed).await.map(Some);
        }
        let reached = events.last().map_or(to, |last| last.seq);
        let messages = self.stored_messages(reached).await?;
        match self.readable(events.into_iter().map(|event| self.current(event)).collect()) {
            ReadableEvents::Told(events) => {
                // Only messages may have been behind what is in memory.
                self.cursor = self.cursor.max(reached);
                self.access_known = self.access_known.max(reached);
                self.messages.through = self.messages.through.max(reached);
                self.messages.enqueue(events, messages, reached, self.announced);
                self.pop_queued().await
            }
            other => self.access_item(other).await.map(Some),
        }
    }

    async fn resume(&mut self, text: &str) -> Result<Item> {
        let Some(mut from) = Position::parse(text) else { return self.snapshot(Reason::Diverged).await };
        let known = self.check_position(from).await?;
        if known != PositionStatus::Nowhere {
            self.cursor = from.seq();
        }
        if known != PositionStatus::Here {
            match (self.translate_position(from).await?, known) {
                (Some(here), _) => from = here,
                (None, PositionStatus::Trimmed) => return self.snapshot(Reason::Trimmed).await,
                (None, _) => return self.snapshot(Reason::Diverged).await,
            }
        }
        self.cursor = from.seq();
        if self.knew_lost_documents(from).await? {
            return self.snapshot(Reason::Diverged).await;
        }
        self.expect_durability_notice(from);
        let known = self.reads.hub.gate().head().0;
        let mut in_memory = self.reads.hub.gate().covers_after(from.seq());
        if !in_memory {
            self.reads.refill_ring().await;
            in_memory = self.reads.hub.gate().covers_after(from.seq());
        }
        if self.access_changed(from.seq(), !in_memory).await? {
            return self.snapshot(Reason::Access).await;
        }
        self.access_known = known;
        match self.resume_in_memory(from) {
            Some(item) => Ok(item),
            None => self.resume_from_disk(from).await,
        }
    }

    /// Whether whoever comes back may have been told of volatile documents of an earlier run, which are gone. The
    /// position alone does not show it: it may be that of an event that is still there.
    async fn knew_lost_documents(&self, from: Position) -> Result<bool> {
        let interest = self.subscription.interest();
        let mut names = Vec::new();
        for range in self.reads.volatile_ranges(from.seq()) {
            if interest.collections.contains(&range.collection) {
                return Ok(true);
            }
            names.extend(interest.documents.iter().filter(|name| name.collection == range.collection).cloned());
        }
        if names.is_empty() {
            return Ok(false);
        }
        self.reads.read(move |reader| any_not_stored(reader, &names, from.seq())).await
    }

    /// Whoever comes back may have been told of changes that were not on disk then, and have missed that they are now.
    fn expect_durability_notice(&mut self, from: Position) {
        if self.only_volatile() {
            return;
        }
        let still_pending = from.seq() > self.reads.hub.gate().durable();
        if still_pending || self.reads.hub.recoveries() > 0 {
            self.undurable = Some(from.seq());
        }
        if !still_pending {
            // As if the last return of storage had not been noticed yet.
            self.recoveries = self.recoveries.saturating_sub(1);
        }
    }

    /// Whether nothing that it follows ever comes to disk.
    fn only_volatile(&self) -> bool {
        let interest = self.subscription.interest();
        let volatile = |name| self.reads.hub.document(name).is_some_and(|document| document.meta.volatile);
        interest.collections.is_empty() && interest.documents.iter().all(volatile)
    }

    /// Where a position of another server's log is in this one: a document that moved has other seqs here and the same
    /// hashes. Only whoever follows a single document can say which chain is meant.
    async fn translate_position(&self, position: Position) -> Result<Option<Position>> {
        let interest = self.subscription.interest();
        match (interest.collections.is_empty(), interest.documents.len(), interest.documents.iter().next()) {
            (true, 1, Some(name)) => Ok(self.reads.by_hash(name, position).await?.map(|(here, _)| here)),
            _ => Ok(None),
        }
    }

    /// Whether a position names a place in this log.
    async fn check_position(&self, position: Position) -> Result<PositionStatus> {
        let Position::After { seq, hash } = position else { return Ok(PositionStatus::Here) };
        if let Some(event) = self.reads.hub.gate().get(seq) {
            return Ok(if event.hash.short() == hash { PositionStatus::Here } else { PositionStatus::Nowhere });
        }
        let found = self.reads.read(move |reader| reader.event_at(seq)).await?;
        Ok(match found {
            Some((stored, _)) if stored.short() == hash => PositionStatus::Here,
            Some(_) => PositionStatus::Nowhere,
            // In a run that is over it may have been volatile. In this one that comes to the same as being trimmed.
            None if self.reads.volatile_ranges(seq).next().is_some() => PositionStatus::Nowhere,
            None if seq <= self.reads.hub.gate().head().0 => PositionStatus::Trimmed,
            None => PositionStatus::Nowhere,
        })
    }

    fn resume_in_memory(&mut self, from: Position) -> Option<Item> {
        let ring = self.reads.hub.gate();
        // A position read from disk a moment before its event was published: what follows it is still to come.
        if !ring.covers_after(from.seq()) {
            return None;
        }
        let interest = self.subscription.interest();
        let told = |event: &&Arc<Event>| interest.covers(&event.meta.name) && event.meta.may_read(&self.viewer);
        let missed = ring.after(from.seq()).filter(told);
        let (mut count, mut to) = (0, from);
        for event in missed {
            (count, to) = (count + 1, event.position());
        }
        drop(ring);
        (self.cursor, self.announced) = (from.seq(), to.seq());
        Some(Item::Resumed { from, to, count })
    }

    async fn resume_from_disk(&mut self, from: Position) -> Result<Item> {
        let (interest, after) = (Arc::clone(self.subscription.interest()), from.seq());
        // Up to here from disk; what is newer and not yet on disk is in the ring, and is counted there, as is what
        // never comes to disk.
        let (durable, newer, lost_changes) = {
            let ring = self.reads.hub.gate();
            let unstored = |event: &&Arc<Event>| event.meta.volatile || event.seq > ring.durable();
            let told = |event: &&Arc<Event>| interest.covers(&event.meta.name) && event.meta.may_read(&self.viewer);
            let newer = ring.after(after).filter(told).filter(unstored);
            (ring.durable(), newer.cloned().collect::<Vec<_>>(), LostChanges::after(&ring, &interest, after))
        };
        let (remembered_after, viewer) = (lost_changes.until, self.viewer.clone());
        let (stored, last, base, lost) = self
            .reads
            .read(move |reader| {
                let filter = filter(reader, &interest, Some(viewer))?;
                let base_before = reader.base_seq(&filter)?;
                let stored = reader.count_between(&filter, after, durable)?;
                let last = reader.last_between(&filter, after, durable)?;
                let base = (base_before, reader.base_seq(&filter)?);
                Ok((stored, last, base, lost_changes.concerns(reader)?))
            })
            .await?;
        let (base_before, base) = base;
        if (lost || base > from.seq()) && from != Position::Start {
            return self.snapshot(Reason::Trimmed).await;
        }
        let unstored = newer.last().map(|event| (event.seq, event.hash));
        let newest = unstored.into_iter().chain(last).max_by_key(|(seq, _)| *seq);
        let to = newest.map_or(from, |(seq, hash)| Position::after(seq, hash));
        (self.cursor, self.announced) = (from.seq(), to.seq());
        // From the start means from the start of what is kept: what is trimmed from here on was counted and is missed.
        if from == Position::Start {
            (self.kept_after, self.remembered_after) = (base_before, remembered_after);
        }
        let newer = u64::try_from(newer.len()).unwrap_or(u64::MAX);
        Ok(Item::Resumed { from, to, count: stored.saturating_add(newer) })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PositionStatus {
    Here,
    Trimmed,
    Nowhere,
}

/// What the disk is asked for. `viewer`: without what they may not read. Looked up each time: a document may have come
/// into being since.
fn filter(reader: &Reader, interest: &Interest, viewer: Option<Viewer>) -> Result<EventFilter> {
    let mut documents = Vec::with_capacity(interest.documents.len());
    for name in &interest.documents {
        let readable = |meta: &Arc<Meta>| viewer.as_ref().is_none_or(|viewer| meta.may_read(viewer));
        documents.extend(reader.meta(name)?.filter(readable).map(|meta| meta.key));
    }
    Ok(EventFilter { documents, collections: interest.collections.iter().cloned().collect(), viewer })
}
