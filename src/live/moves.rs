//! Which documents went to another server, and which came back, for those who ask and those who follow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::base::ids::DocumentName;
use crate::document::chain::Position;

/// A document that is on another server now.
#[derive(Debug, PartialEq, Eq)]
pub struct Move {
    pub name: DocumentName,
    /// Where: `http://host:port`.
    pub to: String,
    /// Its last position here.
    pub position: Position,
}

/// What happened to a document.
#[derive(Clone, Debug)]
pub enum News {
    Left(Arc<Move>),
    Returned(DocumentName),
}

#[derive(Debug, Default)]
struct Lists {
    by_name: HashMap<DocumentName, Arc<Move>>,
    in_order: Vec<News>,
}

/// All of them, in the order in which they went and came. The engine adds; everyone reads. It grows with each move, a
/// line each, until the server starts anew with those that are elsewhere then.
#[derive(Debug, Default)]
pub struct Moves {
    /// How much happened: on most servers nothing, and every request asks.
    count: AtomicUsize,
    lists: RwLock<Lists>,
}

impl Moves {
    /// Engine only: a document is elsewhere from now on. Said again, it changes nothing.
    pub fn left(&self, moved: Arc<Move>) {
        let mut lists = self.lists.write();
        if lists.by_name.get(&moved.name).is_some_and(|known| known.to == moved.to) {
            return;
        }
        lists.by_name.insert(moved.name.clone(), Arc::clone(&moved));
        lists.in_order.push(News::Left(moved));
        self.count.store(lists.in_order.len(), Ordering::Release);
    }

    /// Engine only: a document is here again.
    pub fn returned(&self, name: &DocumentName) {
        let mut lists = self.lists.write();
        if lists.by_name.remove(name).is_some() {
            lists.in_order.push(News::Returned(name.clone()));
            self.count.store(lists.in_order.len(), Ordering::Release);
        }
    }

    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Where a document is, if it is elsewhere.
    pub fn find(&self, name: &DocumentName) -> Option<Arc<Move>> {
        if self.count() == 0 { None } else { self.lists.read().by_name.get(name).cloned() }
    }

    /// The `index`-th thing that happened, counted from 0.
    pub fn get(&self, index: usize) -> Option<News> {
        self.lists.read().in_order.get(index).cloned()
    }

    /// Whether that is where the document still is.
    pub fn is_current(&self, moved: &Arc<Move>) -> bool {
        self.lists.read().by_name.get(&moved.name).is_some_and(|current| Arc::ptr_eq(current, moved))
    }
}
