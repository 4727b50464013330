//! Server-sent events: what a follower is told, in frames.
//!
//! All that waits for a subscriber goes out in one write (measured: ten events in one write cost a fifth of the CPU).
//! Control events carry no `id:`; one with an `id:` would become the browser's `Last-Event-ID` and poison its resume.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::base::entropy;
use crate::base::error::{Error, Kind, Result};
use crate::base::limits;
use crate::document::event::Event;
use crate::document::model::Document;
use crate::document::visibility::redact_state;
use crate::engine::read::follow::{Follow, Item};
use crate::http::api::Api;
use crate::http::concurrency::Permit;
use crate::http::error::HttpError;
use crate::http::request::caller::Caller;
use crate::live::topics::Interest;

/// Shortest reconnection time that clients are told.
const RETRY_MIN: Duration = Duration::from_millis(300);
/// How much longer it may be: spreads those who come back together.
const RETRY_JITTER: Duration = Duration::from_millis(900);
/// Retry delay for a client at its stream limit.
const TOO_MANY_STREAMS_RETRY: Duration = Duration::from_secs(5);
/// See [`retry_later`].
const RETRY_SPREAD: Duration = Duration::from_millis(500);
/// A prime by which numbers that follow each other come to lie far apart.
const SPREAD_PRIME: u64 = 2_654_435_761;

/// Answers with a stream of what `interest` covers, as `caller` may see it, for as long as they may be here. `resume`:
/// the position that the client last saw. A client that resumes is never refused for what is our trouble, since
/// `EventSource` would then give up for good: it gets a stream that ends at once and is asked to try again.
pub(crate) async fn respond(
    api: &Api,
    caller: Caller,
    interest: Interest,
    resume: Option<&str>,
) -> Result<Response, HttpError> {
    let permit = match acquire_permit(api, &caller, resume.is_some()) {
        StreamPermit::Acquired(permit) => permit,
        StreamPermit::Denied(answer) => return answer,
    };
    let present = Some(caller.viewer.user_id()?);
    match Follow::open(api.reads.clone(), &api.presence, present, interest, resume).await {
        Ok((follow, first)) => Ok(DocumentStream::new(api.clone(), caller, follow, first, permit).into_response()),
        Err(error) if resume.is_some() && error.kind() != Kind::TooLarge => Ok(retry_now(&error)),
        Err(error) => Err(error.into()),
    }
}

/// A stream that ends at once and asks its client to come back after `wait`, and up to half a second more as `number`
/// has it, so that not all come back together. For requests that would be refused with a status, were it not that
/// `EventSource` gives up for good at any 4xx.
pub(crate) fn retry_later(reason: &str, wait: Duration, number: u64) -> Response {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let spread = u64::try_from(RETRY_SPREAD.as_millis()).unwrap_or(1);
    let mut out = BytesMut::new();
    write_bye(&mut out, reason, wait.saturating_add(number.wrapping_mul(SPREAD_PRIME) % spread));
    stream_response(Body::from(out.freeze()))
}

/// Whether a viewer may open one more stream.
pub(crate) enum StreamPermit {
    /// Held for as long as the stream is open.
    Acquired(Permit<Box<str>>),
    /// The response to send instead.
    Denied(Result<Response, HttpError>),
}

/// Takes a place for a stream of `caller`. `resumes`: whoever does is asked to come back where there is none.
pub(crate) fn acquire_permit(api: &Api, caller: &Caller, resumes: bool) -> StreamPermit {
    match api.streams.try_acquire(caller.viewer.scope().into()) {
        Some(permit) => StreamPermit::Acquired(permit),
        None if resumes => {
            StreamPermit::Denied(Ok(retry_later("too-many-streams", TOO_MANY_STREAMS_RETRY, retry(api))))
        }
        None => {
            let message = format!("you have {} streams open, and may have no more", api.streams.max());
            let error = Error::new(Kind::TooManyStreams, message).with("limit", api.streams.max());
            StreamPermit::Denied(Err(error.into()))
        }
    }
}

