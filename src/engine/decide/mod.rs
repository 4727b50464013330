//! From requests to events: decides against the newest documents in memory, and puts what is decided into a round. One
//! file for each kind of request. Stores nothing and publishes nothing.

mod compact;
mod expire;
mod import;
mod purge;
mod relocate;
pub(crate) mod repair;
mod rescue;
mod salvage;
mod snapshot;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::access::HostedAccess;
use crate::document::chain::Hash;
use crate::document::decide::{Decision, not_found_error};
use crate::document::event::{Content, Event};
use crate::document::json::JsonBounds;
use crate::document::model::{Document, Meta};
use crate::document::visibility::{Audience, Viewer};
use crate::document::{json, patch, visibility};
use crate::engine::EngineOptions;
use crate::engine::disk::Disk;
use crate::engine::hooks::{Change, ChangeOrigin, HookRows, StoredRows, Trees};
use crate::engine::policy;
use crate::engine::request::WriteOutcome;
use crate::engine::state::EngineState;
use crate::engine::state::backlog::BacklogEntry;
use crate::engine::state::document_cache::{CachedDocument, SinceSnapshot};
use crate::engine::state::round::Round;
use crate::live::hub::Hub;
use crate::store::Connection;

/// Decides one request after the other into `round`. The hub is read for events that are not on disk; documents that
/// are loaded, and relocations, are put there.
pub(crate) struct Decider<'a> {
    pub options: &'a EngineOptions,
    pub hub: &'a Hub,
    pub disk: &'a Disk,
    pub state: &'a mut EngineState,
    pub round: &'a mut Round,
}

/// Who asks, and the values of the moment.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub viewer: &'a Viewer,
    pub at: Timestamp,
    /// Random bytes for the rules.
    pub seed: [u8; 32],
    pub origin: ChangeOrigin,
}

/// A document as it was before a change.
pub(crate) struct PriorState<'a> {
    pub meta: Arc<Meta>,
    /// `None`: it was never there.
    pub cached: Option<&'a CachedDocument>,
    /// Its state; `None`: it is deleted, or the change must bring the whole state along.
    pub tree: Option<&'a Value>,
}

