//! What pages of allowed origins are told, as the Fetch standard has it (CORS). Pure.
//!
//! tower-http's layer is not used: it takes every `OPTIONS` for a preflight, and the list of origins must be the one by
//! which the check before refuses all others.

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, VARY,
};
use http::{Method, StatusCode};

/// What scripts may read of an answer besides what the standard lets them.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "ETag, Rejoin-Position, RateLimit, RateLimit-Policy, Retry-After, Location, Idempotency-Replayed, Server-Timing",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// Seconds for which a browser need not ask again; the longest that Chromium keeps. Each request is checked all the
/// same.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Whether a browser asks what a page of another origin may send.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of an allowed origin, but for [`add_headers`]. Any header may be sent: with credentials
/// `*` means no header, so those that were asked for are said.
pub(crate) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let said = response.headers_mut();
    said.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    said.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    for asked in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        said.append(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    said.insert(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    response
}

/// Lets a page of `origin`, which is allowed, read the answer; `None`: the request is from no such page. Where some
/// origins are allowed every answer depends on it.
pub(crate) fn add_headers(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
