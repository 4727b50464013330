//! Rank 4: what the server does by itself, at set times: one runner, and a table of what ran when and with what result.
//!
//! In reading order: [`schedule`] (when a job is due, pure), `sql` (the tables `jobs` and `job_runs`), [`runner`] (one
//! run at a time of each job, watched), [`scheduler`] (clokwerk, which only says when to check), [`trim`] (the job that
//! trims the record of jobs).
//!
//! What a job can rely on: it runs once per slot of its schedule, if the server is there; slots that passed while the
//! server was down, or while storage failed, are made up for by one run; a run that the end of the server broke off, or
//! that failed because storage took nothing, is made up for by another. It never runs twice at once. What it must see
//! to by itself: that running again does no harm.

pub(crate) mod problems;
pub(crate) mod runner;
pub(crate) mod schedule;
pub(crate) mod scheduler;
pub(crate) mod sql;
pub(crate) mod trim;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::engine::data::DataAccess;

pub use schedule::Schedule;

/// Most names that a [`Summary`] keeps: it is a row of a table and a line of the log.
const NAMES_MAX: usize = 100;

/// What a job does. Called once per run.
pub(crate) type RunJob = Arc<dyn Fn(JobContext) -> BoxFuture<'static, Result<Summary>> + Send + Sync>;

/// Work that the server does by itself on a schedule.
#[derive(Clone)]
pub struct Job {
    /// Unique name, kebab case.
    pub name: &'static str,
    /// When it runs.
    pub schedule: Schedule,
    /// How long a run may take; then it is broken off.
    pub timeout: Duration,
    /// Whether it can tell what it would do without doing it.
    pub can_dry_run: bool,
    /// Whether it removes, ends or moves on something by the wall clock. It then waits while the clock is doubted.
    pub removes_by_time: bool,
    /// What it does.
    pub run: RunJob,
}

impl Job {
    /// A job that cannot run dry.
    pub fn new<F, Doing>(name: &'static str, schedule: Schedule, timeout: Duration, run: F) -> Self
    where
        F: Fn(JobContext) -> Doing + Send + Sync + 'static,
        Doing: Future<Output = Result<Summary>> + Send + 'static,
    {
        let run: RunJob = Arc::new(move |context| Box::pin(run(context)));
        Self { name, schedule, timeout, can_dry_run: false, removes_by_time: false, run }
    }

    /// The same job, whose `run` respects [`JobContext::dry_run`].
    #[must_use]
    pub fn with_dry_run(mut self) -> Self {
        self.can_dry_run = true;
        self
    }

    /// The same job, which is not run while the wall clock is doubted: by request it is then refused with 409
    /// `clock-doubted`, by schedule it is made up for when the clock is believed again.
    #[must_use]
    pub fn removing_by_time(mut self) -> Self {
        self.removes_by_time = true;
        self
    }
}

/// What a run is given.
///
/// ```
/// use rejoin::{Job, JobContext, Schedule, Summary, sql_error};
///
/// let forget = async |context: JobContext| {
///     let sql = "DELETE FROM list_log_changes WHERE rowid NOT IN
///                    (SELECT rowid FROM list_log_changes ORDER BY rowid DESC LIMIT 1000)";
///     let forgotten = context.write_rows(|conn, _| conn.execute(sql, ()).map_err(sql_error)).await?;
///     let mut summary = Summary::default();
///     summary.count("forgotten", forgotten);
///     Ok(summary)
/// };
/// let job = Job::new("list-log-trim", Schedule::Hourly, std::time::Duration::from_secs(60), forget);
/// # let _ = job;
/// ```
#[derive(Clone)]
pub struct JobContext {
    pub(crate) data: DataAccess,
    /// Whether only to tell what would be done. Only ever true for a job that can.
    pub dry_run: bool,
}

impl std::ops::Deref for JobContext {
    type Target = DataAccess;

    fn deref(&self) -> &DataAccess {
        &self.data
    }
}

/// What a run did: numbers by name, and some names of what it did it to.
///
/// ```
/// let mut summary = rejoin::Summary::default();
/// summary.count("removed", 2);
/// summary.name("lists/shopping");
/// assert_eq!(summary.counts["removed"], 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many of what.
    pub counts: BTreeMap<String, u64>,
    /// What it was done to, for people; the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

impl Summary {
    /// Adds to a number; adding 0 shows that there was none.
    pub fn count(&mut self, name: &str, more: usize) {
        let count = self.counts.entry(name.to_owned()).or_default();
        *count = count.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
    }

    /// Notes a name, unless there are many already.
    pub fn name(&mut self, name: impl Into<String>) {
        if self.names.len() < NAMES_MAX {
            self.names.push(name.into());
        }
    }
}

/// Why a run was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// Its time had come.
    Schedule,
    /// Its time had passed while it could not be run, or a run of it was broken off by the end of the server or by
    /// storage.
    MakeUp,
    Request,
}

impl Trigger {
    /// Its name in the table and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::MakeUp => "make-up",
            Self::Request => "request",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunOutcome {
    Succeeded,
    Failed,
    /// It took too long and was broken off.
    TimedOut,
    Panicked,
    /// The server ended first.
    Interrupted,
}

impl RunOutcome {
    /// Its name in the table and on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed-out",
            Self::Panicked => "panicked",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRecord {
    /// Counts the runs of all jobs.
    pub id: i64,
    pub job: String,
    /// Why; see [`Trigger`].
    pub trigger: String,
    /// Whether it only told what it would do.
    pub dry_run: bool,
    pub started_at: Timestamp,
    /// When it ended; `None` while it goes on, and for one that the end of the server broke off.
    pub ended_at: Option<Timestamp>,
    /// How; see [`RunOutcome`]. `None`: it goes on.
    pub outcome: Option<String>,
    pub summary: Option<Summary>,
    pub error: Option<String>,
}
