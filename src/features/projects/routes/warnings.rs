//! The warnings of a project.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::DocumentName;
use crate::document::model::{Document, Meta};
use crate::document::scope::ScopeExtent;
use crate::document::visibility::Viewer;
use crate::features::projects::consistency::check::Severity;
use crate::features::projects::consistency::checks;
use crate::features::projects::consistency::warning::{WarningStatus, WarningStep};
use crate::features::projects::limits::{WARNING_NOTE_BYTES_MAX, WARNINGS_AT_ONCE_MAX, WARNINGS_TOLD_MAX};
use crate::features::projects::problems::WARNING_NOT_OPEN;
use crate::features::projects::sql::warnings::{self, StoredWarning, WarningFilter};
use crate::features::projects::warning_item::{self, WarningItem};
use crate::http::api::Api;
use crate::http::error::{HandlerResult, HttpError};
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::page::{Cursor, Page, PageLimit, PageRequest};
use crate::http::request::caller::Caller;
use crate::http::request::path;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::store::Connection;

#[derive(OpenApi)]
#[openapi(components(schemas(
    WarningSchema,
    CountsReply,
    ResolveWarningBody,
    DismissWarningBody,
    BulkBody,
    BulkReply
)))]
struct Schemas;

/// The members of `checked-lately` and `warning-not-open`.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct WarningMembers {
    /// `checked-lately`: when the next check is possible.
    #[schema(required = false, format = DateTime)]
    next_at: String,
    /// `warning-not-open`: the ids of those that are not open.
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// The calls about warnings.
pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(list))
        .routes(routes!(count))
        .routes(routes!(read))
        .routes(routes!(resolve))
        .routes(routes!(dismiss))
        .routes(routes!(bulk))
}

problems! {
    /// Of reading warnings.
    ReadProblems: &[K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable];
    /// Of changing one.
    ChangeProblems:
        &[K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::IdempotencyMismatch, K::Damaged,
          K::StorageUnavailable],
        BODY, &[&WARNING_NOT_OPEN];
}

/// Something in a project that contradicts itself.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ProjectWarning)]
struct WarningSchema {
    id: String,
    /// What found it.
    #[schema(example = "impossible-date")]
    check: String,
    #[schema(value_type = String, pattern = "^(error|warning|info)$")]
    severity: Severity,
    #[schema(value_type = String, pattern = "^(open|resolved|dismissed)$")]
    status: WarningStatus,
    what: String,
    #[serde(rename = "where")]
    place: WarningPlaceSchema,
    why: String,
    /// What stands there, by name.
    #[schema(value_type = Object)]
    values: Value,
    /// What can be done.
    suggestion: String,
    /// When it was found first.
    #[schema(format = DateTime)]
    found_at: String,
    /// When it came into its state.
    #[schema(format = DateTime)]
    changed_at: String,
    /// Who brought it there; null: a check.
    changed_by: Option<String>,
    /// What they said.
    note: Option<String>,
}

/// Where a warning is.
#[derive(Serialize, ToSchema)]
#[schema(as = WarningPlace)]
struct WarningPlaceSchema {
    /// `collection/id`.
    document: String,
    /// A JSON Pointer.
    path: String,
}

/// The extractor of `{warningId}`.
struct WarningId(String);

