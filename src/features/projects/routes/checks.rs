//! Having a project checked.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ProjectPath;
use super::warnings::writable;
use crate::base::error::Kind as K;
use crate::features::projects::checking::{Checker, ConsistencyReport};
use crate::features::projects::problems::CHECKED_LATELY;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::problems;
use crate::http::response::success::Success;

#[derive(OpenApi)]
#[openapi(components(schemas(CheckReportSchema)))]
struct Schemas;

/// The call that checks a project.
pub(super) fn router(checker: Arc<Checker>) -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(check)).layer(Extension(checker))
}

problems! {
    /// Of a check.
    CheckProblems:
        &[K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::Damaged, K::StorageUnavailable],
        &[&CHECKED_LATELY];
}

/// What came of a check.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConsistencyReport)]
struct CheckReportSchema {
    #[schema(format = DateTime)]
    at: String,
    /// Whether all of the project was looked at.
    full: bool,
    /// How many findings there are in what was looked at.
    findings: usize,
    /// How many warnings were opened, or opened again,
    opened: usize,
    /// and how many resolved, since they are not found any more.
    resolved: usize,
    /// When the next check is possible.
    #[schema(format = DateTime)]
    next_at: String,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CheckQuery {
    /// Look at everything, which is the default; else at what has changed since the last check.
    #[param(value_type = Option<bool>)]
    full: Option<bool>,
}

/// Check a project now
///
/// It is checked by itself as well, a moment after a change. For whoever may write the project.
#[utoipa::path(
    post, path = "/api/v1/projects/{id}/consistency/check", operation_id = "checkProject", tag = "projects",
    params(("id" = String, Path, description = "The project's id."), Caller, CheckQuery),
    responses((status = 200, description = "It is checked.", body = CheckReportSchema), CheckProblems),
)]
async fn check(
    State(api): State<Api>,
    ProjectPath(name): ProjectPath,
    Extension(checker): Extension<Arc<Checker>>,
    caller: Caller,
    Query(query): Query<CheckQuery>,
) -> HandlerResult<Response> {
    writable(&api, &name, &caller).await?;
    let report: ConsistencyReport = checker.check(&name.id, query.full.unwrap_or(true)).await?;
    Ok(json(Success::Done, &report)?)
}
