//! Revocations: in the transaction of their round when storage is well, and pending until it is.

use super::EngineActor;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits::{REVOCATIONS_PENDING_MAX, REVOCATIONS_PER_COMMIT};
use crate::engine::Hooks;
use crate::engine::refusal::not_stored;
use crate::engine::request::RevocationRequest;
use crate::engine::revocations::Revocation;
use crate::engine::state::round::Round;
use crate::store::{Batch, Connection, Rows, WriteResult};

impl EngineActor {
    /// Stores what the last run could not.
    pub(super) fn store_restored_revocations(&mut self) {
        let restored = self.revocations.len();
        // While storage fails since the start they wait for it, and its first fault stays the one that is told.
        if restored == 0 || self.state.backlog.is_failing() {
            return;
        }
        match self.store_revocations() {
            Ok(()) => tracing::info!(restored, "what was taken from somebody while storage failed is stored"),
            Err(fault) => self.disk.degrade(&mut self.state, &fault),
        }
    }

    /// Adds revocations to a round, if there is room for them when they cannot be stored.
    pub(super) fn add_revocations(&self, request: RevocationRequest, round: &mut Round) {
        let pending = self.revocations.len() + request.revocations.len();
        if self.state.backlog.is_failing() && pending > REVOCATIONS_PENDING_MAX {
            // Whoever asked may have gone.
            let _ = request.reply.send(Err(not_stored()));
        } else {
            round.revocations.push(request);
        }
    }

    /// The rows of a round's revocations.
    pub(super) fn revocation_rows(&self, round: &Round) -> Vec<RevocationRows> {
        let revocations = round.revocations.iter().flat_map(|request| &request.revocations);
        revocations.map(|revocation| RevocationRows::new(&self.options.hooks, revocation.clone())).collect()
    }

    /// Keeps what a round revokes until it can be stored.
    pub(super) fn keep_revocations(&mut self, round: &Round) {
        self.add_pending(round.revocations.iter().flat_map(|request| &request.revocations));
    }

    fn add_pending<'a>(&mut self, revocations: impl Iterator<Item = &'a Revocation>) {
        let mut revocations = revocations.peekable();
        if revocations.peek().is_none() {
            return;
        }
        self.keep_files_beside();
        let new = revocations.filter(|revocation| self.revocations.add((*revocation).clone()));
        let lines: Vec<String> = new.map(Revocation::to_string).collect();
        if lines.is_empty() {
            return;
        }
        if let Err(error) = self.journal.add(&lines) {
            tracing::warn!(%error, "{} revocations are kept in memory only", lines.len());
        }
    }

    /// Sees to it that the key of MACs and the journal, with everything that is pending, are where the next start looks
    /// for them.
    pub(super) fn keep_files_beside(&mut self) {
        let pending = || self.revocations.get().iter().map(Revocation::to_string).collect();
        self.disk.update_journal(&mut self.journal, pending);
        self.disk.keep_integrity_key();
    }

    /// Stores those that are pending, a bounded number in each transaction.
    pub(super) fn store_revocations(&mut self) -> WriteResult {
        let pending = self.revocations.get();
        if pending.is_empty() {
            return Ok(());
        }
        let pending: Vec<Revocation> = pending.iter().cloned().collect();
        for pending in pending.chunks(REVOCATIONS_PER_COMMIT) {
            let new = |revocation: &Revocation| RevocationRows::new(&self.options.hooks, revocation.clone());
            let mut rows: Vec<_> = pending.iter().map(new).collect();
            let rows_to_write = rows.iter_mut().map(|rows| rows as &mut dyn Rows);
            self.disk.commit(&mut self.state, &Batch::default(), &mut { rows_to_write })?;
            let stored: Vec<_> = rows.into_iter().filter_map(RevocationRows::stored).collect();
            self.revocations.remove(&stored);
        }
        if self.revocations.len() == 0 {
            self.journal.clear();
        }
        Ok(())
    }

    /// The round's transaction is stored: what could not be written in it is pending.
    pub(super) fn hold_unwritten(&mut self, rows: &[RevocationRows]) {
        self.add_pending(rows.iter().filter(|rows| rows.failed).map(|rows| &rows.revocation));
    }
}

/// What one revocation changes on the disk.
pub(super) struct RevocationRows {
    hooks: Hooks,
    revocation: Revocation,
    /// Whether storage did not take it, and only it.
    failed: bool,
}

impl RevocationRows {
    fn new(hooks: &Hooks, revocation: Revocation) -> Self {
        Self { hooks: hooks.clone(), revocation, failed: false }
    }

    fn stored(self) -> Option<Revocation> {
        (!self.failed).then_some(self.revocation)
    }
}

impl Rows for RevocationRows {
    fn write(&mut self, conn: &Connection, now: Timestamp) -> Result<()> {
        let hook = self.hooks.iter().find(|hook| hook.name() == self.revocation.hook());
        let unknown = || Error::internal(format_args!("there is no hook {}", self.revocation.hook()));
        let revoked = hook.ok_or_else(unknown).and_then(|hook| hook.revoke(conn, self.revocation.subject(), now));
        self.failed = revoked.as_ref().is_err_and(|error| error.kind() == Kind::StorageUnavailable);
        revoked
            .inspect_err(|error| tracing::error!(%error, revocation = %self.revocation, "a revocation is not stored"))
    }
}
