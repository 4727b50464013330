//! What a follower is told beside the changes: after the change that it is about and before any later one, and what was
//! missed directly after the replay.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{Follow, Item, Reason};
use crate::base::error::Result;
use crate::base::ids::Seq;
use crate::document::event::Event;
use crate::document::visibility::{self, Audience};
use crate::live::messages::{MessageRecipient, MissedRequest, Since, StreamMessage};

/// How a follower's client gets the messages that are for it. What one device has acknowledged another may not have.
#[derive(Clone, Debug)]
pub(crate) enum MessageDelivery {
    /// It gets none.
    None,
    /// This device has a stream, which may break off anywhere.
    Stream(Arc<str>),
    /// This device asks for pages, each of which it has whole or not at all.
    Pages(Arc<str>),
}

impl MessageDelivery {
    fn device(&self) -> Option<&Arc<str>> {
        match self {
            Self::None => None,
            Self::Stream(device) | Self::Pages(device) => Some(device),
        }
    }

    /// Whether it gets any.
    pub(super) fn is_wanted(&self) -> bool {
        self.device().is_some()
    }
}

/// How far a follower is with its messages.
pub(super) struct MessageCursor {
    delivery: MessageDelivery,
    /// Those about changes up to here are told, or are among those that were missed.
    pub through: Seq,
    /// To be told once the replay is.
    missed: Vec<Arc<StreamMessage>>,
    /// Items that are next, in their order: what was read together and is told apart.
    ready: VecDeque<Item>,
}

impl MessageCursor {
    pub(super) fn new(delivery: MessageDelivery) -> Self {
        Self { delivery, through: Seq::ZERO, missed: Vec::new(), ready: VecDeque::new() }
    }
}

/// Messages that were missed before a stream went on.
pub(super) struct Missed {
    messages: Vec<Arc<StreamMessage>>,
    through: Seq,
}

impl Follow {
    /// Whether messages that were missed are still to be told.
    pub(crate) fn has_missed_messages(&self) -> bool {
        !self.messages.missed.is_empty() || !self.messages.ready.is_empty()
    }

    pub(super) fn next_ready(&mut self) -> Option<Item> {
        self.messages.ready.pop_front()
    }

    /// Where it is with what is in memory: nowhere behind, where it is told none.
    pub(super) fn messages_after(&self) -> Seq {
        if self.messages.delivery.is_wanted() { self.messages.through } else { Seq(u64::MAX) }
    }

    /// Looks for what was missed before a stream that begins with `first`. `resume`: the position that its client came
    /// back with.
    pub(super) async fn find_missed_at_start(&mut self, first: &Item, resume: Option<Seq>) -> Result<()> {
        let (since, told_at) = match first {
            Item::Resumed { from, to, .. } => (Since::Acknowledged(from.seq()), to.seq()),
            Item::Snapshot { reason: Reason::Start | Reason::Diverged, position, .. } => {
                (Since::Nothing, position.seq())
            }
            Item::Snapshot { position, .. } => (resume.map_or(Since::Nothing, Since::Acknowledged), position.seq()),
            _ => return Ok(()),
        };
        let told_at = match self.messages.delivery {
            // Who comes back from there has the page, and what is in it.
            MessageDelivery::Pages(_) => Seq(told_at.0.saturating_sub(1)),
            _ => told_at,
        };
        if let Some(missed) = self.find_missed(since, told_at).await? {
            self.add_missed(missed);
        }
        Ok(())
    }

    /// The whole present anew, and before anything else what is for its viewer of what it leaves out. Cancel safe:
    /// nothing is changed before the last step.
    pub(super) async fn snapshot_anew(&mut self, reason: Reason) -> Result<Item> {
        // Whoever does not get all of this comes back from before it, wherever it will be.
        let missed = self.find_missed(Since::Told(self.messages.through), Seq(u64::MAX)).await?;
        let item = self.snapshot(reason).await?;
        if let Some(missed) = missed {
            self.add_missed(missed);
        }
        Ok(item)
    }

