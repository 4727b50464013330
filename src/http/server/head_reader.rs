//! Finds request heads with a line that ends with a line feed alone.
//!
//! RFC 9112 §2.2 lets a recipient take such a line, and hyper does. A proxy in front may not, and the two then
//! disagree about where a request ends. So each head is looked at before hyper reads it; its bytes are not changed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Marks a request whose head has such a line, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BareLineFeed;

/// What follows a head, as hyper says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFraming {
    Length(u64),
    Chunked,
}

/// Follows the requests of a connection through its bytes.
#[derive(Debug)]
pub(crate) struct HeadScanner {
    part: HeadPart,
    /// Whether the newest head has a line that ends with a line feed alone.
    bare: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeadPart {
    /// Empty lines before the first of a head are no end of it.
    Head {
        line_empty: bool,
        after_cr: bool,
        begun: bool,
    },
    /// Not known before hyper has read the head.
    AfterHead,
    Body(u64),
    ChunkSize {
        size: u64,
        /// Past the digits: white space or an extension.
        ended: bool,
    },
    /// With the line end behind it.
    Chunk(u64),
    Trailers {
        line_empty: bool,
    },
}

const HEAD: HeadPart = HeadPart::Head { line_empty: true, after_cr: false, begun: false };
const CHUNK_SIZE: HeadPart = HeadPart::ChunkSize { size: 0, ended: false };

impl HeadScanner {
    pub(crate) fn new() -> Self {
        Self { part: HEAD, bare: false }
    }

    /// Goes on behind a head. Returns whether that head has a line which ends with a line feed alone.
    pub(crate) fn body_follows(&mut self, framing: BodyFraming) -> bool {
        self.part = match framing {
            BodyFraming::Length(0) => HEAD,
            BodyFraming::Length(bytes) => HeadPart::Body(bytes),
            BodyFraming::Chunked => CHUNK_SIZE,
        };
        std::mem::take(&mut self.bare)
    }

    /// Takes bytes as they arrived, up to the end of a head: what is behind it is taken after
    /// [`body_follows`](Self::body_follows). Returns how many it took.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(rest @ [next, ..]) = bytes.get(taken..) {
            taken += match self.part {
                HeadPart::AfterHead => return taken,
                HeadPart::Body(left) => self.skip(left, rest, HEAD, HeadPart::Body),
                HeadPart::Chunk(left) => self.skip(left, rest, CHUNK_SIZE, HeadPart::Chunk),
                HeadPart::Head { .. } | HeadPart::ChunkSize { .. } | HeadPart::Trailers { .. } => {
                    self.part = self.after(*next);
                    1
                }
            };
        }
        taken
    }

    fn skip(&mut self, left: u64, rest: &[u8], then: HeadPart, remaining: fn(u64) -> HeadPart) -> usize {
        let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(left);
        self.part = if here == left { then } else { remaining(left - here) };
        usize::try_from(here).unwrap_or(rest.len())
    }

    /// The part that follows `byte`.
    fn after(&mut self, byte: u8) -> HeadPart {
        match (self.part, byte) {
            (HeadPart::Head { line_empty, after_cr, begun }, b'\n') => {
                self.bare |= !after_cr;
                let ends = line_empty && begun;
                if ends {
                    HeadPart::AfterHead
                } else {
                    HeadPart::Head { line_empty: true, after_cr: false, begun: begun || !line_empty }
                }
            }
            (HeadPart::Head { line_empty, begun, .. }, b'\r') => HeadPart::Head { line_empty, after_cr: true, begun },
            (HeadPart::Head { begun, .. }, _) => HeadPart::Head { line_empty: false, after_cr: false, begun },
            (HeadPart::ChunkSize { size: 0, .. }, b'\n') => HeadPart::Trailers { line_empty: true },
            (HeadPart::ChunkSize { size, .. }, b'\n') => HeadPart::Chunk(size.saturating_add(2)),
            (HeadPart::ChunkSize { size, ended }, _) => match char::from(byte).to_digit(16).filter(|_| !ended) {
                Some(digit) => {
                    HeadPart::ChunkSize { size: size.saturating_mul(16).saturating_add(digit.into()), ended }
                }
                None => HeadPart::ChunkSize { size, ended: true },
            },
            (HeadPart::Trailers { line_empty: true }, b'\n') => HEAD,
            (HeadPart::Trailers { .. }, b'\n') => HeadPart::Trailers { line_empty: true },
            (HeadPart::Trailers { line_empty }, b'\r') => HeadPart::Trailers { line_empty },
            (HeadPart::Trailers { .. }, _) => HeadPart::Trailers { line_empty: false },
            (part, _) => part,
        }
    }
}

