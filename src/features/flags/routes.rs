//! `GET /api/v1/flags`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::response::json::json;
use crate::http::response::openapi::CommonProblems;
use crate::http::response::success::Success;

/// The calls about flags: those in force, by their names in the configuration.
pub(crate) fn router(values: &BTreeMap<String, bool>) -> OpenApiRouter<Api> {
    let values = values.iter().map(|(name, value)| (camel_case(name), *value)).collect();
    let body = FlagsInForce { flags: FlagValues(values) };
    OpenApiRouter::new().routes(routes!(flags)).layer(Extension(Arc::new(body)))
}

/// `new-lobby` as `newLobby`.
fn camel_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for (word, first) in name.split('-').zip([true].into_iter().chain(std::iter::repeat(false))) {
        let (head, tail) = word.split_at_checked(1).unwrap_or((word, ""));
        text.push_str(&if first { head.to_owned() } else { head.to_ascii_uppercase() });
        text.push_str(tail);
    }
    text
}

/// The feature flags in force.
#[derive(Serialize, ToSchema)]
struct FlagsInForce {
    flags: FlagValues,
}

/// What is turned on. Set by the server's configuration (`[flags]`, `REJOIN_FF_*`; `new-lobby` there is `newLobby`
/// here), and the same as long as it runs.
#[derive(Serialize, ToSchema)]
struct FlagValues(BTreeMap<String, bool>);

/// What is turned on?
#[utoipa::path(
    get, path = "/api/v1/flags", operation_id = "readFlags", tag = "operations",
    responses((status = 200, description = "The flags in force.", body = FlagsInForce), CommonProblems),
)]
async fn flags(Extension(flags): Extension<Arc<FlagsInForce>>) -> HandlerResult<Response> {
    Ok(json(Success::Done, &*flags)?)
}
