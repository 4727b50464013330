//! What the server does by itself: which jobs there are, how they went, and running one now. For the owner alone.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::jobs::problems::CLOCK_DOUBTED;
use crate::jobs::runner::RunnerHandle;
use crate::jobs::{Job, RunRecord};

/// Runs shown of each job.
const RUNS_SHOWN: u32 = 10;
/// How long a call waits for the run that it asked for.
const WAIT: Duration = Duration::from_secs(10);

/// The calls about jobs.
pub(crate) fn router(jobs: RunnerHandle) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(run)).layer(Extension(jobs))
}

problems! {
    /// Of listing jobs.
    ListProblems: &[Kind::Unauthenticated, Kind::StorageUnavailable];
    /// Of running one.
    RunProblems:
        &[Kind::Unauthenticated, Kind::NotFound, Kind::AlreadyExists, Kind::StorageUnavailable], BODY,
        &[&CLOCK_DOUBTED];
}

/// All jobs.
#[derive(Serialize, ToSchema)]
struct Jobs {
    items: Vec<JobItem>,
}

/// Something that the server does by itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
struct JobItem {
    /// By which it is known.
    #[schema(example = "job-log-trim")]
    name: &'static str,
    /// When it runs, in words.
    #[schema(example = "every day at 00:05 UTC")]
    schedule: String,
    /// When it runs next.
    #[schema(value_type = String, format = DateTime)]
    next_run: Timestamp,
    /// After which a run is broken off.
    timeout_seconds: u64,
    /// Whether it can tell what it would do without doing it.
    can_dry_run: bool,
    /// Its last runs, newest first.
    runs: Vec<RunItem>,
}

/// A run of a job.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JobRun)]
struct RunItem {
    /// Counts the runs of all jobs.
    id: i64,
    /// Of which job.
    job: String,
    /// `schedule`, `make-up` (its time passed while it could not run, or a run was broken off) or `request`.
    trigger: String,
    /// Whether it only told what it would do.
    dry_run: bool,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// Null while it goes on, and when the end of the server broke it off.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    duration_ms: Option<i64>,
    /// `running`, `succeeded`, `failed`, `timed-out`, `panicked` or `interrupted`.
    outcome: String,
    /// What it did, or would do: numbers by name.
    counts: BTreeMap<String, u64>,
    /// Some of what it did it to.
    names: Vec<String>,
    /// What went wrong.
    error: Option<String>,
}

impl From<RunRecord> for RunItem {
    fn from(record: RunRecord) -> Self {
        let summary = record.summary.unwrap_or_default();
        let lasted = |ended: Timestamp| ended.as_millis().saturating_sub(record.started_at.as_millis()).max(0);
        Self {
            id: record.id,
            job: record.job,
            trigger: record.trigger,
            dry_run: record.dry_run,
            started_at: record.started_at,
            ended_at: record.ended_at,
            duration_ms: record.ended_at.map(lasted),
            outcome: record.outcome.unwrap_or_else(|| "running".to_owned()),
            counts: summary.counts,
            names: summary.names,
            error: record.error,
        }
    }
}

/// List the jobs
///
/// What the server does by itself, when, and how it went the last times. For the owner alone.
#[utoipa::path(
    get, path = "/api/v1/admin/jobs", operation_id = "listJobs", tag = "operations",
    params(Caller),
    responses((status = 200, description = "All of them.", body = Jobs), ListProblems),
)]
async fn list(
    State(api): State<Api>,
    Extension(jobs): Extension<RunnerHandle>,
    caller: Caller,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let now = api.clock.now();
    let mut items = Vec::with_capacity(jobs.jobs().len());
    for job in jobs.jobs() {
        items.push(item(job, jobs.last_runs(job.name, RUNS_SHOWN).await?, now));
    }
    Ok(json(Success::Done, &Jobs { items })?)
}

fn item(job: &Job, runs: Vec<RunRecord>, now: Timestamp) -> JobItem {
    JobItem {
        name: job.name,
        schedule: job.schedule.to_string(),
        next_run: job.schedule.next_slot(now),
        timeout_seconds: job.timeout.as_secs(),
        can_dry_run: job.can_dry_run,
        runs: runs.into_iter().map(RunItem::from).collect(),
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RunQuery {
    /// Only tell what would be done.
    #[param(value_type = Option<bool>)]
    dry_run: Option<bool>,
}

/// Run a job now
///
/// Beside its schedule, which goes on. Waits some seconds for its end. For the owner alone.
#[utoipa::path(
    post, path = "/api/v1/admin/jobs/{name}/run", operation_id = "runJob", tag = "operations",
    params(("name" = String, Path, description = "The job's name."), Caller, RunQuery),
    responses(
        (status = 200, description = "It has run, well or not.", body = RunItem),
        (status = 202, description = "It has begun and goes on.", body = RunItem),
        RunProblems,
    ),
)]
async fn run(
    Extension(jobs): Extension<RunnerHandle>,
    caller: Caller,
    PathParameter(name): PathParameter,
    Query(query): Query<RunQuery>,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    if !sent.media_type.is_empty() {
        sent.one_of(&[JSON])?;
    }
    if !matches!(sent.bytes.trim_ascii(), b"" | b"{}") {
        return Err(Error::invalid_field("body", "has no meaning here; the query takes dryRun").into());
    }
    let started = jobs.run_now(&name, query.dry_run.unwrap_or(false)).await?;
    let ended = timeout(WAIT, started.ended).await.is_ok();
    let success = Success::accepted_unless(ended);
    Ok(json(success, &RunItem::from(jobs.record(started.id).await?))?)
}
