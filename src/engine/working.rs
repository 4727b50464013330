//! The documents that the engine works on: their newest decided version, published or not.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use super::Options;
use super::policy::SnapshotPolicy;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits;
use crate::document::model::Document;
use crate::store::{LoadedDocument, Reader, Writer};

/// A document in the engine's hands.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its newest version, decided but not necessarily published.
    pub document: Arc<Document>,
    /// Its state as a tree, if kept.
    tree: Option<Arc<Value>>,
    /// What came after its last snapshot.
    pub since: Since,
}

/// What came after a document's last snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Since {
    /// Bytes of event bodies.
    pub patch_bytes: usize,
    pub events: u64,
    /// When that snapshot, or what is as good as one, was made.
    pub at: Timestamp,
    /// Whether one is due whatever the policy says.
    pub forced: bool,
    /// How much may come.
    pub policy: SnapshotPolicy,
}

impl Since {
    pub fn nothing(at: Timestamp, policy: SnapshotPolicy) -> Self {
        Self { patch_bytes: 0, events: 0, at, forced: false, policy }
    }
}

impl Slot {
    /// A document as the engine has just decided it.
    pub fn decided(document: Arc<Document>, tree: Option<Value>, since: Since) -> Self {
        Self { document, tree: tree.map(Arc::new), since }
    }

    fn loaded(loaded: LoadedDocument) -> Self {
        // Its own policy is read from its state with its next change.
        let since = Since {
            patch_bytes: loaded.patch_bytes,
            events: loaded.events_since_snapshot,
            ..Since::nothing(loaded.snapshot_at, SnapshotPolicy::default())
        };
        Self { document: Arc::new(loaded.document), tree: None, since }
    }

    /// Its state as a tree, parsed when it is not kept; `None` when the document is deleted.
    pub fn tree(&self) -> Result<Option<Arc<Value>>> {
        match (&self.tree, &self.document.state) {
            (Some(tree), _) => Ok(Some(Arc::clone(tree))),
            (None, Some(bytes)) => {
                serde_json::from_slice(bytes).map(|tree| Some(Arc::new(tree))).map_err(Error::internal)
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether recovery and time travel would by now read more patches than state. Of what is volatile never.
    pub fn snapshot_due(&self, events_max: u64, now: Timestamp) -> bool {
        if self.document.meta.volatile {
            return false;
        }
        let Since { patch_bytes, events, forced, policy, .. } = self.since;
        let patch_bytes_max = policy.patch_bytes(state_bytes(&self.document)).max(limits::SNAPSHOT_BYTES_MIN);
        forced || patch_bytes >= patch_bytes_max || events >= events_max || self.snapshot_aged(now)
    }

    /// Whether something came after a snapshot that is older than the policy allows. Of what is volatile never.
    pub fn snapshot_aged(&self, now: Timestamp) -> bool {
        let Since { events, at, policy, .. } = self.since;
        let stored = !self.document.meta.volatile;
        stored && policy.age.is_some_and(|age| events > 0 && at <= now.minus(age))
    }
}

/// All documents in memory. Owned by the engine's thread; readers have their own map of the published ones.
#[derive(Default)]
pub struct Working {
    slots: HashMap<DocumentName, Slot>,
    /// Documents whose trees are kept, in the order in which they were written, the oldest first. May hold one twice.
    trees: VecDeque<(DocumentName, Version, usize)>,
    trees_bytes: usize,
    /// Of the documents that may be dropped from memory.
    state_bytes: usize,
    /// The documents that may not, since they are nowhere else.
    volatile: Weight,
}

/// How many documents, and the bytes of their states.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    pub documents: usize,
    pub bytes: usize,
}

/// Where cold documents come from: the writer's own connection, since the pool may be busy with a thousand resuming
/// streams; the pool when the writer has lost its connection.
pub struct Source<'a> {
    pub writer: &'a mut Writer,
    pub reader: &'a Reader,
}

impl Source<'_> {
    fn load(&mut self, name: &DocumentName) -> Result<Option<Slot>> {
        match self.writer.load(name) {
            Err(error) if error.kind() == Kind::StorageUnavailable => {
                let since = |document: &Document| Since::nothing(document.updated_at, SnapshotPolicy::default());
                let slot = |document: Document| Slot { since: since(&document), document: document.into(), tree: None };
                Ok(self.reader.load(name)?.map(slot))
            }
            loaded => Ok(loaded?.map(Slot::loaded)),
        }
    }
}

