//! Renders errors as RFC 9457 problems.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::base::error::{Error, Kind};
use crate::http::error::HttpError;
use crate::http::protocol_problems::UNSUPPORTED_MEDIA_TYPE;
use crate::http::response::problem_types;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";
/// What `Retry-After` says when the failure itself does not know better: storage is tried again about that often.
const RETRY_AFTER_SECONDS: u64 = 5;
/// The same for a game that is on its way: that takes a moment.
const FROZEN_RETRY_AFTER_SECONDS: u64 = 1;
/// The members that a failure's details may not replace.
const RESERVED: [&str; 5] = ["type", "title", "status", "detail", "instance"];

/// The body of a problem.
#[derive(Serialize)]
struct ProblemBody<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    details: &'a Map<String, Value>,
}

/// The cause of a 5xx, attached to its response so that the middleware logs its source once.
#[derive(Clone, Debug)]
pub(crate) struct UnloggedCause(pub(crate) Arc<Error>);

/// A `Moved` error without a `location`, attached to its response: the middleware knows the request's target and adds
/// it.
#[derive(Clone, Debug)]
pub(crate) struct PendingRedirect(pub(crate) Arc<Error>);

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = render(&self.0, None);
        if self.0.kind() == Kind::Moved && !response.headers().contains_key(LOCATION) {
            response.extensions_mut().insert(PendingRedirect(Arc::new(self.0)));
            return response;
        }
        if response.status().is_server_error() {
            response.extensions_mut().insert(UnloggedCause(Arc::new(self.0)));
        }
        response
    }
}

/// The response that tells `error`, with the id of the request where the caller can do nothing but quote it.
pub(crate) fn render(error: &Error, request_id: Option<&str>) -> Response {
    let problem_type = problem_types::of(error);
    let status = problem_types::status(problem_type);
    let mut details = error.details().clone();
    RESERVED.iter().for_each(|name| drop(details.remove(*name)));
    let retry_after = retry_after(error);
    if let Some(seconds) = retry_after {
        details.insert("retryAfterSeconds".to_owned(), seconds.into());
    }
    if let Some(id) = request_id {
        details.insert("requestId".to_owned(), id.into());
    }
    let problem = ProblemBody {
        kind: problem_types::path(problem_type),
        title: problem_type.title,
        status: status.as_u16(),
        detail: error.message(),
        details: &details,
    };
    // Strings, numbers and JSON trees under string keys always serialise.
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if error.kind() == Kind::Unauthenticated {
        // RFC 9110 wants it said how one shows who one is. No browser asks its user for anything on this one.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"rejoin\""));
    }
    if error.kind() == Kind::Moved
        && let Some(Ok(place)) = error.details().get("location").and_then(Value::as_str).map(HeaderValue::from_str)
    {
        headers.insert(LOCATION, place);
    }
    if problem_type == &UNSUPPORTED_MEDIA_TYPE {
        name_accepted(error, headers);
        if error.details().contains_key("acceptedEncodings") {
            // RFC 9110 §12.5.3: what would be taken.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }
    response
}

/// In how many seconds it is worth trying again, for what waiting may help.
fn retry_after(error: &Error) -> Option<u64> {
    let said = error.details().get("retryAfterSeconds").and_then(Value::as_u64);
    match error.kind() {
        Kind::StorageUnavailable | Kind::StorageFull | Kind::IdentityUnavailable | Kind::TooManyStreams => {
            Some(said.unwrap_or(RETRY_AFTER_SECONDS))
        }
        Kind::Frozen => Some(said.unwrap_or(FROZEN_RETRY_AFTER_SECONDS)),
        _ => said,
    }
}

/// Says in headers which types are taken: `Accept` as RFC 9110 has it for 415, and the older `Accept-Post` or
/// `Accept-Patch`.
fn name_accepted(error: &Error, headers: &mut HeaderMap) {
    let accepted = error.details().get("accepted").and_then(Value::as_array);
    let types: Vec<&str> = accepted.into_iter().flatten().filter_map(Value::as_str).collect();
    if types.is_empty() {
        return;
    }
    let Ok(value) = HeaderValue::from_str(&types.join(", ")) else { return };
    let patches = types.iter().any(|media_type| media_type.contains("patch"));
    let older = if patches { "accept-patch" } else { "accept-post" };
    headers.insert(HeaderName::from_static(older), value.clone());
    headers.insert(ACCEPT, value);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
    use http::StatusCode;

    use super::*;
    use crate::base::error::ProblemType;

    static SEAT_TAKEN: ProblemType = ProblemType {
        slug: "seat-taken",
        kind: Kind::AlreadyExists,
        title: "This seat is taken",
        meaning: "",
        remedy: "",
    };

    async fn rendered(error: Error) -> (http::response::Parts, Value) {
        let (parts, body) = HttpError(error).into_response().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_problem_has_its_members_and_those_that_help() {
        let error = Error::new(Kind::VersionConflict, "not at version 3").with("currentVersion", 4).with("status", 1);
        let (parts, body) = rendered(error).await;
        assert_eq!(parts.headers[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/problems/version-conflict", "title": "Someone else was faster", "status": 409,
                "detail": "not at version 3", "currentVersion": 4
            })
        );
        let (parts, body) = rendered(Error::new(Kind::PreconditionFailed, "not at version 3")).await;
        assert_eq!((parts.status.as_u16(), &body["type"]), (412, &"/problems/version-conflict".into()));
    }

    #[tokio::test]
    async fn a_problem_with_a_name_of_its_own_keeps_the_status_of_its_kind() {
        let (parts, body) = rendered(SEAT_TAKEN.error("seat 3 is bob's")).await;
        assert_eq!(parts.status, StatusCode::CONFLICT);
        assert_eq!((&body["type"], &body["title"]), (&"/problems/seat-taken".into(), &"This seat is taken".into()));
        assert_eq!((&body["status"], &body["detail"]), (&409.into(), &"seat 3 is bob's".into()));
    }

    #[tokio::test]
    async fn an_internal_failure_tells_nothing_of_its_source() {
        let (parts, body) = rendered(Error::internal("disk sda1 is on fire")).await;
        assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("sda1"));
        assert!(parts.extensions.get::<UnloggedCause>().unwrap().0.to_string().contains("sda1"));
    }

    #[tokio::test]
    async fn storage_failures_say_when_to_come_back() {
        let (parts, body) = rendered(Error::new(Kind::StorageFull, "full").with("retryAfterSeconds", 9)).await;
        assert_eq!((parts.status.as_u16(), &parts.headers[RETRY_AFTER]), (507, &HeaderValue::from_static("9")));
        assert_eq!(body["retryAfterSeconds"], 9);
        let (parts, body) = rendered(Error::new(Kind::StorageUnavailable, "away")).await;
        assert_eq!((parts.status.as_u16(), &parts.headers[RETRY_AFTER]), (503, &HeaderValue::from_static("5")));
        assert_eq!(body["retryAfterSeconds"], 5);
    }
}
