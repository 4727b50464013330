//! Server-sent events: [`EventStream`] is the loop of every stream, [`EventSource`] what it sends.
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
use futures_util::{FutureExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::base::clock::Clock;
use crate::base::entropy;
use crate::base::error::{Error, Kind, Result};
use crate::http::api::Api;
use crate::http::concurrency::Permit;
use crate::http::error::HttpError;
use crate::http::request::caller::Caller;

/// Shortest reconnection time that clients are told.
const RETRY_MIN: Duration = Duration::from_millis(300);
/// How much longer it may be: spreads those who come back together.
const RETRY_JITTER: Duration = Duration::from_millis(900);
/// Retry delay for a client at its stream limit.
const TOO_MANY_STREAMS_RETRY: Duration = Duration::from_secs(5);
/// See [`retry_later`].
const RETRY_SPREAD: Duration = Duration::from_millis(500);
/// Why a stream ends whose caller may no longer be here, or no longer read what it follows.
const ACCESS_ENDED: &str = "access-ended";
/// A prime by which numbers that follow each other come to lie far apart.
const SPREAD_PRIME: u64 = 2_654_435_761;

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
pub(crate) fn retry_now(error: &Error) -> Response {
    tracing::warn!(%error, "a stream could not be resumed; the client is asked to try again");
    let mut out = BytesMut::new();
    write_bye(&mut out, "unavailable", wait(&entropy::SystemEntropy));
    stream_response(Body::from(out.freeze()))
}

/// How long a client waits before it reconnects, milliseconds.
fn retry(api: &Api) -> u64 {
    wait(&*api.entropy)
}

fn wait(entropy: &dyn entropy::Entropy) -> u64 {
    let jitter = u64::try_from(RETRY_JITTER.as_millis()).unwrap_or(0);
    u64::try_from(RETRY_MIN.as_millis()).unwrap_or(0) + entropy::below(entropy, jitter)
}

/// What an [`EventStream`] sends besides heartbeats and its end.
pub(crate) trait EventSource: Send + 'static {
    /// When heartbeats are sent.
    const HEARTBEAT: Heartbeat;

    /// Waits for the next frames. Cancel safe. An error ends the stream.
    fn next(&mut self) -> impl Future<Output = Result<Bytes>> + Send;

    /// Whether more may be ready at once: whether the caller may still be here is then looked at first.
    fn is_behind(&self) -> bool;

    /// Whether anything follows what [`next`](Self::next) gave last.
    fn completion(&self) -> Completion {
        Completion::Open
    }
}

/// Whether a source has more to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    Open,
    /// Nothing follows.
    Complete,
    /// Nothing follows: the caller may no longer read what the stream is about. `bye` says so.
    AccessEnded,
}

/// When heartbeats are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heartbeat {
    /// When nothing was sent for an interval.
    AfterSilence,
    /// Every interval, whatever else is sent.
    Fixed,
}

/// What every stream needs of the server.
pub(crate) struct StreamContext {
    pub clock: Arc<dyn Clock>,
    /// Interval of heartbeats.
    pub heartbeat: Duration,
    /// How long the client waits before it reconnects, milliseconds.
    pub retry_ms: u64,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
    /// Held for as long as the stream is open.
    #[expect(dead_code, reason = "it is released when it is dropped")]
    pub permit: Permit<Box<str>>,
}

impl StreamContext {
    pub(crate) fn new(api: &Api, permit: Permit<Box<str>>) -> Self {
        let (clock, stop) = (Arc::clone(&api.clock), api.stop.clone());
        Self { clock, heartbeat: api.heartbeat, retry_ms: retry(api), stop, permit }
    }
}

/// One subscriber: writes what its source gives, as fast as the connection takes it, with heartbeats and the end.
pub(crate) struct EventStream<S> {
    context: StreamContext,
    caller: Caller,
    source: S,
    /// Kept from one event to the next: joining those who wait for the end costs more than an event.
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Fires when a heartbeat may be due. Not moved at each event, since that costs too; `counted_from` tells whether
    /// one is.
    heartbeat: Pin<Box<Sleep>>,
    /// When the interval of the next heartbeat began.
    counted_from: Instant,
    /// Who is woken by `stopped` and `heartbeat`.
    waker: Option<Waker>,
    begun: bool,
    ended: bool,
}

/// What wakes a subscriber.
enum Wake {
    Stopped,
    Frames(Bytes),
    HeartbeatDue,
}

