//! The stream of documents: what a [`Follow`] finds, as the frames of one viewer.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::Response;
use bytes::{Bytes, BytesMut};

use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::base::limits;
use crate::document::chain::Position;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::query::filter::Filter;
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::engine::read::follow::{Follow, Follower, Item, Reason};
use crate::http::api::Api;
use crate::http::error::HttpError;
use crate::http::request::caller::Caller;
use crate::http::response::sse::{self, Completion, EventSource, EventStream, Heartbeat, StreamContext, StreamPermit};
use crate::live::topics::Interest;

/// Responds with a stream of what `interest` covers and `filter` lets through, as `caller` may see it, for as long as
/// they may be here. `resume`: the position that the client last saw. A client that resumes is never refused for what
/// is our trouble, since `EventSource` would then give up for good: it gets a stream that ends at once and is asked to
/// try again.
pub(super) async fn respond(
    api: &Api,
    caller: Caller,
    (interest, filter): (Interest, Option<Filter>),
    resume: Option<&str>,
) -> Result<Response, HttpError> {
    let permit = match sse::acquire_permit(api, &caller, resume.is_some()) {
        StreamPermit::Acquired(permit) => permit,
        StreamPermit::Denied(answer) => return answer,
    };
    let follower = Follower { viewer: caller.viewer.clone(), counts: true, device: Some(caller.device()), filter };
    match Follow::open(api.reads.clone(), &api.presence, follower, interest, resume).await {
        Ok((follow, first)) => {
            let (reads, viewer) = (api.reads.clone(), caller.viewer.clone());
            let source = DocumentSource {
                reads,
                viewer,
                follow,
                first: Some(first),
                out: BytesMut::new(),
                changes: Vec::new().into_iter(),
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
    /// What goes out in the next piece.
    out: BytesMut,
    /// Changes that did not fit into the last one.
    changes: std::vec::IntoIter<Arc<Event>>,
    /// The rest of a snapshot that is sent in pieces.
    snapshot: Option<std::vec::IntoIter<Arc<Document>>>,
    /// Whether several changes had come since the last that was told.
    behind: bool,
    completion: Completion,
}

impl EventSource for DocumentSource {
    const HEARTBEAT: Heartbeat = Heartbeat::AfterSilence;

    /// A piece ends where it is full of what is shown, or where there is no more: were it to end with what was read at
    /// once, its length would tell how much of that is hidden. Cancel safe: what is not returned yet is kept.
    async fn next(&mut self) -> Result<Bytes> {
        loop {
            self.continue_snapshot()?;
            self.add_changes()?;
            if self.is_full() || self.snapshot.is_some() || self.completion != Completion::Open {
                return Ok(self.piece());
            }
            let item = match self.first.take() {
                Some(first) => first,
                None if self.out.is_empty() => self.follow.next().await?,
                None => match self.follow.next_ready().await? {
                    Some(item) => item,
                    None => return Ok(self.piece()),
                },
            };
            match item {
                Item::Changes(events) => {
                    self.behind = events.len() > 1 || !self.out.is_empty();
                    if let [event] = &*events
                        && self.out.is_empty()
                        && self.follow.is_caught_up()
                    {
                        // As it is, for nothing: there may be a thousand others who get it.
                        return event.frame(event.meta.audience(&self.viewer));
                    }
                    self.changes = events.into_iter();
                    tokio::task::yield_now().await;
                }
                Item::Presence(frames) | Item::Transient(frames) if self.out.is_empty() => return Ok(frames),
                item => {
                    self.write_item(item)?;
                    // What was missed goes out with what it was missed of: who has that has it.
                    if !self.follow.are_messages_next() {
                        return Ok(self.piece());
                    }
                }
            }
        }
    }

    fn is_behind(&self) -> bool {
        self.behind
    }

    fn completion(&self) -> Completion {
        self.completion
    }
}

impl DocumentSource {
    fn is_full(&self) -> bool {
        self.out.len() >= limits::STREAM_WRITE_BYTES_MAX
    }

    fn piece(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Adds the changes that wait, as many as fit.
    fn add_changes(&mut self) -> Result<()> {
        while !self.is_full()
            && let Some(event) = self.changes.next()
        {
            // Whoever takes them slowly may have lost the right to them since they were read.
            let newest = self.reads.hub.peek(&event.meta.name);
            let meta = newest.as_ref().map_or(&event.meta, |newest| &newest.meta);
            let Some(audience) = meta.audience_of_reader(&self.viewer) else {
                (self.changes, self.completion) = (Vec::new().into_iter(), Completion::AccessEnded);
                break;
            };
            self.out.extend_from_slice(&event.frame(audience)?);
        }
        Ok(())
    }

    fn write_item(&mut self, item: Item) -> Result<()> {
        let out = &mut self.out;
        match item {
            Item::Changes(events) => self.changes = events.into_iter(),
            Item::Messages(messages) => messages.iter().for_each(|message| message.write_frame(out)),
            Item::Presence(frames) | Item::Transient(frames) => out.extend_from_slice(&frames),
            Item::Snapshot { reason, documents, gone, position } => {
                self.begin_snapshot(reason, position, documents, &gone)?;
            }
            Item::Entered(document) => {
                let position = document.position();
                self.begin_snapshot(Reason::Entered, position, vec![document], &[])?;
            }
            Item::Left(event) => {
                let _ = write!(out, "id: {}\nevent: left\ndata: {}\n\n", event.position(), left(&event));
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

    fn begin_snapshot(
        &mut self,
        reason: Reason,
        position: Position,
        documents: Vec<Arc<Document>>,
        gone: &[DocumentName],
    ) -> Result<()> {
        let out = &mut self.out;
        let _ = write!(out, "id: {position}\nevent: snapshot\ndata: {{\"reason\":\"{}\",", reason.as_str());
        if !gone.is_empty() {
            let gone: Vec<_> = gone.iter().map(ToString::to_string).collect();
            let _ = write!(out, "\"gone\":{},", serde_json::json!(gone));
        }
        out.extend_from_slice(b"\"documents\":[");
        self.snapshot = Some(documents.into_iter());
        self.continue_snapshot()
    }

    /// Sends as much of a snapshot as fits into one write. The line that it is on ends with the last piece.
    fn continue_snapshot(&mut self) -> Result<()> {
        let Self { snapshot, out, .. } = self;
        let Some(documents) = snapshot else { return Ok(()) };
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

/// What is told of a document that matches no more by this change.
pub(super) fn left(event: &Event) -> serde_json::Value {
    let name = &event.meta.name;
    serde_json::json!({ "collection": name.collection, "id": name.id, "version": event.version })
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
