//! Limits of single users.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{AdministeredLimits, DropProblems, FindProblems, MakeProblems, PutProblems, SeeProblems, created, json};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::base::ids::UserId;
use crate::features::rate_limits::rules::{FieldErrors, Limit, LimitFields, UserLimit};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse};
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::success::{Success, no_content};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(read, put, remove))
}

/// A limit for one user.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewUserRateLimit)]
struct CreateUserLimitBody {
    /// For whom.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    user_id: UserId,
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

/// The limit that one user is to have.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = UserRateLimitFields)]
struct PutUserLimitBody {
    /// The same as in the path, if it is there.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    user_id: Option<UserId>,
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

/// The limit of one user, which applies to them in place of every rule and of the default.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserRateLimit)]
struct UserLimitItem {
    /// Whose.
    #[schema(value_type = String)]
    user_id: UserId,
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

fn shown(user_id: UserId, limit: UserLimit) -> UserLimitItem {
    let UserLimit { limit: Limit { capacity, refill, window_seconds }, created_at, updated_at } = limit;
    UserLimitItem { user_id, bucket_capacity: capacity, refill_rate: refill, window_seconds, created_at, updated_at }
}

fn checked(fields: LimitFields) -> Result<Limit> {
    let mut misfits = FieldErrors::default();
    let limit = fields.check(&mut misfits);
    misfits.check()?;
    limit.ok_or_else(|| Error::internal("a limit is neither good nor bad"))
}

fn user(text: &str) -> Result<UserId> {
    UserId::new(text).map_err(|error| Error::invalid_field("userId", error.message()))
}

/// List users' own limits
///
/// By user id. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/rate-limits/configs", operation_id = "listUserRateLimits", tag = "operations",
    params(Caller, PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<UserLimitItem>), SeeProblems),
)]
async fn list(AdministeredLimits(limits): AdministeredLimits, page: PageRequest) -> HandlerResult<Response> {
    let after = |user: &UserId| page.after.as_deref().is_none_or(|after| user.as_str() > after);
    let mut users = limits.limiter.users();
    users.retain(|(user, _)| after(user));
    let page = Page::new(users, page.limit, |(user, _)| user.to_string(), |(user, limit)| shown(user, limit));
    Ok(json(Success::Done, &page)?)
}

/// Give a user a limit of their own
///
/// It acts at once. For administrators.
#[utoipa::path(
    post, path = "/api/v1/admin/rate-limits/configs", operation_id = "createUserRateLimit", tag = "operations",
    params(Caller, IdempotentRequest), request_body = CreateUserLimitBody,
    responses((status = 201, description = "It is on disk and in force.", body = UserLimitItem), MakeProblems),
)]
async fn create(AdministeredLimits(limits): AdministeredLimits, sent: IdempotentRequest) -> HandlerResult<Response> {
    let CreateUserLimitBody { user_id, bucket_capacity, refill_rate, window_seconds } = sent.object()?;
    let limit = checked(LimitFields { bucket_capacity, refill_rate, window_seconds })?;
    let user = user_id.clone();
    let once = sent.call(move |made: &UserLimit| StoredResponse::json(Success::Created, &shown(user, *made)));
    let answered = limits.create_user(user_id, limit, once).await?;
    Ok(created(answered, "/api/v1/admin/rate-limits/configs", "userId")?)
}

/// Read a user's own limit
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/rate-limits/configs/{userId}", operation_id = "readUserRateLimit", tag = "operations",
    params(("userId" = String, Path, description = "The user."), Caller),
    responses((status = 200, description = "The limit.", body = UserLimitItem), FindProblems),
)]
async fn read(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    let user = user(&id)?;
    let absent = || Error::not_found(format!("{user} has no limit of their own"));
    let limit = limits.limiter.user(&user).ok_or_else(absent)?;
    Ok(json(Success::Done, &shown(user, limit))?)
}

/// Give a user a limit of their own, or another
///
/// It acts at once; what the user has spent stays spent. For administrators.
#[utoipa::path(
    put, path = "/api/v1/admin/rate-limits/configs/{userId}", operation_id = "putUserRateLimit", tag = "operations",
    params(("userId" = String, Path, description = "The user."), Caller), request_body = PutUserLimitBody,
    responses(
        (status = 200, description = "It is in the place of another, on disk and in force.", body = UserLimitItem),
        (status = 201, description = "It is on disk and in force.", body = UserLimitItem),
        PutProblems,
    ),
)]
async fn put(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
    Json(body): Json<PutUserLimitBody>,
) -> HandlerResult<Response> {
    let user = user(&id)?;
    let PutUserLimitBody { user_id, bucket_capacity, refill_rate, window_seconds } = body;
    if user_id.is_some_and(|named| named != user) {
        return Err(Error::invalid_field("userId", "is another than in the path").into());
    }
    let limit = checked(LimitFields { bucket_capacity, refill_rate, window_seconds })?;
    let (put, new) = limits.put_user(user.clone(), limit).await?;
    let success = Success::created_if(new);
    Ok(json(success, &shown(user, put))?)
}

/// Take a user's own limit away
///
/// From then on the rules and the default apply to them. For administrators.
#[utoipa::path(
    delete, path = "/api/v1/admin/rate-limits/configs/{userId}", operation_id = "deleteUserRateLimit",
    tag = "operations",
    params(("userId" = String, Path, description = "The user."), Caller),
    responses((status = 204, description = "It is gone, also on disk."), DropProblems),
)]
async fn remove(
    AdministeredLimits(limits): AdministeredLimits,
    PathParameter(id): PathParameter,
) -> HandlerResult<Response> {
    limits.delete_user(user(&id)?).await?;
    Ok(no_content())
}
