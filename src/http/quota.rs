//! How much somebody may ask: the place where the guard asks for it. What the limits are is a feature's.

use std::fmt;

use http::Method;
use http::header::{HeaderName, HeaderValue};

use super::caller::{Caller, Peer};
use crate::base::error::Error;

/// Counts requests and says which are too many.
pub trait Quota: Send + Sync + fmt::Debug {
    /// Counts one request to `path`. `caller` is missing where nobody knows who asks. Asked at each request, so it must
    /// not wait.
    fn admit(&self, peer: &Peer, caller: Option<&Caller>, method: &Method, path: &str) -> Admission;
}

/// Whether a request may go on.
#[derive(Debug, Default)]
pub struct Admission {
    /// What the response is to say about it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What the request is refused with.
    pub refused: Option<Error>,
}

/// Everything is little enough.
#[derive(Clone, Copy, Debug)]
pub struct Unlimited;

impl Quota for Unlimited {
    fn admit(&self, _: &Peer, _: Option<&Caller>, _: &Method, _: &str) -> Admission {
        Admission::default()
    }
}
