//! Everybody's sessions, for administrators.

use axum::Extension;
use axum::response::Response;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{EndProblems, SessionItem, SessionProblems, json, session_page};
use crate::base::error::Error;
use crate::base::ids::UserId;
use crate::document::visibility::Viewer;
use crate::features::sessions::service::SessionStore;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest};
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::request::query::Query;
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::Success;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_all)).routes(routes!(end_any))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct SessionListQuery {
    /// Only those of this user, or of `owner`; left out: of everybody, the server's owner too.
    #[param(value_type = Option<String>)]
    user: Option<UserId>,
    /// Most sessions in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// List anybody's sessions
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/sessions", operation_id = "listAllSessions", tag = "sessions",
    params(Caller, SessionListQuery),
    responses((status = 200, description = "Those that have not ended.", body = Page<SessionItem>), SessionProblems),
)]
async fn list_all(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    Query(query): Query<SessionListQuery>,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let page = PageRequest::new(query.limit, query.cursor);
    let of = query.user.map(Viewer::member);
    let found = sessions.table.list(of.as_ref(), page.after.as_deref(), page.limit);
    Ok(json(Success::Done, &session_page(found, &sessions, &caller)?)?)
}

/// End anybody's session
///
/// For administrators.
#[utoipa::path(
    delete, path = "/api/v1/admin/sessions/{id}", operation_id = "endAnySession", tag = "sessions",
    params(("id" = String, Path, description = "The session's id."), Caller),
    responses(
        (status = 204, description = "It has ended, on disk; its streams are closed."),
        RevokedLater,
        EndProblems,
    ),
)]
async fn end_any(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let none = || Error::not_found("there is no such session; GET /api/v1/admin/sessions lists all");
    let (_, durability) = sessions.end(vec![sessions.table.find(&id, None).ok_or_else(none)?]).await;
    Ok(revoked(durability)?)
}
