//! The calls about reconciliation. Whoever gets in may read: verdicts hold versions, counts and hashes, and no state.
//! The names of documents in them are for administrators only: a name may be what somebody has no right to know.

use axum::Extension;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;

use super::audit::DetailLevel;
use super::problems::NOT_DIFFERENT;
use super::service::Reconciliation;
use crate::base::error::Kind as K;
use crate::engine::problems::NOT_IN_MEMORY;
use crate::http::api::Api;
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::store::ROW_IN_USE;

mod audit;
pub(crate) mod repair;
mod schemas;
mod services;
mod stream;

/// The calls about reconciliation.
pub(crate) fn router(reconciliation: Arc<Reconciliation>) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(stream::router())
        .merge(audit::router())
        .merge(services::router())
        .layer(Extension(reconciliation))
}

/// What of a verdict a caller is told.
const fn detail_for(caller: &Caller) -> DetailLevel {
    if caller.administrator { DetailLevel::Whole } else { DetailLevel::WithoutDocuments }
}

const ACCESS: &[K] = &[K::Unauthenticated, K::Damaged, K::StorageUnavailable];

problems! {
    /// Of reading.
    ReadProblems: ACCESS;
    /// Of the stream.
    StreamProblems: ACCESS, &[K::TooManyStreams];
    /// Of reading about one service.
    FindProblems: ACCESS, &[K::NotFound];
    /// Of comparing now.
    RunProblems: ACCESS, BODY, &[K::NotFound];
    /// Of mending a document.
    RepairProblems:
        ACCESS, BODY, &[K::NotFound, K::AlreadyExists, K::Frozen, K::Gone], &[&NOT_DIFFERENT, &NOT_IN_MEMORY],
        &[&ROW_IN_USE];
    /// Of making a service known.
    RegisterProblems: ACCESS, BODY;
    /// Of reporting.
    ReportProblems: ACCESS, BODY, &[K::NotFound, K::IdempotencyMismatch];
}
