//! Following only those documents that match a question, as the follower may see them.
//!
//! A document is looked at after each of its events. One that comes to match is told whole ([`Item::Entered`]) in
//! place of the change by which it does, one that no longer does by [`Item::Left`]. In between its changes are told as
//! always; those of a document that does not match are left out.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::{Follow, Item};
use crate::base::error::{Kind, Result};
use crate::base::ids::{DocumentName, Version};
use crate::base::limits::STREAM_DOCUMENTS_MAX;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::query::filter::Filter;
use crate::document::query::{QueriedDocument, QueriedPaths};
use crate::document::visibility::Viewer;
use crate::engine::time_travel::roll_forward;

/// Which documents match, as the follower was told.
pub(super) struct Matching {
    filter: Filter,
    /// Documents that match, or do not. At most [`STREAM_DOCUMENTS_MAX`] that do not: past it they are forgotten, and
    /// looked up when they change.
    known: HashMap<DocumentName, bool>,
    /// Whether those that are not known do not match: the follower was told of the whole present.
    complete: bool,
    /// What is next, of what was read together.
    ready: VecDeque<Item>,
}

/// What becomes of the events of a document that were read together.
struct MatchedEvents {
    /// What is told instead of each of them.
    items: VecDeque<Option<Item>>,
    /// Whether the document matches after them; `None`: it is not known.
    after: Option<bool>,
}

impl Matching {
    pub(super) fn new(filter: Filter) -> Self {
        Self { filter, known: HashMap::new(), complete: false, ready: VecDeque::new() }
    }

    /// The documents of a whole present that match: from now on these are known, and no others match.
    pub(super) fn retain_matching(&mut self, documents: &mut Vec<Arc<Document>>, viewer: &Viewer) -> Result<()> {
        let mut matching = Vec::with_capacity(documents.len());
        for document in std::mem::take(documents) {
            if matches(&self.filter, &document, viewer)? {
                matching.push(document);
            }
        }
        self.known = matching.iter().map(|document| (document.meta.name.clone(), true)).collect();
        (self.complete, *documents) = (true, matching);
        self.ready.clear();
        Ok(())
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.ready.pop_front()
    }

    /// Notes what became of documents, and has their events told accordingly.
    fn enqueue(&mut self, events: &[Arc<Event>], mut matched: HashMap<DocumentName, MatchedEvents>) {
        for event in events {
            let of_document = matched.get_mut(&event.meta.name);
            match of_document.and_then(|matched| matched.items.pop_front()).flatten() {
                Some(Item::Changes(mut events)) => match self.ready.back_mut() {
                    Some(Item::Changes(told)) => told.append(&mut events),
                    _ => self.ready.push_back(Item::Changes(events)),
                },
                Some(item) => self.ready.push_back(item),
                None => {}
            }
        }
        for (name, MatchedEvents { after, .. }) in matched {
            match after {
                Some(false) if self.complete => drop(self.known.remove(&name)),
                Some(matching) => drop(self.known.insert(name, matching)),
                None => {}
            }
        }
        if self.known.len() > 2 * STREAM_DOCUMENTS_MAX {
            self.known.retain(|_, matching| *matching);
        }
    }
}

/// What is told instead of an event. `before`, `after`: whether its document matched, and does; `None`: it is not
/// known. `document`: as it is after the event.
fn item(
    event: &Arc<Event>,
    before: Option<bool>,
    after: Option<bool>,
    document: Option<&Arc<Document>>,
) -> Option<Item> {
    let change = || Item::Changes(vec![Arc::clone(event)]);
    match (before, after) {
        (Some(true), Some(true) | None) => Some(change()),
        (Some(true) | None, Some(false)) if event.deletes => Some(change()),
        (Some(true) | None, Some(false)) => Some(Item::Left(Arc::clone(event))),
        (Some(false) | None, Some(true)) => document.cloned().map(Item::Entered),
        (Some(false), Some(false)) | (Some(false) | None, None) => None,
    }
}

/// Whether a document matches, as `viewer` is shown it.
fn matches(filter: &Filter, document: &Document, viewer: &Viewer) -> Result<bool> {
    if document.is_deleted() || !document.meta.may_read(viewer) {
        return Ok(false);
    }
    let paths = QueriedPaths::new(filter.paths());
    Ok(filter.matches(&QueriedDocument::new(document, viewer, &paths)?.0))
}

impl Follow {
    /// Puts the events that are next through the question, if there is one. Cancel safe: nothing is taken before all is
    /// known.
    pub(super) async fn match_next(&mut self) -> Result<()> {
        let Some(matching) = &self.matching else { return Ok(()) };
        let Some(Item::Changes(events)) = self.messages.front() else { return Ok(()) };
        if matching.has_ready() {
            return Ok(());
        }
        let mut matched = HashMap::new();
        let names: HashSet<&DocumentName> = events.iter().map(|event| &event.meta.name).collect();
        for name in names {
            let of_document: Vec<_> = events.iter().filter(|event| event.meta.name == *name).cloned().collect();
            matched.insert(name.clone(), self.match_document(matching, &of_document).await?);
        }
        let events = self.messages.pop_changes();
        if let Some(matching) = &mut self.matching {
            matching.enqueue(&events, matched);
        }
        Ok(())
    }

    /// `events`: of one document, each version after the one before.
    async fn match_document(&self, matching: &Matching, events: &[Arc<Event>]) -> Result<MatchedEvents> {
        let Some(first) = events.first() else { return Ok(MatchedEvents { items: VecDeque::new(), after: None }) };
        let known = matching.known.get(&first.meta.name).copied();
        let mut matches_now = known.or((matching.complete || first.version <= Version(1)).then_some(false));
        let newest = match self.reads.document(&first.meta.name).await {
            Err(error) if error.kind() == Kind::Damaged => None,
            found => found?,
        };
        let newest = newest.filter(|newest| events.last().is_some_and(|last| newest.hash == last.hash));
        // Most come one by one, and then what there is now is what there is after it.
        let before = match (matches_now, events) {
            (Some(_), [_]) if newest.is_some() => None,
            _ => self.document_before(first).await?,
        };
        let matches = |document: &Document| matches(&matching.filter, document, &self.viewer);
        if matches_now.is_none() {
            matches_now = before.as_deref().map(matches).transpose()?;
        }
        let (mut items, mut document) = (VecDeque::with_capacity(events.len()), before);
        for (index, event) in events.iter().enumerate() {
            let is_known = document.is_some() || event.version <= Version(1);
            document = match &newest {
                Some(newest) if index + 1 == events.len() => Some(Arc::clone(newest)),
                _ if is_known => roll_forward(document.as_deref(), [event])?.map(Arc::new),
                _ => None,
            };
            let after = document.as_deref().map(matches).transpose()?;
            items.push_back(item(event, matches_now, after, document.as_ref()));
            matches_now = after.or(matches_now);
        }
        Ok(MatchedEvents { items, after: matches_now })
    }

    /// A document as it was before an event; `None`: it was not there, or what it was then is not kept.
    async fn document_before(&self, event: &Event) -> Result<Option<Arc<Document>>> {
        let Some(version) = event.version.0.checked_sub(1).filter(|version| *version > 0) else { return Ok(None) };
        match self.reads.document_at(&event.meta.name, Version(version), &self.viewer).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Gone | Kind::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
