//! The accept loop, and one task per connection.
//!
//! `axum::serve` sets no timer: a client that sends its head slowly would stay connected for ever. Hence our own loop
//! over hyper's HTTP/1.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::response::Response;
use http::Method;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::base::limits;
use crate::http::request::caller::Principal;
use crate::http::server::admission::{Admission, ConnectionInfo};
use crate::http::server::body_timeout::{self, BodyTimeouts};
use crate::http::server::head_reader::{BareLineFeed, BodyFraming, HeadReader, HeadScanner};
use crate::http::server::listener_set::{ListenerInfo, ListenerSet};
use crate::http::server::middleware::Middleware;
use crate::http::server::stream_writer::{is_event_stream, write_stream};
use crate::http::server::unread_body::{UnreadBody, discard_until_closed};
use crate::http::server::write_timeout::WriteTimeout;

/// Delay after the first of several failed accepts; it doubles up to [`ACCEPT_RETRY_MAX`].
const ACCEPT_RETRY_MIN: Duration = Duration::from_millis(10);
/// See [`ACCEPT_RETRY_MIN`]. Short, so that a server that ran out of descriptors answers soon after some are free.
const ACCEPT_RETRY_MAX: Duration = Duration::from_secs(1);
/// Grace period after the order to stop for a connection that has sent nothing yet.
const FIRST_REQUEST_GRACE: Duration = Duration::from_millis(250);

/// Bounds on connections. The defaults are in [`limits`].
#[derive(Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Most open connections. A further one is closed when it is accepted, so that its client sees that at once
    /// (`EventSource` reconnects); in the listen queue it would only wait.
    pub connections_max: usize,
    /// For a request's head, from the start of the connection or the end of the response before.
    pub header_timeout: Duration,
    /// Longest pause within a request's body.
    pub body_idle_timeout: Duration,
    /// For a whole request body.
    pub body_timeout: Duration,
    /// Longest time in which a peer takes no byte that waits to be written.
    pub write_stall_timeout: Duration,
    /// Lowest rate at which a peer reads a response in the long run, bytes per second. Streams have none.
    pub answer_rate_min: NonZeroU32,
    /// For running requests after the order to stop.
    pub drain_timeout: Duration,
    /// Largest request head, bytes.
    pub head_bytes_max: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            header_timeout: limits::HEADER_TIMEOUT,
            body_idle_timeout: limits::BODY_IDLE_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            write_stall_timeout: limits::WRITE_STALL_TIMEOUT,
            answer_rate_min: limits::ANSWER_BYTES_PER_SECOND_MIN,
            drain_timeout: limits::DRAIN_TIMEOUT,
            head_bytes_max: limits::HEAD_BYTES_MAX,
        }
    }
}

/// Serves connections of `listeners` until `stop`, then lets running requests finish within `drain_timeout` and drops
/// the rest. Streams do not end by themselves: their handlers end them on `stop`. A failed accept is retried and never
/// ends the loop. Dropping the future drops all connections.
pub(crate) async fn serve(
    mut listeners: ListenerSet,
    admission: Admission,
    middleware: Arc<Middleware>,
    options: ServerOptions,
    stop: CancellationToken,
) {
    let server = Arc::new(ServerContext { builder: builder(&options), admission, middleware, options, stop });
    let mut connections = JoinSet::new();
    let mut refused = 0_u64;
    let mut retry = ACCEPT_RETRY_MIN;
    loop {
        let (listener, accepted) = tokio::select! {
            biased;
            () = server.stop.cancelled() => break,
            Some(ended) = connections.join_next() => { log_panic(ended); continue }
            accepted = listeners.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= server.options.connections_max => {
                drop(stream);
                // The 1st, 2nd, 4th, 8th …: a flood of connections is no flood of lines.
                refused += 1;
                if refused.is_power_of_two() {
                    tracing::warn!(refused, open = connections.len(), "connections are refused: too many are open");
                }
            }
            Ok((stream, address)) => {
                retry = ACCEPT_RETRY_MIN;
                connections.spawn(run_connection(stream, address, listener, Arc::clone(&server)));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if retry == ACCEPT_RETRY_MIN {
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                }
                tokio::select! { () = sleep(retry) => {}, () = server.stop.cancelled() => break }
                retry = (retry * 2).min(ACCEPT_RETRY_MAX);
            }
        }
    }
    drop(listeners);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(ended)
        }
    };
    if timeout(server.options.drain_timeout, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are dropped: they did not end in time");
    }
    connections.shutdown().await;
}