    async fn find_missed(&self, since: Since, told_at: Seq) -> Result<Option<Missed>> {
        let Some(device) = self.messages.delivery.device() else { return Ok(None) };
        let interest = Arc::clone(self.subscription.interest());
        // What is not stored yet is in memory; the rest is asked for, in case it has been read since.
        let (through, mut messages) = {
            let ring = self.reads.hub.gate();
            let after = match since {
                Since::Nothing => Seq::ZERO,
                Since::Acknowledged(seq) => Seq(seq.0.saturating_sub(1)),
                Since::Told(seq) => seq,
            };
            let after = after.max(ring.durable());
            let unstored = ring.messages_after(after).filter(|message| message.concerns(&self.viewer, &interest));
            (ring.head().0, unstored.cloned().collect::<Vec<_>>())
        };
        let (viewer, device) = (self.viewer.clone(), Arc::clone(device));
        let request = MissedRequest { viewer, device, interest, since, through, told_at };
        for store in self.reads.hub.message_stores() {
            match store.missed(request.clone()).await {
                Ok(stored) => messages.extend(stored.into_iter().map(Arc::new)),
                Err(error) => tracing::warn!(%error, "stored messages cannot be read; a stream goes on without them"),
            }
        }
        let mut known = HashSet::new();
        messages.retain(|message| known.insert(Arc::clone(&message.id)));
        messages.sort_by_key(|message| message.seq);
        let messages = self.visible_messages(messages).await?;
        Ok(Some(Missed { messages, through }))
    }

    fn add_missed(&mut self, Missed { messages, through }: Missed) {
        self.messages.through = self.messages.through.max(through);
        self.messages.missed.extend(messages);
        if self.cursor >= self.announced {
            self.enqueue(Vec::new(), Vec::new(), self.cursor);
        }
    }

    /// Those of `messages` whose viewer may see what they are about.
    pub(super) async fn visible_messages(&self, messages: Vec<Arc<StreamMessage>>) -> Result<Vec<Arc<StreamMessage>>> {
        let mut visible = Vec::with_capacity(messages.len());
        for message in messages {
            let Some(meta) = self.reads.meta(&message.document).await? else { continue };
            let shown = match (meta.audience_of_reader(&self.viewer), &message.to) {
                (None, _) => false,
                (Some(Audience::Host), _) | (Some(_), MessageRecipient::Viewer(_)) => true,
                (Some(Audience::Player(player)), MessageRecipient::Readers { path }) => {
                    visibility::check_path(path, player).is_ok()
                }
            };
            if shown {
                visible.push(message);
            }
        }
        Ok(visible)
    }

    /// The stored messages about changes up to `reached` that come before what is in memory.
    pub(super) async fn stored_messages(&self, reached: Seq) -> Result<Vec<Arc<StreamMessage>>> {
        let after = self.messages.through;
        if !self.messages.delivery.is_wanted() || reached <= after {
            return Ok(Vec::new());
        }
        let mut messages = Vec::new();
        for store in self.reads.hub.message_stores() {
            let interest = Arc::clone(self.subscription.interest());
            let stored = store.between(self.viewer.clone(), interest, (after, reached)).await?;
            messages.extend(stored.into_iter().map(Arc::new));
        }
        messages.sort_by_key(|message| message.seq);
        self.visible_messages(messages).await
    }

    /// Puts changes and messages up to `reached` in the order in which they are told.
    pub(super) fn enqueue(&mut self, mut events: Vec<Arc<Event>>, messages: Vec<Arc<StreamMessage>>, reached: Seq) {
        let missed = match reached >= self.announced {
            true => std::mem::take(&mut self.messages.missed),
            false => Vec::new(),
        };
        let announced = self.announced;
        let placed = missed.into_iter().map(|message| (announced, message));
        let mut placed: Vec<_> = placed.chain(messages.into_iter().map(|message| (message.seq, message))).collect();
        // During a replay that goes on nothing comes between; what is about its changes was missed.
        placed.sort_by_key(|(place, _)| *place);
        for (place, message) in placed {
            let later = events.split_off(events.partition_point(|event| event.seq <= place));
            self.push_changes(std::mem::replace(&mut events, later));
            match self.messages.ready.back_mut() {
                Some(Item::Messages(told)) => told.push(message),
                _ => self.messages.ready.push_back(Item::Messages(vec![message])),
            }
        }
        self.push_changes(events);
    }

    fn push_changes(&mut self, events: Vec<Arc<Event>>) {
        if !events.is_empty() {
            self.messages.ready.push_back(Item::Changes(events));
        }
    }
}
