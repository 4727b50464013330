//! What every request passes on its way to the handlers, and every response on its way back.
//!
//! One function instead of a stack of layers: the order is part of the security, and it reads here from top to bottom.

use std::any::Any;
use std::future::{Future, ready};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde_json::Value;
use tower::Service;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::http::request::caller::{AboutCookie, Asked, Caller, Sessions};
use crate::http::request::headers::{LAST_EVENT_ID, wants_event_stream};
use crate::http::response::problem::{self, Elsewhere, Failure, Fault};
use crate::http::response::relocation;
use crate::http::response::sse;
use crate::http::server::admission::{TurnedAway, Visit};
use crate::http::server::rate_limit::Quota;
use crate::live::hub::Hub;

/// The policy of an HTML page that brings none of its own.
const PAGE_POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
                           frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const FRAME_OPTIONS: HeaderName = HeaderName::from_static("x-frame-options");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// After how long whose identity is unclear is to come back.
const UNCLEAR_WAIT: Duration = Duration::from_secs(5);
/// What `tailscale funnel` marks requests with that come from the public internet.
const FUNNEL: HeaderName = HeaderName::from_static("tailscale-funnel-request");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The routes behind their guard. Shared by all connections of a listener.
#[derive(Debug)]
pub(crate) struct Guard {
    router: Router,
    hub: Arc<Hub>,
    doors: Doors,
    started: Timestamp,
    /// How many requests came so far; with `started` it makes a request's id.
    requests: AtomicU64,
}

/// What a request has to pass.
#[derive(Debug)]
pub(crate) struct Doors {
    /// Who has a session.
    pub sessions: Arc<dyn Sessions>,
    /// How much somebody may ask.
    pub quota: Arc<dyn Quota>,
}

impl Guard {
    /// Guards `router`, which must be complete: what it has no route for is answered with a problem. `started` is when
    /// the process started, so that ids of two runs differ. `hub` knows which games are elsewhere.
    pub(crate) fn new(router: Router, doors: Doors, hub: Arc<Hub>, started: Timestamp) -> Self {
        let router = router.fallback(no_route).method_not_allowed_fallback(no_method);
        Self { router, hub, doors, started, requests: AtomicU64::new(0) }
    }

    /// Answers one request of a connection. The answer never panics and never fails: a handler that panics is answered
    /// with
    /// 500. Dropping the future drops the handler.
    ///
    /// Whatever does not wait is done before the future is made, so that the request is not part of it: this future is
    /// what each running request takes of memory.
    pub(crate) fn answer(
        self: Arc<Self>,
        visit: &Visit,
        mut request: Request<Body>,
    ) -> impl Future<Output = Response> + Send {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let since = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let (mut said, mut about_cookie) = (Vec::new(), None);
        let handled = match self.admit(visit, &mut request, &mut said, &mut about_cookie) {
            Ok(()) => self.dispatch(request).left_future(),
            Err(refusal) => ready(refused(refusal, visit, &request, number)).right_future(),
        };
        handled.map(move |mut response| {
            if let Some(Elsewhere(refusal)) = response.extensions_mut().remove::<Elsewhere>() {
                response = problem::render(&relocation::shown_the_way(&refusal, &uri), None);
            }
            response.headers_mut().extend(said);
            if let Some(about) = about_cookie {
                about.tell(&mut response);
            }
            if response.status().as_u16() >= 400 {
                let id = format!("{:x}-{number:x}", self.started.as_millis());
                response = failed(response, &id, &method, &uri);
            }
            harden(&mut response);
            if let Some(since) = since {
                let micros = since.elapsed().as_micros();
                tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), micros, "request");
            }
            response
        })
    }

    /// Whether a request may go on, and what the response is to say about that. Puts who asks into the request.
    fn admit(
        &self,
        visit: &Visit,
        request: &mut Request<Body>,
        say: &mut Vec<(HeaderName, HeaderValue)>,
        about_cookie: &mut Option<AboutCookie>,
    ) -> Result<()> {
        let Doors { sessions, quota } = &self.doors;
        let Visit { peer, hosts, turned_away, .. } = visit;
        if turned_away.is_some() {
            // The next connection is asked about anew.
            say.push((CONNECTION, const { HeaderValue::from_static("close") }));
        }
        if let Some(unclear @ TurnedAway::Unclear) = turned_away {
            // Before the names, of which those that the tailnet gives are unknown for the same reason.
            return Err(unclear.to_error());
        }
        hosts.check_host(request.uri(), request.headers())?;
        hosts.check_origin(request.method(), request.headers())?;
        if let Some(refused) = turned_away {
            return Err(refused.to_error());
        }
        if request.headers().contains_key(FUNNEL) {
            return Err(Error::new(Kind::Forbidden, "requests from the public internet (Funnel) are refused"));
        }
        let asked = Asked::new(Caller::of(peer, request.headers(), &**sessions));
        *about_cookie = asked.about_cookie(request.headers());
        let admission = quota.admit(peer, asked.caller(), request.method(), request.uri().path());
        request.extensions_mut().insert(asked);
        say.extend(admission.headers);
        admission.refused.map_or(Ok(()), Err)?;
        relocation::check(&self.hub, request.uri())
    }

    fn dispatch(&self, request: Request<Body>) -> impl Future<Output = Response> + Send + use<> {
        let mut router = self.router.clone();
        // Routing runs no code of a handler; the future that it returns does, and is what may panic.
        AssertUnwindSafe(router.call(request)).catch_unwind().map(|handled| match handled {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => Failure(Error::internal(format_args!("panic: {}", said(&*panic)))).into_response(),
        })
    }
}

