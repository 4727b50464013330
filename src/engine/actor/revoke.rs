//! Revocations: in the transaction of their round when storage is well, and pending until it is.

use std::time::Duration;

use super::EngineActor;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::Seq;
use crate::base::limits::{REVOCATIONS_PENDING_MAX, REVOCATIONS_PER_COMMIT};
use crate::engine::Hooks;
use crate::engine::refusal::not_stored;
use crate::engine::request::RevocationRequest;
use crate::engine::revocations::{DocumentRevocation, Revocation};
use crate::engine::state::maintenance::Removal;
use crate::engine::state::round::Round;
use crate::store::{Batch, Connection, Rows, WriteResult};

impl EngineActor {
    /// Stores what the last run could not, and makes its changes of documents again.
    pub(super) fn restore_revocations(&mut self, documents: Vec<DocumentRevocation>) {
        documents.into_iter().for_each(|revocation| self.document_revocations.add(revocation, None));
        self.revoke_documents_again();
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

    /// Makes those changes of documents again that the last run could not store. They wait with all others while
    /// storage fails.
    pub(super) fn revoke_documents_again(&mut self) {
        for revocation in self.document_revocations.take_unapplied() {
            let mut round = Round::default();
            match self.decider(&mut round).revoke_again(&revocation) {
                Ok(seq) if seq.is_some() || !round.maintenance.is_empty() => {
                    let name = &revocation.name;
                    tracing::info!(document = %name, "what was taken away while storage failed is taken again");
                    if seq.is_some() {
                        self.document_revocations.add(revocation, seq);
                    }
                    self.complete_round(round, Duration::ZERO);
                }
                Ok(_) => {}
                Err(error) if error.kind() == Kind::StorageUnavailable => {
                    self.document_revocations.add(revocation, None);
                }
                Err(error) => {
                    tracing::error!(document = %revocation.name, %error, "what was taken away cannot be taken again");
                }
            }
        }
        self.clear_journal();
    }

    /// Empties the journal once everything in it is in the database.
    fn clear_journal(&mut self) {
        self.document_revocations.drop_durable(self.disk.durable());
        if self.revocations.len() == 0 && self.document_revocations.len() == 0 {
            self.journal.clear();
        }
    }

    /// Adds revocations to a round, if there is room for them when they cannot be stored.
    pub(super) fn add_revocations(&self, request: RevocationRequest, round: &mut Round) {
        let pending = self.pending_revocations() + request.revocations.len();
        if self.state.backlog.is_failing() && pending > REVOCATIONS_PENDING_MAX {
            // Whoever asked may have gone.
            let _ = request.reply.send(Err(not_stored()));
        } else {
            round.revocations.push(request);
        }
    }

    /// How many are not in the database.
    pub(super) fn pending_revocations(&self) -> usize {
        self.revocations.len() + self.document_revocations.len()
    }

    /// The rows of a round's revocations.
    pub(super) fn revocation_rows(&self, round: &Round) -> Vec<RevocationRows> {
        let revocations = round.revocations.iter().flat_map(|request| &request.revocations);
        revocations.map(|revocation| RevocationRows::new(&self.options.hooks, revocation.clone())).collect()
    }

    /// Keeps what a round revokes until it can be stored. `removals`: purges of the round that wait.
    pub(super) fn keep_revocations(&mut self, round: &Round, removals: &[Removal]) {
        let documents = round.entries.iter().filter(|entry| !entry.event.meta.volatile);
        let documents = documents.filter_map(|entry| Some((Some(entry.event.seq), entry.revocation.as_ref()?)));
        // Of what is deleted already there is no event: it is purged again when storage returns.
        let deleted = removals.iter().filter(|removal| !removal.adds_event());
        let deleted = deleted.filter_map(|removal| Some((None, removal.revocation.as_ref()?)));
        let revocations = round.revocations.iter().flat_map(|request| &request.revocations);
        self.add_pending(revocations, documents.chain(deleted));
    }

    fn add_pending<'a>(
        &mut self,
        revocations: impl Iterator<Item = &'a Revocation>,
        documents: impl Iterator<Item = (Option<Seq>, &'a DocumentRevocation)>,
    ) {
        let (mut revocations, mut documents) = (revocations.peekable(), documents.peekable());
        if revocations.peek().is_none() && documents.peek().is_none() {
            return;
        }
        self.keep_files_beside();
        let new = revocations.filter(|revocation| self.revocations.add((*revocation).clone()));
        let mut lines: Vec<String> = new.map(Revocation::to_string).collect();
        for (seq, revocation) in documents {
            lines.push(revocation.to_string());
            self.document_revocations.add(revocation.clone(), seq);
        }
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
        let (revocations, documents) = (&self.revocations, &self.document_revocations);
        let pending = || revocations.get().iter().map(Revocation::to_string).chain(documents.lines()).collect();
        self.disk.update_journal(&mut self.journal, pending);
        self.disk.keep_integrity_key();
    }

    /// Stores those that are pending, a bounded number in each transaction. Those of documents that are not stored wait
    /// while others wait.
    pub(super) fn store_revocations(&mut self) -> WriteResult {
        let pending = self.revocations.get();
        if pending.is_empty() {
            self.clear_journal();
            return Ok(());
        }
        let documents_wait = self.state.backlog.events() > 0;
        let pending: Vec<Revocation> = pending.iter().cloned().collect();
        for pending in pending.chunks(REVOCATIONS_PER_COMMIT) {
            let new = |revocation: &Revocation| RevocationRows::new(&self.options.hooks, revocation.clone());
            let mut rows: Vec<_> = pending.iter().map(new).collect();
            let rows_to_write = rows.iter_mut().map(|rows| rows as &mut dyn Rows);
            self.disk.commit(&mut self.state, &Batch::default(), &mut { rows_to_write })?;
            let done = rows.into_iter().filter(|rows| rows.is_done(documents_wait));
            self.revocations.remove(&done.map(|rows| rows.revocation).collect::<Vec<_>>());
        }
        self.clear_journal();
        Ok(())
    }

    /// The round's transaction is stored: what could not be written in it is pending.
    pub(super) fn hold_unwritten(&mut self, rows: &[RevocationRows]) {
        let unwritten = rows.iter().filter(|rows| !rows.is_done(false)).map(|rows| &rows.revocation);
        self.add_pending(unwritten, std::iter::empty());
    }
}

/// What one revocation changes on the disk.
pub(super) struct RevocationRows {
    hooks: Hooks,
    revocation: Revocation,
    /// Why only it was not written.
    failed: Option<Kind>,
}

impl RevocationRows {
    fn new(hooks: &Hooks, revocation: Revocation) -> Self {
        Self { hooks: hooks.clone(), revocation, failed: None }
    }

    /// Whether it need not be tried again. `documents_wait`: what it belongs to may not be stored yet.
    fn is_done(&self, documents_wait: bool) -> bool {
        match self.failed {
            Some(Kind::StorageUnavailable) => false,
            Some(Kind::NotFound) => !documents_wait,
            _ => true,
        }
    }
}

impl Rows for RevocationRows {
    fn write(&mut self, conn: &Connection, now: Timestamp) -> Result<()> {
        let hook = self.hooks.iter().find(|hook| hook.name() == self.revocation.hook());
        let unknown = || Error::internal(format_args!("there is no hook {}", self.revocation.hook()));
        let revoked = hook.ok_or_else(unknown).and_then(|hook| hook.revoke(conn, self.revocation.subject(), now));
        self.failed = revoked.as_ref().err().map(Error::kind);
        revoked.inspect_err(|error| match error.kind() {
            // What it belongs to is not stored.
            Kind::NotFound => tracing::debug!(%error, revocation = %self.revocation, "a revocation has no object"),
            _ => tracing::error!(%error, revocation = %self.revocation, "a revocation is not stored"),
        })
    }
}