/// A stream that ends at once and asks its client to try again: what a client that resumes gets instead of `error`.
fn retry_now(error: &Error) -> Response {
    tracing::warn!(%error, "a stream could not be resumed; the client is asked to try again");
    let mut out = BytesMut::new();
    write_bye(&mut out, "unavailable", wait(&entropy::SystemEntropy));
    stream_response(Body::from(out.freeze()))
}

/// How long a client is to wait before it comes back, in milliseconds.
pub(crate) fn retry(api: &Api) -> u64 {
    wait(&*api.entropy)
}

fn wait(entropy: &dyn entropy::Entropy) -> u64 {
    let jitter = u64::try_from(RETRY_JITTER.as_millis()).unwrap_or(0);
    u64::try_from(RETRY_MIN.as_millis()).unwrap_or(0) + entropy::below(entropy, jitter)
}

/// One subscriber: turns what it is told into bytes, as fast as its connection takes them.
struct DocumentStream {
    api: Api,
    caller: Caller,
    follow: Follow,
    /// Kept from one event to the next: joining those who wait for the end costs more than an event.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Goes off when a heartbeat may be due. Not moved at each event, since that costs too; `told` says whether it is.
    heartbeat: Pin<Box<Sleep>>,
    /// When something was last told.
    told: Instant,
    /// Who is woken by `stopped` and `heartbeat`.
    waiting: Option<Waker>,
    /// Whether several changes had come since the last that was told.
    behind: bool,
    first: Option<Item>,
    /// The rest of a snapshot that is sent in pieces.
    snapshot: Option<std::vec::IntoIter<Arc<Document>>>,
    ended: bool,
    /// Its place among the streams of the same viewer.
    _permit: Permit<Box<str>>,
}

/// What wakes a subscriber.
enum Woken {
    Stopped,
    Told(Item),
    Silent,
}

impl DocumentStream {
    fn new(api: Api, caller: Caller, follow: Follow, first: Item, permit: Permit<Box<str>>) -> Self {
        let stopped = Box::pin(caller.ended());
        let told = Instant::now();
        let heartbeat = Box::pin(sleep_until(told + api.heartbeat));
        let first = Some(first);
        let (waiting, snapshot, behind, ended) = (None, None, false, false);
        Self { api, caller, follow, stopped, heartbeat, told, waiting, behind, first, snapshot, ended, _permit: permit }
    }

    fn into_response(self) -> Response {
        // In a box, since it is passed from each piece to the next.
        let body = stream::unfold(Box::new(self), |mut source| async move {
            let bytes = source.next().await?;
            Some((Ok::<_, std::convert::Infallible>(bytes), source))
        });
        stream_response(Body::from_stream(body))
    }

