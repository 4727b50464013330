//! Idempotency of every call that takes an `Idempotency-Key`. [`IdempotentRequest`] extracts caller, body and key;
//! [`IdempotentCall`] runs a write of rows once per key. Changes of documents go through the engine, which keeps the
//! response with the change: they use [`request_key`] and [`StoredResponse`] as everybody does.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::document::chain::Hash;
use crate::document::model::Meta;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::headers::{IDEMPOTENCY_REPLAYED, PREFERENCE_APPLIED, REJOIN_POSITION, idempotency_key};
use crate::http::response::openapi;
use crate::http::response::success::Success;
use crate::store::{Connection, IdempotencyKey, IdempotentAnswer, run_once};

/// Extracts caller, body and `Idempotency-Key`. Errors: those of a body, and `Invalid` for a malformed key.
#[derive(Debug)]
pub(crate) struct IdempotentRequest {
    pub caller: Caller,
    pub body: RawBody,
    key: Option<IdempotencyKey>,
}

impl FromRequest<Api> for IdempotentRequest {
    type Rejection = HttpError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, HttpError> {
        let (mut parts, body) = request.into_parts();
        let caller = Caller::from_request_parts(&mut parts, api).await?;
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        let (method, path, headers) = (parts.method.clone(), uri.path().to_owned(), parts.headers.clone());
        idempotency_key(&headers)?;
        let body = RawBody::from_request(Request::from_parts(parts, body), api).await?;
        let key = request_key(&headers, &caller.viewer, (&method, &path), &body)?;
        Ok(Self { caller, body, key })
    }
}

impl IntoParams for IdempotentRequest {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![openapi::idempotency_key()]
    }
}

/// The `Idempotency-Key` of a request, scoped to who sends it, with a digest of method, path, media type and body.
/// Error: `Invalid` for a malformed key.
pub(crate) fn request_key(
    headers: &HeaderMap,
    viewer: &Viewer,
    (method, path): (&Method, &str),
    body: &RawBody,
) -> Result<Option<IdempotencyKey>> {
    let Some(key) = idempotency_key(headers)? else { return Ok(None) };
    let parts = [method.as_str(), path, &body.media_type];
    let fingerprint = parts.iter().fold(Hash::ZERO, |hash, part| hash.after(part.as_bytes())).after(&body.bytes);
    Ok(Some(IdempotencyKey { scope: viewer.scope().to_owned(), key, fingerprint, document: None }))
}

impl IdempotentRequest {
    /// The body as a JSON object. Errors: `unsupported-media-type`, `Invalid`, `TooLarge`.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T> {
        self.body.one_of(&[JSON])?;
        self.body.parse()
    }

    /// [`Self::object`], or `None` without a body and media type.
    pub(crate) fn optional_object<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if self.body.bytes.is_empty() && self.body.media_type.is_empty() {
            return Ok(None);
        }
        self.body.one_of(&[JSON])?;
        if self.body.bytes.is_empty() { Ok(None) } else { self.body.parse().map(Some) }
    }

    /// The stored response to the same request, if there is one. Handlers look it up first, since what the request is
    /// about may be gone by now; [`IdempotentCall::run`] looks again. Errors: `IdempotencyMismatch`;
    /// `StorageUnavailable`.
    pub(crate) async fn stored_response(&self, api: &Api) -> Result<Option<Response>> {
        let Some(key) = self.key.clone() else { return Ok(None) };
        let known = match api.memory.read(|conn| key.find(conn))? {
            Some(known) => Some(known),
            None => api.reads.read(move |reader| reader.rows(|conn| key.find(conn))).await?,
        };
        known.map(respond).transpose()
    }

    /// The key, for a handler that stores the response itself.
    pub(crate) fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// A write that runs once per key. `render` makes the response; it is called within the transaction.
    pub(crate) fn call<T>(
        &self,
        render: impl FnOnce(&T) -> Result<StoredResponse> + Send + 'static,
    ) -> IdempotentCall<T> {
        IdempotentCall { key: self.key.clone(), render: Box::new(render) }
    }
}

