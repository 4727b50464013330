//! Lists of a collection's documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::description::ListProblems;
use super::schemas::DocumentListSchema;
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentId};
use crate::document::model::Document;
use crate::document::query::fields::Fields;
use crate::document::query::filter::Filter;
use crate::document::query::sort::{PageKey, Sort};
use crate::document::visibility::{Viewer, redact_state};
use crate::engine::read::find::DocumentSelection;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest, encode_cursor};
use crate::http::request::caller::Caller;
use crate::http::request::path::CollectionPath;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::success::Success;
use crate::store::ListedDocument;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DocumentListQuery {
    /// Most documents in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
    /// The `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// `state`: with what each document says.
    #[param(inline)]
    include: Option<Include>,
    /// Which documents: a JSON object of paths and what stands there, or a test of it by `eq`, `ne`, `lt`, `lte`, `gt`,
    /// `gte`, `in`, `contains` or `exists`; all must hold. `or` and `and` take lists of such objects.
    #[param(value_type = Option<String>, example = json!("{\"status\":\"active\",\"hitPoints.current\":{\"lt\":10}}"))]
    r#where: Option<Filter>,
    /// In which order: paths with commas between, one after a `-` is falling. Left out: by id.
    #[param(value_type = Option<String>, example = "-updatedAt,name")]
    sort: Option<Sort>,
    /// With these parts of each state: paths with commas between.
    #[param(value_type = Option<String>, example = "name,status")]
    fields: Option<Fields>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Include {
    State,
}

/// What is shown of each state.
enum Shown {
    Nothing,
    State,
    Fields(Fields),
}

/// A page of documents.
#[derive(Serialize)]
struct DocumentList {
    #[serde(flatten)]
    page: Page<BTreeMap<&'static str, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanned: Option<usize>,
}

/// List the documents of a collection
///
/// A game that has moved to another server stays in the list, with `movedTo` and without its state: what it was at last
/// here is not what it is there. `where`, `sort` and `fields` see what the caller is shown.
#[utoipa::path(
    get, path = "/api/v1/{collection}", operation_id = "listDocuments", tag = "documents",
    params(CollectionPath, Caller, DocumentListQuery),
    responses((status = 200, description = "A page of them.", body = DocumentListSchema), ListProblems),
)]
pub(super) async fn list(
    State(api): State<Api>,
    CollectionPath(collection): CollectionPath,
    Caller { viewer, .. }: Caller,
    Query(query): Query<DocumentListQuery>,
) -> HandlerResult<Response> {
    let DocumentListQuery { limit, cursor, include, r#where: filter, sort, fields } = query;
    let page = PageRequest::new(limit, cursor);
    let shown = match (fields, include) {
        (Some(fields), _) => Shown::Fields(fields),
        (None, Some(Include::State)) => Shown::State,
        (None, None) => Shown::Nothing,
    };
    let list = if filter.is_some() || sort.is_some() {
        let query = DocumentSelection { filter, sort: sort.unwrap_or_default() };
        find(&api, &viewer, &collection, query, &page, &shown).await?
    } else {
        let after = page.parse_after(DocumentId::new)?;
        let with_state = !matches!(shown, Shown::Nothing);
        let (listed, more) =
            api.reads.list_readable(&viewer, &collection, after.as_ref(), page.limit, with_state).await?;
        let items = listed.iter().map(|entry| item(&api, &viewer, entry, &shown)).collect::<Result<_>>()?;
        let next_cursor = listed.last().filter(|_| more).map(|entry| encode_cursor(entry.meta.name.id.as_str()));
        DocumentList { page: Page { items, next_cursor }, scanned: None }
    };
    Ok(json(Success::Done, &list)?)
}

/// The list of what `query` finds.
async fn find(
    api: &Api,
    viewer: &Viewer,
    collection: &Collection,
    query: DocumentSelection,
    page: &PageRequest,
    shown: &Shown,
) -> Result<DocumentList> {
    let by_id = query.sort.is_by_id();
    let after = page.parse_after(|text| {
        if by_id {
            return DocumentId::new(text).ok().map(Sort::page_key_of_id).ok_or(());
        }
        serde_json::from_str(text).ok().filter(|key| query.sort.fits(key)).ok_or(())
    })?;
    let found = api.reads.find(viewer, collection, query, after, page.limit).await?;
    let entry = |document: &Arc<Document>| item(api, viewer, &ListedDocument::new(document, true), shown);
    let items = found.documents.iter().map(entry).collect::<Result<_>>()?;
    let text = |key: &PageKey| match by_id {
        true => Ok(key.id.as_str().to_owned()),
        false => serde_json::to_string(key).map_err(Error::internal),
    };
    let next_cursor = found.next.as_ref().map(text).transpose()?.map(|text| encode_cursor(&text));
    Ok(DocumentList { page: Page { items, next_cursor }, scanned: Some(found.scanned) })
}

/// A document in a list.
fn item(api: &Api, viewer: &Viewer, entry: &ListedDocument, shown: &Shown) -> Result<BTreeMap<&'static str, Value>> {
    let mut item: BTreeMap<&str, Value> = BTreeMap::from([
        ("collection", entry.meta.name.collection.as_str().into()),
        ("id", entry.meta.name.id.as_str().into()),
        ("version", entry.version.0.into()),
        ("hash", entry.hash.to_string().into()),
        ("createdAt", entry.meta.created_at.to_string().into()),
        ("updatedAt", entry.updated_at.to_string().into()),
    ]);
    // What it says now, only the other server knows.
    if let Some(moved) = api.reads.hub.relocations().find(&entry.meta.name) {
        item.insert("movedTo", moved.to.as_str().into());
    } else if let Some(document) = &entry.document {
        let state = || -> Result<Value> {
            let state = redact_state(document.state.as_deref().unwrap_or(b"null"), entry.meta.audience(viewer))?;
            serde_json::from_slice(&state).map_err(Error::internal)
        };
        match shown {
            Shown::Nothing => {}
            Shown::State => drop(item.insert("state", state()?)),
            Shown::Fields(fields) => drop(item.insert("state", fields.select(&state()?))),
        }
    }
    if entry.meta.volatile {
        item.insert("persistent", false.into());
    }
    Ok(item)
}
