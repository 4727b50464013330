//! The server against raw sockets: what no HTTP client would send is what matters here.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRef, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::base::ids::Seq;
use crate::document::chain::Hash;
use crate::engine::handle;
use crate::engine::read::Reads;
use crate::http::error::HandlerResult;
use crate::http::page::PageRequest;
use crate::http::request::body::{BodyLimits, Json};
use crate::http::request::caller::{Authenticators, Caller, Loopback, NoSessions};
use crate::http::request::origins::AllowedOrigins;
use crate::http::request::path::DocumentPath;
use crate::http::response::problem_pages;
use crate::http::server::admission::Admission;
use crate::http::server::connection::{ServerOptions, serve};
use crate::http::server::listener_set::{Listener, ListenerSet};
use crate::http::server::middleware::{Middleware, MiddlewareDeps};
use crate::http::server::path_guard::PathGuard;
use crate::http::server::public_files::OwnPaths;
use crate::http::server::rate_limit::NoRateLimit;
use crate::live::hub::Hub;
use crate::live::ring::RingBounds;
use crate::store;
use crate::tailnet::authenticator::Authenticator;
use crate::tailnet::client::LocalApi;
use crate::tailnet::policy::Policy;

/// Time limits in these tests, and how long anything may take before a test fails.
const SHORT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that the kernel would take whole if it were let to, bytes.
const LARGE: usize = 1 << 20;

/// What the routes tell the tests, and wait for.
#[derive(Clone, Default)]
struct Signals {
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
    dropped: Arc<Notify>,
}

impl FromRef<Signals> for BodyLimits {
    fn from_ref(_: &Signals) -> Self {
        Self { bytes_max: 1000, depth_max: 8 }
    }
}

struct TestServer {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    signals: Signals,
}

async fn start(options: ServerOptions) -> TestServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let signals = Signals::default();
    let middleware_deps = MiddlewareDeps {
        authenticators: Authenticators { sessions: Arc::new(NoSessions::default()), service_tokens: None },
        loopback: Loopback::Owner,
        allowed_origins: AllowedOrigins::default(),
        rate_limiter: Arc::new(NoRateLimit),
        relocation_paths: None,
        public_files: None,
        path_guard: PathGuard::new(OwnPaths::new(std::iter::empty()), true, Vec::new()),
    };
    let middleware = Middleware::new(routes(signals.clone()), middleware_deps, reads(), Timestamp::from_millis(0xabc));
    let stop = CancellationToken::new();
    let listeners = ListenerSet::only(Listener::new(listener, &Arc::default()).unwrap());
    let authenticator = Authenticator::new(LocalApi::new("/nonexistent/tailscaled.sock"), Policy::default());
    let admission = Admission::new(Arc::new(authenticator), options.connections_max, PATIENCE);
    let task = tokio::spawn(serve(listeners, admission, Arc::new(middleware), options, stop.clone()));
    TestServer { address, stop, task, signals }
}

/// No game has moved, so that nothing is ever read.
fn reads() -> Reads {
    let directory = tempfile::tempdir().unwrap();
    let (_, reader) = store::open(store::StoreOptions::new(directory.path())).unwrap();
    let hub = Hub::new((Seq::ZERO, Hash::ZERO), RingBounds { events_max: 1, bytes_max: 1 });
    Reads::new(Arc::new(hub), reader, handle::channel().0, Vec::new())
}

fn routes(signals: Signals) -> Router {
    Router::new()
        .route("/ok", get(async || "fine").post(async |Json(body): Json<Value>| body.to_string()))
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route("/broken", get(async || -> HandlerResult<()> { Err(Error::internal("the secret reason").into()) }))
        .route("/who", get(async |Caller { viewer, .. }: Caller| format!("{viewer:?}")))
        .route("/page", get(async |page: PageRequest| page.limit.to_string()))
        .route("/docs/{collection}/{id}", get(async |DocumentPath(name): DocumentPath| name.to_string()))
        .route("/wait", post(wait))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/flood", get(flood))
        .route("/flood/of/events", get(async |signals| ([("content-type", "text/event-stream")], flood(signals).await)))
        .with_state(signals)
        .merge(Router::from(problem_pages::routes([])))
}

async fn wait(State(signals): State<Signals>) -> &'static str {
    signals.entered.notify_one();
    signals.go_on.notified().await;
    "waited"
}

