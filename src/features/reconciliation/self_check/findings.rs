//! What was found different, until it is found alike again.

use std::collections::BTreeMap;

use crate::features::reconciliation::limits::DIFFERENCES_MAX;
use crate::features::reconciliation::verdict::Difference;

/// Documents that are kept as different. What is past it shows once those are mended: everything is looked at again
/// then.
const DOCUMENTS_MAX: usize = 1000;

/// A document that differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DocumentFinding {
    /// The collection that it is in, or should be in.
    pub collection: String,
    /// Its name, `collection/id`.
    pub name: String,
    /// Version and reason, the lowest version first.
    pub differences: Vec<(u64, String)>,
    /// Versions that should be on disk and are not, as `collection/id@version`.
    pub missing: Vec<String>,
    /// How many documents more the disk has for it.
    pub documents: i64,
    /// How many changes more.
    pub changes: i64,
    /// Whether all of it is snapshots that the events make again.
    pub of_snapshots: bool,
}

impl DocumentFinding {
    /// Nothing of a document yet.
    pub(crate) fn of(collection: &str, name: &str) -> Self {
        Self { collection: collection.to_owned(), name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn add(&mut self, version: u64, what: impl Into<String>) {
        self.differences.push((version, what.into()));
    }

    /// Adds versions from after `after` up to `to` as missing, not without end.
    pub(crate) fn add_missing(&mut self, after: u64, to: u64) {
        let room = DIFFERENCES_MAX.saturating_sub(self.missing.len());
        let ids = (after.saturating_add(1)..=to).take(room).map(|version| format!("{}@{version}", self.name));
        self.missing.extend(ids.collect::<Vec<_>>());
    }

    /// Whether there is something.
    pub(crate) fn is_some(&self) -> bool {
        !self.differences.is_empty()
    }

    /// As it is told.
    pub(crate) fn differences(&self) -> impl Iterator<Item = Difference> {
        self.differences.iter().map(|(version, what)| Difference {
            document: self.name.clone(),
            version: *version,
            what: what.clone(),
        })
    }
}

#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// By key. More than one when a row has another document's name.
    documents: BTreeMap<i64, Vec<DocumentFinding>>,
    /// What belongs to no document.
    pub log: Vec<(u64, String)>,
    /// There were more than are kept.
    pub overflowed: bool,
}

impl Findings {
    /// What was found of a document now, in the place of what was found before. True: it was alike before and is not
    /// now.
    pub(crate) fn set(&mut self, key: i64, found: Vec<DocumentFinding>) -> bool {
        if found.is_empty() {
            self.documents.remove(&key);
            return false;
        }
        if self.documents.len() >= DOCUMENTS_MAX && !self.documents.contains_key(&key) {
            self.overflowed = true;
            return false;
        }
        self.documents.insert(key, found).is_none()
    }

    /// The keys of the documents that differ.
    pub(crate) fn keys(&self) -> Vec<i64> {
        self.documents.keys().copied().collect()
    }

    /// All documents that differ.
    pub(crate) fn all(&self) -> impl Iterator<Item = &DocumentFinding> {
        self.documents.values().flatten()
    }

    /// The names of documents of which only snapshots differ that the events make again.
    pub(crate) fn of_snapshots(&self) -> Vec<String> {
        self.all().filter(|finding| finding.of_snapshots).map(|finding| finding.name.clone()).collect()
    }

    /// The key of a document that differs.
    pub(crate) fn key_of(&self, name: &str) -> Option<i64> {
        let named = |found: &Vec<DocumentFinding>| found.iter().any(|finding| finding.name == name);
        self.documents.iter().find(|(_, found)| named(found)).map(|(key, _)| *key)
    }
}
