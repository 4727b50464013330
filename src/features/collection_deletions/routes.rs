//! `DELETE /api/v1/collections/{name}`, and how far deletions are.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::header::{HeaderValue, LOCATION};
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problems::COLLECTION_MOVES;
use super::sql::{self, CollectionDeletion};
use crate::base::clock::Timestamp;
use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind as K};
use crate::base::ids::Collection;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::request::path::PathParameter;
use crate::http::response::json::json;
use crate::http::response::openapi::problems;
use crate::http::response::success::Success;

/// `requested`: told of each deletion that is asked for.
pub(super) fn router(requested: Arc<Notify>) -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(delete_collection))
        .routes(routes!(list))
        .routes(routes!(read))
        .layer(Extension(requested))
}

problems! {
    /// Of asking for one.
    DeleteProblems: &[K::Unauthenticated, K::NotFound, K::Damaged, K::StorageUnavailable], &[&COLLECTION_MOVES];
    /// Of listing them.
    ListProblems: &[K::Unauthenticated, K::StorageUnavailable];
    /// Of reading one.
    ReadProblems: &[K::Unauthenticated, K::NotFound, K::StorageUnavailable];
}

/// A deletion of a collection.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CollectionDeletion)]
struct DeletionItem {
    id: String,
    collection: String,
    /// `running`, `done`, or `failed`: some documents could not be deleted.
    status: &'static str,
    /// Documents that there were; null: not counted yet.
    #[schema(required = true)]
    total: Option<u64>,
    /// Documents that are deleted.
    deleted: u64,
    /// Documents that could not be.
    refused: u64,
    /// Why the first of those could not.
    #[schema(required = true)]
    error: Option<String>,
    /// `@owner`: the owner of the server.
    requested_by: String,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    ended_at: Option<Timestamp>,
}

impl From<CollectionDeletion> for DeletionItem {
    fn from(deletion: CollectionDeletion) -> Self {
        let CollectionDeletion { total, remaining, refused, ended_at, .. } = deletion;
        let status = match (ended_at, refused) {
            (None, _) => "running",
            (Some(_), 0) => "done",
            (Some(_), _) => "failed",
        };
        Self {
            id: deletion.id,
            collection: deletion.collection.to_string(),
            status,
            total,
            deleted: total.unwrap_or(0).saturating_sub(remaining).saturating_sub(refused),
            refused,
            error: deletion.error,
            requested_by: deletion.requested_by,
            requested_at: deletion.requested_at,
            ended_at,
        }
    }
}

/// Delete a collection
///
/// Each of its documents is deleted as if its host did, with an event of its own, by a job that also goes on after a
/// kill. What is created in it from now on stays. While one of it goes on, that is the answer. Refused while a document
/// in it moves between servers. For administrators.
#[utoipa::path(
    delete, path = "/api/v1/collections/{name}", operation_id = "deleteCollection", tag = "documents",
    params(("name" = String, Path, description = "The collection."), Caller),
    responses(
        (status = 202, description = "It is on disk that it is to be deleted.", body = DeletionItem,
            headers(("Location" = String, description = "Where it stands how far that is."))),
        DeleteProblems,
    ),
)]
async fn delete_collection(
    State(api): State<Api>,
    Extension(requested): Extension<Arc<Notify>>,
    caller: Caller,
    PathParameter(name): PathParameter,
) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let collection = Collection::new(&name).map_err(|error| Error::invalid_field("name", error.message()))?;
    if api.reads.names(collection.as_str(), None, 1).await?.is_empty() {
        return Err(Error::not_found(format!("there is no document in {collection}")).into());
    }
    let now = api.clock.now();
    let deletion = CollectionDeletion {
        id: new_id(&*api.entropy, now),
        collection,
        requested_by: caller.viewer.scope().to_owned(),
        requested_at: now,
        total: None,
        remaining: 0,
        refused: 0,
        error: None,
        ended_at: None,
    };
    if let Some(name) = api.engine.moving_document(deletion.collection.clone()).await? {
        let message = format!("{name} is on its way between servers; try again when it has arrived");
        return Err(COLLECTION_MOVES.error(message).into());
    }
    let deletion = api.write_rows(move |conn, _| sql::begin(conn, &deletion)).await?;
    requested.notify_one();
    let location = format!("/api/v1/admin/collection-deletions/{}", deletion.id);
    let mut response = json(Success::Accepted, &DeletionItem::from(deletion))?;
    response.headers_mut().insert(LOCATION, HeaderValue::try_from(location).map_err(Error::internal)?);
    Ok(response)
}

/// Deletions of collections.
#[derive(Serialize, ToSchema)]
#[schema(as = CollectionDeletions)]
struct DeletionList {
    /// Newest first.
    items: Vec<DeletionItem>,
}

/// List deletions of collections
///
/// Those that go on and the last 100 that are over. For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/collection-deletions", operation_id = "listCollectionDeletions", tag = "documents",
    params(Caller),
    responses((status = 200, description = "All of them.", body = DeletionList), ListProblems),
)]
async fn list(State(api): State<Api>, caller: Caller) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let items = api.read_rows(sql::all).await?.into_iter().map(DeletionItem::from).collect();
    Ok(json(Success::Done, &DeletionList { items })?)
}

/// See how far a deletion of a collection is
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/collection-deletions/{deletionId}", operation_id = "readCollectionDeletion",
    tag = "documents", params(("deletionId" = String, Path, description = "The deletion's id."), Caller),
    responses((status = 200, description = "The deletion.", body = DeletionItem), ReadProblems),
)]
async fn read(State(api): State<Api>, caller: Caller, PathParameter(id): PathParameter) -> HandlerResult<Response> {
    caller.require_administrator()?;
    let found = api.read_rows(move |conn| sql::find(conn, &id)).await?;
    let found = found.ok_or_else(|| Error::not_found("there is no such deletion of a collection"))?;
    Ok(json(Success::Done, &DeletionItem::from(found))?)
}
