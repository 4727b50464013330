//! What only the engine's thread has: the documents that it works on, and what is decided and not yet stored.

pub(crate) mod backlog;
pub(crate) mod document_cache;
pub(crate) mod kept_answers;
pub(crate) mod maintenance;
pub(crate) mod relocations;
pub(crate) mod round;

use std::sync::Arc;

use crate::base::ids::Seq;
use crate::document::chain::Hash;
use crate::document::model::Document;
use crate::store::{DocumentRepair, Snapshot};

use backlog::Backlog;
use document_cache::DocumentCache;
use kept_answers::KeptAnswers;
use maintenance::Removal;
use relocations::Relocations;

/// Where the log ends, undurable events included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    /// Seq and hash of the last decided event.
    pub head: (Seq, Hash),
    /// The key that the next new document gets.
    pub next_key: i64,
}

/// See the module. Owned by the engine's thread, so that nothing of it is behind a lock.
pub(crate) struct EngineState {
    pub documents: DocumentCache,
    pub relocations: Relocations,
    pub kept_answers: KeptAnswers,
    /// What waits for the disk.
    pub backlog: Backlog,
    pub log_end: LogEnd,
    /// Documents that are purged in memory and not yet on the disk: to make room there, or since somebody asked for it
    /// while storage failed. One for each document.
    pub pending_removals: Vec<Removal>,
    /// Repairs that belong to events of the backlog.
    pub pending_repairs: Vec<DocumentRepair>,
}

impl EngineState {
    /// The state of an engine that has decided nothing yet.
    pub(crate) fn new(log_end: LogEnd, relocations: Relocations) -> Self {
        Self {
            documents: DocumentCache::default(),
            relocations,
            kept_answers: KeptAnswers::default(),
            backlog: Backlog::default(),
            log_end,
            pending_removals: Vec::new(),
            pending_repairs: Vec::new(),
        }
    }

    /// Adds a purge that waits. It takes the place of an earlier one of the same document.
    pub(crate) fn add_pending_removal(&mut self, removal: Removal) {
        let key = removal.purge.tombstone.meta.key;
        self.pending_removals.retain(|pending| pending.purge.tombstone.meta.key != key);
        self.pending_removals.push(removal);
    }

    /// How many documents were purged to make room in this outage.
    pub(crate) fn removals_for_room(&self) -> usize {
        self.pending_removals.iter().filter(|removal| removal.revocation.is_none()).count()
    }

    /// A snapshot of a cached document. The history of one that is being relocated is not trimmed: meanwhile it is read
    /// from its beginning on.
    pub(crate) fn snapshot(&self, document: Arc<Document>) -> Snapshot {
        let name = &document.meta.name;
        let replaces = self.documents.get(name).and_then(|cached| cached.since.quiet);
        Snapshot { trim: self.relocations.check(name).is_ok(), replaces, replaceable: false, document }
    }
}
