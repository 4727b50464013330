//! The jobs that look after the file: history that nobody's changes trim any more, and what SQLite wants done now and
//! then.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tracing::warn;

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::jobs::{Job, JobContext, Schedule, Summary};
use crate::store::{self, History};

const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Documents looked at in one reading: no reading holds the WAL for long.
const PAGE: usize = 500;
/// Documents looked at in one run; the next goes on from there. A million takes ten hours, of the days that history is
/// kept.
const DOCUMENTS_MAX: usize = 100_000;
/// Events that go in one transaction: the engine's thread does nothing else meanwhile, for some milliseconds.
const EVENTS_PER_STEP: u64 = 1_000;
/// Events that go in one run.
const EVENTS_MAX: u64 = 200_000;

/// The job `history-trim`: a document's history is trimmed when the document is stored whole, which one that nobody
/// changes never is again. Bounded work per run; what is left is for the next.
pub fn trim_job(history: History) -> Job {
    // Where the next run goes on. Lost with a restart, which then begins anew.
    let next = Arc::new(AtomicI64::new(0));
    let run = move |context| trim(history, Arc::clone(&next), context);
    Job::new("history-trim", Schedule::Hourly, TIMEOUT, run).with_dry_run()
}

async fn trim(history: History, next: Arc<AtomicI64>, context: JobContext) -> Result<Summary> {
    let now = context.clock.now();
    let mut summary = Summary::default();
    for name in ["looked", "documents", "events", "failed"] {
        summary.count(name, 0);
    }
    let (mut after, mut events, mut looked) = (next.load(Ordering::Relaxed), 0, 0);
    while looked < DOCUMENTS_MAX && events < EVENTS_MAX {
        let question = move |conn: &_| store::overdue(conn, history, after, PAGE, now);
        let (last, overdue) = context.reads.ask(move |reader| reader.rows(question)).await?;
        for key in overdue {
            summary.count("documents", 1);
            if !context.dry_run {
                events +=
                    trim_one(&context, history, key, EVENTS_MAX.saturating_sub(events), now, &mut summary).await?;
            }
        }
        looked += PAGE;
        summary.count("looked", PAGE);
        after = last.unwrap_or(0);
        if last.is_none() {
            break;
        }
    }
    summary.count("events", usize::try_from(events).unwrap_or(usize::MAX));
    if !context.dry_run {
        next.store(after, Ordering::Relaxed);
    }
    Ok(summary)
}

/// Trims a document, of at most `events_max` events and some. One that is damaged stays as it is. Error: storage takes
/// nothing now.
async fn trim_one(
    context: &JobContext,
    history: History,
    key: i64,
    events_max: u64,
    now: Timestamp,
    summary: &mut Summary,
) -> Result<u64> {
    let mut trimmed = 0;
    while trimmed < events_max {
        let step = move |conn: &_, _| store::trim_some(conn, history, key, EVENTS_PER_STEP, now);
        match context.engine.rows(step).await {
            Ok(0) => break,
            Ok(events) => trimmed += events,
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

/// The job `storage-optimize`: the WAL moved into the database and emptied, and SQLite's statistics brought up to date,
/// on the engine's writer when nothing else waits for it.
pub fn optimize_job() -> Job {
    Job::new("storage-optimize", Schedule::Hourly, TIMEOUT, optimize)
}

async fn optimize(context: JobContext) -> Result<Summary> {
    let tidied = context.engine.tidy().await?;
    let mut summary = Summary::default();
    summary.count("optimized", usize::from(tidied.optimized));
    summary.count("walFrames", usize::try_from(tidied.frames).unwrap_or(usize::MAX));
    summary.count("walEmptied", usize::from(tidied.emptied));
    Ok(summary)
}
