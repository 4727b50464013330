//! The checks before every handler and the headers after it.
//!
//! One function instead of a stack of tower layers: the order of the checks is part of the security.

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
use futures_util::future::BoxFuture;
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, X_FRAME_OPTIONS,
};
use http::{Method, Request, Uri};
use serde_json::Value;
use tower::Service;

use crate::base::clock::Timestamp;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::DocumentName;
use crate::document::visibility::Viewer;
use crate::engine::read::Reads;
use crate::http::error::HttpError;
use crate::http::protocol_problems::METHOD_NOT_ALLOWED;
use crate::http::request::caller::{Authenticators, Caller, CallerResolution, CookieUpdate, Loopback, PeerAddress};
use crate::http::request::headers::{LAST_EVENT_ID, check_transfer_coding, wants_event_stream};
use crate::http::request::origins::AllowedOrigins;
use crate::http::response::problem::{self, PendingRedirect, UnloggedCause};
use crate::http::response::relocation::{self, RelocationPaths};
use crate::http::response::sse;
use crate::http::response::trailing_newline::add_trailing_newline;
use crate::http::server::admission::{ConnectionInfo, ConnectionRefusal};
use crate::http::server::cors;
use crate::http::server::head_reader::BareLineFeed;
use crate::http::server::path_guard::PathGuard;
use crate::http::server::public_files::{self, OwnPaths, PublicFiles, SentAsIs};
use crate::http::server::rate_limit::RateLimiter;

/// The policy of an HTML page that brings none of its own.
const PAGE_POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
                           frame-ancestors 'none'";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");
const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Retry delay for a resuming stream while tailscaled cannot identify the peer.
const IDENTITY_UNKNOWN_RETRY: Duration = Duration::from_secs(5);
/// `tailscale funnel` sets this on requests from the public internet.
const FUNNEL_REQUEST: HeaderName = HeaderName::from_static("tailscale-funnel-request");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The router and the checks in front of it. Shared by all connections of a server.
pub(crate) struct Middleware {
    router: Router,
    reads: Reads,
    deps: MiddlewareDeps,
    started: Timestamp,
    /// Requests so far. With `started` it makes a request id.
    requests: AtomicU64,
}

/// The checks that features implement.
pub(crate) struct MiddlewareDeps {
    pub authenticators: Authenticators,
    /// Whom a process of this machine is taken for.
    pub loopback: Loopback,
    /// Whose pages are let in besides our own.
    pub allowed_origins: AllowedOrigins,
    pub rate_limiter: Arc<dyn RateLimiter>,
    /// The calls about documents that may have moved.
    pub relocation_paths: Option<RelocationPaths>,
    /// What answers paths that no call has, and which of these stay the server's.
    pub public_files: Option<(OwnPaths, PublicFiles)>,
    pub path_guard: PathGuard,
}

impl Middleware {
    /// `router` must be complete: its fallbacks are set here. `started` is when the process started, so that request
    /// ids of two runs differ. `reads` knows the documents that have moved, and who may know of them.
    pub(crate) fn new(router: Router, mut deps: MiddlewareDeps, reads: Reads, started: Timestamp) -> Self {
        let files = deps.public_files.take();
        let router = router
            .fallback(move |request| public_files::respond(files.clone(), request))
            .method_not_allowed_fallback(no_method);
        Self { router, reads, deps, started, requests: AtomicU64::new(0) }
    }

