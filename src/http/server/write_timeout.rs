//! A write timeout with a minimum rate.

use std::io;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A TCP stream whose writes fail with `TimedOut` when the peer reads too slowly. It has a time budget: a blocked write
/// uses it up, and each byte that the peer takes gives back the time that the byte may take at the minimum rate. This
/// ends a peer that reads nothing, and one that reads a few bytes now and then to keep a response in our memory. The
/// timer exists only while a write is blocked, so an idle connection pays one pointer for it.
///
/// "Takes" means that the kernel's send buffer gets free; that buffer is kept small for this. A timed-out connection is
/// reset rather than closed, or the kernel would keep the unsent bytes for minutes.
#[derive(Debug)]
pub(crate) struct WriteTimeout {
    stream: TcpStream,
    /// The full budget.
    limit: Duration,
    /// Bytes per second; `None`: any byte restores the full budget.
    rate_min: Option<NonZeroU32>,
    /// How long writes may still block.
    budget: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether a write is blocked; read by the task that owns the connection.
    blocked: Arc<AtomicBool>,
}

impl WriteTimeout {
    /// `limit` is the longest time without a byte taken, `rate_min` the lowest rate in the long run, bytes per second.
    /// `blocked` is kept true while a write is blocked.
    pub(crate) fn new(stream: TcpStream, limit: Duration, rate_min: NonZeroU32, blocked: Arc<AtomicBool>) -> Self {
        // Best effort: without the option the kernel buffers more, and a slow reader is noticed later.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(crate::base::limits::UNSENT_BYTES_MAX);
        Self { stream, limit, rate_min: Some(rate_min), budget: limit, timer: None, blocked }
    }

    /// Drops the minimum rate: a stream may be read at any pace, but not stop being read.
    pub(crate) fn without_rate_minimum(mut self) -> Self {
        self.rate_min = None;
        self
    }

    /// Passes on the result of a write, and turns a used-up budget into an error.
    fn check(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &written {
            if let Some(timer) = self.timer.take() {
                self.budget = timer.deadline().saturating_duration_since(Instant::now());
                self.blocked.store(false, Ordering::Relaxed);
            }
            if self.budget < self.limit {
                self.restore(*result.as_ref().unwrap_or(&0));
            }
            return written;
        }
        self.blocked.store(true, Ordering::Relaxed);
        let budget = self.budget;
        ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(budget))).as_mut().poll(cx));
        // Best effort: without the reset the kernel's own timeouts apply to what is unsent.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing, or too slowly")))
    }

    /// Gives back the time that `bytes` may take at the minimum rate.
    fn restore(&mut self, bytes: usize) {
        let earned = self.rate_min.map_or(self.limit, |rate| {
            let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / u64::from(rate.get());
            Duration::from_micros(micros)
        });
        self.budget = self.budget.saturating_add(earned).min(self.limit);
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.check(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.check(cx, written)
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
