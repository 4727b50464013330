//! The only owner of the writer: reading what is stored, making a round durable, and finding back after a failure. This
//! is the seam at which another log than the local file can be put.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::clock_trust::ClockTrust;
use crate::base::error::{Kind, Result};
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::store::{
    Batch, Blocked, CommitTimes, Connection, DocumentHead, DocumentRepair, IdempotencyRow, LogHead, MaintenanceReport,
    ProvenHistory, RawDocument, Reader, RescueError, Rescued, RevocationJournal, Rows, WriteError, WriteResult, Writer,
};

use super::health::{Health, StorageHealth};
use super::hooks::RelocationStore;
use super::policy::SnapshotPolicy;
use super::state::document_cache::{CachedDocument, SinceSnapshot};
use super::state::kept_answers::ScopedKey;
use super::state::maintenance::{Removal, removal_rows};
use super::state::relocations::Relocations;
use super::state::{EngineState, LogEnd};
use super::time_travel::StoredVersions;
use super::{BacklogBounds, EngineOptions, Hooks};

/// How long a stop waits for a copy of the file: the stop has a deadline of its own.
const COPY_WAIT_AT_END: Duration = Duration::from_secs(600);

/// See the module. Reads go by the writer's own connection, since the pool may be busy with a thousand resuming
/// streams; by the pool when the writer has lost its connection.
pub(crate) struct Disk {
    writer: Writer,
    reader: Reader,
    clock: Arc<dyn Clock>,
    clock_trust: Option<Arc<ClockTrust>>,
    hooks: Hooks,
    backlog_bounds: BacklogBounds,
    health: Arc<Health>,
    /// Everything up to here that is not volatile is on disk. Not before `stored`.
    durable: Seq,
    /// The last event that is known to be on disk. After a failure the writer's head is what it finds there, which is
    /// not believed before it was compared.
    stored: LogHead,
}

impl Disk {
    pub(crate) fn new(options: &EngineOptions, writer: Writer, reader: Reader, health: Arc<Health>) -> Self {
        let stored = writer.head();
        let (loss, unproven) = (writer.loss().map(str::to_owned), writer.unproven().map(str::to_owned));
        health.update(|report| {
            loss.iter().for_each(|loss| report.add_loss(loss));
            (report.loss, report.unproven) = (loss, unproven);
        });
        Self {
            writer,
            reader,
            clock: Arc::clone(&options.clock),
            clock_trust: options.clock_trust.clone(),
            hooks: options.hooks.clone(),
            backlog_bounds: options.backlog,
            health,
            durable: stored.seq,
            stored,
        }
    }

    /// Where the stored log ends.
    pub(crate) fn log_end(&self) -> LogEnd {
        LogEnd { head: (self.stored.seq, self.stored.hash), next_key: self.writer.next_key() }
    }

    /// Everything up to here that is not volatile is on disk.
    pub(crate) fn durable(&self) -> Seq {
        self.durable
    }

    /// Whether this version of a document is known to be on disk.
    pub(crate) fn has_stored(&self, document: &Document) -> bool {
        document.seq <= self.stored.seq
    }

    // Reading.

    /// The newest stored version of a document, if there ever was one. Errors: `Damaged`, `StorageUnavailable`.
    pub(crate) fn load(&self, name: &DocumentName) -> Result<Option<CachedDocument>> {
        match self.writer.load(name) {
            Err(error) if error.kind() == Kind::StorageUnavailable => {
                let cached = |document: Document| {
                    let since = SinceSnapshot::empty(document.updated_at, SnapshotPolicy::default());
                    CachedDocument::decided(document.into(), None, since)
                };
                Ok(self.reader.load(name)?.map(cached))
            }
            loaded => Ok(loaded?.map(CachedDocument::loaded)),
        }
    }

    /// Where a document ends, if there ever was one: also of one that is too damaged to be read.
    pub(crate) fn document_head(&self, name: &DocumentName) -> Result<Option<DocumentHead>> {
        self.writer.document_head(name)
    }