/// Says when the body is dropped.
struct OnDrop(Arc<Notify>);
impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A body without end.
async fn flood(State(signals): State<Signals>) -> Response {
    let middleware = OnDrop(signals.dropped);
    let pieces = futures_util::stream::repeat_with(move || {
        let _held = &middleware;
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16 << 10]))
    });
    Response::new(Body::from_stream(pieces))
}

fn short() -> ServerOptions {
    ServerOptions {
        header_timeout: SHORT,
        body_idle_timeout: SHORT,
        write_stall_timeout: SHORT,
        drain_timeout: SHORT,
        ..ServerOptions::default()
    }
}

impl TestServer {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `head` with its lines ended as HTTP wants it, and `HOST` standing for a good Host header.
    async fn send(&self, head: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(self.spell(head).as_bytes()).await.unwrap();
        stream
    }

    fn spell(&self, head: &str) -> String {
        let port = self.address.port();
        head.replace("HOST", &format!("Host: localhost:{port}"))
            .replace("PORT", &port.to_string())
            .replace('\n', "\r\n")
    }

    /// The status and the whole of the answer to a request after which the connection is closed.
    async fn ask(&self, head: &str) -> (u16, String) {
        let answer = until_end(&mut self.send(head).await).await;
        (status(&answer), answer)
    }
}

