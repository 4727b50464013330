//! The calls, one function each: from HTTP to the words of `document` and back.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::base::entropy::new_id;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName, UserId, Version};
use crate::base::limits::{ACTION_TYPE_LENGTH_MAX, BATCH_OPERATIONS_MAX};
use crate::document::decide::{Expected, Operation, Request, Tags, absent};
use crate::document::model::{Access, Document};
use crate::document::patch::ClientPatch;
use crate::document::visibility::{Audience, Viewer, redact_state};
use crate::http::api::Api;
use crate::http::body::{JSON, JSON_PATCH, MERGE_PATCH, RawBody};
use crate::http::headers::{self, REJOIN_POSITION};
use crate::http::path::{CollectionPath, DocumentPath};
use crate::http::problem::{Failure, Handled};
use crate::http::query::{Cursor, Page, Query};
use crate::http::viewer::Caller;

mod streams;
mod writes;

use writes::{Manner, Shows, write};

/// The calls about documents.
pub fn router() -> Router<Api> {
    Router::new()
        .route("/api/v1/batch", post(batch))
        .route("/api/v1/stream", get(streams::stream))
        .route("/api/v1/{collection}", get(list).post(create))
        .route("/api/v1/{collection}/{id}", get(read).put(put).patch(patch).delete(delete))
        .route("/api/v1/{collection}/{id}/actions", post(act))
        .route("/api/v1/{collection}/{id}/rollback", post(rollback))
        .route("/api/v1/{collection}/{id}/events", get(streams::events))
}

/// What every write brings along.
type Call<'a> = (&'a str, &'a Uri, &'a HeaderMap, &'a [u8]);

fn manner(viewer: Viewer, (method, uri, headers, body): Call<'_>) -> Result<Manner> {
    no_query(uri)?;
    Manner::of(viewer, method, uri.path(), headers, body)
}

/// Refuses a query on a write: whoever sends `?expectedVersion=3` relies on what would not be looked at. Error: `Invalid`.
fn no_query(uri: &Uri) -> Result<()> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Error::invalid_field("query", "has no meaning for a write; conditions go into headers or body")),
    }
}

