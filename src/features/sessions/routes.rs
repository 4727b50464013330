//! The calls about sessions, and who the server takes a caller for.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::{HeaderValue, SET_COOKIE, USER_AGENT};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problems::SESSIONS_FULL;
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K, Result};
use crate::base::ids::{SessionId, UserId};
use crate::engine::request::Durability;
use crate::features::sessions::links::Links;
use crate::features::sessions::rules::{self, Device, Session, Token};
use crate::features::sessions::service::{
    Description, SessionCreation, SessionOpening, SessionStore, session_not_found,
};
use crate::features::sessions::table::LiveSession;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Page, PageQuery, PageRequest, encode_cursor};
use crate::http::request::body::{JSON, Json, RawBody};
use crate::http::request::caller::{Caller, Sessions as _};
use crate::http::request::path::PathParameter;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::revoked::{RevokedLater, revoked};
use crate::http::response::success::Success;

mod admin;
mod login;
mod me;

/// The calls about sessions.
pub(crate) fn router(sessions: SessionStore, links: Links) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, open, end_others))
        .routes(routes!(describe_current, end_current))
        .routes(routes!(end))
        .merge(admin::router())
        .merge(me::router())
        .merge(login::router(links))
        .layer(Extension(sessions))
}

const ACCESS: &[K] = &[K::Unauthenticated, K::StorageUnavailable];

problems! {
    /// Of opening a session.
    OpenProblems: ACCESS, BODY, &[&SESSIONS_FULL];
    /// Of looking at sessions, or ending all others.
    SessionProblems: ACCESS;
    /// Of ending one.
    EndProblems: ACCESS, &[K::NotFound];
    /// Of describing one.
    DescribeProblems: ACCESS, BODY, &[K::NotFound];
}

/// What a session is opened on, in its user's words; each text has at most 100 characters.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeviceBody {
    /// What it is called.
    #[schema(example = "Ann's phone")]
    name: String,
    /// What kind of device.
    #[schema(example = "phone")]
    kind: Option<String>,
    /// Its operating system.
    os: Option<String>,
}

/// A session to open.
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OpenBody {
    /// On what.
    device: Option<DeviceBody>,
    /// For whom, instead of oneself; administrators only. The session has that user's rights, never an administrator's.
    /// Nobody is called `owner` or `host`: so the server's owner is called, here and in events.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    user: Option<UserId>,
}

impl DeviceBody {
    fn check(self) -> Result<Device> {
        let text = |field: &str, value: Option<String>| value.map(|value| rules::text(field, value)).transpose();
        Ok(Device {
            name: text("device.name", Some(self.name))?,
            kind: text("device.kind", self.kind)?,
            os: text("device.os", self.os)?,
        })
    }
}

