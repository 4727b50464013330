//! Protection against cross-site request forgery, for the few GETs that write. A page of another site can have a
//! browser send a GET, with the cookie, by an image, a frame or a link. Pure.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};

use crate::base::error::{Error, Kind, Result};

/// A header that pages of other sites cannot add.
pub(crate) const REJOIN_REQUEST: HeaderName = HeaderName::from_static("rejoin-request");
/// Fetch metadata, which no page can forge.
const SITE: &str = "sec-fetch-site";
const DESTINATION: &str = "sec-fetch-dest";
const MODE: &str = "sec-fetch-mode";

/// Whether a request is known not to be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestIntent {
    /// By `Sec-Fetch-Site`, a bearer token, or `Rejoin-Request`.
    Proven,
    /// Neither header is there: an old browser may have been made to send it.
    Unknown,
}

/// Refuses what a page of another site can cause, and what a browser fetches ahead. Error: `Forbidden`.
pub(crate) fn check_csrf(headers: &HeaderMap) -> Result<RequestIntent> {
    let value = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    let refuse = |why: &'static str| Err(Error::new(Kind::Forbidden, why));
    if ["sec-purpose", "purpose", "x-moz"].iter().any(|name| value(name).is_some_and(is_prefetch)) {
        return refuse("this call writes, and is not answered ahead of time");
    }
    if value(SITE).is_some_and(|site| site != b"same-origin" && site != b"none") {
        return refuse("this call writes, and is answered to pages of this server alone");
    }
    if value(DESTINATION).is_some_and(|destination| destination != b"document" && destination != b"empty") {
        return refuse("this call writes, and is not answered into a frame, an image or the like");
    }
    let browser = value(SITE).is_some() || value(DESTINATION).is_some() || value(MODE).is_some();
    let program = headers.contains_key(AUTHORIZATION) || value(REJOIN_REQUEST.as_str()) == Some(b"1");
    Ok(if browser || program { RequestIntent::Proven } else { RequestIntent::Unknown })
}

fn is_prefetch(value: &[u8]) -> bool {
    memchr::memmem::find(value, b"prefetch").is_some() || memchr::memmem::find(value, b"preview").is_some()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn check(pairs: &[(&'static str, &str)]) -> Option<RequestIntent> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        check_csrf(&headers).ok()
    }

    #[test]
    fn other_sites_frames_and_prefetches_are_refused() {
        for pairs in [
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "document")][..],
            &[("sec-fetch-site", "same-site"), ("sec-fetch-dest", "empty"), ("authorization", "Bearer x")],
            &[("sec-fetch-site", "nonsense"), ("rejoin-request", "1")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-dest", "image")],
            &[("sec-purpose", "prefetch;prerender"), ("sec-fetch-site", "none")],
            &[("purpose", "prefetch")],
        ] {
            assert_eq!(check(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn pages_of_ours_and_programs_that_say_so_are_meant() {
        for pairs in [
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")][..],
            &[("sec-fetch-site", "none"), ("sec-fetch-dest", "document")],
            &[("sec-fetch-mode", "cors"), ("authorization", "Bearer x")],
            &[("authorization", "Bearer x")],
            &[("rejoin-request", "1")],
        ] {
            assert_eq!(check(pairs), Some(RequestIntent::Proven), "{pairs:?}");
        }
        for pairs in [&[][..], &[("cookie", "a=b")], &[("rejoin-request", "0")]] {
            assert_eq!(check(pairs), Some(RequestIntent::Unknown), "{pairs:?}");
        }
    }
}
