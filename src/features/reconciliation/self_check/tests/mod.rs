//! A real engine on a real file, and somebody else with the same file in hand.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed unwrap or index fails the test")]

mod faults;
mod load;
mod random;
mod tamper;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::JoinHandle;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::base::clock::{ManualClock, Timestamp};
use crate::base::entropy::SeededEntropy;
use crate::base::ids::{DocumentName, Version};
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::json::JsonBounds;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::actor::{Ending, EngineActor};
use crate::engine::handle;
use crate::engine::request::{Write, WriteReply};
use crate::engine::{EngineOptions, Volatile};
use crate::live::hub::Hub;
use crate::live::ring::RingBounds;
use crate::store::{self, HistoryRetention};

/// How a world differs from the usual.
#[derive(Clone, Default)]
struct Setting {
    pages_max: Option<u32>,
    history: Option<u64>,
    volatile: Volatile,
    ring_events: Option<usize>,
    changes_max: Option<usize>,
}

struct TestLog {
    setting: Setting,
    directory: Arc<TempDir>,
    engine: Engine,
    reads: Reads,
    pages_max: Arc<AtomicU32>,
    comparer: Comparer,
    thread: JoinHandle<Ending>,
}

impl TestLog {
    fn new() -> Self {
        Self::with(Setting::default())
    }

    fn with(setting: Setting) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), setting)
    }

    fn on(directory: Arc<TempDir>, setting: Setting) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let history = HistoryRetention { events_max: setting.history.unwrap_or(1000), ..HistoryRetention::default() };
        let options =
            store::StoreOptions { pages_max: setting.pages_max, history, ..store::StoreOptions::new(directory.path()) };
        let (mut writer, reader) = store::open(options).unwrap();
        writer.begin_run(&setting.volatile.collections).unwrap();
        let ring = RingBounds { events_max: setting.ring_events.unwrap_or(1000), bytes_max: 1 << 22 };
        let options = EngineOptions {
            state: JsonBounds { depth_max: 10, state_bytes_max: 1 << 16 },
            ring,
            snapshot_events_max: setting.history.unwrap_or(1000),
            volatile: setting.volatile.clone(),
            ..EngineOptions::new(clock, Arc::new(SeededEntropy::new(1)))
        };
        let (head, pages_max) = (writer.head(), writer.pages_max());
        let hub = Arc::new(Hub::new((head.seq, head.hash), ring));
        let health = Arc::new(Health::default());
        let (engine, commands) = handle::channel();
        let thread = EngineActor::new(options, writer, reader.clone(), Arc::clone(&hub), Arc::clone(&health));
        let thread = std::thread::spawn(move || thread.run(commands));
        let reads = Reads::new(hub, reader, engine.clone(), Vec::new());
        let comparer = Comparer::recording(
            engine.clone(),
            reads.clone(),
            health,
            setting.changes_max.unwrap_or(CHANGES_MAX),
            MemoryRowsRegistry::default(),
        );
        Self { setting, directory, engine, reads, pages_max, comparer, thread }
    }

    /// Stops and starts again: no document is in memory then.
    async fn restart(self) -> Self {
        let (directory, setting) = (Arc::clone(&self.directory), self.setting.clone());
        self.stop().await;
        Self::on(directory, setting)
    }

    async fn stop(self) {
        self.engine.stop().await;
        self.thread.join().unwrap();
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("rejoin.db")
    }

    /// What somebody does with `sqlite3` in hand. Returns how many rows that changed.
    fn tamper(&self, sql: &str) -> u64 {
        let conn = Connection::open(self.path()).unwrap();
        conn.pragma_update(None, "foreign_keys", false).unwrap();
        conn.execute_batch(sql).unwrap();
        conn.total_changes()
    }

    async fn write(&self, name: &str, operation: WriteOperation) -> Arc<Document> {
        let requests = vec![Request { name: named(name), operation, expected: Expected::default() }];
        match self.engine.write(Write { requests, viewer: Viewer::Owner, key: None }).await.unwrap() {
            WriteReply::Made(written) => Arc::clone(&written.outcomes[0].document),
            WriteReply::Replayed(_) => panic!("there was no key"),
        }
    }

    async fn put(&self, name: &str, state: Value) -> Arc<Document> {
        self.write(name, WriteOperation::Put { state }).await
    }

    /// So many versions of each document: `{"round": 1}` and so on, with some text.
    async fn rounds(&self, names: &[&str], rounds: u64) {
        for round in 1..=rounds {
            for name in names {
                self.put(name, state(round)).await;
            }
        }
    }

    async fn compare(&mut self) -> Vec<Verdict> {
        let verdicts = self.comparer.compare(None).await.unwrap();
        for verdict in &verdicts {
            assert_eq!(verdict.checksum.len(), 64, "{verdict:?}");
            assert_eq!(verdict.details.is_some(), verdict.status != VerdictStatus::Verified, "{verdict:?}");
        }
        verdicts
    }

    async fn assert_verified(&mut self) {
        for verdict in self.compare().await {
            assert_eq!(verdict.status, VerdictStatus::Verified, "{verdict:?}");
        }
    }

    /// The verdict on one service.
    async fn verdict(&mut self, service: &str) -> Verdict {
        let verdicts = self.compare().await;
        verdicts.into_iter().find(|verdict| verdict.service == service).unwrap_or_else(|| panic!("no {service}"))
    }

    async fn scrub(&mut self) -> Vec<Verdict> {
        let (passes, mut told) = (self.comparer.scrub_passes(), Vec::new());
        while self.comparer.scrub_passes() == passes {
            told.extend(self.comparer.scrub_step(1 << 16).await.unwrap());
        }
        told
    }
}

fn named(name: &str) -> DocumentName {
    DocumentName::parse(name).unwrap()
}

fn state(round: u64) -> Value {
    json!({ "round": round, "pot": 640 + round, "text": "some text that is long enough to be a state ".repeat(8) })
}

fn whole(verdict: &Verdict, side: &str, name: &str) -> i64 {
    let details = verdict.details.as_ref().unwrap();
    let counts = if side == "expected" { &details.expected } else { &details.actual };
    counts[name].whole().unwrap()
}

fn status_of(verdicts: &[Verdict], service: &str) -> VerdictStatus {
    verdicts.iter().find(|verdict| verdict.service == service).unwrap().status
}
