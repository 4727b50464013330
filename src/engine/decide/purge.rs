//! Purges: a document ends, without its rules being asked, and everything before its end goes.

use std::sync::Arc;

use serde_json::json;

use super::Decider;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::decide::{Decision, not_found_error};
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::refusal::{changed_since, check_persistent};
use crate::engine::request::ReplyTo;
use crate::engine::state::maintenance::Removal;
use crate::store::Purge;

impl Decider<'_> {
    /// Decides that a document is purged, if it is at this version. Answered when the round is stored.
    pub(crate) fn purge(
        &mut self,
        name: &DocumentName,
        expected: Option<Version>,
        viewer: &Viewer,
        reply: ReplyTo<Arc<Document>>,
    ) {
        let removal = self.check_storage().and_then(|()| self.decide_purge(name, expected, viewer));
        match removal {
            Ok(removal) => {
                self.round.maintenance.reply_purge(Arc::clone(&removal.purge.tombstone), reply);
                self.round.maintenance.removals.push(removal);
            }
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Decides a purge, and leaves its removal to the caller. Not while the document is on its way to another server,
    /// which may need to be sent it again.
    pub(crate) fn decide_purge(
        &mut self,
        name: &DocumentName,
        expected: Option<Version>,
        viewer: &Viewer,
    ) -> Result<Removal> {
        self.state.relocations.check(name)?;
        let cached = match self.load(name) {
            Err(error) => self.placeholder(name, error)?,
            loaded => loaded?.ok_or_else(|| not_found_error(name, None))?,
        };
        let document = Arc::clone(&cached.document);
        check_persistent(&document)?;
        if expected.is_some_and(|expected| expected != document.version) {
            return Err(changed_since(name, document.version));
        }
        let (tombstone, before, through) = if document.is_deleted() {
            let through = Seq(document.seq.0.saturating_sub(1));
            (document, None, through)
        } else {
            let decision = Decision::new("purge", json!({}), None);
            let outcome = self.record_maintenance(&cached, decision, viewer)?;
            (outcome.document, Some((document.seq, document.hash)), document.seq)
        };
        Ok(Removal::new(Purge { tombstone, before }, through, &self.options.hooks))
    }
}
