//! Rules: limits of some calls, for everybody.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AdministeredLimits, ChangeProblems, DropProblems, FindProblems, MakeProblems, SeeProblems, created, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::DocumentId;
use crate::features::rate_limits::rules::matching::{Pattern, Rule, Verb};
use crate::features::rate_limits::rules::{FieldErrors, LimitFields, check_name, check_priority};
use crate::features::rate_limits::sql::RuleFields;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse};
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::success::{Success, no_content};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, put, remove))
}

/// What a rule says.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = RateLimitRuleFields)]
struct RuleBody {
    /// Names it in paths. Left out of a POST: the server makes one; of a PUT, it is the one in the path.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    id: Option<DocumentId>,
    /// What it is called, in refusals too; no other rule may be called so.
    #[schema(min_length = 1, max_length = 64, example = "actions")]
    name: String,
    /// For which paths: `*` stands for one segment, `**` for the rest.
    #[schema(max_length = 200, example = "/api/v1/games/*/actions")]
    endpoint_pattern: String,
    /// For which method: `GET` (which means `HEAD` too), `POST`, `PUT`, `PATCH` or `DELETE`. Left out: any.
    http_method: Option<String>,
    /// Of the rules that match, one of the highest priority applies. Left out: 0.
    #[schema(minimum = 0, maximum = 1000)]
    priority: Option<i64>,
    /// Most requests at once.
    #[schema(minimum = 1, maximum = 1_000_000)]
    bucket_capacity: i64,
    /// Requests that are allowed again in each window.
    #[schema(minimum = 1, maximum = 1_000_000)]
    refill_rate: i64,
    /// Length of the window.
    #[schema(minimum = 1, maximum = 86_400)]
    window_seconds: i64,
}

/// A limit of some calls. Everybody has a bucket of their own for it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RateLimitRule)]
struct RuleItem {
    /// Names it in paths.
    id: String,
    /// What it is called.
    name: String,
    /// For which paths.
    endpoint_pattern: String,
    /// For which method; null: any.
    #[schema(required = true)]
    http_method: Option<&'static str>,
    /// Its priority.
    priority: i32,
    /// Its place among all rules, from 1 on: of those that match, the one with the least applies.
    rank: usize,
    /// Most requests at once.
    bucket_capacity: u32,
    /// Requests that are allowed again in each window.
    refill_rate: u32,
    /// Length of the window.
    window_seconds: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// The rules, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = RateLimitRules)]
struct RuleList {
    items: Vec<RuleItem>,
}

fn shown(rule: &Rule, rank: usize) -> RuleItem {
    RuleItem {
        id: rule.id.to_string(),
        name: rule.name.to_string(),
        endpoint_pattern: rule.pattern.as_str().to_owned(),
        http_method: rule.method.map(Verb::as_str),
        priority: rule.priority,
        rank,
        bucket_capacity: rule.limit.capacity,
        refill_rate: rule.limit.refill,
        window_seconds: rule.limit.window_seconds,
        created_at: rule.created_at,
        updated_at: rule.updated_at,
    }
}

/// The place of a rule among all, whether it is one of `rules` yet or not.
fn rank(rules: &[Rule], rule: &Rule) -> usize {
    1 + rules.iter().filter(|other| other.id != rule.id && other.precedence(rule) == Ordering::Less).count()
}

impl RuleBody {
    fn check(self) -> Result<RuleFields> {
        let Self { id: _, name, endpoint_pattern, http_method, priority, .. } = self;
        let Self { bucket_capacity, refill_rate, window_seconds, .. } = self;
        let mut misfits = FieldErrors::default();
        misfits.collect("name", check_name(&name));
        let pattern = misfits.collect("endpointPattern", Pattern::parse(&endpoint_pattern));
        let method = misfits.collect("httpMethod", http_method.as_deref().map(Verb::parse).transpose());
        let priority = misfits.collect("priority", check_priority(priority.unwrap_or(0)));
        let limit = LimitFields { bucket_capacity, refill_rate, window_seconds }.check(&mut misfits);
        misfits.check()?;
        match (pattern, method, priority, limit) {
            (Some(pattern), Some(method), Some(priority), Some(limit)) => {
                Ok(RuleFields { name, pattern, method, priority, limit })
            }
            _ => Err(Error::internal("a rule is neither good nor bad")),
        }
    }
}

/// List the rules
///
/// In their order: of those that match a request, the first applies. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/rate-limits/rules", operation_id = "listRateLimitRules", tag = "operations",
    params(Caller),
    responses((status = 200, description = "All of them.", body = RuleList), SeeProblems),
)]
async fn list(AdministeredLimits(limits): AdministeredLimits) -> HandlerResult<Response> {
    let rules = limits.limiter.rules();
    let items = rules.iter().zip(1..).map(|(rule, rank)| shown(rule, rank)).collect();
    Ok(json(Success::Done, &RuleList { items })?)
}

