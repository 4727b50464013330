//! The calls about usage: how a user stands, and the subscriptions, which administrators set.

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::response::Response;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rules::{
    CountedKind, EffectivePlan, LIMIT_MAX, Limits, PLAN_LENGTH_MAX, Period, Subscription, SubscriptionStatus,
    UsageCounts,
};
use super::service::{self, Usage};
use super::sql;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::UserId;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::{HandlerResult, HttpError};
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::path;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;

/// The calls about usage.
pub(crate) fn router(usage: Usage) -> OpenApiRouter<Api> {
    let routes = OpenApiRouter::new().routes(routes!(mine)).routes(routes!(list)).routes(routes!(one, put));
    routes.layer(Extension(usage))
}

const ACCESS: &[K] = &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];

problems! {
    /// Of asking how one stands.
    UsageProblems: ACCESS;
    /// Of listing subscriptions.
    ListProblems: ACCESS;
    /// Of reading one.
    OneProblems: ACCESS, &[K::NotFound];
    /// Of setting one.
    PutProblems: ACCESS, BODY;
}

/// The members of `quota-exceeded`.
#[expect(dead_code, reason = "only its schema is used")]
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct QuotaMembers {
    /// `quota-exceeded`: which count is at its limit, such as `partiesCreated`.
    #[schema(required = false)]
    counter: String,
    /// `quota-exceeded`: how many were created, those included that wait for the disk.
    #[schema(required = false)]
    used: u64,
    /// `quota-exceeded`: how many may be.
    #[schema(required = false)]
    limit: u64,
    /// `quota-exceeded`: when counting begins anew; null: not as long as the subscription is paused.
    #[schema(required = false, value_type = Option<String>, format = DateTime)]
    reset_at: Option<String>,
}

/// How many were created since counting began anew.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UsageCounters)]
struct CountersItem {
    parties_created: u64,
    encounters_created: u64,
    creatures_created: u64,
}

impl From<UsageCounts> for CountersItem {
    fn from(counts: UsageCounts) -> Self {
        Self {
            parties_created: counts.parties,
            encounters_created: counts.encounters,
            creatures_created: counts.creatures,
        }
    }
}

/// How many may be created in a period. One that is left out, or null, is no limit.
#[derive(Clone, Copy, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UsageLimits)]
struct LimitsItem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    parties_created: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    encounters_created: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    creatures_created: Option<u64>,
}

impl From<Limits> for LimitsItem {
    fn from(limits: Limits) -> Self {
        Self {
            parties_created: limits.parties,
            encounters_created: limits.encounters,
            creatures_created: limits.creatures,
        }
    }
}

impl LimitsItem {
    fn checked(self) -> Result<Limits> {
        let Self { parties_created: parties, encounters_created: encounters, creatures_created: creatures } = self;
        let limits = Limits { parties, encounters, creatures };
        match CountedKind::ALL.into_iter().find(|thing| limits.of(*thing).is_some_and(|limit| limit > LIMIT_MAX)) {
            Some(thing) => {
                let field = format!("limits.{}", thing.counter());
                Err(Error::invalid_field(&field, format!("must be at most {LIMIT_MAX}; left out, it is no limit")))
            }
            None => Ok(limits),
        }
    }
}

/// How a user stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Usage)]
struct UsageItem {
    /// Whose it is; `@owner` for the owner of the server, who is counted and has no limits.
    user_id: String,
    /// The plan in force: that of the subscription, or `default`; of the owner `owner`.
    plan: String,
    /// `active`, `paused` or `cancelled`; without a subscription `active`.
    status: &'static str,
    /// Since when the period runs; without a subscription it is the calendar month.
    #[schema(value_type = Option<String>, format = DateTime)]
    current_period_start: Option<Timestamp>,
    /// Until when.
    #[schema(value_type = Option<String>, format = DateTime)]
    current_period_end: Option<Timestamp>,
    /// When the counters are set back: at the first 00:05 UTC that is not before the end of the period. Null while the
    /// subscription is paused. Servers that do not run in production do not set counters back.
    #[schema(value_type = Option<String>, format = DateTime)]
    reset_at: Option<Timestamp>,
    counters: CountersItem,
    limits: LimitsItem,
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UsageQuery {
    /// Of this user instead of one's own; for administrators.
    #[param(value_type = Option<String>)]
    user: Option<String>,
}

/// How much have I created, and how much may I?
///
/// What is told is what is on disk.
#[utoipa::path(
    get, path = "/api/v1/usage", operation_id = "usage", tag = "usage",
    params(Caller, UsageQuery),
    responses((status = 200, description = "How the user stands.", body = UsageItem), UsageProblems),
)]
async fn mine(
    State(api): State<Api>,
    Extension(usage): Extension<Usage>,
    caller: Caller,
    Query(query): Query<UsageQuery>,
) -> HandlerResult<Response> {
    let viewer = match query.user {
        None => caller.viewer,
        Some(user) => {
            caller.require_administrator()?;
            Viewer::User(UserId::new(&user).map_err(|error| Error::invalid_field("user", error.message()))?)
        }
    };
    let asked = viewer.clone();
    let standing = api.reads.read(move |reader| reader.rows(|conn| service::usage_of(conn, &asked))).await?;
    let owner = viewer == Viewer::Owner;
    let defaults = if owner { Limits::default() } else { usage.defaults };
    let EffectivePlan { name, limits, period, reset_at } = standing.plan(defaults, api.clock.now());
    let status = standing.subscription.as_ref().map_or(SubscriptionStatus::Active, |subscription| subscription.status);
    let item = UsageItem {
        user_id: viewer.scope().to_owned(),
        plan: if owner { "owner" } else { name }.to_owned(),
        status: status.as_str(),
        current_period_start: period.map(|period| period.start),
        current_period_end: period.map(|period| period.end),
        reset_at,
        counters: standing.counts.into(),
        limits: limits.into(),
    };
    Ok(json(Success::Done, &item)?)
}

