//! After a failure of storage: retries what waits, and makes room on a full disk.

use super::Actor;
use crate::base::error::Result;
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::engine::state::round::Round;
use crate::store::WriteError;

/// Documents that go in one transaction when room is needed. Few, so that no more go than must.
const ROOM_DOCUMENTS: usize = 4;
/// Documents that go in one outage at the most: when so many do not help, it is not their room that is needed.
const ROOM_DOCUMENTS_MAX: usize = 32;

type Written = std::result::Result<(), WriteError>;

impl Actor {
    pub(super) fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.quiet_ticks = self.quiet_ticks.saturating_add(1);
        if self.state.backlog.is_due() {
            self.retry();
        }
    }

    /// Tries to get the backlog to disk.
    pub(super) fn retry(&mut self) {
        let before = self.hub.gate().durable();
        self.disk.count_retry();
        let mut round = Round::default();
        let outcome = self.reopen_and_append().or_else(|fault| self.make_room(fault, &mut round));
        self.publish(&round);
        if self.disk.durable() > before {
            self.hub.recovered(self.disk.durable());
        }
        match outcome {
            Ok(()) => self.disk.recover(&mut self.state),
            Err(fault) => self.disk.degrade(&mut self.state, &fault),
        }
        self.disk.report_backlog(&self.state);
    }

    fn reopen_and_append(&mut self) -> Written {
        // Where another process only kept a transaction from beginning, nothing is in doubt.
        if self.disk.is_distrusted() {
            self.disk.reopen(&mut self.state)?;
        }
        self.append_backlog()
    }

    fn append_backlog(&mut self) -> Written {
        let removals = self.disk.append_backlog(&mut self.state)?;
        removals.iter().for_each(|removal| self.hub.forget(removal.through));
        Ok(())
    }

    /// The disk is full: purges documents that hooks let go, in one transaction with what waits. What is decided here
    /// is added to `round`. Error: why what waits is still not stored.
    pub(super) fn make_room(&mut self, fault: WriteError, round: &mut Round) -> Written {
        let mut fault = fault;
        // What has gone in this outage already counts: if that does not help, more will not either.
        while fault.full && self.state.pending_removals.len() < ROOM_DOCUMENTS_MAX {
            let limit = self.state.pending_removals.len() + ROOM_DOCUMENTS;
            // Reading needs no trust in the connection. Whatever goes wrong here, the reason to be told stays the disk.
            let Ok(mut names) = self.disk.removable_documents(limit) else { return Err(fault) };
            let (backlog, relocations) = (&self.state.backlog, &self.state.relocations);
            names.retain(|name| !backlog.concerns(name) && relocations.check(name).is_ok());
            if names.is_empty() || self.disk.reopen(&mut self.state).is_err() {
                return Err(fault);
            }
            for name in names.iter().take(ROOM_DOCUMENTS) {
                tracing::warn!(document = %name, "{name} is removed to make room: the disk is full");
                self.purge_for_room(name, round).map_err(WriteError::other)?;
            }
            match self.append_backlog() {
                Ok(()) => return Ok(()),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

    fn purge_for_room(&mut self, name: &DocumentName, round: &mut Round) -> Result<()> {
        let first = round.entries.len();
        let removal = self.decider(round).decide_purge(name, None, &Viewer::Owner)?;
        self.state.pending_removals.push(removal);
        self.state.backlog.push(round.entries.iter().skip(first).cloned().collect(), Vec::new());
        Ok(())
    }
}
