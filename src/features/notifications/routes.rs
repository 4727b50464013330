//! The calls about one's own notifications.

use std::collections::HashSet;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rules::{Notification, Preferences};
use super::sql::{self, Stored};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::idempotency::{IdempotentRequest, StoredResponse, respond};
use crate::http::page::{Page, PageQuery, PageRequest};
use crate::http::request::body::Json;
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::store::Connection;

#[derive(OpenApi)]
#[openapi(components(schemas(NotificationSchema, ReadReply, PreferencesSchema)))]
struct Schemas;

pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(list))
        .routes(routes!(mark_all_read))
        .routes(routes!(read_preferences, put_preferences))
        .routes(routes!(mark_read))
}

problems! {
    /// Of reading.
    ListProblems: &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];
    /// Of noting that all are read.
    ReadAllProblems: &[K::Unauthenticated, K::IdempotencyMismatch, K::Damaged, K::StorageUnavailable], BODY;
    /// Of noting that one is read.
    ReadProblems:
        &[K::Unauthenticated, K::NotFound, K::IdempotencyMismatch, K::Damaged, K::StorageUnavailable], BODY;
    /// Of setting preferences.
    PutProblems: &[K::Unauthenticated, K::StorageUnavailable], BODY;
}

/// What somebody is told of a change.
#[derive(Serialize, ToSchema)]
#[schema(as = Notification)]
struct NotificationSchema {
    /// The same wherever it is told.
    id: String,
    /// `turn`: it is the recipient's turn; `action`: an action waits for them, or theirs was reviewed; `status`: it
    /// began, is paused, goes on or has ended.
    #[serde(rename = "type")]
    kind: String,
    title: String,
    /// What there is to say besides; may be empty.
    body: String,
    /// The document that it is about, `collection/id`,
    document: String,
    /// and its version after the change.
    version: u64,
    #[schema(format = DateTime)]
    at: String,
    /// Whether the recipient has read it.
    read: bool,
}

/// What somebody wants of the notifications of one type.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NotificationPreference)]
struct PreferenceSchema {
    /// Whether there are any. Without, none are made.
    enabled: Option<bool>,
    /// Whether a client plays a sound.
    sound: Option<bool>,
    /// After how long a client takes it off the screen; 0: when it is clicked.
    #[schema(maximum = 3600)]
    close_after_seconds: Option<u32>,
}

/// What somebody wants of each type.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NotificationPreferences)]
struct PreferencesSchema {
    turn: Option<PreferenceSchema>,
    action: Option<PreferenceSchema>,
    status: Option<PreferenceSchema>,
}

/// A page of one's notifications.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationPage)]
struct NotificationPage<T> {
    #[serde(flatten)]
    page: Page<T>,
    /// How many are unread, on all pages.
    unread: usize,
}

/// List one's notifications
///
/// Unread ones first, then the newest. Those about documents that the caller may not read any more are left out.
#[utoipa::path(
    get, path = "/api/v1/notifications", operation_id = "listNotifications", tag = "notifications",
    params(Caller, PageQuery),
    responses(
        (status = 200, description = "A page of them.", body = NotificationPage<NotificationSchema>),
        ListProblems,
    ),
)]
async fn list(State(api): State<Api>, caller: Caller, page: PageRequest) -> HandlerResult<Response> {
    let mut rows = stored(&api, &caller.viewer).await?;
    let unread = rows.iter().filter(|row| !row.notification.read).count();
    let after = page.parse_after(parse_key)?;
    rows.retain(|row| after.is_none_or(|after| (!row.notification.read, row.number) < after));
    rows.truncate(page.limit + 1);
    let key = |row: &Stored| format!("{} {}", !row.notification.read, row.number);
    let page = Page::new(rows, page.limit, key, |row| row.notification);
    Ok(json(Success::Done, &NotificationPage { page, unread })?)
}

/// Where a page goes on: whether the last one was unread, and its number.
fn parse_key(text: &str) -> Result<(bool, i64), ()> {
    let (unread, number) = text.split_once(' ').ok_or(())?;
    Ok((unread.parse().map_err(|_| ())?, number.parse().map_err(|_| ())?))
}

/// All that `viewer` has, about documents that they may read.
async fn stored(api: &Api, viewer: &Viewer) -> Result<Vec<Stored>> {
    let who = viewer.scope().to_owned();
    let mut rows = api.read_rows(move |conn| sql::list(conn, &who)).await?;
    let names: HashSet<_> = rows.iter().map(|row| row.notification.document.clone()).collect();
    let unreadable = api.reads.unreadable(names, viewer).await?;
    rows.retain(|row| !unreadable.contains(&row.notification.document));
    Ok(rows)
}

