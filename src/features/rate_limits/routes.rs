//! `/api/v1/admin/rate-limits/…`: what administrators can see and say about limits.

use std::sync::Arc;

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION};
use http::request::Parts;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use super::service::RateLimits;
use crate::base::error::{Error, Kind as K, Result};
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::idempotency::respond;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::store::IdempotentAnswer;

mod configs;
mod metrics;
mod rules;

/// The calls about limits.
pub(crate) fn router(limits: Arc<RateLimits>) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(configs::router())
        .merge(rules::router())
        .merge(metrics::router())
        .layer(Extension(limits))
}

const ACCESS: &[K] = &[K::Unauthenticated];
const STORED: &[K] = &[K::StorageUnavailable];

problems! {
    /// Of reading.
    SeeProblems: ACCESS;
    /// Of reading one.
    FindProblems: ACCESS, &[K::NotFound];
    /// Of making one.
    MakeProblems: ACCESS, BODY, STORED, &[K::AlreadyExists, K::IdempotencyMismatch];
    /// Of changing one that is there.
    ChangeProblems: ACCESS, BODY, STORED, &[K::NotFound, K::AlreadyExists];
    /// Of making or changing one.
    PutProblems: ACCESS, BODY, STORED;
    /// Of taking one away.
    DropProblems: ACCESS, STORED, &[K::NotFound];
}

/// The limits, for administrators alone. This extractor comes first, so that nothing else of a request is looked at.
/// Errors: `Unauthenticated`, `Forbidden`.
pub(super) struct AdministeredLimits(pub Arc<RateLimits>);

impl<S: Send + Sync> FromRequestParts<S> for AdministeredLimits {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Caller::from_request_parts(parts, state).await?.require_administrator()?;
        let Extension(limits) = Extension::from_request_parts(parts, state).await.map_err(Error::internal)?;
        Ok(Self(limits))
    }
}

/// The answer to having made something, now or before, which says where it is: below `place`, by its member `name`.
pub(super) fn created(answered: IdempotentAnswer, place: &str, name: &str) -> Result<Response> {
    let said: Value = serde_json::from_slice(&answered.answer).map_err(Error::internal)?;
    let body = said.get("body").and_then(Value::as_str).unwrap_or_default();
    let made: Value = serde_json::from_str(body).map_err(Error::internal)?;
    let location = format!("{place}/{}", made.get(name).and_then(Value::as_str).unwrap_or_default());
    let mut response = respond(answered)?;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).map_err(Error::internal)?);
    Ok(response)
}
