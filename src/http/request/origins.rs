//! Origins of pages that other servers serve and that are let in. Pure.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderValue, ORIGIN};

/// Whose pages are let in besides our own, each as browsers write it: `http://localhost:5173`. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedOrigins(Arc<[String]>);

impl AllowedOrigins {
    pub(crate) fn new(origins: &[String]) -> Self {
        Self(origins.into())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|allowed| allowed == origin)
    }

    /// Whether `authority` is that of one of these origins over plain HTTP: a development server that passes requests
    /// on and keeps their `Host`. Whoever could turn this name to our address would be that very origin.
    pub(crate) fn has_authority(&self, authority: &str) -> bool {
        let mut authorities = self.0.iter().filter_map(|origin| origin.strip_prefix("http://"));
        authorities.any(|allowed| allowed.eq_ignore_ascii_case(authority))
    }

    /// The origin that a request is from, if it is one of these.
    pub(crate) fn of_request<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut values = headers.get_all(ORIGIN).iter();
        let (Some(origin), None) = (values.next(), values.next()) else { return None };
        origin.to_str().is_ok_and(|origin| self.contains(origin)).then_some(origin)
    }
}

/// An origin as a browser writes it, from one as a person does: in lower case, without the scheme's own port. `None`:
/// it is none of a page over HTTP.
pub(crate) fn parse_origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let default_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return None,
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok_and(|parsed| parsed.to_string() == address),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
    let port = port.filter(|port| *port != default_port).map(|port| format!(":{port}")).unwrap_or_default();
    (is_host && is_port).then(|| format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        for (text, expect) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("HTTP://LocalHost:5173", "http://localhost:5173"),
            ("http://play.example:80", "http://play.example"),
            ("https://play.example:443", "https://play.example"),
            ("https://play.example:80", "https://play.example:80"),
            ("http://192.168.1.5:3000", "http://192.168.1.5:3000"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("http://[::1]", "http://[::1]"),
        ] {
            assert_eq!(parse_origin(text).as_deref(), Some(expect), "{text}");
        }
        for none in [
            "",
            "*",
            "null",
            "localhost:5173",
            "http://",
            "http://localhost:5173/",
            "http://localhost:5173/x",
            "http://*.example",
            "http://a b",
            "http://user@host",
            "http://host:",
            "http://host:0080",
            "http://host:65536",
            "http://host:x",
            "http://ä.example",
            "http://[::1",
            "http://::1",
            "http://[0:0::1]",
            "ftp://host",
            "file:///x",
            "http://host?x",
        ] {
            assert_eq!(parse_origin(none), None, "{none}");
        }
    }

    #[test]
    fn exactly_these_origins_are_allowed() {
        let allowed = AllowedOrigins::new(&["http://localhost:5173".to_owned(), "https://play.example".to_owned()]);
        let of_request = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ORIGIN, value.parse().unwrap());
            }
            allowed.of_request(&headers).is_some()
        };
        for good in ["http://localhost:5173", "https://play.example"] {
            assert!(of_request(&[good]), "{good}");
        }
        for bad in [
            "http://localhost",
            "http://localhost:51730",
            "https://localhost:5173",
            "http://play.example",
            "https://play.example.evil.example",
            "https://evil.example/https://play.example",
            "HTTPS://play.example",
            "null",
            "",
            "*",
        ] {
            assert!(!of_request(&[bad]), "{bad}");
        }
        assert!(!of_request(&[]) && !of_request(&["https://play.example", "https://play.example"]));
        assert!(allowed.has_authority("LocalHost:5173") && !allowed.has_authority("localhost"));
        assert!(!allowed.has_authority("play.example"), "only over plain HTTP");
    }
}
