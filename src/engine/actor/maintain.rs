//! What is done between two rounds, after everybody has been answered: eviction, snapshots, the file.

use std::sync::Arc;
use std::time::Duration;

use super::EngineActor;
use crate::base::ids::DocumentName;
use crate::document::model::Document;
use crate::engine::refusal::not_stored;
use crate::engine::state::document_cache::CachedDocument;
use crate::engine::state::round::Round;
use crate::store::{Batch, MaintenanceReport, Snapshot};

/// Ticks between two sweeps for idle documents.
const IDLE_SWEEP_TICKS: u32 = 100;
/// Ticks between two sweeps while storage fails and there are too many documents: those that may not go are looked at
/// each time.
const FAILING_SWEEP_TICKS: u32 = 10;
/// Ticks between two sweeps for quiet documents.
const QUIET_SWEEP_TICKS: u32 = 10;
/// How long a document has had no change when it is stored whole.
const QUIET: Duration = Duration::from_secs(10);
/// Events at the end of the log that are searched for what an unclean stop left: a bound on the length of a start.
const UNSETTLED_EVENTS_MAX: usize = 5_000;
/// Most snapshots in one transaction at eviction and at the end.
const SNAPSHOTS_PER_BATCH: usize = 1000;
/// Rounds after which the file is maintained although something waits: under a load that never pauses, some seconds.
const FILE_MAINTENANCE_ROUNDS_MAX: u32 = 1_000;

impl EngineActor {
    pub(super) fn maintain(&mut self) {
        let failing = self.state.backlog.is_failing();
        if !failing {
            self.disk.checkpoint_if_due();
        }
        if !failing && self.quiet_ticks >= QUIET_SWEEP_TICKS {
            self.quiet_ticks = 0;
            self.snapshot_quiet();
            self.revoke_documents_again();
            if let Err(fault) = self.store_revocations() {
                self.disk.degrade(&mut self.state, &fault);
            }
        }
        let over = self.state.documents.is_over(&self.options.hot) && (!failing || self.ticks >= FAILING_SWEEP_TICKS);
        if over || self.ticks >= IDLE_SWEEP_TICKS {
            self.ticks = 0;
            if !failing {
                if self.hub.has_volatile() && self.options.removes_by_time() {
                    self.expire_volatile();
                }
                self.snapshot_aged();
            }
            self.evict(over);
        }
    }

    /// Deletes volatile documents that nobody used for long, and drops from memory those that were deleted a while ago.
    fn expire_volatile(&mut self) {
        let mut round = Round::default();
        let droppable = self.decider(&mut round).expire_volatile();
        droppable.iter().for_each(|name| self.state.documents.remove(name));
        self.hub.evict(&droppable);
        if !round.entries.is_empty() {
            let documents = round.entries.len();
            tracing::info!(
                documents,
                "{documents} documents that lived in memory only were not used for long: deleted"
            );
            self.complete_round(round, Duration::ZERO);
        }
    }

    /// Takes snapshots of what has not changed for a while and whose last snapshot is too old.
    fn snapshot_aged(&mut self) {
        let now = self.options.clock.now();
        let aged = self.state.documents.documents().filter(|cached| cached.snapshot_aged(now));
        let documents = aged.take(SNAPSHOTS_PER_BATCH).map(|cached| Arc::clone(&cached.document)).collect();
        self.take_snapshots(documents);
    }

    /// Stores whole what has been quiet for a while, so that people who look into the file see the present state. Each
    /// such snapshot replaces the one before, and trims no history.
    fn snapshot_quiet(&mut self) {
        let before = self.options.clock.now().minus(QUIET);
        let relocations = &self.state.relocations;
        let quiet = self.state.documents.documents().filter(|cached| {
            let settled = cached.document.updated_at <= before && cached.lacks_snapshot();
            settled && relocations.check(&cached.document.meta.name).is_ok()
        });
        let snapshot = |cached: &CachedDocument| {
            let (document, replaces) = (Arc::clone(&cached.document), cached.since.quiet);
            Snapshot { document, trim: false, replaces, replaceable: true }
        };
        let snapshots = quiet.take(SNAPSHOTS_PER_BATCH).map(snapshot).collect();
        self.store_snapshots(snapshots);
    }