/// The answer to a request that is not let on. One for a stream that is over its limit, or that goes on while only we
/// do not know whose it is, is told to come back, in a stream: at a status of 4xx or 5xx a browser's `EventSource`
/// would never try again, and what it has missed would be lost to it.
fn refused(refusal: Error, visit: &Visit, request: &Request<Body>, number: u64) -> Response {
    let for_stream = request.method() == Method::GET && wants_event_stream(request.headers());
    if for_stream && refusal.kind() == Kind::RateLimited {
        let seconds = refusal.details().get("retryAfterSeconds").and_then(Value::as_u64).unwrap_or(1);
        return sse::turned_away("rate-limited", Duration::from_secs(seconds), number);
    }
    let goes_on = request.headers().contains_key(LAST_EVENT_ID)
        || request.uri().query().is_some_and(|query| query.contains("lastEventId="));
    if for_stream && goes_on && visit.turned_away == Some(TurnedAway::Unclear) {
        return sse::turned_away("unavailable", UNCLEAR_WAIT, number);
    }
    Failure(refusal).into_response()
}

async fn no_route() -> Failure {
    Failure(Error::not_found("there is nothing at this path"))
}

async fn no_method() -> Failure {
    Failure(Error::new(Kind::MethodNotAllowed, "this path does not take this method; Allow names those that it takes"))
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "without words",
    }
}

/// Names a refused request by its id, and logs a failure of ours once, with what lies behind it. That storage is away
/// is logged by whoever sees it go; here it is only a warning.
fn failed(mut response: Response, id: &str, method: &Method, uri: &Uri) -> Response {
    let status = response.status().as_u16();
    let path = uri.path();
    match response.extensions_mut().remove::<Fault>() {
        Some(Fault(error)) if error.kind().retryable() => {
            tracing::warn!(id, %method, path, status, %error, "a request was put off");
        }
        Some(Fault(error)) => {
            tracing::error!(id, %method, path, status, %error, "a request failed");
            response = problem::render(&error, Some(id));
        }
        None if status >= 500 => tracing::error!(id, %method, path, status, "a request failed"),
        None => {}
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Sets what browsers need to be told about every response.
fn harden(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(const { HeaderValue::from_static("no-store") });
    if headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html")) {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
        headers.insert(FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    }
}
