//! The loop: decide, commit, publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::Options;
use super::backlog::{Backlog, batch_of};
use super::batch::{End, Round};
use super::command::{Command, Commands, Durability};
use super::health::{Health, Storage};
use super::persist::{Going, Removed};
use super::standing::Standings;
use super::tidy::Tidying;
use super::volatile::Answers;
use super::working::{Slot, Working};
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits;
use crate::document::model::Document;
use crate::live::hub::Hub;
use crate::store::{Batch, CommitTimes, DocumentRepair, LogHead, Reader, Rows, Snapshot, WriteError, Writer};

/// Ticks between two looks for idle documents.
const IDLE_SWEEP_TICKS: u32 = 100;
/// Ticks between two looks for documents to drop while storage fails and there are too many: those that may not go are
/// looked at each time.
const FAILING_SWEEP_TICKS: u32 = 10;
/// Most ticks that are made up for at once.
const TICKS_AT_ONCE_MAX: u32 = 1000;
/// Most snapshots in one transaction at eviction and at the end.
pub(super) const SNAPSHOTS_PER_BATCH: usize = 1000;

/// The engine: everything that only its thread may touch.
pub struct Thread {
    /// What it was told at start.
    pub options: Options,
    /// The one writer of the file.
    pub writer: Writer,
    /// For reading past states.
    pub reader: Reader,
    /// Where it publishes.
    pub hub: Arc<Hub>,
    /// What it tells about itself.
    pub health: Arc<Health>,
    /// The documents it works on.
    pub working: Working,
    /// What waits for the disk.
    pub backlog: Backlog,
    /// The documents that take no changes.
    pub standings: Standings,
    /// Where the log ends, undurable events included.
    pub end: End,
    /// What was answered to writes that are not for the disk.
    pub answers: Answers,
    /// Everything up to here that is not volatile is on disk. Not before `stored`.
    durable: Seq,
    /// The last event that is known to be on disk. After a failure the writer's head is what it finds there, which is
    /// not believed before it was compared.
    stored: LogHead,
    /// Documents that are gone in memory, to make room, and not yet on disk.
    pub room: Vec<Going>,
    /// What is to be done when nothing waits.
    pub tidy: Tidying,
    /// Documents whose rows are written anew with what waits.
    pub mends: Vec<DocumentRepair>,
    ticks: u32,
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Changes that were told as not durable and never became so.
    pub lost: usize,
}

impl Thread {
    /// An engine at the end of the writer's log.
    pub fn new(options: Options, writer: Writer, reader: Reader, hub: Arc<Hub>, health: Arc<Health>) -> Self {
        let head = writer.head();
        let end = End { head: (head.seq, head.hash), next_key: writer.next_key() };
        let (working, backlog, answers) = (Working::default(), Backlog::default(), Answers::default());
        let (standings, room, mends) = (Standings::default(), Vec::new(), Vec::new());
        Self {
            options,
            writer,
            reader,
            hub,
            health,
            working,
            backlog,
            standings,
            end,
            answers,
            durable: head.seq,
            stored: head,
            room,
            tidy: Tidying::default(),
            mends,
            ticks: 0,
        }
    }

    /// Serves commands until told to stop, or until nobody is left who could send one.
    pub fn run(mut self, commands: Commands) -> Ending {
        let Commands { mut queue, ticks } = commands;
        while let Some(first) = queue.blocking_recv() {
            self.hub.set_now(self.options.clock.now());
            (0..ticks.swap(0, Ordering::Relaxed).min(TICKS_AT_ONCE_MAX)).for_each(|_| self.tick());
            if self.round(first, &mut queue) {
                break;
            }
            self.maintain();
            self.tidy_when_quiet(queue.is_empty());
        }
        queue.close();
        while let Ok(command) = queue.try_recv() {
            self.round(command, &mut queue);
        }
        self.finish()
    }

