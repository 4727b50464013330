//! `POST …/sync`, and the calls about conflicts.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::item::ConflictItem;
use super::problems::{CONFLICT_MOVED, CONFLICT_RESOLVED, UNKNOWN_BASE};
use super::resolve::{self, ConflictDecision, RenderResolved, ResolveOutcome};
use super::rules::{MergeReport, MergedPath, Resolution};
use super::sql::{self, ConflictCursor, ConflictFilter, StoredConflict};
use super::sync::{self, DeviceChange, DeviceEdits, MergeSettings, RenderReport, SyncOutcome};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::{DocumentName, Version};
use crate::document::model::Document;
use crate::document::patch::ClientPatch;
use crate::document::visibility::Viewer;
use crate::engine::problems::NOT_PERSISTENT;
use crate::engine::request::{Durability, RenderReply, WriteOutcome};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::page::{Cursor, Page, PageLimit, PageRequest, encode_cursor};
use crate::http::request::caller::Caller;
use crate::http::request::path::{DocumentPath, PathParameter};
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, ChangeRefusals, problems};
use crate::http::response::success::Success;
use crate::store::IdempotentAnswer;

/// Rows that are looked through for one page: most are of documents that the caller may not see.
const ROWS_LOOKED_THROUGH_MAX: usize = 5_000;

#[derive(OpenApi)]
#[openapi(components(schemas(SyncBody, SyncReply, PlaceSchema, ConflictSchema, ResolveBody, ResolveReply)))]
struct Schemas;

/// The calls about edits from away, and about conflicts.
pub(crate) fn router(merging: MergeSettings) -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(sync_document))
        .routes(routes!(list))
        .routes(routes!(audit))
        .routes(routes!(read))
        .routes(routes!(resolve_conflict))
        .layer(Extension(merging))
}

problems! {
    /// Of a sync.
    SyncProblems:
        &[
            K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::Rejected, K::PatchFailed,
            K::IdempotencyMismatch, K::Damaged, K::Frozen, K::StorageUnavailable, K::StorageFull
        ],
        BODY, &[&UNKNOWN_BASE, &NOT_PERSISTENT];
    /// Of a resolution.
    ResolveProblems:
        &[
            K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::Rejected, K::IdempotencyMismatch, K::Damaged,
            K::Frozen, K::StorageUnavailable, K::StorageFull
        ],
        BODY, &[&CONFLICT_MOVED, &CONFLICT_RESOLVED];
    /// Of reading one.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::Damaged, K::StorageUnavailable];
    /// Of listing them.
    ListProblems: &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];
}

/// What a device made of a version while it was away: `state` or `patch`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = SyncRequest)]
struct SyncBody {
    /// The version that the edits were made of.
    #[schema(value_type = u64)]
    base_version: Version,
    /// Its hash, whole or at least the first eight digits.
    base_hash: Option<String>,
    /// What the device has now.
    #[schema(value_type = Option<Object>)]
    state: Option<Map<String, Value>>,
    /// What it changed: a merge patch or a JSON Patch of the base.
    #[schema(value_type = Option<Value>)]
    patch: Option<ClientPatch>,
    /// When the last edit was made; one that is ahead counts as now.
    #[schema(value_type = String, format = DateTime)]
    device_at: Timestamp,
}

/// A place that both sides changed. A member that is left out stands for a place where nothing stood.
#[derive(Serialize, ToSchema)]
#[schema(as = MergedPlace)]
struct PlaceSchema {
    /// Of a conflict: its id.
    id: Option<String>,
    /// A JSON Pointer in which elements of arrays are named by their id.
    path: String,
    /// What decided it: `set`, `timestamp`, `status`, `counter`, `unit`, `local`, `server`; of a conflict `manual`.
    rule: String,
    base: Option<Value>,
    local: Option<Value>,
    server: Option<Value>,
    /// What stands there now.
    value: Option<Value>,
    suggestion: Option<Value>,
    /// `auto`.
    resolution: Option<String>,
}

/// A conflict, or in the audit a place that a rule decided.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Conflict)]
struct ConflictSchema {
    #[serde(flatten)]
    #[schema(inline)]
    place: PlaceSchema,
    /// `open` or `resolved`.
    status: &'static str,
    /// `collection/id`.
    document: String,
    /// The document's version that the merge made.
    #[schema(value_type = u64)]
    version: Version,
    /// Whose edits they were.
    made_by: String,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    resolved_by: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    resolved_at: Option<Timestamp>,
}

/// What comes of a sync.
#[derive(Serialize, ToSchema)]
struct SyncReply {
    /// The document as it is now.
    #[schema(value_type = Object)]
    document: Box<RawValue>,
    /// What both sides changed and a rule decided.
    #[schema(value_type = Vec<PlaceSchema>)]
    resolved: Vec<MergedPath>,
    /// What is left to a person: the server's value stays.
    #[schema(value_type = Vec<PlaceSchema>)]
    conflicts: Vec<MergedPath>,
}

