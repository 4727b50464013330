//! Repairs: making memory and disk alike again, for a document that was found different. The rows are written anew from
//! memory, or what the rows say becomes the state by a new event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Decider, PriorState};
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Seq};
use crate::document::decide::Decision;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::refusal::{check_persistent, not_in_memory, not_stored};
use crate::engine::request::{RememberedDocument, RepairSource, RepairedDocument};
use crate::engine::state::document_cache::{CachedDocument, SinceSnapshot};
use crate::store::{DocumentRepair, ProvenHistory, RawDocument};

/// What a repair is going to do.
pub(crate) struct RepairPlan {
    /// The rows to write.
    pub rows: DocumentRepair,
    /// The document that the rows are of; `None`: it is removed.
    document: Option<Arc<Document>>,
    /// The state that a new event makes; outer `None`: there is no new event.
    new_state: Option<Option<Value>>,
    source: RepairSource,
    summary: &'static str,
}

impl RepairPlan {
    pub(crate) fn adds_event(&self) -> bool {
        self.new_state.is_some()
    }

    /// What is answered when the rows alone were written.
    pub(crate) fn repaired(self) -> RepairedDocument {
        RepairedDocument { document: self.document, summary: self.summary }
    }
}

impl Decider<'_> {
    /// Refuses a repair that cannot be made now. Errors: `Frozen`, `Moved`; `StorageUnavailable` while a change of the
    /// document waits.
    pub(crate) fn check_repair(&self, name: &DocumentName) -> Result<()> {
        self.state.relocations.check(name)?;
        if self.state.backlog.concerns(name) { Err(not_stored()) } else { Ok(()) }
    }

    /// What is to be written. Errors: see [`RepairSource`]; `not-persistent`.
    pub(crate) fn plan_repair(
        &mut self,
        name: &DocumentName,
        source: RepairSource,
        remembered: RememberedDocument,
    ) -> Result<RepairPlan> {
        let hot = self.state.documents.get(name).map(|cached| Arc::clone(&cached.document));
        if let (None, RememberedDocument::Absent(key), RepairSource::Memory) = (&hot, remembered, source) {
            let summary = "removed from the disk, since memory knows nothing of it";
            return Ok(RepairPlan {
                rows: DocumentRepair::Remove(key),
                document: None,
                new_state: None,
                source,
                summary,
            });
        }
        if let Some(document) = &hot {
            check_persistent(document)?;
        }
        match source {
            RepairSource::Memory => self.plan_from_memory(name, hot, remembered),
            RepairSource::Disk => self.plan_from_disk(name, hot, remembered),
        }
    }

    fn proven_history(&self, document: &Document) -> Result<Option<ProvenHistory>> {
        self.disk.proven_history(document, &self.events_in_memory(document, Seq::ZERO))
    }

    fn plan_from_memory(
        &self,
        name: &DocumentName,
        hot: Option<Arc<Document>>,
        remembered: RememberedDocument,
    ) -> Result<RepairPlan> {
        let (document, history) = match (hot, remembered) {
            (Some(document), _) => (Arc::clone(&document), self.proven_history(&document)?),
            (None, RememberedDocument::Present(key, Some(at))) => {
                let (document, history) = self.disk.rebuild((name, key), at)?.ok_or_else(|| not_in_memory(name))?;
                (Arc::new(document), Some(history))
            }
            (None, _) => return Err(not_in_memory(name)),
        };
        let (new_state, summary) = match history {
            Some(_) => (None, "the rows were written anew from memory"),
            None => {
                let state = parse(&document)?;
                (Some(state), "the rows were written anew from memory; nothing of the history before could be kept")
            }
        };
        Ok(rewrite(document, history, new_state, RepairSource::Memory, summary))
    }

    fn plan_from_disk(
        &mut self,
        name: &DocumentName,
        hot: Option<Arc<Document>>,
        remembered: RememberedDocument,
    ) -> Result<RepairPlan> {
        let (RememberedDocument::Present(key, _) | RememberedDocument::Absent(key)) = remembered;
        let key = hot.as_ref().map_or(key, |document| document.meta.key);
        let Some(RawDocument { meta, version, head, state }) = self.disk.raw_document((name, key))? else {
            return Err(Error::not_found(format!("nothing that is stored of {name} makes a state")));
        };
        let (document, history) = match hot {
            Some(document) => (Arc::clone(&document), self.proven_history(&document)?),
            None => match self.disk.rebuild((name, key), (version, head.hash))? {
                Some((document, history)) => (Arc::new(document), Some(history)),
                None => {
                    let bytes = state.as_ref().map(serde_json::to_vec).transpose().map_err(Error::internal)?;
                    let (updated_at, state) = (self.options.clock.now(), bytes.map(Bytes::from));
                    let document = Document { meta, version, hash: head.hash, seq: head.seq, updated_at, state };
                    (Arc::new(document), None)
                }
            },
        };
        let (document, history) = self.move_within_log(document, history);
        let summary = match history {
            Some(_) => "what the disk had became the state by a new event",
            None => "what the disk had became the state by a new event; nothing of the history before could be kept",
        };
        Ok(rewrite(document, history, Some(state), RepairSource::Disk, summary))
    }

    /// What somebody else has put after the end of the log, or under a key to come, is brought within both.
    fn move_within_log(
        &mut self,
        document: Arc<Document>,
        history: Option<ProvenHistory>,
    ) -> (Arc<Document>, Option<ProvenHistory>) {
        let log_end = &mut self.state.log_end;
        log_end.next_key = log_end.next_key.max(document.meta.key.saturating_add(1));
        if document.seq <= log_end.head.0 {
            return (document, history);
        }
        let Document { meta, version, hash, updated_at, state, .. } = &*document;
        let (meta, state, seq) = (Arc::clone(meta), state.clone(), log_end.head.0);
        let (version, hash, updated_at) = (*version, *hash, *updated_at);
        (Arc::new(Document { meta, version, hash, seq, updated_at, state }), None)
    }

    /// Adds the rows of a plan to the round, together with a new event that makes its state. An error leaves no trace.
    pub(crate) fn repair_with_event(&mut self, plan: RepairPlan) -> Result<RepairedDocument> {
        let RepairPlan { rows: DocumentRepair::Rewrite { document, history, .. }, new_state: Some(state), .. } = plan
        else {
            return Err(Error::internal("a repair without a new event"));
        };
        let (name, tree) = (&document.meta.name, parse(&document)?);
        let since = SinceSnapshot::empty(self.options.clock.now(), self.options.snapshots);
        let cached = CachedDocument::decided(Arc::clone(&document), None, since);
        let replaced = self.state.documents.put(cached.clone());
        let payload = json!({ "source": plan.source.as_str() });
        let decision = Decision::new("repair", payload, state);
        let meta = Arc::clone(&document.meta);
        let before = PriorState { meta, cached: Some(&cached), tree: tree.as_ref() };
        let recorded = self.record(before, decision, self.maintenance_moment(&Viewer::Owner));
        let (outcome, _) = recorded.inspect_err(|_| self.state.documents.restore(name, replaced))?;
        self.round.end_write();
        self.round.changed.insert(name.clone());
        let next_hash = Some(outcome.event.hash);
        self.round.maintenance.repairs.push(DocumentRepair::Rewrite { document, history, next_hash });
        Ok(RepairedDocument { document: Some(outcome.document), summary: plan.summary })
    }
}

fn rewrite(
    document: Arc<Document>,
    history: Option<ProvenHistory>,
    new_state: Option<Option<Value>>,
    source: RepairSource,
    summary: &'static str,
) -> RepairPlan {
    let rows = DocumentRepair::Rewrite { document: Arc::clone(&document), history, next_hash: None };
    RepairPlan { rows, document: Some(document), new_state, source, summary }
}

fn parse(document: &Document) -> Result<Option<Value>> {
    let state = document.state.as_ref();
    state.map(|bytes| serde_json::from_slice(bytes)).transpose().map_err(Error::internal)
}
