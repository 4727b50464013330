//! Writes an event stream to its socket, without hyper.
//!
//! hyper keeps two buffers of 8 KiB per connection, which a stream that mostly waits has no use for, and its machinery
//! costs at each event. So once a request turns out to ask for a stream, the socket is taken from hyper (see
//! [`server`](crate::http::server::connection)) and its bytes go out as they are. The response has neither length nor
//! chunks: it ends with its connection, as HTTP has always allowed, and `EventSource` comes back whenever that is.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{CONNECTION, CONTENT_TYPE, DATE};
use http::response::Parts;
use http_body::{Body as _, Frame};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

use crate::base::clock::{Clock, SystemClock};
use crate::http::server::write_timeout::Stalling;

/// Whether a response is to be written by [`pour`].
pub(crate) fn is_event_stream(response: &Response) -> bool {
    let stream = |value: &http::HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    response.status() == StatusCode::OK && response.headers().get(CONTENT_TYPE).is_some_and(stream)
}

/// Writes the response, piece by piece as its body has them, until it ends or the peer goes. Dropping the future drops
/// the connection.
pub(crate) async fn pour(mut socket: Stalling, peer: SocketAddr, response: Response) {
    let (parts, mut body) = response.into_parts();
    let mut written = socket.write_all(&head(&parts)).await;
    drop(parts);
    while written.is_ok() {
        let frame = match next(&mut socket, &mut body).await {
            Next::Frame(frame) => frame,
            Next::End => break,
            Next::Gone => return,
        };
        if let Ok(data) = frame.into_data() {
            written = socket.write_all(&data).await;
        }
    }
    let ended = match written {
        Ok(()) => socket.shutdown().await,
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a stream ended early");
    }
}

/// The head of the response as it is written.
fn head(parts: &Parts) -> BytesMut {
    let mut out = BytesMut::with_capacity(512);
    out.put_slice(b"HTTP/1.1 200 OK\r\n");
    for (name, value) in &parts.headers {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    let date = SystemClock.now().to_http_date();
    out.put_slice(format!("{DATE}: {date}\r\n{CONNECTION}: close\r\n\r\n").as_bytes());
    out
}

/// What comes next on a stream.
enum Next {
    Frame(Frame<Bytes>),
    End,
    /// The peer has closed its side.
    Gone,
}

/// Waits for the next piece, or until the peer goes. It has nothing more to say; what it says nevertheless is thrown
/// away.
async fn next(socket: &mut Stalling, body: &mut Body) -> Next {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(Next::Frame(frame)),
        Poll::Ready(Some(Err(_)) | None) => Poll::Ready(Next::End),
        Poll::Pending => poll_gone(Pin::new(&mut *socket), cx).map(|()| Next::Gone),
    })
    .await
}

fn poll_gone(mut socket: Pin<&mut Stalling>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        if ready!(socket.as_mut().poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}
