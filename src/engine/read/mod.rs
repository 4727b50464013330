//! Reading beside the engine: published documents from memory, cold ones and the past from disk.
//!
//! Nothing here asks the engine for an answer. What is not on disk yet (storage fails) is in the hub's ring, and is
//! laid over what the disk says. Volatile documents are in the hub and its ring alone.

mod collections;
pub(crate) mod find;
pub(crate) mod follow;
mod lost_changes;
mod present;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName, Seq, Version};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::decide::not_found_error;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::visibility::Viewer;
use crate::engine::handle::Engine;
use crate::engine::time_travel::{state_at, volatile_state_at};
use crate::live::hub::Hub;
use crate::live::topics::Interest;
use crate::store::{Connection, DocumentHead, EventFilter, ListedDocument, PageRoom, Reader, VolatileRange};

/// What readers hold. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reads {
    pub hub: Arc<Hub>,
    reader: Reader,
    engine: Engine,
    /// Where earlier runs had volatile documents.
    volatile_ranges: Arc<[VolatileRange]>,
    /// Done once, for the first who comes back after a restart.
    refilled: Arc<tokio::sync::OnceCell<()>>,
}

/// A page of a document's history.
#[derive(Debug, Default)]
pub(crate) struct EventHistory {
    /// Its events, oldest first.
    pub events: Vec<Arc<Event>>,
    /// The oldest version whose event is kept.
    pub first_version: Version,
    /// Whether there are more.
    pub more: bool,
}

impl Reads {
    /// Reads beside `engine`. `volatile_ranges`: where in the log earlier runs had volatile documents.
    pub(crate) fn new(hub: Arc<Hub>, reader: Reader, engine: Engine, volatile_ranges: Vec<VolatileRange>) -> Self {
        Self { hub, reader, engine, volatile_ranges: volatile_ranges.into(), refilled: Arc::default() }
    }

    /// Where in the log earlier runs had volatile documents whose events may have been told together with the event
    /// `seq`.
    pub(super) fn volatile_ranges(&self, seq: Seq) -> impl Iterator<Item = &VolatileRange> {
        self.volatile_ranges.iter().filter(move |range| range.covers(seq))
    }