impl<S: Send + Sync> FromRequestParts<S> for WarningId {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(path::parse(parts, state, &["warningId"], |id| Ok(id.to_owned())).await?))
    }
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WarningListQuery {
    /// Only `error`, `warning` or `info`.
    #[param(value_type = Option<String>)]
    severity: Option<Severity>,
    /// Only those of this check.
    #[param(value_type = Option<String>)]
    check: Option<CheckName>,
    /// `open`, `resolved`, `dismissed` or `all`; left out: `open`.
    #[param(value_type = Option<String>)]
    status: Option<StatusChoice>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Most entries in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WarningCountQuery {
    /// Only those of this check.
    #[param(value_type = Option<String>)]
    check: Option<CheckName>,
    /// `open`, `resolved`, `dismissed` or `all`; left out: `open`.
    #[param(value_type = Option<String>)]
    status: Option<StatusChoice>,
}

/// The name of a check that there is.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct CheckName(String);

impl TryFrom<String> for CheckName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let names: Vec<&str> = checks::ALL.iter().map(|check| check.name()).collect();
        match names.contains(&text.as_str()) {
            true => Ok(Self(text)),
            false => Err(format!("must be one of {}", names.join(", "))),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StatusChoice {
    Open,
    Resolved,
    Dismissed,
    All,
}

/// The state that is asked for; `None`: any.
fn chosen(choice: Option<StatusChoice>) -> Option<WarningStatus> {
    match choice {
        None | Some(StatusChoice::Open) => Some(WarningStatus::Open),
        Some(StatusChoice::Resolved) => Some(WarningStatus::Resolved),
        Some(StatusChoice::Dismissed) => Some(WarningStatus::Dismissed),
        Some(StatusChoice::All) => None,
    }
}

/// List the warnings of a project
///
/// The newest first; unless asked otherwise the open ones. For whoever may read the project.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/warnings", operation_id = "listWarnings", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, WarningListQuery),
    responses((status = 200, description = "A page of them.", body = Page<WarningSchema>), ReadProblems),
)]
async fn list(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Query(query): Query<WarningListQuery>,
) -> HandlerResult<Response> {
    readable(&api, &name, &caller).await?;
    let WarningListQuery { severity, check, status, cursor, limit } = query;
    let filter = WarningFilter { status: chosen(status), severity, check: check.map(|check| check.0) };
    let page = PageRequest::new(limit, cursor);
    let (before, most) = (page.parse_after(str::parse::<i64>)?, page.limit + 1);
    let read = move |conn: &Connection| warnings::page(conn, (name.id.as_str(), &caller.viewer), &filter, before, most);
    let rows = api.read_rows(read).await?;
    let page = Page::new(rows, page.limit, |row| row.number.to_string(), WarningItem::from);
    Ok(json(Success::Done, &page)?)
}

/// How many warnings there are.
#[derive(Serialize, ToSchema)]
#[schema(as = WarningCounts)]
struct CountsReply {
    error: u64,
    warning: u64,
    info: u64,
    total: u64,
}

/// Count the warnings of a project
///
/// By severity; unless asked otherwise the open ones.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/warnings/count", operation_id = "countWarnings", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, WarningCountQuery),
    responses((status = 200, description = "How many there are.", body = CountsReply), ReadProblems),
)]
async fn count(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    Query(query): Query<WarningCountQuery>,
) -> HandlerResult<Response> {
    readable(&api, &name, &caller).await?;
    let filter =
        WarningFilter { status: chosen(query.status), severity: None, check: query.check.map(|check| check.0) };
    let counts: HashMap<Severity, u64> =
        api.read_rows(move |conn| warnings::counts(conn, (name.id.as_str(), &caller.viewer), &filter)).await?;
    let of = |severity| counts.get(&severity).copied().unwrap_or_default();
    let (error, warning, info) = (of(Severity::Error), of(Severity::Warning), of(Severity::Info));
    Ok(json(Success::Done, &CountsReply { error, warning, info, total: error + warning + info })?)
}

/// Read a warning
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/warnings/{warningId}", operation_id = "readWarning", tag = "projects",
    params(
        ("id" = String, Path, description = "The project's id."),
        ("warningId" = String, Path, description = "The warning's id."),
        Caller,
    ),
    responses((status = 200, description = "The warning.", body = WarningSchema), ReadProblems),
)]
async fn read(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    WarningId(id): WarningId,
    caller: Caller,
) -> HandlerResult<Response> {
    readable(&api, &name, &caller).await?;
    let found = api.read_rows(move |conn| find(conn, (&name, &caller.viewer), &id)).await?;
    Ok(json(Success::Done, &WarningItem::from(found))?)
}

/// The project, for somebody who may read it and with it what its warnings tell of others. Errors: `NotFound`, `Gone`;
/// `Forbidden` for a credential that reaches some documents only.
async fn readable(api: &Api, name: &DocumentName, caller: &Caller) -> Result<Arc<Document>> {
    let document = api.reads.live_document(name, &caller.viewer).await?;
    if caller.viewer.credential_scope().is_some_and(|scope| scope.extent != ScopeExtent::All) {
        let message = "warnings tell of all documents of a project, and what this request shows reaches some only";
        return Err(Error::new(K::Forbidden, message));
    }
    Ok(document)
}

/// Error: `NotFound`.
fn find(conn: &Connection, (project, viewer): (&DocumentName, &Viewer), id: &str) -> Result<StoredWarning> {
    let found = warnings::find(conn, (project.id.as_str(), viewer), id)?;
    found.ok_or_else(|| Error::not_found("the project has no such warning"))
}

