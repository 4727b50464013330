//! What is stored in one transaction.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::base::ids::Version;
use crate::document::event::Event;
use crate::document::model::{Document, Meta};
use crate::store::companion_rows::CompanionWrite;
use crate::store::write::keys::IdempotencyRow;
use crate::store::write::purge::Purge;
use crate::store::write::repair::DocumentRepair;

/// What is stored in one transaction: all of it or nothing.
#[derive(Debug, Default)]
pub struct Batch {
    /// Documents that are new. One that is stored already is left as it is.
    pub documents: Vec<Arc<Meta>>,
    /// Events, in the order of their seq, all after the [`head`](crate::store::Writer::head). A seq that is left out
    /// was that of a change that is not to be stored, or comes before a history that arrived without its beginning.
    pub events: Vec<Arc<Event>>,
    /// Snapshots of documents at versions whose events are stored already or in this batch.
    pub snapshots: Vec<Snapshot>,
    /// Where the kept history of some of the documents begins, when it does not begin with their first version: each as
    /// it was before the first event that this batch has of it, in the place of the log that is left out before that.
    /// Whoever follows from an earlier place thus sees that changes are missing there, as where history was trimmed.
    pub bases: Vec<Arc<Document>>,
    /// Answers to be remembered.
    pub keys: Vec<IdempotencyRow>,
    pub purges: Vec<Purge>,
    /// Documents, by key, whose events and snapshots after this version are deleted: another process stored them.
    pub overwrites: Vec<(i64, Version)>,
    /// Documents whose rows are rewritten.
    pub repairs: Vec<DocumentRepair>,
    /// Rows of features that go with the events.
    pub companions: Vec<CompanionWrite>,
}

impl Batch {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        let changes = self.documents.is_empty() && self.events.is_empty() && self.overwrites.is_empty();
        let others = self.purges.is_empty() && self.repairs.is_empty();
        changes && others && self.snapshots.is_empty() && self.keys.is_empty()
    }
}

/// A document's state to be stored whole.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The document at that version.
    pub document: Arc<Document>,
    /// Whether its history is to be trimmed now, at most up to this version.
    pub trim: bool,
    /// A snapshot that this one takes the place of, unless kept history begins there.
    pub replaces: Option<Version>,
    /// Whether the next snapshot of the document takes the place of this one.
    pub replaceable: bool,
}

/// Rows of a feature, to be written in the same transaction as the changes of a batch. What they are about is the
/// feature's affair; tables of features are in `schema.sql` like all others.
pub trait Rows: Send {
    /// Writes them, in a savepoint: an error takes back what was written here, and nothing else of the batch.
    fn write(&mut self, conn: &Connection, now: Timestamp) -> Result<()>;
}

/// What a commit took.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitTimes {
    pub write: Duration,
    /// The COMMIT, which syncs.
    pub sync: Duration,
}
