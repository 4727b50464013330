//! Writes: all changes of a request, or none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::{Decider, Moment, PriorState};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::document::access::Access;
use crate::document::decide::{self, Context, Current, Decision, Expected, Request, WriteOperation};
use crate::document::event::Event;
use crate::document::model::{Meta, unknown_document};
use crate::document::visibility::{self, Audience, Viewer};
use crate::engine::hooks::ChangeOrigin;
use crate::engine::refusal::RESERVED_COLLECTION;
use crate::engine::request::{Durability, ReplyTo, Write, WriteKey, WriteOutcome, WriteReply};
use crate::engine::revocations::{DocumentRevocation, DocumentWithdrawal};
use crate::engine::state::backlog::Backlog;
use crate::engine::state::document_cache::CachedDocument;
use crate::engine::state::round::{ReplyContent, all_volatile};
use crate::engine::time_travel;
use crate::store::IdempotencyKey;

impl Decider<'_> {
    /// Decides a write and notes its answer.
    pub(crate) fn write(&mut self, write: Write, sent: Instant, to: ReplyTo<WriteReply>) {
        let queue = sent.elapsed();
        let content = match self.earlier_answer(&write) {
            Ok(Some(content)) => content,
            Ok(None) => self.decide_write(write).unwrap_or_else(|error| ReplyContent::Given(Err(error))),
            Err(error) => ReplyContent::Given(Err(error)),
        };
        self.round.add_reply(to, queue, content);
    }

    /// The answer that was given under the same key before, if there was one: in this round, while storage fails, in
    /// memory for volatile documents, on disk.
    fn earlier_answer(&self, write: &Write) -> Result<Option<ReplyContent>> {
        let Some(WriteKey { key, .. }) = &write.key else { return Ok(None) };
        let scoped = (key.scope.clone(), key.key.clone());
        let replayed = |answer: &Bytes| Ok(Some(ReplyContent::Given(Ok(WriteReply::Replayed(answer.clone())))));
        if let Some((earlier, index)) = self.round.find_key(&scoped) {
            key.check(earlier.key.fingerprint)?;
            return Ok(Some(ReplyContent::SameAs(index)));
        }
        if let Some((fingerprint, answer)) = self.state.backlog.answer(&scoped) {
            key.check(*fingerprint)?;
            return replayed(answer);
        }
        if let Some(row) = self.state.kept_answers.find(&scoped) {
            key.check(row.fingerprint)?;
            return replayed(&row.answer);
        }
        let Some(row) = self.disk.find_key(&scoped)? else { return Ok(None) };
        key.check(row.fingerprint)?;
        replayed(&row.answer)
    }

    /// Decides all changes of a write, or none.
    fn decide_write(&mut self, write: Write) -> Result<ReplyContent> {
        let Write { requests, viewer, key } = write;
        let revokes = only_revokes(&requests);
        let check_room = if revokes { Backlog::check_room_to_revoke } else { Backlog::check_room };
        check_room(&self.state.backlog, &self.options.backlog, &self.round.entries)?;
        let at = self.options.clock.now();
        let (log_end, first, bytes) = (self.state.log_end, self.round.entries.len(), self.round.bytes);
        let several = requests.len() > 1;
        let mut undo: Vec<(DocumentName, Option<CachedDocument>)> = Vec::with_capacity(requests.len());
        let mut outcomes = Vec::with_capacity(requests.len());
        for (index, request) in requests.into_iter().enumerate() {
            let name = request.name.clone();
            match self.decide_one(request, &viewer, at) {
                Ok((outcome, before)) => {
                    undo.push((name, before));
                    outcomes.push(outcome);
                }
                Err(mut error) => {
                    if undo.iter().any(|(changed, _)| *changed == name) {
                        // They tell of a version that is undone here and that nobody will ever see.
                        error = error.without(decide::DETAILS_OF_DOCUMENT);
                    }
                    for (name, before) in undo.into_iter().rev() {
                        self.state.documents.restore(&name, before);
                    }
                    self.round.undo(first, bytes);
                    self.state.log_end = log_end;
                    return Err(if several { error.with("index", index) } else { error });
                }
            }
        }
        self.round.changed.extend(undo.into_iter().map(|(name, _)| name));
        let row = key.as_ref().map(|WriteKey { key, render }| {
            let document = only_document(&outcomes);
            IdempotencyKey { document, ..key.clone() }.row(render(&outcomes, Durability::Durable), at)
        });
        if let Some(row) = &row {
            self.round.add_key((row.scope.clone(), row.key.clone()));
        }
        self.round.end_write();
        match self.round.entries.last_mut() {
            Some(_) if all_volatile(&outcomes) => self.round.volatile_answers.extend(row),
            Some(last) => {
                last.key = row;
                last.revocation = outcomes.first().filter(|_| revokes).map(|outcome| revocation(outcome, &viewer));
            }
            None => {}
        }
        Ok(ReplyContent::Made { outcomes, key })
    }

    /// Makes a change again that takes something away and was not stored. Returns its event; `None`: it makes none,
    /// since what is stored has it, or is not the document that it was about. Errors: those of a write.
    pub(crate) fn revoke_again(&mut self, revocation: &DocumentRevocation) -> Result<Option<Seq>> {
        let Some(CachedDocument { document, .. }) = self.load(&revocation.name)? else { return Ok(None) };
        if document.meta.key != revocation.key {
            return Ok(None);
        }
        let stored = document.version >= revocation.version || document.is_deleted();
        let Some(operation) = revocation.operation()? else {
            // Its history may be there still.
            let goes = !stored || (document.is_deleted() && document.version <= revocation.version);
            return if goes { self.purge_again(revocation) } else { Ok(None) };
        };
        if stored {
            return Ok(None);
        }
        let name = revocation.name.clone();
        let request = Request { name: name.clone(), operation, expected: Expected::default() };
        let (outcome, _) = self.decide_one(request, &revocation.viewer, self.options.clock.now())?;
        self.round.changed.insert(name);
        self.round.end_write();
        Ok(Some(outcome.event.seq))
    }

    /// Decides one change and puts its outcome in place. Returns what was there before.
    fn decide_one(
        &mut self,
        request: Request,
        viewer: &Viewer,
        at: Timestamp,
    ) -> Result<(WriteOutcome, Option<CachedDocument>)> {
        let name = request.name.clone();
        self.check_still_granted(&name, viewer)?;
        self.check_relocation(&name, viewer)?;
        let (cached, unreadable) = self.load_target(&name, &request.operation)?;
        let tree = cached.as_ref().map(CachedDocument::tree).transpose()?.flatten();
        // Whatever the state before was, and whether it can be read: an old state comes back whole.
        let whole = matches!(request.operation, WriteOperation::Rollback { .. });
        let mut seed = [0; 32];
        self.options.entropy.fill(&mut seed);
        let origin = match &request.operation {
            WriteOperation::Merge { .. } => ChangeOrigin::Merge,
            _ => ChangeOrigin::Request,
        };
        let moment = Moment { viewer, at, seed, origin };
        let decision = self.apply_rules(request, cached.as_ref(), tree.as_deref(), moment);
        let decision = decision.map_err(|error| if unreadable { error.without(&["current"]) } else { error })?;
        if decision.state.is_some() && cached.as_ref().is_none_or(|cached| cached.document.is_deleted()) {
            self.check_reserved(&name.collection)?;
        }
        let meta = match &cached {
            Some(cached) => Arc::clone(&cached.document.meta),
            None => Arc::new(self.new_meta(&name, viewer, at)),
        };
        let before = PriorState { meta, cached: cached.as_ref(), tree: tree.as_deref().filter(|_| !whole) };
        self.record(before, decision, moment)
    }

    /// Refuses a viewer whose credential reached the document that another took the place of in this very round: that
    /// is noted when the round is published. Error: `NotFound`.
    fn check_still_granted(&self, name: &DocumentName, viewer: &Viewer) -> Result<()> {
        let Some(scope) = viewer.credential_scope() else { return Ok(()) };
        let replaced = self.round.entries.iter().any(|entry| entry.recreates && entry.event.meta.name == *name);
        if replaced && !scope.creates(name) { Err(unknown_document(name)) } else { Ok(()) }
    }

    /// Errors: `Frozen`, `Moved`; `NotFound` in their place for whoever may not read what went away.
    fn check_relocation(&mut self, name: &DocumentName, viewer: &Viewer) -> Result<()> {
        let Err(error) = self.state.relocations.check(name) else { return Ok(()) };
        if *viewer != Viewer::Owner
            && let Ok(Some(cached)) = self.load(name)
        {
            cached.document.meta.check_reader(viewer)?;
        }
        Err(error)
    }

    /// Refuses to create a document in a collection that is called as calls of the server are. Error: `Invalid`.
    fn check_reserved(&self, collection: &Collection) -> Result<()> {
        if self.options.reserved_collections.contains(collection) {
            return Err(Error::invalid_field("collection", RESERVED_COLLECTION));
        }
        Ok(())
    }

    fn apply_rules(
        &self,
        request: Request,
        cached: Option<&CachedDocument>,
        tree: Option<&Value>,
        moment: Moment<'_>,
    ) -> Result<Decision> {
        let name = request.name.clone();
        let past = |version: Version| self.state_at(&name, cached, version);
        let other = |name: &DocumentName| self.visible_state(name, moment.viewer);
        let context = Context {
            viewer: moment.viewer,
            rules: self.options.rules.get(&name.collection).map(|rules| &**rules),
            at: moment.at,
            seed: moment.seed,
            bounds: self.options.state,
            past: &past,
            other: &other,
        };
        let current = cached.map(|cached| Current { document: &cached.document, state: tree });
        // Rules are foreign code. They get values and return one, so nothing of ours is left half-done by a panic.
        catch_unwind(AssertUnwindSafe(|| decide::decide(request, current, &context)))
            .unwrap_or_else(|_| Err(Error::internal(format!("the rules of {} panicked", name.collection))))
    }

    /// The newest state of a document as far as `viewer` may see it, decided versions included; `None`: it is not
    /// there for them.
    fn visible_state(&self, name: &DocumentName, viewer: &Viewer) -> Result<Option<Value>> {
        let cached = match self.state.documents.get(name) {
            Some(cached) => Some(cached.clone()),
            None => self.disk.load(name)?,
        };
        let Some(cached) = cached.filter(|_| self.check_still_granted(name, viewer).is_ok()) else { return Ok(None) };
        let Some(audience) = cached.document.meta.audience_of_reader(viewer) else { return Ok(None) };
        Ok(cached.tree()?.map(|tree| match audience {
            Audience::Host => (*tree).clone(),
            Audience::Player(player) => visibility::redact_value((*tree).clone(), player),
        }))
    }

    /// The state of a document at `version`, decided versions included.
    fn state_at(
        &self,
        name: &DocumentName,
        cached: Option<&CachedDocument>,
        version: Version,
    ) -> Result<Option<Value>> {
        let parse = |state: &Bytes| serde_json::from_slice(state).map_err(Error::internal);
        let of_document = |event: &&Arc<Event>| event.meta.name == *name;
        let volatile = cached.filter(|cached| cached.document.meta.volatile);
        let mut undurable: Vec<Arc<Event>> = {
            let ring = self.hub.gate();
            let from = if volatile.is_some() { Seq::ZERO } else { ring.durable() };
            ring.after(from).filter(of_document).cloned().collect()
        };
        undurable.extend(self.round.entries.iter().map(|entry| &entry.event).filter(of_document).cloned());
        if let Some(cached) = volatile {
            let document = time_travel::volatile_state_at(&cached.document, &undurable, version)?;
            return document.state.as_ref().map(parse).transpose();
        }
        let document = time_travel::state_at(self.disk, name, version, &undurable)?;
        document.state.as_ref().map(parse).transpose()
    }

    /// The facts of a new document of `viewer`.
    fn new_meta(&self, name: &DocumentName, viewer: &Viewer, at: Timestamp) -> Meta {
        let volatile = self.options.volatile.collections.contains(&name.collection);
        // Below 0 no row can have it: not now, and not after a restart.
        let volatile_key = || i64::try_from(self.state.log_end.head.0.next().0).map_or(i64::MIN, |seq| -seq);
        Meta {
            key: if volatile { volatile_key() } else { self.state.log_end.next_key },
            name: name.clone(),
            host: viewer.as_host(),
            access: Access::default(),
            access_seq: Seq::ZERO,
            created_at: at,
            volatile,
        }
    }
}

/// Whether a write takes something away and does nothing else. What is deleted together with other changes may have
/// been moved by them, and is not deleted without them.
fn only_revokes(requests: &[Request]) -> bool {
    matches!(requests, [Request { operation: WriteOperation::Delete | WriteOperation::SetAccess { .. }, .. }])
}

fn revocation(WriteOutcome { document, event, .. }: &WriteOutcome, viewer: &Viewer) -> DocumentRevocation {
    let (name, key) = (document.meta.name.clone(), document.meta.key);
    let change = match event.deletes {
        true => DocumentWithdrawal::Deletion,
        false => DocumentWithdrawal::Access(document.meta.hosted_access()),
    };
    DocumentRevocation { name, key, version: document.version, viewer: viewer.clone(), change }
}

/// The key of the document that a write changed, if it was one and is on disk.
fn only_document(outcomes: &[WriteOutcome]) -> Option<i64> {
    let first = &outcomes.first()?.document.meta;
    let same = outcomes.iter().all(|outcome| outcome.document.meta.key == first.key);
    (same && !first.volatile).then_some(first.key)
}
