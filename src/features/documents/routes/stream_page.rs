//! What a stream would say, as one page of JSON: for clients whose network lets no stream through.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::header::{CONTENT_TYPE, HeaderValue};
use tokio::time::sleep;

use super::document_stream::left;
use crate::base::error::Result;
use crate::base::ids::{DocumentName, Seq};
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::model::Document;
use crate::document::query::filter::Filter;
use crate::document::visibility::Viewer;
use crate::engine::read::follow::{Follow, Follower, Item, Reason};
use crate::http::api::Api;
use crate::http::error::HandlerResult;
use crate::http::request::caller::Caller;
use crate::http::response::success::no_content;
use crate::live::messages::StreamMessage;
use crate::live::topics::Interest;

/// Most events in one page. What is left is in the next.
const EVENTS_MAX: usize = 500;

/// Answers with what came after `resume`, or with the whole state where there is no such place; with 204 when nothing
/// did within `wait`. The caller does not count as present.
pub(super) async fn respond(
    api: &Api,
    caller: &Caller,
    (interest, filter): (Interest, Option<Filter>),
    resume: Option<&str>,
    wait: Duration,
) -> HandlerResult<Response> {
    let follower = Follower { viewer: caller.viewer.clone(), counts: false, device: Some(caller.device()), filter };
    let (mut follow, first) = Follow::open(api.reads.clone(), &api.presence, follower, interest, resume).await?;
    let acknowledged = resume.and_then(Position::parse).map_or(Seq::ZERO, |position| position.seq());
    let mut page = StreamPageWriter::new(api, &caller.viewer, acknowledged);
    let mut left = page.add(first)?;
    while (left > 0 || follow.has_missed_messages()) && !page.cut && !page.ended {
        // What was missed goes with the last change: who comes back from there has it.
        if page.is_full() && (left > 0 || !follow.are_messages_next()) {
            break;
        }
        let Some(item) = follow.next_ready().await? else {
            // Of what was announced some may be of documents that do not match.
            left = 0;
            break;
        };
        left = left.saturating_sub(page.add(item)?);
    }
    let (end, ended) = (sleep(wait), caller.ended());
    tokio::pin!(end, ended);
    while !page.news && !wait.is_zero() && !page.ended {
        tokio::select! {
            item = follow.next() => page.add(item?).map(drop)?,
            () = &mut end => break,
            () = &mut ended => break,
        }
    }
    let more = (left > 0 || page.cut || follow.has_missed_messages()) && !page.ended;
    Ok(page.into_response(more))
}

/// The answer in the making.
struct StreamPageWriter<'a> {
    api: &'a Api,
    viewer: &'a Viewer,
    out: BytesMut,
    events: usize,
    position: Option<Position>,
    /// The client came back with this: what is about this very change comes again, and is no news.
    acknowledged: Seq,
    /// Whether there is something that the client does not have.
    news: bool,
    /// Whether the caller may no longer read something that is in it. Nothing follows.
    ended: bool,
    /// Whether it was full before all changes were in it that were found.
    cut: bool,
}

impl<'a> StreamPageWriter<'a> {
    fn new(api: &'a Api, viewer: &'a Viewer, acknowledged: Seq) -> Self {
        Self {
            api,
            viewer,
            out: BytesMut::from(&b"{\"events\":["[..]),
            events: 0,
            position: None,
            acknowledged,
            news: false,
            ended: false,
            cut: false,
        }
    }

    fn is_full(&self) -> bool {
        self.events >= EVENTS_MAX || self.out.len() >= limits::STREAM_WRITE_BYTES_MAX
    }

    /// Adds what a stream would say. Gives how many changes were announced, or have come.
    fn add(&mut self, item: Item) -> Result<u64> {
        match item {
            Item::Resumed { from, count, .. } => {
                self.position = Some(from);
                return Ok(count);
            }
            Item::Snapshot { reason, documents, gone, position } => {
                self.add_snapshot(reason, position, &documents, &gone)?;
            }
            Item::Entered(document) => {
                let position = document.position();
                self.add_snapshot(Reason::Entered, position, &[document], &[])?;
            }
            Item::Changes(events) => {
                let mut told = 0;
                for event in &events {
                    if self.is_full() {
                        self.cut = true;
                        break;
                    }
                    told += 1;
                    self.begin("change", Some(event.position()));
                    event.render_into(&mut self.out, event.meta.audience(self.viewer))?;
                    self.out.extend_from_slice(b"}");
                }
                return Ok(told);
            }
            Item::Left(event) => {
                self.begin("left", Some(event.position()));
                let _ = write!(self.out, "{}}}", left(&event));
            }
            Item::Messages(messages) => messages.iter().for_each(|message| self.add_message(message)),
            Item::Moved(moved) => {
                self.begin("moved", None);
                let data = serde_json::json!({
                    "collection": moved.name.collection, "id": moved.name.id, "to": moved.to,
                    "position": moved.position,
                });
                let _ = write!(self.out, "{data}}}");
            }
            Item::Durable(seq) => {
                self.begin("durable", None);
                let _ = write!(self.out, "{{\"seq\":{seq}}}}}");
            }
            Item::AccessEnded => {
                self.begin("bye", None);
                self.out.extend_from_slice(b"{\"reason\":\"access-ended\"}}");
                self.ended = true;
            }
            Item::Presence(_) | Item::Transient(_) => {}
        }
        Ok(0)
    }

    fn add_snapshot(
        &mut self,
        reason: Reason,
        position: Position,
        documents: &[Arc<Document>],
        gone: &[DocumentName],
    ) -> Result<()> {
        self.begin("snapshot", Some(position));
        let _ = write!(self.out, "{{\"reason\":\"{}\",", reason.as_str());
        if !gone.is_empty() {
            let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
            let _ = write!(self.out, "\"gone\":{},", serde_json::json!(gone));
        }
        self.out.extend_from_slice(b"\"documents\":[");
        let durable = self.api.reads.hub.gate().durable();
        let readable = documents
            .iter()
            .filter_map(|document| document.meta.audience_of_reader(self.viewer).map(|audience| (document, audience)));
        for (index, (document, audience)) in readable.enumerate() {
            self.out.extend_from_slice(if index > 0 { b"," } else { b"" });
            document.render_into(&mut self.out, audience, document.seq <= durable)?;
        }
        self.out.extend_from_slice(b"]}}");
        Ok(())
    }

    fn add_message(&mut self, message: &StreamMessage) {
        let (news, position) = (self.news, self.position);
        self.begin(message.event, None);
        self.news = news || message.seq > self.acknowledged;
        // The next page goes on from there, and so acknowledges it.
        let later = message.position.filter(|later| position.is_none_or(|now| later.seq() > now.seq()));
        self.position = later.or(position);
        self.out.extend_from_slice(&message.data);
        self.out.extend_from_slice(b"}");
    }

    fn begin(&mut self, event: &str, position: Option<Position>) {
        let comma = if self.events > 0 { "," } else { "" };
        self.events += 1;
        self.news = true;
        let _ = write!(self.out, "{comma}{{\"event\":\"{event}\",");
        if let Some(position) = position {
            self.position = Some(position);
            let _ = write!(self.out, "\"id\":\"{position}\",");
        }
        self.out.extend_from_slice(b"\"data\":");
    }

    fn into_response(mut self, more: bool) -> Response {
        if self.events == 0 {
            return no_content();
        }
        let position = self.position.unwrap_or(Position::Start);
        let _ = write!(self.out, "],\"position\":\"{position}\",\"more\":{more}}}");
        ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], self.out.freeze()).into_response()
    }
}
