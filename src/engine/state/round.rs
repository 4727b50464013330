//! What one round of the engine has decided, before it is stored. Nobody outside the engine sees any of it, refusals
//! included, before that: a refusal may tell of a change made in the same round.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::backlog::{BacklogEntry, PendingAnswer};
use super::kept_answers::ScopedKey;
use super::maintenance::Maintenance;
use crate::base::error::{Error, Result};
use crate::base::ids::DocumentName;
use crate::document::model::Document;
use crate::engine::hooks::PendingGroups;
use crate::engine::request::{
    Barrier, CommittedWrite, Durability, RepairRequest, ReplyTo, RescueRequest, RevocationRequest, RowsRequest,
    WriteKey, WriteOutcome, WriteReply, WriteTimes,
};
use crate::store::IdempotencyRow;

/// See the module. Bounded by the commands and bytes that a round takes.
#[derive(Default)]
pub(crate) struct Round {
    /// The events with what belongs to them, in the order of the log.
    pub entries: Vec<BacklogEntry>,
    /// Bytes of the events' bodies.
    pub bytes: usize,
    /// The documents that changed.
    pub changed: HashSet<DocumentName>,
    /// Rows of features, which go into the same transaction.
    pub rows_requests: Vec<Box<dyn RowsRequest>>,
    /// What is taken from somebody, which goes into the same transaction.
    pub revocations: Vec<RevocationRequest>,
    /// Answers to keep in memory: of writes that touched volatile documents alone.
    pub volatile_answers: Vec<IdempotencyRow>,
    pub maintenance: Maintenance,
    /// How many rows hooks have added to the entries.
    pub pending_groups: PendingGroups,
    /// Repairs, each to be made in a transaction of its own when the round is stored.
    pub repairs: Vec<RepairRequest>,
    /// Rescues, likewise.
    pub rescues: Vec<RescueRequest>,
    pub barriers: Vec<oneshot::Sender<Barrier>>,
    pub relocation_replies: Vec<RelocationReply>,
    replies: Vec<PendingReply>,
    /// The reply of each idempotency key of this round.
    keys: HashMap<ScopedKey, usize>,
}

/// An answer to give when the round is stored.
struct PendingReply {
    to: ReplyTo<WriteReply>,
    queue: Duration,
    content: ReplyContent,
}

/// The answer to a step of a relocation, to be given when everything before it is stored.
pub(crate) struct RelocationReply {
    pub to: ReplyTo<Option<Arc<Document>>>,
    pub answer: Result<Option<Arc<Document>>>,
}

/// What a write is answered with.
pub(crate) enum ReplyContent {
    Made {
        outcomes: Vec<WriteOutcome>,
        key: Option<WriteKey>,
    },
    /// The same answer as an earlier reply of this round.
    SameAs(usize),
    Given(Result<WriteReply>),
}

impl Round {
    /// Adds the answer to a write that has waited for `queue`.
    pub(crate) fn add_reply(&mut self, to: ReplyTo<WriteReply>, queue: Duration, content: ReplyContent) {
        self.replies.push(PendingReply { to, queue, content });
    }

    /// Notes that the next reply is that to this key.
    pub(crate) fn add_key(&mut self, key: ScopedKey) {
        self.keys.insert(key, self.replies.len());
    }

    /// The write of this round with the same key, and which reply it has.
    pub(crate) fn find_key(&self, key: &ScopedKey) -> Option<(&WriteKey, usize)> {
        let index = *self.keys.get(key)?;
        match &self.replies.get(index)?.content {
            ReplyContent::Made { key: Some(earlier), .. } => Some((earlier, index)),
            _ => None,
        }
    }

    /// Drops the entries from `first` on: their request is refused.
    pub(crate) fn undo(&mut self, first: usize, bytes: usize) {
        for entry in self.entries.drain(first..) {
            entry.hook_rows.iter().for_each(|rows| self.pending_groups.remove(rows));
        }
        self.bytes = bytes;
    }

    /// The newest entry completes a write, or a change that is none.
    pub(crate) fn end_write(&mut self) {
        if let Some(entry) = self.entries.last_mut() {
            entry.ends_write = true;
        }
    }

    /// Answers all who wait, once the round is stored or waits in the backlog.
    pub(crate) fn reply(self, durability: Durability, apply: Duration, commit: Duration) {
        for request in self.rows_requests {
            request.finish(durability == Durability::Durable);
        }
        for request in self.revocations {
            let _ = request.reply.send(Ok(durability));
        }
        for RelocationReply { to, answer } in self.relocation_replies {
            let _ = to.send(answer);
        }
        let mut rendered: HashMap<usize, Bytes> = HashMap::new();
        for reply in &self.replies {
            if let ReplyContent::SameAs(first) = reply.content
                && let Some(PendingReply { content: ReplyContent::Made { outcomes, key: Some(key) }, .. }) =
                    self.replies.get(first)
            {
                rendered.entry(first).or_insert_with(|| (key.render)(outcomes, durability));
            }
        }
        for PendingReply { to, queue, content } in self.replies {
            let times = WriteTimes { queue, apply, commit };
            let answer = match content {
                ReplyContent::Made { outcomes, .. } => {
                    Ok(WriteReply::Made(CommittedWrite { outcomes, durability, times }))
                }
                ReplyContent::SameAs(first) => match rendered.get(&first) {
                    Some(bytes) => Ok(WriteReply::Replayed(bytes.clone())),
                    None => Err(Error::internal("a repeated key without its first answer")),
                },
                ReplyContent::Given(answer) => answer,
            };
            // Whoever asked may have gone; what was decided stands.
            let _ = to.send(answer);
        }
    }

    /// The answers for keys of this round as long as it is not durable.
    pub(crate) fn pending_answers(&self) -> Vec<(ScopedKey, PendingAnswer)> {
        let answer = |(name, first): (&ScopedKey, &usize)| match &self.replies.get(*first)?.content {
            ReplyContent::Made { outcomes, key: Some(key) } if !all_volatile(outcomes) => {
                Some((name.clone(), (key.key.fingerprint, (key.render)(outcomes, Durability::Pending))))
            }
            _ => None,
        };
        self.keys.iter().filter_map(answer).collect()
    }
}

/// Whether nothing of a write is for the disk.
pub(crate) fn all_volatile(outcomes: &[WriteOutcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.document.meta.volatile)
}