    /// The newest stored version of a document, whoever wrote it.
    pub(crate) fn stored_version(&self, key: i64) -> Result<Option<Version>> {
        self.writer.stored_version(key)
    }

    /// Bytes of the body of a stored event; `None`: it is not there.
    pub(crate) fn event_bytes(&self, seq: Seq) -> Result<Option<usize>> {
        self.writer.event_bytes(seq)
    }

    /// What was answered to the request with this key. May be older than what is promised to be remembered.
    pub(crate) fn find_key(&self, (scope, key): &ScopedKey) -> Result<Option<IdempotencyRow>> {
        self.writer.find_key(scope, key)
    }

    /// Asks the tables of a feature, as they are between two transactions.
    pub(crate) fn read_rows(&self, question: &mut dyn FnMut(&Connection) -> Result<()>) -> Result<()> {
        match self.writer.query(&mut *question) {
            Err(error) if error.kind() == Kind::StorageUnavailable => self.reader.rows(question),
            answered => answered,
        }
    }

    /// At most `limit` documents that hooks let go when the disk is full, the first to go first.
    pub(crate) fn removable_documents(&self, limit: usize) -> Result<Vec<DocumentName>> {
        let mut names = Vec::new();
        for hook in &self.hooks {
            let left = limit.saturating_sub(names.len());
            names.extend(self.writer.query(|conn| hook.removable_documents(conn, left))?);
        }
        Ok(names)
    }

    /// The relocations that `store` has. Error: that of `store`.
    pub(crate) fn stored_relocations(&self, store: &dyn RelocationStore) -> Result<Relocations> {
        Ok(Relocations::new(self.writer.query(|conn| store.stored_relocations(conn))?, store.problems()))
    }

    /// The documents that changed within `span` before the log ends, when the last server did not stop cleanly.
    pub(crate) fn unsettled_documents(&self, span: Duration, events_max: usize) -> Vec<DocumentName> {
        if !self.writer.was_unclean() {
            return Vec::new();
        }
        self.writer.changed_lately(span, events_max).unwrap_or_else(|error| {
            tracing::warn!(%error, "the documents that changed last cannot be listed");
            Vec::new()
        })
    }

    /// Whether nothing may be written before [`reopen`](Self::reopen): a write failed, or the writer was opened again
    /// for a repair and has found another end of the log than is known.
    pub(crate) fn is_distrusted(&self) -> bool {
        self.writer.is_distrusted() || self.writer.head() != self.stored
    }

    // What a repair reads and tries.

    /// How often somebody else was found to have written to the file; `None`: that cannot be told now.
    pub(crate) fn foreign_commits(&mut self) -> Option<u64> {
        self.writer.foreign_commits().ok()
    }

    /// What is read from here on is what is stored, and not what was read before.
    pub(crate) fn drop_page_cache(&self) -> Result<()> {
        self.writer.drop_page_cache()
    }

    pub(crate) fn proven_history(&self, document: &Document, events: &[Arc<Event>]) -> Result<Option<ProvenHistory>> {
        self.writer.proven_history(document, events)
    }

    pub(crate) fn rebuild(
        &self,
        document: (&DocumentName, i64),
        at: (Version, Hash),
    ) -> Result<Option<(Document, ProvenHistory)>> {
        self.writer.rebuild(document, at)
    }

    pub(crate) fn raw_document(&self, document: (&DocumentName, i64)) -> Result<Option<RawDocument>> {
        self.writer.raw_document(document)
    }

    /// Writes a repair and takes it back. Error: why it cannot be written.
    pub(crate) fn try_repair(&self, repair: &DocumentRepair) -> Result<()> {
        self.writer.try_repair(repair)
    }

    /// Opens the file again without comparing what it ends with: a repair may be what makes it end as it should.
    pub(crate) fn reopen_for_repair(&mut self) -> WriteResult {
        self.writer.reopen().map(drop)
    }

