//! Accepts connections and drives each until its end.
//!
//! `axum::serve` sets no timer, so that a slow head stays open for ever; hence a loop of our own over hyper's HTTP/1.

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
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::base::limits;
use crate::http::request::caller::Person;
use crate::http::server::admission::{Porter, Visit};
use crate::http::server::body_timeout::{self, BodyTimes};
use crate::http::server::listener_set::{Entrances, Front};
use crate::http::server::middleware::Guard;
use crate::http::server::stream_writer::{is_event_stream, pour};
use crate::http::server::write_timeout::Stalling;

/// The wait after the first of several failed accepts; it doubles up to [`ACCEPT_WAIT_MAX`].
const ACCEPT_WAIT_MIN: Duration = Duration::from_millis(10);
/// See [`ACCEPT_WAIT_MIN`]. Short enough that a server that ran out of descriptors answers soon after it has some.
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a connection that has not sent anything yet may still send something after the order to stop.
const SILENT_AFTER_STOP: Duration = Duration::from_millis(250);

/// The bounds on connections. The defaults are in [`limits`].
#[derive(Clone, Debug)]
pub(crate) struct ServerOptions {
    /// Most open connections. One more is closed as soon as it is accepted: its peer sees at once that it cannot get in
    /// (an `EventSource` tries again), which a place in the listen queue would not tell.
    pub connections_max: usize,
    /// How long a request's head may take: from the start of the connection, or from the end of the response before.
    pub header_timeout: Duration,
    /// How long a request's body may pause.
    pub body_idle_timeout: Duration,
    /// How long a request's body may take in all.
    pub body_timeout: Duration,
    /// How long a peer may take no byte while there is something to write. It comes back and resumes.
    pub write_stall_timeout: Duration,
    /// How many bytes a second a peer must take of answers in the long run. Streams are read at any pace.
    pub answer_rate_min: NonZeroU32,
    /// How long requests may go on after the order to stop.
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

/// Serves `guard` at `entrances` to whom `porter` lets in, until `stop`, then lets running requests finish within
/// `drain_timeout` and drops the rest. Streams do not end by themselves: whoever makes them must end them on `stop`. A
/// failing accept is waited out and never ends the loop. Dropping the future drops all connections.
pub(crate) async fn serve(
    mut entrances: Entrances,
    porter: Porter,
    guard: Arc<Guard>,
    options: ServerOptions,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared { builder: builder(&options), porter, guard, options, stop });
    let mut connections = JoinSet::new();
    let mut refused = 0_u64;
    let mut wait = ACCEPT_WAIT_MIN;
    loop {
        let (front, accepted) = tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            Some(ended) = connections.join_next() => { note(ended); continue }
            accepted = entrances.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= shared.options.connections_max => {
                drop(stream);
                // The first, then ever fewer: a flood of connections is not to become a flood of lines.
                refused += 1;
                if refused.is_power_of_two() {
                    tracing::warn!(refused, open = connections.len(), "connections are refused: too many are open");
                }
            }
            Ok((stream, address)) => {
                wait = ACCEPT_WAIT_MIN;
                connections.spawn(drive(stream, address, front, Arc::clone(&shared)));
            }
            Err(error) if concerns_one_peer(&error) => {}
            Err(error) => {
                if wait == ACCEPT_WAIT_MIN {
                    tracing::warn!(%error, "a connection could not be accepted; trying again");
                }
                tokio::select! { () = sleep(wait) => {}, () = shared.stop.cancelled() => break }
                wait = (wait * 2).min(ACCEPT_WAIT_MAX);
            }
        }
    }
    drop(entrances);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            note(ended)
        }
    };
    if timeout(shared.options.drain_timeout, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are dropped: they did not end in time");
    }
    connections.shutdown().await;
}

/// What all connections have in common.
struct Shared {
    builder: http1::Builder,
    porter: Porter,
    guard: Arc<Guard>,
    options: ServerOptions,
    stop: CancellationToken,
}

/// What the requests of one connection have in common.
struct Line {
    shared: Arc<Shared>,
    visit: Visit,
    /// Whether a request has come. Only this task reads and writes it; it is atomic because the task moves.
    used: AtomicBool,
    /// A response that is a stream, between the one who made it and the one who takes it over: the same task, so the
    /// lock is never waited for.
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

/// Drives one connection from when it was accepted: finds out who it is from, serves it, and ends it when they may no
/// longer be here.
async fn drive(stream: TcpStream, address: SocketAddr, front: Arc<Front>, shared: Arc<Shared>) {
    // Small responses and single events must not wait for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    let visit = tokio::select! {
        visit = Box::pin(shared.porter.admit(&stream, address, &front, &shared.stop)) => visit,
        () = shared.stop.cancelled() => None,
    };
    let Some((visit, _place)) = visit else { return };
    let Person::Member(member) = visit.peer.person.clone() else { return attend(stream, visit, shared).await };
    let life = visit.peer.life.clone();
    let mut attended = Box::pin(attend(stream, visit, Arc::clone(&shared)));
    let why = tokio::select! {
        () = attended.as_mut() => return,
        why = Box::pin(shared.porter.outstayed(&member, address, &front)) => why,
    };
    tracing::info!(user = %member.user, login = member.login, peer = %address, why, "somebody may no longer be here");
    life.cancel();
    // Requests that run may end, and streams say goodbye.
    let _ = timeout(shared.options.drain_timeout, attended).await;
}