impl Decider<'_> {
    /// A document in memory, read from disk when it is cold.
    pub(crate) fn load(&mut self, name: &DocumentName) -> Result<Option<CachedDocument>> {
        if let Some(cached) = self.state.documents.get(name) {
            return Ok(Some(cached.clone()));
        }
        let Some(cached) = self.disk.load(name)? else { return Ok(None) };
        self.state.documents.put(cached.clone());
        self.hub.insert_loaded(Arc::clone(&cached.document));
        Ok(Some(cached))
    }

    /// A document that is there. Error: `NotFound`, `Gone`.
    fn load_live(&mut self, name: &DocumentName) -> Result<CachedDocument> {
        match self.load(name)? {
            Some(cached) if !cached.document.is_deleted() => Ok(cached),
            other => Err(not_found_error(name, other.as_ref().map(|cached| &cached.document))),
        }
    }

    /// The moment of a change that the server itself makes.
    fn maintenance_moment<'a>(&self, viewer: &'a Viewer) -> Moment<'a> {
        Moment { viewer, at: self.options.clock.now(), seed: [0; 32], origin: ChangeOrigin::Maintenance }
    }

    /// Records a change that no rules decide: a write of its own.
    fn record_maintenance(
        &mut self,
        cached: &CachedDocument,
        decision: Decision,
        viewer: &Viewer,
    ) -> Result<WriteOutcome> {
        let tree = cached.tree()?;
        let meta = Arc::clone(&cached.document.meta);
        let before = PriorState { meta, cached: Some(cached), tree: tree.as_deref() };
        let (outcome, _) = self.record(before, decision, self.maintenance_moment(viewer))?;
        self.round.changed.insert(cached.document.meta.name.clone());
        self.round.end_write();
        Ok(outcome)
    }

    /// Makes a decision an event and puts its outcome in place. Returns what was there before. An error leaves no
    /// trace.
    pub(crate) fn record(
        &mut self,
        PriorState { meta, cached, tree }: PriorState<'_>,
        decision: Decision,
        Moment { viewer, at, origin, .. }: Moment<'_>,
    ) -> Result<(WriteOutcome, Option<CachedDocument>)> {
        let mut salt = [0; 16];
        self.options.entropy.fill(&mut salt);
        let Decision { kind, payload, state: mut after, access } = decision;
        let state = self.serialise(after.as_mut(), meta.audience(viewer))?;
        if meta.volatile {
            self.check_volatile_room(cached, state.as_ref())?;
        }
        let change = patch::diff(tree, after.as_ref(), state.as_ref().map_or(0, Bytes::len))?;
        let (version, previous) =
            cached.map_or((Version::ZERO, Hash::ZERO), |cached| (cached.document.version, cached.document.hash));
        let actor = viewer.actor()?;
        let records_access = access.is_some();
        let content =
            Content { kind: &kind, actor: &actor, at, payload: &payload, change: &change, records_access, salt };
        let seq = self.state.log_end.head.0.next();
        let (meta, before_access) = with_access(meta, cached.is_some(), access, seq);
        let event = Event::new(seq, Arc::clone(&meta), version.next(), previous, &content)?;
        let event = Arc::new(match before_access {
            None => event,
            Some(before) => event.changing_access(before),
        });
        let created = cached.is_none_or(|cached| cached.document.is_deleted());
        let creates = created && state.is_some();
        // The state that a rollback goes back from was not needed until here.
        let replaced = cached.filter(|_| tree.is_none()).and_then(|cached| cached.tree().ok().flatten());
        let trees = Trees { before: tree.or(replaced.as_deref()), after: after.as_ref() };
        let change = Change { event: &event, state: state.as_ref(), trees, creates, viewer, origin };
        let hook_rows = self.ask_hooks(&change)?;
        // From here on nothing fails.
        let document = Arc::new(Document {
            version: event.version,
            hash: event.hash,
            seq: event.seq,
            updated_at: at,
            state,
            meta: Arc::clone(&meta),
        });
        let since = self.since_snapshot(cached.filter(|_| !created), tree, after.as_ref(), &event);
        self.state.log_end.head = (event.seq, event.hash);
        let new_document = cached.is_none().then_some(meta);
        if new_document.as_ref().is_some_and(|meta| !meta.volatile) {
            self.state.log_end.next_key += 1;
        }
        let before = self.state.documents.put(CachedDocument::decided(Arc::clone(&document), after, since));
        let recreates = creates && cached.is_some();
        self.add_entry(BacklogEntry { new_document, hook_rows, recreates, ..BacklogEntry::new(Arc::clone(&event)) });
        Ok((WriteOutcome { document, event, created }, before))
    }

    /// A state within its bounds, as far as its writer may learn whether it is.
    fn serialise(&self, state: Option<&mut Value>, writer: Audience<'_>) -> Result<Option<Bytes>> {
        let Some(state) = state else { return Ok(None) };
        json::normalise(state);
        if writer == Audience::Host {
            return json::serialise_state(state, self.options.state).map(|bytes| Some(bytes.into()));
        }
        // The exact bound would tell how much the writer does not see.
        let any_size = JsonBounds { state_bytes_max: usize::MAX, ..self.options.state };
        let bytes = Bytes::from(json::serialise_state(state, any_size)?);
        let visible = visibility::redact_state(&bytes, writer)?.len();
        json::check_state_size(bytes.len(), visible, self.options.state)?;
        Ok(Some(bytes))
    }

    /// What comes after the last snapshot once `event` is recorded. `cached`: the document that it goes on from.
    fn since_snapshot(
        &self,
        cached: Option<&CachedDocument>,
        tree: Option<&Value>,
        after: Option<&Value>,
        event: &Event,
    ) -> SinceSnapshot {
        let policy = after.map_or(self.options.snapshots, |state| self.options.snapshots.of(state));
        // A creation carries the whole state: it is as good as a snapshot. What else does gets one of its own, so that
        // it depends on nothing before.
        let Some(CachedDocument { since, .. }) = cached else { return SinceSnapshot::empty(event.at, policy) };
        SinceSnapshot {
            patch_bytes: since.patch_bytes + event.body.len(),
            events: since.events + 1,
            forced: since.forced || tree.is_none() || policy::forces(tree, after),
            policy,
            ..*since
        }
    }

    fn add_entry(&mut self, entry: BacklogEntry) {
        self.round.bytes += entry.event.body.len();
        entry.hook_rows.iter().for_each(|rows| self.round.pending_groups.add(rows));
        self.round.entries.push(entry);
    }

    /// Shows a change to the hooks. Returns the rows that they add to it. Error: the refusal of one of them.
    fn ask_hooks(&self, change: &Change<'_>) -> Result<Vec<HookRows>> {
        if change.event.meta.volatile {
            return Ok(Vec::new());
        }
        let read = |question: &mut dyn FnMut(&Connection) -> Result<()>| self.disk.read_rows(question);
        let waiting = [&self.round.pending_groups, self.state.backlog.pending_groups()];
        let mut added = Vec::new();
        for hook in &self.options.hooks {
            let name = hook.name();
            let rows = hook.before_store(change, &StoredRows { hook: name, read: &read, waiting })?;
            added.extend(rows.map(|rows| HookRows { hook: name, rows }));
        }
        Ok(added)
    }

    /// Refuses a change that would make volatile documents more, or their states larger, than they may be. `before` is
    /// the document as it was. Error: `TooLarge`.
    fn check_volatile_room(&self, before: Option<&CachedDocument>, state: Option<&Bytes>) -> Result<()> {
        let (used, bounds) = (self.state.documents.volatile(), &self.options.volatile);
        if before.is_none() && used.documents >= bounds.documents_max {
            let message = "new documents of this collection live in memory only, and there are as many as may be; \
                           delete one, or try again when others have ended";
            return Err(Error::new(Kind::TooLarge, message).with("maxDocuments", bounds.documents_max));
        }
        let old = before.and_then(|cached| cached.document.state.as_ref()).map_or(0, Bytes::len);
        let new = state.map_or(0, Bytes::len);
        if new > old && used.bytes - old + new > bounds.bytes_max {
            let message = "documents that live in memory only have as much of it as they may";
            return Err(Error::new(Kind::TooLarge, message).with("maxBytes", bounds.bytes_max));
        }
        Ok(())
    }

    /// The events of a document in the hub's memory after `from`, up to the document's own.
    fn events_in_memory(&self, document: &Document, from: Seq) -> Vec<Arc<Event>> {
        let ring = self.hub.gate();
        let of_document = |event: &&Arc<Event>| event.meta.name == document.meta.name && event.seq <= document.seq;
        ring.after(from).filter(of_document).cloned().collect()
    }

    /// Error: `StorageUnavailable` while storage fails.
    fn check_storage(&self) -> Result<()> {
        if self.state.backlog.is_failing() { Err(crate::engine::refusal::not_stored()) } else { Ok(()) }
    }
}

/// The facts of a document with host and access as its event `seq` sets them, and those before if it changes them.
fn with_access(
    meta: Arc<Meta>,
    existed: bool,
    access: Option<HostedAccess>,
    seq: Seq,
) -> (Arc<Meta>, Option<Arc<Meta>>) {
    match access {
        None => (meta, None),
        Some(access) if existed => (Arc::new(meta.with_access(access, seq)), Some(meta)),
        Some(access) => (Arc::new(meta.with_access(access, Seq::ZERO)), None),
    }
}
