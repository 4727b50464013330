//! Which host names and origins are ours. Pure.
//!
//! The allow-list is what stops DNS rebinding: a foreign page whose name was turned to our address sends its own name
//! in `Host`, and an `Origin` that agrees with it.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, ORIGIN};
use http::{Method, Uri};

use crate::base::error::{Error, Kind, Result};
use crate::http::protocol_problems::MISDIRECTED_HOST;
use crate::http::request::origins::{AllowedOrigins, parse_origin};

/// Longest origin that a refusal repeats, bytes.
const ORIGIN_LENGTH_SHOWN_MAX: usize = 280;

/// The names that a listener answers to, each with its port.
#[derive(Clone, Debug)]
pub(crate) struct Hosts {
    /// `name:port`, or the name alone where that will do; lower-case.
    authorities: Vec<Box<str>>,
}

impl Hosts {
    /// The names of the listener at `local`: its own address; on loopback (and on the unspecified address, which
    /// loopback reaches) `127.0.0.1`, `localhost` and `[::1]`; and `extra`. An extra name with a port is taken with
    /// that port, one without is taken with the listener's port and with none, as behind something that speaks HTTPS
    /// for us.
    pub(crate) fn new(local: SocketAddr, extra: &[String]) -> Self {
        let port = local.port();
        let mut authorities = Vec::new();
        let mut take = |name: &str| {
            authorities.push(format!("{name}:{port}").into());
            if port == 80 {
                authorities.push(name.into());
            }
        };
        if local.ip().is_loopback() || local.ip().is_unspecified() {
            ["127.0.0.1", "localhost", "[::1]"].into_iter().for_each(&mut take);
        }
        if !local.ip().is_unspecified() {
            take(literal(local.ip()).as_str());
        }
        take_extra(&mut authorities, port, extra);
        Self { authorities }
    }

    /// The names of a node of a tailnet, at `port`: its addresses, its `names` there, and `extra` as for
    /// [`new`](Self::new). Nothing that loopback goes by.
    pub(crate) fn of_node(port: u16, addresses: &[IpAddr], names: &[String], extra: &[String]) -> Self {
        let mut authorities = Vec::new();
        for name in addresses.iter().map(|address| literal(*address)).chain(names.iter().cloned()) {
            authorities.push(format!("{name}:{port}").into());
            if port == 80 {
                authorities.push(name.into());
            }
        }
        take_extra(&mut authorities, port, extra);
        Self { authorities }
    }

    /// Whether `authority` is one of ours. Letters count alike, and one dot at the end of the name is nothing.
    pub(crate) fn contains(&self, authority: &str) -> bool {
        let listed = |text: &str| self.authorities.iter().any(|own| own.eq_ignore_ascii_case(text));
        listed(authority) || {
            let (host, port) = split_port(authority);
            let bare = without_trailing_dot(host);
            bare.len() < host.len() && listed(&join(bare, port))
        }
    }

