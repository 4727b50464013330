//! Many changes at once.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::description::{BatchProblems, BatchResponses};
use super::schemas::BatchChange;
use super::write_request::WriteRequest;
use super::writes::ResponseContent;
use super::{ActionType, action, id_or_new};
use crate::base::error::{Error, FieldError, Kind, Result};
use crate::base::ids::{Collection, DocumentId, DocumentName, UserId, Version};
use crate::document::access::Access;
use crate::document::decide::{Expected, Request, WriteOperation};
use crate::document::input;
use crate::document::patch::ClientPatch;
use crate::document::visibility::Viewer;
use crate::features::documents::limits::BATCH_OPERATIONS_MAX;
use crate::http::api::Api;
use crate::http::error::{HandlerResult, HttpError};
use crate::http::request::caller::Caller;
use crate::http::response::openapi::{BatchRefusals, WriteHeaders};
use crate::http::server::rate_limit::{RateLimitDecision, RateLimiter};

/// Where batches are sent.
const PATH: &str = "/api/v1/batch";

/// Changes that happen together or not at all.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchBody {
    /// The changes, in their order.
    #[schema(value_type = Vec<BatchChange>, min_items = 1, max_items = 100)]
    operations: Vec<Value>,
}

/// What [`BatchChange`] says to callers; as one struct, it can be read whatever `op` says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchOperation {
    op: BatchOp,
    collection: Collection,
    id: Option<DocumentId>,
    state: Option<Map<String, Value>>,
    patch: Option<ClientPatch>,
    r#type: Option<ActionType>,
    payload: Option<Value>,
    expected_version: Option<Version>,
    #[serde(default, deserialize_with = "Viewer::deserialize_optional_id")]
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

/// Make many changes, all or none
///
/// In one transaction, over any documents. Each operation counts against the rate limit rules of the call that makes
/// the same change alone; when one of them lacks tokens, the batch is refused and takes none. One that only names
/// documents which have moved to the same other server is answered with 308; one of which only a part has moved is
/// refused: it cannot happen on two servers at once.
#[utoipa::path(
    post, path = "/api/v1/batch", operation_id = "batch", tag = "documents",
    params(Caller, WriteHeaders), request_body = BatchBody,
    responses(BatchResponses, BatchProblems, BatchRefusals),
)]
pub(super) async fn batch(
    State(api): State<Api>,
    Extension(rate_limiter): Extension<Arc<dyn RateLimiter>>,
    caller: Caller,
    sent: WriteRequest,
) -> HandlerResult<Response> {
    if let Some(name) = ["If-Match", "If-None-Match"].into_iter().find(|name| sent.headers.contains_key(*name)) {
        let message = "names one document's version; a batch takes expectedVersion in each operation";
        return Err(Error::invalid_field(name, message).into());
    }
    let (BatchBody { operations }, _) = sent.object()?;
    if operations.is_empty() || operations.len() > BATCH_OPERATIONS_MAX {
        let message = format!("must hold 1 to {BATCH_OPERATIONS_MAX} operations");
        return Err(Error::invalid_field("operations", message).into());
    }
    let requests = batch_requests(&api, &operations)?;
    let calls: Vec<_> = requests.iter().map(equivalent_call).collect();
    let RateLimitDecision { headers, refused } = rate_limiter.check_calls(&caller, (&Method::POST, PATH), &calls);
    let answered = match refused {
        Some(refusal) => Err(refusal.into()),
        None => execute(&api, sent, requests).await,
    };
    let mut response = answered.unwrap_or_else(HttpError::into_response);
    response.headers_mut().extend(headers);
    Ok(response)
}

async fn execute(api: &Api, sent: WriteRequest, requests: Vec<Request>) -> HandlerResult<Response> {
    let names: Vec<DocumentName> = requests.iter().map(|request| request.name.clone()).collect();
    let written = sent.execute(api, requests, ResponseContent::Results).await;
    written.map_err(|HttpError(error)| {
        let error = if names.len() == 1 { error.with("index", 0) } else { error };
        HttpError(if error.kind() == Kind::Moved { moved_error(api, &names, error) } else { error })
    })
}

/// The call that makes the same change alone: a batch is no way around its limits.
fn equivalent_call(Request { name, operation, .. }: &Request) -> (Method, String) {
    let DocumentName { collection, id } = name;
    match operation {
        WriteOperation::Create { .. } => (Method::POST, format!("/api/v1/{collection}")),
        WriteOperation::Put { .. } => (Method::PUT, format!("/api/v1/{collection}/{id}")),
        WriteOperation::Patch(_) => (Method::PATCH, format!("/api/v1/{collection}/{id}")),
        WriteOperation::Delete | WriteOperation::DeleteWith(_) => {
            (Method::DELETE, format!("/api/v1/{collection}/{id}"))
        }
        WriteOperation::Action { .. } => (Method::POST, format!("/api/v1/{collection}/{id}/actions")),
        WriteOperation::SetAccess { .. } => (Method::PUT, format!("/api/v1/{collection}/{id}/access")),
        WriteOperation::Merge { .. } => (Method::POST, format!("/api/v1/{collection}/{id}/sync")),
        WriteOperation::Rollback { .. } => (Method::POST, format!("/api/v1/{collection}/{id}/rollback")),
    }
}