    /// Takes into memory what a server that did not stop may not have stored whole, so that it is once it is quiet.
    pub(super) fn load_unsettled(&mut self) {
        for name in self.disk.unsettled_documents(2 * QUIET, UNSETTLED_EVENTS_MAX) {
            if self.state.documents.is_over(&self.options.hot) {
                return;
            }
            if let Err(error) = self.decider(&mut Round::default()).load(&name) {
                tracing::debug!(document = %name, %error, "could not take {name} into memory");
            }
            self.state.documents.forget_quiet_snapshot(&name);
        }
    }

    /// Drops documents from memory: the idle ones, and when there are too many the least recently used. While storage
    /// fails, those of which a change is not on disk stay, and the others go without a snapshot. Volatile ones stay,
    /// and all when the database was overwritten.
    fn evict(&mut self, over: bool) {
        // Nothing could be read back.
        if self.disk.is_overwritten() {
            return;
        }
        let idle_before = self.options.clock.now().minus(self.options.hot.idle);
        let mut uses = self.hub.uses();
        let cache = &self.state.documents;
        uses.retain(|(name, _)| cache.get(name).is_none_or(|cached| !cached.document.meta.volatile));
        let failing = self.state.backlog.is_failing();
        if failing {
            let stored = |cached: &CachedDocument| self.disk.has_stored(&cached.document);
            uses.retain(|(name, _)| cache.get(name).is_some_and(stored));
        }
        uses.sort_by_key(|(_, used)| *used);
        let surplus = if over { cache.documents_to_evict(&self.options.hot) } else { 0 };
        let names: Vec<DocumentName> = uses
            .into_iter()
            .enumerate()
            .take_while(|(index, (_, used))| *index < surplus || *used < idle_before)
            .map(|(_, (name, _))| name)
            .collect();
        for names in names.chunks(SNAPSHOTS_PER_BATCH) {
            let cached = names.iter().filter_map(|name| self.state.documents.get(name));
            let changed = cached.filter(|cached| cached.lacks_snapshot());
            let documents = changed.map(|cached| Arc::clone(&cached.document)).collect();
            if !failing && !self.take_snapshots(documents) {
                return;
            }
            names.iter().for_each(|name| self.state.documents.remove(name));
            self.hub.evict(names);
        }
    }

    /// Takes snapshots of all documents that have changed since their last. False: storage failed.
    pub(super) fn snapshot_all(&mut self) -> bool {
        let documents = self.state.documents.documents().filter(|cached| cached.lacks_snapshot());
        let documents: Vec<_> = documents.map(|cached| Arc::clone(&cached.document)).collect();
        documents.chunks(SNAPSHOTS_PER_BATCH).all(|documents| self.take_snapshots(documents.to_vec()))
    }

    /// Stores snapshots in a transaction of their own. False: storage failed.
    fn take_snapshots(&mut self, documents: Vec<Arc<Document>>) -> bool {
        let snapshots = documents.into_iter().map(|document| self.state.snapshot(document)).collect();
        self.store_snapshots(snapshots)
    }

    fn store_snapshots(&mut self, snapshots: Vec<Snapshot>) -> bool {
        if snapshots.is_empty() {
            return true;
        }
        let batch = Batch { snapshots, ..Batch::default() };
        match self.disk.commit(&mut self.state, &batch, &mut std::iter::empty()) {
            Ok(()) => true,
            Err(fault) => {
                self.disk.degrade(&mut self.state, &fault);
                false
            }
        }
    }

    /// Maintains the file if somebody asked for that and nothing else waits: it takes the writer, so that changes would
    /// wait for it.
    pub(super) fn maintain_file_when_quiet(&mut self, quiet: bool) {
        if self.file_maintenance.replies.is_empty() {
            return;
        }
        self.file_maintenance.rounds += 1;
        let failing = self.state.backlog.is_failing();
        if !(quiet || failing || self.file_maintenance.rounds >= FILE_MAINTENANCE_ROUNDS_MAX) {
            return;
        }
        let report = if failing { None } else { self.maintain_file() };
        for reply in std::mem::take(&mut self.file_maintenance).replies {
            // Whoever asked may have gone.
            let _ = reply.send(report.ok_or_else(not_stored));
        }
    }

    fn maintain_file(&mut self) -> Option<MaintenanceReport> {
        self.disk.maintain().inspect_err(|fault| self.disk.degrade(&mut self.state, fault)).ok()
    }
}
