//! The calls, one function each: from HTTP to the words of `document` and back.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{DocumentId, DocumentName, UserId, Version};
use crate::document::access::Access;
use crate::document::decide::{Expected, Request, WriteOperation, not_found_error};
use crate::document::model::Document;
use crate::document::patch::ClientPatch;
use crate::document::visibility::{Audience, Viewer};
use crate::features::documents::limits::ACTION_TYPE_LENGTH_MAX;
use crate::http::api::Api;
use crate::http::error::{HandlerResult, HttpError};
use crate::http::request::body::{JSON_PATCH, MERGE_PATCH};
use crate::http::request::caller::Caller;
use crate::http::request::headers::REJOIN_POSITION;
use crate::http::request::path::{CollectionPath, DocumentPath};
use crate::http::request::preconditions::is_unchanged;
use crate::http::request::query::Query;
use crate::http::response::openapi::{ChangeRefusals, IfNoneMatch, Preconditions, WriteHeaders};
use crate::http::response::success::not_modified;

mod access;
mod batch;
mod collections;
mod description;
mod document_stream;
mod event_schemas;
mod list;
mod schemas;
mod stream_page;
mod streams;
mod write_request;
mod writes;

use description::{
    ActProblems, CreateProblems, CreateResponses, DeleteProblems, DocumentProblems, PatchProblems, PutProblems,
    PutResponses, ReadResponses, WriteResponses,
};
use schemas::{
    Acted, BatchResults, DocumentSchema, EventSchema, HistoryPageSchema, ListedDocumentSchema, NotDurable,
    PatchOperationSchema,
};
use write_request::WriteRequest;
use writes::ResponseContent;

/// The schemas of these calls.
#[derive(OpenApi)]
#[openapi(components(schemas(
    access::AccessBody,
    Acted,
    ActionBody,
    batch::BatchBody,
    BatchResults,
    collections::CollectionBody,
    CreateBody,
    DocumentSchema,
    schemas::DocumentAccess,
    EventSchema,
    HistoryPageSchema,
    ListedDocumentSchema,
    NotDurable,
    PutBody,
    RollbackBody
)))]
struct Schemas;

/// The calls about documents.
pub(crate) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Schemas::openapi())
        .routes(routes!(batch::batch))
        .routes(routes!(streams::stream))
        .routes(routes!(collections::list_collections))
        .routes(routes!(list::list, create))
        .routes(routes!(read, put, patch, delete))
        .routes(routes!(act))
        .routes(routes!(rollback))
        .routes(routes!(access::read_access, access::set_access))
        .routes(routes!(streams::events))
}

/// A document to create.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    /// Its id; left out: the server makes one.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    id: Option<DocumentId>,
    /// What it says.
    #[schema(value_type = Object)]
    state: Map<String, Value>,
    /// Who sees everything in it; left out: its creator.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    #[serde(default, deserialize_with = "Viewer::deserialize_optional_id")]
    host: Option<UserId>,
    /// Who may do what with it besides the host.
    #[serde(default)]
    #[schema(value_type = schemas::AccessSchema)]
    access: Access,
}

/// Create a document
///
/// Its creator is its host unless another is named, and sees and may do everything with it: the document of a player is
/// hosted by that player, as the answer says. What was deleted can be created again; its versions go on, and its host
/// and access stay.
#[utoipa::path(
    post, path = "/api/v1/{collection}", operation_id = "createDocument", tag = "documents",
    params(CollectionPath, Caller, Preconditions, WriteHeaders), request_body = CreateBody,
    responses(CreateResponses, CreateProblems, ChangeRefusals),
)]
async fn create(
    State(api): State<Api>,
    CollectionPath(collection): CollectionPath,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    let (CreateBody { id, state, host, access }, expected) = sent.object()?;
    let request = Request {
        name: DocumentName { collection, id: id_or_new(&api, id)? },
        operation: WriteOperation::Create { state: Value::Object(state), host, access },
        expected,
    };
    sent.execute(&api, vec![request], ResponseContent::Document).await
}

