//! Real SQLite files in temporary directories; time and content come from the tests.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]

mod damage;
mod faults;
mod history;
mod integrity;
mod logs;
mod memory;
mod opening;
mod round_trip;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::options::{FILE_NAME, LOCK_NAME};
use super::*;
use crate::base::clock::Timestamp;
use crate::base::ids::{DocumentName, Seq, UserId, Version};
use crate::document::access::{Access, Grant};
use crate::document::chain::Hash;
use crate::document::event::{Content, Event};
use crate::document::model::{Document, Meta};
use crate::document::patch;

/// A store and what must be in it: every version of every document.
struct TestStore {
    _dir: TempDir,
    options: StoreOptions,
    writer: Option<Writer>,
    reader: Reader,
    now: i64,
    documents: BTreeMap<String, Vec<Arc<Document>>>,
    batch: Batch,
    seq: Seq,
    new_documents: i64,
}

impl TestStore {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut StoreOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(dir.path().join("data"));
        options.readers = 2;
        change(&mut options);
        let (writer, reader) = open(options.clone()).unwrap();
        Self {
            _dir: dir,
            options,
            writer: Some(writer),
            reader,
            now: 1_700_000_000_000,
            documents: BTreeMap::new(),
            batch: Batch::default(),
            seq: Seq::ZERO,
            new_documents: 0,
        }
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Adds a change to the batch; `None` deletes.
    fn change(&mut self, name: &str, state: Option<Value>) -> Arc<Document> {
        self.now += 1000;
        self.seq = self.seq.next();
        let (at, seq) = (self.now(), self.seq);
        let before = self.documents.get(name).and_then(|versions| versions.last().cloned());
        let meta = before.as_ref().map_or_else(|| self.create(name), |document| document.meta.clone());
        let old: Option<Value> =
            before.as_ref().and_then(|d| d.state.as_ref()).map(|bytes| serde_json::from_slice(bytes).unwrap());
        let bytes = state.as_ref().map(|state| Bytes::from(serde_json::to_vec(state).unwrap()));
        let change = patch::diff(old.as_ref(), state.as_ref(), bytes.as_ref().map_or(0, Bytes::len)).unwrap();
        let actor = UserId::new("alice").unwrap();
        let payload = json!({});
        let content = Content {
            kind: "set",
            actor: &actor,
            at,
            payload: &payload,
            change: &change,
            records_access: false,
            salt: [7; 16],
        };
        let version = before.as_ref().map_or(Version(1), |document| document.version.next());
        let previous = before.as_ref().map_or(Hash::ZERO, |document| document.hash);
        let event = Event::new(seq, meta.clone(), version, previous, &content).unwrap();
        let document = Arc::new(Document { meta, version, hash: event.hash, seq, updated_at: at, state: bytes });
        self.batch.events.push(Arc::new(event));
        self.documents.entry(name.to_owned()).or_default().push(document.clone());
        document
    }

    fn create(&mut self, name: &str) -> Arc<Meta> {
        self.new_documents += 1;
        let write = if self.new_documents % 2 == 0 { Grant::Host } else { Grant::All };
        let meta = Arc::new(Meta {
            volatile: false,
            key: self.new_documents,
            name: named(name),
            host: (self.new_documents % 3 == 0).then(|| UserId::new("bob").unwrap()),
            access: Access { write, ..Access::default() },
            access_seq: Seq::ZERO,
            created_at: self.now(),
        });
        self.batch.documents.push(meta.clone());
        meta
    }

    fn snapshot(&mut self, name: &str, trim: bool) {
        let document = self.documents[name].last().unwrap().clone();
        self.batch.snapshots.push(Snapshot { document, trim, replaces: None, replaceable: false });
    }

    fn commit(&mut self) {
        self.try_commit().unwrap();
        self.batch = Batch::default();
    }

    fn try_commit(&mut self) -> Result<CommitTimes, WriteError> {
        let now = self.now();
        self.writer.as_mut().unwrap().commit(&self.batch, now)
    }

    /// One change in one commit.
    fn put(&mut self, name: &str, state: Value) -> Arc<Document> {
        let document = self.change(name, Some(state));
        self.commit();
        document
    }

    /// Closes everything and opens it again.
    fn restart(&mut self) {
        self.writer = None;
        let (writer, reader) = open(self.options.clone()).unwrap();
        (self.writer, self.reader) = (Some(writer), reader);
    }

    /// Changes the file behind the store's back.
    fn tamper(&self, sql: &str) {
        let conn = Connection::open(self.options.data_dir.join(FILE_NAME)).unwrap();
        conn.execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}")).unwrap();
        assert!(conn.changes() > 0, "{sql} must change something");
    }

    fn count(&self, sql: &str) -> i64 {
        let conn = Connection::open(self.options.data_dir.join(FILE_NAME)).unwrap();
        conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// The newest version of every document is what was written.
    fn check_newest(&self) {
        for (name, versions) in &self.documents {
            assert_same(&self.reader.load(&named(name)).unwrap().unwrap(), versions.last().unwrap());
        }
    }

    /// Every kept version of every document, by both ways of reading, is what was written.
    fn check(&mut self) {
        for (name, versions) in self.documents.clone() {
            let name = named(&name);
            let newest = versions.last().unwrap();
            assert_same(&self.reader.load(&name).unwrap().unwrap(), newest);
            assert_same(&self.writer().load(&name).unwrap().unwrap().document, newest);
            let base = self.reader.first_version(newest.meta.key).unwrap().0 - 1;
            for document in versions.iter().filter(|document| document.version.0 >= base.max(1)) {
                assert_same(&self.reader.state_at(&name, document.version).unwrap(), document);
            }
            let history = self.reader.history(&name, Version::ZERO, 100_000, usize::MAX).unwrap();
            let expected: Vec<_> = versions.iter().filter(|d| d.version.0 > base).map(|d| (d.seq, d.hash)).collect();
            assert_eq!(history.iter().map(|e| (e.seq, e.hash)).collect::<Vec<_>>(), expected);
        }
    }
}

fn named(name: &str) -> DocumentName {
    DocumentName::parse(name).unwrap()
}

fn assert_same(read: &Document, written: &Document) {
    assert_eq!(read.version, written.version);
    assert_eq!((read.hash, read.seq), (written.hash, written.seq));
    assert_eq!(read.updated_at, written.updated_at);
    assert_eq!(read.state, written.state);
    assert_eq!(read.meta.key, written.meta.key);
    assert_eq!((&read.meta.name, &read.meta.host), (&written.meta.name, &written.meta.host));
    assert_eq!((&read.meta.access, read.meta.created_at), (&written.meta.access, written.meta.created_at));
}