/// Serves one connection, from its requests to the stream that it may become. Both are in boxes that are let go when
/// they are over: a task is as large as the largest that it ever holds, and there may be many streams.
async fn attend(stream: TcpStream, visit: Visit, shared: Arc<Shared>) {
    let address = visit.peer.address;
    if let Some((socket, response)) = Box::pin(converse(stream, visit, shared)).await {
        Box::pin(pour(socket.at_its_own_pace(), address, response)).await;
    }
}

/// Answers requests until the connection ends, or one is to be answered with a stream. hyper's header timer does not
/// run for a connection that never sends anything, so one of our own does; it also ends such connections soon after the
/// order to stop.
async fn converse(stream: TcpStream, visit: Visit, shared: Arc<Shared>) -> Option<(Stalling, Response)> {
    let (address, life) = (visit.peer.address, visit.peer.life.clone());
    let blocked = Arc::new(AtomicBool::new(false));
    let ServerOptions { write_stall_timeout, answer_rate_min, .. } = shared.options;
    let io = TokioIo::new(Stalling::new(stream, write_stall_timeout, answer_rate_min, Arc::clone(&blocked)));
    let (used, stream) = (AtomicBool::new(false), Mutex::new(None));
    let line = Arc::new(Line { shared: Arc::clone(&shared), visit, used, stream });
    let service = service_fn({
        let line = Arc::clone(&line);
        // hyper keeps the room of one such future for as long as the connection lives. Boxed, it is given back with
        // the response.
        move |request| Box::pin(answer(Arc::clone(&line), request))
    });
    let mut connection = shared.builder.serve_connection(io, service);
    let mut silence = std::pin::pin!(sleep(shared.options.header_timeout));
    let mut stopped = std::pin::pin!(life.cancelled());
    let (mut watching, mut stopping) = (true, false);
    loop {
        let progress = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Progress::Ended(ended)),
            // Responses to earlier requests go out first; when nothing is blocked, they all have.
            Poll::Pending if blocked.load(Ordering::Relaxed) => Poll::Pending,
            Poll::Pending => line.stream.lock().take().map_or(Poll::Pending, |it| Poll::Ready(Progress::Stream(it))),
        });
        tokio::select! {
            biased;
            progress = progress => match progress {
                Progress::Stream(response) => return Some((connection.into_parts().io.into_inner(), response)),
                Progress::Ended(ended) => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %address, %error, "a connection ended early");
                    }
                    return None;
                }
            },
            () = silence.as_mut(), if watching => {
                if !line.used.load(Ordering::Relaxed) {
                    return None;
                }
                watching = false;
            }
            () = stopped.as_mut(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
                if watching {
                    let soon = Instant::now() + SILENT_AFTER_STOP;
                    let deadline = silence.deadline().min(soon);
                    silence.as_mut().reset(deadline);
                }
            }
        }
    }
}

/// How a connection goes on.
enum Progress {
    Ended(hyper::Result<()>),
    Stream(Response),
}

async fn answer(line: Arc<Line>, request: hyper::Request<hyper::body::Incoming>) -> Result<Response, Infallible> {
    line.used.store(true, Ordering::Relaxed);
    let options = &line.shared.options;
    let times = BodyTimes { idle: options.body_idle_timeout, total: options.body_timeout };
    let gets = request.method() == Method::GET;
    let request = request.map(|incoming| body_timeout::watched(incoming, times));
    let response = Arc::clone(&line.shared.guard).answer(&line.visit, request).await;
    if gets && is_event_stream(&response) {
        // It is taken over from here; this answer, and all of hyper's with it, is dropped then.
        *line.stream.lock() = Some(response);
        return pending().await;
    }
    Ok(response)
}

/// Whether a failed accept says something about that one connection only.
fn concerns_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind as E;
    matches!(error.kind(), E::ConnectionAborted | E::ConnectionReset | E::ConnectionRefused | E::Interrupted)
}

/// A panic while a body is streamed ends its connection and nothing else; it is said here.
fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a panic");
    }
}
