//! Protection against cross-site request forgery, for the few GETs that write. A page of another site can have a
//! browser send a GET, with the cookie, by an image, a frame or a link. Pure.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, ORIGIN};

use crate::base::error::{Error, Kind, Result};

/// A header that pages of other sites cannot add.
pub(crate) const REJOIN_REQUEST: HeaderName = HeaderName::from_static("rejoin-request");
/// Fetch metadata, which no page can forge.
const SITE: &str = "sec-fetch-site";
const DESTINATION: &str = "sec-fetch-dest";

/// Whether a request is known not to be forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestIntent {
    /// By `Sec-Fetch-Site`, `Origin`, a bearer token, or `Rejoin-Request`.
    Proven,
    /// Neither header is there: an old browser may have been made to send it.
    Unknown,
}

/// Refuses what a page of another site can cause, and what a browser fetches ahead. A request with an `Origin` is from
/// a page of ours or of an allowed origin: any other was refused before ([`Hosts::check_origin`]). Error: `Forbidden`.
///
/// [`Hosts::check_origin`]: super::hosts::Hosts::check_origin
pub(crate) fn check_csrf(headers: &HeaderMap) -> Result<RequestIntent> {
    let value = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
    let refuse = |why: &'static str| Err(Error::new(Kind::Forbidden, why));
    if ["sec-purpose", "purpose", "x-moz"].iter().any(|name| value(name).is_some_and(is_prefetch)) {
        return refuse("this call writes, and is not answered ahead of time");
    }
    let is_allowed_page = headers.contains_key(ORIGIN);
    if headers.get_all(SITE).iter().any(|site| site != "same-origin" && site != "none") && !is_allowed_page {
        return refuse("this call writes, and is answered to pages of this server alone");
    }
    if value(DESTINATION).is_some_and(|destination| destination != b"document" && destination != b"empty") {
        return refuse("this call writes, and is not answered into a frame, an image or the like");
    }
    // The other headers of its kind do not say whose page it is that asks.
    let browser = headers.contains_key(SITE);
    let program = headers.contains_key(AUTHORIZATION) || value(REJOIN_REQUEST.as_str()) == Some(b"1");
    Ok(if browser || program || is_allowed_page { RequestIntent::Proven } else { RequestIntent::Unknown })
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
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "empty")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "iframe")],
            &[("sec-fetch-dest", "image")],
            &[("sec-fetch-dest", "image"), ("sec-fetch-site", "same-site"), ("origin", "http://localhost:5173")],
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
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "empty"), ("origin", "http://localhost:5173")],
            &[("origin", "http://192.168.1.5:5173")],
        ] {
            assert_eq!(check(pairs), Some(RequestIntent::Proven), "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("cookie", "a=b")],
            &[("rejoin-request", "0")],
            &[("sec-fetch-mode", "cors")],
            &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("sec-fetch-user", "?1")],
        ] {
            assert_eq!(check(pairs), Some(RequestIntent::Unknown), "{pairs:?}");
        }
    }
}
