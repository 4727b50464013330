//! Reading the audit and the verdicts in force, and comparing now.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::schemas::{DiscrepancyDetails, DocumentDifference, ReconciliationUpdate, ReportResult, Verdicts};
use super::{ReadProblems, RunProblems, detail_for, json};
use crate::base::clock::Timestamp;
use crate::base::error::Result;
use crate::features::reconciliation::audit::{AuditEntry, DetailLevel};
use crate::features::reconciliation::service::Reconciliation;
use crate::features::reconciliation::sql::audit::AuditFilter;
use crate::features::reconciliation::stream::Update;
use crate::features::reconciliation::verdict::VerdictStatus;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest};
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::success::Success;

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
    items: Vec<Cow<'a, AuditEntry>>,
}

fn items(updates: &[Arc<Update>], detail: DetailLevel) -> Result<Response> {
    let entries = updates.iter().filter_map(|update| update.entry());
    json(Success::Done, &Items { items: entries.map(|entry| entry.limited_to(detail)).collect() })
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
    #[param(value_type = Option<String>)]
    status: Option<VerdictStatus>,
    /// Only what was found at this time or later, RFC 3339.
    #[param(value_type = Option<String>)]
    since: Option<Moment>,
    /// Only what was found at this time or earlier, RFC 3339.
    #[param(value_type = Option<String>)]
    until: Option<Moment>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Most rows in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
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
    let page = PageRequest::new(query.limit, query.cursor);
    let filter = AuditFilter {
        service: query.service,
        status: query.status,
        since: query.since.map(|Moment(time)| time),
        until: query.until.map(|Moment(time)| time),
        before: page.parse_after(str::parse)?,
    };
    let rows = reconciliation.audit(filter, page.limit).await?;
    let item = |row: AuditEntry| row.limited_to(detail_for(&caller)).into_owned();
    Ok(json(Success::Done, &Page::new(rows, page.limit, |row| row.seq.to_string(), item))?)
}

/// A time as a parameter.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Moment(Timestamp);

impl TryFrom<String> for Moment {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        Timestamp::parse(&text).map(Self).ok_or("must be an RFC 3339 time")
    }
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
    Ok(items(&reconciliation.run(body.service).await?, DetailLevel::Whole)?)
}
