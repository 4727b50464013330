//! Ends JSON bodies with a newline, so that a shell's prompt does not follow on their last line.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame, SizeHint};

/// Adds a newline to a body of JSON that is not empty, and to the length that a HEAD is answered with.
pub(crate) fn add_trailing_newline(response: Response) -> Response {
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes();
        media_type.starts_with(b"application/json") || media_type.starts_with(b"application/problem+json")
    });
    if !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(length) = length.filter(|length| *length > 0) {
        parts.headers.insert(CONTENT_LENGTH, (length + 1).into());
    }
    let body = if body.size_hint().exact() == Some(0) { body } else { Body::new(WithNewline { body, ended: false }) };
    Response::from_parts(parts, body)
}

struct WithNewline {
    body: Body,
    ended: bool,
}

impl HttpBody for WithNewline {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(frame) => Poll::Ready(Some(frame)),
            None => {
                self.ended = true;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\n")))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, left) = (self.body.size_hint(), u64::from(!self.ended));
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(left));
        }
        hint.set_lower(hint.lower().saturating_add(left));
        hint
    }
}