/// The status of a subscription. By way of a string: a derived enum would also take `{"active": null}`.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct StatusName(SubscriptionStatus);

impl TryFrom<String> for StatusName {
    type Error = &'static str;

    fn try_from(name: String) -> std::result::Result<Self, &'static str> {
        SubscriptionStatus::named(&name).map(Self).ok_or("is none of active, paused and cancelled")
    }
}

/// What a user may create in which time.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SubscriptionBody {
    /// The user of the path; may be left out.
    user_id: Option<String>,
    /// What the plan is called, 1 to 64 characters.
    #[schema(min_length = 1, max_length = 64, example = "gold")]
    plan: String,
    /// `active`; `paused`: the limits hold and the period stands still; `cancelled`: the default plan is in force.
    #[schema(value_type = String, example = "active")]
    status: StatusName,
    #[schema(value_type = String, format = DateTime, example = "2026-01-31T00:00:00Z")]
    current_period_start: Timestamp,
    /// After the start. The next period is as long, in calendar months if this one is some.
    #[schema(value_type = String, format = DateTime, example = "2026-02-28T00:00:00Z")]
    current_period_end: Timestamp,
    #[serde(default)]
    #[schema(required = false)]
    limits: LimitsItem,
}

impl SubscriptionBody {
    fn checked(self, user: UserId) -> Result<Subscription> {
        if self.user_id.is_some_and(|other| other != user.as_str()) {
            return Err(Error::invalid_field("userId", "must be the user of the path"));
        }
        let length = self.plan.chars().count();
        if !(1..=PLAN_LENGTH_MAX).contains(&length) || self.plan.chars().any(char::is_control) {
            let rule = format!("must be 1 to {PLAN_LENGTH_MAX} characters that can be seen");
            return Err(Error::invalid_field("plan", rule));
        }
        let period = Period { start: self.current_period_start, end: self.current_period_end };
        period.check()?;
        let (status, limits) = (self.status.0, self.limits.checked()?);
        Ok(Subscription { user, plan: self.plan, status, period, length: period.length(), limits })
    }
}

/// A user's subscription.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Subscription)]
struct SubscriptionItem {
    user_id: String,
    plan: String,
    /// `active`, `paused` or `cancelled`.
    status: &'static str,
    #[schema(value_type = String, format = DateTime)]
    current_period_start: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    current_period_end: Timestamp,
    limits: LimitsItem,
}

impl From<Subscription> for SubscriptionItem {
    fn from(subscription: Subscription) -> Self {
        Self {
            user_id: subscription.user.as_str().to_owned(),
            plan: subscription.plan,
            status: subscription.status.as_str(),
            current_period_start: subscription.period.start,
            current_period_end: subscription.period.end,
            limits: subscription.limits.into(),
        }
    }
}

/// List subscriptions
///
/// By user. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/subscriptions", operation_id = "listSubscriptions", tag = "usage",
    params(Caller, PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<SubscriptionItem>), ListProblems),
)]
async fn list(State(api): State<Api>, caller: Caller, page: PageRequest) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let (after, limit) = (page.after.unwrap_or_default(), page.limit);
    let found = api.reads.read(move |reader| reader.rows(|conn| sql::list(conn, &after, limit + 1))).await?;
    let key = |subscription: &Subscription| subscription.user.to_string();
    Ok(json(Success::Done, &Page::new(found, limit, key, SubscriptionItem::from))?)
}

/// A user's subscription
///
/// For administrators. Who has none has the default plan.
#[utoipa::path(
    get, path = "/api/v1/admin/subscriptions/{userId}", operation_id = "readSubscription", tag = "usage",
    params(("userId" = String, Path, description = "The user.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"), Caller),
    responses((status = 200, description = "It.", body = SubscriptionItem), OneProblems),
)]
async fn one(State(api): State<Api>, caller: Caller, UserPath(user): UserPath) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let asked = user.clone();
    let found = api.reads.read(move |reader| reader.rows(|conn| sql::subscription(conn, asked.as_str()))).await?;
    let absent = || Error::not_found(format!("{user} has no subscription, so the default plan is in force"));
    Ok(json(Success::Done, &SubscriptionItem::from(found.ok_or_else(absent)?))?)
}

/// Set a user's subscription
///
/// Whole, whether or not there was one. For administrators. The counters stay as they are, but for a renewal: when the
/// period begins at the end of the one before, or later, they begin anew with it.
#[utoipa::path(
    put, path = "/api/v1/admin/subscriptions/{userId}", operation_id = "setSubscription", tag = "usage",
    params(("userId" = String, Path, description = "The user.", pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"), Caller),
    request_body = SubscriptionBody,
    responses(
        (status = 200, description = "It is as sent now.", body = SubscriptionItem),
        (status = 201, description = "It is new.", body = SubscriptionItem),
        PutProblems,
    ),
)]
async fn put(
    State(api): State<Api>,
    caller: Caller,
    UserPath(user): UserPath,
    sent: RawBody,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    sent.one_of(&[JSON])?;
    let subscription = sent.parse::<SubscriptionBody>()?.checked(user)?;
    let stored = subscription.clone();
    let is_new = api.engine.rows(move |conn, now| service::put(conn, stored, now)).await?;
    let success = Success::created_if(is_new);
    Ok(json(success, &SubscriptionItem::from(subscription))?)
}

/// The extractor of `{userId}`. Error: `Invalid`.
struct UserPath(UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(path::parse(parts, state, &["userId"], UserId::new).await?))
    }
}