/// What a session is used on.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionDevice)]
struct DeviceItem {
    name: Option<String>,
    kind: Option<String>,
    os: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
struct SessionItem {
    /// Names it; no secret.
    #[schema(value_type = String)]
    id: SessionId,
    /// Whose it is; `owner`: the server's owner's.
    #[schema(value_type = String)]
    user: UserId,
    device: DeviceItem,
    /// What the program that opened it calls itself.
    #[schema(required = true)]
    user_agent: Option<String>,
    /// From where it was opened.
    address: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last shown, or used by a stream.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// From when on it is good no more, unless it is used before.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// What its user is at, in their own words.
    #[schema(required = true)]
    current_phase: Option<String>,
    /// The documents that it reaches; null: all that its user may.
    #[schema(required = true)]
    documents: Option<Vec<String>>,
    /// Whether it is the one that this request shows.
    current: bool,
}

impl SessionItem {
    fn new(session: Session, sessions: &SessionStore, caller: &Caller) -> Result<Self> {
        let current = caller.session().is_some_and(|shown| *shown.id == *session.id.as_str());
        let Device { name, kind, os } = session.device.clone();
        let live = sessions.table.find(session.id.as_str(), None);
        let documents = live.and_then(|live| live.documents());
        Ok(Self {
            documents: documents.map(|names| names.iter().map(ToString::to_string).collect()),
            expires_at: sessions.table.expires_at(&session),
            user: session.holder.viewer().user_id()?,
            id: session.id,
            device: DeviceItem { name, kind, os },
            user_agent: session.user_agent,
            address: session.address,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            current_phase: session.current_phase,
            current,
        })
    }
}

/// A session that was opened.
#[derive(Serialize, ToSchema)]
struct OpenedSession {
    /// What is to be shown from now on: `Authorization: Bearer`, or the cookie that this answer sets. A secret: it
    /// stands in this answer and nowhere else.
    #[schema(pattern = "^rejoin_session_[A-Za-z0-9_-]{43}$")]
    token: String,
    #[serde(flatten)]
    session: SessionItem,
}

/// Open a session
///
/// For oneself: for the server's owner on its own machine, for a member of the tailnet (who alone may show it then), or
/// once more for whose session the request shows. Administrators open them for others with `user`. Each device should
/// have one of its own; of one user the newest hundred are kept, but one that is opened by showing another ends none
/// that the other did not open. No `Idempotency-Key`: the token is kept nowhere, so that it could not be given again; a
/// session that is opened once too often ends by itself.
#[utoipa::path(
    post, path = "/api/v1/sessions", operation_id = "openSession", tag = "sessions",
    params(Caller), request_body = Option<OpenBody>,
    responses(
        (status = 201, description = "It is open, on disk.", body = OpenedSession,
            headers(("Set-Cookie" = String, description = "The token, as a cookie that no script can read; not for a \
                                                           session that is somebody else's."))),
        OpenProblems,
    ),
)]
async fn open(
    State(api): State<Api>,
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> HandlerResult<Response> {
    if !(body.bytes.is_empty() && body.media_type.is_empty()) {
        body.one_of(&[JSON])?;
    }
    let OpenBody { device, user } = if body.bytes.is_empty() { OpenBody::default() } else { body.parse()? };
    let opening = SessionOpening {
        user,
        device: device.map(DeviceBody::check).transpose()?.unwrap_or_default(),
        user_agent: headers.get(USER_AGENT).and_then(|said| rules::user_agent(said.as_bytes())),
    };
    let made = SessionCreation { entropy: &*api.entropy, now: api.clock.now() };
    let (token, session) = sessions.open(&caller, opening, &made).await?;
    // The browser of whoever opens a session for somebody else stays its user's.
    let cookie = (session.holder.viewer() == caller.viewer).then(|| cookie(&sessions, &token)).transpose()?;
    let session = SessionItem::new(session, &sessions, &caller)?;
    let opened = OpenedSession { token: token.expose().to_owned(), session };
    let mut response = json(Success::Created, &opened)?;
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    Ok(response)
}

/// The `Set-Cookie` of a new session.
fn cookie(sessions: &SessionStore, token: &Token) -> Result<HeaderValue> {
    sessions.table.cookie_of(token).ok_or_else(|| Error::internal("a token is no cookie"))
}

/// A page of sessions, newest first; `more` follow.
fn session_page(
    (found, more): (Vec<Session>, bool),
    sessions: &SessionStore,
    caller: &Caller,
) -> Result<Page<SessionItem>> {
    let next_cursor = found.last().filter(|_| more).map(|last| encode_cursor(last.id.as_str()));
    let items = found.into_iter().map(|session| SessionItem::new(session, sessions, caller));
    Ok(Page { items: items.collect::<Result<_>>()?, next_cursor })
}

/// List one's sessions
#[utoipa::path(
    get, path = "/api/v1/sessions", operation_id = "listSessions", tag = "sessions",
    params(Caller, PageQuery),
    responses(
        (status = 200, description = "Those of the caller, on whatever device.", body = Page<SessionItem>),
        SessionProblems
    ),
)]
async fn list(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    page: PageRequest,
) -> HandlerResult<Response> {
    let found = sessions.table.list(Some(&caller.viewer), page.after.as_deref(), page.limit);
    Ok(json(Success::Done, &session_page(found, &sessions, &caller)?)?)
}

/// What is to be said of a session; what is left out stays, null takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeBody {
    /// What its user is at; at most 100 characters.
    #[serde(default, deserialize_with = "deserialize_given")]
    #[schema(value_type = Option<String>, example = "combat")]
    current_phase: Option<Option<String>>,
    /// What its device is called; at most 100 characters.
    #[serde(default, deserialize_with = "deserialize_given")]
    #[schema(value_type = Option<String>)]
    device_name: Option<Option<String>>,
}

