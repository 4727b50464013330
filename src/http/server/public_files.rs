//! Paths that no call has: those of the server's own stay unanswered, whatever stands in the folder of the option
//! `public`; all others are for its files.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;
use percent_encoding::percent_decode_str;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::base::error::Error;
use crate::http::error::HttpError;

/// Answers paths that are none of the server's own.
pub(crate) type PublicFiles = BoxCloneSyncService<Request<Body>, Response, Infallible>;

/// On a response: it is a file, which is sent as it is, under its own policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentAsIs;

/// First segments of paths that stay the server's although no feature has calls there.
const RESERVED: [&str; 6] = ["_", "api", "join", "metrics", "openapi.json", "problems"];

/// The paths of the server itself, by their first segments.
#[derive(Clone, Debug)]
pub(crate) struct OwnPaths(BTreeSet<String>);

impl OwnPaths {
    /// Those of the calls of features, whose paths may hold parameters, and those that are kept besides.
    pub(crate) fn new<'a>(calls: impl Iterator<Item = &'a str>) -> Self {
        let firsts = calls.map(first_segment).chain(RESERVED);
        Self(firsts.filter(|first| !first.is_empty()).map(str::to_owned).collect())
    }

    /// Whether a path is one of them, decoded: `/%61pi` is `/api`. One that is not UTF-8 is no file's.
    pub(crate) fn contains(&self, path: &str) -> bool {
        percent_decode_str(path).decode_utf8().map_or(true, |path| self.0.contains(first_segment(&path)))
    }
}

/// The first part of a path that names something.
fn first_segment(path: &str) -> &str {
    path.split('/').find(|segment| !matches!(*segment, "" | ".")).unwrap_or_default()
}

/// Answers a request whose path no call has.
pub(crate) async fn respond(files: Option<(OwnPaths, PublicFiles)>, request: Request<Body>) -> Response {
    match files {
        Some((own, files)) if !own.contains(request.uri().path()) => match files.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        _ => HttpError(nothing_there()).into_response(),
    }
}

/// The refusal of a path at which there is nothing.
pub(crate) fn nothing_there() -> Error {
    Error::not_found("there is nothing at this path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_server_are_told_by_their_decoded_first_segment() {
        let own = OwnPaths::new(["/", "/login", "/api/v1/{collection}", "/claps/{id}"].into_iter());
        for path in [
            "/api",
            "/api/v2/x",
            "/%61pi/v1/me",
            "/api%2fv1%2fme",
            "//api/v1/me",
            "/./api",
            "/%2e/api",
            "/%2Fapi",
            "/login",
            "/claps/x/y",
            "/join",
            "/_/x",
            "/%ff",
        ] {
            assert!(own.contains(path), "{path}");
        }
        for path in ["/", "", "/index.html", "/apis", "/%2561pi", "/x/api", "/API", "/%zz", "/favicon.svg"] {
            assert!(!own.contains(path), "{path}");
        }
    }
}