    /// Checks the addressee of a request: exactly one `Host`, ours or that of an allowed origin, and no other one in
    /// the request's target. Errors: `Invalid` when missing, empty or repeated, or when `Host` and target disagree;
    /// `misdirected-host`.
    pub(crate) fn check_host(&self, uri: &Uri, headers: &HeaderMap, allowed: &AllowedOrigins) -> Result<()> {
        let mut values = headers.get_all(HOST).iter();
        let host = match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() => value.to_str().unwrap_or("\u{fffd}"),
            (Some(_), Some(_)) => return Err(Error::invalid("a request has exactly one Host header")),
            _ => return Err(Error::invalid("the Host header is missing or empty")),
        };
        if !self.contains(host) && !allowed.has_authority(host) {
            return Err(MISDIRECTED_HOST.error(foreign_host(host)));
        }
        match uri.authority() {
            Some(target) if !same_authority(target.as_str(), host) => {
                Err(Error::invalid("the request's target and its Host header name different hosts"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what a page of another origin sends, unless it is allowed: a foreign `Origin` always; without one, what
    /// the browser marks as coming from another site, unless it is a navigation (a link to us), which a page cannot
    /// read. Error: `Forbidden`.
    pub(crate) fn check_origin(&self, method: &Method, headers: &HeaderMap, allowed: &AllowedOrigins) -> Result<()> {
        if headers.contains_key(ORIGIN) {
            let mut origins = headers.get_all(ORIGIN).iter().map(|origin| origin.to_str().unwrap_or("\u{fffd}"));
            let foreign_origin = origins.find(|origin| !self.is_own_origin(origin) && !allowed.contains(origin));
            return foreign_origin.map_or(Ok(()), |origin| Err(foreign_origin_error(Some(origin))));
        }
        let says = |name: &str, wanted: &[&str]| {
            headers.get(name).is_some_and(|value| wanted.iter().any(|wanted| value.as_bytes() == wanted.as_bytes()))
        };
        let navigates = says("sec-fetch-mode", &["navigate"]) && matches!(*method, Method::GET | Method::HEAD);
        if says("sec-fetch-site", &["cross-site", "same-site"]) && !navigates {
            Err(foreign_origin_error(None))
        } else {
            Ok(())
        }
    }

    /// Whether `origin` is one of our own pages.
    fn is_own_origin(&self, origin: &str) -> bool {
        let (authority, port) = match origin.split_once("://") {
            Some(("http", authority)) => (authority, 80),
            Some(("https", authority)) => (authority, 443),
            _ => return false,
        };
        // A browser leaves out the scheme's own port; the list may have it.
        self.contains(authority) || (split_port(authority).1.is_none() && self.contains(&format!("{authority}:{port}")))
    }
}

/// What is said to a request for `host`, which is repeated only if it could be a name.
fn foreign_host(host: &str) -> String {
    let (name, _) = split_port(host);
    let is_name =
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    let name = if is_name { name } else { "NAME" };
    format!(
        "this server does not answer to the Host of this request; if it should, start it with --allowed-host {name} \
         (allowed-host in the file)"
    )
}

/// What is said to a page of another origin. It is repeated only if it is one that could be allowed.
fn foreign_origin_error(origin: Option<&str>) -> Error {
    let remedy = match origin {
        None => "; --allowed-origin (allowed-origin in the file) lets pages in that ask with CORS".to_owned(),
        Some("null") => "; this one has no origin (a file, a sandboxed frame): have it served, such as by --public \
                         FOLDER"
            .to_owned(),
        Some(origin) => {
            let origin = parse_origin(origin).filter(|origin| origin.len() <= ORIGIN_LENGTH_SHOWN_MAX);
            let origin = origin.as_deref().unwrap_or("ORIGIN");
            format!(
                "; to let this one in, start the server with --allowed-origin {origin} (allowed-origin in the file)"
            )
        }
    };
    Error::new(Kind::Forbidden, format!("requests from pages of another origin are refused{remedy}"))
}

/// Adds names from the configuration.
fn take_extra(authorities: &mut Vec<Box<str>>, port: u16, extra: &[String]) {
    for name in extra {
        let name = name.to_ascii_lowercase();
        match split_port(&name) {
            (host, Some(port)) => authorities.push(format!("{}:{port}", without_trailing_dot(host)).into()),
            (host, None) => {
                let host = without_trailing_dot(host);
                authorities.push(format!("{host}:{port}").into());
                authorities.push(host.into());
            }
        }
    }
}

/// An address as it stands in a `Host` header.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Splits `name:port`; the colons inside `[::1]` do not count. A port that is none stays with the name.
pub(super) fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !port.contains(']') => {
            (host, Some(port))
        }
        _ => (authority, None),
    }
}

fn without_trailing_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn join(host: &str, port: Option<&str>) -> String {
    port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn same_authority(one: &str, other: &str) -> bool {
    let ((one, one_port), (other, other_port)) = (split_port(one), split_port(other));
    without_trailing_dot(one).eq_ignore_ascii_case(without_trailing_dot(other))
        && one_port.unwrap_or("80") == other_port.unwrap_or("80")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn hosts(local: &str, extra: &[&str]) -> Hosts {
        Hosts::new(local.parse().unwrap(), &extra.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_loopback_listener_answers_to_its_three_names_with_its_port() {
        let hosts = hosts("127.0.0.1:7766", &["Rejoin.lan", "play.example:8443"]);
        for ours in [
            "127.0.0.1:7766",
            "localhost:7766",
            "LocalHost:7766",
            "localhost.:7766",
            "[::1]:7766",
            "rejoin.lan:7766",
            "rejoin.lan",
            "rejoin.LAN.",
            "play.example:8443",
        ] {
            assert!(hosts.contains(ours), "{ours}");
        }
        for foreign in [
            "",
            ".",
            "127.0.0.1",
            "localhost",
            "localhost:80",
            "localhost:77660",
            "localhost..:7766",
            "localhost:07766",
            "x@localhost:7766",
            "evil.example:7766",
            "localhost.evil.example:7766",
            "127.0.0.2:7766",
            "[::1]",
            "::1:7766",
            "play.example",
            "play.example:7766",
        ] {
            assert!(!hosts.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn other_listeners_answer_to_their_address_and_port_80_may_be_left_out() {
        assert!(hosts("100.64.1.2:80", &[]).contains("100.64.1.2"));
        assert!(hosts("[fd7a:115c:a1e0::2]:7766", &[]).contains("[fd7a:115c:a1e0::2]:7766"));
        assert!(!hosts("100.64.1.2:7766", &[]).contains("localhost:7766"));
        assert!(hosts("0.0.0.0:7766", &[]).contains("localhost:7766"));
        assert!(!hosts("0.0.0.0:7766", &[]).contains("0.0.0.0:7766"));
    }

    #[test]
    fn a_node_of_a_tailnet_answers_to_its_addresses_and_names_and_not_to_those_of_loopback() {
        let addresses = ["100.100.1.2", "fd7a:115c:a1e0::2"].map(|address| address.parse().unwrap());
        let names = ["gamebox", "gamebox.tail1a2b.ts.net"].map(str::to_owned);
        let hosts = Hosts::of_node(7766, &addresses, &names, &["play.example".to_owned()]);
        for ours in [
            "100.100.1.2:7766",
            "[fd7a:115c:a1e0::2]:7766",
            "gamebox:7766",
            "GameBox:7766",
            "gamebox.:7766",
            "gamebox.tail1a2b.ts.net:7766",
            "gamebox.tail1a2b.ts.net.:7766",
            "play.example",
        ] {
            assert!(hosts.contains(ours), "{ours}");
        }
        for foreign in [
            "localhost:7766",
            "127.0.0.1:7766",
            "[::1]:7766",
            "gamebox",
            "gamebox:80",
            "100.100.1.3:7766",
            "gamebox.evil.example:7766",
            "tail1a2b.ts.net:7766",
        ] {
            assert!(!hosts.contains(foreign), "{foreign}");
        }
        assert!(Hosts::of_node(80, &addresses, &names, &[]).contains("gamebox"));
    }

    #[test]
    fn exactly_one_host_that_agrees_with_the_target() {
        let hosts = hosts("127.0.0.1:7766", &[]);
        let check = |uri: &str, pairs: &[(&'static str, &str)]| {
            let allowed = AllowedOrigins::new(&["http://localhost:5173".to_owned()]);
            hosts.check_host(&uri.parse().unwrap(), &headers(pairs), &allowed).map_err(|e| e.slug())
        };
        assert_eq!(check("/", &[("host", "localhost:7766")]), Ok(()));
        assert_eq!(check("/", &[("host", "localhost:5173")]), Ok(()), "a development server passes it on");
        assert_eq!(check("/", &[("host", "localhost:5174")]), Err(Some("misdirected-host")));
        assert_eq!(check("/", &[]), Err(None));
        assert_eq!(check("/", &[("host", "")]), Err(None));
        assert_eq!(check("/", &[("host", "localhost:7766"), ("host", "localhost:7766")]), Err(None));
        assert_eq!(check("/", &[("host", "evil.example")]), Err(Some("misdirected-host")));
        let forwarded = [("host", "evil.example"), ("x-forwarded-host", "localhost:7766")];
        assert_eq!(check("/", &forwarded), Err(Some("misdirected-host")));
        assert_eq!(check("http://LOCALHOST:7766/", &[("host", "localhost:7766")]), Ok(()));
        assert_eq!(check("http://127.0.0.1:7766/", &[("host", "localhost:7766")]), Err(None));
        assert_eq!(check("http://evil.example/", &[("host", "localhost:7766")]), Err(None));
        assert_eq!(check("http://x@localhost:7766/", &[("host", "localhost:7766")]), Err(None));
    }

    #[test]
    fn foreign_pages_are_refused_and_links_are_not() {
        let hosts = hosts("127.0.0.1:7766", &["play.example"]);
        let allowed = AllowedOrigins::new(&["http://localhost:5173".to_owned()]);
        let check = |method: Method, pairs: &[(&'static str, &str)]| {
            hosts.check_origin(&method, &headers(pairs), &allowed).is_ok()
        };
        assert!(check(Method::POST, &[]));
        assert!(check(Method::POST, &[("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")]));
        assert!(!check(Method::GET, &[("origin", "http://localhost:5173"), ("origin", "http://localhost:3000")]));
        for ours in ["http://localhost:7766", "http://127.0.0.1:7766", "https://play.example", "http://[::1]:7766"] {
            assert!(check(Method::POST, &[("origin", ours), ("sec-fetch-site", "cross-site")]), "{ours}");
        }
        for foreign in
            ["null", "", "http://evil.example", "http://localhost:3000", "ftp://localhost:7766", "localhost:7766"]
        {
            assert!(!check(Method::GET, &[("origin", foreign)]), "{foreign}");
        }
        assert!(!check(Method::GET, &[("origin", "http://localhost:7766"), ("origin", "http://evil.example")]));
        assert!(!check(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(!check(Method::GET, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")]));
        assert!(check(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        assert!(!check(Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        assert!(check(Method::GET, &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")]));
        assert!(check(Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]));
        assert!(check(Method::POST, &[("sec-fetch-mode", "cors")]));
    }

    #[test]
    fn a_refused_page_is_told_the_option_and_nothing_that_it_could_not_be() {
        let hosts = hosts("127.0.0.1:7766", &[]);
        for (origin, part) in [
            ("http://localhost:5173", "--allowed-origin http://localhost:5173 "),
            ("https://play.example", "--allowed-origin https://play.example "),
            ("<script>", "--allowed-origin ORIGIN "),
            ("http://a b", "--allowed-origin ORIGIN "),
            ("null", "--public FOLDER"),
        ] {
            let refused = hosts.check_origin(&Method::GET, &headers(&[("origin", origin)]), &AllowedOrigins::default());
            let refused = refused.unwrap_err();
            assert!(refused.message().contains(part), "{origin}: {}", refused.message());
        }
    }
}
