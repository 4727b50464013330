//! The parameters in a request's path.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentName};
use crate::http::error::HttpError;

/// The extractor of `{collection}`. Error: `Invalid`.
#[derive(Clone, Debug)]
pub(crate) struct CollectionPath(pub Collection);

/// The extractor of `{collection}` and `{id}`. Error: `Invalid`.
#[derive(Clone, Debug)]
pub(crate) struct DocumentPath(pub DocumentName);

impl<S: Send + Sync> FromRequestParts<S> for CollectionPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let parameters = parameters(parts, state).await?;
        Ok(Self(Collection::new(parameter(&parameters, "collection")?).map_err(|e| named("collection", &e))?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DocumentPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let parameters = parameters(parts, state).await?;
        let collection = Collection::new(parameter(&parameters, "collection")?).map_err(|e| named("collection", &e))?;
        let id = crate::base::ids::DocumentId::new(parameter(&parameters, "id")?).map_err(|e| named("id", &e))?;
        Ok(Self(DocumentName { collection, id }))
    }
}

async fn parameters<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams> {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    parameters.map_err(|_| Error::invalid_field("path", "is not percent-encoded UTF-8"))
}

fn parameter<'a>(parameters: &'a RawPathParams, name: &str) -> Result<&'a str> {
    let found = parameters.iter().find(|(candidate, _)| *candidate == name);
    found.map(|(_, value)| value).ok_or_else(|| Error::internal(format_args!("the route has no {{{name}}}")))
}

fn named(field: &str, error: &Error) -> Error {
    Error::invalid_field(field, error.message())
}
