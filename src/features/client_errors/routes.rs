//! `POST /audit/client-error` and `GET /audit/client-errors`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::USER_AGENT;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rules::{ClientError, ErrorLimiter};
use super::sql::{self, StoredClientError};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K};
use crate::features::client_errors::limits::CLIENT_ERROR_COUNT_MAX;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;

#[derive(OpenApi)]
#[openapi(components(schemas(ClientErrorBody, Noted, ClientErrorItem)))]
struct Schemas;

/// The calls about client errors.
pub(crate) fn router() -> OpenApiRouter<Api> {
    let limiter = Arc::new(Mutex::new(ErrorLimiter::default()));
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(note))
        .routes(routes!(list))
        .layer(Extension(limiter))
}

problems! {
    /// Of telling an error.
    NoteProblems: &[K::Unauthenticated, K::RateLimited, K::Damaged, K::StorageUnavailable], BODY;
    /// Of listing them.
    ListProblems: &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];
}

/// What went wrong in a browser. What is too long is cut.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ClientError)]
struct ClientErrorBody {
    /// What the browser said: its first 2000 bytes are kept.
    #[schema(min_length = 1)]
    message: String,
    /// Where in the program: its first 16 KiB are kept.
    stack: Option<String>,
    /// On which page; query and fragment are not kept.
    url: Option<String>,
    /// In which browser; left out: as the header says.
    user_agent: Option<String>,
    /// Of which release.
    app_version: Option<String>,
    /// How often it happened; left out: once.
    #[schema(minimum = 1, maximum = 1000)]
    count: Option<u64>,
}

/// An error that is noted.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NotedClientError)]
struct Noted {
    /// What makes two errors one: SHA-256 over message, stack and release.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    fingerprint: String,
    /// How often it happened in all.
    count: u64,
}

/// Tell of an error in a browser
///
/// The same error again only counts. For everyone who gets in; some at once and then one each few seconds.
#[utoipa::path(
    post, path = "/audit/client-error", operation_id = "noteClientError", tag = "operations",
    params(Caller), request_body = ClientErrorBody,
    responses((status = 200, description = "It is noted, on disk.", body = Noted), NoteProblems),
)]
async fn note(
    State(api): State<Api>,
    Extension(limiter): Extension<Arc<Mutex<ErrorLimiter>>>,
    caller: Caller,
    headers: HeaderMap,
    Json(body): Json<ClientErrorBody>,
) -> HandlerResult<Response> {
    if body.message.is_empty() {
        return Err(Error::invalid_field("message", "must not be empty").into());
    }
    let times = body.count.unwrap_or(1);
    if !(1..=CLIENT_ERROR_COUNT_MAX).contains(&times) {
        return Err(Error::invalid_field("count", format!("must be from 1 to {CLIENT_ERROR_COUNT_MAX}")).into());
    }
    // Whoever opens many sessions as one user, or is many users at one address, is still counted as some.
    let who = format!("{} {}", caller.viewer.scope(), caller.peer.address.ip());
    limiter.lock().admit(&who, api.clock.now()).map_err(too_many)?;
    let agent = || Some(String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes()).into_owned());
    let error = ClientError {
        message: body.message,
        stack: body.stack,
        url: body.url,
        user_agent: body.user_agent.or_else(agent),
        app_version: body.app_version,
    };
    let (error, reported_by) = (error.bounded(), caller.viewer.actor()?);
    let fingerprint = error.fingerprint();
    let write = move |conn: &crate::store::Connection, now| sql::record(conn, &error, reported_by.as_str(), times, now);
    let count = api.engine.rows(write).await?;
    Ok(json(Success::Done, &Noted { fingerprint, count })?)
}

fn too_many(seconds: u64) -> Error {
    Error::new(K::RateLimited, "too many errors are told; wait, and tell each once").with("retryAfterSeconds", seconds)
}

/// An error in a browser, with its history.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientErrorItem {
    /// What makes two errors one.
    fingerprint: String,
    /// What the browser said.
    message: String,
    /// Where in the program.
    stack: Option<String>,
    /// On which page, the last time.
    url: Option<String>,
    /// In which browser, the last time.
    user_agent: Option<String>,
    /// Of which release.
    app_version: Option<String>,
    /// Who told it last.
    reported_by: String,
    /// How often it happened.
    count: u64,
    /// When first.
    #[schema(value_type = String, format = DateTime)]
    first_seen: Timestamp,
    /// When last.
    #[schema(value_type = String, format = DateTime)]
    last_seen: Timestamp,
}

impl From<StoredClientError> for ClientErrorItem {
    fn from(seen: StoredClientError) -> Self {
        let ClientError { message, stack, url, user_agent, app_version } = seen.error;
        Self {
            fingerprint: seen.fingerprint,
            message,
            stack,
            url,
            user_agent,
            app_version,
            reported_by: seen.reported_by,
            count: seen.count,
            first_seen: seen.first_seen,
            last_seen: seen.last_seen,
        }
    }
}

/// List the errors in browsers
///
/// Each once, those last seen first; the last 1000 are kept. For administrators.
#[utoipa::path(
    get, path = "/audit/client-errors", operation_id = "listClientErrors", tag = "operations",
    params(Caller, PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<ClientErrorItem>), ListProblems),
)]
async fn list(State(api): State<Api>, caller: Caller, page: PageRequest) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let (before, limit) = (page.parse_after(str::parse)?.unwrap_or(i64::MAX), page.limit);
    let found = api.reads.read(move |reader| reader.rows(|conn| sql::page(conn, before, limit))).await?;
    Ok(json(Success::Done, &Page::new(found, limit, |seen| seen.place.to_string(), ClientErrorItem::from))?)
}
