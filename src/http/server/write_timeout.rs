//! A socket whose peer must go on reading.

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

/// A connection that fails with `TimedOut` when its peer reads too slowly although there is something to write. It has
/// patience for so long; waiting for the peer uses that up, and bytes that it takes give it back, each as much as the
/// slowest rate allows it. So whoever takes nothing is closed, and whoever takes a little now and then only to keep
/// what is written for them in our memory. The timer exists only while a write waits, so that an idle connection pays
/// one pointer for it.
///
/// "Takes" is seen from here: the kernel's send buffer gets free, which is kept small for that. A stalled connection is
/// reset rather than closed, or the kernel would keep what is unsent for minutes.
#[derive(Debug)]
pub(crate) struct Stalling {
    stream: TcpStream,
    limit: Duration,
    /// Bytes a second; `None`: any byte gives all patience back.
    rate_min: Option<NonZeroU32>,
    /// For how long it may still be waited.
    patience: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    blocked: Arc<AtomicBool>,
}

impl Stalling {
    /// Watches `stream`; `limit` is how long it may take nothing, `rate_min` how many bytes a second it must take in
    /// the long run. `blocked` is kept true while a write waits.
    pub(crate) fn new(stream: TcpStream, limit: Duration, rate_min: NonZeroU32, blocked: Arc<AtomicBool>) -> Self {
        // Where there is no such option, or it fails, the kernel's buffers are what they are.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(crate::base::limits::UNSENT_BYTES_MAX);
        Self { stream, limit, rate_min: Some(rate_min), patience: limit, waiting: None, blocked }
    }

    /// From now on the peer may take as little at a time as it likes, but not nothing.
    pub(crate) fn at_its_own_pace(mut self) -> Self {
        self.rate_min = None;
        self
    }

    /// Passes on what a write came to, and turns waiting for too long into an error.
    fn watch(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = &written {
            if let Some(waited) = self.waiting.take() {
                self.patience = waited.deadline().saturating_duration_since(Instant::now());
                self.blocked.store(false, Ordering::Relaxed);
            }
            if self.patience < self.limit {
                self.regain(*result.as_ref().unwrap_or(&0));
            }
            return written;
        }
        self.blocked.store(true, Ordering::Relaxed);
        let patience = self.patience;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(patience))).as_mut().poll(cx));
        // It is closed in any case; failing to reset it only leaves the rest to the kernel's own time-outs.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer reads nothing, or too slowly")))
    }

    /// Gives back the patience that so many bytes are worth.
    fn regain(&mut self, bytes: usize) {
        let worth = self.rate_min.map_or(self.limit, |rate| {
            let micros = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000) / u64::from(rate.get());
            Duration::from_micros(micros)
        });
        self.patience = self.patience.saturating_add(worth).min(self.limit);
    }
}

impl AsyncRead for Stalling {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
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
