//! Which documents went to another server, for those who ask and those who follow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use crate::base::ids::DocumentName;

/// A document that is on another server now.
#[derive(Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub name: DocumentName,
    /// Where: `http://host:port`.
    pub to: String,
}

#[derive(Debug, Default)]
struct Lists {
    by_name: HashMap<DocumentName, Arc<Move>>,
    in_order: Vec<Arc<Move>>,
}

/// All of them, in the order in which they went. The engine adds; everyone reads. It grows with the documents that
/// were moved away, a line each, which are as many as were once hosted here.
#[derive(Debug, Default)]
pub struct Moves {
    /// How many there are: most servers have none, and every request asks.
    count: AtomicUsize,
    lists: RwLock<Lists>,
}

impl Moves {
    /// Engine only: a document is elsewhere from now on. Once said, it stays so.
    pub fn add(&self, name: &DocumentName, to: &str) {
        let mut lists = self.lists.write();
        if lists.by_name.contains_key(name) {
            return;
        }
        let moved = Arc::new(Move { name: name.clone(), to: to.to_owned() });
        lists.by_name.insert(name.clone(), Arc::clone(&moved));
        lists.in_order.push(moved);
        self.count.store(lists.in_order.len(), Ordering::Release);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Where a document is, if it is elsewhere.
    pub fn find(&self, name: &DocumentName) -> Option<Arc<Move>> {
        if self.count() == 0 { None } else { self.lists.read().by_name.get(name).cloned() }
    }

    /// The `index`-th, counted from 0.
    pub fn get(&self, index: usize) -> Option<Arc<Move>> {
        self.lists.read().in_order.get(index).cloned()
    }
}