    /// Stores repairs while the backlog waits. They are not noted as stored: where the log ends is found out when the
    /// backlog is tried again.
    pub(crate) fn commit_repair(&mut self, batch: &Batch) -> WriteResult {
        self.writer.commit_with(batch, &mut std::iter::empty(), self.clock.now()).map(drop)
    }

    // Making durable.

    /// Stores a batch and notes it. Error: then it is unknown what of it is stored until [`reopen`](Self::reopen).
    pub(crate) fn commit(
        &mut self,
        state: &mut EngineState,
        batch: &Batch,
        rows: &mut dyn Iterator<Item = &mut dyn Rows>,
    ) -> WriteResult {
        // Before all others: what they write belongs to what may come after.
        let deleted = batch.events.iter().filter(|event| event.deletes);
        let mut removed: Vec<_> = deleted.flat_map(|event| removal_rows(&self.hooks, event.meta.key)).collect();
        let removed = removed.iter_mut().map(|removed| removed as &mut dyn Rows);
        let rows = rows.map(|rows| rows as &mut dyn Rows);
        let trusted = self.clock_trust.as_ref().is_none_or(|trust| trust.is_trusted());
        self.writer.set_removes_by_time(trusted);
        let times = self.writer.commit_with(batch, &mut removed.chain(rows), self.clock.now())?;
        self.note_commit(state, batch, times);
        Ok(())
    }

    fn note_commit(&mut self, state: &mut EngineState, batch: &Batch, times: CommitTimes) {
        self.note_stored(state);
        let now = self.clock.now();
        for snapshot in &batch.snapshots {
            let Document { meta, version, .. } = &*snapshot.document;
            match snapshot.replaceable {
                true => state.documents.quiet_snapshot_taken(&meta.name, *version),
                false => state.documents.snapshot_taken(&meta.name, now),
            }
        }
        self.health.update(|report| {
            report.commits += 1;
            report.commit_times.add(times.write + times.sync);
            report.last_commit = Some(now);
        });
    }

    fn note_stored(&mut self, state: &mut EngineState) {
        self.stored = self.writer.head();
        self.durable_to(state, self.stored.seq);
    }

    /// What is to be stored up to `seq` is on disk.
    pub(crate) fn durable_to(&mut self, state: &mut EngineState, seq: Seq) {
        self.durable = self.durable.max(seq);
        state.backlog.drop_durable(seq);
    }

    /// Distrusts the connection: opens another and recognises what is durable.
    pub(crate) fn reopen(&mut self, state: &mut EngineState) -> WriteResult {
        let found = self.writer.reopen()?;
        let unproven = self.writer.unproven().map(str::to_owned);
        self.health.update(|report| report.unproven = unproven);
        self.accept_log_end(state, found)
    }

    /// Whether the paths name the files that are open. Error: they do not; what is stored is then written to new files
    /// by [`reopen`](Self::reopen) or [`begin_rescue`](Self::begin_rescue).
    pub(crate) fn check_files(&mut self) -> WriteResult {
        self.writer.check_commits()?;
        self.writer.refresh_open_mark()
    }

    /// Sees to it that the journal of revocations is beside the database, and tells while it is not. `pending`: the
    /// lines of what is not in the database.
    pub(crate) fn update_journal(&self, journal: &mut RevocationJournal, pending: impl FnOnce() -> Vec<String>) {
        if let Some(path) = self.writer.journal_path() {
            let kept = journal.keep_at(&path, pending);
            self.health.note_background("revocation-journal", self.clock.now(), &kept);
        }
    }

    /// Sees to it that the key of MACs is in its file beside the database, and tells while it is not.
    pub(crate) fn keep_integrity_key(&self) {
        let kept = self.writer.keep_key();
        self.health.note_background("integrity-key", self.clock.now(), &kept);
    }

