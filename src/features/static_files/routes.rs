//! How the files are sent: what tower-http's `ServeDir` does not do by itself, before it and after it.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE, X_FRAME_OPTIONS,
};
use http::{Method, Request};
use rustix::io::Errno;
use tower::service_fn;
use tower::util::BoxCloneSyncService;
use tower_http::services::fs::{DefaultServeDirFallback, ServeDir};

use super::folder::Folder;
use super::html::{HEAD_BYTES_MAX, has_own_policy};
use super::path::relative;
use super::recent::{FILE_BYTES_MAX, RecentFile, RecentFiles};
use crate::base::error::{Error, Kind};
use crate::http::error::HttpError;
use crate::http::protocol_problems::METHOD_NOT_ALLOWED;
use crate::http::response::problem_pages::ICON_PATH;
use crate::http::response::success::see_other;
use crate::http::server::public_files::{PublicFiles, SentAsIs, nothing_there};

/// The policy of an HTML file that brings none of its own: what it holds itself runs, and it may use everything of this
/// server and nothing of others.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; \
     style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; \
     frame-ancestors 'self'",
);
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// What makes of a GET another one than of the whole file.
const CONDITIONS: [HeaderName; 6] = [RANGE, IF_RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];

/// Answers requests with the files of `folder`.
pub(super) fn service(folder: Folder) -> PublicFiles {
    let files = Arc::new(Files::new(folder));
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let files = Arc::clone(&files);
        async move { Ok::<_, Infallible>(files.respond(&request.map(|_| ())).await) }
    }))
}

struct Files {
    folder: Folder,
    serve: ServeDir<DefaultServeDirFallback, Folder>,
    recent: RecentFiles,
}

impl Files {
    fn new(folder: Folder) -> Self {
        let serve = ServeDir::with_backend("", folder.clone())
            .precompressed_br()
            .precompressed_zstd()
            .precompressed_gzip()
            .ignore_multi_range_requests(true);
        Self { folder, serve, recent: RecentFiles::default() }
    }

    async fn respond(&self, request: &Request<()>) -> Response {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refuse_method();
        }
        let Some(path) = relative(request.uri().path()) else { return HttpError(nothing_there()).into_response() };
        let is_whole =
            request.method() == Method::GET && !CONDITIONS.iter().any(|name| request.headers().contains_key(name));
        let found = match is_whole {
            true => self.find_whole(request, &path).await,
            false => self.find(request, &path).await,
        };
        found.unwrap_or_else(|error| refuse(error, &path))
    }

    /// The answer to a GET of a whole file: what was read in the last moment, if it was.
    async fn find_whole(&self, request: &Request<()>, path: &str) -> io::Result<Response> {
        let encodings = request.headers().get(ACCEPT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        let key = format!("{path}\n{}", encodings.escape_ascii());
        if let Some(RecentFile { headers, body }) = self.recent.find(&key) {
            return Ok((Extension(SentAsIs), headers, body).into_response());
        }
        let read = Instant::now();
        let response = self.find(request, path).await?;
        let length = content_length(response.headers());
        if response.status() != 200 || length.is_none_or(|length| length > FILE_BYTES_MAX) {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, FILE_BYTES_MAX).await.map_err(io::Error::other)?;
        self.recent.keep(key, read, RecentFile { headers: parts.headers.clone(), body: body.clone() });
        Ok(Response::from_parts(parts, body.into()))
    }

    async fn find(&self, request: &Request<()>, path: &str) -> io::Result<Response> {
        let mut request = request.clone();
        let in_bytes = |range: &HeaderValue| range.as_bytes().starts_with(b"bytes=");
        if request.method() != Method::GET || !request.headers().get(RANGE).is_some_and(in_bytes) {
            // RFC 9110 §14.2: as if it were not there.
            request.headers_mut().remove(RANGE);
        }
        let response = self.serve(request.clone()).await?;
        let response = match request.headers().get(IF_RANGE) {
            Some(known) if request.headers().contains_key(RANGE) && !is_of(&response, known) => {
                request.headers_mut().remove(RANGE);
                self.serve(request).await?
            }
            _ => response,
        };
        Ok(self.complete(response, path).await)
    }

    async fn serve(&self, request: Request<()>) -> io::Result<Response> {
        Ok(self.serve.clone().try_call(request).await?.map(Body::new))
    }

    /// Adds what is said of every file.
    async fn complete(&self, mut response: Response, path: &str) -> Response {
        match response.status().as_u16() {
            404 => return refuse(io::ErrorKind::NotFound.into(), path),
            412 => {
                let message = "the file is another one than the request is about";
                return HttpError(Error::new(Kind::PreconditionFailed, message)).into_response();
            }
            _ => {}
        }
        let media_type = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let (is_text, is_html) = (media_type.starts_with(b"text/"), media_type.starts_with(b"text/html"));
        let in_utf8 = [media_type, b"; charset=utf-8"].concat();
        let has_policy = is_html && self.has_own_policy(path).await;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_CACHE);
        if is_text && let Ok(media_type) = HeaderValue::from_bytes(&in_utf8) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        if is_html {
            headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
            if !has_policy {
                headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
            }
        }
        response.extensions_mut().insert(SentAsIs);
        response
    }

    /// Whether the page at `path` has a policy. One of which there are only compressed forms counts as having none.
    async fn has_own_policy(&self, path: &str) -> bool {
        let index = if path.is_empty() || path.ends_with('/') { "index.html" } else { "" };
        let start = self.folder.read_start(PathBuf::from(format!("{path}{index}")), HEAD_BYTES_MAX).await;
        start.is_ok_and(|html| has_own_policy(&html))
    }
}

/// Whether an answer is of the file that `known`, an `If-Range`, names (RFC 9110 §13.1.5).
fn is_of(response: &Response, known: &HeaderValue) -> bool {
    let name = if known.as_bytes().ends_with(b"\"") { ETAG } else { LAST_MODIFIED };
    response.headers().get(name) == Some(known)
}

fn content_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn refuse_method() -> Response {
    let error = METHOD_NOT_ALLOWED.error("files are read with GET and HEAD");
    ([(ALLOW, "GET, HEAD")], HttpError(error)).into_response()
}

fn refuse(error: io::Error, path: &str) -> Response {
    use io::ErrorKind as E;
    let absent = matches!(
        error.kind(),
        E::NotFound | E::PermissionDenied | E::NotADirectory | E::IsADirectory | E::InvalidInput | E::InvalidFilename
    );
    // A circle of links, a socket.
    let absent = absent || [Errno::LOOP, Errno::NXIO].iter().any(|no| error.raw_os_error() == Some(no.raw_os_error()));
    match path {
        _ if !absent => HttpError(Error::internal("a file could not be read").caused_by(error)).into_response(),
        "" => {
            let message = "the folder that is served has no index.html; the server's own page is at /_/";
            HttpError(Error::not_found(message)).into_response()
        }
        // Where browsers look for an icon by themselves.
        "favicon.ico" | "favicon.svg" => ([(CACHE_CONTROL, NO_CACHE)], see_other(ICON_PATH)).into_response(),
        _ => HttpError(nothing_there()).into_response(),
    }
}
