//! Making memory and disk alike again, for a document that was found different: the rows are written anew from memory,
//! or what the rows say becomes the state by a new event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::batch::{Moment, Round};
use super::command::not_stored;
use super::hooks::ChangeOrigin;
use super::thread::Thread;
use super::volatile::check_stored;
use super::working::{Since, Slot};
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::decide::Decision;
use crate::document::event::Event;
use crate::document::json;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::problems::NOT_IN_MEMORY;
use crate::store::{Batch, DocumentRepair, ProvenHistory, RawDocument};

/// Which side is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Memory: the rows become those of the document as it is published. Where nothing of the stored history can be
    /// kept, an event that changes nothing begins it anew. A document that memory knows nothing of is removed from the
    /// disk. Error: `not-in-memory` for one that is only on disk, where nothing that memory remembers of it is left.
    Memory,
    /// The disk: the state that its rows make, whether or not they add up, becomes the state by a new event. Error:
    /// `NotFound` when they make none.
    Disk,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// What is remembered of a document that need not be in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The document with this key; and its newest version, if that is on disk.
    Version(i64, Option<(Version, Hash)>),
    /// There is none; what the disk has is under this key.
    Nothing(i64),
}

#[derive(Clone, Debug)]
pub struct Mended {
    /// The document now; `None`: it was removed.
    pub document: Option<Arc<Document>>,
    pub what: &'static str,
}

/// How things stand with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// How often somebody else was found to have written to the file; `None`: that cannot be told now.
    pub others: Option<u64>,
}

/// What is to be mended, and whoever waits for it.
#[derive(Debug)]
pub struct Order {
    pub name: DocumentName,
    /// Which side is right.
    pub side: Side,
    /// What is known of it.
    pub known: Known,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Mended>>,
}

/// What the rows are to be, and the event that comes with it.
struct Plan {
    document: Arc<Document>,
    rest: Option<ProvenHistory>,
    /// The state that a new event makes; outer `None`: there is no new event.
    next: Option<Option<Value>>,
    what: &'static str,
}

impl Thread {
    /// Tells those who asked how things stand.
    pub fn tell_looks(&mut self, round: &mut Round) {
        if round.looks.is_empty() {
            return;
        }
        let look = Look { others: self.writer.foreign_commits().ok() };
        // Whoever asked may have gone.
        for to in round.looks.drain(..) {
            let _ = to.send(look);
        }
    }

    /// Mends a document, in a transaction of its own.
    pub fn carry_out(&mut self, order: Order) {
        let Order { name, side, known, reply } = order;
        let outcome = self.mend(&name, side, known);
        // Whoever asked may have gone.
        let _ = reply.send(outcome);
    }

    fn mend(&mut self, name: &DocumentName, side: Side, known: Known) -> Result<Mended> {
        self.standings.check(name)?;
        if self.backlog.concerns(name) {
            return Err(not_stored());
        }
        if self.backlog.is_failing() {
            // What somebody else has appended keeps the engine from storing anything; that alone is mended then.
            self.writer.reopen().map_err(|fault| not_stored().caused_by(fault))?;
        }
        self.writer.drop_page_cache()?;
        let hot = self.working.get(name).map(|slot| Arc::clone(&slot.document));
        if let (None, Known::Nothing(key), Side::Memory) = (&hot, known, side) {
            self.write_rows(DocumentRepair::Remove(key))?;
            return Ok(Mended { document: None, what: "removed from the disk, since memory knows nothing of it" });
        }
        if let Some(document) = &hot {
            check_stored(document)?;
        }
        let plan = match side {
            Side::Memory => self.plan_memory(name, hot, known)?,
            Side::Disk => self.plan_disk(name, hot, known)?,
        };
        let Plan { document, rest, next, what } = plan;
        match next {
            None => {
                let mend = DocumentRepair::Rewrite { document: Arc::clone(&document), history: rest, next_hash: None };
                self.write_rows(mend)?;
                self.working.snapshot_taken(name, self.options.clock.now());
                Ok(Mended { document: Some(document), what })
            }
            Some(state) => self.renew(&document, rest, state, side, what),
        }
    }

    /// The events of a document that memory still has.
    fn remembered(&self, document: &Document) -> Vec<Arc<Event>> {
        let ring = self.hub.gate();
        let of_document = |event: &&Arc<Event>| event.meta.name == document.meta.name && event.seq <= document.seq;
        ring.after(Seq::ZERO).filter(of_document).cloned().collect()
    }

    fn rest_of(&self, document: &Document) -> Result<Option<ProvenHistory>> {
        self.writer.proven_history(document, &self.remembered(document))
    }

    fn plan_memory(&self, name: &DocumentName, hot: Option<Arc<Document>>, known: Known) -> Result<Plan> {
        let (document, rest) = match (hot, known) {
            (Some(document), _) => (Arc::clone(&document), self.rest_of(&document)?),
            (None, Known::Version(key, Some(at))) => {
                let (document, rest) = self.writer.rebuild((name, key), at)?.ok_or_else(|| not_in_memory(name))?;
                (Arc::new(document), Some(rest))
            }
            (None, _) => return Err(not_in_memory(name)),
        };
        let (next, what) = match rest {
            Some(_) => (None, "the rows were written anew from memory"),
            None => {
                let state = parse(&document)?;
                (Some(state), "the rows were written anew from memory; nothing of the history before could be kept")
            }
        };
        Ok(Plan { document, rest, next, what })
    }