/// Shared by all connections.
struct ServerContext {
    builder: http1::Builder,
    admission: Admission,
    middleware: Arc<Middleware>,
    options: ServerOptions,
    stop: CancellationToken,
}

/// Shared by the requests of one connection.
struct ConnectionState {
    server: Arc<ServerContext>,
    info: ConnectionInfo,
    /// Whether a request has arrived. Only the connection's task uses it; atomic because the task moves between
    /// threads.
    used: AtomicBool,
    /// Whether the last response was sent before its request's body had arrived. As `used`.
    body_unread: AtomicBool,
    /// A response that is a stream, on its way from the service to the loop that polls it: one task, so the lock is
    /// never contended.
    stream: Mutex<Option<Response>>,
}

fn builder(options: &ServerOptions) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_header_size(options.head_bytes_max)
        .max_buf_size(limits::CONNECTION_BUFFER_BYTES_MAX.max(options.head_bytes_max))
        .keep_alive(true);
    builder
}

/// One connection: admits it, serves it, and ends it when its peer's access is revoked.
async fn run_connection(
    stream: TcpStream,
    address: SocketAddr,
    listener: Arc<ListenerInfo>,
    server: Arc<ServerContext>,
) {
    // Nagle's algorithm would hold a small response or event until the one before is acknowledged.
    let _ = stream.set_nodelay(true);
    // Boxed, so that the task does not keep the space of this future while it serves.
    let admitted = tokio::select! {
        admitted = Box::pin(server.admission.admit(&stream, address, &listener, &server.stop)) => admitted,
        () = server.stop.cancelled() => None,
    };
    let Some((info, _permit)) = admitted else { return };
    let Principal::Member(member) = info.peer.principal.clone() else {
        return serve_connection(stream, info, server).await;
    };
    let life = info.peer.life.clone();
    let mut serving = Box::pin(serve_connection(stream, info, Arc::clone(&server)));
    let why = tokio::select! {
        () = serving.as_mut() => return,
        why = Box::pin(server.admission.until_revoked(&member, address, &listener)) => why,
    };
    tracing::info!(user = %member.user, login = member.login, peer = %address, why, "access was revoked");
    life.cancel();
    // Running requests may finish, and streams send their `bye`.
    let _ = timeout(server.options.drain_timeout, serving).await;
}

/// Serves the requests of a connection, then the stream that it may become. Each is boxed and freed when it is over: a
/// task is as large as its largest future, and there may be many streams.
async fn serve_connection(stream: TcpStream, info: ConnectionInfo, server: Arc<ServerContext>) {
    let address = info.peer.address;
    match Box::pin(serve_requests(stream, info, Arc::clone(&server))).await {
        RequestsEnd::Stream(socket, response) => {
            Box::pin(write_stream(socket.without_rate_minimum(), address, response)).await
        }
        RequestsEnd::BodyUnread(socket) => tokio::select! {
            () = Box::pin(discard_until_closed(socket)) => {}
            () = server.stop.cancelled() => {}
        },
        RequestsEnd::Closed => {}
    }
}