    /// Begins to write everything that is stored to another file, which is the database once it is written.
    pub(crate) fn begin_rescue(&mut self, to: &Path) -> std::result::Result<(), RescueError> {
        self.writer.begin_rescue(to)
    }

    /// Goes on with the file that is written, if it is. `None`: it is not.
    pub(crate) fn finish_rescue(
        &mut self,
        state: &mut EngineState,
        to: &Path,
    ) -> Option<std::result::Result<Rescued, RescueError>> {
        let rescued = match self.writer.finish_rescue()? {
            Ok(rescued) => rescued,
            Err(error) => return Some(Err(error)),
        };
        self.health.update(|report| report.rescued_to = Some(to.to_owned()));
        let accepted = match rescued {
            Rescued::Everything(found) => self.accept_log_end(state, found),
            Rescued::Nothing => {
                self.stored = self.writer.head();
                Ok(())
            }
        };
        Some(accepted.map(|()| rescued).map_err(RescueError::from))
    }

    /// Whether the database was overwritten: what is in memory is nowhere else.
    pub(crate) fn is_overwritten(&self) -> bool {
        self.writer.is_overwritten()
    }

    /// From now on a copy of the file is waited for.
    pub(crate) fn wait_for_copies(&mut self) {
        self.writer.set_copy_wait(COPY_WAIT_AT_END);
    }

    /// How many stored events are gone with this process, since no path names the file that is open.
    pub(crate) fn unnamed_events(&mut self) -> u64 {
        match self.writer.check_files() {
            Err(WriteError { lost: Some(_), .. }) => self.writer.unnamed_events(self.stored.seq).unwrap_or(0),
            _ => 0,
        }
    }

    /// Takes what is durable from where the stored log was found to end.
    fn accept_log_end(&mut self, state: &mut EngineState, found: LogHead) -> WriteResult {
        // Either the commit that failed is not there, or it is, and then the log ends with an event that waits here.
        // Anything else was written, or taken away, by somebody else: to append to it would break histories.
        if found != self.stored && state.backlog.hash(found.seq) != Some(found.hash) {
            let (stored, found) = (self.stored.seq, found.seq);
            return Err(WriteError::other(format!(
                "the log was stored up to event {stored}; on disk it ends otherwise at {found}"
            )));
        }
        self.note_stored(state);
        Ok(())
    }

    /// Stores what waits, in order. Returns the documents that were purged to make room for it.
    pub(crate) fn append_backlog(&mut self, state: &mut EngineState) -> WriteResult<Vec<Removal>> {
        let whole = !state.pending_removals.is_empty() || !state.pending_repairs.is_empty();
        if whole || state.backlog.has_bases() {
            return self.append_whole_backlog(state);
        }
        while let Some((batch, last)) = state.backlog.next_batch() {
            if !batch.is_empty() {
                self.commit(state, &batch, &mut std::iter::empty())?;
            }
            // What comes after the last stored event of the batch is volatile.
            self.durable_to(state, last);
        }
        Ok(Vec::new())
    }

    /// Stores what waits together with removals and repairs, in one transaction however much that is, since neither may
    /// be there without the other.
    fn append_whole_backlog(&mut self, state: &mut EngineState) -> WriteResult<Vec<Removal>> {
        let mut batch = state.backlog.batch_of_all();
        let mut removals = std::mem::take(&mut state.pending_removals);
        batch.repairs = std::mem::take(&mut state.pending_repairs);
        batch.purges = removals.iter().map(|removal| removal.purge.clone()).collect();
        let stored = self.commit(state, &batch, &mut removals.iter_mut().flat_map(Removal::rows));
        match stored {
            Ok(()) => {
                // What comes after the last stored event is volatile.
                self.durable_to(state, state.log_end.head.0);
                Ok(removals)
            }
            Err(fault) => {
                (state.pending_removals, state.pending_repairs) = (removals, batch.repairs);
                Err(fault)
            }
        }
    }

