//! Timeouts on reading a request body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::http::request::body::BodyTimeout;
use crate::http::server::unread_body::UnreadBody;

#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyTimeouts {
    /// Longest pause.
    pub idle: Duration,
    /// The whole body, from the first pause on. Bounds a sender of one byte now and then, who is never idle.
    pub total: Duration,
}

/// Wraps the body that hyper reads. An empty one is not wrapped.
/// What is not read of it when it is dropped goes to `unread`.
pub(crate) fn with_timeout(incoming: Incoming, times: BodyTimeouts, unread: &UnreadBody) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    Body::new(TimedBody { incoming: Some(incoming), times, wait: None, unread: unread.clone() })
}

/// A body with timeouts. Its timer is made at the first pause: most bodies arrive at once.
struct TimedBody {
    /// None once it ended.
    incoming: Option<Incoming>,
    times: BodyTimeouts,
    wait: Option<BodyTimer>,
    unread: UnreadBody,
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if let Some(rest) = self.incoming.take().filter(|rest| !rest.is_end_stream()) {
            self.unread.store(rest);
        }
    }
}

struct BodyTimer {
    timer: Pin<Box<Sleep>>,
    /// Deadline of the whole body.
    end: Instant,
    /// Whether the timer is set for the current pause.
    running: bool,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            if let Some(wait) = &mut this.wait {
                wait.running = false;
            }
            if !matches!(frame, Some(Ok(_))) {
                this.incoming = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let now = Instant::now();
        let times = this.times;
        let wait = this.wait.get_or_insert_with(|| {
            let end = now + times.total;
            BodyTimer { timer: Box::pin(sleep_until(end)), end, running: false }
        });
        if !wait.running {
            wait.timer.as_mut().reset(wait.end.min(now + times.idle));
            wait.running = true;
        }
        wait.timer.as_mut().poll(cx).map(|()| Some(Err(BodyTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
