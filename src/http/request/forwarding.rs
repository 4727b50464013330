//! What in a request says that a proxy passed it on. Pure.
//!
//! A reverse proxy on the server's machine connects from loopback, as its owner does. A request that says of itself
//! that it was passed on, or that it is addressed to a name that is not loopback's, is not the owner's. This is a net
//! below the option `loopback-owner`: a proxy that says nothing cannot be told from the owner.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, HeaderName, ORIGIN};

use super::hosts::split_port;

/// Headers that only something between the caller and the server adds, besides `X-Forwarded-*`.
const ADDED_BY_PROXIES: [&str; 9] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "tailscale-headers-info",
];

/// The header that says that the request does not come from this machine by itself, if one does.
pub(crate) fn forwarding_header(headers: &HeaderMap) -> Option<&str> {
    let added = |name: &&HeaderName| {
        let name = name.as_str();
        name.starts_with("x-forwarded") || ADDED_BY_PROXIES.contains(&name)
    };
    if let Some(name) = headers.keys().find(added) {
        return Some(name.as_str());
    }
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let foreign_host = headers.get_all(HOST).iter().any(|host| !is_loopback(&text(host)));
    let foreign_origin = headers.get_all(ORIGIN).iter().map(text).any(|origin| {
        let authority = origin.split_once("://").map_or(origin.as_str(), |(_, authority)| authority);
        !is_loopback(authority)
    });
    match (foreign_host, foreign_origin) {
        (true, _) => Some("host"),
        (false, true) => Some("origin"),
        (false, false) => None,
    }
}

/// Whether an authority, `name` or `name:port`, is one of loopback's.
fn is_loopback(authority: &str) -> bool {
    let (name, _) = split_port(authority);
    let name = name.strip_suffix('.').unwrap_or(name);
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn check(pairs: &[(&'static str, &str)], expect: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(forwarding_header(&headers), expect, "{pairs:?}");
    }

    #[test]
    fn a_request_of_this_machine_says_nothing_of_a_proxy() {
        for host in
            ["127.0.0.1:7766", "localhost:7766", "LocalHost.", "[::1]:7766", "127.0.0.2", "[::ffff:127.0.0.1]:1"]
        {
            check(&[("host", host)], None);
            check(&[("host", host), ("origin", "http://localhost:7766")], None);
        }
        for origin in ["http://play.example", "null", "http://192.168.1.5:5173", "http://localhost.evil.example"] {
            check(&[("host", "localhost:1"), ("origin", origin)], Some("origin"));
        }
        for host in ["play.example", "192.168.1.5:7766", "localhost.example:7766", "[::2]:1", ""] {
            check(&[("host", host)], Some("host"));
        }
    }

    #[test]
    fn whatever_a_proxy_adds_gives_it_away() {
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-whatever", "x-forwarded"] {
            check(&[("host", "localhost:1"), (name, "x")], Some(name));
            check(&[("host", "localhost:1"), (name, "")], Some(name));
        }
    }
}
