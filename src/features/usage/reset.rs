//! The job `usage-reset`: whose period is over begins the next one at 0.

use std::time::Duration;

use futures_util::future::join_all;
use tracing::{error, info};

use super::rules::{Period, RESET};
use super::{service, sql};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::jobs::{Job, JobContext, Summary};

const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Subscriptions that are read at once, and then set forward at once: each in a savepoint of its own, but they share
/// transactions, or ten thousand would take ten thousand syncs.
const PAGE: usize = 100;
/// Counters of users without a subscription that are forgotten in one transaction.
const FORGOTTEN_PER_ROUND: u32 = 1_000;

/// The job. Outside `production` it only tells what it would do.
pub(crate) fn reset_job(production: bool) -> Job {
    let run = move |context: JobContext| reset(JobContext { dry_run: context.dry_run || !production, ..context });
    Job::new("usage-reset", RESET, TIMEOUT, run).with_dry_run().removing_by_time()
}

async fn reset(context: JobContext) -> Result<Summary> {
    let now = context.clock.now();
    let mut summary = Summary::default();
    for name in ["due", "reset", "failed", "months"] {
        summary.count(name, 0);
    }
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = context.reads.read(move |reader| reader.rows(|conn| sql::users_due(conn, &from, PAGE, now))).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        summary.count("due", page.len());
        if !context.dry_run {
            begin_next(&context, page, now, &mut summary).await?;
        }
    }
    if let Some(month) = Period::month_of(now) {
        summary.count("months", forget_stale(&context, month.start).await?);
    }
    Ok(summary)
}

/// One that fails does not keep the others. Error: storage takes nothing now; what is left over is still due.
async fn begin_next(context: &JobContext, users: Vec<String>, now: Timestamp, summary: &mut Summary) -> Result<()> {
    let resets = users.into_iter().map(|user| async move {
        let begins = user.clone();
        let begun = context.engine.rows(move |conn, _| service::begin_next(conn, &begins, now)).await;
        (user, begun)
    });
    let mut storage = Ok(());
    for (user, begun) in join_all(resets).await {
        match begun {
            Ok(true) => summary.count("reset", 1),
            // Somebody changed it meanwhile: it is not due any more.
            Ok(false) => {}
            Err(error) if error.kind().retryable() => storage = Err(error),
            Err(error) => {
                error!(user, %error, "the counters of {user} are not reset");
                summary.count("failed", 1);
                summary.name(format!("{user} (failed)"));
            }
        }
    }
    info!(counts = ?summary.counts, "counters are being reset");
    storage
}

/// Without a subscription the period is the calendar month, and counters of one that is over are as good as none.
async fn forget_stale(context: &JobContext, month: Timestamp) -> Result<usize> {
    if context.dry_run {
        return context.reads.read(move |reader| reader.rows(|conn| sql::count_stale(conn, month))).await;
    }
    let mut forgotten = 0;
    loop {
        match context.engine.rows(move |conn, _| sql::forget_stale(conn, month, FORGOTTEN_PER_ROUND)).await? {
            0 => return Ok(forgotten),
            count => forgotten += count,
        }
    }
}
