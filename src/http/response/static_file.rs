//! Answers that are the same as long as the server runs, told apart by a digest.

use std::io::Write as _;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY};
use sha2::{Digest, Sha256};

use crate::base::error::{Error, Result};
use crate::http::request::headers::takes_gzip;
use crate::http::request::preconditions::is_same_file;

/// A body that never changes, and its tag.
#[derive(Clone, Debug)]
pub(crate) struct StaticFile {
    content_type: &'static str,
    body: Bytes,
    /// Without its quotes.
    tag: String,
    /// The same, compressed, for those who take it.
    gzip: Option<Bytes>,
}

impl StaticFile {
    pub(crate) fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = HEXLOWER.encode(&Sha256::digest(&body));
        let tag = digest.get(..16).unwrap_or_default().to_owned();
        Self { content_type, body, tag, gzip: None }
    }

    /// One that is sent compressed to those who take gzip.
    pub(crate) fn compressed(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let plain = Self::new(content_type, body);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; what could not be compressed is sent as it is.
        let gzip = encoder.write_all(&plain.body).and_then(|()| encoder.finish()).ok().map(Bytes::from);
        Self { gzip, ..plain }
    }

    /// The body, or 304 for a caller who has it already. Errors: `Invalid`, `PreconditionFailed`.
    pub(crate) fn respond(&self, headers: &HeaderMap) -> Result<Response> {
        let gzip = self.gzip.as_ref().filter(|_| takes_gzip(headers));
        // Two codings of one file are two bodies.
        let tag = if gzip.is_some() { format!("{}-gzip", self.tag) } else { self.tag.clone() };
        let known = is_same_file(headers, &tag)?;
        let tag = HeaderValue::try_from(format!("\"{tag}\"")).map_err(Error::internal)?;
        let mut shared = HeaderMap::new();
        shared.insert(ETAG, tag);
        shared.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.gzip.is_some() {
            shared.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if known {
            return Ok((StatusCode::NOT_MODIFIED, shared).into_response());
        }
        shared.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if gzip.is_some() {
            shared.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok((shared, gzip.unwrap_or(&self.body).clone()).into_response())
    }
}