/// Serves requests until the connection ends or a response is a stream. hyper's header timer does not run before the
/// first byte, so a timer of ours does; after the order to stop it ends a silent connection soon.
async fn serve_requests(stream: TcpStream, info: ConnectionInfo, server: Arc<ServerContext>) -> RequestsEnd {
    let (address, life) = (info.peer.address, info.peer.life.clone());
    let blocked = Arc::new(AtomicBool::new(false));
    let ServerOptions { write_stall_timeout, answer_rate_min, .. } = server.options;
    let socket = WriteTimeout::new(stream, write_stall_timeout, answer_rate_min, Arc::clone(&blocked));
    let heads = Arc::new(Mutex::new(HeadScanner::new()));
    let io = TokioIo::new(HeadReader::new(socket, Arc::clone(&heads)));
    let (used, body_unread, stream) = (AtomicBool::new(false), AtomicBool::new(false), Mutex::new(None));
    let state = Arc::new(ConnectionState { server: Arc::clone(&server), info, used, body_unread, stream });
    let service = service_fn({
        let state = Arc::clone(&state);
        // hyper keeps the space of this future for as long as the connection lives; boxed, it is freed with the
        // response.
        move |mut request| {
            // Before hyper reads on.
            if heads.lock().body_follows(framing_of(&request)) {
                request.extensions_mut().insert(BareLineFeed);
            }
            Box::pin(handle_request(Arc::clone(&state), request))
        }
    });
    let mut connection = server.builder.serve_connection(io, service);
    let mut first_request = std::pin::pin!(sleep(server.options.header_timeout));
    let mut stopped = std::pin::pin!(life.cancelled());
    let (mut awaiting_first, mut stopping) = (true, false);
    loop {
        let progress = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(ConnectionProgress::Ended(ended)),
            // hyper may still hold responses to pipelined requests before the stream's. It has written them all when it
            // is pending although no write is blocked.
            Poll::Pending if blocked.load(Ordering::Relaxed) => Poll::Pending,
            Poll::Pending => {
                state.stream.lock().take().map_or(Poll::Pending, |it| Poll::Ready(ConnectionProgress::Stream(it)))
            }
        });
        tokio::select! {
            biased;
            progress = progress => match progress {
                ConnectionProgress::Stream(response) => {
                    let socket = connection.into_parts().io.into_inner().into_inner();
                    return RequestsEnd::Stream(socket, response);
                }
                ConnectionProgress::Ended(ended) => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %address, %error, "a connection ended early");
                    } else if state.body_unread.load(Ordering::Relaxed) {
                        return RequestsEnd::BodyUnread(connection.into_parts().io.into_inner().into_inner());
                    }
                    return RequestsEnd::Closed;
                }
            },
            () = first_request.as_mut(), if awaiting_first => {
                if !state.used.load(Ordering::Relaxed) {
                    return RequestsEnd::Closed;
                }
                awaiting_first = false;
            }
            () = stopped.as_mut(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
                if awaiting_first {
                    let soon = Instant::now() + FIRST_REQUEST_GRACE;
                    let deadline = first_request.deadline().min(soon);
                    first_request.as_mut().reset(deadline);
                }
            }
        }
    }
}

/// How the requests of a connection ended.
enum RequestsEnd {
    /// The last response is a stream.
    Stream(WriteTimeout, Response),
    /// The last response was sent before the peer had sent all of its request.
    BodyUnread(WriteTimeout),
    Closed,
}

enum ConnectionProgress {
    Ended(hyper::Result<()>),
    Stream(Response),
}

async fn handle_request(
    state: Arc<ConnectionState>,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<Response, Infallible> {
    state.used.store(true, Ordering::Relaxed);
    let options = &state.server.options;
    let timeouts = BodyTimeouts { idle: options.body_idle_timeout, total: options.body_timeout };
    let is_get = request.method() == Method::GET;
    let (unread, awaits_continue) = (UnreadBody::default(), request.headers().contains_key(EXPECT));
    let request = request.map(|incoming| body_timeout::with_timeout(incoming, timeouts, &unread));
    let mut response = Arc::clone(&state.server.middleware).handle(&state.info, request).await;
    if !unread.discard(awaits_continue).await {
        state.body_unread.store(true, Ordering::Relaxed);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if is_get && is_event_stream(&response) {
        // The loop takes the stream and drops hyper with this future, which must not complete before: hyper would
        // answer.
        *state.stream.lock() = Some(response);
        return pending().await;
    }
    Ok(response)
}

fn framing_of<B: http_body::Body>(request: &hyper::Request<B>) -> BodyFraming {
    request.body().size_hint().exact().map_or(BodyFraming::Chunked, BodyFraming::Length)
}

/// Whether a failed accept concerns that one connection only, and not the listener or the process.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}

/// A panic while a body is streamed ends its connection and nothing else.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a panic");
    }
}
