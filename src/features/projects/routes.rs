//! The calls about projects. A project itself is a document like any other.

mod checks;
pub(super) mod deletion;
mod phases;
mod progress;
mod statistics;
pub(super) mod warnings;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use super::checking::Checker;
use crate::base::ids::DocumentName;
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::request::path;

/// The calls about projects.
pub(crate) fn router(checker: Arc<Checker>) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(progress::router())
        .merge(statistics::router())
        .merge(phases::router())
        .merge(deletion::router())
        .merge(warnings::router())
        .merge(checks::router(checker))
}

/// The extractor of the project that a path names. Error: `Invalid`.
pub(super) struct ProjectPath(pub DocumentName);

impl<S: Send + Sync> axum::extract::FromRequestParts<S> for ProjectPath {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, HttpError> {
        let parse = |id: &str| DocumentName::new(super::members::PROJECTS, id);
        Ok(Self(path::parse(parts, state, &["projectId", "id"], parse).await?))
    }
}
