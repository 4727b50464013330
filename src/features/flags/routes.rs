//! `GET /api/v1/flags`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
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
use crate::http::response::openapi::Common;
use crate::http::response::problem::Handled;

/// The calls about flags. `clients`: those that mean something to clients alone, by their names in the configuration.
pub(crate) fn router(clients: &BTreeMap<String, bool>) -> OpenApiRouter<Api> {
    let named = clients.iter().map(|(name, value)| (camel_case(name), *value)).collect();
    OpenApiRouter::new().routes(routes!(flags)).layer(Extension(Clients(Arc::new(named))))
}

/// The flags for clients, by their names in JSON.
#[derive(Clone)]
struct Clients(Arc<BTreeMap<String, bool>>);

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
struct FlagsInForce<'a> {
    flags: FlagValues<'a>,
}

/// What is turned on. Set by the server's configuration, and the same as long as it runs.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FlagValues<'a> {
    /// Whether new games are kept on disk. False: they live in memory only, and say `"persistent": false`; games that
    /// were there before stay as they are.
    games_persistence: bool,
    /// What the configuration has beside (`[flags]`, `REJOIN_FF_*`), for clients: `new-lobby` is `newLobby`.
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, bool>)]
    clients: &'a BTreeMap<String, bool>,
}

/// What is turned on?
#[utoipa::path(
    get, path = "/api/v1/flags", operation_id = "readFlags", tag = "operations",
    responses((status = 200, description = "The flags in force.", body = FlagsInForce), Common),
)]
async fn flags(State(api): State<Api>, Extension(Clients(clients)): Extension<Clients>) -> Handled<Response> {
    let Flags { games_persistence } = api.flags;
    let answer = FlagsInForce { flags: FlagValues { games_persistence, clients: &clients } };
    let text = serde_json::to_vec(&answer).map_err(Error::internal)?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}