    /// Handles one request. A handler that panics gives a 500; the future itself never panics. Dropping it drops the
    /// handler.
    ///
    /// All synchronous work is done before the future is made, so that the request is not part of it: this future is
    /// the memory that each running request takes.
    pub(crate) fn handle(
        self: Arc<Self>,
        info: &ConnectionInfo,
        mut request: Request<Body>,
    ) -> impl Future<Output = Response> + Send {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let since = tracing::enabled!(tracing::Level::DEBUG).then(Instant::now);
        let (mut headers, mut cookie_update) = (Vec::new(), None);
        let has_origins = !self.deps.allowed_origins.is_empty();
        let allowed_origin = self.deps.allowed_origins.of_request(request.headers()).cloned();
        let handled = match self.admit(info, &mut request, &mut headers, &mut cookie_update) {
            Ok(Admitted::Request) => match self.find_moved_document(&request) {
                None => self.dispatch(request).left_future(),
                Some((name, viewer)) => self.redirect(name, viewer, request).left_future().right_future(),
            },
            Ok(Admitted::Preflight) => ready(cors::preflight(request.headers())).right_future().right_future(),
            Err(error) => ready(refuse(error, info, &request, number)).right_future().right_future(),
        };
        handled.map(move |mut response| {
            if let Some(PendingRedirect(error)) = response.extensions_mut().remove::<PendingRedirect>() {
                response = problem::render(&relocation::redirect(&error, &uri), None);
            }
            for (name, value) in headers {
                // A handler that knows better has said so.
                response.headers_mut().entry(name).or_insert(value);
            }
            if let Some(update) = cookie_update {
                update.apply(&mut response);
            }
            if has_origins {
                cors::add_headers(&mut response, allowed_origin);
            }
            if response.status().as_u16() >= 400 {
                let id = format!("{:x}-{number:x}", self.started.as_millis());
                response = log_failure(response, &id, &method, &uri);
            }
            let is_file = response.extensions().get::<SentAsIs>().is_some();
            set_security_headers(&mut response, is_file);
            let response = if is_file { response } else { add_trailing_newline(response) };
            if let Some(since) = since {
                let micros = since.elapsed().as_micros();
                tracing::debug!(%method, path = uri.path(), status = response.status().as_u16(), micros, "request");
            }
            response
        })
    }

    /// Checks a request and puts its caller into its extensions. `response_headers` and `cookie_update` are for the
    /// response, whether the request is refused or not.
    fn admit(
        &self,
        info: &ConnectionInfo,
        request: &mut Request<Body>,
        response_headers: &mut Vec<(HeaderName, HeaderValue)>,
        cookie_update: &mut Option<CookieUpdate>,
    ) -> Result<Admitted> {
        let MiddlewareDeps { authenticators, loopback, rate_limiter, allowed_origins, path_guard, .. } = &self.deps;
        let ConnectionInfo { peer, hosts, refusal } = info;
        if refusal.is_some() {
            // Closed, so that the client's next connection is authenticated anew.
            response_headers.push((CONNECTION, const { HeaderValue::from_static("close") }));
        }
        let is_allowed_page = allowed_origins.of_request(request.headers()).is_some();
        if is_allowed_page && cors::is_preflight(request.method(), request.headers()) {
            // Before all that a request can be refused for: of a refused preflight a page is told nothing.
            return Ok(Admitted::Preflight);
        }
        if let Some(unknown @ ConnectionRefusal::IdentityUnknown) = refusal {
            // Before the host check: the node's tailnet names are unknown for the same reason.
            return Err(unknown.to_error());
        }
        if let Err(refusal) = check_framing(request) {
            // Where the next request begins is doubtful.
            response_headers.push((CONNECTION, const { HeaderValue::from_static("close") }));
            return Err(refusal);
        }
        hosts.check_host(request.uri(), request.headers(), allowed_origins)?;
        hosts.check_origin(request.method(), request.headers(), allowed_origins)?;
        // After the host check, so that a foreign page learns nothing about who its visitor is.
        if let Some(refusal) = refusal {
            return Err(refusal.to_error());
        }
        if request.headers().contains_key(FUNNEL_REQUEST) {
            return Err(Error::new(Kind::Forbidden, "requests from the public internet (Funnel) are refused"));
        }
        let caller = CallerResolution::new(Caller::of(peer, request.headers(), authenticators, *loopback));
        *cookie_update = caller.cookie_update(request.headers(), authenticators.sessions.cookie());
        // An unauthenticated request counts too, or guessing tokens would be free.
        let decision = rate_limiter.check(peer, caller.caller(), request.method(), request.uri().path());
        let open = path_guard.check(&caller, peer, request.method(), request.uri().path());
        let extensions = request.extensions_mut();
        extensions.insert(caller);
        extensions.insert(PeerAddress(peer.address));
        // For requests that stand for several.
        extensions.insert(Arc::clone(rate_limiter));
        response_headers.extend(decision.headers);
        decision.refused.map_or(open.map(|()| Admitted::Request), Err)
    }

