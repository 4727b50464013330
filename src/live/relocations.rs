//! Which documents went to another server, and which came back, for those who ask and those who follow.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::base::error::{Error, Kind, ProblemType};
use crate::base::ids::DocumentName;
use crate::base::limits::RELOCATION_EVENTS_MAX;
use crate::document::chain::Position;

/// The problem types of the feature that moves documents between servers. Without one of its own an error has the
/// general type of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelocationProblems {
    /// The document is on another server; kind `Moved`.
    pub moved: Option<&'static ProblemType>,
    /// It is on its way from or to another server; kind `Frozen`.
    pub frozen: Option<&'static ProblemType>,
    /// Of the documents of one request some are on another server; kind `VersionConflict`.
    pub divided: Option<&'static ProblemType>,
}

impl RelocationProblems {
    pub(crate) fn moved_error(&self, message: impl Into<String>) -> Error {
        error_of(self.moved, Kind::Moved, message)
    }

    pub(crate) fn frozen_error(&self, message: impl Into<String>) -> Error {
        error_of(self.frozen, Kind::Frozen, message)
    }

    pub(crate) fn divided_error(&self, message: impl Into<String>) -> Error {
        error_of(self.divided, Kind::VersionConflict, message)
    }
}

fn error_of(problem: Option<&'static ProblemType>, kind: Kind, message: impl Into<String>) -> Error {
    match problem {
        Some(problem) => problem.error(message),
        None => Error::new(kind, message),
    }
}

/// A document that is on another server now.
#[derive(Debug, PartialEq, Eq)]
pub struct MovedDocument {
    pub name: DocumentName,
    /// Where: `http://host:port`.
    pub to: String,
    /// Its last position here.
    pub position: Position,
    /// What requests about it are refused with.
    pub problems: RelocationProblems,
}

/// What happened to a document.
#[derive(Clone, Debug)]
pub enum RelocationEvent {
    Left(Arc<MovedDocument>),
    Returned(DocumentName),
}

/// A place in the log.
#[derive(Clone, Debug)]
pub enum LoggedEvent {
    Kept(RelocationEvent),
    /// What happened there is not known any more.
    Dropped,
}

#[derive(Debug, Default)]
struct RelocationEvents {
    moved: HashMap<DocumentName, Arc<MovedDocument>>,
    /// The newest events. Those before were dropped; `dropped` says how many.
    events: VecDeque<RelocationEvent>,
    dropped: usize,
}

/// The documents that are elsewhere, and in which order documents went and came. The engine adds; everyone reads.
/// Bounded by the documents that are elsewhere, and by [`RELOCATION_EVENTS_MAX`] events: whoever follows and is further
/// behind is to read the present.
#[derive(Debug, Default)]
pub struct RelocationLog {
    /// How many events there were: on most servers none, and every request asks.
    count: AtomicUsize,
    log: RwLock<RelocationEvents>,
}

impl RelocationLog {
    /// Engine only: a document is elsewhere from now on. Said again, it changes nothing.
    pub fn left(&self, moved: Arc<MovedDocument>) {
        let mut log = self.log.write();
        if log.moved.get(&moved.name).is_some_and(|known| known.to == moved.to) {
            return;
        }
        log.moved.insert(moved.name.clone(), Arc::clone(&moved));
        self.push(&mut log, RelocationEvent::Left(moved));
    }

    /// Engine only: a document is here again.
    pub fn returned(&self, name: &DocumentName) {
        let mut log = self.log.write();
        if log.moved.remove(name).is_some() {
            self.push(&mut log, RelocationEvent::Returned(name.clone()));
        }
    }

    fn push(&self, log: &mut RelocationEvents, event: RelocationEvent) {
        log.events.push_back(event);
        while log.events.len() > RELOCATION_EVENTS_MAX {
            log.events.pop_front();
            log.dropped += 1;
        }
        self.count.store(log.dropped + log.events.len(), Ordering::Release);
    }

    /// How many events there were.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Where a document is, if it is elsewhere.
    pub fn find(&self, name: &DocumentName) -> Option<Arc<MovedDocument>> {
        if self.count() == 0 { None } else { self.log.read().moved.get(name).cloned() }
    }

    /// The documents that are elsewhere now and `wanted`, the last name first, and how many events there were at that
    /// moment.
    pub fn present(&self, wanted: impl Fn(&DocumentName) -> bool) -> (Vec<Arc<MovedDocument>>, usize) {
        if self.count() == 0 {
            return (Vec::new(), 0);
        }
        let log = self.log.read();
        let mut moved: Vec<_> = log.moved.values().filter(|moved| wanted(&moved.name)).cloned().collect();
        moved.sort_by(|a, b| b.name.cmp(&a.name));
        (moved, log.dropped + log.events.len())
    }

    /// The `index`-th event, counted from 0, if it happened.
    pub fn get(&self, index: usize) -> Option<LoggedEvent> {
        if index >= self.count() {
            return None;
        }
        let log = self.log.read();
        let event = index.checked_sub(log.dropped).and_then(|index| log.events.get(index));
        Some(event.cloned().map_or(LoggedEvent::Dropped, LoggedEvent::Kept))
    }

    /// Whether that is where the document still is.
    pub fn is_current(&self, moved: &Arc<MovedDocument>) -> bool {
        self.log.read().moved.get(&moved.name).is_some_and(|current| Arc::ptr_eq(current, moved))
    }
}
