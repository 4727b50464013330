//! A write as it was sent: what every call that changes something brings along.

use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Request as HttpRequest};
use axum::response::Response;
use http::{HeaderMap, Method};
use serde::de::DeserializeOwned;

use super::writes::{ResponseContent, ResponseStyle, write};
use crate::base::error::{Error, Result, both};
use crate::base::ids::DocumentName;
use crate::document::decide::{Expected, Request};
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::{HandlerResult, HttpError};
use crate::http::idempotency::request_key;
use crate::http::providers::DeletionRequest;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::headers::{self, Return};

/// The extractor of a write. Errors: those of a body, of the headers, and `Invalid` for a query: whoever sends
/// `?expectedVersion=3` relies on what would not be looked at.
pub(super) struct WriteRequest {
    viewer: Viewer,
    /// Whether the caller is an administrator.
    pub administrator: bool,
    method: Method,
    path: String,
    pub headers: HeaderMap,
    /// What was sent; empty for a DELETE.
    pub body: RawBody,
}

impl FromRequest<Api> for WriteRequest {
    type Rejection = HttpError;

    async fn from_request(request: HttpRequest, api: &Api) -> Result<Self, HttpError> {
        let (mut parts, body) = request.into_parts();
        let Caller { viewer, administrator, .. } = Caller::from_request_parts(&mut parts, api).await?;
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        if uri.query().is_some_and(|query| !query.is_empty()) {
            let message = "has no meaning for a write; conditions go into headers or body";
            return Err(Error::invalid_field("query", message).into());
        }
        let (method, path, headers) = (parts.method.clone(), uri.path().to_owned(), parts.headers.clone());
        let body = RawBody::from_request(HttpRequest::from_parts(parts, body), api).await?;
        Ok(Self { viewer, administrator, method, path, headers, body })
    }
}

impl WriteRequest {
    /// The body as a JSON object, and the conditions in the headers. Errors: `unsupported-media-type`, `TooLarge`,
    /// `Invalid` with all that is wrong with either.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Result<(T, Expected)> {
        self.body.one_of(&[JSON])?;
        self.with_conditions(self.body.parse())
    }

    /// What was read from the body, and the conditions in the headers. Errors: those of `read`, `Invalid`.
    pub(super) fn with_conditions<T>(&self, read: Result<T>) -> Result<(T, Expected)> {
        let (if_match, if_none_match) = (headers::if_match(&self.headers), headers::if_none_match(&self.headers));
        let key = headers::idempotency_key(&self.headers);
        let (((read, if_match), if_none_match), _) = both(both(both(read, if_match), if_none_match), key)?;
        Ok((read, Expected { if_match, if_none_match, version: None }))
    }

    /// The request as one to delete a document. Error: `Invalid` for a malformed key.
    pub(super) fn deletion(self, name: DocumentName, expected: Expected) -> Result<DeletionRequest> {
        let key = request_key(&self.headers, &self.viewer, (&self.method, &self.path), &self.body)?;
        Ok(DeletionRequest { name, viewer: self.viewer, expected, key })
    }

    /// Makes the changes and answers.
    pub(super) async fn execute(
        self,
        api: &Api,
        requests: Vec<Request>,
        shows: ResponseContent,
    ) -> HandlerResult<Response> {
        let key = request_key(&self.headers, &self.viewer, (&self.method, &self.path), &self.body)?;
        let minimal = headers::prefer_return(&self.headers) == Some(Return::Minimal);
        Ok(write(api, ResponseStyle { viewer: self.viewer, shows, minimal }, key, requests).await?)
    }
}