    /// The next bytes to write; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let bytes = self.fill().await.unwrap_or_else(|error| {
            tracing::error!(%error, "a stream ends early");
            // A frame that was begun must not be completed by what follows.
            let mut out = BytesMut::from(&b"\n\n"[..]);
            write_bye(&mut out, "unavailable", retry(&self.api));
            self.ended = true;
            out.freeze()
        });
        Some(bytes)
    }

    async fn fill(&mut self) -> Result<Bytes> {
        let mut out = BytesMut::new();
        if self.snapshot.is_some() {
            self.continue_snapshot(&mut out)?;
        } else if let Some(first) = self.first.take() {
            // Writing to memory cannot fail.
            let _ = write!(out, "retry: {}\n\n", retry(&self.api));
            self.tell(first, &mut out)?;
        } else {
            match self.woken().await? {
                Woken::Told(Item::Changes(events)) => return self.changes(&events),
                Woken::Told(Item::Presence(frames)) => return Ok(frames),
                Woken::Told(item) => self.tell(item, &mut out)?,
                Woken::Silent => {
                    let _ = write!(out, "event: heartbeat\ndata: {{\"at\":\"{}\"}}\n\n", self.api.clock.now());
                }
                Woken::Stopped => {
                    self.ended = true;
                    let reason = if self.api.stop.is_cancelled() { "shutdown" } else { "access-ended" };
                    write_bye(&mut out, reason, retry(&self.api));
                }
            }
        }
        Ok(out.freeze())
    }

    /// Waits for something to tell.
    async fn woken(&mut self) -> Result<Woken> {
        // The order to stop comes first where there is always more to tell.
        if self.behind && self.caller.has_ended() {
            return Ok(Woken::Stopped);
        }
        loop {
            let woken = self.first_of_all().await?;
            let now = Instant::now();
            let due = self.told + self.api.heartbeat;
            match &woken {
                Woken::Silent => {
                    let next = if now < due { due } else { now + self.api.heartbeat };
                    self.heartbeat.as_mut().reset(next);
                    self.waiting = None;
                    if now < due {
                        continue;
                    }
                }
                Woken::Told(Item::Changes(events)) => self.behind = events.len() > 1,
                Woken::Told(_) | Woken::Stopped => {}
            }
            self.told = now;
            return Ok(woken);
        }
    }

    async fn first_of_all(&mut self) -> Result<Woken> {
        let Self { caller, follow, stopped, heartbeat, waiting, .. } = self;
        let mut next = pin!(follow.next());
        let mut asked = false;
        poll_fn(|cx| {
            if let Poll::Ready(item) = next.as_mut().poll(cx) {
                return Poll::Ready(item.map(Woken::Told));
            }
            // The other two wake this task since before the last event, and need not be told again. But the wake-up
            // that brought the event may have been theirs too, so the first time round they are looked at.
            let known = waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            let fired = || heartbeat.is_elapsed() || caller.has_ended();
            if !std::mem::replace(&mut asked, true) && known && !fired() {
                return Poll::Pending;
            }
            if !known {
                *waiting = Some(cx.waker().clone());
            }
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Woken::Stopped));
            }
            heartbeat.as_mut().poll(cx).map(|()| Ok(Woken::Silent))
        })
        .await
    }

    /// Changes as they go out: one as it is, for nothing; several in one piece.
    fn changes(&self, events: &[Arc<Event>]) -> Result<Bytes> {
        if let [event] = events {
            return event.frame(event.meta.audience(&self.caller.viewer));
        }
        let mut out = BytesMut::with_capacity(events.iter().map(|event| event.body.len() + 200).sum());
        for event in events {
            out.extend_from_slice(&event.frame(event.meta.audience(&self.caller.viewer))?);
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
                self.ended = self.follow.is_of(&moved.name);
            }
            Item::Durable(seq) => {
                let _ = write!(out, "event: durable\ndata: {{\"seq\":{seq}}}\n\n");
            }
        }
        Ok(())
    }

    /// Sends as much of a snapshot as fits into one write. The line that it is on ends with the last piece.
    fn continue_snapshot(&mut self, out: &mut BytesMut) -> Result<()> {
        let Some(documents) = &mut self.snapshot else { return Ok(()) };
        let durable = self.api.reads.hub.gate().durable();
        while out.len() < limits::STREAM_WRITE_BYTES_MAX {
            let Some(document) = documents.next() else {
                self.snapshot = None;
                out.extend_from_slice(b"]}\n\n");
                return Ok(());
            };
            let audience = document.meta.audience(&self.caller.viewer);
            let state = document.state.as_deref().map(|state| redact_state(state, audience)).transpose()?;
            document.render_into(out, state.as_deref(), document.seq <= durable);
            if documents.len() > 0 {
                out.extend_from_slice(b",");
            }
        }
        Ok(())
    }
}

/// The last event of a stream that we end on purpose.
pub(crate) fn write_bye(out: &mut BytesMut, reason: &str, retry_ms: u64) {
    let _ = write!(out, "event: bye\nretry: {retry_ms}\ndata: {{\"reason\":\"{reason}\"}}\n\n");
}

/// The answer whose body is a stream of events.
pub(crate) fn stream_response(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // A proxy that buffers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

/// Refuses a stream over nothing. Error: `Invalid`.
pub(crate) fn check_interest(interest: &Interest) -> Result<()> {
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
