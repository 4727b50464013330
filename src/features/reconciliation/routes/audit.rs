//! Reading the audit and the verdicts in force, and comparing now.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schemas::{DiscrepancyDetails, DocumentDifference, ReconciliationUpdate, ReportResult, Verdicts};
use super::{ReadProblems, RunProblems, detail_for, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::features::reconciliation::audit::{Detail, Entry};
use crate::features::reconciliation::service::Reconciliation;
use crate::features::reconciliation::sql::audit::Filter;
use crate::features::reconciliation::stream::Update;
use crate::features::reconciliation::verdict::Status;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Page, PageRequest};
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;

#[derive(OpenApi)]
#[openapi(
    components(schemas(
        DiscrepancyDetails, DocumentDifference, ReconciliationUpdate, ReportResult, RunBody, Verdicts
    )),
    tags((name = "reconciliation", description = "Whether memory, disk and outside services agree."))
)]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(status)).routes(routes!(audit)).routes(routes!(run))
}

#[derive(Serialize)]
struct Items<'a> {
    items: Vec<Cow<'a, Entry>>,
}

fn items(updates: &[Arc<Update>], detail: Detail) -> Result<Response> {
    let entries = updates.iter().filter_map(|update| update.entry());
    json(StatusCode::OK, &Items { items: entries.map(|entry| entry.limited_to(detail)).collect() })
}

/// The verdict in force of each service
///
/// The last one that was found, also right after a restart: `at` says when. For everyone who gets in; documents are
/// named to administrators only.
#[utoipa::path(
    get, path = "/reconciliation/status", operation_id = "readReconciliationStatus", tag = "reconciliation",
    params(Caller),
    responses((status = 200, description = "The verdicts, by service.", body = Verdicts), ReadProblems),
)]
async fn status(Extension(reconciliation): Extension<Arc<Reconciliation>>, caller: Caller) -> HandlerResult<Response> {
    Ok(items(&reconciliation.status(), detail_for(&caller))?)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AuditQuery {
    /// Only of this service.
    service: Option<String>,
    /// Only `verified`, `stale` or `discrepancy`.
    status: Option<String>,
    /// Only what was found at this time or later, RFC 3339.
    since: Option<String>,
    /// Only what was found at this time or earlier, RFC 3339.
    until: Option<String>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// Most rows in the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<usize>,
}

/// Read the audit
///
/// One row per comparison, newest first; unchanged `verified` verdicts of a service are one row with `count`, `firstAt`
/// and `at`, which comes to the front each time. For everyone who gets in; documents are named to administrators only.
#[utoipa::path(
    get, path = "/reconciliation/audit", operation_id = "readReconciliationAudit", tag = "reconciliation",
    params(Caller, AuditQuery),
    responses((status = 200, description = "A page of it.", body = Page<ReconciliationUpdate>), ReadProblems),
)]
async fn audit(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> HandlerResult<Response> {
    let page = PageRequest::new(query.limit, query.cursor.as_deref())?;
    let status = |text: &str| {
        let rule = "must be verified, stale or discrepancy";
        Status::parse(text).ok_or_else(|| Error::invalid_field("status", rule))
    };
    let filter = Filter {
        service: query.service,
        status: query.status.as_deref().map(status).transpose()?,
        since: query.since.as_deref().map(|text| moment("since", text)).transpose()?,
        until: query.until.as_deref().map(|text| moment("until", text)).transpose()?,
        before: page.parse_after(str::parse)?,
    };
    let rows = reconciliation.audit(filter, page.limit).await?;
    let item = |row: Entry| row.limited_to(detail_for(&caller)).into_owned();
    Ok(json(StatusCode::OK, &Page::new(rows, page.limit, |row| row.seq.to_string(), item))?)
}

fn moment(field: &str, text: &str) -> Result<Timestamp> {
    Timestamp::parse(text).ok_or_else(|| Error::invalid_field(field, "must be an RFC 3339 time"))
}

/// What to compare.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RunReconciliation)]
struct RunBody {
    /// One service; left out: all.
    service: Option<String>,
}

/// Compare now
///
/// Memory with disk, and what outside services last reported with the clock: one service, or all. An outside service
/// that has not reported, and still may in time, has no verdict yet. For administrators.
#[utoipa::path(
    post, path = "/reconciliation/run", operation_id = "runReconciliation", tag = "reconciliation",
    params(Caller), request_body = Option<RunBody>,
    responses((status = 200, description = "What was found.", body = Verdicts), RunProblems),
)]
async fn run(
    Extension(reconciliation): Extension<Arc<Reconciliation>>,
    caller: Caller,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let body = if sent.media_type.is_empty() && sent.bytes.is_empty() {
        RunBody::default()
    } else {
        sent.one_of(&[JSON])?;
        sent.parse()?
    };
    Ok(items(&reconciliation.run(body.service).await?, Detail::Whole)?)
}
