//! Outside services and their reports.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schemas::{ReconciliationUpdate, ReportResult};
use super::{FindProblems, ReadProblems, RegisterProblems, ReportProblems, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::features::reconciliation::audit::AuditEntry;
use crate::features::reconciliation::external::{self, ExternalService, REPORT_EVERY_SECONDS, ServiceReport};
use crate::features::reconciliation::limits::{OUTSIDE_DESCRIPTION_LENGTH_MAX, REPORT_JOB_IDS_MAX};
use crate::features::reconciliation::service::{ReceivedReport, Reconciliation, ReportOutcome, ServiceRegistration};
use crate::features::reconciliation::verdict::VerdictCounts;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::success::{Success, no_content};

#[derive(OpenApi)]
#[openapi(components(schemas(ServiceBody, ReportBody, OutsideService)))]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(list))
        .routes(routes!(read, register, forget))
        .routes(routes!(report))
}

/// How an outside service reports.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ReconciliationService)]
struct ServiceBody {
    /// How long it may be silent: without a report for this long it is `stale`.
    #[schema(minimum = 1, maximum = 86_400)]
    report_every_seconds: u32,
    /// What it is, for people.
    #[schema(max_length = 1000)]
    description: Option<String>,
}

/// An outside service.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct OutsideService {
    /// Its name.
    service: String,
    /// How long it may be silent.
    report_every_seconds: u64,
    /// What it is, for people.
    description: Option<String>,
    /// Since when it is known.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When the above was last set.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// What its newest report is about; null: there was none.
    #[schema(value_type = Option<String>, format = DateTime)]
    reported_at: Option<Timestamp>,
    /// When it is `stale` unless it reports before.
    #[schema(value_type = String, format = DateTime)]
    deadline: Timestamp,
    /// The verdict in force; null: there is none yet.
    #[schema(value_type = Option<ReconciliationUpdate>)]
    verdict: Option<AuditEntry>,
}

impl OutsideService {
    fn of(service: ExternalService, reconciliation: &Reconciliation) -> Self {
        let update = reconciliation.feed().latest(&service.name);
        Self {
            deadline: service.deadline(),
            verdict: update.and_then(|update| update.entry().cloned()),
            service: service.name,
            report_every_seconds: service.report_every.as_secs(),
            description: service.description,
            created_at: service.created_at,
            updated_at: service.updated_at,
            reported_at: service.reported_at,
        }
    }
}

/// List the outside services
///
/// By name. For everyone who gets in.
#[utoipa::path(
    get, path = "/reconciliation/services", operation_id = "listReconciliationServices", tag = "reconciliation",
    params(Caller, PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<OutsideService>), ReadProblems),
)]
async fn list(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    _: Caller,
    page: PageRequest,
) -> HandlerResult<Response> {
    let found = reconciliation.services(page.after.unwrap_or_default(), page.limit).await?;
    let item = |service| OutsideService::of(service, &reconciliation);
    Ok(json(Success::Done, &Page::new(found, page.limit, |service| service.name.clone(), item))?)
}

/// Read an outside service
///
/// How it reports, and what is in force of it. For everyone who gets in.
#[utoipa::path(
    get, path = "/reconciliation/services/{service}", operation_id = "readReconciliationService",
    tag = "reconciliation",
    params(("service" = String, Path, description = "Its name."), Caller),
    responses((status = 200, description = "The service.", body = OutsideService), FindProblems),
)]
async fn read(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    PathParameter(name): PathParameter,
    _: Caller,
) -> HandlerResult<Response> {
    let service = reconciliation.service(&name).await?;
    Ok(json(Success::Done, &OutsideService::of(service, &reconciliation))?)
}

