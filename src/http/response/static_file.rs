//! Answers that are the same as long as the server runs, told apart by a digest.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use sha2::{Digest, Sha256};

/// A body that never changes, and its tag.
#[derive(Clone, Debug)]
pub(crate) struct StaticFile {
    content_type: &'static str,
    body: Bytes,
    tag: HeaderValue,
}

impl StaticFile {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = HEXLOWER.encode(&Sha256::digest(&body));
        let tag = format!("\"{}\"", digest.get(..16).unwrap_or_default());
        // Digits in quotes are a header's value.
        let tag = HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { content_type, body, tag }
    }

    /// The body, or 304 for a caller who has it already.
    pub(crate) fn respond(&self, headers: &HeaderMap) -> Response {
        let shared = [(ETAG, self.tag.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, shared).into_response();
        }
        (shared, [(CONTENT_TYPE, self.content_type)], self.body.clone()).into_response()
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = values.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == "*" || self.tag == tag)
    }
}
