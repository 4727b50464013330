//! `GET /join`: the page that the link of an invitation opens.

use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use http::HeaderMap;
use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::response::openapi::{CommonProblems, IfNoneMatch};
use crate::http::response::static_file::StaticFile;

/// Its own files and calls, and nothing else: no inline script or style, no other origin, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The three files of the page.
struct PageFiles {
    page: StaticFile,
    script: StaticFile,
    styles: StaticFile,
}

pub(super) fn router() -> OpenApiRouter<Api> {
    let files = PageFiles {
        page: StaticFile::new("text/html; charset=utf-8", include_str!("../../../web/join/join.html")),
        script: StaticFile::new("text/javascript; charset=utf-8", include_str!("../../../web/join/join.js")),
        styles: StaticFile::new("text/css; charset=utf-8", include_str!("../../../web/join/join.css")),
    };
    let router = OpenApiRouter::new().routes(routes!(page)).routes(routes!(script)).routes(routes!(styles));
    router.layer(Extension(Arc::new(files)))
}

fn respond(file: &StaticFile, headers: &HeaderMap) -> HandlerResult<Response> {
    let mut response = file.respond(headers)?;
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
async fn page(Extension(files): Extension<Arc<PageFiles>>, headers: HeaderMap) -> HandlerResult<Response> {
    respond(&files.page, &headers)
}

/// The script of that page
#[utoipa::path(
    get, path = "/join/join.js", operation_id = "joinScript", tag = "invitations",
    params(IfNoneMatch),
    responses(
        (status = 200, description = "The script.", body = String, content_type = "text/javascript"),
        (status = 304, description = "It is the one that the caller has."),
        CommonProblems,
    ),
)]
async fn script(Extension(files): Extension<Arc<PageFiles>>, headers: HeaderMap) -> HandlerResult<Response> {
    respond(&files.script, &headers)
}

/// The styles of that page
#[utoipa::path(
    get, path = "/join/join.css", operation_id = "joinStyles", tag = "invitations",
    params(IfNoneMatch),
    responses(
        (status = 200, description = "The styles.", body = String, content_type = "text/css"),
        (status = 304, description = "It is the one that the caller has."),
        CommonProblems,
    ),
)]
async fn styles(Extension(files): Extension<Arc<PageFiles>>, headers: HeaderMap) -> HandlerResult<Response> {
    respond(&files.styles, &headers)
}
