//! Who waits for what.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::transient::{TransientInbox, TransientMessage};
use crate::base::ids::{Collection, DocumentName};
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;

/// What a subscriber wants to hear of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// These documents, whether they exist yet or not.
    pub documents: HashSet<DocumentName>,
    /// Every document of these collections.
    pub collections: HashSet<Collection>,
}

impl Interest {
    pub fn document(name: DocumentName) -> Self {
        Self { documents: HashSet::from([name]), collections: HashSet::new() }
    }

    /// The named documents that are not among `here`, in the order of their names.
    pub(crate) fn names_without(&self, here: &[Arc<Document>]) -> impl Iterator<Item = DocumentName> {
        let here: HashSet<&DocumentName> = here.iter().map(|document| &document.meta.name).collect();
        let names: BTreeSet<&DocumentName> = self.documents.iter().filter(|name| !here.contains(name)).collect();
        names.into_iter().cloned()
    }

    /// Whether a document is wanted.
    pub fn covers(&self, name: &DocumentName) -> bool {
        // Most follow one document, and comparing a name costs less than hashing it.
        let document = match self.documents.len() {
            1 => self.documents.iter().next() == Some(name),
            _ => self.documents.contains(name),
        };
        document || self.collections.contains(&name.collection)
    }
}

/// What a subscriber is woken for: one or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeReason(u8);

impl WakeReason {
    /// Something may have been published.
    pub const EVENTS: Self = Self(1);
    /// Somebody came or went.
    pub const PRESENCE: Self = Self(2);
    /// Somebody said something.
    pub const TRANSIENT: Self = Self(4);

    /// Whether `other` is in it.
    pub const fn is_for(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A sleeping subscriber: one waker and one byte of flags, so that ten thousand of them cost little. Shared by the
/// subscriber, which sleeps on it, and those who wake it.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    waker: AtomicWaker,
    woken: AtomicU8,
    /// `None`: it is told nothing of what others say.
    inbox: Option<TransientInbox>,
}

impl Waiter {
    /// A subscriber who is told what others say.
    pub(crate) fn with_inbox(inbox: TransientInbox) -> Self {
        Self { inbox: Some(inbox), ..Self::default() }
    }

    /// What others have said to it.
    pub(crate) fn inbox(&self) -> Option<&TransientInbox> {
        self.inbox.as_ref()
    }

    fn offer(&self, message: &Arc<TransientMessage>, number: u64) {
        if self.inbox.as_ref().is_some_and(|inbox| inbox.offer(message, number)) {
            self.wake(WakeReason::TRANSIENT);
        }
    }

    /// Wakes it, or has it find something when it looks.
    pub(crate) fn wake(&self, what: WakeReason) {
        // The flag goes first: a subscriber that registers its waker between the two sees the flag.
        if self.woken.fetch_or(what.0, Ordering::AcqRel) == 0 {
            self.waker.wake();
        }
    }

    fn take(&self) -> Poll<WakeReason> {
        match self.woken.swap(0, Ordering::AcqRel) {
            0 => Poll::Pending,
            woken => Poll::Ready(WakeReason(woken)),
        }
    }

    /// Waits until there was something since the last return. Cancel safe: a wake-up that nobody was there to receive
    /// is kept.
    pub(crate) async fn woken(&self) -> WakeReason {
        poll_fn(|context| {
            if let Poll::Ready(woken) = self.take() {
                return Poll::Ready(woken);
            }
            self.waker.register(context.waker());
            self.take()
        })
        .await
    }
}

#[derive(Debug, Default)]
struct WaiterLists {
    documents: HashMap<DocumentName, Vec<Arc<Waiter>>>,
    collections: HashMap<Collection, Vec<Arc<Waiter>>>,
    /// By the scope of the viewer.
    viewers: HashMap<String, Vec<Arc<Waiter>>>,
    /// Messages that were sent.
    sent: u64,
}

/// The waiters by what they wait for. The lock is held for list operations only; the engine never takes it.
#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<WaiterLists>);

impl Topics {
    /// Adds a waiter for everything that `interest` covers, and for what is for `viewer`.
    pub(crate) fn add(&self, interest: &Interest, viewer: Option<&Viewer>, waiter: &Arc<Waiter>) {
        let mut lists = self.0.lock();
        for name in &interest.documents {
            lists.documents.entry(name.clone()).or_default().push(Arc::clone(waiter));
        }
        for collection in &interest.collections {
            lists.collections.entry(collection.clone()).or_default().push(Arc::clone(waiter));
        }
        if let Some(viewer) = viewer {
            lists.viewers.entry(viewer.scope().to_owned()).or_default().push(Arc::clone(waiter));
        }
    }