type RenderStored<T> = Box<dyn FnOnce(&T) -> Result<StoredResponse> + Send>;

/// A write that runs once per key.
pub(crate) struct IdempotentCall<T> {
    key: Option<IdempotencyKey>,
    render: RenderStored<T>,
}

impl<T> IdempotentCall<T> {
    /// Ties the stored response to a document: it goes with the document to another server.
    #[must_use]
    pub(crate) fn of(mut self, meta: &Meta) -> Self {
        if let Some(key) = &mut self.key {
            key.document = (!meta.volatile).then_some(meta.key);
        }
        self
    }

    /// Runs `write` within the transaction of `conn`, unless it has run under this key. Returns the response, and the
    /// value of `write` if it ran. Errors: `IdempotencyMismatch`; those of `write`.
    pub(crate) fn run(
        self,
        conn: &Connection,
        now: Timestamp,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T>,
    ) -> Result<(IdempotentAnswer, Option<T>)> {
        let (render, mut done) = (self.render, None);
        let answered =
            run_once(self.key.as_ref(), conn, now, |conn, now| (render)(done.insert(write(conn, now)?))?.to_bytes())?;
        Ok((answered, done))
    }

    #[cfg(test)]
    pub(crate) fn unkeyed(render: impl FnOnce(&T) -> Result<StoredResponse> + Send + 'static) -> Self {
        Self { key: None, render: Box::new(render) }
    }

    /// Whether the response will be stored.
    pub(crate) fn is_keyed(&self) -> bool {
        self.key.is_some()
    }
}

/// A response as it is stored under its key: status, the headers that repeat with it, and JSON or nothing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StoredResponse {
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// `Rejoin-Position`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Whether `Prefer: return=minimal` was applied.
    #[serde(default)]
    pub minimal: bool,
    pub body: String,
}

impl StoredResponse {
    pub(crate) fn json(success: Success, value: &impl Serialize) -> Result<Self> {
        serde_json::to_vec(value).map_err(Error::internal).and_then(|body| Self::from_json(success, body))
    }

    /// `body` is JSON already, or empty.
    pub(crate) fn from_json(success: Success, body: impl Into<Vec<u8>>) -> Result<Self> {
        let body = String::from_utf8(body.into()).map_err(Error::internal)?;
        Ok(Self { status: success.status().as_u16(), body, ..Self::default() })
    }

    /// The same for who is to have the headers alone.
    pub(crate) fn without_body(self) -> Self {
        Self { status: Success::NoContent.status().as_u16(), minimal: true, body: String::new(), ..self }
    }

    /// As it is stored.
    pub(crate) fn to_bytes(&self) -> Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from).map_err(Error::internal)
    }

    /// `replayed`: it was given before, which `Idempotency-Replayed` tells.
    pub(crate) fn into_response(self, replayed: bool) -> Result<Response> {
        let json = if self.body.is_empty() { None } else { Some(JSON.to_owned()) };
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).map_err(Error::internal)?;
        let headers = [
            (CONTENT_TYPE, json),
            (REJOIN_POSITION, self.position),
            (ETAG, self.etag),
            (LOCATION, self.location),
            (PREFERENCE_APPLIED, self.minimal.then(|| "return=minimal".to_owned())),
            (IDEMPOTENCY_REPLAYED, replayed.then(|| "true".to_owned())),
        ];
        for (name, text) in headers {
            if let Some(text) = text {
                response.headers_mut().insert(name, HeaderValue::try_from(text).map_err(Error::internal)?);
            }
        }
        Ok(response)
    }
}

pub(crate) fn respond(answered: IdempotentAnswer) -> Result<Response> {
    let stored: StoredResponse = serde_json::from_slice(&answered.answer).map_err(Error::internal)?;
    stored.into_response(answered.replayed)
}
