//! Answers that are the same as long as the server runs, told apart by a digest.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use sha2::{Digest, Sha256};

use crate::base::error::{Error, Result};
use crate::http::request::preconditions::is_same_file;

/// A body that never changes, and its tag.
#[derive(Clone, Debug)]
pub(crate) struct StaticFile {
    content_type: &'static str,
    body: Bytes,
    /// Without its quotes.
    tag: String,
}

impl StaticFile {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = HEXLOWER.encode(&Sha256::digest(&body));
        let tag = digest.get(..16).unwrap_or_default().to_owned();
        Self { content_type, body, tag }
    }

    /// The body, or 304 for a caller who has it already. Errors: `Invalid`, `PreconditionFailed`.
    pub(crate) fn respond(&self, headers: &HeaderMap) -> Result<Response> {
        let known = is_same_file(headers, &self.tag)?;
        let tag = HeaderValue::try_from(format!("\"{}\"", self.tag)).map_err(Error::internal)?;
        let shared = [(ETAG, tag), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if known {
            return Ok((StatusCode::NOT_MODIFIED, shared).into_response());
        }
        Ok((shared, [(CONTENT_TYPE, self.content_type)], self.body.clone()).into_response())
    }
}