    /// Takes a waiter out again.
    pub(crate) fn remove(&self, interest: &Interest, viewer: Option<&Viewer>, waiter: &Arc<Waiter>) {
        let mut lists = self.0.lock();
        for name in &interest.documents {
            remove_from(&mut lists.documents, name, waiter);
        }
        for collection in &interest.collections {
            remove_from(&mut lists.collections, collection, waiter);
        }
        if let Some(viewer) = viewer {
            remove_from(&mut lists.viewers, &viewer.scope().to_owned(), waiter);
        }
    }

    /// Whether anybody waits for this very document. Who waits for its whole collection does not count.
    pub(crate) fn has(&self, name: &DocumentName) -> bool {
        self.0.lock().documents.contains_key(name)
    }

    /// Wakes everyone who wants to hear of one of these events, each once.
    pub(crate) fn wake(&self, events: &[Arc<Event>]) {
        let lists = self.0.lock();
        let (mut documents, mut collections) = (HashSet::new(), HashSet::new());
        for event in events {
            let name = &event.meta.name;
            if documents.insert(name) {
                lists.documents.get(name).into_iter().flatten().for_each(|waiter| waiter.wake(WakeReason::EVENTS));
            }
            if collections.insert(&name.collection) {
                let waiters = lists.collections.get(&name.collection).into_iter().flatten();
                waiters.for_each(|waiter| waiter.wake(WakeReason::EVENTS));
            }
        }
    }

    /// Wakes the streams of the viewer of this scope.
    pub(crate) fn wake_viewer(&self, scope: &str) {
        let lists = self.0.lock();
        lists.viewers.get(scope).into_iter().flatten().for_each(|waiter| waiter.wake(WakeReason::EVENTS));
    }

    /// Wakes everyone who wants to hear of one of these documents, for its presence.
    pub(crate) fn wake_for_presence(&self, names: &[DocumentName]) {
        let lists = self.0.lock();
        let mut collections = HashSet::new();
        for name in names {
            let waiters = lists.documents.get(name).into_iter().flatten();
            waiters.for_each(|waiter| waiter.wake(WakeReason::PRESENCE));
            if collections.insert(&name.collection) {
                let waiters = lists.collections.get(&name.collection).into_iter().flatten();
                waiters.for_each(|waiter| waiter.wake(WakeReason::PRESENCE));
            }
        }
    }

    /// Gives a message to those who follow its document and whom it is for.
    pub(crate) fn send(&self, message: &Arc<TransientMessage>) {
        let (mut lists, name) = (self.0.lock(), message.document());
        lists.sent += 1;
        let (document, collection) = (lists.documents.get(name), lists.collections.get(&name.collection));
        document.into_iter().chain(collection).flatten().for_each(|waiter| waiter.offer(message, lists.sent));
    }

    /// Wakes everyone who wants to hear of this document.
    pub(crate) fn wake_names(&self, name: &DocumentName) {
        let lists = self.0.lock();
        let (document, collection) = (lists.documents.get(name), lists.collections.get(&name.collection));
        document.into_iter().chain(collection).flatten().for_each(|waiter| waiter.wake(WakeReason::EVENTS));
    }

    pub(crate) fn wake_all(&self) {
        let lists = self.0.lock();
        let waiters = lists.documents.values().chain(lists.collections.values()).flatten();
        waiters.for_each(|waiter| waiter.wake(WakeReason::EVENTS));
    }
}

fn remove_from<K: Eq + std::hash::Hash>(lists: &mut HashMap<K, Vec<Arc<Waiter>>>, key: &K, waiter: &Arc<Waiter>) {
    if let Some(list) = lists.get_mut(key) {
        if let Some(index) = list.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            list.swap_remove(index);
        }
        if list.is_empty() {
            lists.remove(key);
        }
    }
}
