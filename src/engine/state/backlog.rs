//! What waits for the disk while storage fails.
//!
//! A commit that failed is *unknown*, not failed: the rows may turn up after a crash. So nothing in here is ever
//! renumbered, changed or dropped; when storage returns, what is already there is recognised by its hash and the rest
//! is appended in order. Changes of volatile documents wait in their places too, so that the same bound holds for all;
//! they are never stored.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::kept_answers::ScopedKey;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits::{BACKLOG_RESERVE_BYTES, BACKLOG_RESERVE_EVENTS, BATCH_BYTES_MAX, BATCH_COMMANDS_MAX};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::engine::BacklogBounds;
use crate::engine::hooks::{HookRows, PendingGroups};
use crate::engine::refusal::past_bound;
use crate::engine::revocations::DocumentRevocation;
use crate::store::{Batch, CompanionWrite, IdempotencyRow};

/// Ticks between two attempts at the most.
const DELAY_TICKS_MAX: u32 = 50;
/// The same while another process is waited for.
const SOON_TICKS_MAX: u32 = 5;

/// An event to be stored, with what belongs into the same transaction.
#[derive(Clone, Debug)]
pub(crate) struct BacklogEntry {
    pub event: Arc<Event>,
    /// The document, when this is its first event.
    pub new_document: Option<Arc<Meta>>,
    /// Where the document's history begins, on the first event of one that came from another server without its
    /// beginning.
    pub base: Option<Arc<Document>>,
    /// The idempotency key of the write, on its last event.
    pub key: Option<IdempotencyRow>,
    /// Rows that hooks have added to it.
    pub hook_rows: Vec<HookRows>,
    /// Rows of a feature without which the events of the write are not stored, on its last event.
    pub companion: Option<CompanionWrite>,
    /// Whether the document was deleted before it and is there after it.
    pub recreates: bool,
    /// What it takes away, if it is a write that does nothing else: kept in the journal until it is stored.
    pub revocation: Option<DocumentRevocation>,
    /// Whether this is the last event of a write, which is stored whole or not at all.
    pub ends_write: bool,
}

impl BacklogEntry {
    /// An entry of the event alone.
    pub(crate) fn new(event: Arc<Event>) -> Self {
        let (new_document, base, key, companion, revocation) = (None, None, None, None, None);
        Self {
            event,
            new_document,
            base,
            key,
            hook_rows: Vec::new(),
            companion,
            revocation,
            recreates: false,
            ends_write: false,
        }
    }

    /// What it weighs while it waits. An answer counts twice: as it will be stored, and as it is given until then.
    fn bytes(&self) -> usize {
        self.event.body.len() + self.key.as_ref().map_or(0, |key| 2 * key.answer.len())
    }
}

/// Turns entries into what the store takes: nothing of volatile documents, but the answer to a write that touched
/// others as well names them. Snapshots are added by whoever knows which are due.
pub(crate) fn batch_of<'a>(entries: impl IntoIterator<Item = &'a BacklogEntry>) -> Batch {
    let mut batch = Batch::default();
    for entry in entries {
        if !entry.event.meta.volatile {
            batch.documents.extend(entry.new_document.clone());
            batch.events.push(Arc::clone(&entry.event));
            batch.bases.extend(entry.base.clone());
            batch.companions.extend(entry.hook_rows.iter().map(HookRows::companion));
            batch.companions.extend(entry.companion.clone());
        }
        batch.keys.extend(entry.key.clone());
    }
    batch
}

/// The fingerprint of a request and its answer, which is not on disk yet.
pub(crate) type PendingAnswer = (Hash, Bytes);

/// The undurable end of the log. Empty and idle while storage is well.
#[derive(Default)]
pub(crate) struct Backlog {
    entries: VecDeque<BacklogEntry>,
    bytes: usize,
    answers: HashMap<ScopedKey, PendingAnswer>,
    pending_groups: PendingGroups,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    full: bool,
    delay: u32,
    wait: u32,
}

