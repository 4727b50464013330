//! Asks tailscaled, over the local socket that it answers the `tailscale` command on (its LocalAPI).
//!
//! Reading needs no privilege. tailscaled refuses whatever a browser could send: the `Host` must be its own, and there
//! must be neither `Origin` nor `Referer`. While it starts it holds requests back, so every call has a time limit.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http::header::HOST;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::wire::{TailscaleStatus, WhoIs};
use crate::net::http_client::{self, HttpClientError};

/// How long one answer may take, connecting included. Measured against a double: 0.1 ms; tailscaled takes a lock that
/// everything in it takes.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer that is read, bytes. Without peers a status has a few kilobytes, a whois some more for its
/// capabilities.
pub const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Most characters of tailscaled's own words that are passed on.
const WORDS_MAX: usize = 200;
/// Where macOS's graphical builds say on which port they listen; they have no socket.
const MACOS_PORT_FILE: &str = "/Library/Tailscale/ipnport";

/// Where tailscaled's socket is when nobody says otherwise.
pub(crate) fn default_socket() -> PathBuf {
    let path =
        if cfg!(target_os = "macos") { "/var/run/tailscaled.socket" } else { "/var/run/tailscale/tailscaled.sock" };
    path.into()
}

/// Why tailscaled gave no answer. Each is another thing to do for whoever runs the server.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody listens there.
    #[error("tailscaled is not there: nobody listens at {0}")]
    Absent(PathBuf),
    /// It listens where it cannot be asked yet.
    #[error(
        "Tailscale's graphical builds for macOS listen on TCP, which is not supported yet; use the open-source \
         tailscaled"
    )]
    Unsupported,
    /// The socket cannot be used.
    #[error("tailscaled's socket {0} cannot be used: {1}")]
    Unreachable(PathBuf, io::Error),
    /// 401 or 403.
    #[error("tailscaled does not answer us ({0}): {1}")]
    Denied(u16, String),
    /// 400.
    #[error("tailscaled does not understand the question: {0}")]
    BadRequest(String),
    /// 404, where something had to be found.
    #[error("tailscaled does not know what was asked for: {0}")]
    NotFound(String),
    /// Any other status.
    #[error("tailscaled failed ({0}): {1}")]
    Failed(u16, String),
    /// No answer within [`TIMEOUT`]: it hangs, or is starting.
    #[error("tailscaled did not answer within {0:?}")]
    Silent(Duration),
    /// More than [`ANSWER_BYTES_MAX`].
    #[error("tailscaled's answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// The connection ended before the answer did.
    #[error("tailscaled broke off: {0}")]
    BrokenOff(String),
    /// An answer that is not what it should be.
    #[error("tailscaled's answer cannot be understood: {0}")]
    Malformed(String),
}

/// The way to tailscaled. Cheap to make; each call takes a connection of its own.
#[derive(Clone, Debug)]
pub struct LocalApi {
    socket: PathBuf,
    timeout: Duration,
}

impl LocalApi {
    /// Asks at `socket`.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), timeout: TIMEOUT }
    }

    /// The same, with another time limit.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Where it asks.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What this node is and how it is. Cancel safe.
    pub async fn status(&self) -> Result<TailscaleStatus, ApiError> {
        let bytes = self.get("/localapi/v0/status?peers=false").await?;
        read(&bytes)
    }

    /// Who is behind the TCP connection from `peer`; `None` when tailscaled knows nobody there. Cancel safe.
    pub async fn whois(&self, peer: SocketAddr) -> Result<Option<WhoIs>, ApiError> {
        // An IPv4 address inside an IPv6 one is not recognised by all releases.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let query = peer.to_string().replace('[', "%5B").replace(']', "%5D").replace(':', "%3A");
        match self.get(&format!("/localapi/v0/whois?proto=tcp&addr={query}")).await {
            Ok(bytes) => read(&bytes).map(Some),
            Err(ApiError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn get(&self, target: &str) -> Result<Bytes, ApiError> {
        let answer = timeout(self.timeout, self.exchange(target)).await;
        answer.map_err(|_| ApiError::Silent(self.timeout))?
    }

    async fn exchange(&self, target: &str) -> Result<Bytes, ApiError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.no_connection(error))?;
        let request = Request::get(target).header(HOST, "local-tailscaled.sock").body(Full::default());
        let request = request.map_err(|error| ApiError::Malformed(error.to_string()))?;
        let broken = |error: HttpClientError| match error {
            HttpClientError::Silent => ApiError::Silent(self.timeout),
            error => ApiError::BrokenOff(error.to_string()),
        };
        let mut response = http_client::exchange(stream, request, self.timeout).await.map_err(broken)?;
        let mut body = BytesMut::new();
        while let Some(piece) = response.piece(self.timeout).await.map_err(broken)? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(ApiError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        check_status(response.status(), body.freeze())
    }

    fn no_connection(&self, error: io::Error) -> ApiError {
        let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
        match absent {
            true if cfg!(target_os = "macos") && Path::new(MACOS_PORT_FILE).is_symlink() => ApiError::Unsupported,
            true => ApiError::Absent(self.socket.clone()),
            false => ApiError::Unreachable(self.socket.clone(), error),
        }
    }
}

fn check_status(status: u16, body: Bytes) -> Result<Bytes, ApiError> {
    let words = || printable(&String::from_utf8_lossy(&body));
    Err(match status {
        200 => return Ok(body),
        400 => ApiError::BadRequest(words()),
        401 | 403 => ApiError::Denied(status, words()),
        404 => ApiError::NotFound(words()),
        other => ApiError::Failed(other, words()),
    })
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::Malformed(error.to_string()))
}

/// Foreign words as they may stand in a log line of ours.
pub(super) fn printable(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}
