//! Writes an event stream directly to its socket, without hyper.
//!
//! hyper keeps two buffers of 8 KiB per connection, which an idle stream does not use, and costs CPU at each event.
//! When a response is a stream, [`connection`](super::connection) takes the socket from hyper, and this module writes
//! to it. The response has no length and no chunks: it ends with its connection, and `EventSource` reconnects.

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
use crate::http::server::write_timeout::WriteTimeout;

/// Whether [`write_stream`] writes the response.
pub(crate) fn is_event_stream(response: &Response) -> bool {
    let stream = |value: &http::HeaderValue| value.as_bytes().starts_with(b"text/event-stream");
    response.status() == StatusCode::OK && response.headers().get(CONTENT_TYPE).is_some_and(stream)
}

/// Writes the response until its body ends or the peer closes. Dropping the future closes the connection.
pub(crate) async fn write_stream(mut socket: WriteTimeout, peer: SocketAddr, response: Response) {
    let (parts, mut body) = response.into_parts();
    let mut written = socket.write_all(&head(&parts)).await;
    drop(parts);
    while written.is_ok() {
        let frame = match next_frame(&mut socket, &mut body).await {
            NextFrame::Frame(frame) => frame,
            NextFrame::End => break,
            NextFrame::PeerClosed => return,
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

enum NextFrame {
    Frame(Frame<Bytes>),
    End,
    PeerClosed,
}

/// Waits for the next frame or the peer's close. What the peer still sends is discarded: a stream has one request.
async fn next_frame(socket: &mut WriteTimeout, body: &mut Body) -> NextFrame {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(NextFrame::Frame(frame)),
        Poll::Ready(Some(Err(_)) | None) => Poll::Ready(NextFrame::End),
        Poll::Pending => poll_peer_closed(Pin::new(&mut *socket), cx).map(|()| NextFrame::PeerClosed),
    })
    .await
}

fn poll_peer_closed(mut socket: Pin<&mut WriteTimeout>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        if ready!(socket.as_mut().poll_read(cx, &mut buffer)).is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}
