//! Rate limiting as the middleware sees it. A feature implements the limits.

use std::fmt;

use http::Method;
use http::header::{HeaderName, HeaderValue};

use crate::base::error::Error;
use crate::http::request::caller::{Caller, Peer};

pub(crate) trait RateLimiter: Send + Sync + fmt::Debug {
    /// Counts one request to `path`. `caller` is `None` for an unauthenticated request. Called for each request, so it
    /// must not block.
    fn check(&self, peer: &Peer, caller: Option<&Caller>, method: &Method, path: &str) -> RateLimitDecision;

    /// Counts the calls that one request stands for, by method and path, or none of them. `request` is that request,
    /// which [`check`](Self::check) has counted. Refused when any of them is too many: then the request takes nothing
    /// either. The headers replace those of [`check`](Self::check).
    fn check_calls(&self, caller: &Caller, request: (&Method, &str), calls: &[(Method, String)]) -> RateLimitDecision;
}

#[derive(Debug, Default)]
pub(crate) struct RateLimitDecision {
    /// For the response, refused or not.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub refused: Option<Error>,
}

/// Everybody may ask as much as they like: for a server without a feature that limits it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRateLimit;

impl RateLimiter for NoRateLimit {
    fn check(&self, _: &Peer, _: Option<&Caller>, _: &Method, _: &str) -> RateLimitDecision {
        RateLimitDecision::default()
    }

    fn check_calls(&self, _: &Caller, _: (&Method, &str), _: &[(Method, String)]) -> RateLimitDecision {
        RateLimitDecision::default()
    }
}
