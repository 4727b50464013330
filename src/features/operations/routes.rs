//! `/healthz`, `/readyz`; in [`jobs`] the jobs, in [`backups`] the backups, in [`rescue`] another
//! file for what is stored.

use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::clock::Timestamp;
use crate::base::error::Kind;
use crate::engine::health;
use crate::features::operations::backups::Backups;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::json::{json, not_ready};
use crate::http::response::openapi::{CommonProblems, problems};
use crate::http::response::success::Success;
use crate::jobs::sql::note_believed_clock;

pub(crate) mod backups;
pub(crate) mod consumers;
pub(crate) mod jobs;
mod rescue;

/// The calls for operators.
pub(crate) fn router(backups: Arc<Backups>, public: Option<&Path>) -> OpenApiRouter<Api> {
    let routes = OpenApiRouter::new()
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(confirm_clock))
        .merge(rescue::router(public));
    routes.layer(Extension(backups))
}

/// Whether the process lives.
#[derive(Serialize, ToSchema)]
struct Liveness {
    /// `alive`.
    status: &'static str,
}

/// Is the server alive?
#[utoipa::path(
    get, path = "/healthz", operation_id = "isAlive", tag = "operations",
    responses((status = 200, description = "The process lives.", body = Liveness), CommonProblems),
)]
async fn alive() -> HandlerResult<Response> {
    Ok(json(Success::Done, &Liveness { status: "alive" })?)
}

/// How the server is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    /// `ready`, or `unavailable` when no further change is taken.
    status: &'static str,
    storage: StorageStatus,
    backlog: BacklogStatus,
    /// When something was last stored; null: not yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_commit: Option<Timestamp>,
    /// The place of the newest event.
    seq: u64,
    /// The place of the newest event that is on disk.
    durable_seq: u64,
    /// Transactions since the start.
    commits: u64,
    /// Failed ones.
    failures: u64,
    documents_in_memory: usize,
    /// Bytes of the write-ahead log that are in use, as of the newest look.
    wal_bytes: u64,
    clock: ClockStatus,
    /// The newest backup that verified; null: there is none.
    last_backup: Option<LastBackup>,
}

/// The newest good backup.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LastBackup {
    /// The moment that it is of.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    age_seconds: u64,
}

impl LastBackup {
    fn of(at: Timestamp, now: Timestamp) -> Self {
        let age = now.as_millis().saturating_sub(at.as_millis()) / 1000;
        Self { at, age_seconds: u64::try_from(age).unwrap_or(0) }
    }
}

/// Whether the wall clock is believed.
#[derive(Serialize, ToSchema)]
#[schema(as = Clock)]
struct ClockStatus {
    /// `false`: nothing is removed by its time.
    trusted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    doubt: Option<String>,
}

impl ClockStatus {
    fn of(api: &Api) -> Self {
        let doubt = api.clock_trust.doubt().map(|doubt| doubt.to_string());
        Self { trusted: doubt.is_none(), doubt }
    }
}

/// How storage is.
#[derive(Serialize, ToSchema)]
#[schema(as = Storage)]
struct StorageStatus {
    state: StorageState,
    /// `degraded`: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    reason: Option<String>,
    /// `degraded`: whether it is for lack of room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    full: Option<bool>,
    /// `degraded`: since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String, format = DateTime)]
    since: Option<Timestamp>,
    /// What should be looked at all the same: something that was stored is missing, or the WAL is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    warning: Option<String>,
    /// What is done in the background and fails, until it succeeds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<BackgroundErrorStatus>,
    /// The database file, when a rescue has written another than that of the data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    file: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StorageState {
    /// Writes reach the disk.
    Ok,
    /// They do not; changes wait in memory.
    Degraded,
}

/// Something that is done in the background and fails.
#[derive(Serialize, ToSchema)]
#[schema(as = BackgroundError)]
struct BackgroundErrorStatus {
    /// `scrub`, `comparison`, `checkpoint` or `revocation-journal`.
    task: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Why it failed last.
    reason: String,
}

impl StorageStatus {
    fn of(report: &health::HealthReport) -> Self {
        let error = |(task, error): (&&'static str, &health::BackgroundError)| BackgroundErrorStatus {
            task,
            at: error.at,
            reason: error.reason.clone(),
        };
        let storage = Self {
            state: StorageState::Ok,
            reason: None,
            full: None,
            since: None,
            warning: report.warning(),
            errors: report.background_errors.iter().map(error).collect(),
            file: report.rescued_to.as_ref().map(|path| path.display().to_string()),
        };
        match &report.storage {
            health::StorageHealth::Well => storage,
            health::StorageHealth::Degraded { reason, full, since, .. } => Self {
                state: StorageState::Degraded,
                reason: Some(reason.clone()),
                full: Some(*full),
                since: Some(*since),
                ..storage
            },
        }
    }
}

/// What waits for the disk.
#[derive(Serialize, ToSchema)]
#[schema(as = Backlog)]
struct BacklogStatus {
    events: usize,
    /// Their size.
    bytes: usize,
}

/// Does the server take changes?
///
/// Also while storage fails, which is then named, up to the bound of what may wait in memory.
#[utoipa::path(
    get, path = "/readyz", operation_id = "isReady", tag = "operations",
    responses(
        (status = 200, description = "It does.", body = Readiness),
        (status = 503, description = "As much waits in memory as may, or the engine has ended.", body = Readiness),
        CommonProblems,
    ),
)]
async fn ready(State(api): State<Api>, Extension(backups): Extension<Arc<Backups>>) -> HandlerResult<Response> {
    let report = api.health.report();
    let (seq, durable) = {
        let ring = api.reads.hub.gate();
        (ring.head().0, ring.durable())
    };
    let is_ready = api.engine.is_running() && !report.past_bound;
    let answer = Readiness {
        status: if is_ready { "ready" } else { "unavailable" },
        storage: StorageStatus::of(&report),
        backlog: BacklogStatus { events: report.backlog_events, bytes: report.backlog_bytes },
        last_commit: report.last_commit,
        seq: seq.0,
        durable_seq: durable.0,
        commits: report.commits,
        failures: report.failures,
        documents_in_memory: api.reads.hub.documents_count(),
        wal_bytes: report.wal_bytes,
        clock: ClockStatus::of(&api),
        last_backup: backups.last_good().map(|at| LastBackup::of(at, api.clock.now())),
    };
    Ok(if is_ready { json(Success::Done, &answer)? } else { not_ready(&answer)? })
}

/// Confirm the wall clock
///
/// When the clock is far from what it was a moment ago, or from the newest event at the start, nothing is removed,
/// ended or moved on by its time until it has run evenly for an hour. This says that it is right. For administrators.
#[utoipa::path(
    post, path = "/api/v1/admin/clock/confirm", operation_id = "confirmClock", tag = "operations",
    params(Caller),
    responses((status = 200, description = "It is believed as it is now.", body = ClockStatus), ConfirmProblems),
)]
async fn confirm_clock(State(api): State<Api>, caller: Caller) -> HandlerResult<Response> {
    caller.require_administrator()?;
    api.clock_trust.confirm();
    tracing::warn!(now = %api.clock.now(), "an administrator has confirmed the clock");
    if let Err(error) = api.engine.rows(note_believed_clock).await {
        tracing::warn!(%error, "that the clock was confirmed is not stored: a start within the hour doubts it again");
    }
    Ok(json(Success::Done, &ClockStatus::of(&api))?)
}

problems! {
    /// Of confirming the clock.
    ConfirmProblems: &[Kind::Unauthenticated, Kind::Forbidden];
}