/// Bring edits that were made offline
///
/// The base is taken from history, and the edits are merged with what came since: what one side changed is that side's;
/// objects are merged member by member, arrays as sets (elements with `id`, `_id` or `key` are known by it), times and
/// members named `status` by which is later. Anything else that both changed is a conflict: the server's value stays,
/// and a person decides. Nothing to do: the document as it is.
#[utoipa::path(
    post, path = "/api/v1/{collection}/{id}/sync", operation_id = "syncDocument", tag = "conflicts",
    params(DocumentPath, Caller, IdempotentRequest), request_body = SyncBody,
    responses(
        (status = 200, description = "It is merged.", body = SyncReply),
        (status = 202, description = "It is merged, and not on disk yet.", body = SyncReply),
        SyncProblems,
        ChangeRefusals,
    ),
)]
async fn sync_document(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Extension(merging): Extension<MergeSettings>,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    let SyncBody { base_version, base_hash, state, patch, device_at } = request.object()?;
    let made = match (state, patch) {
        (Some(state), None) => DeviceChange::State(state),
        (None, Some(patch)) => DeviceChange::Patch(patch),
        _ => return Err(Error::invalid_field("state", "give either state or patch").into()),
    };
    let edits = DeviceEdits { base_version, base_hash, made, device_at };
    let viewer = &request.caller.viewer;
    let key = request.key().cloned().map(|key| (key, render as RenderReport));
    let response = match sync::sync(&api, &merging, viewer, (&name, &edits), key).await? {
        SyncOutcome::Unchanged(document, report) => answer(&document, viewer, report, true)?.into_response(false)?,
        SyncOutcome::Changed(outcome, durable, report) => {
            answer(&outcome.document, viewer, report, durable)?.into_response(false)?
        }
        SyncOutcome::Replayed(answer) => respond(IdempotentAnswer { answer, replayed: true })?,
    };
    Ok(response)
}

/// Makes the answer that is stored under the key.
fn render(report: MergeReport, viewer: Viewer) -> RenderReply {
    Box::new(move |outcomes: &[WriteOutcome], durability: Durability| {
        let durable = durability == Durability::Durable;
        let stored = outcomes.first().map(|outcome| answer(&outcome.document, &viewer, report.clone(), durable));
        // An answer that cannot be rendered is not kept as one; reading it back says so.
        stored.and_then(|stored| stored.ok()?.to_bytes().ok()).unwrap_or_default()
    })
}

fn answer(document: &Document, viewer: &Viewer, report: MergeReport, durable: bool) -> Result<StoredResponse> {
    let MergeReport { resolved, conflicts } = report;
    let reply = SyncReply { document: rendered(document, viewer, durable)?, resolved, conflicts };
    let success = Success::accepted_unless(durable);
    Ok(StoredResponse {
        etag: Some(format!("\"{}\"", document.tag())),
        position: Some(document.position().to_string()),
        ..StoredResponse::json(success, &reply)?
    })
}

fn rendered(document: &Document, viewer: &Viewer, durable: bool) -> Result<Box<RawValue>> {
    let bytes = document.render(document.meta.audience(viewer), durable)?;
    let text = String::from_utf8(bytes.into()).map_err(Error::internal)?;
    RawValue::from_string(text).map_err(Error::internal)
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ConflictListQuery {
    /// Only those of this document, `collection/id`.
    #[param(value_type = Option<String>)]
    document: Option<DocumentName>,
    /// `open` or `resolved`.
    #[param(value_type = Option<String>)]
    status: Option<ConflictStatus>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Most entries in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ConflictStatus {
    Open,
    Resolved,
}

/// List conflicts
///
/// Open ones first, then the newest. Each caller sees those of places that they may see.
#[utoipa::path(
    get, path = "/api/v1/conflicts", operation_id = "listConflicts", tag = "conflicts",
    params(Caller, ConflictListQuery),
    responses((status = 200, description = "A page of them.", body = Page<ConflictSchema>), ListProblems),
)]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<ConflictListQuery>,
) -> HandlerResult<Response> {
    page(&api, &caller.viewer, query, false).await
}

/// Read what merges came to
///
/// Each place that both sides ever changed, the newest first: who, when, what decided, and what a person decided.
#[utoipa::path(
    get, path = "/api/v1/conflicts/audit", operation_id = "auditConflicts", tag = "conflicts",
    params(Caller, ConflictListQuery),
    responses((status = 200, description = "A page of them.", body = Page<ConflictSchema>), ListProblems),
)]
async fn audit(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<ConflictListQuery>,
) -> HandlerResult<Response> {
    page(&api, &caller.viewer, query, true).await
}

