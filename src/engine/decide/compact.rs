//! Compaction: what is left of a document's history when nobody needs it any more is its newest event and the state
//! before that, with the hash that the event is chained to.

use std::sync::Arc;

use serde_json::json;

use super::Decider;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Version};
use crate::base::limits::COMPACT_EVENT_BYTES_MAX;
use crate::document::decide::Decision;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::refusal::{changed_since, check_persistent};
use crate::engine::request::ReplyTo;
use crate::engine::state::maintenance::Compaction;

impl Decider<'_> {
    /// Decides that a document's history goes, if the document is at this version.
    pub(crate) fn compact(&mut self, name: &DocumentName, expected: Version, reply: ReplyTo<Version>) {
        match self.check_storage().and_then(|()| self.end_with_small_event(name, expected)) {
            Ok(document) => {
                let compaction = Compaction::new(document, self.options.hooks.clone(), reply);
                self.round.maintenance.compactions.push(compaction);
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Sees to it that the newest event, which is kept, is a small one: if need be by one more, which changes nothing.
    fn end_with_small_event(&mut self, name: &DocumentName, expected: Version) -> Result<Arc<Document>> {
        self.state.relocations.check(name)?;
        let cached = self.load_live(name)?;
        let document = Arc::clone(&cached.document);
        check_persistent(&document)?;
        if document.version != expected {
            return Err(changed_since(name, document.version));
        }
        if self.disk.event_bytes(document.seq)?.is_some_and(|bytes| bytes <= COMPACT_EVENT_BYTES_MAX) {
            return Ok(document);
        }
        let state = cached.tree()?.as_deref().cloned();
        let decision = Decision::new("compact", json!({}), state);
        Ok(self.record_maintenance(&cached, decision, &Viewer::Owner)?.document)
    }
}
