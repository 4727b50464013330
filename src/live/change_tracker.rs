//! Which documents have changed since somebody last asked, and what they became: for whoever compares what is published
//! with what is stored. It costs one entry per changed document, not per change, and nothing while nobody asks.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::model::{Document, Meta};

/// What a document became by its newest change.
#[derive(Clone, Debug)]
pub struct ChangedDocument {
    pub meta: Arc<Meta>,
    pub version: Version,
    pub hash: Hash,
    /// The place of the change in the log.
    pub seq: Seq,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// The documents that changed, by [`Meta::key`].
#[derive(Debug, Default)]
pub struct ChangeRecord {
    pub documents: HashMap<i64, ChangedDocument>,
    /// More changed than are recorded: which ones is not known any more.
    pub lost: bool,
}

/// A moment of what is published: everything up to `head`, and nothing after.
#[derive(Debug)]
pub struct ConsistentCut {
    /// The newest event that is on disk or will be: none of a volatile document. Zeros: there is none.
    pub head: (Seq, Hash),
    /// Everything up to here that is not volatile is on disk.
    pub durable: Seq,
    /// The changes that are not on disk, oldest first, at most as many as were asked for.
    pub pending: Vec<(DocumentName, Version)>,
    /// How many there are.
    pub pending_count: u64,
    /// What changed since the cut before; `None` while changes are pending, and then it is in the next that has some.
    pub changed: Option<ChangeRecord>,
}

/// The record. Its lock is taken by the engine within the publish gate, and by whoever asks within the same.
#[derive(Debug, Default)]
pub(crate) struct ChangeTracker(Mutex<Option<Recording>>);

#[derive(Debug)]
struct Recording {
    recorded: ChangeRecord,
    documents_max: usize,
}

impl ChangeTracker {
    /// Records from now on, and forgets what was recorded.
    pub(crate) fn begin(&self, documents_max: usize) {
        *self.0.lock() = Some(Recording { recorded: ChangeRecord::default(), documents_max });
    }

    /// Notes what documents became. Those that live in memory only are left out: there is nothing to compare them with.
    pub(crate) fn record(&self, document: &Document) {
        if document.meta.volatile {
            return;
        }
        let mut guard = self.0.lock();
        let Some(Recording { recorded, documents_max }) = guard.as_mut().filter(|record| !record.recorded.lost) else {
            return;
        };
        let changed = ChangedDocument {
            meta: Arc::clone(&document.meta),
            version: document.version,
            hash: document.hash,
            seq: document.seq,
            deleted: document.is_deleted(),
        };
        recorded.documents.insert(document.meta.key, changed);
        if recorded.documents.len() > *documents_max {
            *recorded = ChangeRecord { documents: HashMap::new(), lost: true };
        }
    }

    /// What was recorded since the last time; `None` when nothing is recorded at all.
    pub(crate) fn take(&self) -> Option<ChangeRecord> {
        self.0.lock().as_mut().map(|record| std::mem::take(&mut record.recorded))
    }
}
