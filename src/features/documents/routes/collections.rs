//! The list of collections.

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::description::CollectionsProblems;
use crate::base::ids::Collection;
use crate::base::limits::COLLECTION_DOCUMENTS_COUNTED_MAX;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Page, PageRequest};
use crate::http::request::caller::Caller;
use crate::http::response::json::json;
use crate::http::response::success::Success;
use crate::store::CollectionSummary;

/// A collection, as far as the caller may read it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Collection)]
pub(super) struct CollectionBody {
    /// What it is called.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$", example = "games")]
    name: String,
    /// How many documents in it the caller may read, of the first 10,000.
    documents: u64,
    /// There, and true, when there are more of them than `documents`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    more_documents: bool,
    /// When the last of them that was counted changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<CollectionSummary> for CollectionBody {
    fn from(CollectionSummary { name, documents, updated_at }: CollectionSummary) -> Self {
        let counted_max = u64::try_from(COLLECTION_DOCUMENTS_COUNTED_MAX).unwrap_or(u64::MAX);
        Self {
            name: name.to_string(),
            documents: documents.min(counted_max),
            more_documents: documents > counted_max,
            updated_at: updated_at.to_string(),
        }
    }
}

/// List the collections
///
/// By name; those in which there is no document that the caller may read are left out. A collection is there as long as
/// it has documents.
#[utoipa::path(
    get, path = "/api/v1/collections", operation_id = "listCollections", tag = "documents",
    params(Caller, crate::http::page::PageQuery),
    responses((status = 200, description = "A page of them.", body = Page<CollectionBody>), CollectionsProblems),
)]
pub(super) async fn list_collections(
    State(api): State<Api>,
    Caller { viewer, .. }: Caller,
    page: PageRequest,
) -> HandlerResult<Response> {
    let after = page.parse_after(Collection::new)?;
    let found = api.reads.collections(&viewer, after, page.limit + 1).await?;
    let page = Page::new(found, page.limit, |last| last.name.to_string(), CollectionBody::from);
    Ok(json(Success::Done, &page)?)
}