/// Tells a member that is null from one that is left out.
fn deserialize_given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The session that the request shows. Error: `NotFound` when it shows none.
fn current(sessions: &SessionStore, caller: &Caller) -> Result<std::sync::Arc<LiveSession>> {
    let none = || Error::not_found("this request shows no session; open one with POST /api/v1/sessions");
    let shown = caller.session().ok_or_else(none)?;
    sessions.table.find(&shown.id, None).ok_or_else(session_not_found)
}

/// Say what one is at
#[utoipa::path(
    patch, path = "/api/v1/sessions/current", operation_id = "describeSession", tag = "sessions",
    params(Caller), request_body = DescribeBody,
    responses((status = 200, description = "The session, on disk.", body = SessionItem), DescribeProblems),
)]
async fn describe_current(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    Json(DescribeBody { current_phase, device_name }): Json<DescribeBody>,
) -> HandlerResult<Response> {
    let check = |field: &str, value: Option<Option<String>>| {
        value.map(|text| text.map(|text| rules::text(field, text)).transpose()).transpose()
    };
    let description = Description {
        current_phase: check("currentPhase", current_phase)?,
        device_name: check("deviceName", device_name)?,
    };
    let session = sessions.describe(&current(&sessions, &caller)?, description).await?;
    Ok(json(Success::Done, &SessionItem::new(session, &sessions, &caller)?)?)
}

/// Log out
///
/// Ends the session that the request shows.
#[utoipa::path(
    delete, path = "/api/v1/sessions/current", operation_id = "endCurrentSession", tag = "sessions",
    params(Caller),
    responses(
        (status = 204, description = "It has ended, on disk; its streams are closed."),
        RevokedLater,
        EndProblems,
    ),
)]
async fn end_current(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let session = current(&sessions, &caller)?;
    let (_, durability) = sessions.end(vec![session]).await;
    Ok(logged_out(revoked(durability)?, &sessions, &headers))
}

/// The answer to whoever has ended their own session: their browser forgets it.
fn logged_out(mut answer: Response, sessions: &SessionStore, headers: &HeaderMap) -> Response {
    let cookie = sessions.table.cookie();
    let shows_own = cookie.find_token(headers).is_ok_and(|shown| shown.is_some_and(|shown| shown.own));
    answer.headers_mut().extend(cookie.clear_token().filter(|_| shows_own).map(|forget| (SET_COOKIE, forget)));
    answer
}

/// End one of one's sessions
///
/// Its token is void and its streams close at once.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{id}", operation_id = "endSession", tag = "sessions",
    params(("id" = String, Path, description = "The session's id."), Caller),
    responses(
        (status = 204, description = "It has ended, on disk."),
        RevokedLater,
        EndProblems,
    ),
)]
async fn end(
    Extension(sessions): Extension<SessionStore>,
    caller: Caller,
    PathParameter(id): PathParameter,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let session = sessions.table.find(&id, Some(&caller.viewer)).ok_or_else(session_not_found)?;
    let own = caller.session().is_some_and(|shown| *shown.id == *id);
    let (_, durability) = sessions.end(vec![session]).await;
    let answer = revoked(durability)?;
    Ok(if own { logged_out(answer, &sessions, &headers) } else { answer })
}

/// How many sessions have ended.
#[derive(Serialize, ToSchema)]
struct EndedSessions {
    ended: usize,
    /// There, and false, while storage fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    durable: Option<bool>,
}

/// End all of one's sessions but the current
///
/// A request that shows none ends them all.
#[utoipa::path(
    delete, path = "/api/v1/sessions", operation_id = "endOtherSessions", tag = "sessions",
    params(Caller),
    responses(
        (status = 200, description = "They have ended, on disk.", body = EndedSessions),
        (status = 202, description = "They have ended; storage fails, and will be told when it returns.",
            body = EndedSessions),
        SessionProblems,
    ),
)]
async fn end_others(Extension(sessions): Extension<SessionStore>, caller: Caller) -> HandlerResult<Response> {
    let current = caller.session().map(|shown| &*shown.id);
    let (ended, durability) = sessions.end(sessions.table.others(&caller.viewer, current)).await;
    let (success, durable) = match durability {
        Durability::Durable => (Success::Done, None),
        Durability::Pending => (Success::Accepted, Some(false)),
    };
    Ok(json(success, &EndedSessions { ended, durable })?)
}
