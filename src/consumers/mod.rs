//! Rank 4: what reads the log behind the changes, and never misses or repeats one: durable consumers.
//!
//! In reading order: `sql` (the table `consumers`, and pages of the log), [`runner`] (a task for each).
//!
//! A hook ([`DocumentHook`](crate::engine::hooks::DocumentHook)) sees a change before it is stored and holds it up; a
//! consumer sees it after that, with others, and holds nobody up but itself. What it writes and its place in the log
//! are one transaction: after a kill it goes on where what it wrote ends.

pub(crate) mod runner;
mod sql;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::{Collection, DocumentName, Seq, Version};
use crate::store::Connection;

/// The SQL that makes the table.
pub(crate) const TABLES: &str = include_str!("tables.sql");

/// Writes what comes of changes, in the transaction that the connection is in.
type HandleChanges = Arc<dyn Fn(&Connection, &[LoggedChange]) -> Result<()> + Send + Sync>;
/// Told after each transaction.
type OnStored = Arc<dyn Fn() + Send + Sync>;

/// Reads the log from its beginning to its end, and on as it grows: each change to a document of its collections once,
/// in order, after it is on disk. Changes of documents that live in memory only are left out.
///
/// Its place in the log is stored under its name, in the transaction of what it writes: a kill in between takes back
/// both or neither. One whose name is new to a database begins with the oldest event that is kept. Events that were
/// trimmed before it came to them are left out, which shows by the versions; the newest of each document is always
/// kept, also that of one which is deleted.
///
/// ```
/// use rejoin::{Consumer, Feature, Server, sql_error};
///
/// /// Counts the deletions of lists.
/// let deletions = Consumer::new("list-deletions", &["lists"], |conn, changes| {
///     let deleted = changes.iter().filter(|change| change.deletes()).count();
///     let sql = "UPDATE list_deletions_count SET deletions = deletions + ?1";
///     conn.execute(sql, [i64::try_from(deleted).unwrap_or(i64::MAX)]).map(drop).map_err(sql_error)
/// });
/// let tables = "CREATE TABLE IF NOT EXISTS list_deletions_count (deletions INTEGER NOT NULL) STRICT;
///               INSERT INTO list_deletions_count SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM list_deletions_count)";
/// let builder = Server::builder().feature(Feature::new("list-deletions").tables(tables).consumer(deletions));
/// # let _ = builder;
/// ```
#[derive(Clone)]
pub struct Consumer {
    pub(crate) name: &'static str,
    pub(crate) collections: &'static [&'static str],
    handle: HandleChanges,
    on_stored: OnStored,
}

impl Consumer {
    /// A consumer of the changes to documents of `collections`. `name` is unique, lower-case words with '-' between:
    /// its place is stored under it, so that one with other collections or another purpose gets another name.
    ///
    /// `handle` is given up to 200 changes at a time. It runs on the engine's thread and holds up every change
    /// meanwhile: it writes rows, and leaves what takes long to a [task](crate::Feature::task). An error or a panic
    /// takes back what it wrote; it is logged, told at `/api/v1/admin/consumers`, and the same changes are handed to it
    /// again, after a second at first and a minute at most.
    pub fn new(
        name: &'static str,
        collections: &'static [&'static str],
        handle: impl Fn(&Connection, &[LoggedChange]) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { name, collections, handle: Arc::new(handle), on_stored: Arc::new(|| {}) }
    }

    /// The same, and `told` is called each time that what it wrote is on disk: to wake a task. After a kill it may not
    /// have been called, so that such a task looks at the rows when it begins.
    #[must_use]
    pub fn on_stored(mut self, told: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_stored = Arc::new(told);
        self
    }

    /// Error, in words: its name or collections are not what they should be.
    pub(crate) fn check(&self) -> std::result::Result<Vec<Collection>, String> {
        let word = |word: &str| {
            word.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if !self.name.split('-').all(word) {
            return Err("is called by words of lower-case letters and digits, with '-' between".to_owned());
        }
        if self.collections.is_empty() {
            return Err("reads no collection".to_owned());
        }
        let collections = self.collections.iter().map(|name| Collection::new(name));
        collections.collect::<Result<_>>().map_err(|error| format!("reads a collection that is none: {error}"))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consumer({} of {:?})", self.name, self.collections)
    }
}

/// A change that is on disk, as a [`Consumer`] is given it.
#[derive(Clone, Debug)]
pub struct LoggedChange {
    seq: Seq,
    document: DocumentName,
    key: i64,
    version: Version,
    at: Timestamp,
    deletes: bool,
    body: Bytes,
}

impl LoggedChange {
    /// Its place in the log: rises, with gaps.
    pub fn seq(&self) -> u64 {
        self.seq.0
    }

    /// The name of the document.
    pub fn document(&self) -> &DocumentName {
        &self.document
    }

    /// The key under which rows refer to the document: `documents.key`.
    pub fn document_key(&self) -> i64 {
        self.key
    }

    /// The document's version after the change.
    pub fn version(&self) -> Version {
        self.version
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the document was deleted by it.
    pub fn deletes(&self) -> bool {
        self.deletes
    }

    /// The event as it is stored: JSON without seq and hash.
    pub fn event_body(&self) -> &Bytes {
        &self.body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_has_a_name_and_collections() {
        let check = |name, collections| Consumer::new(name, collections, |_, _| Ok(())).check();
        assert!(check("list-log", &["lists"]).is_ok());
        for (name, collections) in [("List", &["lists"][..]), ("", &["lists"]), ("list", &[]), ("list", &["Lists!"])] {
            assert!(check(name, collections).is_err(), "{name} {collections:?}");
        }
    }
}
