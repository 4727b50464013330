//! What was counted.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AdministeredLimits, SeeProblems, json};
use crate::base::clock::Timestamp;
use crate::features::rate_limits::identity::BucketOwner;
use crate::features::rate_limits::ledger::IdentityTally;
use crate::features::rate_limits::limiter::LimitTally;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{PageLimit, PageRequest};
use crate::http::request::caller::Caller;
use crate::http::request::query::Query;
use crate::http::response::success::Success;

/// Most of those who were refused most.
const OFFENDERS: usize = 10;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(metrics))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct MetricsQuery {
    /// Most entries in `byUser`.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
}

/// What was counted since the server started. Requests of those who are exempt are not.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimitMetrics)]
struct Metrics {
    /// When counting began.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Requests that passed.
    allowed: u64,
    /// Requests that were refused.
    limited: u64,
    /// By the limit that applied: `default`, `user` (all users' own ones), then each rule in its order.
    by_rule: Vec<RuleMetrics>,
    /// Those with the most requests.
    by_user: Vec<UserMetrics>,
    /// Those with the most refused requests.
    top_offenders: Vec<UserMetrics>,
    memory: LimiterMemory,
}

/// What was counted of a limit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimitMetricsOfRule)]
struct RuleMetrics {
    /// The rule's name.
    rule: String,
    /// Its id; null where it is none.
    #[schema(required = true)]
    rule_id: Option<String>,
    /// Requests that passed.
    allowed: u64,
    /// Requests that were refused.
    limited: u64,
}

/// What was counted of somebody.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimitMetricsOfUser)]
struct UserMetrics {
    /// `user`, `owner`, or `address` for those of whom nothing else is known.
    kind: &'static str,
    /// The user's id or the address; null for the owner.
    #[schema(required = true)]
    id: Option<String>,
    /// Their requests that passed.
    allowed: u64,
    /// Those that were refused.
    limited: u64,
    /// When they were last refused; null: not yet.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    last_limited_at: Option<Timestamp>,
}

/// How much is in memory.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimitMemory)]
struct LimiterMemory {
    /// Of whom something is known.
    identities: usize,
    /// Buckets.
    buckets: usize,
    /// Those that were taken from since they were last stored.
    unsaved_buckets: usize,
}

impl From<LimitTally> for RuleMetrics {
    fn from(counted: LimitTally) -> Self {
        let LimitTally { name, id, tally } = counted;
        Self { rule: name, rule_id: id, allowed: tally.allowed, limited: tally.limited }
    }
}

impl From<IdentityTally> for UserMetrics {
    fn from(counted: IdentityTally) -> Self {
        let IdentityTally { identity, tally, last_limited } = counted;
        let (kind, id) = match identity {
            BucketOwner::Owner => ("owner", None),
            BucketOwner::User(id) => ("user", Some(id.to_string())),
            BucketOwner::Address(address) => ("address", Some(address.to_string())),
        };
        Self { kind, id, allowed: tally.allowed, limited: tally.limited, last_limited_at: last_limited }
    }
}

/// Who asked how much
///
/// What passed and what was refused since the server started, by rule and by user. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/rate-limits/metrics", operation_id = "readRateLimitMetrics", tag = "operations",
    params(Caller, MetricsQuery),
    responses((status = 200, description = "What was counted.", body = Metrics), SeeProblems),
)]
async fn metrics(
    AdministeredLimits(limits): AdministeredLimits,
    Query(query): Query<MetricsQuery>,
) -> HandlerResult<Response> {
    let most = PageRequest::new(query.limit, None).limit;
    let ledger = &limits.limiter.ledger;
    let (total, size) = (ledger.total(), ledger.size());
    let answer = Metrics {
        since: limits.since,
        allowed: total.allowed,
        limited: total.limited,
        by_rule: limits.limiter.tallies().into_iter().map(RuleMetrics::from).collect(),
        by_user: ledger.top(most, |tally| tally.allowed + tally.limited).into_iter().map(UserMetrics::from).collect(),
        top_offenders: ledger.top(OFFENDERS, |tally| tally.limited).into_iter().map(UserMetrics::from).collect(),
        memory: LimiterMemory { identities: size.identities, buckets: size.buckets, unsaved_buckets: size.unsaved },
    };
    Ok(json(Success::Done, &answer)?)
}
