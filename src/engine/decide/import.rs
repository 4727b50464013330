//! Imports: the document of another server, with its history.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Decider;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Seq;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::document::transfer::{SentEvent, VerifiedChain};
use crate::document::visibility::Viewer;
use crate::engine::hooks::{Change, ChangeOrigin, HookRows, Trees};
use crate::engine::request::{CompanionRows, IncomingDocument, Relocation, ReplyTo, WriteOutcome, WriteReply};
use crate::engine::state::backlog::BacklogEntry;
use crate::engine::state::document_cache::{CachedDocument, SinceSnapshot};
use crate::engine::state::round::ReplyContent;
use crate::store::{CompanionWrite, Connection};

impl Decider<'_> {
    /// Decides an import and notes its answer.
    pub(crate) fn import(&mut self, incoming: IncomingDocument, sent: Instant, to: ReplyTo<WriteReply>) {
        let queue = sent.elapsed();
        let content = match self.decide_import(incoming) {
            Ok(outcome) => ReplyContent::Made { outcomes: vec![outcome], key: None },
            Err(error) => ReplyContent::Given(Err(error)),
        };
        self.round.add_reply(to, queue, content);
    }

    /// Records the same events and hashes in new places of this log. Of a document that was here before, only what came
    /// since. An error leaves no trace.
    fn decide_import(&mut self, incoming: IncomingDocument) -> Result<WriteOutcome> {
        let IncomingDocument { id, chain, companion_rows } = incoming;
        let name = chain.name().clone();
        self.check_expected(&chain, &id)?;
        let before = self.load(&name)?;
        let chain = match &before {
            Some(cached) => chain.into_missing(&cached.document)?,
            None => chain,
        };
        if chain.is_trimmed() && !self.round.entries.is_empty() {
            // The ring forgets what is before a place that is left out, so that must be on disk.
            return Err(Error::new(Kind::StorageUnavailable, "other changes are being stored; try again"));
        }
        // A history without its beginning leaves a place out, as if what is missing had been there and was trimmed:
        // whoever follows the collection and is told of changes from here on must have been given the state before.
        let left_out = self.state.log_end.head.0.next();
        let first = if chain.is_trimmed() { left_out.next() } else { left_out };
        let meta_before = before.as_ref().map(|cached| &*cached.document.meta);
        let meta = chain.meta(meta_before, self.state.log_end.next_key, first);
        let (base, sent, state) = chain.into_parts(&meta);
        let events = place_events(&meta, first, sent)?;
        let last = events.last().ok_or_else(|| Error::internal("a document came that is here already"))?;
        let event = Arc::clone(last);
        let since = self.since_import(before.as_ref().filter(|_| base.is_none()), &events, &state)?;
        let base = base.map(|base| Arc::new(Document { seq: left_out, ..base }));
        let document = Arc::new(Document {
            version: event.version,
            hash: event.hash,
            seq: event.seq,
            updated_at: event.at,
            state: Some(state),
            meta: Arc::clone(&meta),
        });
        let creates = before.as_ref().is_none_or(|cached| cached.document.is_deleted());
        let recreates = creates && before.is_some();
        let hook_rows = self.ask_hooks_about_import(&events, &document, creates)?;
        // From here on nothing fails.
        self.state.documents.put(CachedDocument::decided(Arc::clone(&document), None, since));
        self.state.log_end.head = (event.seq, event.hash);
        self.state.log_end.next_key += i64::from(before.is_none());
        let mut companion = Some(companion_write(&meta, companion_rows));
        let (mut new_document, mut base) = (before.is_none().then_some(meta), base);
        for (event, hook_rows) in events.into_iter().zip(hook_rows) {
            let ends_write = event.seq == document.seq;
            let companion = companion.take_if(|_| ends_write);
            let (new_document, base) = (new_document.take(), base.take());
            self.add_entry(BacklogEntry {
                ends_write,
                new_document,
                base,
                hook_rows,
                companion,
                recreates,
                ..BacklogEntry::new(event)
            });
        }
        self.round.changed.insert(name);
        Ok(WriteOutcome { document, event, created: before.is_none() })
    }

    /// Errors: `StorageUnavailable` while storage fails; `Frozen` unless the document is expected by this name.
    fn check_expected(&self, chain: &VerifiedChain, id: &str) -> Result<()> {
        let name = chain.name();
        if self.state.backlog.is_failing() {
            return Err(Error::new(Kind::StorageUnavailable, "storage takes no documents of other servers now"));
        }
        match self.state.relocations.get(name) {
            Some(Relocation::Expected { id: known, .. }) if known == id => Ok(()),
            _ => Err(self.state.relocations.problems().frozen_error(format!("{name} was not announced"))),
        }
    }

    fn ask_hooks_about_import(
        &self,
        events: &[Arc<Event>],
        document: &Document,
        creates: bool,
    ) -> Result<Vec<Vec<HookRows>>> {
        let rows = |(index, event): (usize, &Arc<Event>)| {
            let state = document.state.as_ref().filter(|_| event.seq == document.seq);
            let (viewer, origin, creates) = (&Viewer::Owner, ChangeOrigin::Import, creates && index == 0);
            self.ask_hooks(&Change { event, state, trees: Trees::default(), creates, viewer, origin })
        };
        events.iter().enumerate().map(rows).collect()
    }

    /// What comes after the last snapshot of a document to which these events are added. `before`: the document that
    /// they follow. Its own policy is in its state.
    fn since_import(
        &self,
        before: Option<&CachedDocument>,
        events: &[Arc<Event>],
        state: &Bytes,
    ) -> Result<SinceSnapshot> {
        let tree = serde_json::from_slice(state).map_err(Error::internal)?;
        let policy = self.options.snapshots.of(&tree);
        let empty = || SinceSnapshot::empty(self.options.clock.now(), policy);
        let since = before.map_or_else(empty, |cached| cached.since);
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        Ok(SinceSnapshot {
            patch_bytes: since.patch_bytes + events.iter().map(|event| event.body.len()).sum::<usize>(),
            events: since.events.saturating_add(count),
            policy,
            ..since
        })
    }
}

/// The events of an import at their places of this log, from `first` on.
fn place_events(meta: &Arc<Meta>, first: Seq, sent: Vec<SentEvent>) -> Result<Vec<Arc<Event>>> {
    let mut seq = first;
    let mut events = Vec::with_capacity(sent.len());
    for SentEvent { version, hash, deletes, body } in sent {
        events.push(Arc::new(Event::stored(seq, Arc::clone(meta), version, hash, deletes, body)?));
        seq = seq.next();
    }
    Ok(events)
}

fn companion_write(meta: &Meta, rows: CompanionRows) -> CompanionWrite {
    let key = meta.key;
    let write = Arc::new(move |conn: &Connection, now| rows(conn, key, now));
    CompanionWrite { label: Arc::from(meta.name.to_string()), required: true, write }
}
