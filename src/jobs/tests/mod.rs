//! The runner on a real engine and a real file, under a clock that stands still.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

pub(crate) mod running;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::runner::RunnerMessage;
use super::{Job, JobContext, RunOutcome, Schedule, Summary, sql, trim};
use crate::base::error::{Error, Kind, Result};
use crate::store::{Connection, sql_error};
use running::{AtWork, DAY, RunningRunner, until};

const NIGHTLY: Schedule = Schedule::EveryDay { hour: 0, minute: 5 };
const LONG: Duration = Duration::from_secs(60);

async fn quick(_: JobContext) -> Result<Summary> {
    let mut done = Summary::default();
    done.count("things", 2);
    Ok(done)
}

fn job(name: &'static str) -> Job {
    Job::new(name, NIGHTLY, LONG, quick)
}

/// A job that waits until it is let go, and counts how often it was begun and how often it was broken off.
struct Gate {
    open: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
}

struct Leaving(Arc<AtomicUsize>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Gate {
    fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), begun: Arc::default(), left: Arc::default() }
    }

    fn job(&self, name: &'static str) -> Job {
        let (open, begun, left) = (Arc::clone(&self.open), Arc::clone(&self.begun), Arc::clone(&self.left));
        let run = move |_| {
            let (open, leaving) = (Arc::clone(&open), Leaving(Arc::clone(&left)));
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                let _leaving = leaving;
                open.acquire().await.map_err(Error::internal)?.forget();
                Ok(Summary::default())
            }
        };
        Job::new(name, NIGHTLY, LONG, run).with_dry_run()
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

fn told_runs(runs: &[(&str, &str)]) -> Vec<(String, Option<String>)> {
    runs.iter().map(|(trigger, outcome)| ((*trigger).to_owned(), Some((*outcome).to_owned()))).collect()
}

/// Sends messages and waits until the runner has heeded them: it heeds them in their order.
async fn message(at_work: &AtWork, messages: impl IntoIterator<Item = RunnerMessage>) {
    for one in messages {
        at_work.handle.send(one);
    }
    assert_eq!(at_work.handle.run_now("no-such-job", false).await.unwrap_err().kind(), Kind::NotFound);
}

/// Signals again and again, until a job has begun so often.
async fn signal_until(at_work: &AtWork, job: &'static str, runs: usize, one: impl Fn() -> RunnerMessage) {
    let begun = async || {
        message(at_work, [one()]).await;
        at_work.runs(job).await.len() >= runs
    };
    until("the job begins", begun).await;
}

