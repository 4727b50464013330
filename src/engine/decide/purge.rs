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
use crate::engine::request::{PurgeRequest, PurgedDocument, ReplyTo};
use crate::engine::revocations::{DocumentRevocation, DocumentWithdrawal};
use crate::engine::state::maintenance::Removal;
use crate::store::Purge;

impl Decider<'_> {
    /// Decides that a document is purged, if it is at this version. Answered when the round is stored, or waits.
    pub(crate) fn purge(&mut self, purge: PurgeRequest, reply: ReplyTo<PurgedDocument>) {
        match self.requested_purge(&purge) {
            Ok(removal) => self.round.maintenance.add_purge(removal, reply),
            // Whoever asked may have gone.
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn requested_purge(&mut self, purge: &PurgeRequest) -> Result<Removal> {
        let PurgeRequest { name, viewer, expected, may_wait } = purge;
        if !may_wait {
            self.check_storage()?;
            return self.decide_purge(name, *expected, viewer);
        }
        self.state.backlog.check_room_to_revoke(&self.options.backlog, &self.round.entries)?;
        self.decide_revocable_purge(name, viewer)
    }

    /// The same as [`decide_purge`](Self::decide_purge), of a purge that waits when it cannot be stored.
    fn decide_revocable_purge(&mut self, name: &DocumentName, viewer: &Viewer) -> Result<Removal> {
        let mut removal = self.decide_purge(name, None, viewer)?;
        let Document { meta, version, .. } = &*removal.purge.tombstone;
        let revocation = DocumentRevocation {
            name: name.clone(),
            key: meta.key,
            version: *version,
            viewer: viewer.clone(),
            change: DocumentWithdrawal::Purge,
        };
        if let Some(last) = self.round.entries.last_mut().filter(|_| removal.adds_event()) {
            last.revocation = Some(revocation.clone());
        }
        removal.revocation = Some(revocation);
        Ok(removal)
    }

    /// Adds a purge to the round that was decided and not stored. Returns its event; `None`: there is none, since the
    /// document is deleted already.
    pub(super) fn purge_again(&mut self, revocation: &DocumentRevocation) -> Result<Option<Seq>> {
        let removal = self.decide_revocable_purge(&revocation.name, &revocation.viewer)?;
        let seq = removal.adds_event().then_some(removal.purge.tombstone.seq);
        self.round.maintenance.removals.push(removal);
        Ok(seq)
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