fn id_or_new(api: &Api, id: Option<DocumentId>) -> Result<DocumentId> {
    match id {
        Some(id) => Ok(id),
        None => DocumentId::new(&new_id(&*api.entropy, api.clock.now())),
    }
}

/// What a document is to say.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutBody {
    /// What the document is to say.
    #[schema(value_type = Object)]
    state: Map<String, Value>,
    /// Only if the document is at this version; 0: only if it is not there.
    #[schema(value_type = Option<u64>)]
    expected_version: Option<Version>,
}

/// Create a document, or replace its state
#[utoipa::path(
    put, path = "/api/v1/{collection}/{id}", operation_id = "putDocument", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders), request_body = PutBody,
    responses(PutResponses, PutProblems, ChangeRefusals),
)]
async fn put(State(api): State<Api>, DocumentPath(name): DocumentPath, sent: WriteRequest) -> HandlerResult<Response> {
    let (PutBody { state, expected_version }, expected) = sent.object()?;
    let operation = WriteOperation::Put { state: Value::Object(state) };
    let request = Request { name, operation, expected: Expected { version: expected_version, ..expected } };
    sent.execute(&api, vec![request], ResponseContent::Document).await
}

/// Change parts of a document's state
///
/// By a merge patch (RFC 7396) or a JSON Patch (RFC 6902, `test` included); paths begin at the state.
#[utoipa::path(
    patch, path = "/api/v1/{collection}/{id}", operation_id = "patchDocument", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders),
    request_body(content(
        (Object = "application/merge-patch+json"),
        (Vec<PatchOperationSchema> = "application/json-patch+json"),
    )),
    responses(WriteResponses<DocumentSchema>, PatchProblems, ChangeRefusals),
)]
async fn patch(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    let patch = match sent.body.one_of(&[MERGE_PATCH, JSON_PATCH])? {
        JSON_PATCH => sent.body.parse_as("patch").map(ClientPatch::Operations),
        _ => sent.body.parse().map(|patch| ClientPatch::Merge(Value::Object(patch))),
    };
    let (patch, expected) = sent.with_conditions(patch)?;
    let request = Request { name, operation: WriteOperation::Patch(patch), expected };
    sent.execute(&api, vec![request], ResponseContent::Document).await
}

/// Delete a document
///
/// For its host, unless its access says otherwise. A change like any other: it takes a version, and the history stays,
/// so that the host can bring it back by a rollback. A project, `projects/{id}`, is deleted with all documents that
/// belong to it, by who may write to it; the answer is a `ProjectDeletion` then.
#[utoipa::path(
    delete, path = "/api/v1/{collection}/{id}", operation_id = "deleteDocument", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders),
    responses(WriteResponses<DocumentSchema>, DeleteProblems, ChangeRefusals),
)]
async fn delete(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    let ((), expected) = sent.with_conditions(Ok(()))?;
    if let Some(remover) = api.providers.remover(&name.collection) {
        return Ok(remover.delete(sent.deletion(name, expected)?).await?);
    }
    let request = Request { name, operation: WriteOperation::Delete, expected };
    sent.execute(&api, vec![request], ResponseContent::Document).await
}

/// What to do.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActionBody {
    /// What is to be done, for example `raise`.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_.:-]{1,64}$")]
    r#type: ActionType,
    /// With what; left out: `{}`.
    payload: Option<Value>,
    /// A merge patch of the state, or a JSON Patch; only for collections without rules.
    #[schema(value_type = Option<schemas::StatePatch>)]
    patch: Option<ClientPatch>,
    /// Only if the document is at this version.
    #[schema(value_type = Option<u64>)]
    expected_version: Option<Version>,
}