#[tokio::test]
async fn a_job_that_panics_hangs_or_fails_harms_no_other() {
    let running = RunningRunner::start(None);
    let panics = Job::new("panics", NIGHTLY, LONG, |context: JobContext| async move {
        context.engine.rows(|_, _| Ok(())).await?;
        panic!("a bug");
    });
    let panics_early = Job::new("panics-early", NIGHTLY, LONG, |_| -> std::future::Ready<Result<Summary>> {
        panic!("a bug before anything was awaited")
    });
    let hangs = Job { timeout: Duration::from_millis(20), ..Gate::new().job("hangs") };
    let fails = Job::new("fails", NIGHTLY, LONG, |_| async { Err(Error::new(Kind::Rejected, "not today")) });
    let at_work = running.runner(vec![panics, panics_early, hangs, fails, job("quick")]);
    for (name, outcome, error) in [
        ("panics", RunOutcome::Panicked, Some("a bug")),
        ("panics-early", RunOutcome::Panicked, Some("a bug")),
        ("hangs", RunOutcome::TimedOut, Some("longer than 20ms")),
        ("fails", RunOutcome::Failed, Some("not today")),
        ("quick", RunOutcome::Succeeded, None),
        // Once more: none of them is stuck.
        ("panics", RunOutcome::Panicked, Some("a bug")),
        ("hangs", RunOutcome::TimedOut, Some("longer than 20ms")),
    ] {
        let record = at_work.run(name, false).await;
        assert_eq!(record.outcome.as_deref(), Some(outcome.as_str()), "{name}");
        assert_eq!(record.error.is_some(), error.is_some(), "{name}");
        assert!(error.is_none_or(|error| record.error.unwrap().contains(error)), "{name}");
        assert!(record.ended_at.is_some() && record.trigger == "request" && !record.dry_run);
        let things = record.summary.map(|summary| summary.counts["things"]);
        assert_eq!(things, (name == "quick").then_some(2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_job_that_holds_its_thread_is_not_run_again_before_it_lets_go() {
    const TIMEOUT: Duration = Duration::from_millis(10);
    let running = RunningRunner::start(None);
    let (release, held) = std::sync::mpsc::sync_channel::<()>(1);
    let held = Arc::new(parking_lot::Mutex::new(held));
    let holds = move |_| {
        let held = Arc::clone(&held);
        async move {
            held.lock().recv().map_err(Error::internal)?;
            Ok(Summary::default())
        }
    };
    let at_work = running.runner(vec![Job::new("holds", NIGHTLY, TIMEOUT, holds), job("quick")]);
    let started = at_work.handle.run_now("holds", false).await.unwrap();
    assert_eq!(at_work.run("quick", false).await.outcome.as_deref(), Some("succeeded"), "others run meanwhile");
    // Only time shows that a time-out has passed.
    tokio::time::sleep(20 * TIMEOUT).await;
    assert_eq!(at_work.handle.run_now("holds", false).await.unwrap_err().kind(), Kind::AlreadyExists);
    release.send(()).unwrap();
    started.ended.await.unwrap();
    let record = at_work.handle.record(started.id).await.unwrap();
    assert_eq!(record.outcome.as_deref(), Some("timed-out"));
}

#[tokio::test]
async fn a_job_never_runs_twice_at_once() {
    let running = RunningRunner::start(None);
    let gate = Gate::new();
    let at_work = running.runner(vec![gate.job("gate"), job("quick")]);
    let started = at_work.handle.run_now("gate", false).await.unwrap();
    assert_eq!(at_work.handle.run_now("gate", false).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(at_work.handle.run_now("gate", true).await.unwrap_err().kind(), Kind::AlreadyExists);
    running.clock.advance(DAY);
    message(&at_work, [RunnerMessage::Due("gate"), RunnerMessage::CheckAll]).await;
    let meanwhile = at_work.until_ended("quick", 1).await;
    assert_eq!(meanwhile, told_runs(&[("make-up", "succeeded")]), "others run meanwhile");
    assert_eq!((gate.begun(), at_work.runs("gate").await.len()), (1, 1));
    gate.open.add_permits(2);
    started.ended.await.unwrap();
    // Its slot passed while it ran: a look finds it late. It may take the runner a moment to hear that it has ended.
    signal_until(&at_work, "gate", 2, || RunnerMessage::CheckAll).await;
    let runs = at_work.until_ended("gate", 2).await;
    assert_eq!(runs, told_runs(&[("request", "succeeded"), ("make-up", "succeeded")]));
}

#[tokio::test]
async fn a_job_runs_once_per_slot_and_what_was_missed_is_made_up_for_once() {
    let running = RunningRunner::start(None);
    let at_work = running.runner(vec![job("nightly")]);
    message(&at_work, [RunnerMessage::CheckAll, RunnerMessage::Due("nightly")]).await;
    assert_eq!(at_work.runs("nightly").await, [], "new at noon, it is not late");
    running.clock.advance(Duration::from_secs(12 * 3600 + 300));
    message(&at_work, [RunnerMessage::Due("nightly"), RunnerMessage::Due("nightly"), RunnerMessage::CheckAll]).await;
    let mut expected = told_runs(&[("schedule", "succeeded")]);
    assert_eq!(at_work.until_ended("nightly", 1).await, expected);
    message(&at_work, [RunnerMessage::Due("nightly"), RunnerMessage::CheckAll]).await;
    assert_eq!(at_work.runs("nightly").await, expected, "once per slot");
    drop(at_work);

    running.clock.advance(5 * DAY);
    let at_work = running.runner(vec![job("nightly"), job("new")]);
    expected.extend(told_runs(&[("make-up", "succeeded")]));
    assert_eq!(at_work.until_ended("nightly", 2).await, expected);
    message(&at_work, [RunnerMessage::CheckAll]).await;
    drop(at_work);
    let at_work = running.runner(vec![job("nightly"), job("new")]);
    message(&at_work, [RunnerMessage::CheckAll]).await;
    at_work.run("new", false).await;
    assert_eq!(at_work.runs("nightly").await, expected, "five nights are made up for by one run");
    assert_eq!(at_work.runs("new").await, told_runs(&[("request", "succeeded")]), "what is new is not late");
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_at_its_next_slot() {
    let running = RunningRunner::start(None);
    let fails = Job::new("fails", NIGHTLY, LONG, |_| async { Err(Error::new(Kind::Rejected, "not today")) });
    let at_work = running.runner(vec![fails]);
    // The job is known from here on.
    message(&at_work, []).await;
    for nights in 1..=2 {
        running.clock.advance(DAY);
        // The runner may not have heard yet that the last run ended.
        signal_until(&at_work, "fails", nights, || RunnerMessage::Due("fails")).await;
        let runs = at_work.until_ended("fails", nights).await;
        assert_eq!(runs, told_runs(&[("schedule", "failed"), ("schedule", "failed")][..nights]));
    }
}

#[tokio::test]
async fn a_run_that_the_end_of_the_server_broke_off_is_told_so_and_made_up_for() {
    let running = RunningRunner::start(None);
    let gate = Gate::new();
    let at_work = running.runner(vec![gate.job("gate"), gate.job("dry")]);
    at_work.handle.run_now("gate", false).await.unwrap();
    at_work.handle.run_now("dry", true).await.unwrap();
    until("both have begun", async || gate.begun() == 2).await;
    drop(at_work);
    until("both were broken off", async || gate.left.load(Ordering::SeqCst) == 2).await;

    let at_work = running.runner(vec![gate.job("gate"), gate.job("dry")]);
    gate.open.add_permits(1);
    let runs = at_work.until_ended("gate", 2).await;
    assert_eq!(runs, told_runs(&[("request", "interrupted"), ("make-up", "succeeded")]));
    let interrupted = at_work.handle.last_runs("gate", 2).await.unwrap().pop().unwrap();
    assert_eq!(interrupted.ended_at, None, "nobody knows when it ended");
    assert_eq!(at_work.runs("dry").await, told_runs(&[("request", "interrupted")]), "a dry run did nothing");
    drop(at_work);
    let at_work = running.runner(vec![gate.job("gate"), gate.job("dry")]);
    message(&at_work, [RunnerMessage::CheckAll]).await;
    assert_eq!(at_work.runs("gate").await.len(), 2, "once");
    assert_eq!(gate.begun(), 3);
}

#[tokio::test]
async fn while_storage_fails_nothing_runs_unrecorded_and_what_was_missed_is_made_up_for() {
    let running = RunningRunner::start(Some(256));
    let gate = Gate::new();
    let at_work = running.runner(vec![gate.job("gate")]);
    message(&at_work, []).await;
    let fill = |conn: &Connection, _| {
        conn.execute_batch("CREATE TABLE filler (text TEXT)").map_err(sql_error)?;
        conn.execute("INSERT INTO filler VALUES (?1)", ["x".repeat(2 << 20)]).map(drop).map_err(sql_error)
    };
    assert_eq!(running.engine.rows(fill).await.unwrap_err().kind(), Kind::StorageUnavailable);
    running.clock.advance(DAY);
    at_work.handle.send(RunnerMessage::Due("gate"));
    // Under way, until it is clear that its beginning cannot be recorded.
    let refused = async || at_work.handle.run_now("gate", false).await.unwrap_err().kind() == Kind::StorageUnavailable;
    until("its beginning cannot be recorded", refused).await;
    assert_eq!(gate.begun(), 0);
    running.recover().await;
    gate.open.add_permits(1);
    signal_until(&at_work, "gate", 1, || RunnerMessage::CheckAll).await;
    assert_eq!(at_work.until_ended("gate", 1).await, told_runs(&[("make-up", "succeeded")]));
}

#[tokio::test]
async fn a_run_that_failed_for_want_of_storage_is_made_up_for_and_any_other_waits_for_its_slot() {
    let running = RunningRunner::start(None);
    let refusals = Arc::new(AtomicUsize::new(2));
    let counted = Arc::clone(&refusals);
    let wants = move |_| {
        let refused = counted.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let outcome =
            if refused { Err(Error::new(Kind::StorageUnavailable, "not now")) } else { Ok(Summary::default()) };
        async move { outcome }
    };
    let at_work = running.runner(vec![Job::new("wants", NIGHTLY, LONG, wants)]);
    message(&at_work, []).await;
    running.clock.advance(DAY);
    signal_until(&at_work, "wants", 1, || RunnerMessage::Due("wants")).await;
    signal_until(&at_work, "wants", 3, || RunnerMessage::CheckAll).await;
    let runs = at_work.until_ended("wants", 3).await;
    assert_eq!(runs, told_runs(&[("schedule", "failed"), ("make-up", "failed"), ("make-up", "succeeded")]));
    message(&at_work, [RunnerMessage::CheckAll, RunnerMessage::Due("wants")]).await;
    assert_eq!(at_work.runs("wants").await.len(), 3, "once it went well it is done with");
}

#[tokio::test]
async fn who_asks_for_what_cannot_be_is_told_so() {
    let running = RunningRunner::start(None);
    let at_work = running.runner(vec![job("quick"), Gate::new().job("gate")]);
    assert_eq!(at_work.handle.run_now("none", false).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(at_work.handle.run_now("quick", true).await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(at_work.runs("quick").await, []);
    assert_eq!(at_work.handle.record(77).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn the_record_of_jobs_is_bounded_in_number_and_in_time() {
    let running = RunningRunner::start(None);
    let at_work = running.runner(vec![trim::trim_job(), job("quick")]);
    message(&at_work, []).await;
    let many = |conn: &Connection, now| {
        for job in ["quick", "another"] {
            for _ in 0..105 {
                let id = sql::start(conn, job, super::Trigger::Request, false, now)?;
                let outcome = RunOutcome::Succeeded;
                let end = sql::RunEnd { id, job: "quick", outcome, summary: None, error: None, progress: None };
                sql::end(conn, &end, now)?;
            }
        }
        Ok(())
    };
    running.engine.rows(many).await.unwrap();
    let count = |record: super::RunRecord| record.summary.unwrap().counts["runs"];
    assert_eq!(count(at_work.run("job-log-trim", true).await), 10);
    assert_eq!(at_work.runs("quick").await.len(), 105, "a dry run removes nothing");
    assert_eq!(count(at_work.run("job-log-trim", false).await), 10);
    assert_eq!((at_work.runs("quick").await.len(), at_work.runs("another").await.len()), (100, 100));
    running.clock.advance(31 * DAY);
    // Of each job the newest stays; of this one that is the run itself.
    assert_eq!(count(at_work.run("job-log-trim", false).await), 99 + 99 + 2);
    assert_eq!((at_work.runs("quick").await.len(), at_work.runs("another").await.len()), (1, 1));
}