impl Backlog {
    /// Whether storage fails, as far as is known.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.is_some()
    }

    /// Events that wait and will be stored.
    pub(crate) fn unstored(&self) -> usize {
        self.entries.iter().filter(|entry| !entry.event.meta.volatile).count()
    }

    /// The names of the documents that these are of, at most `most`, and whether there are more, for people.
    pub(crate) fn unstored_documents(&self, most: usize) -> String {
        let unstored = self.entries.iter().filter(|entry| !entry.event.meta.volatile);
        let names: BTreeSet<&DocumentName> = unstored.map(|entry| &entry.event.meta.name).collect();
        let told: Vec<String> = names.iter().take(most).map(ToString::to_string).collect();
        let more = if names.len() > most { " and others" } else { "" };
        format!("{}{more}", told.join(", "))
    }

    pub(crate) fn events(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of their bodies and of the answers that are kept for their keys.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Storage failed (again): the next attempt comes after twice as many ticks as the last. `soon`: what fails may end
    /// at any moment, and an attempt costs little.
    pub(crate) fn fail(&mut self, full: bool, soon: bool) {
        let delay_max = if soon { SOON_TICKS_MAX } else { DELAY_TICKS_MAX };
        let delay = self.failing.as_ref().map_or(1, |failing| (failing.delay * 2).min(delay_max));
        self.failing = Some(Failing { full, delay, wait: delay });
    }

    /// Counts a tick; true when it is time for an attempt.
    pub(crate) fn is_due(&mut self) -> bool {
        match &mut self.failing {
            None => false,
            Some(failing) => {
                failing.wait = failing.wait.saturating_sub(1);
                failing.wait == 0
            }
        }
    }

    /// Adds decided events, and the answers to give if their keys come again before they are durable.
    pub(crate) fn push(&mut self, entries: Vec<BacklogEntry>, answers: Vec<(ScopedKey, PendingAnswer)>) {
        self.bytes += entries.iter().map(BacklogEntry::bytes).sum::<usize>();
        entries.iter().flat_map(|entry| &entry.hook_rows).for_each(|rows| self.pending_groups.add(rows));
        self.entries.extend(entries);
        self.answers.extend(answers);
    }

    /// Whether as much waits as may.
    pub(crate) fn is_past_bound(&self, bounds: &BacklogBounds) -> bool {
        self.check_room(bounds, &[]).is_err()
    }

    /// The same for a write that takes something away, for which there is more room.
    pub(crate) fn check_room_to_revoke(&self, bounds: &BacklogBounds, decided: &[BacklogEntry]) -> Result<()> {
        let BacklogBounds { events_max, bytes_max } = *bounds;
        let events_max = events_max.saturating_add(BACKLOG_RESERVE_EVENTS);
        self.check_room(
            &BacklogBounds { events_max, bytes_max: bytes_max.saturating_add(BACKLOG_RESERVE_BYTES) },
            decided,
        )
    }

    /// Refuses a further write when, with what its round has decided already, as much waits as may: a write of several
    /// changes may go past the bound by those, and no other does. Error: `StorageFull` or `StorageUnavailable`.
    pub(crate) fn check_room(&self, bounds: &BacklogBounds, decided: &[BacklogEntry]) -> Result<()> {
        let Some(failing) = &self.failing else { return Ok(()) };
        let events = self.entries.len() + decided.len();
        let bytes = self.bytes + decided.iter().map(BacklogEntry::bytes).sum::<usize>();
        if events >= bounds.events_max || bytes >= bounds.bytes_max {
            return Err(past_bound(failing.full));
        }
        Ok(())
    }

    /// The answer that was given under a key that is not durable yet.
    pub(crate) fn answer(&self, key: &ScopedKey) -> Option<&PendingAnswer> {
        self.answers.get(key)
    }

    /// How many rows of hooks wait.
    pub(crate) fn pending_groups(&self) -> &PendingGroups {
        &self.pending_groups
    }

    /// The hash that the event `seq` has, if it waits here.
    pub(crate) fn hash(&self, seq: Seq) -> Option<Hash> {
        let first = self.entries.front()?.event.seq;
        let index = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        self.entries.get(index).map(|entry| entry.event.hash)
    }

    /// Whether a change of this document waits.
    pub(crate) fn concerns(&self, name: &DocumentName) -> bool {
        self.entries.iter().any(|entry| entry.event.meta.name == *name)
    }

    /// Forgets what is on disk up to `seq`.
    pub(crate) fn drop_durable(&mut self, seq: Seq) {
        while self.entries.front().is_some_and(|entry| entry.event.seq <= seq) {
            if let Some(entry) = self.entries.pop_front() {
                self.bytes -= entry.bytes();
                if let Some(key) = entry.key {
                    self.answers.remove(&(key.scope, key.key));
                }
                entry.hook_rows.iter().for_each(|rows| self.pending_groups.remove(rows));
            }
        }
    }

    /// The next piece to store: whole writes, in order, bounded as any batch, and the seq of its last event, which may
    /// be volatile. `None` when nothing waits.
    pub(crate) fn next_batch(&self) -> Option<(Batch, Seq)> {
        let (mut bytes, mut end) = (0, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            bytes += entry.event.body.len();
            if entry.ends_write {
                end = index + 1;
                if bytes >= BATCH_BYTES_MAX || end >= BATCH_COMMANDS_MAX {
                    break;
                }
            }
        }
        let last = self.entries.get(end.checked_sub(1)?)?;
        Some((batch_of(self.entries.range(..end)), last.event.seq))
    }

    /// Whether a history waits that does not begin with its first version: what comes before it may not be stored
    /// alone.
    pub(crate) fn has_bases(&self) -> bool {
        self.entries.iter().any(|entry| entry.base.is_some())
    }

    /// All that waits, in one piece.
    pub(crate) fn batch_of_all(&self) -> Batch {
        batch_of(&self.entries)
    }

    /// Storage is well again.
    pub(crate) fn recover(&mut self) {
        self.failing = None;
    }
}