    fn plan_disk(&mut self, name: &DocumentName, hot: Option<Arc<Document>>, known: Known) -> Result<Plan> {
        let (Known::Version(key, _) | Known::Nothing(key)) = known;
        let key = hot.as_ref().map_or(key, |document| document.meta.key);
        let Some(RawDocument { meta, version, head, state }) = self.writer.raw_document((name, key))? else {
            return Err(Error::not_found(format!("nothing that is stored of {name} makes a state")));
        };
        let (document, rest) = match hot {
            Some(document) => (Arc::clone(&document), self.rest_of(&document)?),
            None => match self.writer.rebuild((name, key), (version, head.hash))? {
                Some((document, rest)) => (Arc::new(document), Some(rest)),
                None => {
                    let bytes = state.as_ref().map(serde_json::to_vec).transpose().map_err(Error::internal)?;
                    let (updated_at, state) = (self.options.clock.now(), bytes.map(Bytes::from));
                    let document = Document { meta, version, hash: head.hash, seq: head.seq, updated_at, state };
                    (Arc::new(document), None)
                }
            },
        };
        let (document, rest) = self.in_the_log(document, rest);
        let what = match rest {
            Some(_) => "what the disk had became the state by a new event",
            None => "what the disk had became the state by a new event; nothing of the history before could be kept",
        };
        Ok(Plan { document, rest, next: Some(state), what })
    }

    /// What somebody else has put after the end of the log, or under a key to come, is brought within both.
    fn in_the_log(
        &mut self,
        document: Arc<Document>,
        rest: Option<ProvenHistory>,
    ) -> (Arc<Document>, Option<ProvenHistory>) {
        self.end.next_key = self.end.next_key.max(document.meta.key.saturating_add(1));
        if document.seq <= self.end.head.0 {
            return (document, rest);
        }
        let Document { meta, version, hash, updated_at, state, .. } = &*document;
        let (meta, state, seq) = (Arc::clone(meta), state.clone(), self.end.head.0);
        let (version, hash, updated_at) = (*version, *hash, *updated_at);
        (Arc::new(Document { meta, version, hash, seq, updated_at, state }), None)
    }

    /// Writes rows without a new event.
    fn write_rows(&mut self, mend: DocumentRepair) -> Result<()> {
        self.writer.try_repair(&mend)?;
        let batch = Batch { repairs: vec![mend], ..Batch::default() };
        if self.backlog.is_failing() {
            // Not noted as stored: where the log ends is found out when the backlog is tried again.
            let written = self.writer.commit_with(&batch, &mut std::iter::empty(), self.options.clock.now());
            written.map_err(|fault| not_stored().caused_by(fault))?;
            self.retry();
            return Ok(());
        }
        self.commit(&batch, &mut std::iter::empty()).map_err(|fault| {
            self.degrade(&fault);
            not_stored().caused_by(fault)
        })
    }

    /// Writes rows together with a new event that makes `state`, and tells everybody of it.
    fn renew(
        &mut self,
        document: &Arc<Document>,
        rest: Option<ProvenHistory>,
        mut state: Option<Value>,
        side: Side,
        what: &'static str,
    ) -> Result<Mended> {
        if self.backlog.is_failing() {
            return Err(not_stored());
        }
        if let Some(state) = &mut state {
            json::normalise(state);
        }
        let (name, before) = (&document.meta.name, parse(document)?);
        let mut mend = DocumentRepair::Rewrite { document: Arc::clone(document), history: rest, next_hash: None };
        self.writer.try_repair(&mend)?;
        let now = self.options.clock.now();
        let slot = Slot::decided(Arc::clone(document), None, Since::nothing(now, self.options.snapshots));
        let replaced = self.working.put(slot.clone());
        let decision = Decision { kind: "repair".to_owned(), payload: json!({ "source": side.as_str() }), state };
        let moment = Moment { viewer: &Viewer::Owner, at: now, seed: [0; 32], origin: ChangeOrigin::Maintenance };
        let (mut round, end) = (Round::default(), self.end);
        let meta = Arc::clone(&document.meta);
        let recorded = self.record(meta, Some(&slot), before.as_ref(), decision, moment, &mut round);
        let (outcome, _) = recorded.inspect_err(|_| {
            self.end = end;
            self.working.restore(name, replaced);
        })?;
        if let DocumentRepair::Rewrite { next_hash: next, .. } = &mut mend {
            *next = Some(outcome.event.hash);
        }
        if let Some(entry) = round.entries.last_mut() {
            entry.ends_write = true;
        }
        round.changed.insert(name.clone());
        round.extras.mends.push(mend);
        self.settle(round, Duration::ZERO);
        Ok(Mended { document: Some(outcome.document), what })
    }
}

fn parse(document: &Document) -> Result<Option<Value>> {
    let state = document.state.as_ref();
    state.map(|bytes| serde_json::from_slice(bytes)).transpose().map_err(Error::internal)
}

/// The refusal to mend from memory what memory does not have.
pub(crate) fn not_in_memory(name: &DocumentName) -> Error {
    let message = format!("{name} is not in memory, and nothing on disk is what memory remembers of it");
    NOT_IN_MEMORY.error(message)
}
