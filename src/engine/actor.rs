//! The engine's thread: takes all that waits, decides, commits, publishes, replies; and between two rounds evicts,
//! takes snapshots and maintains the file.

mod maintain;
mod recover;
mod repair;
mod revoke;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::EngineOptions;
use super::decide::Decider;
use super::disk::Disk;
use super::health::Health;
use super::hooks::RemovedDocument;
use super::refusal::not_stored;
use super::request::{
    Barrier, CommandQueue, Durability, EngineCommand, Relocation, RelocationStep, ReplyTo, RescueRequest,
};
use super::revocations::{PendingDocumentRevocations, PendingRevocations};
use super::state::EngineState;
use super::state::backlog::batch_of;
use super::state::maintenance::{FailedMaintenance, Removal};
use super::state::relocations::Relocations;
use super::state::round::{RelocationReply, Round};
use crate::base::error::Error;
use crate::base::limits;
use crate::live::hub::Hub;
use crate::store::{MaintenanceReport, Reader, RevocationJournal, Rows, WriteError, Writer};

/// How often the engine is told that time passes.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Most documents that are named when their changes are lost.
const LOST_DOCUMENTS_TOLD: usize = 20;

/// Most ticks that are made up for at once.
const TICKS_AT_ONCE_MAX: u32 = 1000;

/// The engine: the only one that decides, and the only one that writes. Runs on a thread of its own, which blocks on
/// the queue and on the disk.
pub struct EngineActor {
    options: EngineOptions,
    state: EngineState,
    disk: Disk,
    /// Where it publishes.
    hub: Arc<Hub>,
    /// What is revoked and not stored; shared with the handles once the queue is known.
    revocations: Arc<PendingRevocations>,
    /// Changes of documents that take something away and are not stored.
    document_revocations: PendingDocumentRevocations,
    /// Who waits for everything to be written to another file.
    rescue: Option<RescueRequest>,
    journal: RevocationJournal,
    /// Lines of the journal from the last run, until it runs.
    journaled: Vec<String>,
    /// Ticks since the last sweep for idle documents.
    ticks: u32,
    /// Ticks since the last sweep for quiet documents.
    quiet_ticks: u32,
    /// Ticks since it was last looked whether the files' paths name them.
    file_check_ticks: u32,
    file_maintenance: FileMaintenance,
}

/// Who waits for the file to be maintained. Few: each is a run of a job.
#[derive(Debug, Default)]
struct FileMaintenance {
    replies: Vec<ReplyTo<MaintenanceReport>>,
    /// Rounds since the first asked.
    rounds: u32,
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Changes that were told as not durable and never became so, and those of which a path names no file any more.
    pub lost: usize,
    /// What was taken away and is not in the database: the journal has it for the next start.
    pub journaled: usize,
}

impl Ending {
    /// Everything is on disk.
    pub const CLEAN: Self = Self { lost: 0, journaled: 0 };
}

impl EngineActor {
    /// An engine at the end of the writer's log.
    pub fn new(options: EngineOptions, writer: Writer, reader: Reader, hub: Arc<Hub>, health: Arc<Health>) -> Self {
        let (journal, journaled) = writer.revocation_journal();
        let mut disk = Disk::new(&options, writer, reader, health);
        let mut state = EngineState::new(disk.log_end(), Relocations::default());
        disk.report_open_fault(&mut state);
        let (ticks, quiet_ticks, file_check_ticks) = (0, 0, 0);
        let (revocations, file_maintenance) = (Arc::default(), FileMaintenance::default());
        Self {
            options,
            state,
            disk,
            hub,
            revocations,
            document_revocations: PendingDocumentRevocations::default(),
            rescue: None,
            journal,
            journaled,
            ticks,
            quiet_ticks,
            file_check_ticks,
            file_maintenance,
        }
    }

    /// Reads the documents that were frozen, expected or moved as a feature has stored them. To be called before it
    /// runs. Error: that of the feature.
    pub fn restore_relocations(mut self) -> Result<Self, Error> {
        let Some(store) = &self.options.relocations else { return Ok(self) };
        self.state.relocations = self.disk.stored_relocations(&**store)?;
        for relocation in self.state.relocations.iter() {
            if let Relocation::Moved(moved) | Relocation::Expected { left: Some(moved), .. } = relocation {
                self.hub.document_left(Arc::clone(moved));
            }
        }
        Ok(self)
    }

    /// Serves commands until told to stop, or until nobody is left who could send one.
    pub fn run(mut self, queue: CommandQueue) -> Ending {
        let documents = queue.restore_revocations(std::mem::take(&mut self.journaled));
        let CommandQueue { mut commands, ticks, revocations } = queue;
        self.revocations = revocations;
        self.restore_revocations(documents);
        self.load_unsettled();
        while let Some(first) = commands.blocking_recv() {
            self.hub.set_now(self.options.clock.now());
            (0..ticks.swap(0, Ordering::Relaxed).min(TICKS_AT_ONCE_MAX)).for_each(|_| self.tick());
            if self.run_round(first, &mut commands) {
                break;
            }
            self.maintain();
            self.maintain_file_when_quiet(commands.is_empty());
        }
        commands.close();
        while let Ok(command) = commands.try_recv() {
            self.run_round(command, &mut commands);
        }
        self.finish()
    }