    /// Runs a question to the disk where it may block. Error: that of the question.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let reader = self.reader.clone();
        tokio::task::spawn_blocking(move || question(&reader)).await.map_err(Error::internal)?
    }

    /// Asks tables where it may block. Error: that of the question.
    pub(crate) async fn rows<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read(move |reader| reader.rows(question)).await
    }

    /// The names of at most `limit` documents of a collection that are there, by id, after the given one. Errors:
    /// `Invalid`, `StorageUnavailable`.
    pub(crate) async fn names(
        &self,
        collection: &str,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<Vec<DocumentName>> {
        let (listed, _) = self.list(&Collection::new(collection)?, after, limit, false).await?;
        Ok(listed.into_iter().map(|document| document.meta.name.clone()).collect())
    }

    /// Reads the end of the log back into the ring, once after each start: the many who come back then are served from
    /// memory. When that fails they are served from disk, each for itself: one damaged document at the end of the log
    /// is no reason to fail the others.
    pub(super) async fn refill_ring(&self) {
        let refill = || async {
            let (events_max, bytes_max) = (limits::REFILL_EVENTS_MAX, limits::REFILL_BYTES_MAX);
            match self.read(move |reader| reader.newest_events(events_max, bytes_max)).await {
                Ok(events) => self.hub.refill(events.into_iter().map(Arc::new).collect()),
                Err(error) if error.kind() == Kind::Damaged => {
                    tracing::warn!(%error, "the end of the log is not taken into memory");
                }
                Err(error) => return Err(error),
            }
            Ok(())
        };
        if let Err(error) = self.refilled.get_or_try_init(refill).await {
            tracing::debug!(%error, "the end of the log could not be taken into memory yet");
        }
    }

    /// The newest version of a document, which may be a tombstone; `None` when there never was one. Whoever answers a
    /// request with it checks first that its caller may read it.
    pub(crate) async fn document(&self, name: &DocumentName) -> Result<Option<Arc<Document>>> {
        if let Some(document) = self.hub.document(name) {
            return Ok(Some(document));
        }
        let wanted = name.clone();
        let found = self.read(move |reader| reader.load(&wanted)).await?;
        if found.is_some() {
            self.engine.prefetch(name.clone());
        }
        // It may have become hot while the disk was read; what is published is never older.
        Ok(self.hub.document(name).or(found.map(Arc::new)))
    }

    /// Where a document ends, if there ever was one: also of one that is too damaged to be read.
    pub(crate) async fn document_head(&self, name: &DocumentName) -> Result<Option<DocumentHead>> {
        if let Some(document) = self.hub.document(name) {
            let Document { meta, version, hash, seq, updated_at, .. } = &*document;
            let (meta, deleted) = (Arc::clone(meta), document.is_deleted());
            return Ok(Some(DocumentHead {
                meta,
                version: *version,
                hash: *hash,
                seq: *seq,
                at: *updated_at,
                deleted,
            }));
        }
        let name = name.clone();
        self.read(move |reader| reader.document_head(&name)).await
    }

    /// The same for `viewer`, for whom there never was one that they may not read.
    pub(crate) async fn readable_document(
        &self,
        name: &DocumentName,
        viewer: &Viewer,
    ) -> Result<Option<Arc<Document>>> {
        Ok(self.document(name).await?.filter(|document| document.meta.may_read(viewer)))
    }

    /// The fixed facts of a document, if there ever was one: also of one that is too damaged to be read.
    pub(crate) async fn meta(&self, name: &DocumentName) -> Result<Option<Arc<Meta>>> {
        if let Some(document) = self.hub.document(name) {
            return Ok(Some(Arc::clone(&document.meta)));
        }
        let wanted = name.clone();
        let found = self.read(move |reader| reader.meta(&wanted)).await?;
        // It may have become hot while the disk was read, and changed.
        Ok(self.hub.document(name).map(|document| Arc::clone(&document.meta)).or(found))
    }

    /// Those of `names` that `viewer` may not read.
    pub(crate) async fn unreadable(
        &self,
        names: impl IntoIterator<Item = DocumentName>,
        viewer: &Viewer,
    ) -> Result<HashSet<DocumentName>> {
        let (mut barred, mut cold) = (HashSet::new(), Vec::new());
        if *viewer == Viewer::Owner {
            return Ok(barred);
        }
        for name in names {
            match self.hub.peek(&name) {
                Some(document) if document.meta.may_read(viewer) => {}
                Some(_) => drop(barred.insert(name)),
                None => cold.push(name),
            }
        }
        if cold.is_empty() {
            return Ok(barred);
        }
        let read = move |reader: &Reader| cold.iter().map(|name| reader.meta(name)).collect::<Result<Vec<_>>>();
        for meta in self.read(read).await?.into_iter().flatten() {
            let newest = self.hub.peek(&meta.name).map_or_else(|| Arc::clone(&meta), |hot| Arc::clone(&hot.meta));
            if !newest.may_read(viewer) {
                barred.insert(meta.name.clone());
            }
        }
        Ok(barred)
    }

    /// Refuses a viewer who may not read a document that is there, or was. Error: `NotFound`.
    pub(crate) async fn check_reader(&self, name: &DocumentName, viewer: &Viewer) -> Result<()> {
        if *viewer == Viewer::Owner {
            return Ok(());
        }
        self.meta(name).await?.map_or(Ok(()), |meta| meta.check_reader(viewer))
    }

    /// A document that is there, for `viewer`. Error: `NotFound`, `Gone`.
    pub(crate) async fn live_document(&self, name: &DocumentName, viewer: &Viewer) -> Result<Arc<Document>> {
        match self.readable_document(name, viewer).await? {
            Some(document) if !document.is_deleted() => Ok(document),
            other => Err(not_found_error(name, other.as_ref())),
        }
    }

    /// A document as it was at `version`, for `viewer`, whose right to it is that of today. Error: `NotFound` beyond
    /// the newest, `Gone` when it is no longer kept.
    pub(crate) async fn document_at(
        &self,
        name: &DocumentName,
        version: Version,
        viewer: &Viewer,
    ) -> Result<Arc<Document>> {
        self.check_reader(name, viewer).await?;
        let document = self.any_document_at(name, version).await?;
        let current = self.hub.document(name).map(|newest| Arc::clone(&newest.meta));
        Ok(match current.filter(|meta| meta.access_seq != document.meta.access_seq) {
            None => document,
            Some(meta) => Arc::new(document.with_meta(meta)),
        })
    }

    async fn any_document_at(&self, name: &DocumentName, version: Version) -> Result<Arc<Document>> {
        match self.document(name).await {
            Ok(Some(newest)) if newest.version == version => return Ok(newest),
            Ok(None) => return Err(not_found_error(name, None)),
            Ok(Some(newest)) if newest.meta.volatile => {
                return volatile_state_at(&newest, &self.events_in_memory(name, newest.seq), version);
            }
            Ok(Some(_)) => {}
            // What comes before the damage can be read all the same.
            Err(error) if error.kind() == Kind::Damaged => {}
            Err(error) => return Err(error),
        }
        let undurable = self.undurable(name);
        let name = name.clone();
        self.read(move |reader| state_at(reader, &name, version, &undurable)).await.map(Arc::new)
    }

    /// The events of a document that are not on disk yet, oldest first.
    fn undurable(&self, name: &DocumentName) -> Vec<Arc<Event>> {
        let ring = self.hub.gate();
        ring.after(ring.durable()).filter(|event| event.meta.name == *name).cloned().collect()
    }

    /// The events of a volatile document that are still in memory, up to the event `last`.
    fn events_in_memory(&self, name: &DocumentName, last: Seq) -> Vec<Arc<Event>> {
        let ring = self.hub.gate();
        let of_document = |event: &&Arc<Event>| event.seq <= last && event.meta.name == *name;
        ring.after(Seq::ZERO).filter(of_document).cloned().collect()
    }

    /// At most `limit` documents of a collection by id, after the given one; deleted ones are left out. Otherwise as
    /// [`list_readable`](Self::list_readable).
    pub(crate) async fn list(
        &self,
        collection: &Collection,
        after: Option<&DocumentId>,
        limit: usize,
        with_state: bool,
    ) -> Result<(Vec<ListedDocument>, bool)> {
        self.list_readable(&Viewer::Owner, collection, after, limit, with_state).await
    }

    /// At most `limit` documents of a collection by id, after the given one; deleted ones and those that `viewer` may
    /// not read are left out. The flag says whether there are more. With states, a page also ends when they add up to
    /// [`limits::LIST_STATES_BYTES_MAX`]. Error: `Forbidden` for a viewer whose credential reaches less than the
    /// collection.
    pub(crate) async fn list_readable(
        &self,
        viewer: &Viewer,
        collection: &Collection,
        after: Option<&DocumentId>,
        limit: usize,
        with_state: bool,
    ) -> Result<(Vec<ListedDocument>, bool)> {
        check_reaches(viewer, collection)?;
        let unstored = self.unstored_documents(collection, after);
        let (wanted, from, asks) = (collection.clone(), after.cloned(), viewer.clone());
        // One more than fits says that there are more; deleted ones that are still on disk take nobody's place.
        let most = limit + 1 + unstored.iter().filter(|document| !document.meta.volatile).count();
        let mut room = with_state.then(|| PageRoom::new(limits::LIST_STATES_BYTES_MAX));
        let (stored, ended_early) =
            self.read(move |reader| reader.list(&asks, &wanted, from.as_ref(), most, room.as_mut())).await?;
        let horizon = stored.last().map(|last| id(&last.meta)).filter(|_| ended_early);
        let mut by_id: BTreeMap<DocumentId, ListedDocument> =
            stored.into_iter().map(|entry| (id(&entry.meta), entry)).collect();
        for document in unstored {
            let id = id(&document.meta);
            if horizon.as_ref().is_some_and(|horizon| id > *horizon) {
                continue;
            }
            if document.is_deleted() || !document.meta.may_read(viewer) {
                by_id.remove(&id);
            } else {
                by_id.insert(id, ListedDocument::new(&document, with_state));
            }
        }
        let more = ended_early || by_id.len() > limit;
        Ok((by_id.into_values().take(limit).collect(), more))
    }

    /// At least `limit` ids of a collection, if there are as many, in order, after the given one: of all documents that
    /// `viewer` may read, or once could, deleted ones too. The flag says whether there are more. Error: as
    /// [`list_readable`](Self::list_readable).
    async fn list_ids(
        &self,
        viewer: &Viewer,
        collection: &Collection,
        after: Option<&DocumentId>,
        limit: usize,
    ) -> Result<(Vec<DocumentId>, bool)> {
        check_reaches(viewer, collection)?;
        let unstored = self.unstored_documents(collection, after);
        let (wanted, from, asks) = (collection.clone(), after.cloned(), viewer.clone());
        let stored = self.read(move |reader| reader.list_ids(&asks, &wanted, from.as_ref(), limit)).await?;
        let more = stored.len() == limit;
        let last = stored.last().cloned().filter(|_| more);
        let unstored = unstored.iter().map(|document| id(&document.meta));
        let within = unstored.filter(|id| last.as_ref().is_none_or(|last| id <= last));
        let ids: BTreeSet<DocumentId> = within.chain(stored.iter().cloned()).collect();
        Ok((ids.into_iter().collect(), more))
    }

    /// The documents of which the newest version is not on disk.
    fn unstored_documents(&self, collection: &Collection, after: Option<&DocumentId>) -> Vec<Arc<Document>> {
        let ring = self.hub.gate();
        let durable = ring.durable();
        if ring.head().0 == durable && !self.hub.has_volatile() {
            return Vec::new();
        }
        let interest = Interest { collections: [collection.clone()].into(), ..Interest::default() };
        let mut documents = self.hub.documents(&interest);
        let unstored = |document: &Document| document.meta.volatile || document.seq > durable;
        documents.retain(|document| unstored(document) && after.is_none_or(|after| document.meta.name.id > *after));
        documents
    }

    /// A page of a document's history, for `viewer`, whose right to it is that of today: its events tell who that is.
    /// Error: `NotFound`.
    pub(crate) async fn history(
        &self,
        name: &DocumentName,
        after: Version,
        limit: usize,
        viewer: &Viewer,
    ) -> Result<EventHistory> {
        let mut page = self.any_history(name, after, limit, viewer).await?;
        // Last: it may have been taken away meanwhile.
        let newest = self.readable_document(name, viewer).await?.ok_or_else(|| not_found_error(name, None))?;
        for event in &mut page.events {
            if event.meta.access_seq != newest.meta.access_seq {
                *event = Arc::new(event.with_meta(Arc::clone(&newest.meta)));
            }
        }
        Ok(page)
    }

    async fn any_history(
        &self,
        name: &DocumentName,
        after: Version,
        limit: usize,
        viewer: &Viewer,
    ) -> Result<EventHistory> {
        let newest = self.document(name).await?.ok_or_else(|| not_found_error(name, None))?;
        if newest.meta.volatile {
            return Ok(history_of(self.events_in_memory(name, newest.seq), &newest, after, limit));
        }
        let undurable = self.undurable(name);
        let (name, key, viewer) = (name.clone(), newest.meta.key, viewer.clone());
        let mut page = HistoryPage::new(after, limit + 1, viewer);
        let (mut page, first_version) = self
            .read(move |reader| match reader.meta(&name)? {
                None => Ok((page, Version::ZERO)),
                Some(_) => {
                    page.fill(reader, &name)?;
                    Ok((page, reader.first_version(key)?))
                }
            })
            .await?;
        let first_version = match (first_version, undurable.first()) {
            (Version::ZERO, Some(first)) => first.version,
            (stored, _) => stored,
        };
        for event in undurable {
            let next = page.last().next();
            let joins = event.version == next || (page.events.is_empty() && event.version > after);
            if joins {
                page.add(event)?;
            }
        }
        let mut events = page.events;
        let more = events.len() > limit || events.last().is_some_and(|last| last.version < newest.version);
        events.truncate(limit);
        Ok(EventHistory { events, first_version, more })
    }

    /// Whether a position names a place in this log that is still kept.
    pub(crate) async fn has_position(&self, position: Position) -> Result<bool> {
        let Position::After { seq, hash } = position else { return Ok(true) };
        if let Some(event) = self.hub.gate().get(seq) {
            return Ok(event.hash.short() == hash);
        }
        let found = self.read(move |reader| reader.event_at(seq)).await?;
        Ok(found.is_some_and(|(stored, _)| stored.short() == hash))
    }

    /// Where in this log, and at which version, a document had the hash that `position` names, whatever seq it gives:
    /// it may be of another server's log, from which the document came. Looks at each kept event of the document, which
    /// history's bound keeps within some milliseconds.
    pub(crate) async fn by_hash(&self, name: &DocumentName, position: Position) -> Result<Option<(Position, Version)>> {
        let Position::After { hash, .. } = position else { return Ok(None) };
        let Some(newest) = self.document(name).await? else { return Ok(None) };
        if newest.hash.short() == hash {
            return Ok(Some((newest.position(), newest.version)));
        }
        let volatile = newest.meta.volatile;
        let events = if volatile { self.events_in_memory(name, newest.seq) } else { self.undurable(name) };
        if let Some(event) = events.iter().rev().find(|event| event.hash.short() == hash) {
            return Ok(Some((event.position(), event.version)));
        }
        if volatile {
            return Ok(None);
        }
        let key = newest.meta.key;
        let found = self.read(move |reader| reader.by_short_hash(key, hash)).await?;
        Ok(found.map(|(seq, version, hash)| (Position::after(seq, hash), version)))
    }

    /// The version that a document had after the event `seq`. For paging by position. Error: `Gone` when changes of the
    /// document after `seq` are no longer kept: a page from there would leave them out without a word.
    pub(crate) async fn version_at(&self, name: &DocumentName, seq: Seq) -> Result<Version> {
        let newest = self.document(name).await?.ok_or_else(|| not_found_error(name, None))?;
        if newest.seq <= seq {
            return Ok(newest.version);
        }
        if newest.meta.volatile {
            return version_in_memory(&self.events_in_memory(name, newest.seq), seq);
        }
        let undurable = self.undurable(name);
        if let Some(event) = undurable.iter().rev().find(|event| event.seq <= seq) {
            return Ok(event.version);
        }
        let key = newest.meta.key;
        self.read(move |reader| {
            let version = reader.version_at(key, seq)?;
            let filter = EventFilter::documents(vec![key]);
            match reader.base_seq(&filter)? > seq {
                false => Ok(version),
                true => Err(history_trimmed()),
            }
        })
        .await
    }
}