impl<S: EventSource> EventStream<S> {
    pub(crate) fn new(context: StreamContext, caller: Caller, source: S) -> Self {
        let stopped = Box::pin(caller.ended());
        let counted_from = Instant::now();
        let heartbeat = Box::pin(sleep_until(counted_from + context.heartbeat));
        let (waker, begun, ended) = (None, false, false);
        Self { context, caller, source, stopped, heartbeat, counted_from, waker, begun, ended }
    }

    pub(crate) fn into_response(self) -> Response {
        // In a box, since it is passed from each piece to the next.
        let body = stream::unfold(Box::new(self), |mut stream| async move {
            let bytes = stream.next().await?;
            Some((Ok::<_, std::convert::Infallible>(bytes), stream))
        });
        stream_response(Body::from_stream(body))
    }

    /// The next bytes to write; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let bytes = self.fill().await.unwrap_or_else(|error| {
            tracing::error!(%error, "a stream ends early");
            // A frame that was begun must not be completed by what follows.
            self.end("unavailable", BytesMut::from(&b"\n\n"[..]))
        });
        Some(bytes)
    }

    async fn fill(&mut self) -> Result<Bytes> {
        if !std::mem::replace(&mut self.begun, true) {
            let mut out = BytesMut::from(format!("retry: {}\n\n", self.context.retry_ms).as_bytes());
            if let Some(frames) = self.source.next().now_or_never() {
                out.extend_from_slice(&frames?);
            }
            return Ok(out.freeze());
        }
        Ok(match self.wait().await? {
            Wake::Frames(frames) => match self.source.completion() {
                Completion::Open => frames,
                Completion::Complete => {
                    self.ended = true;
                    frames
                }
                Completion::AccessEnded => self.end(ACCESS_ENDED, frames.into()),
            },
            Wake::HeartbeatDue => {
                format!("event: heartbeat\ndata: {{\"at\":\"{}\"}}\n\n", self.context.clock.now()).into()
            }
            Wake::Stopped => {
                let reason = if self.context.stop.is_cancelled() { "shutdown" } else { ACCESS_ENDED };
                self.end(reason, BytesMut::new())
            }
        })
    }

    fn end(&mut self, reason: &str, mut out: BytesMut) -> Bytes {
        self.ended = true;
        write_bye(&mut out, reason, self.context.retry_ms);
        out.freeze()
    }

    /// Waits for something to write.
    async fn wait(&mut self) -> Result<Wake> {
        // The order to stop comes first where there is always more to tell.
        if self.source.is_behind() && self.caller.has_ended() {
            return Ok(Wake::Stopped);
        }
        let fixed = S::HEARTBEAT == Heartbeat::Fixed;
        loop {
            let due = self.counted_from + self.context.heartbeat;
            let overdue = fixed && Instant::now() >= due;
            let wake = if overdue { Wake::HeartbeatDue } else { self.first_wake().await? };
            let now = Instant::now();
            if matches!(wake, Wake::HeartbeatDue) {
                let next = if now < due { due } else { now + self.context.heartbeat };
                self.heartbeat.as_mut().reset(next);
                self.waker = None;
                if now < due {
                    continue;
                }
            } else if fixed {
                return Ok(wake);
            }
            self.counted_from = now;
            return Ok(wake);
        }
    }

    async fn first_wake(&mut self) -> Result<Wake> {
        let Self { caller, source, stopped, heartbeat, waker, .. } = self;
        let mut next = pin!(source.next());
        let mut asked = false;
        poll_fn(|cx| {
            if let Poll::Ready(frames) = next.as_mut().poll(cx) {
                return Poll::Ready(frames.map(Wake::Frames));
            }
            // The other two wake this task since before the last event, and need not be told again. But the wake-up
            // that brought the event may have been theirs too, so the first time round they are looked at.
            let known = waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            let fired = || heartbeat.is_elapsed() || caller.has_ended();
            if !std::mem::replace(&mut asked, true) && known && !fired() {
                return Poll::Pending;
            }
            if !known {
                *waker = Some(cx.waker().clone());
            }
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(Wake::Stopped));
            }
            heartbeat.as_mut().poll(cx).map(|()| Ok(Wake::HeartbeatDue))
        })
        .await
    }
}

/// The last event of a stream that we end on purpose.
fn write_bye(out: &mut BytesMut, reason: &str, retry_ms: u64) {
    let _ = write!(out, "event: bye\nretry: {retry_ms}\ndata: {{\"reason\":\"{reason}\"}}\n\n");
}

/// The answer whose body is a stream of events.
fn stream_response(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // A proxy that buffers would hold events back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}
