//! An engine on a real file, under a clock that stands still, and jobs beside it.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::base::clock::{Clock, ManualClock, Timestamp};
use crate::base::clock_trust::ClockTrust;
use crate::base::entropy::SeededEntropy;
use crate::document::json::JsonBounds;
use crate::engine::actor::EngineActor;
use crate::engine::data::DataAccess;
use crate::engine::handle::{self, Engine};
use crate::engine::health::Health;
use crate::engine::read::Reads;
use crate::engine::{EngineOptions, Hooks};
use crate::jobs::runner::{Runner, RunnerHandle};
use crate::jobs::{Job, RunRecord};
use crate::live::hub::Hub;
use crate::live::ring::RingBounds;
use crate::store;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// Waits until something is so, at most 20 s.
pub(crate) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), wait).await.is_ok(), "in vain: {what}");
}

/// An engine and what is needed to run jobs on it.
pub(crate) struct RunningRunner {
    pub engine: Engine,
    pub reads: Reads,
    pub clock: Arc<ManualClock>,
    pub directory: TempDir,
}

/// A runner at work. Dropped, it is gone at once, with all that it ran.
pub(crate) struct AtWork {
    pub handle: RunnerHandle,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RunningRunner {
    /// At noon of 2026-03-01.
    pub(crate) fn start(pages_max: Option<u32>) -> Self {
        Self::start_hooked(pages_max, Vec::new())
    }

    /// The same, with hooks.
    pub(crate) fn start_hooked(pages_max: Option<u32>, hooks: Hooks) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = store::StoreOptions { pages_max, ..store::StoreOptions::new(directory.path()) };
        let (writer, reader) = store::open(options).unwrap();
        let ring = RingBounds { events_max: 100, bytes_max: 1 << 20 };
        let clock = Arc::new(ManualClock::at(Timestamp::parse("2026-03-01T12:00:00Z").unwrap()));
        let options = EngineOptions {
            state: JsonBounds { depth_max: 10, state_bytes_max: 1 << 16 },
            ring,
            hooks,
            snapshot_events_max: 100,
            ..EngineOptions::new(Arc::clone(&clock) as _, Arc::new(SeededEntropy::new(1)))
        };
        let head = writer.head();
        let hub = Arc::new(Hub::new((head.seq, head.hash), ring));
        let (engine, commands) = handle::channel();
        let actor = EngineActor::new(options, writer, reader.clone(), Arc::clone(&hub), Arc::new(Health::default()));
        std::thread::spawn(move || actor.run(commands));
        let reads = Reads::new(hub, reader, engine.clone(), Vec::new());
        Self { engine, reads, clock, directory }
    }

    /// Waits until storage that failed takes rows again.
    pub(crate) async fn recover(&self) {
        let takes = async || {
            self.engine.tick();
            self.engine.rows(|_, _| Ok(())).await.is_ok()
        };
        until("storage comes back", takes).await;
    }

    /// Starts a runner, as the start of a server does.
    pub(crate) fn runner(&self, jobs: Vec<Job>) -> AtWork {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let trust = Arc::new(ClockTrust::new(Arc::clone(&clock), &[]));
        let data = DataAccess { engine: self.engine.clone(), reads: self.reads.clone(), clock };
        let (runner, handle) = Runner::new(data, trust);
        AtWork { handle, task: tokio::spawn(runner.with_jobs(jobs).run()) }
    }
}

impl AtWork {
    /// Runs a job to its end.
    pub(crate) async fn run(&self, name: &str, dry_run: bool) -> RunRecord {
        let started = self.handle.run_now(name, dry_run).await.unwrap();
        started.ended.await.unwrap();
        self.handle.record(started.id).await.unwrap()
    }

    /// The runs of a job, oldest first: why each began and how it ended.
    pub(crate) async fn runs(&self, name: &'static str) -> Vec<(String, Option<String>)> {
        let runs = self.handle.last_runs(name, 1000).await.unwrap();
        runs.into_iter().rev().map(|run| (run.trigger, run.outcome)).collect()
    }

    /// Waits until the last run of a job, of which there must be `count`, has ended.
    pub(crate) async fn until_ended(&self, name: &'static str, count: usize) -> Vec<(String, Option<String>)> {
        for _ in 0..2000 {
            let runs = self.runs(name).await;
            if runs.len() >= count && runs.iter().all(|(_, outcome)| outcome.is_some()) {
                return runs;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{name} has not ended: {:?}", self.runs(name).await);
    }
}
