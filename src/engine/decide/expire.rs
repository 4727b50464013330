//! Volatile documents that nobody uses: they are deleted, which those who follow are told as any change.

use serde_json::json;

use super::Decider;
use crate::base::ids::DocumentName;
use crate::document::decide::Decision;
use crate::document::visibility::Viewer;

/// Most documents that one sweep deletes: each is a change that everyone is told of.
const EXPIRED_AT_ONCE_MAX: usize = 100;

impl Decider<'_> {
    /// Deletes volatile documents that nobody used for long. Returns those that were deleted so long ago that they may
    /// be dropped from memory.
    pub(crate) fn expire_volatile(&mut self) -> Vec<DocumentName> {
        let now = self.options.clock.now();
        let (unused, deleted) = (now.minus(self.options.volatile.idle), now.minus(self.options.hot.idle));
        let mut droppable = Vec::new();
        for (name, used) in self.hub.uses() {
            let cached = self.state.documents.get(&name).filter(|cached| cached.document.meta.volatile);
            let Some(cached) = cached.cloned() else { continue };
            if cached.document.is_deleted() && used < deleted {
                droppable.push(name);
            } else if !cached.document.is_deleted() && used < unused && self.round.entries.len() < EXPIRED_AT_ONCE_MAX {
                let decision = Decision::new("delete", json!({}), None);
                if let Err(error) = self.record_maintenance(&cached, decision, &Viewer::Owner) {
                    tracing::warn!(document = %name, %error, "{name} could not be ended");
                }
            }
        }
        droppable
    }
}
