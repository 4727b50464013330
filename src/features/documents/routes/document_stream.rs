//! The stream of documents: what a [`Follow`] finds, as the frames of one viewer.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::Response;
use bytes::{Bytes, BytesMut};

use crate::base::error::{Error, Kind, Result};
use crate::base::limits;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::engine::read::follow::{Follow, Follower, Item};
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::request::caller::Caller;
use crate::http::response::sse::{self, Completion, EventSource, EventStream, Heartbeat, StreamContext, StreamPermit};
use crate::live::topics::Interest;

/// Responds with a stream of what `interest` covers, as `caller` may see it, for as long as they may be here. `resume`:
/// the position that the client last saw. A client that resumes is never refused for what is our trouble, since
/// `EventSource` would then give up for good: it gets a stream that ends at once and is asked to try again.
pub(super) async fn respond(
    api: &Api,
    caller: Caller,
    interest: Interest,
    resume: Option<&str>,
) -> Result<Response, HttpError> {
    let permit = match sse::acquire_permit(api, &caller, resume.is_some()) {
        StreamPermit::Acquired(permit) => permit,
        StreamPermit::Denied(answer) => return answer,
    };
    let follower = Follower { viewer: caller.viewer.clone(), counts: true };
    match Follow::open(api.reads.clone(), &api.presence, follower, interest, resume).await {
        Ok((follow, first)) => {
            let (reads, viewer) = (api.reads.clone(), caller.viewer.clone());
            let source = DocumentSource {
                reads,
                viewer,
                follow,
                first: Some(first),
                snapshot: None,
                behind: false,
                completion: Completion::Open,
            };
            Ok(EventStream::new(StreamContext::new(api, permit), caller, source).into_response())
        }
        Err(error) if resume.is_some() && error.kind() != Kind::TooLarge => Ok(sse::retry_now(&error)),
        Err(error) => Err(error.into()),
    }
}

/// What one viewer is told of the documents that they follow.
struct DocumentSource {
    reads: Reads,
    viewer: Viewer,
    follow: Follow,
    first: Option<Item>,
    /// The rest of a snapshot that is sent in pieces.
    snapshot: Option<std::vec::IntoIter<Arc<Document>>>,
    /// Whether several changes had come since the last that was told.
    behind: bool,
    completion: Completion,
}

impl EventSource for DocumentSource {
    const HEARTBEAT: Heartbeat = Heartbeat::AfterSilence;

    async fn next(&mut self) -> Result<Bytes> {
        let mut out = BytesMut::new();
        if self.snapshot.is_some() {
            self.continue_snapshot(&mut out)?;
            return Ok(out.freeze());
        }
        let item = match self.first.take() {
            Some(first) => first,
            None => self.follow.next().await?,
        };
        match item {
            Item::Changes(events) => {
                self.behind = events.len() > 1;
                return self.changes(&events);
            }
            Item::Presence(frames) => return Ok(frames),
            item => self.tell(item, &mut out)?,
        }
        Ok(out.freeze())
    }

    fn is_behind(&self) -> bool {
        self.behind
    }

    fn completion(&self) -> Completion {
        self.completion
    }
}

impl DocumentSource {
    /// Changes as they go out: one as it is, for nothing; several in one piece.
    fn changes(&self, events: &[Arc<Event>]) -> Result<Bytes> {
        if let [event] = events {
            return event.frame(event.meta.audience(&self.viewer));
        }
        let mut out = BytesMut::with_capacity(events.iter().map(|event| event.body.len() + 200).sum());
        for event in events {
            out.extend_from_slice(&event.frame(event.meta.audience(&self.viewer))?);
        }
        Ok(out.freeze())
    }

    fn tell(&mut self, item: Item, out: &mut BytesMut) -> Result<()> {
        match item {
            Item::Changes(events) => out.extend_from_slice(&self.changes(&events)?),
            Item::Presence(frames) => out.extend_from_slice(&frames),
            Item::Snapshot { reason, documents, gone, position } => {
                let _ = write!(out, "id: {position}\nevent: snapshot\ndata: {{\"reason\":\"{}\",", reason.as_str());
                if !gone.is_empty() {
                    let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
                    let _ = write!(out, "\"gone\":{},", serde_json::json!(gone));
                }
                out.extend_from_slice(b"\"documents\":[");
                self.snapshot = Some(documents.into_iter());
                self.continue_snapshot(out)?;
            }
            Item::Resumed { from, to, count } => {
                let _ =
                    write!(out, "event: resumed\ndata: {{\"from\":\"{from}\",\"to\":\"{to}\",\"count\":{count}}}\n\n");
            }
            Item::Moved(moved) => {
                let data = serde_json::json!({
                    "collection": moved.name.collection, "id": moved.name.id, "to": moved.to,
                    "position": moved.position,
                });
                let _ = write!(out, "event: moved\ndata: {data}\n\n");
                // Nothing follows where nothing else is followed.
                if self.follow.is_of(&moved.name) {
                    self.completion = Completion::Complete;
                }
            }
            Item::AccessEnded => self.completion = Completion::AccessEnded,
            Item::Durable(seq) => {
                let _ = write!(out, "event: durable\ndata: {{\"seq\":{seq}}}\n\n");
            }
        }
        Ok(())
    }

    /// Sends as much of a snapshot as fits into one write. The line that it is on ends with the last piece.
    fn continue_snapshot(&mut self, out: &mut BytesMut) -> Result<()> {
        let Some(documents) = &mut self.snapshot else { return Ok(()) };
        let durable = self.reads.hub.gate().durable();
        while out.len() < limits::STREAM_WRITE_BYTES_MAX {
            let Some(document) = documents.next() else {
                self.snapshot = None;
                out.extend_from_slice(b"]}\n\n");
                return Ok(());
            };
            // Whoever takes it slowly may have lost the right to it since the snapshot was made.
            let newest = self.reads.hub.peek(&document.meta.name);
            let meta = newest.as_ref().map_or(&document.meta, |newest| &newest.meta);
            let Some(audience) = meta.audience_of_reader(&self.viewer) else {
                (self.snapshot, self.completion) = (None, Completion::AccessEnded);
                // A frame that was begun must not be completed by what follows.
                out.extend_from_slice(b"\n\n");
                return Ok(());
            };
            document.render_into(out, audience, document.seq <= durable)?;
            if documents.len() > 0 {
                out.extend_from_slice(b",");
            }
        }
        Ok(())
    }
}

/// Refuses a stream over nothing. Error: `Invalid`.
pub(super) fn check_interest(interest: &Interest) -> Result<()> {
    let names = interest.documents.len() + interest.collections.len();
    if names == 0 {
        return Err(Error::invalid(
            "say what to follow: ?doc=collection/id or ?collection=name, each any number of times",
        ));
    }
    if names > limits::STREAM_NAMES_MAX {
        return Err(Error::invalid(format!("a stream follows at most {} names", limits::STREAM_NAMES_MAX)));
    }
    Ok(())
}
