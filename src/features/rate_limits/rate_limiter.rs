//! The check of each request, for the middleware.

use http::Method;
use http::header::{HeaderName, HeaderValue};

use super::identity::BucketOwner;
use super::limiter::{LimitDecision, Shortage, whole_seconds};
use super::rules::matching::Verb;
use super::service::RateLimits;
use crate::base::error::{Error, Kind};
use crate::http::request::caller::{Caller, Peer};
use crate::http::server::rate_limit::{RateLimitDecision, RateLimiter};

/// `RateLimit`: what is left.
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What must be told of the server however often it is asked.
const EXEMPT: [&str; 2] = ["/healthz", "/readyz"];

impl RateLimiter for RateLimits {
    fn check(&self, peer: &Peer, caller: Option<&Caller>, method: &Method, path: &str) -> RateLimitDecision {
        if EXEMPT.contains(&path) || self.exempts(caller) {
            return RateLimitDecision::default();
        }
        let decision = self.decide(&identity(peer, caller), Verb::of_request(method.as_str()), path);
        RateLimitDecision { headers: headers(&decision), refused: refusal(&decision) }
    }

    fn check_calls(&self, caller: &Caller, request: (&Method, &str), calls: &[(Method, String)]) -> RateLimitDecision {
        if self.exempts(Some(caller)) {
            return RateLimitDecision::default();
        }
        let calls: Vec<_> =
            calls.iter().map(|(method, path)| (Verb::of_request(method.as_str()), path.as_str())).collect();
        let request = (Verb::of_request(request.0.as_str()), request.1);
        let identity = identity(&caller.peer, Some(caller));
        let refused = self.decide_all(&identity, request, &calls).err().map(|shortage| limit_error(&shortage));
        RateLimitDecision { headers: headers(&self.present(&identity, request)), refused }
    }
}

/// The refusal of calls that are sent in one request.
fn limit_error(shortage: &Shortage) -> Error {
    let Shortage { policy, tokens, with_request, wait } = shortage;
    let name = &*policy.name;
    let Some(wait) = wait else {
        let capacity = policy.limit.capacity;
        let and_request = if *with_request { " and the batch itself" } else { "" };
        let message = format!(
            "{tokens} operations{and_request} count against the limit '{name}', which allows {capacity} at once: send \
             smaller batches"
        );
        return Error::new(Kind::RateLimited, message).with("rule", name).with("capacity", capacity);
    };
    let seconds = whole_seconds(*wait);
    let message = format!("{tokens} operations are more than the limit '{name}' allows now; try again in {seconds} s");
    Error::new(Kind::RateLimited, message).with("rule", name).with("retryAfterSeconds", seconds)
}

/// Whose bucket a request is taken from: a user's, on whatever device and whether a session or their machine says who
/// they are; of those whom nobody knows, that of their address.
fn identity(peer: &Peer, caller: Option<&Caller>) -> BucketOwner {
    match caller.map(Caller::user) {
        Some(None) => BucketOwner::Owner,
        Some(Some(id)) => BucketOwner::User(id.clone()),
        None => BucketOwner::Address(peer.address.ip().to_canonical()),
    }
}

fn headers(decision: &LimitDecision) -> Vec<(HeaderName, HeaderValue)> {
    vec![(RATE_LIMIT, decision.header()), (RATE_LIMIT_POLICY, decision.policy.header.clone())]
}

fn refusal(decision: &LimitDecision) -> Option<Error> {
    if decision.outcome.taken.allowed {
        return None;
    }
    let (name, seconds) = (&*decision.policy.name, decision.wait_seconds());
    let message = format!("more requests than the limit '{name}' allows; try again in {seconds} s");
    Some(Error::new(Kind::RateLimited, message).with("rule", name).with("retryAfterSeconds", seconds))
}