/// What is said of a warning that is resolved.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResolveWarning)]
struct ResolveWarningBody {
    /// At most 1,000 bytes.
    note: Option<String>,
}

/// Why a warning is none.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DismissWarning)]
struct DismissWarningBody {
    /// 1 to 1,000 bytes.
    reason: String,
}

/// Note that a warning is resolved
///
/// It was seen to. If the next check finds it still, it is open again. For whoever may write the project.
#[utoipa::path(
    post, path = "/api/v1/projects/{id}/warnings/{warningId}/resolve", operation_id = "resolveWarning",
    tag = "projects",
    params(
        ("id" = String, Path, description = "The project's id."),
        ("warningId" = String, Path, description = "The warning's id."),
        Caller, IdempotentRequest,
    ),
    request_body = Option<ResolveWarningBody>,
    responses((status = 200, description = "It is resolved.", body = WarningSchema), ChangeProblems),
)]
async fn resolve(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    WarningId(id): WarningId,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    let ResolveWarningBody { note } = request.optional_object()?.unwrap_or_default();
    change_one(&api, name, id, request, WarningStep::Resolve, note).await
}

/// Dismiss a warning
///
/// It is none. Checks do not open it again unless its values change. For whoever may write the project.
#[utoipa::path(
    post, path = "/api/v1/projects/{id}/warnings/{warningId}/dismiss", operation_id = "dismissWarning",
    tag = "projects",
    params(
        ("id" = String, Path, description = "The project's id."),
        ("warningId" = String, Path, description = "The warning's id."),
        Caller, IdempotentRequest,
    ),
    request_body = DismissWarningBody,
    responses((status = 200, description = "It is dismissed.", body = WarningSchema), ChangeProblems),
)]
async fn dismiss(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    WarningId(id): WarningId,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    let DismissWarningBody { reason } = request.object()?;
    check_reason(&reason)?;
    change_one(&api, name, id, request, WarningStep::Dismiss, Some(reason)).await
}

/// Error: `Invalid`.
fn check_reason(reason: &str) -> Result<()> {
    if reason.trim().is_empty() {
        Err(Error::invalid_field("reason", "says why; it must not be empty"))
    } else {
        Ok(())
    }
}

/// The project, for somebody who may write it. Errors: `NotFound`, `Gone`, `Forbidden`.
pub(super) async fn writable(api: &Api, name: &DocumentName, caller: &Caller) -> Result<Arc<Document>> {
    let document = readable(api, name, caller).await?;
    document.meta.check_writer(&caller.viewer)?;
    Ok(document)
}

async fn change_one(
    api: &Api,
    name: DocumentName,
    id: String,
    request: IdempotentRequest,
    step: WarningStep,
    note: Option<String>,
) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(api).await? {
        return Ok(stored);
    }
    let project = writable(api, &name, &request.caller).await?;
    check_length(if step == WarningStep::Dismiss { "reason" } else { "note" }, note.as_deref())?;
    let (viewer, told) = (request.caller.viewer.clone(), Arc::clone(&project.meta));
    let call = request.call(|changed: &Vec<StoredWarning>| {
        let changed = changed.first().cloned().map(WarningItem::from);
        StoredResponse::json(Success::Done, &changed)
    });
    let write = move |conn: &Connection, now: Timestamp| {
        change_all(conn, &[find(conn, (&name, &viewer), &id)?], step, (&viewer, note.as_deref()), now)
    };
    let (answered, changed) = api.write_rows(move |conn, now| call.of(&project.meta).run(conn, now, write)).await?;
    tell(api, &told, changed)?;
    Ok(respond(answered)?)
}

/// Error: `Invalid`.
fn check_length(field: &str, text: Option<&str>) -> Result<()> {
    if text.is_some_and(|text| text.len() > WARNING_NOTE_BYTES_MAX) {
        let detail = format!("must not be longer than {WARNING_NOTE_BYTES_MAX} bytes");
        return Err(Error::invalid_field(field, detail));
    }
    Ok(())
}

