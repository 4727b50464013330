//! How handlers answer.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use super::success::Success;
use crate::base::error::{Error, Result};

/// An answer of JSON. Error: `Internal`, for what is no JSON.
pub(crate) fn json(success: Success, value: &impl Serialize) -> Result<Response> {
    with_status(success.status(), value)
}

/// 503 with a report in place of a problem: the server takes no requests, which is what was asked.
pub(crate) fn not_ready(report: &impl Serialize) -> Result<Response> {
    with_status(StatusCode::SERVICE_UNAVAILABLE, report)
}

fn with_status(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let text = serde_json::to_vec(value).map_err(Error::internal)?;
    Ok((status, [(CONTENT_TYPE, const { HeaderValue::from_static("application/json") })], text).into_response())
}