/// Note that a notification is read
#[utoipa::path(
    post, path = "/api/v1/notifications/{notificationId}/read", operation_id = "markNotificationRead",
    tag = "notifications",
    params(("notificationId" = String, Path, description = "The notification's id."), Caller, IdempotentRequest),
    responses((status = 200, description = "It is read.", body = NotificationSchema), ReadProblems),
)]
async fn mark_read(
    State(api): State<Api>,
    PathParameter(id): PathParameter,
    request: IdempotentRequest,
) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    check_empty(&request)?;
    let unknown = || Error::not_found("you have no such notification");
    let viewer = &request.caller.viewer;
    let (who, wanted) = (viewer.scope().to_owned(), id.clone());
    let found = api.read_rows(move |conn| sql::find(conn, &who, &wanted)).await?.ok_or_else(unknown)?;
    let name = found.notification.document.clone();
    if !api.reads.unreadable([name], viewer).await?.is_empty() {
        return Err(unknown().into());
    }
    let who = viewer.scope().to_owned();
    let call = request.call(|read: &Notification| StoredResponse::json(Success::Done, read));
    let (answered, _) = api
        .write_rows(move |conn, now| {
            call.run(conn, now, |conn, now| {
                sql::mark_read(conn, &who, &id, now)?;
                let read = sql::find(conn, &who, &id)?.map(|row| row.notification);
                read.ok_or_else(|| Error::not_found("you have no such notification"))
            })
        })
        .await?;
    Ok(respond(answered)?)
}

/// What came of noting that all are read.
#[derive(Serialize, ToSchema)]
#[schema(as = NotificationsRead)]
struct ReadReply {
    /// How many were unread.
    read: usize,
}

/// Note that all of one's notifications are read
#[utoipa::path(
    post, path = "/api/v1/notifications/read-all", operation_id = "markAllNotificationsRead", tag = "notifications",
    params(Caller, IdempotentRequest),
    responses((status = 200, description = "They are read.", body = ReadReply), ReadAllProblems),
)]
async fn mark_all_read(State(api): State<Api>, request: IdempotentRequest) -> HandlerResult<Response> {
    if let Some(stored) = request.stored_response(&api).await? {
        return Ok(stored);
    }
    check_empty(&request)?;
    let viewer = &request.caller.viewer;
    let who = viewer.scope().to_owned();
    let call = request.call(|read: &usize| StoredResponse::json(Success::Done, &ReadReply { read: *read }));
    // Not those that the credential does not reach.
    let rows = stored(&api, viewer).await?.into_iter().map(|row| row.notification).filter(|one| !one.read);
    let ids: Vec<String> = rows.map(|unread| unread.id).collect();
    let mark = move |conn: &Connection, now: Timestamp| {
        ids.iter().map(|id| sql::mark_read(conn, &who, id, now)).sum::<Result<usize>>()
    };
    let (answered, _) = api.write_rows(move |conn, now| call.run(conn, now, mark)).await?;
    Ok(respond(answered)?)
}

/// Error: `Invalid` for a body that says something.
fn check_empty(request: &IdempotentRequest) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    request.optional_object::<Nothing>().map(drop)
}

/// Read what one wants of notifications
#[utoipa::path(
    get, path = "/api/v1/notifications/preferences", operation_id = "readNotificationPreferences",
    tag = "notifications", params(Caller),
    responses(
        (status = 200, description = "What the caller wants of each type.", body = PreferencesSchema),
        ListProblems,
    ),
)]
async fn read_preferences(State(api): State<Api>, caller: Caller) -> HandlerResult<Response> {
    let who = caller.viewer.scope().to_owned();
    let preferences = api.read_rows(move |conn| sql::preferences(conn, &who)).await?.unwrap_or_default();
    Ok(json(Success::Done, &preferences)?)
}

/// Say what one wants of notifications
///
/// The whole of it: what is left out gets its default. Of a type that is not enabled none are made from then on.
#[utoipa::path(
    put, path = "/api/v1/notifications/preferences", operation_id = "putNotificationPreferences",
    tag = "notifications", params(Caller), request_body = PreferencesSchema,
    responses((status = 200, description = "It is on disk and in force.", body = PreferencesSchema), PutProblems),
)]
async fn put_preferences(
    State(api): State<Api>,
    caller: Caller,
    Json(preferences): Json<Preferences>,
) -> HandlerResult<Response> {
    preferences.check()?;
    if caller.user().is_none() && caller.viewer.credential_scope().is_some() {
        let message = "what this request shows does not reach everything of the owner's, as these are";
        return Err(Error::new(K::Forbidden, message).into());
    }
    let who = caller.viewer.scope().to_owned();
    api.write_rows(move |conn, _| sql::put_preferences(conn, &who, &preferences)).await?;
    Ok(json(Success::Done, &preferences)?)
}