/// Changes the state of open warnings; all of them, or none. Error: `warning-not-open`, naming those that are not.
fn change_all(
    conn: &Connection,
    all: &[StoredWarning],
    step: WarningStep,
    (viewer, note): (&Viewer, Option<&str>),
    now: Timestamp,
) -> Result<Vec<StoredWarning>> {
    let closed: Vec<&str> =
        all.iter().filter(|warning| warning.status.after(step).is_none()).map(|warning| warning.id.as_str()).collect();
    if !closed.is_empty() {
        let error = WARNING_NOT_OPEN.error("only open warnings are resolved or dismissed; nothing was changed");
        return Err(error.with("warnings", closed));
    }
    let mut changed = Vec::with_capacity(all.len());
    for warning in all {
        let status = warning.status.after(step).unwrap_or(warning.status);
        warnings::set_status(conn, warning.number, status, (Some(viewer.scope()), note), now)?;
        changed.extend(warnings::by_number(conn, warning.number)?);
    }
    Ok(changed)
}

/// Tells open streams of the project, unless the answer is one of before.
fn tell(api: &Api, project: &Arc<Meta>, changed: Option<Vec<StoredWarning>>) -> Result<()> {
    let mut changed = changed.unwrap_or_default();
    changed.truncate(WARNINGS_TOLD_MAX);
    warning_item::announce(api, project, changed)
}

/// Which warnings, what to do with them and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeWarnings)]
struct BulkBody {
    /// These; all must be open.
    #[schema(max_items = 500)]
    ids: Option<Vec<String>>,
    /// Or the open ones that it matches, the newest 500 of them.
    filter: Option<BulkFilter>,
    #[schema(value_type = String, pattern = "^(resolve|dismiss)$")]
    action: BulkAction,
    /// Kept as the note of each, 1 to 1,000 bytes.
    reason: String,
}

/// Which open warnings.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WarningFilter)]
struct BulkFilter {
    #[schema(value_type = Option<String>, pattern = "^(error|warning|info)$")]
    severity: Option<Severity>,
    #[schema(value_type = Option<String>)]
    check: Option<CheckName>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BulkAction {
    Resolve,
    Dismiss,
}

/// What was changed.
#[derive(Serialize, ToSchema)]
#[schema(as = WarningsChanged)]
struct BulkReply {
    changed: usize,
}

/// Resolve or dismiss several warnings
///
/// All of them, or none; of what a filter matches the newest 500. For whoever may write the project.
#[utoipa::path(
    post, path = "/api/v1/projects/{id}/warnings/bulk", operation_id = "changeWarnings", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, IdempotentRequest),
    request_body = BulkBody,
    responses((status = 200, description = "They are changed.", body = BulkReply), ChangeProblems),
)]
async fn bulk(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    let BulkBody { ids, filter, action, reason } = request.object()?;
    if ids.is_some() == filter.is_some() {
        return Err(Error::invalid_field("ids", "give either ids or filter").into());
    }
    if ids.as_ref().is_some_and(|ids| ids.len() > WARNINGS_AT_ONCE_MAX) {
        let detail = format!("must not be more than {WARNINGS_AT_ONCE_MAX}");
        return Err(Error::invalid_field("ids", detail).into());
    }
    check_reason(&reason)?;
    check_length("reason", Some(&reason))?;
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    let project = writable(&api, &name, &request.caller).await?;
    let (viewer, told) = (request.caller.viewer.clone(), Arc::clone(&project.meta));
    let call = request.call(|changed: &Vec<StoredWarning>| {
        StoredResponse::json(Success::Done, &BulkReply { changed: changed.len() })
    });
    let write = move |conn: &Connection, now: Timestamp| {
        let all = match ids {
            Some(ids) => BTreeSet::from_iter(ids)
                .iter()
                .map(|id| find(conn, (&name, &viewer), id))
                .collect::<Result<Vec<_>>>()?,
            None => {
                let BulkFilter { severity, check } = filter.unwrap_or_default();
                let filter =
                    WarningFilter { status: Some(WarningStatus::Open), severity, check: check.map(|check| check.0) };
                warnings::page(conn, (name.id.as_str(), &viewer), &filter, None, WARNINGS_AT_ONCE_MAX)?
            }
        };
        let step = match action {
            BulkAction::Resolve => WarningStep::Resolve,
            BulkAction::Dismiss => WarningStep::Dismiss,
        };
        change_all(conn, &all, step, (&viewer, Some(&reason)), now)
    };
    let (answered, changed) = api.write_rows(move |conn, now| call.of(&project.meta).run(conn, now, write)).await?;
    tell(&api, &told, changed)?;
    Ok(respond(answered)?)
}
