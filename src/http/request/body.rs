//! Extractors of request bodies: bounded in bytes, depth and time, and refused in our own words.

use std::fmt;

use axum::body::BodyDataStream;
use axum::extract::{FromRef, FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::error::{Error, Kind, Result};
use crate::base::limits::{BODY_BYTES_MAX, DEPTH_MAX};
use crate::document::input;
use crate::document::json::{check_text_depth, check_text_integers};
use crate::http::error::HttpError;
use crate::http::protocol_problems::{REQUEST_TIMEOUT, UNSUPPORTED_MEDIA_TYPE};
use crate::http::request::caller::CallerResolution;
use crate::http::request::headers::single;

/// The media type that most bodies have.
pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// What a body may measure. The extractors take it from the router's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    pub bytes_max: usize,
    /// Deepest nesting of its JSON.
    pub depth_max: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes_max: BODY_BYTES_MAX, depth_max: DEPTH_MAX }
    }
}

/// The error of a body that was sent too slowly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeout;

impl fmt::Display for BodyTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body did not come in time")
    }
}

impl std::error::Error for BodyTimeout {}

/// A body of `application/json`: the extractor of one that holds an object, and a response. Errors of the extractor:
/// `unsupported-media-type`, `TooLarge`, `request-timeout`, `Invalid` with the fields that do not fit.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => ([(CONTENT_TYPE, JSON)], text).into_response(),
            Err(error) => HttpError(Error::internal(error)).into_response(),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T>
where
    BodyLimits: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        let body = RawBody::read(request, BodyLimits::from_ref(state), &[JSON]).await?;
        Ok(Self(body.parse()?))
    }
}

/// A body whose handler decides by its media type, among those that it asks for with [`RawBody::one_of`].
#[derive(Clone, Debug)]
pub(crate) struct RawBody {
    /// The media type without parameters, lower-case; empty when none was given. With them when they name another
    /// charset than UTF-8, so that it is none that is taken.
    pub media_type: String,
    pub bytes: Bytes,
    depth_max: usize,
}

impl<S: Send + Sync> FromRequest<S> for RawBody
where
    BodyLimits: FromRef<S>,
{
    type Rejection = HttpError;

    async fn from_request(request: Request, state: &S) -> Result<Self, HttpError> {
        Ok(Self::read(request, BodyLimits::from_ref(state), &[]).await?)
    }
}

impl RawBody {
    /// Reads a body of one of the types in `accepted`; none there: of any type, also of none. Error, besides those of
    /// the body: `Unauthenticated` for a caller whose session ended meanwhile.
    async fn read(request: Request, limits: BodyLimits, accepted: &[&str]) -> Result<Self> {
        let (parts, body) = request.into_parts();
        let announced = usize::try_from(http_body::Body::size_hint(&body).lower()).unwrap_or(usize::MAX);
        check_coding(&parts.headers)?;
        let media_type = check_type(&parts.headers, accepted)?;
        let bytes = collect(body.into_data_stream(), announced, limits.bytes_max).await?;
        // The sender had time to lose their rights.
        if let Some(caller) = parts.extensions.get::<CallerResolution>().and_then(CallerResolution::caller) {
            caller.check_active()?;
        }
        Ok(Self { media_type, bytes, depth_max: limits.depth_max })
    }

    /// The one of `accepted` that the body has. Error: `unsupported-media-type`, naming them.
    pub(crate) fn one_of<'a>(&self, accepted: &[&'a str]) -> Result<&'a str> {
        let found = accepted.iter().find(|media_type| **media_type == self.media_type);
        found.copied().ok_or_else(|| unsupported(accepted))
    }

    /// Error: `TooLarge` for a body of more bytes than its call takes.
    pub(crate) fn check_size(&self, bytes_max: usize) -> Result<()> {
        if self.bytes.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
    }

    /// Reads the body as JSON. Errors: `TooLarge` when it nests too deep; `Invalid`.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        parse(&self.bytes, self.depth_max, "")
    }

    /// The same where what is wrong is to be told of `name`.
    pub(crate) fn parse_as<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        parse(&self.bytes, self.depth_max, name)
    }
}

/// Reads `text` as JSON that nests at most `depth_max` deep. Errors: `TooLarge`; `Invalid` with each field that does
/// not fit, or the place where it stops being JSON.
fn parse<T: DeserializeOwned>(text: &[u8], depth_max: usize, name: &str) -> Result<T> {
    let text = std::str::from_utf8(text).map_err(|_| Error::invalid_field("body", "is not UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(Error::invalid_field("body", "is empty; JSON is expected"));
    }
    check_text_depth(text.as_bytes(), depth_max)?;
    check_text_integers(text)?;
    input::from_text(text, name)
}

/// The media type of a request, which must be one of `accepted` (none there: any).
/// Errors: `Invalid` when `Content-Type` is repeated; `unsupported-media-type`, also for any charset but UTF-8.
fn check_type(headers: &HeaderMap, accepted: &[&str]) -> Result<String> {
    let value = single(headers, CONTENT_TYPE, "Content-Type")?.unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
    if !accepted.is_empty() && !accepted.contains(&media_type.as_str()) {
        return Err(unsupported(accepted));
    }
    let foreign = parts.filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let charset = value.trim().trim_matches('"');
        let utf8 = ["utf-8", "utf8"].iter().any(|known| charset.eq_ignore_ascii_case(known));
        name.trim().eq_ignore_ascii_case("charset") && !utf8
    });
    if foreign && accepted.is_empty() {
        // With its parameter it is none of the types that the handler will name.
        return Ok(value.to_ascii_lowercase());
    }
    if foreign {
        return Err(UNSUPPORTED_MEDIA_TYPE.error("bodies must be in UTF-8").with("accepted", accepted.to_vec()));
    }
    Ok(media_type)
}

/// Error: `unsupported-media-type` for a body that is compressed or otherwise encoded.
fn check_coding(headers: &HeaderMap) -> Result<()> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    if codings.all(|coding| plain(coding.trim_ascii())) {
        return Ok(());
    }
    let message = "bodies are taken as they are; send it without Content-Encoding";
    Err(UNSUPPORTED_MEDIA_TYPE.error(message).with("acceptedEncodings", vec!["identity"]))
}

fn unsupported(accepted: &[&str]) -> Error {
    let message = format!("the Content-Type must be {}", accepted.join(" or "));
    UNSUPPORTED_MEDIA_TYPE.error(message).with("accepted", accepted.to_vec())
}

/// The whole body, without a copy when it comes in one piece. Errors: `TooLarge`, before anything is read when the
/// `announced` length (else 0) says so; `request-timeout`; `Invalid` when the connection breaks off.
async fn collect(mut stream: BodyDataStream, announced: usize, bytes_max: usize) -> Result<Bytes> {
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    let (mut first, mut all, mut read) = (Bytes::new(), BytesMut::new(), 0);
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(body_error)?;
        read += piece.len();
        if read > bytes_max {
            return Err(too_large(bytes_max));
        }
        if first.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.max(read));
            all.extend_from_slice(&first);
        }
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large(bytes_max: usize) -> Error {
    Error::new(Kind::TooLarge, format!("a body has at most {bytes_max} bytes")).with("maxBytes", bytes_max)
}

/// Why a body ended early.
fn body_error(error: axum::Error) -> Error {
    if error.into_inner().is::<BodyTimeout>() {
        REQUEST_TIMEOUT.error("the request body did not come in time")
    } else {
        Error::invalid_field("body", "broke off before its end, or is not framed as HTTP wants it")
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
