//! The jobs that look after the file: history that nobody's changes trim any more, and what SQLite wants done now and
//! then.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::jobs::{Job, JobContext, Schedule, Summary};
use crate::store::{self, HistoryRetention};

const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// How much one run may do.
#[derive(Clone, Copy)]
struct TrimPace {
    /// Documents looked at in one reading: no reading holds the WAL for long.
    page: usize,
    /// Documents looked at in one run; the next goes on from there. A million takes ten hours, of the days that history
    /// is kept.
    documents_max: usize,
    /// Events that go in one transaction: the engine's thread does nothing else meanwhile, for some milliseconds.
    events_per_step: u64,
    /// Events that go in one run, but for the last step.
    events_max: u64,
}

const PACE: TrimPace = TrimPace { page: 500, documents_max: 100_000, events_per_step: 1_000, events_max: 200_000 };

/// The job `history-trim`: a document's history is trimmed when the document is stored whole, which one that nobody
/// changes never is again. Bounded work per run; what is left is for the next.
pub(crate) fn trim_job(history: HistoryRetention) -> Job {
    trim_job_at(history, PACE)
}

fn trim_job_at(history: HistoryRetention, pace: TrimPace) -> Job {
    // Where the next run goes on. Lost with a restart, which then begins anew.
    let next = Arc::new(AtomicI64::new(0));
    let run = move |context| trim(TrimRun { history, pace, context }, Arc::clone(&next));
    Job::new("history-trim", Schedule::Hourly, TIMEOUT, run).with_dry_run().removing_by_time()
}

struct TrimRun {
    history: HistoryRetention,
    pace: TrimPace,
    context: JobContext,
}

async fn trim(run: TrimRun, next: Arc<AtomicI64>) -> Result<Summary> {
    let TrimRun { history, pace, context } = &run;
    let (history, page, now) = (*history, pace.page, context.clock.now());
    let mut summary = Summary::default();
    for name in ["looked", "documents", "events", "failed"] {
        summary.count(name, 0);
    }
    let (mut after, mut looked, mut events) = (next.load(Ordering::Relaxed), 0, 0);
    while looked < pace.documents_max {
        let question = move |conn: &_| store::overdue(conn, history, after, page, now);
        let found = context.reads.read(move |reader| reader.rows(question)).await?;
        looked += found.examined;
        summary.count("looked", found.examined);
        for key in found.overdue {
            if events >= pace.events_max {
                // This one is where the next run goes on.
                next.store(key - 1, Ordering::Relaxed);
                return Ok(summary);
            }
            summary.count("documents", 1);
            if !context.dry_run {
                events += run.trim_one(key, pace.events_max - events, now, &mut summary).await?;
            }
        }
        after = found.last.unwrap_or(0);
        if found.examined < page {
            // That was the end: the next run begins anew.
            after = 0;
            break;
        }
    }
    if !context.dry_run {
        next.store(after, Ordering::Relaxed);
    }
    Ok(summary)
}

impl TrimRun {
    /// Trims a document, of at most `events_max` events and some. One that is damaged stays as it is. Error: storage
    /// takes nothing now.
    async fn trim_one(&self, key: i64, events_max: u64, now: Timestamp, summary: &mut Summary) -> Result<u64> {
        let (history, most) = (self.history, self.pace.events_per_step);
        let mut trimmed = 0;
        while trimmed < events_max {
            let step = move |conn: &_, _| store::trim_some(conn, history, key, most, now);
            match self.context.engine.rows(step).await {
                Ok(0) => break,
                Ok(events) => {
                    trimmed += events;
                    summary.count("events", usize::try_from(events).unwrap_or(usize::MAX));
                }
                Err(error) if error.kind().retryable() => return Err(error),
                Err(error) => {
                    warn!(document = key, %error, "a history is not trimmed");
                    summary.count("failed", 1);
                    break;
                }
            }
        }
        Ok(trimmed)
    }
}

/// The job `storage-optimize`: the WAL moved into the database and emptied, and SQLite's statistics brought up to date,
/// on the engine's writer when nothing else waits for it.
pub(crate) fn optimize_job() -> Job {
    Job::new("storage-optimize", Schedule::Hourly, TIMEOUT, optimize)
}

async fn optimize(context: JobContext) -> Result<Summary> {
    let report = context.engine.maintain_file().await?;
    let mut summary = Summary::default();
    summary.count("optimized", usize::from(report.optimized));
    summary.count("walFrames", usize::try_from(report.wal_frames).unwrap_or(usize::MAX));
    summary.count("walEmptied", usize::from(report.wal_emptied));
    Ok(summary)
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
