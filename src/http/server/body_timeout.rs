//! A request body whose sender must go on sending.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimes {
    pub idle: Duration,
    /// In all, from the first wait on: a sender of one byte now and then is not idle, and still holds a connection.
    pub total: Duration,
}

/// Why a body ended early: its sender was too slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body did not come in time")
    }
}

impl std::error::Error for TooSlow {}

/// What the handlers get for the body that hyper reads. One without content costs nothing.
pub(crate) fn watched(incoming: Incoming, times: BodyTimes) -> Body {
    if incoming.is_end_stream() { Body::empty() } else { Body::new(Inbound { incoming, times, wait: None }) }
}

/// A body under time limits. The timer exists from the first time that the next piece is not there yet.
struct Inbound {
    incoming: Incoming,
    times: BodyTimes,
    wait: Option<Wait>,
}

struct Wait {
    timer: Pin<Box<Sleep>>,
    /// When the body must be complete.
    end: Instant,
    /// Whether the timer runs for the piece that is awaited now.
    running: bool,
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) {
            if let Some(wait) = &mut this.wait {
                wait.running = false;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let now = Instant::now();
        let times = this.times;
        let wait = this.wait.get_or_insert_with(|| {
            let end = now + times.total;
            Wait { timer: Box::pin(sleep_until(end)), end, running: false }
        });
        if !wait.running {
            wait.timer.as_mut().reset(wait.end.min(now + times.idle));
            wait.running = true;
        }
        wait.timer.as_mut().poll(cx).map(|()| Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
