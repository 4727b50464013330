//! What a follower is told beside the changes: after the change that it is about and before any later one, and what was
//! missed directly after the replay.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::matching::Matching;
use super::{Follow, Item, Reason};
use crate::base::error::Result;
use crate::base::ids::Seq;
use crate::document::event::Event;
use crate::document::visibility::{self, Audience};
use crate::live::messages::{MessageRecipient, MissedRequest, Since, StreamMessage};

/// How far a follower is with its messages.
pub(super) struct MessageCursor {
    device: Option<Arc<str>>,
    /// Those about changes up to here are told, or are among those that were missed.
    pub through: Seq,
    /// To be told once the replay is, oldest first.
    missed: Vec<Arc<StreamMessage>>,
    /// Items that are next, in their order: what was read together and is told apart.
    ready: VecDeque<Item>,
}

impl MessageCursor {
    pub(super) fn new(device: Option<Arc<str>>) -> Self {
        Self { device, through: Seq::ZERO, missed: Vec::new(), ready: VecDeque::new() }
    }

    /// Puts changes and messages up to `reached` in the order in which they are told: each message after the change
    /// that it is about and before any later one, and what was missed of a replay at its end, which is `announced`.
    pub(super) fn enqueue(
        &mut self,
        mut events: Vec<Arc<Event>>,
        messages: Vec<Arc<StreamMessage>>,
        reached: Seq,
        announced: Seq,
    ) {
        let place = |message: &Arc<StreamMessage>| message.seq.max(announced);
        let due = self.missed.partition_point(|message| place(message) <= reached);
        let mut due: Vec<_> = self.missed.drain(..due).chain(messages).collect();
        due.sort_by_key(place);
        for message in due {
            let later = events.split_off(events.partition_point(|event| event.seq <= place(&message)));
            self.push_changes(std::mem::replace(&mut events, later));
            match self.ready.back_mut() {
                Some(Item::Messages(told)) => told.push(message),
                _ => self.ready.push_back(Item::Messages(vec![message])),
            }
        }
        self.push_changes(events);
    }

    /// What is next.
    pub(super) fn front(&self) -> Option<&Item> {
        self.ready.front()
    }

    /// Takes the changes that are next; none, if something else is.
    pub(super) fn pop_changes(&mut self) -> Vec<Arc<Event>> {
        match self.ready.pop_front() {
            Some(Item::Changes(events)) => events,
            other => {
                other.into_iter().for_each(|item| self.ready.push_front(item));
                Vec::new()
            }
        }
    }

    fn push_changes(&mut self, events: Vec<Arc<Event>>) {
        if !events.is_empty() {
            self.ready.push_back(Item::Changes(events));
        }
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
        let matching = self.matching.as_ref().is_some_and(Matching::has_ready);
        matching || !self.messages.missed.is_empty() || !self.messages.ready.is_empty()
    }

    /// Whether messages come next.
    pub(crate) fn are_messages_next(&self) -> bool {
        let matching = self.matching.as_ref().is_some_and(Matching::has_ready);
        !matching && matches!(self.messages.ready.front(), Some(Item::Messages(_)))
    }

    /// The next of what was read together, as far as its viewer may see it now. Cancel safe.
    pub(super) async fn pop_queued(&mut self) -> Result<Option<Item>> {
        while self.matching.is_some() {
            if let Some(item) = self.matching.as_mut().and_then(Matching::pop) {
                return Ok(Some(item));
            }
            if !matches!(self.messages.front(), Some(Item::Changes(_))) {
                break;
            }
            self.match_next().await?;
        }
        while let Some(Item::Messages(messages)) = self.messages.ready.front() {
            let visible = self.visible_messages(messages).await;
            self.messages.ready.pop_front();
            if !visible.is_empty() {
                return Ok(Some(Item::Messages(visible)));
            }
        }
        Ok(self.messages.ready.pop_front())
    }

    /// Where it is with what is in memory: nowhere behind, where it is told none.
    pub(super) fn messages_after(&self) -> Seq {
        if self.messages.device.is_some() { self.messages.through } else { Seq(u64::MAX) }
    }

    /// Looks for what was missed before a stream that begins with `first`. `resume`: the position that its client came
    /// back with.
    pub(super) async fn find_missed_at_start(&mut self, first: &Item, resume: Option<Seq>) {
        let (since, told_at) = match first {
            Item::Resumed { from, to, .. } => (Since::Acknowledged(from.seq()), to.seq()),
            Item::Snapshot { reason: Reason::Start | Reason::Diverged, position, .. } => {
                (Since::Nothing, position.seq())
            }
            Item::Snapshot { position, .. } => (resume.map_or(Since::Nothing, Since::Acknowledged), position.seq()),
            _ => return,
        };
        if let Some(missed) = self.find_missed(since, Some(told_at)).await {
            self.add_missed(missed);
        }
    }

    /// The whole present anew, and before anything else what is for its viewer of what it leaves out. Cancel safe:
    /// nothing is changed before the last step.
    pub(super) async fn snapshot_anew(&mut self, reason: Reason) -> Result<Item> {
        let missed = self.find_missed(Since::Told(self.messages.through), None).await;
        let item = self.snapshot(reason).await?;
        if let Some(missed) = missed {
            self.add_missed(missed);
        }
        Ok(item)
    }

