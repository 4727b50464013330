//! The documents in memory, at their newest decided version, published or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits;
use crate::document::model::Document;
use crate::engine::HotBounds;
use crate::engine::policy::SnapshotPolicy;
use crate::store::LoadedDocument;

/// A document in memory.
#[derive(Clone, Debug)]
pub(crate) struct CachedDocument {
    /// Its newest version, decided but not necessarily published.
    pub document: Arc<Document>,
    /// Its state as a tree, if kept.
    tree: Option<Arc<Value>>,
    /// What came after its last snapshot.
    pub since: SinceSnapshot,
}

/// What came after a document's last snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SinceSnapshot {
    /// Bytes of event bodies.
    pub patch_bytes: usize,
    pub events: u64,
    /// When that snapshot, or what is as good as one, was made.
    pub at: Timestamp,
    /// Whether one is due whatever the policy says.
    pub forced: bool,
    /// The version that was stored whole since, when the document was quiet. One such snapshot is kept, and it does not
    /// count as the last.
    pub quiet: Option<Version>,
    /// How much may come.
    pub policy: SnapshotPolicy,
}

impl SinceSnapshot {
    pub(crate) fn empty(at: Timestamp, policy: SnapshotPolicy) -> Self {
        Self { patch_bytes: 0, events: 0, at, forced: false, quiet: None, policy }
    }
}

impl CachedDocument {
    /// A document as the engine has just decided it.
    pub(crate) fn decided(document: Arc<Document>, tree: Option<Value>, since: SinceSnapshot) -> Self {
        Self { document, tree: tree.map(Arc::new), since }
    }

    /// A document as it was read from disk.
    pub(crate) fn loaded(loaded: LoadedDocument) -> Self {
        // Its own policy is read from its state with its next change.
        // One event after the last snapshot is how a dropped history is kept: it is left so until the next change.
        let quiet = (loaded.events_since_snapshot == 1).then_some(loaded.document.version);
        let since = SinceSnapshot {
            patch_bytes: loaded.patch_bytes,
            events: loaded.events_since_snapshot,
            quiet,
            ..SinceSnapshot::empty(loaded.snapshot_at, SnapshotPolicy::default())
        };
        Self { document: Arc::new(loaded.document), tree: None, since }
    }

