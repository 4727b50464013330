//! History pages, long polls and server-sent events.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;
use tokio::time::sleep;
use utoipa::ToSchema;

use super::description::{ReadProblems, StreamProblems};
use super::event_schemas::StreamEvent;
use super::schemas::HistoryPageSchema;
use super::{diverged, document_stream, stream_page};
use crate::base::error::{Error, Result};
use crate::base::ids::{Collection, DocumentName, Version};
use crate::document::chain::Position;
use crate::document::decide::not_found_error;
use crate::document::query::filter::Filter;
use crate::document::visibility::Viewer;
use crate::engine::read::EventHistory;
use crate::features::documents::limits::WAIT_MAX;
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::page::{Cursor, Page, PageLimit, PageRequest, encode_cursor};
use crate::http::request::caller::Caller;
use crate::http::request::headers::{self, REJOIN_POSITION};
use crate::http::request::path::DocumentPath;
use crate::http::request::query::Query;
use crate::http::response::json::json;
use crate::http::response::openapi::ResumeHeader;
use crate::http::response::success::{Success, no_content};
use crate::live::topics::Interest;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Of a stream: the same as `Last-Event-ID`, for clients that cannot set headers.
    last_event_id: Option<String>,
    /// Of history: the version or the position after which it begins.
    #[param(value_type = Option<String>)]
    after: Option<HistoryStart>,
    /// Of history: the `nextCursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
    /// Of history: most events in the page.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 500, default = 50)]
    limit: Option<PageLimit>,
    /// Of history: seconds to wait for an event when there is none yet.
    #[param(value_type = Option<u64>, maximum = 60)]
    wait: Option<LongPoll>,
}