    fn decider<'a>(&'a mut self, round: &'a mut Round) -> Decider<'a> {
        Decider { options: &self.options, hub: &self.hub, disk: &self.disk, state: &mut self.state, round }
    }

    /// Takes all that waits, within the bounds of a round; decides, stores and publishes it. True: told to stop.
    fn run_round(&mut self, first: EngineCommand, commands: &mut Receiver<EngineCommand>) -> bool {
        let started = Instant::now();
        let (mut round, mut stop, mut next) = (Round::default(), false, Some(first));
        let mut count = 0;
        while let Some(command) = next.take() {
            count += 1;
            stop |= matches!(command, EngineCommand::Stop);
            self.decide(command, &mut round);
            if !stop
                && !round.maintenance.ends_round()
                && round.repairs.is_empty()
                && round.rescues.is_empty()
                && count < limits::BATCH_COMMANDS_MAX
                && round.bytes < limits::BATCH_BYTES_MAX
            {
                next = commands.try_recv().ok();
            }
        }
        let (repairs, rescues) = (std::mem::take(&mut round.repairs), std::mem::take(&mut round.rescues));
        self.complete_round(round, started.elapsed());
        repairs.into_iter().for_each(|request| self.repair(request));
        rescues.into_iter().for_each(|request| self.rescue(request));
        stop
    }

    fn decide(&mut self, command: EngineCommand, round: &mut Round) {
        match command {
            EngineCommand::Write { write, sent, reply } => self.decider(round).write(write, sent, reply),
            EngineCommand::Rows { request, document } => match document.map(|name| self.state.relocations.check(&name))
            {
                Some(Err(refusal)) => request.refuse(refusal),
                _ => round.rows_requests.push(request),
            },
            EngineCommand::Revoke { request, document } => {
                match document.map(|name| self.state.relocations.check(&name)) {
                    Some(Err(refusal)) => drop(request.reply.send(Err(refusal))),
                    _ => self.add_revocations(request, round),
                }
            }
            EngineCommand::Snapshot { name, overwrite, reply } => {
                self.decider(round).request_snapshot(name, overwrite, reply);
            }
            EngineCommand::Purge { purge, reply } => self.decider(round).purge(purge, reply),
            EngineCommand::Compact { name, expected, reply } => self.decider(round).compact(&name, expected, reply),
            EngineCommand::Import { document, sent, reply } => self.decider(round).import(*document, sent, reply),
            EngineCommand::Relocate { name, step, reply } => {
                // What goes to another server is read from the disk.
                let answer = match step == RelocationStep::Freeze && self.pending_revocations() > 0 {
                    true => Err(not_stored()),
                    false => self.decider(round).relocate(&name, step),
                };
                round.relocation_replies.push(RelocationReply { to: reply, answer });
            }
            EngineCommand::MaintainFile(reply) => self.file_maintenance.replies.push(reply),
            EngineCommand::Repair(request) => round.repairs.push(request),
            EngineCommand::Rescue(request) => round.rescues.push(request),
            EngineCommand::Barrier(reply) => round.barriers.push(reply),
            EngineCommand::FindMoving { collection, reply } => {
                // Whoever asked may have gone.
                let _ = reply.send(Ok(self.state.relocations.moving_in(&collection)));
            }
            EngineCommand::Prefetch(_) if self.state.documents.is_over(&self.options.hot) => {}
            EngineCommand::Prefetch(name) => {
                if let Err(error) = self.decider(round).load(&name) {
                    tracing::debug!(document = %name, %error, "could not take {name} into memory");
                }
            }
            // Ticks are counted beside the queue; that it is to stop is noted by the loop.
            EngineCommand::Tick | EngineCommand::Stop => {}
        }
    }

    /// Stores and publishes what was decided, and answers. In this order: nobody is told of what can vanish.
    fn complete_round(&mut self, mut round: Round, apply: Duration) {
        let started = Instant::now();
        let durability = self.store(&mut round);
        let commit = started.elapsed();
        self.publish(&round);
        round.maintenance.removals.iter().for_each(|removal| self.hub.drop_stored(removal.through));
        round.maintenance.reply(&mut self.state.documents, self.options.clock.now());
        if !round.barriers.is_empty() {
            let barrier = Barrier { foreign_commits: self.disk.foreign_commits() };
            for to in round.barriers.drain(..) {
                // Whoever asked may have gone.
                let _ = to.send(barrier);
            }
        }
        round.reply(durability, apply, commit);
    }