async fn page(api: &Api, viewer: &Viewer, query: ConflictListQuery, audit: bool) -> HandlerResult<Response> {
    let page = PageRequest::new(query.limit, query.cursor);
    let open = query.status.map(|status| status == ConflictStatus::Open);
    let filter = ConflictFilter { document: query.document, open, audit };
    let mut after = page.parse_after(parse_after)?;
    let (mut items, mut looked, mut more) = (Vec::new(), 0, true);
    while more && items.len() < page.limit && looked < ROWS_LOOKED_THROUGH_MAX {
        let (filter, limit) = (filter.clone(), page.limit);
        let rows = api.reads.read(move |reader| reader.rows(|conn| sql::page(conn, &filter, after, limit + 1))).await?;
        more = rows.len() > limit;
        for kept in rows.into_iter().take(limit) {
            looked += 1;
            after = Some(ConflictCursor { open: kept.is_open() && !audit, number: kept.number });
            let document = api.reads.document(&kept.document).await?;
            if document.is_some_and(|document| resolve::shows(&document, &kept, viewer)) {
                items.push(ConflictItem::from(kept));
                if items.len() == page.limit {
                    more = true;
                    break;
                }
            }
        }
    }
    let next_cursor = after.filter(|_| more).map(|after| encode_cursor(&format!("{} {}", after.open, after.number)));
    Ok(json(Success::Done, &Page { items, next_cursor })?)
}

fn parse_after(text: &str) -> Result<ConflictCursor, ()> {
    let (open, number) = text.split_once(' ').ok_or(())?;
    Ok(ConflictCursor { open: open.parse().map_err(|_| ())?, number: number.parse().map_err(|_| ())? })
}

/// Read a conflict
#[utoipa::path(
    get, path = "/api/v1/conflicts/{conflictId}", operation_id = "readConflict", tag = "conflicts",
    params(("conflictId" = String, Path, description = "The conflict's id."), Caller),
    responses((status = 200, description = "The conflict.", body = ConflictSchema), ReadProblems),
)]
async fn read(State(api): State<Api>, PathParameter(id): PathParameter, caller: Caller) -> HandlerResult<Response> {
    let (kept, _) = resolve::find(&api, &caller.viewer, &id).await?;
    Ok(json(Success::Done, &ConflictItem::from(kept))?)
}

/// How a person decides.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ConflictResolution)]
struct ResolveBody {
    /// `local`: the device's value; `server`: as it is; `merge`: `value`.
    #[schema(value_type = String)]
    resolution: Resolution,
    /// With `merge`: what stands there from now on.
    value: Option<Value>,
    /// The version at which the value was seen, when it has changed since the conflict was found.
    #[schema(value_type = Option<u64>)]
    expected_version: Option<Version>,
}

/// A conflict that is resolved, and its document.
#[derive(Serialize, ToSchema)]
struct ResolveReply {
    #[schema(value_type = ConflictSchema)]
    conflict: ConflictItem,
    #[schema(value_type = Object)]
    document: Box<RawValue>,
}

/// Resolve a conflict
///
/// A change of its own. For the host of the document, and for whose edits they were.
#[utoipa::path(
    post, path = "/api/v1/conflicts/{conflictId}/resolve", operation_id = "resolveConflict", tag = "conflicts",
    params(("conflictId" = String, Path, description = "The conflict's id."), Caller, IdempotentRequest),
    request_body = ResolveBody,
    responses(
        (status = 200, description = "It is resolved.", body = ResolveReply),
        (status = 202, description = "It is resolved, and not on disk yet.", body = ResolveReply),
        ResolveProblems,
        ChangeRefusals,
    ),
)]
async fn resolve_conflict(
    State(api): State<Api>,
    PathParameter(id): PathParameter,
    Extension(merging): Extension<MergeSettings>,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    let ResolveBody { resolution, value, expected_version } = request.object()?;
    let decided = ConflictDecision { resolution, value, expected_version };
    let viewer = &request.caller.viewer;
    let key = request.key().cloned().map(|key| (key, render_resolved as RenderResolved));
    let response = match resolve::resolve(&api, &merging, viewer, (&id, &decided), key).await? {
        ResolveOutcome::Done(kept, document, durability) => {
            answer_resolved(*kept, &document, viewer, durability == Durability::Durable)?.into_response(false)?
        }
        ResolveOutcome::Replayed(answer) => respond(IdempotentAnswer { answer, replayed: true })?,
    };
    Ok(response)
}

/// Makes the answer that is stored under the key.
fn render_resolved(kept: StoredConflict, how: Resolution, viewer: Viewer) -> RenderReply {
    Box::new(move |outcomes: &[WriteOutcome], durability: Durability| {
        let stored = outcomes.first().map(|outcome| {
            let kept = resolve::resolved(&kept, how, &viewer, outcome.event.at);
            answer_resolved(kept, &outcome.document, &viewer, durability == Durability::Durable)
        });
        stored.and_then(|stored| stored.ok()?.to_bytes().ok()).unwrap_or_default()
    })
}

fn answer_resolved(
    kept: StoredConflict,
    document: &Document,
    viewer: &Viewer,
    durable: bool,
) -> Result<StoredResponse> {
    let reply = ResolveReply { conflict: kept.into(), document: rendered(document, viewer, durable)? };
    let success = Success::accepted_unless(durable);
    StoredResponse::json(success, &reply)
}