    /// The document that a request is about, if it has moved, and who asks. `None`: a handler is to answer, also when
    /// it is not known who asks: it refuses them without a word about the document.
    fn find_moved_document(&self, request: &Request<Body>) -> Option<(DocumentName, Viewer)> {
        let paths = self.deps.relocation_paths.as_ref()?;
        let name = relocation::moved_document(&self.reads.hub, paths, request.uri())?;
        let caller = request.extensions().get::<CallerResolution>()?.caller()?;
        Some((name, caller.viewer.clone()))
    }

    fn redirect(&self, name: DocumentName, viewer: Viewer, request: Request<Body>) -> BoxFuture<'static, Response> {
        let (reads, uri) = (self.reads.clone(), request.uri().clone());
        let dispatched = self.dispatch(request);
        // In a box, so that the future of every other request is no larger for it.
        Box::pin(async move {
            match relocation::check_moved_for(&reads, &name, &viewer, &uri).await {
                Err(error) => HttpError(error).into_response(),
                // It came back just now.
                Ok(()) => dispatched.await,
            }
        })
    }

    fn dispatch(&self, request: Request<Body>) -> impl Future<Output = Response> + Send + use<> {
        let mut router = self.router.clone();
        // Routing runs no code of a handler; the future that it returns does, and is what may panic.
        AssertUnwindSafe(router.call(request)).catch_unwind().map(|handled| match handled {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => HttpError(Error::internal(format_args!("panic: {}", panic_message(&*panic)))).into_response(),
        })
    }
}

/// What a request that passed the checks is.
enum Admitted {
    Request,
    /// The question of a browser what a page of an allowed origin may send.
    Preflight,
}

/// The response to a request that failed a check. A stream over its rate limit, and one that resumes while tailscaled
/// does not answer, gets a stream that ends at once with a retry delay: after a 4xx or 5xx a browser's `EventSource`
/// never reconnects.
fn refuse(error: Error, info: &ConnectionInfo, request: &Request<Body>, number: u64) -> Response {
    let for_stream = request.method() == Method::GET && wants_event_stream(request.headers());
    if for_stream && error.kind() == Kind::RateLimited {
        let seconds = error.details().get("retryAfterSeconds").and_then(Value::as_u64).unwrap_or(1);
        return sse::retry_later("rate-limited", Duration::from_secs(seconds), number);
    }
    let resumes = request.headers().contains_key(LAST_EVENT_ID)
        || request.uri().query().is_some_and(|query| query.contains("lastEventId="));
    if for_stream && resumes && info.refusal == Some(ConnectionRefusal::IdentityUnknown) {
        return sse::retry_later("unavailable", IDENTITY_UNKNOWN_RETRY, number);
    }
    HttpError(error).into_response()
}

/// Error: `Invalid` when it is doubtful where the request ends.
fn check_framing(request: &Request<Body>) -> Result<()> {
    if request.extensions().get::<BareLineFeed>().is_some() {
        return Err(Error::invalid("a line of the request's head ends without CR; each must end with CRLF"));
    }
    check_transfer_coding(request.headers())
}

async fn no_method() -> HttpError {
    HttpError(METHOD_NOT_ALLOWED.error("this path does not take this method; Allow names those that it takes"))
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "without a message",
    }
}

/// Adds the request id to a failed response and logs a server-side failure once, with its source. Unavailable storage
/// is logged by the engine; here it is only a warning.
fn log_failure(mut response: Response, id: &str, method: &Method, uri: &Uri) -> Response {
    let status = response.status().as_u16();
    let path = uri.path();
    match response.extensions_mut().remove::<UnloggedCause>() {
        Some(UnloggedCause(error)) if error.kind().retryable() => {
            tracing::warn!(id, %method, path, status, %error, "a request was put off");
        }
        Some(UnloggedCause(error)) => {
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

/// Sets the security headers that browsers obey, on every response. A file says itself what its page may do.
fn set_security_headers(response: &mut Response, is_file: bool) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(const { HeaderValue::from_static("no-store") });
    if headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html")) {
        if !is_file {
            headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        }
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    }
}