/// Make a rule
///
/// It acts at once. For administrators.
#[utoipa::path(
    post, path = "/api/v1/admin/rate-limits/rules", operation_id = "createRateLimitRule", tag = "operations",
    params(Caller, IdempotentRequest), request_body = RuleBody,
    responses((status = 201, description = "It is on disk and in force.", body = RuleItem), MakeProblems),
)]
async fn create(AdministeredLimits(limits): AdministeredLimits, sent: IdempotentRequest) -> HandlerResult<Response> {
    let body: RuleBody = sent.object()?;
    let id = body.id.clone();
    let fields = body.check()?;
    let known = Arc::clone(&limits);
    let once = sent.call(move |rule: &Rule| {
        StoredResponse::json(Success::Created, &shown(rule, rank(&known.limiter.rules(), rule)))
    });
    let answered = limits.create_rule(id, fields, once).await?;
    Ok(created(answered, "/api/v1/admin/rate-limits/rules", "id")?)
}

/// Read a rule
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/rate-limits/rules/{ruleId}", operation_id = "readRateLimitRule", tag = "operations",
    params(("ruleId" = String, Path, description = "The rule."), Caller),
    responses((status = 200, description = "The rule.", body = RuleItem), FindProblems),
)]
async fn read(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    let rules = limits.limiter.rules();
    let found = rules.iter().find(|rule| *rule.id == *id);
    let rule = found.ok_or_else(|| Error::not_found("there is no rule of this id"))?;
    Ok(json(Success::Done, &shown(rule, rank(&rules, rule)))?)
}

/// Change a rule
///
/// It acts at once; it keeps its age, and what anybody has spent of it stays spent. For administrators.
#[utoipa::path(
    put, path = "/api/v1/admin/rate-limits/rules/{ruleId}", operation_id = "putRateLimitRule", tag = "operations",
    params(("ruleId" = String, Path, description = "The rule."), Caller), request_body = RuleBody,
    responses((status = 200, description = "The rule, on disk and in force.", body = RuleItem), ChangeProblems),
)]
async fn put(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
    Json(body): Json<RuleBody>,
) -> HandlerResult<Response> {
    if body.id.as_ref().is_some_and(|named| named.as_str() != id) {
        return Err(Error::invalid_field("id", "is another than in the path").into());
    }
    let rule = limits.replace_rule(id, body.check()?).await?;
    Ok(json(Success::Done, &shown(&rule, rank(&limits.limiter.rules(), &rule)))?)
}

/// Take a rule away
///
/// With what anybody has spent of it. For administrators.
#[utoipa::path(
    delete, path = "/api/v1/admin/rate-limits/rules/{ruleId}", operation_id = "deleteRateLimitRule", tag = "operations",
    params(("ruleId" = String, Path, description = "The rule."), Caller),
    responses((status = 204, description = "It is gone, also on disk."), DropProblems),
)]
async fn remove(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    limits.delete_rule(id).await?;
    Ok(no_content())
}
