//! `GET /api/v1/flags`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::Error;
use crate::base::flags::Flags;
use crate::http::api::Api;
use crate::http::openapi::Common;
use crate::http::problem::Handled;

/// The calls about flags.
pub fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(flags))
}

/// The feature flags in force.
#[derive(Serialize, ToSchema)]
struct FlagsInForce {
    flags: FlagValues,
}

/// What is turned on. Set by the server's configuration, and the same as long as it runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FlagValues {
    /// Whether new games are kept on disk. False: they live in memory only, and say `"persistent": false`; games that
    /// were there before stay as they are.
    games_persistence: bool,
}

/// What is turned on?
#[utoipa::path(
    get, path = "/api/v1/flags", operation_id = "readFlags", tag = "operations",
    responses((status = 200, description = "The flags in force.", body = FlagsInForce), Common),
)]
async fn flags(State(api): State<Api>) -> Handled<Response> {
    let Flags { games_persistence } = api.flags;
    let answer = FlagsInForce { flags: FlagValues { games_persistence } };
    let text = serde_json::to_vec(&answer).map_err(Error::internal)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}