    /// Its state as a tree, parsed when it is not kept; `None` when the document is deleted.
    pub(crate) fn tree(&self) -> Result<Option<Arc<Value>>> {
        match (&self.tree, &self.document.state) {
            (Some(tree), _) => Ok(Some(Arc::clone(tree))),
            (None, Some(bytes)) => {
                serde_json::from_slice(bytes).map(|tree| Some(Arc::new(tree))).map_err(Error::internal)
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether recovery and time travel would by now read more patches than state. Of what is volatile never.
    pub(crate) fn snapshot_due(&self, events_max: u64, now: Timestamp) -> bool {
        if self.document.meta.volatile {
            return false;
        }
        let SinceSnapshot { patch_bytes, events, forced, policy, .. } = self.since;
        let patch_bytes_max = policy.patch_bytes(state_bytes(&self.document)).max(limits::SNAPSHOT_BYTES_MIN);
        forced || patch_bytes >= patch_bytes_max || events >= events_max || self.snapshot_aged(now)
    }

    /// Whether no snapshot holds its newest state. Of what is volatile or deleted never, nor of what is new: an event
    /// that creates a document holds the whole state.
    pub(crate) fn lacks_snapshot(&self) -> bool {
        let Document { meta, version, .. } = &*self.document;
        let whole = self.since.events == 0 || *version == Version(1) || self.since.quiet == Some(*version);
        !(whole || meta.volatile || self.document.is_deleted())
    }

    /// Whether something came after a snapshot that is older than the policy allows. Of what is volatile never.
    pub(crate) fn snapshot_aged(&self, now: Timestamp) -> bool {
        let SinceSnapshot { events, at, policy, .. } = self.since;
        let stored = !self.document.meta.volatile;
        stored && policy.age.is_some_and(|age| events > 0 && at <= now.minus(age))
    }
}

/// All documents in memory. Readers have their own map of the published ones, the hub. Volatile documents stay, since
/// they are nowhere else; the bounds of the others are kept by eviction.
#[derive(Default)]
pub(crate) struct DocumentCache {
    documents: HashMap<DocumentName, CachedDocument>,
    /// Documents whose trees are kept, in the order in which they were written, the oldest first. May hold one twice.
    trees: VecDeque<(DocumentName, Version, usize)>,
    trees_bytes: usize,
    /// Bytes of the states of evictable documents.
    state_bytes: usize,
    /// The documents that are in memory alone, deleted ones included.
    volatile: MemoryUse,
}

/// How many documents there are, and the bytes of their states.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemoryUse {
    pub documents: usize,
    pub bytes: usize,
}

impl DocumentCache {
    /// A document in memory.
    pub(crate) fn get(&self, name: &DocumentName) -> Option<&CachedDocument> {
        self.documents.get(name)
    }

    /// Puts a document's newest version in place and returns the one before it.
    pub(crate) fn put(&mut self, cached: CachedDocument) -> Option<CachedDocument> {
        let bytes = state_bytes(&cached.document);
        let name = cached.document.meta.name.clone();
        if cached.tree.is_some() {
            self.trees.push_back((name.clone(), cached.document.version, bytes));
            self.trees_bytes += bytes;
        }
        self.add_counts(&cached.document);
        let before = self.documents.insert(name, cached);
        if let Some(before) = &before {
            self.subtract_counts(&before.document);
        }
        self.drop_trees();
        before
    }

    /// Takes back a [`put`](Self::put).
    pub(crate) fn restore(&mut self, name: &DocumentName, before: Option<CachedDocument>) {
        match before {
            Some(cached) => {
                self.put(cached);
            }
            None => self.remove(name),
        }
    }

    /// Drops a document from memory.
    pub(crate) fn remove(&mut self, name: &DocumentName) {
        if let Some(cached) = self.documents.remove(name) {
            self.subtract_counts(&cached.document);
        }
    }

    fn add_counts(&mut self, document: &Document) {
        let bytes = state_bytes(document);
        if document.meta.volatile {
            self.volatile = MemoryUse { documents: self.volatile.documents + 1, bytes: self.volatile.bytes + bytes };
        } else {
            self.state_bytes += bytes;
        }
    }

    fn subtract_counts(&mut self, document: &Document) {
        let bytes = state_bytes(document);
        if document.meta.volatile {
            self.volatile = MemoryUse { documents: self.volatile.documents - 1, bytes: self.volatile.bytes - bytes };
        } else {
            self.state_bytes -= bytes;
        }
    }

    /// The documents that are in memory alone, deleted ones included.
    pub(crate) fn volatile(&self) -> MemoryUse {
        self.volatile
    }

    /// How many documents could be dropped from memory.
    fn evictable(&self) -> usize {
        self.documents.len() - self.volatile.documents
    }

    /// A snapshot of this document was stored.
    pub(crate) fn snapshot_taken(&mut self, name: &DocumentName, now: Timestamp) {
        if let Some(cached) = self.documents.get_mut(name) {
            cached.since = SinceSnapshot::empty(now, cached.since.policy);
        }
    }

    /// A server that did not stop may not have stored this document whole.
    pub(crate) fn forget_quiet_snapshot(&mut self, name: &DocumentName) {
        if let Some(cached) = self.documents.get_mut(name) {
            cached.since.quiet = None;
        }
    }

    /// A snapshot of this document was stored because the document is quiet.
    pub(crate) fn quiet_snapshot_taken(&mut self, name: &DocumentName, version: Version) {
        if let Some(cached) = self.documents.get_mut(name) {
            cached.since.quiet = Some(version);
        }
    }

    /// The documents in memory.
    pub(crate) fn documents(&self) -> impl Iterator<Item = &CachedDocument> {
        self.documents.values()
    }

    /// Whether more is in memory than the bounds allow.
    pub(crate) fn is_over(&self, bounds: &HotBounds) -> bool {
        self.evictable() > bounds.documents_max || self.state_bytes > bounds.bytes_max
    }

    /// How many documents must go so that one tenth of the bounds is free again, by count and by share of bytes.
    pub(crate) fn documents_to_evict(&self, bounds: &HotBounds) -> usize {
        let by_count = self.evictable().saturating_sub(bounds.documents_max / 10 * 9);
        let bytes_over = self.state_bytes.saturating_sub(bounds.bytes_max / 10 * 9);
        let bytes_each = (self.state_bytes / self.evictable().max(1)).max(1);
        by_count.max(bytes_over.div_ceil(bytes_each))
    }

    /// Keeps the trees of the documents written last. The entry of an older version of a document is only
    /// subtracted.
    fn drop_trees(&mut self) {
        while self.trees.len() > limits::TREES_MAX || self.trees_bytes > limits::TREES_BYTES_MAX {
            let Some((name, version, bytes)) = self.trees.pop_front() else { return };
            self.trees_bytes -= bytes;
            let Some(cached) = self.documents.get_mut(&name) else { continue };
            if cached.document.version == version {
                cached.tree = None;
            }
        }
    }
}

fn state_bytes(document: &Document) -> usize {
    document.state.as_ref().map_or(0, bytes::Bytes::len)
}
