//! What of it a follower may read, and what becomes of the stream when that changes.
//!
//! A change of access is an event like any other, so everything that a follower is told stands before it or after. As
//! the follower may see the document now it can go on from what it was told only if it might see as much then: else it
//! is given the whole state, or nothing more.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Follow, Item, Reason, filter};
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::document::event::Event;
use crate::document::model::Meta;
use crate::document::visibility::Viewer;
use crate::live::ring::Ring;
use crate::live::topics::WakeReason;
use crate::store::Reader;

/// What a follower may be told of events that come next.
pub(super) enum ReadableEvents {
    /// These, maybe none.
    Told(Vec<Arc<Event>>),
    /// The whole present: they do not continue what it was told.
    Anew,
    /// Nothing more: it may no longer read one of the documents, or that is another one now.
    Ended,
}

/// What changes of a document's access mean to a follower. The greater outweighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AccessChange {
    /// Nothing.
    None,
    /// It may see more or less of it.
    Other,
    /// It may no longer read it.
    Ended,
}

impl Follow {
    pub(super) async fn may_read(&self, name: &DocumentName) -> Result<bool> {
        if self.viewer == Viewer::Owner {
            return Ok(true);
        }
        Ok(self.reads.meta(name).await?.is_none_or(|meta| meta.may_read(&self.viewer)))
    }

    /// The events that it may be told of those that come next, as far as what it was told before can be continued.
    pub(super) fn readable(&self, mut events: Vec<Arc<Event>>) -> ReadableEvents {
        if self.viewer == Viewer::Owner {
            return ReadableEvents::Told(events);
        }
        let lost =
            |event: &Arc<Event>| self.viewer.credential_scope().is_some_and(|scope| scope.has_lost(event.meta.key));
        if events.iter().any(lost) {
            return ReadableEvents::Ended;
        }
        let changed: HashSet<i64> = events
            .iter()
            .filter(|event| event.meta.access_seq > self.access_known)
            .map(|event| event.meta.key)
            .collect();
        if !changed.is_empty() {
            let ring = self.reads.hub.gate();
            let newest = changed.iter().filter_map(|key| events.iter().find(|event| event.meta.key == *key));
            match newest.map(|event| self.access_change(&ring, &event.meta)).max() {
                Some(AccessChange::Ended) => return ReadableEvents::Ended,
                Some(AccessChange::Other) => return ReadableEvents::Anew,
                Some(AccessChange::None) | None => {}
            }
        }
        events.retain(|event| event.meta.may_read(&self.viewer));
        ReadableEvents::Told(events)
    }

    /// What the changes of a document's access after `access_known` mean to it. `meta`: as they are now.
    fn access_change(&self, ring: &Ring, meta: &Meta) -> AccessChange {
        let after = self.access_known;
        let complete = ring.covers_after(after);
        let first = ring.after(after).find(|event| event.meta.key == meta.key && event.changes_access());
        let before = first.filter(|_| complete).and_then(|event| event.before_access());
        let audience_before = before.map(|before| before.audience_of_reader(&self.viewer));
        match (audience_before, meta.audience_of_reader(&self.viewer)) {
            (Some(before), now) if before == now => AccessChange::None,
            (Some(_), None) => AccessChange::Ended,
            // What it was before is not remembered.
            (None, None) if self.is_of(&meta.name) => AccessChange::Ended,
            (None | Some(_), _) => AccessChange::Other,
        }
    }

    pub(super) async fn access_item(&mut self, sifted: ReadableEvents) -> Result<Item> {
        if matches!(sifted, ReadableEvents::Ended) {
            return Ok(Item::AccessEnded);
        }
        let named: Vec<_> = self.subscription.interest().documents.iter().cloned().collect();
        let barred = self.reads.unreadable(named, &self.viewer).await?;
        let item = self.snapshot_anew(Reason::Access).await?;
        self.presence_subscription.count_except(&barred);
        self.subscription.wake_later(WakeReason::PRESENCE);
        Ok(item)
    }

    /// Whether what it may see has changed after `from`, so that what it was told until then cannot be continued.
    /// `stored`: whether the ring does not reach back so far.
    pub(super) async fn access_changed(&self, from: Seq, stored: bool) -> Result<bool> {
        // Who begins at the beginning was told nothing.
        if self.viewer == Viewer::Owner || from == Seq::ZERO {
            return Ok(false);
        }
        let interest = Arc::clone(self.subscription.interest());
        {
            let ring = self.reads.hub.gate();
            let mut changes =
                ring.after(from).filter(|event| event.changes_access() && interest.covers(&event.meta.name));
            let matters = |event: &Arc<Event>| {
                let before = event.before_access().map(|before| before.audience_of_reader(&self.viewer));
                before != Some(event.meta.audience_of_reader(&self.viewer))
            };
            if changes.any(matters) {
                return Ok(true);
            }
        }
        if !stored {
            return Ok(false);
        }
        let changed = move |reader: &Reader| Ok(reader.access_seq(&filter(reader, &interest, None)?)? > from);
        self.reads.read(changed).await
    }

    /// An event that was read from disk, with the document's facts as they are now.
    pub(super) fn current(&self, event: Arc<Event>) -> Arc<Event> {
        match self.reads.hub.peek(&event.meta.name) {
            Some(document) if document.meta.access_seq != event.meta.access_seq => {
                Arc::new(event.with_meta(Arc::clone(&document.meta)))
            }
            _ => event,
        }
    }
}
