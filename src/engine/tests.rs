//! The engine by itself, on a real file: what its callers over HTTP cannot ask for.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::actor::{Ending, EngineActor};
use super::handle::{self, Engine};
use super::health::Health;
use super::policy::SnapshotPolicy;
use super::request::Write;
use super::{EngineOptions, Hooks, HotBounds, Volatile};
use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::SeededEntropy;
use crate::base::error::{Error, Kind};
use crate::base::ids::{DocumentName, Version};
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::json::JsonBounds;
use crate::document::visibility::Viewer;
use crate::live::hub::Hub;
use crate::live::ring::RingBounds;
use crate::store::{self, Reader, sql_error};

mod doubted_clock;
mod hooks;
mod volatile;

struct RunningEngine {
    engine: Engine,
    reader: Reader,
    hub: Arc<Hub>,
    clock: Arc<ManualClock>,
    thread: JoinHandle<Ending>,
    _directory: TempDir,
}

fn start(pages_max: Option<u32>) -> RunningEngine {
    start_with(pages_max, Volatile::default())
}

fn start_with(pages_max: Option<u32>, volatile: Volatile) -> RunningEngine {
    start_hooked(pages_max, volatile, Vec::new())
}

fn start_hooked(pages_max: Option<u32>, volatile: Volatile, hooks: Hooks) -> RunningEngine {
    start_trusting(pages_max, volatile, hooks, None)
}

/// Makes a judgement of a clock.
type JudgeRules = fn(Arc<dyn Clock>) -> Arc<ClockTrust>;

/// The same, with a judgement of its clock.
fn start_trusting(
    pages_max: Option<u32>,
    volatile: Volatile,
    hooks: Hooks,
    trust: Option<JudgeRules>,
) -> RunningEngine {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
    let directory = tempfile::tempdir().unwrap();
    let (writer, reader) =
        store::open(store::StoreOptions { pages_max, ..store::StoreOptions::new(directory.path()) }).unwrap();
    let ring = RingBounds { events_max: 100, bytes_max: 1 << 20 };
    let options = EngineOptions {
        state: JsonBounds { depth_max: 10, state_bytes_max: 1 << 16 },
        ring,
        snapshot_events_max: 100,
        volatile,
        snapshots: SnapshotPolicy { age: Some(Duration::from_secs(60)), ..SnapshotPolicy::default() },
        hooks,
        clock_trust: trust.map(|trust| trust(Arc::clone(&clock) as _)),
        ..EngineOptions::new(Arc::clone(&clock) as _, Arc::new(SeededEntropy::new(1)))
    };
    let head = writer.head();
    let hub = Arc::new(Hub::new((head.seq, head.hash), ring));
    let (engine, commands) = handle::channel();
    let thread = EngineActor::new(options, writer, reader.clone(), Arc::clone(&hub), Arc::new(Health::default()));
    let thread = std::thread::spawn(move || thread.run(commands));
    RunningEngine { engine, reader, hub, clock, thread, _directory: directory }
}

impl RunningEngine {
    async fn note(&self, text: &'static str) -> crate::base::error::Result<i64> {
        let insert = move |conn: &store::Connection, _| {
            conn.execute("INSERT INTO notes (text) VALUES (?1)", [text]).map_err(sql_error)?;
            Ok(conn.last_insert_rowid())
        };
        self.engine.rows(insert).await
    }

    fn notes(&self) -> Vec<String> {
        let all = |conn: &store::Connection| {
            let mut statement = conn.prepare("SELECT text FROM notes ORDER BY rowid").map_err(sql_error)?;
            let found = statement.query_map([], |row| row.get(0)).map_err(sql_error)?;
            found.collect::<Result<_, _>>().map_err(sql_error)
        };
        self.reader.rows(all).unwrap()
    }
}