/// Act on a document
///
/// The rules of its collection decide what comes of it; without rules, `patch` is applied.
#[utoipa::path(
    post, path = "/api/v1/{collection}/{id}/actions", operation_id = "act", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders), request_body = ActionBody,
    responses(WriteResponses<Acted>, ActProblems, ChangeRefusals),
)]
async fn act(State(api): State<Api>, DocumentPath(name): DocumentPath, sent: WriteRequest) -> HandlerResult<Response> {
    let (ActionBody { r#type, payload, patch, expected_version }, expected) = sent.object()?;
    let expected = Expected { version: expected_version, ..expected };
    let request = Request { name, operation: action(r#type, payload, patch, "patch")?, expected };
    sent.execute(&api, vec![request], ResponseContent::Event).await
}

/// An action whose patch was sent as `field`. Error: `Invalid` for a patch without operations.
fn action(kind: ActionType, payload: Option<Value>, patch: Option<ClientPatch>, field: &str) -> Result<WriteOperation> {
    if patch.as_ref().is_some_and(ClientPatch::is_empty) {
        return Err(Error::invalid_field(field, "has no operation; leave it out"));
    }
    let payload = payload.unwrap_or_else(|| Value::Object(Map::new()));
    Ok(WriteOperation::Action { kind: kind.0, payload, patch })
}

/// The type of an action, within its alphabet.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct ActionType(String);

impl TryFrom<String> for ActionType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
        if text.is_empty() || text.len() > ACTION_TYPE_LENGTH_MAX || !plain {
            return Err(format!("must be 1 to {ACTION_TYPE_LENGTH_MAX} letters, digits or characters of '_-.:'"));
        }
        Ok(Self(text))
    }
}

/// How far to go back.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollbackBody {
    /// The version whose state is to come back.
    #[schema(value_type = u64)]
    to_version: Version,
    /// Only if the document is at this version.
    #[schema(value_type = Option<u64>)]
    expected_version: Option<Version>,
}

/// Bring an old state back
///
/// A new change, whose state is the one at `toVersion`. For the host, also of a document that is deleted, as long as
/// its history is kept.
#[utoipa::path(
    post, path = "/api/v1/{collection}/{id}/rollback", operation_id = "rollBack", tag = "documents",
    params(DocumentPath, Caller, Preconditions, WriteHeaders), request_body = RollbackBody,
    responses(PutResponses, ActProblems, ChangeRefusals),
)]
async fn rollback(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    let (RollbackBody { to_version, expected_version }, expected) = sent.object()?;
    let expected = Expected { version: expected_version, ..expected };
    let request = Request { name, operation: WriteOperation::Rollback { to: to_version }, expected };
    sent.execute(&api, vec![request], ResponseContent::Document).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReadQuery {
    /// The document as it was then.
    #[param(value_type = Option<u64>)]
    version: Option<Version>,
}

/// Read a document
///
/// Its newest version, or with `version` one of its past.
#[utoipa::path(
    get,
    path = "/api/v1/{collection}/{id}",
    operation_id = "readDocument",
    tag = "documents",
    params(DocumentPath, Caller, ReadQuery, IfNoneMatch),
    responses(ReadResponses, DocumentProblems)
)]
async fn read(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller { viewer, .. }: Caller,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let document = match query.version {
        None => api.reads.live_document(&name, &viewer).await?,
        Some(version) => {
            let document = api.reads.document_at(&name, version, &viewer).await?;
            if document.is_deleted() {
                return Err(not_found_error(&name, Some(&document)).into());
            }
            document
        }
    };
    let unchanged = is_unchanged(&headers, &document, &viewer)?;
    let audience = document.meta.audience(&viewer);
    let mut response = if unchanged {
        not_modified()
    } else {
        let json = [(CONTENT_TYPE, const { HeaderValue::from_static("application/json") })];
        (json, render_document(&api, &document, audience)?).into_response()
    };
    let tag = HeaderValue::try_from(format!("\"{}\"", document.tag())).map_err(Error::internal)?;
    let position = HeaderValue::try_from(document.position().to_string()).map_err(Error::internal)?;
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(REJOIN_POSITION, position);
    Ok(response)
}

/// A document as `audience` gets it.
fn render_document(api: &Api, document: &Document, audience: Audience<'_>) -> Result<Bytes> {
    let durable = document.seq <= api.reads.hub.gate().durable();
    document.render(audience, durable)
}

/// The refusal of a position that is not in this log, where the caller must read anew.
pub(super) fn diverged() -> HttpError {
    Error::new(Kind::Gone, "this position is not in this log; read the document again and go on from there").into()
}
