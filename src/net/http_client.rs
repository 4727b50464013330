//! An HTTP/1.1 client over any stream: one request per connection, no TLS, no redirects, bodies in pieces.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// Longest wait for a connection, and again for the head of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The same for a request with a body, which may ask for some work.
const WORK_MAX: Duration = Duration::from_secs(30);

/// A server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    host: String,
    port: u16,
}

impl ServerUrl {
    /// Reads `http://HOST[:PORT]`. Error: what is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: http::Uri = url.parse().map_err(|e| format!("'{}' is not a URL: {e}", url.escape_debug()))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("'{url}' must begin with http:// (others are not supported)"));
        }
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().filter(|authority| bare && !authority.as_str().contains('@'));
        let Some(authority) = authority else {
            return Err(format!("'{url}' must be http://HOST:PORT and nothing more"));
        };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            None | Some("") => 80,
            Some(_) => authority.port_u16().ok_or_else(|| format!("'{url}' has no port between 0 and 65535"))?,
        };
        Ok(Self { host: authority.host().to_owned(), port })
    }

    /// Asks for `path` (with its query) and waits for the head of the answer. Dropping the returned future or the
    /// answer closes the connection.
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Response, HttpClientError> {
        let request = self.request(http::Request::get(path), headers, Bytes::new())?;
        let stream = connect(TcpStream::connect((self.bare_host(), self.port))).await?;
        exchange(stream, request, ANSWER_MAX).await
    }

    /// Sends a request of this method with a body, and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, HttpClientError> {
        let request = self.request(http::Request::builder().method(method).uri(path), headers, body)?;
        let stream = connect(TcpStream::connect((self.bare_host(), self.port))).await?;
        exchange(stream, request, WORK_MAX).await
    }

    /// The addresses that its name stands for, at least one.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, HttpClientError> {
        let resolving = timeout(ANSWER_MAX, lookup_host((self.bare_host(), self.port)));
        let found: Vec<_> =
            resolving.await.map_err(|_| HttpClientError::Silent)?.map_err(HttpClientError::Connect)?.collect();
        if found.is_empty() {
            return Err(HttpClientError::Connect(std::io::ErrorKind::NotFound.into()));
        }
        Ok(found)
    }

    /// Sends JSON to `path` at the first of `addresses` that takes a connection, and waits for the head of the answer.
    /// The name is not looked up again: what the caller checked is what is connected to.
    pub(crate) async fn post(
        &self,
        addresses: &[SocketAddr],
        path: &str,
        json: Bytes,
    ) -> Result<Response, HttpClientError> {
        let request = self.request(http::Request::post(path), &[("content-type", "application/json")], json)?;
        let stream = connect(TcpStream::connect(addresses)).await?;
        exchange(stream, request, WORK_MAX).await
    }

    /// Resolving wants an IPv6 address without the brackets of a URL.
    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    fn request(
        &self,
        request: http::request::Builder,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, HttpClientError> {
        let request =
            request.header(HOST, self.to_string()).header(USER_AGENT, concat!("rejoin/", env!("CARGO_PKG_VERSION")));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Full::new(body)).map_err(HttpClientError::Request)
    }
}

async fn connect(connecting: impl Future<Output = std::io::Result<TcpStream>>) -> Result<TcpStream, HttpClientError> {
    timeout(ANSWER_MAX, connecting).await.map_err(|_| HttpClientError::Silent)?.map_err(HttpClientError::Connect)
}

/// Sends `request` on `stream`, a connection that is just open, and waits for the head of the response, at most
/// `silence_max`. Dropping the returned future or the response closes the connection.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: http::Request<Full<Bytes>>,
    silence_max: Duration,
) -> Result<Response, HttpClientError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the connection does; its error is told by the request or the body, which wait for it.
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let answer = timeout(silence_max, sender.send_request(request)).await.map_err(|_| HttpClientError::Silent)??;
    let (head, body) = answer.into_parts();
    Ok(Response { head, body, _driver: driver })
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A response whose body is read piece by piece.
#[derive(Debug)]
pub(crate) struct Response {
    head: http::response::Parts,
    body: Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// A header's value; `None` when it is absent or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body, `None` at its end. Waits for at most `silence_max`. Cancel safe.
    pub(crate) async fn piece(&mut self, silence_max: Duration) -> Result<Option<Bytes>, HttpClientError> {
        loop {
            let frame = timeout(silence_max, self.body.frame()).await.map_err(|_| HttpClientError::Silent)?;
            match frame.transpose()?.map(hyper::body::Frame::into_data) {
                None => return Ok(None),
                Some(Ok(piece)) => return Ok(Some(piece)),
                Some(Err(_trailers)) => {}
            }
        }
    }

    /// The body as text, cut after about `bytes_max` bytes.
    pub(crate) async fn text(&mut self, bytes_max: usize) -> Result<String, HttpClientError> {
        let mut text = Vec::new();
        while text.len() < bytes_max
            && let Some(piece) = self.piece(ANSWER_MAX).await?
        {
            text.extend_from_slice(&piece);
        }
        text.truncate(bytes_max);
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpClientError {
    /// Nobody took the connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The request cannot be made of these parts.
    #[error("not a request: {0}")]
    Request(http::Error),
    /// Nothing came for too long.
    #[error("the server says nothing")]
    Silent,
    /// The connection broke, or carries something else than HTTP.
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_host_and_a_port() {
        for (url, expect) in [
            ("http://127.0.0.1:7766", "127.0.0.1:7766"),
            ("http://localhost/", "localhost:80"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(ServerUrl::parse(url).unwrap().to_string(), expect);
        }
        for url in ["https://a", "a:1", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a:b", "x y"] {
            assert!(ServerUrl::parse(url).is_err(), "{url}");
        }
    }

    /// A peer that takes one connection, reads a request's head and writes `answer`.
    async fn peer(answer: &'static [u8]) -> (ServerUrl, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = ServerUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        (target, task)
    }

    #[tokio::test]
    async fn a_chunked_body_arrives_whole_and_the_headers_were_sent() {
        let answer = b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let (target, task) = peer(answer).await;
        let mut answer = target.get("/p?q=1", &[("last-event-id", "7-ab")]).await.unwrap();
        assert_eq!((answer.status(), answer.header("x-a")), (200, Some("b")));
        assert_eq!(answer.text(100).await.unwrap(), "abcde");
        let head = task.await.unwrap().to_ascii_lowercase();
        assert!(head.starts_with("get /p?q=1 http/1.1\r\n"), "{head}");
        assert!(head.contains("last-event-id: 7-ab\r\n") && head.contains(&format!("host: {target}\r\n")), "{head}");
    }

    #[tokio::test]
    async fn a_connection_that_breaks_in_mid_body_is_an_error() {
        let (target, _) = peer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab").await;
        let error = target.get("/", &[]).await.unwrap().text(100).await.unwrap_err();
        assert!(matches!(error, HttpClientError::Broken(_)), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = ServerUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        drop(listener);
        assert!(matches!(target.get("/", &[]).await, Err(HttpClientError::Connect(_))));
    }
}