    /// Storage fails since the start, if it does.
    pub(crate) fn report_open_fault(&mut self, state: &mut EngineState) {
        if let Some(fault) = self.writer.take_fault() {
            self.degrade(state, &fault);
        }
    }

    /// Storage failed. Logged when it begins, and when the reason becomes another; each later failure only moves the
    /// next attempt further away.
    pub(crate) fn degrade(&self, state: &mut EngineState, fault: &WriteError) {
        let now = self.clock.now();
        let (mut reason, mut full, mut is_new) = (fault.to_string(), fault.full, true);
        let lost = fault.lost.is_some();
        self.health.update(|report| {
            report.failures += 1;
            let since = match &report.storage {
                StorageHealth::Degraded { since, reason: before, full: was_full, .. } => {
                    // What delays recovery is not what failed.
                    if fault.blocked == Some(Blocked::Recovering) {
                        full = *was_full;
                        reason = match before.ends_with(&reason) {
                            true => before.clone(),
                            false => format!("{before}; {reason}"),
                        };
                    }
                    is_new = *before != reason;
                    *since
                }
                StorageHealth::Well => now,
            };
            if lost {
                report.add_loss(&reason);
            }
            report.storage = StorageHealth::Degraded { reason, full, lost, since };
        });
        state.backlog.fail(full, fault.is_up_to_others());
        if is_new {
            tracing::error!(%fault, "storage fails; changes are kept in memory until it returns");
        } else {
            tracing::debug!(%fault, "storage still fails");
        }
        self.report_backlog(state);
    }

    /// Everything that waited is on disk.
    pub(crate) fn recover(&self, state: &mut EngineState) {
        tracing::info!("storage works again; everything is on disk");
        state.backlog.recover();
        self.health.update(|report| report.storage = StorageHealth::Well);
    }

    /// A round failed that could be stored after all, once there was room.
    pub(crate) fn count_failure(&self) {
        self.health.update(|report| report.failures += 1);
    }

    pub(crate) fn count_retry(&self) {
        self.health.update(|report| report.retries += 1);
    }

    pub(crate) fn report_backlog(&self, state: &EngineState) {
        let (events, bytes) = (state.backlog.events(), state.backlog.bytes());
        let past_bound = state.backlog.is_past_bound(&self.backlog_bounds);
        self.health.update(|report| {
            (report.backlog_events, report.backlog_bytes, report.past_bound) = (events, bytes, past_bound);
        });
    }

    // Looking after the file.

    /// Moves the log into the database when it has grown enough.
    pub(crate) fn checkpoint_if_due(&mut self) {
        let moved = self.writer.checkpoint_if_due();
        if let Err(error) = &moved {
            tracing::warn!(%error, "the WAL could not be moved into the database");
        }
        self.health.note_background("checkpoint", self.clock.now(), &moved);
        let (bytes, past_bound) = (self.writer.wal_bytes(), self.writer.wal_past_bound());
        self.health.update(|report| (report.wal_bytes, report.wal_past_bound) = (bytes, past_bound));
    }

    /// Brings statistics up to date and empties the log. A write that fails here is no other than one of a change: the
    /// file is reopened before anything else is written.
    pub(crate) fn maintain(&mut self) -> WriteResult<MaintenanceReport> {
        self.writer.maintain()
    }

    pub(crate) fn close(self) {
        self.writer.close();
    }
}

impl StoredVersions for Disk {
    fn newest(&self, name: &DocumentName) -> Result<Option<Document>> {
        match self.writer.load(name) {
            Err(error) if error.kind() == Kind::StorageUnavailable => self.reader.load(name),
            loaded => Ok(loaded?.map(|loaded| loaded.document)),
        }
    }

    fn document_at(&self, name: &DocumentName, version: Version) -> Result<Document> {
        match self.writer.state_at(name, version) {
            Err(error) if error.kind() == Kind::StorageUnavailable => self.reader.state_at(name, version),
            read => read,
        }
    }
}