/// Make an outside service known, or change it
///
/// From then on it has to report; the first time within `reportEverySeconds`. Names of 1 to 64 letters, digits, `_`,
/// `-` and `.`; `log` and `documents/…` are the server's own. For administrators.
#[utoipa::path(
    put, path = "/reconciliation/services/{service}", operation_id = "putReconciliationService", tag = "reconciliation",
    params(("service" = String, Path, description = "Its name."), Caller),
    request_body = ServiceBody,
    responses(
        (status = 200, description = "It is as was asked.", body = OutsideService),
        (status = 201, description = "It is known now.", body = OutsideService),
        RegisterProblems,
    ),
)]
async fn register(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    PathParameter(name): PathParameter,
    caller: Caller,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    sent.one_of(&[JSON])?;
    external::check_name(&name)?;
    let ServiceBody { report_every_seconds, description } = sent.parse()?;
    if !REPORT_EVERY_SECONDS.contains(&report_every_seconds) {
        let (least, most) = (REPORT_EVERY_SECONDS.start(), REPORT_EVERY_SECONDS.end());
        return Err(Error::invalid_field("reportEverySeconds", format!("must be from {least} to {most}")).into());
    }
    if description.as_ref().is_some_and(|text| text.len() > OUTSIDE_DESCRIPTION_LENGTH_MAX) {
        let rule = format!("has at most {OUTSIDE_DESCRIPTION_LENGTH_MAX} bytes");
        return Err(Error::invalid_field("description", rule).into());
    }
    let report_every = Duration::from_secs(report_every_seconds.into());
    let (service, fresh) = reconciliation.register(ServiceRegistration { name, report_every, description }).await?;
    let success = Success::created_if(fresh);
    Ok(json(success, &OutsideService::of(service, &reconciliation))?)
}

/// Forget an outside service
///
/// Its verdict ends; its rows in the audit stay. For administrators.
#[utoipa::path(
    delete, path = "/reconciliation/services/{service}", operation_id = "deleteReconciliationService",
    tag = "reconciliation",
    params(("service" = String, Path, description = "Its name."), Caller),
    responses((status = 204, description = "It is forgotten."), FindProblems),
)]
async fn forget(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    PathParameter(name): PathParameter,
    caller: Caller,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    reconciliation.forget(name).await?;
    Ok(no_content())
}

/// What a service should have done, and what it did. Names on one side only count as a difference.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ReconciliationReport)]
struct ReportBody {
    /// What should have been done, by name: at most 100 numbers, each at most 2^53 - 1 either side of zero.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    expected: VerdictCounts,
    /// What was done.
    #[schema(value_type = std::collections::BTreeMap<String, f64>)]
    actual: VerdictCounts,
    /// The jobs that should have been done, where they are known: at most 1000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    expected_job_ids: Option<Vec<String>>,
    /// Those that were; left out: none of them.
    #[serde(default)]
    #[schema(max_items = 1000)]
    actual_job_ids: Option<Vec<String>>,
    /// How long finding that out took, milliseconds.
    #[schema(minimum = 0)]
    latency_ms: Option<f64>,
    /// What moment it is about, RFC 3339; left out: now. One that is older than the newest changes nothing.
    #[schema(value_type = Option<String>, format = DateTime)]
    at: Option<Timestamp>,
}

/// Report
///
/// The server compares, and tells every dashboard: `verified` when all counts are equal and no job is missing, else
/// `discrepancy`. A report about an earlier moment than the newest is answered with `applied: false` and the verdict in
/// force. For everyone who gets in.
#[utoipa::path(
    post, path = "/reconciliation/services/{service}/reports", operation_id = "reportReconciliation",
    tag = "reconciliation",
    params(
        ("service" = String, Path, description = "Its name."),
        Caller,
        IdempotentRequest,
    ),
    request_body = ReportBody,
    responses(
        (status = 200, description = "What is made of it, on disk.", body = ReportResult,
            headers(("Idempotency-Replayed" = String, description = "`true` when this is the first answer again."))),
        ReportProblems,
    ),
)]
async fn report(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    PathParameter(service): PathParameter,
    sent: IdempotentRequest,
) -> HandlerResult<Response> {
    let body: ReportBody = sent.object()?;
    if body.latency_ms.is_some_and(|latency| latency < 0.0) {
        return Err(Error::invalid_field("latencyMs", "must not be negative").into());
    }
    let report = ServiceReport {
        expected: body.expected,
        actual: body.actual,
        expected_job_ids: ids("expectedJobIds", body.expected_job_ids)?,
        actual_job_ids: ids("actualJobIds", body.actual_job_ids)?,
    };
    let received = ReceivedReport { service, report, latency_ms: body.latency_ms, at: body.at };
    let once = sent.call(|made: &ReportOutcome| StoredResponse::json(Success::Done, made));
    Ok(respond(reconciliation.report(received, once).await?)?)
}

/// Error: `Invalid` when there are too many, repeated ones included.
fn ids(field: &str, ids: Option<Vec<String>>) -> Result<BTreeSet<String>> {
    let ids = ids.unwrap_or_default();
    if ids.len() > REPORT_JOB_IDS_MAX {
        return Err(Error::invalid_field(field, format!("has at most {REPORT_JOB_IDS_MAX} job ids")));
    }
    Ok(ids.into_iter().collect())
}