/// A page of a document's history that is being filled.
struct HistoryPage {
    viewer: Viewer,
    after: Version,
    events_max: usize,
    events: Vec<Arc<Event>>,
    room: PageRoom,
}

impl HistoryPage {
    fn new(after: Version, events_max: usize, viewer: Viewer) -> Self {
        Self { viewer, after, events_max, events: Vec::new(), room: PageRoom::new(limits::BATCH_BYTES_MAX) }
    }

    /// The version up to which it goes.
    fn last(&self) -> Version {
        self.events.last().map_or(self.after, |last| last.version)
    }

    /// Takes what is stored, as much as there is room for.
    fn fill(&mut self, reader: &Reader, name: &DocumentName) -> Result<()> {
        while self.events.len() < self.events_max && !self.room.is_taken() {
            let count = self.events_max.saturating_sub(self.events.len());
            let bytes_max = self.room.left().max(limits::STREAM_WRITE_BYTES_MAX);
            let found = reader.history(name, self.last(), count, bytes_max)?;
            // Trimmed meanwhile: the next page says so.
            let joins = |event: &Event| self.events.is_empty() || event.version == self.last().next();
            if !found.first().is_some_and(joins) {
                break;
            }
            for event in found {
                if self.room.is_taken() {
                    break;
                }
                self.events.push(self.room.event(Arc::new(event), &self.viewer)?);
            }
        }
        Ok(())
    }