/// A batch that names a document which is on another server can go there as it is only if all that it names is there:
/// then it is redirected, as a request about that document alone is. Otherwise there is no server that could carry it
/// out whole, and a redirect would lead to one that knows nothing of the rest: it is refused, naming the first
/// operation in question.
fn moved_error(api: &Api, names: &[DocumentName], moved: Error) -> Error {
    let to = moved.details().get("to").and_then(Value::as_str).unwrap_or_default();
    let there = |name: &DocumentName| api.reads.hub.relocations().find(name).is_some_and(|moved| moved.to == to);
    if names.iter().all(there) {
        return moved;
    }
    let index = moved.details().get("index").and_then(Value::as_u64).unwrap_or_default();
    let name = usize::try_from(index).ok().and_then(|index| names.get(index));
    let problems = name.and_then(|name| api.reads.hub.relocations().find(name)).map(|moved| moved.problems);
    let message =
        format!("{}; a batch happens on one server: send what is about it there, and the rest here", moved.message());
    let error = problems.unwrap_or_default().divided_error(message);
    error.with("index", index).with("document", name.map_or_else(String::new, ToString::to_string)).with("to", to)
}

/// What the operations ask for. Error: `Invalid` with all that is wrong with any of them, and the `index` of the first.
fn batch_requests(api: &Api, operations: &[Value]) -> Result<Vec<Request>> {
    let (mut requests, mut wrong) = (Vec::with_capacity(operations.len()), None::<Error>);
    for (index, value) in operations.iter().enumerate() {
        match (batch_request(api, value, &format!("operations[{index}]")), wrong.take()) {
            (Ok(request), None) => requests.push(request),
            (Ok(_), Some(before)) => wrong = Some(before),
            (Err(error), None) => wrong = Some(error.with("index", index)),
            (Err(error), Some(before)) => wrong = Some(before.and(error)),
        }
    }
    wrong.map_or(Ok(requests), Err)
}

fn batch_request(api: &Api, value: &Value, place: &str) -> Result<Request> {
    let sent: BatchOperation = input::from_value(value, place)?;
    sent.check_members(place)?;
    let (id, op) = (sent.id, sent.op);
    let needs = |member: &str| Error::invalid_field(&format!("{place}.{member}"), "is missing");
    let state = sent.state.map(Value::Object).ok_or_else(|| needs("state"));
    let operation = match op {
        BatchOp::Create => {
            WriteOperation::Create { state: state?, host: sent.host, access: sent.access.unwrap_or_default() }
        }
        BatchOp::Put => WriteOperation::Put { state: state? },
        BatchOp::Patch => WriteOperation::Patch(sent.patch.ok_or_else(|| needs("patch"))?),
        BatchOp::Delete => WriteOperation::Delete,
        BatchOp::Action => {
            let kind = sent.r#type.ok_or_else(|| needs("type"))?;
            action(kind, sent.payload, sent.patch, &format!("{place}.patch"))?
        }
    };
    let name = DocumentName { collection: sent.collection, id: id_or_new(api, id)? };
    Ok(Request { name, operation, expected: Expected { version: sent.expected_version, ..Expected::default() } })
}

impl BatchOperation {
    /// Refuses members that mean nothing to the operation, which are a mistake, and asks for those that it needs.
    /// Error: `Invalid`.
    fn check_members(&self, place: &str) -> Result<()> {
        use BatchOp as O;
        let existing = [O::Put, O::Patch, O::Delete, O::Action];
        let all = [O::Create, O::Put, O::Patch, O::Delete, O::Action];
        // Each with the operations that take it, and those of them that need it.
        let members = [
            ("id", self.id.is_some(), &all[..], &existing[..]),
            ("state", self.state.is_some(), &[O::Create, O::Put], &[O::Create, O::Put]),
            ("patch", self.patch.is_some(), &[O::Patch, O::Action], &[O::Patch]),
            ("type", self.r#type.is_some(), &[O::Action], &[O::Action]),
            ("payload", self.payload.is_some(), &[O::Action], &[]),
            ("host", self.host.is_some(), &[O::Create], &[]),
            ("access", self.access.is_some(), &[O::Create], &[]),
        ];
        let wrong = members.iter().filter_map(|(name, given, taken_by, needed_by)| {
            let detail = match given {
                true if !taken_by.contains(&self.op) => "has no meaning for this op",
                false if needed_by.contains(&self.op) => "is missing",
                _ => return None,
            };
            Some(FieldError { field: format!("{place}.{name}"), detail: detail.to_owned() })
        });
        let wrong: Vec<_> = wrong.collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error::invalid_fields(wrong)) }
    }
}
