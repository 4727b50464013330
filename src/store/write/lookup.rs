//! What the writer's connection reads for the engine's thread: documents, keys, and rows to be repaired.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq, Version};
use crate::document::chain::Hash;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::store::error::StoreError;
use crate::store::read::log;
use crate::store::read::raw_document::{self, RawDocument};
use crate::store::read::replay::{self, DocumentHead, LoadedDocument};
use crate::store::rows;
use crate::store::write::keys::{self, IdempotencyRow};
use crate::store::write::proven_history::{self, ProvenHistory};
use crate::store::write::repair::{self, DocumentRepair};
use crate::store::write::writer::Writer;

impl Writer {
    /// Reads by the writer's connection, and by the pool while there is none.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> std::result::Result<T, StoreError>) -> Result<T> {
        match &self.conn {
            Some(conn) => read(conn).map_err(|failure| self.files.to_public_error(failure)),
            None => self.reader.read(read),
        }
    }

    /// A question of a feature to its own tables, as they are between two transactions. Error: what the question
    /// answers with; `StorageUnavailable` when the file cannot be read.
    pub fn query<T>(&self, question: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.read(|conn| Ok(question(conn)?))
    }

    /// The newest version of a document on disk, whoever wrote it.
    pub fn stored_version(&self, key: i64) -> Result<Option<Version>> {
        self.read(|conn| rows::head_version(conn, key))
    }

    /// Bytes of the body of a stored event; `None`: it is not there.
    pub fn event_bytes(&self, seq: Seq) -> Result<Option<usize>> {
        self.read(|conn| log::event_bytes(conn, seq))
    }

    /// The hash of a stored event, to compare what is durable with what was meant to be.
    pub fn event_hash(&self, seq: Seq) -> Result<Option<Hash>> {
        Ok(self.read(|conn| log::event_at(conn, seq))?.map(|(hash, _)| hash))
    }

    /// The documents that changed within `span` before the newest event, as far as the last `limit` events tell.
    pub fn changed_lately(&self, span: Duration, limit: usize) -> Result<Vec<DocumentName>> {
        self.read(|conn| log::changed_lately(conn, span, limit))
    }

    /// The newest version of the document called `name`, if there ever was one. Error: `Damaged`.
    pub fn load(&self, name: &DocumentName) -> Result<Option<LoadedDocument>> {
        self.read(|conn| replay::load(conn, name))
    }

    /// Where the document called `name` ends, if there ever was one: also of one that is too damaged to be read.
    pub fn document_head(&self, name: &DocumentName) -> Result<Option<DocumentHead>> {
        self.read(|conn| replay::document_head(conn, name))
    }

    /// The document called `name` as it was at `version`. Error: `NotFound` when it never was, or not yet at that
    /// version (with `currentVersion`); `Gone` when that version is trimmed (with `firstVersion`); `Damaged`.
    pub fn state_at(&self, name: &DocumentName, version: Version) -> Result<Document> {
        self.read(|conn| replay::state_at(conn, name, version))
    }

    /// What was answered to the request with this key. May be older than what is promised to be remembered.
    pub fn find_key(&self, scope: &str, key: &str) -> Result<Option<IdempotencyRow>> {
        self.read(|conn| keys::find(conn, scope, key))
    }

    /// Has what is read next come from the file. A page that this connection knows from before would still be as it
    /// was, and what has changed in the file without SQLite would be taken for intact.
    pub fn drop_page_cache(&self) -> Result<()> {
        let drop_pages = |conn: &Connection| conn.execute_batch("PRAGMA shrink_memory").map_err(StoreError::from);
        self.reading().and_then(drop_pages).map_err(|failure| self.files.to_public_error(failure))
    }

    /// What can be kept of the history of a document that is as it should be. See [`ProvenHistory`].
    pub fn proven_history(&self, document: &Document, events: &[Arc<Event>]) -> Result<Option<ProvenHistory>> {
        self.read(|conn| proven_history::find(conn, document, events))
    }

    /// The document of this name and key at the version with this hash, made from what can be kept of its history;
    /// `None` when that is not enough.
    pub fn rebuild(
        &self,
        which: (&DocumentName, i64),
        at: (Version, Hash),
    ) -> Result<Option<(Document, ProvenHistory)>> {
        self.read(|conn| proven_history::rebuild(conn, which, at))
    }

    /// What is stored of a document, whether or not it adds up. See [`RawDocument`].
    pub fn raw_document(&self, which: (&DocumentName, i64)) -> Result<Option<RawDocument>> {
        self.read(|conn| raw_document::read(conn, which))
    }

    /// Runs a repair in a transaction that is rolled back. Error: why the repair is not possible.
    pub fn try_repair(&self, repair: &DocumentRepair) -> Result<()> {
        let attempt = |conn: &Connection| -> Result<(), StoreError> {
            let transaction = conn.unchecked_transaction()?;
            repair::repair(&transaction, repair)?;
            // Ends by rollback.
            drop(transaction);
            Ok(())
        };
        self.reading().and_then(attempt).map_err(|failure| self.files.to_public_error(failure))
    }
}
