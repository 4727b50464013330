//! The documents in memory, stored anew when the database that had their histories is lost.

use std::sync::Arc;

use serde_json::json;

use super::{Decider, PriorState};
use crate::base::error::Result;
use crate::document::decide::Decision;
use crate::document::visibility::Viewer;
use crate::engine::state::document_cache::CachedDocument;

impl Decider<'_> {
    /// Adds an event that changes nothing to each document that is to be stored: the history that is kept begins before
    /// it, at the document as it is. Returns how many there are. What cannot be recorded is logged.
    pub(crate) fn record_documents_anew(&mut self) -> usize {
        let mut documents: Vec<CachedDocument> =
            self.state.documents.documents().filter(|cached| !cached.document.meta.volatile).cloned().collect();
        // In the order of the log, as far as it can be kept.
        documents.sort_by_key(|cached| cached.document.seq);
        let record = |cached: &CachedDocument| {
            let name = &cached.document.meta.name;
            let recorded = self.record_anew(cached);
            recorded.inspect_err(|error| tracing::error!(document = %name, %error, "{name} is not rescued")).is_ok()
        };
        documents.iter().map(record).filter(|recorded| *recorded).count()
    }

    fn record_anew(&mut self, cached: &CachedDocument) -> Result<()> {
        let (meta, tree, something) = (Arc::clone(&cached.document.meta), cached.tree()?, json!({}));
        let decision = Decision::new("rescue", json!({}), tree.as_deref().cloned());
        // A document that is deleted is deleted once more: the patch of an event that deletes removes something.
        let before = PriorState { meta, cached: Some(cached), tree: tree.as_deref().or(Some(&something)) };
        self.record(before, decision, self.maintenance_moment(&Viewer::Owner))?;
        self.round.changed.insert(cached.document.meta.name.clone());
        self.round.end_write();
        if let Some(entry) = self.round.entries.last_mut() {
            entry.new_document = Some(Arc::clone(&entry.event.meta));
            entry.base = Some(Arc::clone(&cached.document));
        }
        Ok(())
    }
}
