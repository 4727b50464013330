//! How much somebody may ask: the place where the guard asks for it. What the limits are is a feature's.

use std::fmt;

use http::Method;
use http::header::{HeaderName, HeaderValue};

use crate::base::error::Error;
use crate::http::request::caller::{Caller, Peer};

/// Counts requests and says which are too many.
pub(crate) trait Quota: Send + Sync + fmt::Debug {
    /// Counts one request to `path`. `caller` is missing where nobody knows who asks. Asked at each request, so it must
    /// not wait.
    fn admit(&self, peer: &Peer, caller: Option<&Caller>, method: &Method, path: &str) -> Admission;
}

/// Whether a request may go on.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    /// What the response is to say about it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the request is refused with.
    pub refused: Option<Error>,
}

/// Everything is little enough.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unlimited;

#[cfg(test)]
impl Quota for Unlimited {
    fn admit(&self, _: &Peer, _: Option<&Caller>, _: &Method, _: &str) -> Admission {
        Admission::default()
    }
}