    /// `told_at`: where the stream will be when it tells them; `None`: where the log ends, or later.
    async fn find_missed(&self, since: Since, told_at: Option<Seq>) -> Option<Missed> {
        let device = self.messages.device.clone()?;
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
        let (viewer, told_at) = (self.viewer.clone(), told_at.unwrap_or(through));
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
        Some(Missed { messages, through })
    }

    fn add_missed(&mut self, Missed { messages, through }: Missed) {
        self.messages.through = self.messages.through.max(through);
        self.messages.missed.extend(messages);
        if self.cursor >= self.announced {
            self.messages.enqueue(Vec::new(), Vec::new(), self.cursor, self.announced);
        }
    }

    /// Those of `messages` whose viewer may see what they are about. Where it cannot be read who may, nobody does.
    async fn visible_messages(&self, messages: &[Arc<StreamMessage>]) -> Vec<Arc<StreamMessage>> {
        let mut visible = Vec::with_capacity(messages.len());
        for message in messages {
            let Ok(Some(meta)) = self.reads.meta(&message.document).await else { continue };
            let shown = match (meta.audience_of_reader(&self.viewer), &message.to) {
                (None, _) => false,
                (Some(Audience::Host), _) | (Some(_), MessageRecipient::Viewer(_)) => true,
                (Some(Audience::Player(player)), MessageRecipient::Readers { path }) => {
                    visibility::check_path(path, player).is_ok()
                }
            };
            if shown {
                visible.push(Arc::clone(message));
            }
        }
        visible
    }

    /// The stored messages about changes up to `reached` that come before what is in memory.
    pub(super) async fn stored_messages(&self, reached: Seq) -> Result<Vec<Arc<StreamMessage>>> {
        let after = self.messages.through;
        if self.messages.device.is_none() || reached <= after {
            return Ok(Vec::new());
        }
        let mut messages = Vec::new();
        for store in self.reads.hub.message_stores() {
            let interest = Arc::clone(self.subscription.interest());
            let stored = store.between(self.viewer.clone(), interest, after.next()..=reached).await?;
            messages.extend(stored.into_iter().map(Arc::new));
        }
        messages.sort_by_key(|message| message.seq);
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use serde_json::{Value, json};

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::ids::{DocumentName, UserId, Version};
    use crate::document::access::Access;
    use crate::document::chain::Hash;
    use crate::document::event::Content;
    use crate::document::model::Meta;
    use crate::document::patch::diff;

    fn event(seq: u64) -> Arc<Event> {
        let (at, name) = (Timestamp::from_millis(0), DocumentName::new("notes", "n").unwrap());
        let (access, access_seq) = (Access::default(), Seq::ZERO);
        let meta = Meta { key: 1, name, host: None, access, access_seq, created_at: at, volatile: false };
        let (payload, change) = (Value::Null, diff(None, Some(&json!({})), 2).unwrap());
        let actor = UserId::new("alice").unwrap();
        let (kind, records_access, salt) = ("create", false, [0; 16]);
        let content = Content { kind, actor: &actor, at, payload: &payload, change: &change, records_access, salt };
        Arc::new(Event::new(Seq(seq), Arc::new(meta), Version(1), Hash::ZERO, &content).unwrap())
    }

    fn message(seq: u64) -> Arc<StreamMessage> {
        let (document, to) = (DocumentName::new("games", "g").unwrap(), MessageRecipient::Viewer("alice".into()));
        let (id, data) = (seq.to_string().into(), "{}".into());
        Arc::new(StreamMessage { id, event: "message", seq: Seq(seq), position: None, document, to, data })
    }

    /// What is told, in order: the seqs of changes, and those of messages with a minus.
    fn told(cursor: &mut MessageCursor) -> Vec<i64> {
        let seqs = |item: Item| -> Vec<i64> {
            match item {
                Item::Changes(events) => events.iter().map(|event| i64::try_from(event.seq.0).unwrap()).collect(),
                Item::Messages(told) => told.iter().map(|message| -i64::try_from(message.seq.0).unwrap()).collect(),
                other => unreachable!("{other:?}"),
            }
        };
        cursor.ready.drain(..).flat_map(seqs).collect()
    }

    #[test]
    fn what_was_missed_comes_at_the_end_of_the_replay_and_never_before_the_change_that_it_is_about() {
        let mut cursor = MessageCursor::new(Some("phone".into()));
        // The replay is of 3 to 7. What came before it was looked for is missed too.
        cursor.missed = vec![message(2), message(5), message(9)];
        let events = |seqs: &[u64]| seqs.iter().map(|seq| event(*seq)).collect::<Vec<_>>();
        cursor.enqueue(events(&[3, 4]), Vec::new(), Seq(5), Seq(7));
        assert_eq!(told(&mut cursor), [3, 4]);
        cursor.enqueue(events(&[6, 7, 8]), Vec::new(), Seq(8), Seq(7));
        assert_eq!(told(&mut cursor), [6, 7, -2, -5, 8]);
        cursor.enqueue(events(&[10]), vec![message(10), message(11)], Seq(11), Seq(7));
        assert_eq!(told(&mut cursor), [-9, 10, -10, -11]);
        cursor.enqueue(events(&[12, 13]), vec![message(12)], Seq(13), Seq(7));
        assert_eq!(told(&mut cursor), [12, -12, 13]);
    }
}
