//! `GET /join`: the page that the link of an invitation opens.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::RawPathParams;
use axum::response::Response;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::error::Error;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::response::openapi::{CommonProblems, IfNoneMatch, NotFoundProblems};
use crate::http::response::static_file::StaticFile;

/// Its own files and calls, and nothing else: no inline script or style, no other origin, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

type Files = Arc<BTreeMap<&'static str, StaticFile>>;

pub(super) fn router() -> OpenApiRouter<Api> {
    let files: Files = Arc::new(BTreeMap::from([
        ("", StaticFile::new("text/html; charset=utf-8", include_str!("../../../web/join/join.html"))),
        ("join.css", StaticFile::new("text/css; charset=utf-8", include_str!("../../../web/join/join.css"))),
        ("join.js", StaticFile::new("text/javascript; charset=utf-8", include_str!("../../../web/join/join.js"))),
    ]));
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(file_of_page)).layer(Extension(files))
}

fn respond(files: &Files, name: &str, headers: &HeaderMap) -> HandlerResult<Response> {
    let none = || Error::not_found("the page at /join has no such file");
    let mut response = files.get(name).ok_or_else(none)?.respond(headers);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(response)
}

/// Where an invitation leads
///
/// The page that lets people in: it reads the token from the part of its address after `#`, which no browser sends.
#[utoipa::path(
    get, path = "/join", operation_id = "joinPage", tag = "invitations",
    params(
        ("to" = Option<String>, Query, description = "The path of the page to go on to, on this server."),
        IfNoneMatch
    ),
    responses(
        (status = 200, description = "The page.", body = String, content_type = "text/html"),
        (status = 304, description = "It is the one that the caller has."),
        CommonProblems,
    ),
)]
async fn page(Extension(files): Extension<Files>, headers: HeaderMap) -> HandlerResult<Response> {
    respond(&files, "", &headers)
}

/// A file of that page
#[utoipa::path(
    get, path = "/join/{file}", operation_id = "joinPageFile", tag = "invitations",
    params(("file" = String, Path, description = "`join.css` or `join.js`.", example = "join.js"), IfNoneMatch),
    responses(
        (status = 200, description = "The file.", body = String, content_type = "text/plain"),
        (status = 304, description = "It is the one that the caller has."),
        NotFoundProblems,
    ),
)]
async fn file_of_page(
    Extension(files): Extension<Files>,
    names: RawPathParams,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let name = names.iter().next().map(|(_, name)| name).filter(|name| !name.is_empty()).unwrap_or("none");
    respond(&files, name, &headers)
}