    /// Brings a round to disk, or into the backlog when that fails.
    fn store(&mut self, round: &mut Round) -> Durability {
        let no_rows = round.rows_requests.is_empty() && round.revocations.is_empty();
        if round.entries.is_empty() && no_rows && round.maintenance.is_empty() {
            return Durability::Durable;
        }
        let answers = std::mem::take(&mut round.volatile_answers);
        let trusted = self.options.removes_by_time();
        self.state.kept_answers.keep(answers, trusted.then(|| self.options.clock.now()));
        if self.state.backlog.is_failing() {
            self.push_to_backlog(round);
            self.disk.report_backlog(&self.state);
            return Durability::Pending;
        }
        let mut batch = batch_of(&round.entries);
        batch.snapshots = self.decider(round).snapshots();
        round.maintenance.add_to(&mut batch);
        let end = self.state.log_end.head.0;
        if batch.is_empty() && no_rows && round.maintenance.compactions.is_empty() {
            // All volatile: what is on disk already is all that ever will be, up to the end.
            self.disk.durable_to(&mut self.state, end);
            return Durability::Durable;
        }
        let mut revoked = self.revocation_rows(round);
        let committed = {
            let requests = round.rows_requests.iter_mut().map(|request| &mut **request as &mut dyn Rows);
            let revoked = revoked.iter_mut().map(|rows| rows as &mut dyn Rows);
            self.disk.commit(&mut self.state, &batch, &mut revoked.chain(requests).chain(round.maintenance.rows()))
        };
        match committed {
            Ok(()) => {
                self.hold_unwritten(&revoked);
                self.disk.durable_to(&mut self.state, end);
                Durability::Durable
            }
            Err(fault) => self.store_later(round, fault),
        }
    }

    /// A round's transaction failed: its changes wait, if room cannot be made for them at once. What else was in it is
    /// given up.
    fn store_later(&mut self, round: &mut Round, fault: WriteError) -> Durability {
        self.push_to_backlog(round);
        let durability = match self.make_room(fault, round) {
            Ok(()) => {
                self.disk.count_failure();
                Durability::Durable
            }
            Err(fault) => {
                self.disk.degrade(&mut self.state, &fault);
                Durability::Pending
            }
        };
        // After the failure is reported: a caller that is refused and then asks must not be told that storage is well.
        round.rows_requests.drain(..).for_each(|request| request.finish(false));
        durability
    }

    fn push_to_backlog(&mut self, round: &mut Round) {
        let FailedMaintenance { repairs, removals } = round.maintenance.fail();
        self.state.pending_repairs.extend(repairs);
        self.keep_revocations(round, &removals);
        for removal in removals.into_iter().filter(Removal::adds_event) {
            self.state.add_pending_removal(removal);
        }
        self.state.backlog.push(round.entries.clone(), round.pending_answers());
    }

    /// Makes a stored round visible.
    fn publish(&self, round: &Round) {
        if round.entries.is_empty() {
            return;
        }
        let documents = round.changed.iter().filter_map(|name| self.state.documents.get(name));
        let documents = documents.map(|cached| Arc::clone(&cached.document));
        let events: Vec<_> = round.entries.iter().map(|entry| Arc::clone(&entry.event)).collect();
        for entry in round.entries.iter().filter(|entry| entry.recreates) {
            self.options.hooks.iter().for_each(|hook| hook.before_recreation_published(entry.event.meta.key));
        }
        let rows = round.entries.iter().flat_map(|entry| &entry.hook_rows);
        let messages = rows.flat_map(|added| added.rows.messages.iter().cloned());
        self.hub.publish(documents, &events, messages, self.disk.durable());
        for event in events.iter().filter(|event| event.deletes) {
            let removed = RemovedDocument(&event.meta);
            self.options.hooks.iter().for_each(|hook| hook.removal_published(removed));
        }
    }

    /// The end: a last attempt for what waits, snapshots so that the next start reads little, a clean file.
    fn finish(mut self) -> Ending {
        let documents = self.state.documents.documents();
        let volatile = documents.filter(|cached| cached.document.meta.volatile && !cached.document.is_deleted());
        let documents = volatile.count();
        if documents > 0 {
            tracing::warn!(documents, "stopping: {documents} documents that lived in memory only are gone");
        }
        self.disk.wait_for_copies();
        self.finish_rescue();
        self.check_files();
        if self.state.backlog.is_failing() {
            self.retry();
        }
        if self.state.backlog.is_failing() {
            return self.finish_failing();
        }
        if self.snapshot_all() {
            self.disk.close();
        }
        Ending::CLEAN
    }

    /// Storage fails to the end: says what is lost by that.
    fn finish_failing(mut self) -> Ending {
        let (mut lost, mut journaled) = (self.state.backlog.unstored(), self.pending_revocations());
        if self.journal.has_all() {
            lost = lost.saturating_sub(self.document_revocations.len());
        } else {
            (lost, journaled) = (lost.saturating_add(self.revocations.len()), 0);
        }
        if journaled > 0 {
            let kept = "what was revoked is stored at the next start";
            tracing::warn!(journaled, "stopping while storage fails: {kept}");
        }
        lost = lost.saturating_add(usize::try_from(self.disk.unnamed_events()).unwrap_or(usize::MAX));
        if lost > 0 {
            let documents = self.state.backlog.unstored_documents(LOST_DOCUMENTS_TOLD);
            tracing::error!(
                lost,
                documents,
                "stopping while storage fails: {lost} changes that were not on disk are lost"
            );
        }
        Ending { lost, journaled }
    }
}
