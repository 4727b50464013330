//! What reads the log behind the changes, and how far it is. For the owner alone.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::clock::Timestamp;
use crate::base::error::Kind;
use crate::consumers::runner::{ConsumerStatus, ConsumersHandle, LAG_COUNTED_MAX};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::problems;
use crate::http::response::success::Success;

/// The call about consumers.
pub(crate) fn router(consumers: ConsumersHandle) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).layer(Extension(consumers))
}

problems! {
    /// Of listing consumers.
    ListProblems: &[Kind::Unauthenticated, Kind::Damaged, Kind::StorageUnavailable];
}

/// All consumers of the log.
#[derive(Serialize, ToSchema)]
struct Consumers {
    items: Vec<ConsumerItem>,
}

/// What reads the log behind the changes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Consumer)]
struct ConsumerItem {
    /// By which its place is stored.
    name: &'static str,
    /// Whose changes it reads.
    collections: &'static [&'static str],
    /// The event up to which it is done.
    seq: u64,
    lag: Lag,
    /// When it last stored its place; null: it has not yet.
    #[schema(value_type = Option<String>, format = DateTime)]
    stored_at: Option<Timestamp>,
    /// Why it does not get on. It is tried again, and nothing is left out.
    error: Option<String>,
}

/// What a consumer still has before it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConsumerLag)]
struct Lag {
    /// How many changes; 10,000: as many, or more.
    changes: u64,
    /// Whether there are more than that.
    more: bool,
    /// How old the oldest of them is.
    milliseconds: i64,
}

impl ConsumerItem {
    fn new(status: ConsumerStatus, now: Timestamp) -> Self {
        let ConsumerStatus { name, collections, seq, stored_at, lag, oldest, error } = status;
        let age = |at: Timestamp| now.as_millis().saturating_sub(at.as_millis()).max(0);
        let more = usize::try_from(lag).unwrap_or(usize::MAX) >= LAG_COUNTED_MAX;
        let lag = Lag { changes: lag, more, milliseconds: oldest.map_or(0, age) };
        Self { name, collections, seq: seq.0, lag, stored_at, error }
    }
}

/// List the consumers of the log
///
/// What reads the log behind the changes, and how far behind. For the owner alone.
#[utoipa::path(
    get, path = "/api/v1/admin/consumers", operation_id = "listConsumers", tag = "operations",
    params(Caller),
    responses((status = 200, description = "All of them.", body = Consumers), ListProblems),
)]
async fn list(
    State(api): State<Api>,
    Extension(consumers): Extension<ConsumersHandle>,
    caller: Caller,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let (all, now) = (consumers.status().await?, api.clock.now());
    let items = all.into_iter().map(|status| ConsumerItem::new(status, now)).collect();
    Ok(json(Success::Done, &Consumers { items })?)
}