/// Follow a document, or read its history
///
/// With `Accept: text/event-stream` a stream: `snapshot` (documents that are not there are named in its `gone`) or
/// `resumed` first, then each `change` (its data is an event),
/// and `durable`, `presence` (who is connected or seated, by id, for everyone who may follow the document), `moved` (it
/// is on another server now, and goes on there from the same position), `notification` (of the caller, whatever it is
/// about), `conflict` (a merge left something to a person), `heartbeat`, `bye`. Otherwise a page of history; with
/// `wait`, a long poll.
#[utoipa::path(
    get, path = "/api/v1/{collection}/{id}/events", operation_id = "followDocument", tag = "streams",
    params(DocumentPath, Caller, EventsQuery, ResumeHeader),
    responses(
        (status = 200, description = "The stream, or a page of history.",
            content((HistoryPageSchema = "application/json"), (Vec<StreamEvent> = "text/event-stream")),
            headers(("Rejoin-Position" = String, description = "Of history: where its last event is."))),
        (status = 204, description = "Nothing came while the caller waited."),
        ReadProblems,
    ),
)]
pub(super) async fn events(
    State(api): State<Api>,
    DocumentPath(name): DocumentPath,
    caller: Caller,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    if !headers::wants_event_stream(&headers) {
        return history(&api, &caller, &name, query).await;
    }
    let resume = resume(&headers, query.last_event_id);
    if resume.is_none() {
        // Whoever resumes is never refused; whoever begins is told that there is nothing to follow. A document that
        // was deleted is in the snapshot as gone: a refusal would end a browser's stream for good.
        let document = api.reads.readable_document(&name, &caller.viewer).await?;
        document.ok_or_else(|| not_found_error(&name, None))?;
    } else {
        // It would be told nothing, for as long as it asks.
        api.reads.check_reader(&name, &caller.viewer).await?;
    }
    document_stream::respond(&api, caller, (Interest::document(name), None), resume.as_deref()).await
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StreamQuery {
    /// A document to follow, `collection/id`; any number of times.
    #[serde(default)]
    #[param(value_type = Vec<String>)]
    doc: Vec<DocumentName>,
    /// A collection to follow, with what is created in it later; any number of times.
    #[serde(default)]
    #[param(value_type = Vec<String>)]
    collection: Vec<Collection>,
    /// Only of documents that match, as in lists.
    #[param(value_type = Option<String>, example = json!("{\"status\":\"active\"}"))]
    r#where: Option<Filter>,
    /// The same as `Last-Event-ID`, for clients that cannot set headers.
    last_event_id: Option<String>,
    /// Of a page of JSON: seconds to wait for an event when there is none yet.
    #[param(value_type = Option<u64>, maximum = 60)]
    wait: Option<LongPoll>,
}

/// What a stream would say.
#[derive(Serialize, ToSchema)]
struct StreamPage {
    /// Its events after the given position, in their order.
    events: Vec<StreamPageEvent>,
    /// Where the next page continues from.
    position: String,
    /// Whether there is more already.
    more: bool,
}

/// An event of a stream.
#[derive(Serialize, ToSchema)]
struct StreamPageEvent {
    /// Its name.
    #[schema(example = "change")]
    event: String,
    /// Its position, if it has one.
    id: Option<String>,
    /// What a stream would have as its data.
    data: serde_json::Value,
}

/// Follow many documents on one connection
///
/// As the stream of one document; at least one `doc` or `collection` must be given. For `presence`, the caller is
/// connected to each `doc`; a `collection` tells of all its documents and counts for none. A game that is on another
/// server is not in a `snapshot`; `moved` tells where it is, when the stream begins and when it goes. Should it come
/// back, its changes go on, and a `snapshot` (`returned`) has it for whoever let go of it.
///
/// With `where` it tells of documents that match, as the caller sees them: a `snapshot` (`entered`) adds the one that
/// comes to match, `left` takes away the one that no longer does, each in place of the change by which it does. Of the
/// `count` changes that `resumed` announces those of other documents are left out.
///
/// With `Accept: application/json` a page of what the stream would say after `lastEventId`, without `presence`; with
/// `wait`, a long poll: for networks that let no stream through.
#[utoipa::path(
    get, path = "/api/v1/stream", operation_id = "follow", tag = "streams",
    params(Caller, StreamQuery, ResumeHeader),
    responses(
        (status = 200, description = "The stream, or a page of it.",
            content((Vec<StreamEvent> = "text/event-stream"), (StreamPage = "application/json"))),
        (status = 204, description = "Of a page: nothing came."),
        StreamProblems
    ),
)]
pub(super) async fn stream(
    State(api): State<Api>,
    caller: Caller,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> HandlerResult<Response> {
    let interest =
        Interest { documents: query.doc.into_iter().collect(), collections: query.collection.into_iter().collect() };
    document_stream::check_interest(&interest)?;
    let resume = resume(&headers, query.last_event_id);
    if headers::prefers(&headers, "application/json", "text/event-stream") {
        let wait = query.wait.map(|LongPoll(wait)| wait).unwrap_or_default();
        return stream_page::respond(&api, &caller, (interest, query.r#where), resume.as_deref(), wait).await;
    }
    document_stream::respond(&api, caller, (interest, query.r#where), resume.as_deref()).await
}

/// The position that the client last saw: the header, else the query. One that cannot be read names no place.
fn resume(headers: &HeaderMap, query: Option<String>) -> Option<String> {
    headers::last_event_id(headers).or(query).filter(|text| !text.is_empty())
}

async fn history(api: &Api, caller: &Caller, name: &DocumentName, query: EventsQuery) -> HandlerResult<Response> {
    let page = PageRequest::new(query.limit, query.cursor);
    let wait = query.wait.map(|LongPoll(wait)| wait);
    let cursor = page.parse_after(|text| HistoryStart::try_from(text.to_owned()))?;
    let after = match cursor.or(query.after) {
        None => Version::ZERO,
        Some(HistoryStart::Version(version)) => version,
        Some(HistoryStart::Position(position)) => version_after(api, name, position, &caller.viewer).await?,
    };
    // Subscribed before the look, so that nothing falls between the look and the wait.
    let subscription = api.reads.hub.subscribe(Arc::new(Interest::document(name.clone())));
    let read = || api.reads.history(name, after, page.limit, &caller.viewer);
    let mut found = read().await?;
    if let Some(wait) = wait {
        let end = sleep(wait);
        let ended = caller.ended();
        tokio::pin!(end, ended);
        // What wakes us may be no news to this caller: a change before `after`, or one that was already looked at.
        while found.events.is_empty() {
            tokio::select! {
                () = subscription.changed() => found = read().await?,
                () = &mut end => return Ok(no_content()),
                () = &mut ended => return Ok(no_content()),
            }
        }
    }
    Ok(page_of_history(&caller.viewer, &found)?)
}

/// Where history begins.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
enum HistoryStart {
    Version(Version),
    Position(Position),
}

impl TryFrom<String> for HistoryStart {
    type Error = &'static str;

    /// A number is a version, anything else a position.
    fn try_from(text: String) -> Result<Self, &'static str> {
        if let Ok(version) = text.parse() {
            return Ok(Self::Version(Version(version)));
        }
        let position = Position::parse(&text).filter(|position| matches!(position, Position::After { .. }));
        position.map(Self::Position).ok_or("must be a version or a position")
    }
}

/// How long a poll waits, in seconds.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct LongPoll(Duration);

impl TryFrom<u64> for LongPoll {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        let wait = Duration::from_secs(seconds);
        if wait > WAIT_MAX {
            return Err(format!("must be at most {} seconds", WAIT_MAX.as_secs()));
        }
        Ok(Self(wait))
    }
}

/// As [`HistoryPageSchema`] describes it; the events as they are stored.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HistoryResponse {
    #[serde(flatten)]
    page: Page<Box<RawValue>>,
    first_version: u64,
}

fn page_of_history(viewer: &Viewer, found: &EventHistory) -> Result<Response> {
    let mut items = Vec::with_capacity(found.events.len());
    for event in &found.events {
        let bytes = event.render(event.meta.audience(viewer))?;
        let text = String::from_utf8(bytes.into()).map_err(Error::internal)?;
        items.push(RawValue::from_string(text).map_err(Error::internal)?);
    }
    let last = found.events.last();
    let next_cursor = last.filter(|_| found.more).map(|event| encode_cursor(&event.version.to_string()));
    let page = HistoryResponse { page: Page { items, next_cursor }, first_version: found.first_version.0 };
    let mut response = json(Success::Done, &page)?;
    if let Some(event) = last {
        let position = HeaderValue::try_from(event.position().to_string()).map_err(Error::internal)?;
        response.headers_mut().insert(REJOIN_POSITION, position);
    }
    Ok(response)
}

/// The version of a document at `position`. Error: `Gone` for one that is not in this log.
async fn version_after(api: &Api, name: &DocumentName, position: Position, viewer: &Viewer) -> HandlerResult<Version> {
    let newest = api.reads.readable_document(name, viewer).await?.ok_or_else(|| not_found_error(name, None))?;
    if newest.position() == position {
        return Ok(newest.version);
    }
    if !api.reads.has_position(position).await? {
        // A document that came from another server has that server's positions in its chain.
        let found = api.reads.by_hash(name, position).await?;
        return found.map(|(_, version)| version).ok_or_else(diverged);
    }
    Ok(api.reads.version_at(name, position.seq()).await?)
}
