//! Following documents: the present first, or what was missed, and then every change, exactly once and in order.
//!
//! A follower is a cursor into the log. Recent events come from the hub's ring, older ones from disk in pages, and the
//! hand-over between the two is by `seq`: nothing is queued for a follower, so one that reads slowly costs a number.

mod access;
mod relocation;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use self::access::ReadableEvents;
use super::Reads;
use super::lost_changes::{LostChanges, any_not_stored};
use super::present::{Present, check_count, load_cold};
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::live::hub::{RingRead, Subscription};
use crate::live::presence::{Presence, PresenceSubscription};
use crate::live::relocations::MovedDocument;
use crate::live::topics::{Interest, WakeReason};
use crate::store::{Filter, Reader};

/// How often a snapshot is begun anew because a document was dropped from memory just when it was looked for.
const SNAPSHOT_ATTEMPTS_MAX: usize = 20;
/// Events in one page from disk.
const PAGE_EVENTS: usize = 500;

/// Why a follower gets the whole state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Start,
    /// Changes that it missed are no longer kept.
    Trimmed,
    /// Its position is not in this log.
    Diverged,
    /// A document that it was told had moved is here again.
    Returned,
    /// What it may see is not what it was.
    Access,
}

impl Reason {
    /// As it is written on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Trimmed => "trimmed",
            Self::Diverged => "diverged",
            Self::Returned => "returned",
            Self::Access => "access",
        }
    }
}

/// What a follower is told.
#[derive(Debug)]
pub(crate) enum Item {
    /// The whole present; what follows continues from it.
    Snapshot {
        reason: Reason,
        /// The documents that are there.
        documents: Vec<Arc<Document>>,
        /// Followed by name and not there. Whether one was removed with its history or never was, nobody can tell.
        gone: Vec<DocumentName>,
        /// Where it stands in the log.
        position: Position,
    },
    /// Exactly `count` changes follow, up to `to`; then the live ones.
    Resumed {
        /// Where the follower was.
        from: Position,
        /// Where it will be.
        to: Position,
        /// How many changes lie between.
        count: u64,
    },
    Changes(Vec<Arc<Event>>),
    /// A document is on another server now, and goes on there from the position that it has here. All its changes are
    /// told.
    Moved(Arc<MovedDocument>),
    /// Changes up to here, which had been told while storage failed, are on disk now.
    Durable(Seq),
    /// Who is there, as frames.
    Presence(Bytes),
    /// It may no longer read a document that it was told of. Nothing follows.
    AccessEnded,
}

/// Who follows.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// Whose rights count: what they may not read is to them as if it were not there.
    pub viewer: Viewer,
    /// Whether they are connected to the documents that they name, which others are told of.
    pub counts: bool,
}