    /// Takes all that waits, within the bounds of a batch; decides, stores and publishes it. True: told to stop.
    fn round(&mut self, first: Command, commands: &mut Receiver<Command>) -> bool {
        let started = Instant::now();
        let (mut round, mut stop, mut next) = (Round::default(), false, Some(first));
        let mut count = 0;
        while let Some(command) = next.take() {
            count += 1;
            match command {
                Command::Write { write, sent, reply } => self.take(write, sent, reply, &mut round),
                Command::Rows { task, about } => match about.map(|name| self.standings.check(&name)) {
                    Some(Err(refusal)) => task.refuse(refusal),
                    _ => round.tasks.push(task),
                },
                Command::Snapshot { name, overwrite, reply } => self.take_snapshot(name, overwrite, reply, &mut round),
                Command::Purge { name, viewer, expected, reply } => {
                    self.take_purge((&name, expected), &viewer, reply, &mut round);
                }
                Command::Compact { name, expected, reply } => {
                    self.take_compaction((&name, expected), reply, &mut round);
                }
                Command::Import { coming, sent, reply } => self.take_in(*coming, sent, reply, &mut round),
                Command::Stand { name, turn, reply } => {
                    let stood = self.stand(&name, turn);
                    round.notes.push((reply, stood));
                }
                Command::Tidy(reply) => self.tidy.ask(reply),
                Command::Mend(order) => round.orders.push(order),
                Command::Look(reply) => round.looks.push(reply),
                Command::Warm(_) if self.working.over(&self.options) => {}
                Command::Warm(name) => {
                    if let Err(error) = self.load(&name) {
                        tracing::debug!(document = %name, %error, "could not take {name} into memory");
                    }
                }
                // Ticks are counted beside the queue.
                Command::Tick => {}
                Command::Stop => stop = true,
            }
            if !stop
                && !round.extras.ends_round()
                && round.orders.is_empty()
                && count < limits::BATCH_COMMANDS_MAX
                && round.bytes < limits::BATCH_BYTES_MAX
            {
                next = commands.try_recv().ok();
            }
        }
        let orders = std::mem::take(&mut round.orders);
        self.settle(round, started.elapsed());
        orders.into_iter().for_each(|order| self.carry_out(order));
        stop
    }

    /// Stores and publishes what was decided, and answers.
    pub fn settle(&mut self, mut round: Round, apply: Duration) {
        let started = Instant::now();
        let durability = self.store(&mut round);
        let commit = started.elapsed();
        self.publish(&round);
        self.publish_purges(&round);
        self.reply_extras(&mut round);
        self.tell_looks(&mut round);
        round.reply(durability, apply, commit);
    }

    /// Brings a round to disk, or into the backlog when that fails.
    fn store(&mut self, round: &mut Round) -> Durability {
        if round.entries.is_empty() && round.tasks.is_empty() && round.extras.is_empty() {
            return Durability::Durable;
        }
        let now = self.options.clock.now();
        self.answers.remember(std::mem::take(&mut round.answers), now);
        if !self.backlog.is_failing() {
            let mut batch = batch_of(&round.entries);
            batch.snapshots = self.snapshots_of(round);
            round.extras.join(&mut batch);
            if batch.is_empty() && round.tasks.is_empty() && round.extras.compactions.is_empty() {
                // All volatile: what is on disk already is all that ever will be, up to the end.
                self.durable_to(self.end.head.0);
                return Durability::Durable;
            }
            let committed = {
                let tasks = round.tasks.iter_mut().map(|task| &mut **task as &mut dyn Rows);
                self.commit(&batch, &mut tasks.chain(round.extras.rows()))
            };
            return match committed {
                Ok(()) => {
                    self.durable_to(self.end.head.0);
                    Durability::Durable
                }
                Err(fault) => self.hold(round, fault),
            };
        }
        self.mends.extend(round.extras.fail());
        self.backlog.push(round.entries.clone(), round.pending_answers());
        self.note_backlog();
        Durability::Pending
    }

    /// A round's transaction failed: its changes wait, if room cannot be made for them at once. What else was in it is
    /// given up.
    fn hold(&mut self, round: &mut Round, fault: WriteError) -> Durability {
        self.mends.extend(round.extras.fail());
        round.tasks.drain(..).for_each(|task| task.finish(false));
        self.backlog.push(round.entries.clone(), round.pending_answers());
        match self.make_room(fault, round) {
            Ok(()) => {
                self.health.update(|report| report.failures += 1);
                Durability::Durable
            }
            Err(fault) => {
                self.degrade(&fault);
                Durability::Pending
            }
        }
    }

    /// Stores a batch and notes it.
    pub fn commit(&mut self, batch: &Batch, rows: &mut dyn Iterator<Item = &mut dyn Rows>) -> Result<(), WriteError> {
        // Before all others: what they write belongs to what may come after.
        let deleted = batch.events.iter().filter(|event| event.deletes);
        let mut removed: Vec<Removed> = deleted.flat_map(|event| self.removed(event.meta.key)).collect();
        let removed = removed.iter_mut().map(|removed| removed as &mut dyn Rows);
        let rows = rows.map(|rows| rows as &mut dyn Rows);
        let times = self.writer.commit_with(batch, &mut removed.chain(rows), self.options.clock.now())?;
        self.note_commit(batch, times);
        Ok(())
    }