#[tokio::test]
async fn rows_of_a_feature_are_stored_whole_or_taken_back_alone() {
    let running = start(None);
    let create = |conn: &store::Connection, _| {
        conn.execute_batch("CREATE TABLE notes (text TEXT NOT NULL CHECK (text <> 'bad')) STRICT").map_err(sql_error)
    };
    running.engine.rows(create).await.unwrap();
    // All at once, so that they share a transaction.
    let refuse = |conn: &store::Connection, _| {
        conn.execute("INSERT INTO notes (text) VALUES ('taken back')", []).map_err(sql_error)?;
        Err::<(), _>(Error::new(Kind::Rejected, "not like that"))
    };
    let panic = |conn: &store::Connection, _| -> crate::base::error::Result<()> {
        conn.execute("INSERT INTO notes (text) VALUES ('taken back too')", []).map_err(sql_error)?;
        panic!("a bug in a feature");
    };
    let (first, refused, panicked, bad, second) = tokio::join!(
        running.note("one"),
        running.engine.rows(refuse),
        running.engine.rows(panic),
        running.note("bad"),
        running.note("two"),
    );
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
    assert_eq!(refused.unwrap_err().message(), "not like that");
    assert_eq!(panicked.unwrap_err().kind(), Kind::Internal);
    assert_eq!(bad.unwrap_err().kind(), Kind::Internal, "a broken constraint is a bug of the feature's");
    assert_eq!(running.notes(), ["one", "two"]);
    running.engine.stop().await;
    assert_eq!(running.thread.join().unwrap(), Ending::CLEAN);
}

#[tokio::test]
async fn rows_of_a_feature_are_refused_while_storage_fails_and_taken_again_after() {
    let running = start(Some(256));
    let fill = |conn: &store::Connection, _| {
        conn.execute_batch("CREATE TABLE notes (text TEXT)").map_err(sql_error)?;
        conn.execute("INSERT INTO notes (text) VALUES (?1)", ["x".repeat(2 << 20)]).map(drop).map_err(sql_error)
    };
    assert_eq!(running.engine.rows(fill).await.unwrap_err().kind(), Kind::StorageUnavailable);
    let create = |conn: &store::Connection, _| conn.execute_batch("CREATE TABLE notes (text TEXT)").map_err(sql_error);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while let Err(error) = running.engine.rows(create).await {
        assert!(std::time::Instant::now() < end, "storage does not come back");
        assert_eq!(error.kind(), Kind::StorageUnavailable, "{error}");
        running.engine.tick();
    }
    assert_eq!(running.note("after all").await.unwrap(), 1);
    assert_eq!(running.notes(), ["after all"]);
}

#[tokio::test]
async fn a_purge_needs_no_consent_of_rules_and_takes_what_the_same_batch_added() {
    let running = start(None);
    let name = DocumentName::new("games", "g1").unwrap();
    let write = |operation| Write {
        requests: vec![Request { name: name.clone(), operation, expected: Expected::default() }],
        viewer: Viewer::Owner,
        key: None,
    };
    let state = serde_json::json!({ "round": 1 });
    running.engine.write(write(WriteOperation::Put { state })).await.unwrap();
    let merge = WriteOperation::Patch(serde_json::json!({ "round": 2 }).into());
    // All at once, so that they share a transaction as far as they may.
    let (written, snapshot, purged, gone) = tokio::join!(
        running.engine.write(write(merge)),
        running.engine.snapshot(name.clone(), false),
        running.engine.purge(name.clone(), Viewer::Owner, None),
        running.engine.snapshot(name.clone(), false),
    );
    written.unwrap();
    assert!(snapshot.unwrap().version >= Version(2));
    let tombstone = purged.unwrap();
    assert_eq!((tombstone.version, gone.unwrap_err().kind()), (Version(3), Kind::Gone));
    let kept = running.reader.storage_statistics(&name).unwrap().unwrap();
    assert_eq!((kept.events, kept.snapshots, kept.snapshot_bytes), (1, 1, 0));
    let read = running.reader.verify(&name).unwrap().unwrap().document;
    assert_eq!((read.version, read.hash, read.is_deleted()), (Version(3), tombstone.hash, true));
    let absent = running.engine.purge(DocumentName::new("games", "none").unwrap(), Viewer::Owner, None).await;
    assert_eq!(absent.unwrap_err().kind(), Kind::NotFound);
}
