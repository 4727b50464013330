//! How handlers answer.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::base::error::{Error, Result};

/// An answer of JSON. Error: `Internal`, for what is no JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let text = serde_json::to_vec(value).map_err(Error::internal)?;
    Ok((status, [(CONTENT_TYPE, const { HeaderValue::from_static("application/json") })], text).into_response())
}