    /// Makes a stored round visible.
    fn publish(&self, round: &Round) {
        if round.entries.is_empty() {
            return;
        }
        let documents = round.changed.iter().filter_map(|name| self.working.get(name));
        let documents = documents.map(|slot| Arc::clone(&slot.document));
        let events: Vec<_> = round.entries.iter().map(|entry| Arc::clone(&entry.event)).collect();
        self.hub.publish(documents, &events, self.durable);
        for event in events.iter().filter(|event| event.deletes) {
            self.options.hooks.iter().for_each(|hook| hook.removal_published(&event.meta));
        }
    }

    fn note_commit(&mut self, batch: &Batch, times: CommitTimes) {
        self.note_stored();
        let now = self.options.clock.now();
        for snapshot in &batch.snapshots {
            self.working.snapshot_taken(&snapshot.document.meta.name, now);
        }
        self.health.update(|report| {
            report.commits += 1;
            report.commit_times.add(times.write + times.sync);
            report.last_commit = Some(now);
        });
    }

    fn note_stored(&mut self) {
        self.stored = self.writer.head();
        self.durable_to(self.stored.seq);
    }

    /// What is to be stored up to `seq` is on disk.
    pub fn durable_to(&mut self, seq: Seq) {
        self.durable = self.durable.max(seq);
        self.backlog.drop_durable(seq);
    }

    /// Storage failed. Said when it begins, and when the reason becomes another; each later failure only moves the next
    /// attempt further away.
    pub fn degrade(&mut self, fault: &WriteError) {
        self.backlog.fail(fault.full);
        let (now, reason) = (self.options.clock.now(), fault.to_string());
        let mut news = true;
        self.health.update(|report| {
            report.failures += 1;
            let since = match &report.storage {
                Storage::Degraded { since, reason: before, .. } => {
                    news = *before != reason;
                    *since
                }
                Storage::Well => now,
            };
            report.storage = Storage::Degraded { reason, full: fault.full, since };
        });
        if news {
            tracing::error!(%fault, "storage fails; changes are kept in memory until it returns");
        } else {
            tracing::debug!(%fault, "storage still fails");
        }
        self.note_backlog();
    }

    fn note_backlog(&self) {
        let (events, bytes) = (self.backlog.events(), self.backlog.bytes());
        let past_bound = self.backlog.is_past_bound(&self.options.backlog);
        self.health.update(|report| {
            (report.backlog_events, report.backlog_bytes, report.past_bound) = (events, bytes, past_bound);
        });
    }

    fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if self.backlog.is_due() {
            self.retry();
        }
    }

    /// Tries to get the backlog to disk.
    pub(super) fn retry(&mut self) {
        let before = self.hub.gate().durable();
        self.health.update(|report| report.retries += 1);
        let mut room = Round::default();
        let outcome = self.drain_backlog().or_else(|fault| self.make_room(fault, &mut room));
        self.publish(&room);
        if self.durable > before {
            self.hub.recovered(self.durable);
        }
        match outcome {
            Ok(()) => {
                tracing::info!("storage works again; everything is on disk");
                self.backlog.recover();
                self.health.update(|report| report.storage = Storage::Well);
            }
            Err(fault) => self.degrade(&fault),
        }
        self.note_backlog();
    }

    /// Reopens the file and stores what waits.
    fn drain_backlog(&mut self) -> Result<(), WriteError> {
        self.reopen()?;
        self.append_backlog()
    }

    /// Distrusts the connection: opens another and recognises what is durable.
    pub fn reopen(&mut self) -> Result<(), WriteError> {
        let found = self.writer.reopen()?;
        // Either the commit that failed is not there, or it is, and then the log ends with an event that waits here.
        // Anything else was written, or taken away, by somebody else: to append to it would break histories.
        if found != self.stored && self.backlog.hash(found.seq) != Some(found.hash) {
            let (stored, found) = (self.stored.seq, found.seq);
            return Err(WriteError::other(format!(
                "the log was stored up to event {stored}; on disk it ends otherwise at {found}"
            )));
        }
        self.note_stored();
        Ok(())
    }

    /// Stores what waits, in order.
    pub fn append_backlog(&mut self) -> Result<(), WriteError> {
        if !self.room.is_empty() || !self.mends.is_empty() {
            return self.append_with_room();
        }
        while let Some((batch, last)) = self.backlog.next_batch() {
            if !batch.is_empty() {
                self.commit(&batch, &mut std::iter::empty())?;
            }
            // What comes after the last stored event of the batch is volatile.
            self.durable_to(last);
        }
        Ok(())
    }

    /// What is done between two rounds, after everybody has been answered.
    fn maintain(&mut self) {
        let failing = self.backlog.is_failing();
        if !failing {
            self.writer.checkpoint_if_due();
        }
        let over = self.working.over(&self.options) && (!failing || self.ticks >= FAILING_SWEEP_TICKS);
        if over || self.ticks >= IDLE_SWEEP_TICKS {
            self.ticks = 0;
            if !failing {
                if self.hub.has_volatile() {
                    self.expire_volatile();
                }
                self.snapshot_aged();
            }
            self.evict(over);
        }
    }

    /// Drops documents from memory: the idle ones, and when there are too many the least recently used. While storage
    /// fails, those of which a change is not on disk stay, and the others go without a snapshot. Volatile ones stay.
    fn evict(&mut self, over: bool) {
        let idle_before = self.options.clock.now().minus(self.options.hot.idle);
        let mut uses = self.hub.uses();
        uses.retain(|(name, _)| self.working.get(name).is_none_or(|slot| !slot.document.meta.volatile));
        let failing = self.backlog.is_failing();
        if failing {
            let stored = |slot: &Slot| slot.document.seq <= self.stored.seq;
            uses.retain(|(name, _)| self.working.get(name).is_some_and(stored));
        }
        uses.sort_by_key(|(_, used)| *used);
        let surplus = if over { self.working.surplus(&self.options) } else { 0 };
        let names: Vec<DocumentName> = uses
            .into_iter()
            .enumerate()
            .take_while(|(index, (_, used))| *index < surplus || *used < idle_before)
            .map(|(_, (name, _))| name)
            .collect();
        for names in names.chunks(SNAPSHOTS_PER_BATCH) {
            let slots = names.iter().filter_map(|name| self.working.get(name)).filter(|slot| slot.since.events > 1);
            let documents = slots.map(|slot| Arc::clone(&slot.document)).collect();
            if !failing && !self.take_snapshots(documents) {
                return;
            }
            names.iter().for_each(|name| self.working.remove(name));
            self.hub.evict(names);
        }
    }

    /// Stores snapshots in a transaction of their own. False: storage failed.
    pub fn take_snapshots(&mut self, documents: Vec<Arc<Document>>) -> bool {
        if documents.is_empty() {
            return true;
        }
        // What is on its way is read from its beginning on meanwhile.
        let stays = |name: &DocumentName| self.standings.check(name).is_ok();
        let snapshot = |document: Arc<Document>| Snapshot { trim: stays(&document.meta.name), document };
        let snapshots = documents.into_iter().map(snapshot).collect();
        let batch = Batch { snapshots, ..Batch::default() };
        match self.commit(&batch, &mut std::iter::empty()) {
            Ok(()) => true,
            Err(fault) => {
                self.degrade(&fault);
                false
            }
        }
    }

    /// The end: a last attempt for what waits, snapshots so that the next start reads little, a clean file.
    fn finish(mut self) -> Ending {
        let volatile = |slot: &&Slot| slot.document.meta.volatile && !slot.document.is_deleted();
        let documents = self.working.slots().filter(volatile).count();
        if documents > 0 {
            tracing::warn!(documents, "stopping: {documents} documents that lived in memory only are gone");
        }
        if self.backlog.is_failing() {
            self.retry();
        }
        if self.backlog.is_failing() {
            let events = self.backlog.unstored();
            tracing::error!(events, "stopping while storage fails: {events} changes that were not on disk are lost");
            return Ending { lost: events };
        }
        let documents: Vec<_> = self
            .working
            .slots()
            .filter(|slot| slot.since.events > 1 && !slot.document.meta.volatile)
            .map(|slot| Arc::clone(&slot.document))
            .collect();
        for documents in documents.chunks(SNAPSHOTS_PER_BATCH) {
            if !self.take_snapshots(documents.to_vec()) {
                return Ending { lost: 0 };
            }
        }
        self.writer.close();
        Ending { lost: 0 }
    }
}

/// How often the engine is told that time passes.
pub(crate) const TICK: Duration = Duration::from_millis(100);
