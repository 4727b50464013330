//! The phases of a project.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use super::progress::check_writer;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::features::projects::limits::REASON_BYTES_MAX;
use crate::features::projects::problems::{PHASE_IS_CURRENT, PHASE_NEEDS_REASON};
use crate::features::projects::progress::phases::PhaseChange;
use crate::features::projects::sql;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::store::Connection;

#[derive(OpenApi)]
#[openapi(components(schemas(PhaseChangeSchema, PhaseBody)))]
struct Schemas;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(read_phases, change_phase))
}

problems! {
    /// Of reading.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable];
    /// Of changing.
    ChangeProblems:
        &[
            K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::IdempotencyMismatch, K::Damaged,
            K::StorageUnavailable
        ],
        BODY, &[&PHASE_IS_CURRENT, &PHASE_NEEDS_REASON, &crate::engine::problems::NOT_PERSISTENT];
}

/// A change from one phase to another.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PhaseChange)]
struct PhaseChangeSchema {
    from: String,
    to: String,
    #[schema(required = false, value_type = String)]
    reason: Option<String>,
    /// The user who had it made; `owner`: the owner of the server.
    changed_by: String,
    #[schema(format = DateTime)]
    at: String,
    /// How long the project had been in `from`.
    lasted_seconds: u64,
}

/// The phase of a project, and a page of how it got there.
#[derive(Serialize, ToSchema)]
#[schema(as = PhasePage)]
struct PhasePage<T> {
    /// The current one.
    phase: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// All that the project goes through, in order.
    phases: Vec<String>,
    #[serde(flatten)]
    page: Page<T>,
}

/// Read the phases of a project
///
/// Which it is in, which it goes through, and its changes from one to another, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/projects/{id}/progress/phases", operation_id = "readPhases", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, PageQuery),
    responses((status = 200, description = "A page.", body = PhasePage<PhaseChangeSchema>), ReadProblems),
)]
async fn read_phases(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    caller: Caller,
    page: PageRequest,
) -> HandlerResult<Response> {
    api.reads.live_document(&name, &caller.viewer).await?;
    let (after, limit) = (page.parse_after(str::parse)?.unwrap_or(0), page.limit);
    let find = move |conn: &Connection| {
        let row = sql::progress::find(conn, name.id.as_str())?.ok_or_else(sql::progress::not_stored_yet)?;
        let found = sql::phases::page(conn, row.key, after, limit + 1)?;
        let since = sql::phases::since(conn, row.key)?.unwrap_or(row.began_at);
        let (phase, phases) = (row.measures(conn)?.phase, row.settings.phases.names().to_vec());
        let page = Page::new(found, limit, |(number, _): &(i64, PhaseChange)| number.to_string(), |(_, change)| change);
        Ok(PhasePage { phase, since, phases, page })
    };
    Ok(json(Success::Done, &api.read_rows(find).await?)?)
}

/// Where to go.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PhaseChangeRequest)]
struct PhaseBody {
    /// One of the phases of the project, and not the current one.
    to: String,
    /// Why; needed to go back. At most 1,000 bytes.
    reason: Option<String>,
}

/// Go into another phase
///
/// For whoever may write to the project. Going back takes a reason.
#[utoipa::path(
    post, path = "/api/v1/projects/{id}/progress/phases", operation_id = "changePhase", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, IdempotentRequest),
    request_body = PhaseBody,
    responses((status = 201, description = "The change, on disk.", body = PhaseChangeSchema), ChangeProblems),
)]
async fn change_phase(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    let PhaseBody { to, reason } = request.object()?;
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(Error::invalid_field("reason", format!("must be at most {REASON_BYTES_MAX} bytes")).into());
    }
    check_writer(&api, &name, &request.caller.viewer).await?;
    let by = request.caller.viewer.user_id()?;
    let write = move |conn: &Connection, now: Timestamp| -> Result<PhaseChange> {
        let mut change = sql::progress::begin_of(conn, name.id.as_str(), now)?;
        let changed = change.change_phase(conn, ("to", &to), reason, &by)?;
        change.finish(conn)?;
        Ok(changed)
    };
    let call = request.call(|change: &PhaseChange| StoredResponse::json(Success::Created, change));
    let (answered, _) = api.write_rows(move |conn, now| call.run(conn, now, write)).await?;
    Ok(respond(answered)?)
}
