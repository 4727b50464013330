//! Idempotency for features that write rows of their own: [`IdempotentRequest`] extracts caller, body and key,
//! [`IdempotentCall`] runs the write once per key, [`respond`] renders its stored response.

use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Result};
use crate::document::chain::Hash;
use crate::document::model::Meta;
use crate::http::api::Api;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::headers::{IDEMPOTENCY_REPLAYED, idempotency_key};
use crate::http::response::problem::HttpError;
use crate::store::{Connection, IdempotencyKey, IdempotentAnswer, once};

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
        let key = idempotency_key(&parts.headers)?;
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        let (method, path) = (parts.method.clone(), uri.path().to_owned());
        let body = RawBody::from_request(Request::from_parts(parts, body), api).await?;
        let key = key.map(|key| IdempotencyKey {
            scope: caller.viewer.scope().to_owned(),
            key,
            fingerprint: fingerprint(method.as_str(), &path, &body),
            document: None,
        });
        Ok(Self { caller, body, key })
    }
}

/// A digest of method, path, media type and body.
pub(crate) fn fingerprint(method: &str, path: &str, body: &RawBody) -> Hash {
    let parts = [method, path, &body.media_type];
    parts.iter().fold(Hash::ZERO, |hash, part| hash.after(part.as_bytes())).after(&body.bytes)
}

impl IdempotentRequest {
    /// The body as a JSON object. Errors: `UnsupportedMediaType`, `Invalid`, `TooLarge`.
    pub(crate) fn object<T: DeserializeOwned>(&self) -> Result<T> {
        self.body.one_of(&[JSON])?;
        self.body.parse()
    }

    /// The same where nothing may be sent as well; `None` then.
    pub(crate) fn optional_object<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        if self.body.bytes.is_empty() && self.body.media_type.is_empty() {
            return Ok(None);
        }
        self.body.one_of(&[JSON])?;
        if self.body.bytes.is_empty() { Ok(None) } else { self.body.parse().map(Some) }
    }

    /// The answer that the same call was given before, if it was. To be asked for first, since what the call is about
    /// may be gone by now; [`IdempotentCall::run`] asks again. Errors: `IdempotencyMismatch`; `StorageUnavailable`.
    pub(crate) async fn stored_response(&self, api: &Api) -> Result<Option<Response>> {
        let Some(key) = self.key.clone() else { return Ok(None) };
        let known = match api.memory.read(|conn| key.find(conn))? {
            Some(known) => Some(known),
            None => api.reads.ask(move |reader| reader.rows(|conn| key.find(conn))).await?,
        };
        known.map(respond).transpose()
    }

    /// The key that it came with, for a call that keeps its answer by itself.
    pub(crate) fn key(&self) -> Option<&IdempotencyKey> {
        self.key.as_ref()
    }

    /// The way to do it once. `render` makes the answer of what was done; it is called within the transaction.
    pub(crate) fn once<T>(
        &self,
        render: impl FnOnce(&T) -> Result<StoredResponse> + Send + 'static,
    ) -> IdempotentCall<T> {
        IdempotentCall { key: self.key.clone(), render: Box::new(render) }
    }
}

/// Makes the answer of what was done.
type Render<T> = Box<dyn FnOnce(&T) -> Result<StoredResponse> + Send>;

/// A call that is to be done once.
pub(crate) struct IdempotentCall<T> {
    key: Option<IdempotencyKey>,
    render: Render<T>,
}

impl<T> IdempotentCall<T> {
    /// The same for what belongs to a document: when that is moved to another server, the answer goes along.
    #[must_use]
    pub(crate) fn of(mut self, meta: &Meta) -> Self {
        if let Some(key) = &mut self.key {
            key.document = (!meta.volatile).then_some(meta.key);
        }
        self
    }

    /// Does `write`, unless it was done before; within the transaction that `conn` is in. Returns the answer, and what
    /// `write` did, if it was called. Errors: `IdempotencyMismatch`; those of `write`.
    pub(crate) fn run(
        self,
        conn: &Connection,
        now: Timestamp,
        write: impl FnOnce(&Connection, Timestamp) -> Result<T>,
    ) -> Result<(IdempotentAnswer, Option<T>)> {
        let (render, mut done) = (self.render, None);
        let answered = once(self.key.as_ref(), conn, now, |conn, now| {
            let said = (render)(done.insert(write(conn, now)?))?;
            serde_json::to_vec(&said).map(Bytes::from).map_err(Error::internal)
        })?;
        Ok((answered, done))
    }

    /// One without a key: done as often as it is called.
    #[cfg(test)]
    pub(crate) fn unkeyed(render: impl FnOnce(&T) -> Result<StoredResponse> + Send + 'static) -> Self {
        Self { key: None, render: Box::new(render) }
    }

    /// Whether an answer is to be kept.
    pub(crate) fn is_keyed(&self) -> bool {
        self.key.is_some()
    }
}

/// A response as it is stored under its key: status and JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredResponse {
    status: u16,
    body: String,
}

impl StoredResponse {
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(value).map_err(Error::internal)?;
        Ok(Self { status: status.as_u16(), body })
    }
}

pub(crate) fn respond(answered: IdempotentAnswer) -> Result<Response> {
    let StoredResponse { status, body } = serde_json::from_slice(&answered.answer).map_err(Error::internal)?;
    let status = StatusCode::from_u16(status).map_err(Error::internal)?;
    let mut response = (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
    if answered.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