fn expected(headers: &HeaderMap, version: Option<Version>) -> Result<Expected> {
    Ok(Expected { if_match: headers::if_match(headers)?, if_none_match: headers::if_none_match(headers)?, version })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateBody {
    id: Option<DocumentId>,
    state: Value,
    host: Option<UserId>,
    #[serde(default)]
    access: Access,
}

async fn create(
    State(api): State<Api>,
    CollectionPath(collection): CollectionPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    let CreateBody { id, state, host, access } = body.parse_object()?;
    let request = Request {
        name: DocumentName { collection, id: id_or_new(&api, id)? },
        operation: Operation::Create { state, host, access },
        expected: expected(&headers, None)?,
    };
    let manner = manner(viewer, ("POST", &uri, &headers, &body.bytes))?;
    Ok(write(&api, manner, vec![request], Shows::Document).await?)
}

fn id_or_new(api: &Api, id: Option<DocumentId>) -> Result<DocumentId> {
    match id {
        Some(id) => Ok(id),
        None => DocumentId::new(&new_id(&*api.entropy, api.clock.now())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutBody {
    state: Value,
    expected_version: Option<Version>,
}

async fn put(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    let PutBody { state, expected_version } = body.parse_object()?;
    let expected = expected(&headers, expected_version)?;
    let request = Request { name, operation: Operation::Put { state }, expected };
    let manner = manner(viewer, ("PUT", &uri, &headers, &body.bytes))?;
    Ok(write(&api, manner, vec![request], Shows::Document).await?)
}

async fn patch(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    let operation = match body.one_of(&[MERGE_PATCH, JSON_PATCH])? {
        JSON_PATCH => Operation::Patch(ClientPatch::parse(body.parse()?)?),
        _ => Operation::Merge(body.parse()?),
    };
    let request = Request { name, operation, expected: expected(&headers, None)? };
    no_query(&uri)?;
    // The same bytes mean something else under the other media type.
    let path = format!("{} {}", uri.path(), body.media_type);
    let manner = Manner::of(viewer, "PATCH", &path, &headers, &body.bytes)?;
    Ok(write(&api, manner, vec![request], Shows::Document).await?)
}

async fn delete(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Handled<Response> {
    let request = Request { name, operation: Operation::Delete, expected: expected(&headers, None)? };
    let manner = manner(viewer, ("DELETE", &uri, &headers, b""))?;
    Ok(write(&api, manner, vec![request], Shows::Document).await?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ActionBody {
    r#type: String,
    payload: Option<Value>,
    patch: Option<Value>,
    expected_version: Option<Version>,
}

async fn act(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    let ActionBody { r#type, payload, patch, expected_version } = body.parse_object()?;
    let expected = expected(&headers, expected_version)?;
    let request = Request { name, operation: action(r#type, payload, patch)?, expected };
    let manner = manner(viewer, ("POST", &uri, &headers, &body.bytes))?;
    Ok(write(&api, manner, vec![request], Shows::Event).await?)
}

/// An action, its type within its alphabet. Error: `Invalid`.
fn action(kind: String, payload: Option<Value>, patch: Option<Value>) -> Result<Operation> {
    let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b));
    if kind.is_empty() || kind.len() > ACTION_TYPE_LENGTH_MAX || !plain {
        let message = format!("must be 1 to {ACTION_TYPE_LENGTH_MAX} letters, digits or characters of '_-.:'");
        return Err(Error::invalid_field("type", message));
    }
    let payload = payload.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    Ok(Operation::Action { kind, payload, patch })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RollbackBody {
    to_version: Version,
    expected_version: Option<Version>,
}

async fn rollback(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    let RollbackBody { to_version, expected_version } = body.parse_object()?;
    let expected = expected(&headers, expected_version)?;
    let request = Request { name, operation: Operation::Rollback { to: to_version }, expected };
    let manner = manner(viewer, ("POST", &uri, &headers, &body.bytes))?;
    Ok(write(&api, manner, vec![request], Shows::Document).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody {
    operations: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchOperation {
    op: BatchOp,
    collection: Collection,
    id: Option<DocumentId>,
    state: Option<Value>,
    patch: Option<Value>,
    r#type: Option<String>,
    payload: Option<Value>,
    expected_version: Option<Version>,
    host: Option<UserId>,
    access: Option<Access>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
enum BatchOp {
    Create,
    Put,
    Patch,
    Delete,
    Action,
}

/// By way of a string: a derived enum would also take `{"delete": null}`.
impl TryFrom<String> for BatchOp {
    type Error = &'static str;

    fn try_from(text: String) -> std::result::Result<Self, &'static str> {
        match text.as_str() {
            "create" => Ok(Self::Create),
            "put" => Ok(Self::Put),
            "patch" => Ok(Self::Patch),
            "delete" => Ok(Self::Delete),
            "action" => Ok(Self::Action),
            _ => Err("is none of create, put, patch, delete and action"),
        }
    }
}

async fn batch(
    State(api): State<Api>,
    Caller(viewer): Caller,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: RawBody,
) -> Handled<Response> {
    body.one_of(&[JSON])?;
    if let Some(name) = ["If-Match", "If-None-Match"].into_iter().find(|name| headers.contains_key(*name)) {
        let message = "names one document's version; a batch takes expectedVersion in each operation";
        return Err(Error::invalid_field(name, message).into());
    }
    let BatchBody { operations } = body.parse_object()?;
    if operations.is_empty() || operations.len() > BATCH_OPERATIONS_MAX {
        let message = format!("must hold 1 to {BATCH_OPERATIONS_MAX} operations");
        return Err(Error::invalid_field("operations", message).into());
    }
    let requests: Result<Vec<Request>> = operations
        .into_iter()
        .enumerate()
        .map(|(index, value)| batch_request(&api, value).map_err(|error| error.with("index", index)))
        .collect();
    let requests = requests?;
    let single = requests.len() == 1;
    let manner = manner(viewer, ("POST", &uri, &headers, &body.bytes))?;
    let written = write(&api, manner, requests, Shows::Results).await;
    Ok(written.map_err(|error| if single { error.with("index", 0) } else { error })?)
}

fn batch_request(api: &Api, value: Value) -> Result<Request> {
    let bytes = serde_json::to_vec(&value).map_err(Error::internal)?;
    let sent: BatchOperation = crate::http::body::parse_object(&bytes, usize::MAX)?;
    sent.check_members()?;
    let needs = |field: &str| Error::invalid_field(field, "is missing");
    let (id, op) = (sent.id, sent.op);
    let operation = match op {
        BatchOp::Create => Operation::Create {
            state: sent.state.ok_or_else(|| needs("state"))?,
            host: sent.host,
            access: sent.access.unwrap_or_default(),
        },
        BatchOp::Put => Operation::Put { state: sent.state.ok_or_else(|| needs("state"))? },
        BatchOp::Patch => match sent.patch.ok_or_else(|| needs("patch"))? {
            patch @ Value::Array(_) => Operation::Patch(ClientPatch::parse(patch)?),
            patch => Operation::Merge(patch),
        },
        BatchOp::Delete => Operation::Delete,
        BatchOp::Action => action(sent.r#type.ok_or_else(|| needs("type"))?, sent.payload, sent.patch)?,
    };
    let id = match (id, op) {
        (id, BatchOp::Create) => id_or_new(api, id)?,
        (id, _) => id.ok_or_else(|| needs("id"))?,
    };
    let name = DocumentName { collection: sent.collection, id };
    Ok(Request { name, operation, expected: Expected { version: sent.expected_version, ..Expected::default() } })
}

impl BatchOperation {
    /// Refuses members that mean nothing to the operation: they are a mistake. Error: `Invalid`.
    fn check_members(&self) -> Result<()> {
        use BatchOp as O;
        let given = [
            ("state", self.state.is_some(), &[O::Create, O::Put][..]),
            ("patch", self.patch.is_some(), &[O::Patch, O::Action]),
            ("type", self.r#type.is_some(), &[O::Action]),
            ("payload", self.payload.is_some(), &[O::Action]),
            ("host", self.host.is_some(), &[O::Create]),
            ("access", self.access.is_some(), &[O::Create]),
        ];
        match given.iter().find(|(_, given, by)| *given && !by.contains(&self.op)) {
            Some((field, ..)) => Err(Error::invalid_field(field, "has no meaning for this op")),
            None => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadQuery {
    version: Option<Version>,
}

async fn read(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    Caller(viewer): Caller,
    Query(query): Query<ReadQuery>,
    headers: HeaderMap,
) -> Handled<Response> {
    let document = match query.version {
        None => api.reads.live_document(&name).await?,
        Some(version) => {
            let document = api.reads.document_at(&name, version).await?;
            if document.is_deleted() {
                return Err(absent(&name, Some(&document)).into());
            }
            document
        }
    };
    let unchanged = match headers::if_none_match(&headers)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(tags)) => tags.contains(&document.tag()),
    };
    let audience = document.meta.audience(&viewer);
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = [(CONTENT_TYPE, const { HeaderValue::from_static("application/json") })];
        (json, shown(&api, &document, audience)?).into_response()
    };
    let tag = HeaderValue::try_from(format!("\"{}\"", document.tag())).map_err(Error::internal)?;
    let position = HeaderValue::try_from(document.position().to_string()).map_err(Error::internal)?;
    response.headers_mut().insert(ETAG, tag);
    response.headers_mut().insert(REJOIN_POSITION, position);
    Ok(response)
}

/// A document as `audience` gets it.
fn shown(api: &Api, document: &Document, audience: Audience<'_>) -> Result<Bytes> {
    let durable = document.seq <= api.reads.hub.gate().durable();
    let state = document.state.as_deref().map(|state| redact_state(state, audience)).transpose()?;
    Ok(document.render(state.as_deref(), durable))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    include: Option<Include>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Include {
    State,
}

async fn list(
    State(api): State<Api>,
    CollectionPath(collection): CollectionPath,
    Caller(viewer): Caller,
    Query(query): Query<ListQuery>,
) -> Handled<Response> {
    let page = Page::new(query.limit, query.cursor.as_deref())?;
    let after = page.after.as_deref().map(DocumentId::new).transpose();
    let after = after.map_err(|_| Error::invalid_field("cursor", "must be a nextCursor of this list"))?;
    let with_state = query.include == Some(Include::State);
    let (listed, more) = api.reads.list(&collection, after.as_ref(), page.limit, with_state).await?;
    let mut items = Vec::with_capacity(listed.len());
    for entry in &listed {
        let mut item: BTreeMap<&str, Value> = BTreeMap::from([
            ("collection", collection.as_str().into()),
            ("id", entry.meta.name.id.as_str().into()),
            ("version", entry.version.0.into()),
            ("hash", entry.hash.to_string().into()),
            ("updatedAt", entry.updated_at.to_string().into()),
        ]);
        if let Some(document) = &entry.document {
            let state = redact_state(document.state.as_deref().unwrap_or(b"null"), entry.meta.audience(&viewer))?;
            item.insert("state", serde_json::from_slice(&state).map_err(Error::internal)?);
        }
        items.push(serde_json::value::to_raw_value(&item).map_err(Error::internal)?);
    }
    let next = listed.last().filter(|_| more).map(|entry| Cursor::encode(entry.meta.name.id.as_str()));
    Ok(page_of(&items, &[("nextCursor", next.map(Value::from))])?)
}

/// A page: `items` and the other members that are there.
pub(super) fn page_of(items: &[Box<RawValue>], members: &[(&str, Option<Value>)]) -> Result<Response> {
    let mut out = BytesMut::from(&b"{\"items\":["[..]);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",");
        }
        out.extend_from_slice(item.get().as_bytes());
    }
    out.extend_from_slice(b"]");
    for (name, value) in members {
        if let Some(value) = value {
            out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        }
    }
    out.extend_from_slice(b"}");
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], out.freeze()).into_response())
}

/// The refusal of a position that is not in this log, where the caller must read anew.
pub(super) fn diverged() -> Failure {
    Error::new(Kind::Gone, "this position is not in this log; read the document again and go on from there").into()
}