/// What comes until the connection ends, in whatever way.
async fn until_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the connection is still open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One response with a content length; the connection stays open.
async fn one_response(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let whole = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
                if body.len() >= length.parse().unwrap() {
                    return text;
                }
            }
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed after {text:?}");
        }
    };
    timeout(PATIENCE, whole).await.unwrap()
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn problem(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn only_requests_to_our_own_names_get_in() {
    let server = start(ServerOptions::default()).await;
    for (head, expect, slug) in [
        ("GET /ok HTTP/1.1\nHOST\n", 200, ""),
        ("GET /ok HTTP/1.1\nHost: LocalHost.:PORT\n", 200, ""),
        ("GET /ok HTTP/1.1\nHost: [::1]:PORT\n", 200, ""),
        ("GET http://localhost:PORT/ok HTTP/1.1\nHOST\n", 200, ""),
        ("GET /ok HTTP/1.1\nHOST\nHOST\n", 400, "invalid-request"),
        ("GET /ok HTTP/1.1\nHOST\nHost: evil.example\n", 400, "invalid-request"),
        ("GET /ok HTTP/1.1\n", 400, "invalid-request"),
        ("GET /ok HTTP/1.0\n", 400, "invalid-request"),
        ("GET /ok HTTP/1.1\nHost:\n", 400, "invalid-request"),
        ("GET /ok HTTP/1.1\nHost: evil.example\n", 421, "misdirected-host"),
        ("GET /ok HTTP/1.1\nHost: localhost\n", 421, "misdirected-host"),
        ("GET /ok HTTP/1.1\nHost: localhost:1\n", 421, "misdirected-host"),
        (
            "GET /ok HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: localhost:PORT\nForwarded: host=localhost:PORT\n",
            421,
            "misdirected-host",
        ),
        ("GET http://evil.example/ok HTTP/1.1\nHOST\n", 400, "invalid-request"),
        ("GET http://127.0.0.1:PORT/ok HTTP/1.1\nHOST\n", 400, "invalid-request"),
        ("GET http://evil.example/ok HTTP/1.1\nHost: evil.example\n", 421, "misdirected-host"),
        ("GET /ok HTTP/1.1\nHOST\nX-Forwarded-Host: evil.example\n", 200, ""),
        ("GET /ok HTTP/1.1\nHOST\nOrigin: http://evil.example\n", 403, "forbidden"),
        ("GET /ok HTTP/1.1\nHOST\nOrigin: null\n", 403, "forbidden"),
        ("GET /ok HTTP/1.1\nHOST\nOrigin: http://127.0.0.1:PORT\n", 200, ""),
        ("GET /ok HTTP/1.1\nHOST\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\n", 403, "forbidden"),
        ("GET /ok HTTP/1.1\nHOST\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n", 200, ""),
    ] {
        let (status, answer) = server.ask(&format!("{head}Connection: close\n\n")).await;
        assert_eq!(status, expect, "{head}: {answer}");
        if status != 200 {
            assert_eq!(problem(&answer)["type"], format!("/problems/{slug}"), "{head}");
        }
    }
}

#[tokio::test]
async fn unknown_paths_methods_and_names_are_problems() {
    let server = start(ServerOptions::default()).await;
    let ask =
        async |line: &str, more: &str| server.ask(&format!("{line} HTTP/1.1\nHOST\n{more}Connection: close\n\n")).await;
    let (status, answer) = ask("GET /nowhere", "").await;
    assert_eq!((status, &problem(&answer)["type"]), (404, &"/problems/not-found".into()));
    assert!(answer.contains("x-request-id: abc-"), "{answer}");
    let (status, answer) = ask("DELETE /ok", "").await;
    assert_eq!((status, &problem(&answer)["type"]), (405, &"/problems/method-not-allowed".into()));
    assert!(answer.contains("\r\nallow: GET,HEAD,POST\r\n"), "{answer}");
    for line in ["OPTIONS *", "CONNECT localhost:PORT", "GET //", "GET /docs/games/", "BREW /nowhere"] {
        let (status, answer) = ask(line, "").await;
        assert!((400..500).contains(&status), "{line}: {answer}");
    }
    assert_eq!(ask("GET /docs/games/g1", "").await.0, 200);
    for path in ["/docs/Games/g1", "/docs/games/%67%31%20", "/docs/games/%ff", "/docs/games/..%2f..", "/page?limit=0x"]
    {
        let (status, answer) = ask(&format!("GET {path}"), "").await;
        assert_eq!((status, &problem(&answer)["type"]), (400, &"/problems/invalid-request".into()), "{path}");
        assert!(problem(&answer)["errors"][0]["field"].is_string(), "{path}: {answer}");
    }
    assert!(ask("GET /who", "").await.1.ends_with("Owner"));
    assert_eq!(ask("GET /who", "Authorization:\n").await.0, 400);
    // A session that nobody knows: refused where it matters who asks, forgotten by the browser that showed it.
    let (status, answer) = ask("GET /who", "Cookie: rejoin_session_0a1b=x\n").await;
    assert_eq!((status, &problem(&answer)["type"]), (401, &"/problems/unauthenticated".into()));
    assert!(
        answer.contains("set-cookie: rejoin_session_0a1b=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0\r\n"),
        "{answer}"
    );
    let (status, answer) = ask("GET /who", "Authorization: Bearer x\n").await;
    assert!(status == 401 && !answer.contains("set-cookie"), "{answer}");
    let (status, answer) = ask("GET /ok", "Cookie: rejoin_session_0a1b=x\n").await;
    assert!(status == 200 && !answer.contains("set-cookie"), "{answer}");
}

#[tokio::test]
async fn every_response_tells_browsers_what_they_need() {
    let server = start(ServerOptions::default()).await;
    for path in ["/ok", "/nowhere", "/problems", "/problems/gone", "/panic"] {
        let (_, answer) = server.ask(&format!("GET {path} HTTP/1.1\nHOST\nConnection: close\n\n")).await;
        for header in
            ["x-content-type-options: nosniff", "cross-origin-resource-policy: same-origin", "cache-control: "]
        {
            assert!(answer.contains(header), "{path}: {answer}");
        }
        let is_page = answer.contains("content-type: text/html");
        assert_eq!(is_page, path.starts_with("/problems"));
        assert_eq!(answer.contains("content-security-policy: default-src 'none'; style-src 'sha256-"), is_page);
    }
    let ask = async |path: &str, accept: &str| {
        server.ask(&format!("GET {path} HTTP/1.1\nHOST\nAccept: {accept}\nConnection: close\n\n")).await
    };
    assert!(ask("/problems/gone", "application/json").await.1.contains("\"slug\":\"gone\""));
    assert!(ask("/problems/gone", "text/html,*/*;q=0.8").await.1.contains("<h1>gone</h1>"));
    let (status, answer) = ask("/problems/none", "text/html").await;
    assert_eq!((status, &problem(&answer)["type"]), (404, &"/problems/not-found".into()));
}

#[tokio::test]
async fn a_panic_ends_one_request_and_nothing_else() {
    let server = start(ServerOptions::default()).await;
    let mut stream = server.send("GET /panic HTTP/1.1\nHOST\n\n").await;
    let answer = one_response(&mut stream).await;
    assert_eq!((status(&answer), &problem(&answer)["type"]), (500, &"/problems/internal".into()));
    let id = problem(&answer)["requestId"].as_str().unwrap().to_owned();
    assert!(answer.contains(&format!("x-request-id: {id}\r\n")) && !answer.contains("on purpose"), "{answer}");
    stream.write_all(server.spell("GET /broken HTTP/1.1\nHOST\n\n").as_bytes()).await.unwrap();
    let answer = one_response(&mut stream).await;
    assert!(status(&answer) == 500 && !answer.contains("secret") && problem(&answer)["requestId"] != id, "{answer}");
    stream.write_all(server.spell("GET /ok HTTP/1.1\nHOST\n\n").as_bytes()).await.unwrap();
    assert_eq!(status(&one_response(&mut stream).await), 200);
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_type() {
    let server = start(ServerOptions::default()).await;
    let post = "POST /ok HTTP/1.1\nHOST\nConnection: close\n";
    let json = format!("{post}Content-Type: application/json\n");
    let big = "x".repeat(100_000);
    for (request, expect) in [
        (format!("{json}Content-Length: 7\n\n{{\"a\":1}}"), 200),
        (format!("{json}Transfer-Encoding: chunked\n\n7\n{{\"a\":1}}\n0\n\n"), 200),
        (format!("{json}Content-Length: 100000\n\n{big}"), 413),
        (format!("{json}Content-Length: 99999999\nExpect: 100-continue\n\n"), 413),
        (format!("{json}Transfer-Encoding: chunked\n\n186a0\n{big}\n0\n\n"), 413),
        (format!("{json}Content-Length: 20\n\n[[[[[[[[[[]]]]]]]]]]"), 413),
        (format!("{json}Content-Length: 26\n\n{{\"a\":[[[[[[[[[[]]]]]]]]]]}}"), 413),
        (format!("{post}Content-Type: text/plain\nContent-Length: 100000\n\n{big}"), 415),
        (format!("{json}\n"), 400),
        (format!("{json}Content-Length: 7\nContent-Length: 8\n\n{{\"a\":1}}"), 400),
        (format!("{json}Content-Length: 7\nTransfer-Encoding: chunked\n\n{{\"a\":1}}"), 400),
        (format!("{json}Transfer-Encoding: chunked\n\nzz\n"), 400),
        (format!("GET /{big} HTTP/1.1\nHOST\n\n"), 431),
        (format!("GET /ok HTTP/1.1\nHOST\nX: {big}\n\n"), 431),
    ] {
        let (status, answer) = server.ask(&request).await;
        assert_eq!(status, expect, "{}: {answer}", request.get(..120.min(request.len())).unwrap());
    }
}

#[tokio::test]
async fn who_sends_nothing_or_only_half_is_closed() {
    let server = start(short()).await;
    for start in ["", "GET /ok HT", "GET /ok HTTP/1.1\nHOST\nX-Half: ", "PRI * HTTP/2.0\n\nSM"] {
        let since = Instant::now();
        let answer = until_end(&mut server.send(start).await).await;
        assert!(since.elapsed() >= SHORT || !answer.is_empty(), "{start:?} was closed too early");
        assert_ne!(status(&answer), 200, "{start:?}");
    }
    // One that was used is closed when it is idle for as long.
    let mut used = server.send("GET /ok HTTP/1.1\nHOST\n\n").await;
    assert_eq!(status(&one_response(&mut used).await), 200);
    assert_eq!(until_end(&mut used).await, "");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_a_problem() {
    let server = start(ServerOptions { body_timeout: SHORT * 3, body_idle_timeout: SHORT * 2, ..short() }).await;
    let head = "POST /ok HTTP/1.1\nHOST\nContent-Type: application/json\nContent-Length: 100\n\n{";
    let (status, answer) = server.ask(head).await;
    assert_eq!((status, &problem(&answer)["type"]), (408, &"/problems/request-timeout".into()));
    // One byte now and then is not idle; the time for the whole ends it.
    let mut dripping = server.send(head).await;
    let since = Instant::now();
    let mut bytes = Vec::new();
    loop {
        match timeout(SHORT / 4, dripping.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => continue,
            Ok(_) => break,
            Err(_) => drop(dripping.write_all(b" ").await),
        }
        assert!(since.elapsed() < PATIENCE, "still open");
    }
    assert_eq!(self::status(&String::from_utf8_lossy(&bytes)), 408);
}

#[tokio::test]
async fn who_stops_reading_is_closed_and_who_reads_is_not() {
    let stall = SHORT * 4;
    let server = start(ServerOptions { write_stall_timeout: stall, ..short() }).await;
    let mut reader = server.send("GET /flood HTTP/1.1\nHOST\n\n").await;
    let (since, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    while since.elapsed() < stall * 3 / 2 {
        assert!(timeout(PATIENCE, reader.read(&mut buffer)).await.unwrap().unwrap() > 0, "a reader was closed");
    }
    // From here on it does not read; it keeps the connection.
    timeout(PATIENCE, server.signals.dropped.notified()).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, reader.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(server.ask("GET /ok HTTP/1.1\nHOST\nConnection: close\n\n").await.0, 200);
}

/// Reads a little of an answer without end, at once and again and again, for `patience`. Whether it was left to.
async fn may_dawdle(server: &TestServer, path: &str, patience: Duration) -> bool {
    let mut reader = server.send(&format!("GET {path} HTTP/1.1\nHOST\n\n")).await;
    let (since, mut buffer) = (Instant::now(), vec![0; 64 << 10]);
    while since.elapsed() < patience {
        if !matches!(timeout(PATIENCE, reader.read(&mut buffer)).await.unwrap(), Ok(1..)) {
            return false;
        }
        sleep(Duration::from_millis(2)).await;
    }
    true
}

#[tokio::test]
async fn who_reads_just_enough_to_be_waited_for_is_closed_and_streams_are_read_at_any_pace() {
    let stall = SHORT * 3;
    let options = ServerOptions { write_stall_timeout: stall, ..short() };
    let server = start(options.clone()).await;
    assert!(may_dawdle(&server, "/flood", stall * 2).await, "it is faster than the slowest network");
    // Nobody reads as fast as this, in however many pieces.
    let server = start(ServerOptions { answer_rate_min: NonZeroU32::MAX, ..options }).await;
    assert!(!may_dawdle(&server, "/flood", PATIENCE).await, "it is waited for");
    timeout(PATIENCE, server.signals.dropped.notified()).await.unwrap();
    assert!(may_dawdle(&server, "/flood/of/events", stall * 2).await, "a stream is closed");
}

#[tokio::test]
async fn no_answer_is_left_to_the_kernel_for_a_peer_that_reads_nothing() {
    let server = start(ServerOptions { write_stall_timeout: SHORT * 3, ..short() }).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut reader = socket.connect(server.address).await.unwrap();
    reader.write_all(server.spell("GET /large HTTP/1.1\nHOST\n\n").as_bytes()).await.unwrap();
    let reset = async {
        while reader.take_error().unwrap().is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, reset).await.is_ok(), "it is closed, and the kernel still has the answer");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_until_there_is_room() {
    let server = start(ServerOptions { connections_max: 2, ..ServerOptions::default() }).await;
    let request = "GET /ok HTTP/1.1\nHOST\n\n";
    let mut open = [server.send(request).await, server.send(request).await];
    for stream in &mut open {
        assert_eq!(status(&one_response(stream).await), 200);
    }
    assert_eq!(until_end(&mut server.connect().await).await, "");
    drop(open);
    let again = async { while server.ask("GET /ok HTTP/1.1\nHOST\nConnection: close\n\n").await.0 != 200 {} };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_nothing_new_begin() {
    let server = start(ServerOptions::default()).await;
    let mut silent = server.connect().await;
    let mut idle = server.send("GET /ok HTTP/1.1\nHOST\n\n").await;
    assert_eq!(status(&one_response(&mut idle).await), 200);
    let mut busy = server.send("POST /wait HTTP/1.1\nHOST\n\n").await;
    timeout(PATIENCE, server.signals.entered.notified()).await.unwrap();
    server.stop.cancel();
    assert_eq!(until_end(&mut idle).await, "");
    assert_eq!(until_end(&mut silent).await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is still there");
    assert!(!server.task.is_finished());
    server.signals.go_on.notify_one();
    assert!(until_end(&mut busy).await.ends_with("waited"));
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let server = start(short()).await;
    let mut busy = server.send("POST /wait HTTP/1.1\nHOST\n\n").await;
    timeout(PATIENCE, server.signals.entered.notified()).await.unwrap();
    server.stop.cancel();
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert_eq!(until_end(&mut busy).await, "");
}
