//! After a failure of storage: stores what was revoked, retries what waits, and makes room on a full disk.

use std::path::Path;

use super::EngineActor;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::engine::problems::RESCUE_REFUSED;
use crate::engine::request::{RescueReport, RescueRequest};
use crate::engine::state::round::Round;
use crate::store::{RescueError, Rescued, WriteError, WriteResult};

/// Ticks between two looks at what the paths of the files name.
const FILE_CHECK_TICKS: u32 = 5;
/// Documents that go in one transaction when room is needed. Few, so that no more go than must.
const ROOM_DOCUMENTS: usize = 4;
/// Documents that go in one outage at the most: when so many do not help, it is not their room that is needed.
const ROOM_DOCUMENTS_MAX: usize = 32;

impl EngineActor {
    pub(super) fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        self.quiet_ticks = self.quiet_ticks.saturating_add(1);
        self.finish_rescue();
        // What is being copied is not to change.
        if self.state.backlog.is_due() && self.rescue.is_none() {
            self.retry();
        }
        self.file_check_ticks = self.file_check_ticks.saturating_add(1);
        if self.file_check_ticks >= FILE_CHECK_TICKS {
            self.check_files();
        }
    }

    /// Looks whether the paths still name the files that are open: also while nobody changes anything.
    pub(super) fn check_files(&mut self) {
        self.file_check_ticks = 0;
        if !self.state.backlog.is_failing()
            && let Err(fault) = self.disk.check_files()
        {
            self.disk.degrade(&mut self.state, &fault);
        }
        self.keep_files_beside();
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

    /// Begins to write everything to another file, which is answered when it is written.
    pub(super) fn rescue(&mut self, request: RescueRequest) {
        match self.begin_rescue(&request.to) {
            Ok(()) => {
                self.rescue = Some(request);
                self.finish_rescue();
            }
            // Whoever asked may have gone.
            Err(refusal) => drop(request.reply.send(Err(refusal))),
        }
    }

    fn begin_rescue(&mut self, to: &Path) -> Result<()> {
        self.check_files();
        if !self.state.backlog.is_failing() {
            return Err(RESCUE_REFUSED.error("storage works: nothing is to be rescued"));
        }
        if self.rescue.is_some() {
            return Err(RESCUE_REFUSED.error("everything is being written to another file now"));
        }
        self.disk.begin_rescue(to).map_err(|error| rescue_refused(to, error))
    }

    /// Goes on with the other file if it is written, and answers.
    pub(super) fn finish_rescue(&mut self) {
        let Some(RescueRequest { to, reply }) = self.rescue.take() else { return };
        let Some(outcome) = self.disk.finish_rescue(&mut self.state, &to) else {
            self.rescue = Some(RescueRequest { to, reply });
            return;
        };
        let report = outcome.map_err(|error| rescue_refused(&to, error)).map(|rescued| {
            let from_memory = match rescued {
                Rescued::Everything(_) => None,
                Rescued::Nothing => Some(self.record_documents_anew()),
            };
            self.retry();
            RescueReport { durable: self.disk.durable(), waiting: self.state.backlog.unstored(), from_memory }
        });
        let _ = reply.send(report);
    }

    /// The database is a new one without documents: those that are in memory are to be stored there, and what waits
    /// goes with them. Returns how many they are.
    fn record_documents_anew(&mut self) -> usize {
        let (before, mut round) = (self.state.log_end.head.0, Round::default());
        let documents = self.decider(&mut round).record_documents_anew();
        self.state.backlog.push(round.entries.clone(), Vec::new());
        self.publish(&round);
        self.hub.drop_stored(before);
        tracing::warn!(documents, "{documents} documents are rescued from memory; what only the database had is lost");
        documents
    }

    fn reopen_and_append(&mut self) -> WriteResult {
        // Where another process only kept a transaction from beginning, nothing is in doubt.
        if self.disk.is_distrusted() {
            self.disk.reopen(&mut self.state)?;
        }
        // The database may have been written anew, in a folder that has nothing else yet.
        self.keep_files_beside();
        self.append_backlog()
    }

    fn append_backlog(&mut self) -> WriteResult {
        self.store_revocations()?;
        let removals = self.disk.append_backlog(&mut self.state)?;
        removals.iter().for_each(|removal| self.hub.drop_stored(removal.through));
        // Those of documents that were not stored before.
        self.store_revocations()
    }

    /// The disk is full: purges documents that hooks let go, in one transaction with what waits. What is decided here
    /// is added to `round`. Error: why what waits is still not stored.
    pub(super) fn make_room(&mut self, fault: WriteError, round: &mut Round) -> WriteResult {
        let mut fault = fault;
        // What has gone in this outage already counts: if that does not help, more will not either.
        while fault.full && fault.lost.is_none() && self.state.removals_for_room() < ROOM_DOCUMENTS_MAX {
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
        self.state.add_pending_removal(removal);
        self.state.backlog.push(round.entries.iter().skip(first).cloned().collect(), Vec::new());
        Ok(())
    }
}

fn rescue_refused(to: &Path, error: RescueError) -> Error {
    match error {
        RescueError::Refused(why) => RESCUE_REFUSED.error(why),
        RescueError::Failed(fault) => {
            let kind = if fault.full { Kind::StorageFull } else { Kind::StorageUnavailable };
            Error::new(kind, format!("{} cannot be written: {fault}", to.display()))
        }
    }
}