/// A connection whose heads are looked at. It gives no byte behind a head before it is known what is there.
#[derive(Debug)]
pub(crate) struct HeadReader<S> {
    stream: S,
    scanner: Arc<Mutex<HeadScanner>>,
    /// Read and not yet given, at most as much as one read. Empty on a connection that waits.
    held: Vec<u8>,
}

impl<S> HeadReader<S> {
    /// The lock of `scanner` is held for no longer than a look at what was read.
    pub(crate) fn new(stream: S, scanner: Arc<Mutex<HeadScanner>>) -> Self {
        Self { stream, scanner, held: Vec::new() }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

/// Only if hyper took less for a head than there is of it.
fn head_without_end() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "more was read than the head of a request")
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadReader<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.held.is_empty() {
            let fits = this.held.get(..buf.remaining()).unwrap_or(&this.held);
            let taken = this.scanner.lock().feed(fits);
            if taken == 0 {
                return Poll::Ready(Err(head_without_end()));
            }
            buf.put_slice(fits.get(..taken).unwrap_or_default());
            this.held.drain(..taken);
            if this.held.is_empty() {
                this.held = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let arrived = buf.filled().get(before..).unwrap_or_default();
        let taken = this.scanner.lock().feed(arrived);
        if taken < arrived.len() {
            if taken == 0 {
                return Poll::Ready(Err(head_without_end()));
            }
            this.held = arrived.get(taken..).unwrap_or_default().to_vec();
            buf.set_filled(before + taken);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadReader<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `text` in pieces of `size`, every head followed by `framing`; whether each has a bare line feed.
    fn heads(text: &str, size: usize, framing: BodyFraming) -> Vec<bool> {
        let (mut scanner, mut found, mut rest) = (HeadScanner::new(), Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            if scanner.part == HeadPart::AfterHead {
                found.push(scanner.body_follows(framing));
            }
            let piece = rest.get(..size).unwrap_or(rest);
            let taken = scanner.feed(piece);
            rest = rest.get(taken..).unwrap_or_default();
        }
        if scanner.part == HeadPart::AfterHead {
            found.push(scanner.body_follows(framing));
        }
        assert_eq!(scanner.part, HEAD, "{text:?} in pieces of {size}");
        found
    }

    #[test]
    fn each_head_of_a_connection_is_looked_at_and_no_body() {
        let length = BodyFraming::Length(4);
        for (text, framing, expect) in [
            ("GET / HTTP/1.1\r\nA: b\r\n\r\n", BodyFraming::Length(0), &[false][..]),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", BodyFraming::Length(0), &[false]),
            ("GET / HTTP/1.1\nA: b\n\n", BodyFraming::Length(0), &[true]),
            ("GET / HTTP/1.1\r\nA: b\n\r\n", BodyFraming::Length(0), &[true]),
            ("GET / HTTP/1.1\r\nA: b\r\n\n", BodyFraming::Length(0), &[true]),
            ("\nGET / HTTP/1.1\r\n\r\n", BodyFraming::Length(0), &[true]),
            ("P\r\n\r\n\n\n\n\nP\r\n\r\n\r\r\r\rP\n\r\nabcd", length, &[false, false, true]),
            (
                "P\r\n\r\n3;x=\"5\"\r\n\n\n\n\r\nA \r\n0123456789\r\n0\r\nT: x\r\n\r\nP\n\n0\r\n\r\n",
                BodyFraming::Chunked,
                &[false, true],
            ),
        ] {
            for size in [1, 2, 3, 7, 100] {
                assert_eq!(heads(text, size, framing), expect, "{text:?} in pieces of {size}");
            }
        }
    }
}
