//! Coming in by an administrator's link.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::header::{SET_COOKIE, USER_AGENT};
use http::{HeaderMap, Method};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::cookie;
use crate::base::error::{Error, Kind as K};
use crate::features::sessions::links::Links;
use crate::features::sessions::problems::SESSIONS_FULL;
use crate::features::sessions::rules;
use crate::features::sessions::service::{SessionCreation, SessionStore};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::PeerAddress;
use crate::http::request::csrf::check_csrf;
use crate::http::request::query::Query;
use crate::http::response::openapi::problems;
use crate::http::response::success::see_other;

pub(super) fn router(links: Links) -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(login)).layer(Extension(links))
}

problems! {
    /// Of coming in by a link.
    LoginProblems: &[K::Unauthenticated, K::StorageUnavailable], &[&SESSIONS_FULL];
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LoginQuery {
    /// The token of the link: a secret, good once.
    link: String,
}

/// Come in by an administrator's link
///
/// Opens a session of the server's owner in this browser. With `loopback-owner = false` the start prints such a link,
/// and `rejoin session` makes another. It is good once, within an hour. A GET that writes: it is refused to pages of
/// other sites, and to a browser that looks ahead; `HEAD` leaves the link as it is.
#[utoipa::path(
    get, path = "/login", operation_id = "loginByLink", tag = "sessions",
    params(LoginQuery),
    responses(
        (status = 303, description = "The session is open, on disk; go to the start page.",
            headers(("Set-Cookie" = String, description = "The token, as a cookie that no script can read."),
                    ("Location" = String, description = "The start page."))),
        LoginProblems,
    ),
)]
async fn login(
    State(api): State<Api>,
    Extension(sessions): Extension<SessionStore>,
    Extension(links): Extension<Links>,
    PeerAddress(address): PeerAddress,
    Query(LoginQuery { link }): Query<LoginQuery>,
    method: Method,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    check_csrf(&headers)?;
    if method == Method::HEAD {
        return Err(Error::new(K::Forbidden, "HEAD does not use a link up; GET does").into());
    }
    let now = api.clock.now();
    links.redeem(link, now).await?;
    let user_agent = headers.get(USER_AGENT).and_then(|said| rules::user_agent(said.as_bytes()));
    let made = SessionCreation { entropy: &*api.entropy, now };
    let (token, _) = sessions.open_linked(address.ip().to_canonical().to_string(), user_agent, &made).await?;
    let mut home = see_other("/");
    home.headers_mut().insert(SET_COOKIE, cookie(&sessions, &token)?);
    Ok(home)
}
