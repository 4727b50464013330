//! `POST …/messages`.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::limits::MESSAGE_BYTES_MAX;
use super::rules::{MessageRate, check_type};
use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind as K};
use crate::base::ids::{Collection, DocumentId, UserId};
use crate::document::model::check_credential_writes;
use crate::document::visibility::Viewer;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::body::{JSON, RawBody};
use crate::http::request::caller::Caller;
use crate::http::request::path::DocumentPath;
use crate::http::response::json::json;
use crate::http::response::openapi::{BODY, problems};
use crate::http::response::success::Success;
use crate::live::transient::{TransientContent, TransientMessage};

/// The name of the stream's event.
const EVENT: &str = "message";

#[derive(OpenApi)]
#[openapi(components(schemas(MessageBody, SentMessage)))]
struct Schemas;

/// `per_second`: how many messages each sender may send.
pub(crate) fn router(per_second: u32) -> OpenApiRouter<Api> {
    let rate = Arc::new(Mutex::new(MessageRate::new(per_second)));
    OpenApiRouter::with_openapi(Schemas::openapi()).routes(routes!(send)).layer(Extension(rate))
}

problems! {
    /// Of sending one.
    SendProblems:
        &[K::Unauthenticated, K::Forbidden, K::NotFound, K::Gone, K::RateLimited, K::Damaged, K::StorageUnavailable],
        BODY;
}

/// A message to those who follow a document now.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageRequest)]
struct MessageBody {
    /// What it is, 1 to 64 characters.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 64, example = "pointer")]
    kind: String,
    /// Anything. A player is not told its `hidden`, and of its `private` only the member of their own id.
    #[serde(default)]
    payload: Value,
    /// Who alone is told, besides the document's host and the sender; left out: everyone who follows it.
    #[schema(value_type = Option<Vec<String>>)]
    to: Option<Vec<MessageRecipientId>>,
}

/// A user, or the owner as `owner`.
#[derive(Deserialize)]
struct MessageRecipientId(#[serde(deserialize_with = "Viewer::deserialize_id")] UserId);

/// A message as streams carry it, without its payload, which is the last member there.
#[derive(Serialize)]
struct MessageHead<'a> {
    collection: &'a Collection,
    id: &'a DocumentId,
    from: &'a UserId,
    #[serde(rename = "type")]
    kind: &'a str,
    at: Timestamp,
}

/// A message that was sent.
#[derive(Serialize, ToSchema)]
struct SentMessage {
    /// When, as those who are told it see it.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// Tell those who follow a document something
///
/// Streams carry it as `message`; it is stored nowhere, and whoever does not follow the document now never gets it.
/// Whoever may read the document may send; the sender is told, too. A follower that is slow gets the newest of each
/// sender and type. Counted per sender (`messages-per-second`), administrators excepted. No `Idempotency-Key`: nothing
/// is remembered.
#[utoipa::path(
    post, path = "/api/v1/{collection}/{id}/messages", operation_id = "sendMessage", tag = "streams",
    params(DocumentPath, Caller), request_body = MessageBody,
    responses((status = 202, description = "It is on its way to them.", body = SentMessage), SendProblems),
)]
async fn send(
    State(api): State<Api>,
    Extension(rate): Extension<Arc<Mutex<MessageRate>>>,
    DocumentPath(name): DocumentPath,
    caller: Caller,
    body: RawBody,
) -> HandlerResult<Response> {
    let viewer = &caller.viewer;
    check_credential_writes(viewer)?;
    body.one_of(&[JSON])?;
    body.check_size(MESSAGE_BYTES_MAX)?;
    let MessageBody { kind, payload, to } = body.parse()?;
    check_type(&kind)?;
    let document = api.reads.live_document(&name, viewer).await?;
    let at = api.clock.now();
    if !caller.administrator {
        rate.lock().admit(viewer.scope(), at)?;
    }
    let from = viewer.user_id()?;
    let head = MessageHead { collection: &name.collection, id: &name.id, from: &from, kind: &kind, at };
    let head = serde_json::to_vec(&head).map_err(Error::internal)?;
    let recipients = to.map(|to| to.into_iter().map(|MessageRecipientId(id)| id).collect::<HashSet<UserId>>());
    let content = TransientContent { sender: viewer.clone(), kind, recipients, payload };
    let message = TransientMessage::new(Arc::clone(&document.meta), EVENT, &head, content)?;
    api.reads.hub.send(&Arc::new(message));
    Ok(json(Success::Accepted, &SentMessage { at })?)
}
