//! The parameters in a request's path.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName};
use crate::http::error::HttpError;

/// The extractor of `{collection}`. Error: `Invalid`.
#[derive(Clone, Debug)]
pub(crate) struct CollectionPath(pub Collection);

/// The extractor of `{collection}` and `{id}`. Error: `Invalid`.
#[derive(Clone, Debug)]
pub(crate) struct DocumentPath(pub DocumentName);

/// The extractor of the only parameter of a path, as text.
#[derive(Clone, Debug)]
pub(crate) struct PathParameter(pub String);

impl<S: Send + Sync> FromRequestParts<S> for CollectionPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        Ok(Self(parse(parts, state, &["collection"], Collection::new).await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for DocumentPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let collection = parse(parts, state, &["collection"], Collection::new).await?;
        let id = parse(parts, state, &["id"], DocumentId::new).await?;
        Ok(Self(DocumentName { collection, id }))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let parameters = parameters(parts, state).await?;
        let value = parameters.iter().next().map(|(_, value)| value.to_owned());
        Ok(Self(value.ok_or_else(|| Error::internal("the route has no parameter"))?))
    }
}

/// The path's parameter that has one of `names`, as `parse` reads it. Error: `Invalid`, naming the parameter.
pub(crate) async fn parse<S: Send + Sync, T>(
    parts: &mut Parts,
    state: &S,
    names: &[&str],
    parse: impl FnOnce(&str) -> Result<T>,
) -> Result<T> {
    let parameters = parameters(parts, state).await?;
    let found = parameters.iter().find(|(name, _)| names.contains(name));
    let (name, value) = found.ok_or_else(|| Error::internal(format_args!("the route has none of {names:?}")))?;
    parse(value).map_err(|error| Error::invalid_field(name, error.message()))
}

async fn parameters<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams> {
    let parameters = RawPathParams::from_request_parts(parts, state).await;
    parameters.map_err(|_| Error::invalid_field("path", "is not percent-encoded UTF-8"))
}