    /// Takes an event that is not stored yet, if there is room.
    fn add(&mut self, event: Arc<Event>) -> Result<()> {
        if self.events.len() < self.events_max && !self.room.is_taken() {
            self.events.push(self.room.event(event, &self.viewer)?);
        }
        Ok(())
    }
}

fn history_trimmed() -> Error {
    Error::new(Kind::Gone, "changes after this position are no longer kept; read the document")
}

/// A page of a volatile document's history, from its events in memory.
fn history_of(mut events: Vec<Arc<Event>>, newest: &Document, after: Version, limit: usize) -> EventHistory {
    let first_version = events.first().map_or(newest.version.next(), |event| event.version);
    events.retain(|event| event.version > after);
    let more = events.len() > limit;
    events.truncate(limit);
    EventHistory { events, first_version, more }
}

/// The version of a volatile document after the event `seq`, which is older than its newest.
fn version_in_memory(events: &[Arc<Event>], seq: Seq) -> Result<Version> {
    match (events.iter().rev().find(|event| event.seq <= seq), events.first()) {
        (Some(event), _) => Ok(event.version),
        (None, Some(first)) if first.version == Version::ZERO.next() => Ok(Version::ZERO),
        (None, _) => Err(history_trimmed()),
    }
}

/// Error: `Forbidden`.
fn check_reaches(viewer: &Viewer, collection: &Collection) -> Result<()> {
    match viewer.reaches_collection(collection) {
        true => Ok(()),
        false => Err(Error::new(Kind::Forbidden, "what this request shows does not reach the whole collection")),
    }
}

fn id(meta: &Meta) -> DocumentId {
    meta.name.id.clone()
}
