//! The job that trims the record of job runs.

use std::time::Duration;

use super::{Job, JobContext, Schedule, Summary, sql};
use crate::base::error::Result;

/// Runs kept of each job.
const RUNS_MAX: u32 = 100;
/// How long a run is kept; the newest run of each job is always kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const TIMEOUT: Duration = Duration::from_secs(60);

/// The job `job-log-trim`. Hourly, since a job may run each second.
pub(crate) fn trim_job() -> Job {
    Job::new("job-log-trim", Schedule::Hourly, TIMEOUT, trim).with_dry_run().removing_by_time()
}

async fn trim(context: JobContext) -> Result<Summary> {
    let before = context.clock.now().minus(KEPT);
    let count = match context.dry_run {
        true => context.reads.read(move |reader| reader.rows(|conn| sql::count_old(conn, RUNS_MAX, before))).await?,
        false => context.engine.rows(move |conn, _| sql::trim(conn, RUNS_MAX, before)).await?,
    };
    let mut summary = Summary::default();
    summary.count("runs", count);
    Ok(summary)
}