impl Working {
    /// A document in memory.
    pub fn get(&self, name: &DocumentName) -> Option<&Slot> {
        self.slots.get(name)
    }

    /// A document, read from disk if it is not in memory. The flag says whether it was.
    pub fn load(&mut self, name: &DocumentName, source: &mut Source<'_>) -> Result<(Option<Slot>, bool)> {
        if let Some(slot) = self.slots.get(name) {
            return Ok((Some(slot.clone()), true));
        }
        let Some(slot) = source.load(name)? else { return Ok((None, false)) };
        self.put(slot.clone());
        Ok((Some(slot), false))
    }

    /// Puts a document's newest version in place and returns the one before it.
    pub fn put(&mut self, slot: Slot) -> Option<Slot> {
        let bytes = state_bytes(&slot.document);
        let name = slot.document.meta.name.clone();
        if slot.tree.is_some() {
            self.trees.push_back((name.clone(), slot.document.version, bytes));
            self.trees_bytes += bytes;
        }
        self.count_in(&slot.document);
        let before = self.slots.insert(name, slot);
        if let Some(before) = &before {
            self.count_out(&before.document);
        }
        self.drop_trees();
        before
    }

    /// Takes back a [`put`](Self::put).
    pub fn restore(&mut self, name: &DocumentName, before: Option<Slot>) {
        match before {
            Some(slot) => {
                self.put(slot);
            }
            None => self.remove(name),
        }
    }

    /// Lets go of a document.
    pub fn remove(&mut self, name: &DocumentName) {
        if let Some(slot) = self.slots.remove(name) {
            self.count_out(&slot.document);
        }
    }

    fn count_in(&mut self, document: &Document) {
        let bytes = state_bytes(document);
        if document.meta.volatile {
            self.volatile = Weight { documents: self.volatile.documents + 1, bytes: self.volatile.bytes + bytes };
        } else {
            self.state_bytes += bytes;
        }
    }

    fn count_out(&mut self, document: &Document) {
        let bytes = state_bytes(document);
        if document.meta.volatile {
            self.volatile = Weight { documents: self.volatile.documents - 1, bytes: self.volatile.bytes - bytes };
        } else {
            self.state_bytes -= bytes;
        }
    }

    /// The documents that are in memory alone, deleted ones included.
    pub fn volatile(&self) -> Weight {
        self.volatile
    }

    /// How many documents could be dropped from memory.
    fn cacheable(&self) -> usize {
        self.slots.len() - self.volatile.documents
    }

    /// A snapshot of this document was stored.
    pub fn snapshot_taken(&mut self, name: &DocumentName, now: Timestamp) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.since = Since::nothing(now, slot.since.policy);
        }
    }

    /// The documents in memory.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.values()
    }

    /// Whether more is in memory than the bounds allow.
    pub fn over(&self, options: &Options) -> bool {
        self.cacheable() > options.hot.documents_max || self.state_bytes > options.hot.bytes_max
    }

    /// How many documents must go so that one tenth of the bounds is free again, by count and by share of bytes.
    pub fn surplus(&self, options: &Options) -> usize {
        let by_count = self.cacheable().saturating_sub(options.hot.documents_max / 10 * 9);
        let bytes_over = self.state_bytes.saturating_sub(options.hot.bytes_max / 10 * 9);
        let bytes_each = (self.state_bytes / self.cacheable().max(1)).max(1);
        by_count.max(bytes_over.div_ceil(bytes_each))
    }

    /// Keeps the trees of the documents written last. The entry of an older version of a document stands for nothing
    /// and is only counted out.
    fn drop_trees(&mut self) {
        while self.trees.len() > limits::TREES_MAX || self.trees_bytes > limits::TREES_BYTES_MAX {
            let Some((name, version, bytes)) = self.trees.pop_front() else { return };
            self.trees_bytes -= bytes;
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            if slot.document.version == version {
                slot.tree = None;
            }
        }
    }
}

fn state_bytes(document: &Document) -> usize {
    document.state.as_ref().map_or(0, bytes::Bytes::len)
}

/// The refusal of a change while too much waits for the disk already.
pub(crate) fn past_bound(full: bool) -> Error {
    let (kind, message) = if full {
        (Kind::StorageFull, "storage is full, and as many changes wait in memory as may; free some space")
    } else {
        (Kind::StorageUnavailable, "storage does not take writes, and as many changes wait in memory as may")
    };
    Error::new(kind, message).with("retryAfterSeconds", 5)
}