/// Someone who follows documents.
pub(crate) struct Follow {
    reads: Reads,
    viewer: Viewer,
    subscription: Subscription,
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
        // Subscribing comes first: whatever is published from here on is either in what is read next or wakes us.
        let subscription = reads.hub.subscribe(Arc::new(interest));
        presence.load_participants(subscription.interest()).await;
        let Follower { viewer, counts } = follower;
        let named = subscription.interest().documents.iter().cloned();
        let barred = if counts { reads.unreadable(named, &viewer).await? } else { HashSet::new() };
        let user = counts.then(|| viewer.user_id()).transpose()?;
        let presence_subscription = presence.subscribe(user, Arc::clone(subscription.interest()), &barred);
        // Who is there already is told once what was missed is.
        subscription.remind(WakeReason::PRESENCE);
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
        };
        let first = match resume {
            None => follow.snapshot(Reason::Start).await?,
            Some(text) => match follow.resume(text).await {
                // What does not add up is as good as gone.
                Err(error) if error.kind() == Kind::Damaged => follow.snapshot(Reason::Trimmed).await?,
                resumed => resumed?,
            },
        };
        Ok((follow, first))
    }

    /// The next thing to tell; waits until there is one. Cancel safe: nothing is taken before it is returned.
    pub(crate) async fn next(&mut self) -> Result<Item> {
        loop {
            if self.cursor >= self.announced
                && let Some(item) = self.recovered()
            {
                return Ok(item);
            }
            if self.presence_due
                && let Some(item) = self.presence().await?
            {
                return Ok(item);
            }
            if self.caught_up {
                if let Some(item) = self.next_relocation().await? {
                    return Ok(item);
                }
                let woken = self.subscription.woken().await;
                self.caught_up = !woken.is_for(WakeReason::EVENTS);
                self.presence_due = woken.is_for(WakeReason::PRESENCE);
                continue;
            }
            match self.reads.hub.read(self.cursor, self.subscription.interest(), limits::STREAM_WRITE_BYTES_MAX) {
                RingRead::Behind => match self.page().await? {
                    Some(item) => return Ok(item),
                    None => continue,
                },
                RingRead::Events { events, reached, all, durable } => {
                    let events = match self.readable(events) {
                        ReadableEvents::Told(events) => events,
                        other => return self.tell_access(other).await,
                    };
                    (self.cursor, self.caught_up) = (reached, all);
                    self.access_known = self.access_known.max(reached);
                    if !events.is_empty() {
                        let undurable = |event: &&Arc<Event>| !event.meta.volatile && event.seq > durable;
                        if let Some(last) = events.iter().rfind(undurable) {
                            self.undurable = Some(last.seq);
                        }
                        return Ok(Item::Changes(events));
                    }
                }
            }
        }
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
            self.subscription.remind(WakeReason::PRESENCE);
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
            if ring.covers_after(after) {
                return Ok(None);
            }
            (
                Seq(ring.first().0.saturating_sub(1)),
                LostChanges::after(&ring, &interest, after.max(self.remembered_after)),
            )
        };
        let read = self
            .reads
            .ask(move |reader| {
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
            Err(error) if error.kind() == Kind::Damaged => return self.snapshot(Reason::Trimmed).await.map(Some),
            read => read?,
        };
        if lost || base > after.max(self.kept_after) {
            return self.snapshot(Reason::Trimmed).await.map(Some);
        }
        let reached = events.last().map_or(to, |last| last.seq);
        match self.readable(events.into_iter().map(|event| self.current(event)).collect()) {
            ReadableEvents::Told(events) => {
                self.cursor = reached;
                self.access_known = self.access_known.max(reached);
                Ok((!events.is_empty()).then_some(Item::Changes(events)))
            }
            other => self.tell_access(other).await.map(Some),
        }
    }

    async fn resume(&mut self, text: &str) -> Result<Item> {
        let Some(mut from) = Position::parse(text) else { return self.snapshot(Reason::Diverged).await };
        let known = self.look_up(from).await?;
        if known != PositionStatus::Here {
            match (self.of_another_log(from).await?, known) {
                (Some(here), _) => from = here,
                (None, PositionStatus::Trimmed) => return self.snapshot(Reason::Trimmed).await,
                (None, _) => return self.snapshot(Reason::Diverged).await,
            }
        }
        if self.knew_lost_documents(from).await? {
            return self.snapshot(Reason::Diverged).await;
        }
        self.owe_durability(from);
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
        self.reads.ask(move |reader| any_not_stored(reader, &names, from.seq())).await
    }

    /// Whoever comes back may have been told of changes that were not on disk then, and have missed that they are now.
    fn owe_durability(&mut self, from: Position) {
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
    async fn of_another_log(&self, position: Position) -> Result<Option<Position>> {
        let interest = self.subscription.interest();
        match (interest.collections.is_empty(), interest.documents.len(), interest.documents.iter().next()) {
            (true, 1, Some(name)) => Ok(self.reads.by_hash(name, position).await?.map(|(here, _)| here)),
            _ => Ok(None),
        }
    }

    /// Whether a position names a place in this log.
    async fn look_up(&self, position: Position) -> Result<PositionStatus> {
        let Position::After { seq, hash } = position else { return Ok(PositionStatus::Here) };
        if let Some(event) = self.reads.hub.gate().get(seq) {
            return Ok(if event.hash.short() == hash { PositionStatus::Here } else { PositionStatus::Nowhere });
        }
        let found = self.reads.ask(move |reader| reader.event_at(seq)).await?;
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
            .ask(move |reader| {
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

    /// The whole present, and the cursor just behind it.
    async fn snapshot(&mut self, reason: Reason) -> Result<Item> {
        let interest = Arc::clone(self.subscription.interest());
        for _ in 0..SNAPSHOT_ATTEMPTS_MAX {
            let before = self.reads.hub.gate().head().0;
            let (asked, cold) = self.cold_documents(&interest).await?;
            let Some(mut present) = self.present(&interest, &asked, cold, before) else { continue };
            present.catch_up()?;
            let (documents, position) = (present.documents, present.position);
            let barred: HashSet<DocumentName> = documents
                .values()
                .filter(|document| !document.meta.may_read(&self.viewer))
                .map(|document| document.meta.name.clone())
                .collect();
            // One document is best named by its own last event, which is never trimmed.
            let position = match documents.values().next() {
                Some(document)
                    if interest.collections.is_empty() && interest.documents.len() == 1 && barred.is_empty() =>
                {
                    document.position()
                }
                _ => position,
            };
            (self.cursor, self.announced, self.access_known) = (present.head, present.head, present.head);
            // What is on another server is told to be there, and not as it was when it left.
            let relocations = self.reads.hub.relocations();
            let moved = |name: &DocumentName| relocations.find(name).is_some() && !barred.contains(name);
            let here = |document: &Arc<Document>| {
                let name = &document.meta.name;
                !document.is_deleted() && !barred.contains(name) && !moved(name)
            };
            let documents: Vec<_> = documents.into_values().filter(here).collect();
            let gone = interest.names_without(&documents).filter(|name| !moved(name)).collect();
            check_count(documents.len())?;
            for document in &documents {
                self.note_undurable(document);
            }
            return Ok(Item::Snapshot { reason, documents, gone, position });
        }
        Err(Error::new(Kind::StorageUnavailable, "documents come and go too fast for a snapshot; try again"))
    }

    /// What is there at this moment: what is hot, and for the rest what was read from disk while the log went on from
    /// `before`. `None`: a document went out of memory before it was asked from disk, or the log went on for longer
    /// than the ring.
    fn present(
        &self,
        interest: &Interest,
        asked: &HashSet<DocumentName>,
        cold: Vec<Arc<Document>>,
        before: Seq,
    ) -> Option<Present> {
        let ring = self.reads.hub.gate();
        let head = ring.head().0;
        // Stored and not yet published comes as a change.
        let cold = cold.into_iter().filter(|document| document.seq <= head);
        let hot = self.reads.hub.documents(interest);
        let named = |document: Arc<Document>| (document.meta.name.clone(), document);
        let documents: BTreeMap<_, _> = cold.chain(hot).map(named).collect();
        let known = |name: &DocumentName| documents.contains_key(name) || asked.contains(name);
        if !ring.covers_after(before) || !interest.documents.iter().all(known) {
            return None;
        }
        let version = |name: &DocumentName| documents.get(name).map_or(Version::ZERO, |document| document.version);
        // Changed after it was read from disk, and dropped from memory since.
        let is_missing = |event: &&Arc<Event>| {
            let told = interest.covers(&event.meta.name) && event.meta.may_read(&self.viewer);
            told && event.version > version(&event.meta.name)
        };
        let missing = ring.after(before).filter(is_missing).cloned().collect();
        // The last place that is still there after a restart, unless something volatile that is told comes after it.
        let (seq, hash) = ring.last_persistent();
        let told = !ring.covers_after(seq) || ring.after(seq).any(|event| interest.covers(&event.meta.name));
        let position = if told { ring.position() } else { Position::after(seq, hash) };
        Some(Present { position, head, missing, documents })
    }

    fn note_undurable(&mut self, document: &Document) {
        if !document.meta.volatile && document.seq > self.reads.hub.gate().durable() {
            self.undurable = self.undurable.max(Some(document.seq));
        }
    }

    /// What is not in memory, from disk, and the single documents that were asked for there.
    async fn cold_documents(&self, interest: &Arc<Interest>) -> Result<(HashSet<DocumentName>, Vec<Arc<Document>>)> {
        let missing: HashSet<DocumentName> =
            interest.documents.iter().filter(|name| self.reads.hub.document(name).is_none()).cloned().collect();
        if missing.is_empty() && interest.collections.is_empty() {
            return Ok((missing, Vec::new()));
        }
        let (interest, viewer) = (Arc::clone(interest), self.viewer.clone());
        let load = move |reader: &Reader| {
            let documents = load_cold(reader, &missing, &interest, &viewer)?;
            Ok((missing, documents))
        };
        self.reads.ask(load).await
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
fn filter(reader: &Reader, interest: &Interest, viewer: Option<Viewer>) -> Result<Filter> {
    let mut documents = Vec::with_capacity(interest.documents.len());
    for name in &interest.documents {
        let readable = |meta: &Arc<Meta>| viewer.as_ref().is_none_or(|viewer| meta.may_read(viewer));
        documents.extend(reader.meta(name)?.filter(readable).map(|meta| meta.key));
    }
    Ok(Filter { documents, collections: interest.collections.iter().cloned().collect(), viewer })
}
