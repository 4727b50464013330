//! What is done with a request body that nobody reads: a sender whose connection closes while it sends sees a reset in
//! place of the answer, so the rest is taken and thrown away, within bounds.

use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use crate::base::limits::{
    REFUSED_BODY_BYTES_MAX, REFUSED_BODY_IDLE_TIMEOUT, REFUSED_BODY_TIMEOUT, SMALL_BODY_BYTES_MAX,
};

/// How long an answer waits for the rest of a small body, after which the connection can serve the next request.
const SMALL_BODY_TIMEOUT: Duration = Duration::from_millis(500);

/// The rest of a request's body, if whoever had it dropped it before its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnreadBody(Arc<Mutex<Option<Incoming>>>);

impl UnreadBody {
    pub(crate) fn store(&self, rest: Incoming) {
        *self.0.lock() = Some(rest);
    }

    /// Reads the rest if it is small. Whether nothing is left to come.
    pub(crate) async fn discard(&self, awaits_continue: bool) -> bool {
        let Some(mut rest) = self.0.lock().take() else { return true };
        let small = rest.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY_BYTES_MAX);
        if !small || awaits_continue {
            return false;
        }
        let read = async {
            while let Some(frame) = rest.frame().await {
                if frame.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(SMALL_BODY_TIMEOUT, read).await.unwrap_or(false)
    }
}

/// Reads what still arrives on a connection whose last answer is sent, until the peer closes it.
pub(crate) async fn discard_until_closed(mut socket: impl AsyncRead + Unpin) {
    let rest = async {
        let (mut buffer, mut left) = (vec![0; 16 << 10], REFUSED_BODY_BYTES_MAX);
        while left > 0 {
            match timeout(REFUSED_BODY_IDLE_TIMEOUT, socket.read(&mut buffer)).await {
                Ok(Ok(count)) if count > 0 => left = left.saturating_sub(count),
                _ => return,
            }
        }
    };
    // Past it the connection is closed, whatever the peer still sends.
    let _ = timeout(REFUSED_BODY_TIMEOUT, rest).await;
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use tokio::io::AsyncWriteExt as _;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_listened_to_for_a_bounded_time() {
        let (mut peer, socket) = tokio::io::duplex(64);
        let begun = Instant::now();
        let silent = tokio::spawn(discard_until_closed(socket));
        silent.await.unwrap();
        assert_eq!(begun.elapsed(), REFUSED_BODY_IDLE_TIMEOUT);
        assert!(peer.write_all(b"x").await.is_err());

        let (mut peer, socket) = tokio::io::duplex(64);
        let begun = Instant::now();
        let dripping = tokio::spawn(discard_until_closed(socket));
        while peer.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        dripping.await.unwrap();
        assert!((REFUSED_BODY_TIMEOUT..REFUSED_BODY_TIMEOUT + Duration::from_secs(1)).contains(&begun.elapsed()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_listened_to_up_to_a_bound_of_bytes() {
        let (mut peer, socket) = tokio::io::duplex(64 << 10);
        let flood = tokio::spawn(discard_until_closed(socket));
        let (piece, mut sent) = ([0; 16 << 10], 0);
        while peer.write_all(&piece).await.is_ok() {
            sent += piece.len();
        }
        flood.await.unwrap();
        assert!((REFUSED_BODY_BYTES_MAX..REFUSED_BODY_BYTES_MAX + (128 << 10)).contains(&sent), "{sent}");
    }
}
