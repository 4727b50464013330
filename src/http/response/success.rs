//! The statuses of requests that got what they asked for. Those of failures are with their
//! [problem types](super::problem_types).

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::LOCATION;

/// How a request went that did what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    /// 200.
    Done,
    /// 201.
    Created,
    /// 202: it is not finished: storage fails, or it takes a while.
    Accepted,
    /// 204: done, and the answer has no body.
    NoContent,
}

impl Success {
    /// For what makes a thing or changes the one that is there.
    pub(crate) const fn created_if(new: bool) -> Self {
        if new { Self::Created } else { Self::Done }
    }

    /// For what may go on after the answer.
    pub(crate) const fn accepted_unless(finished: bool) -> Self {
        if finished { Self::Done } else { Self::Accepted }
    }

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Done => StatusCode::OK,
            Self::Created => StatusCode::CREATED,
            Self::Accepted => StatusCode::ACCEPTED,
            Self::NoContent => StatusCode::NO_CONTENT,
        }
    }
}

/// 204.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// 304: the caller has it already. Its headers are the handler's to add.
pub(crate) fn not_modified() -> Response {
    StatusCode::NOT_MODIFIED.into_response()
}

/// 303: the caller is to GET the page at `path`.
pub(crate) fn see_other(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

/// 308: what was asked for is at `path`.
pub(crate) fn permanent_redirect(path: &'static str) -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, path)]).into_response()
}
