//! Where the link of an invitation leads. Pure.

use std::net::{IpAddr, SocketAddr};

/// The address of this server in a link: the `Host` of the request that makes it, unless that is loopback, which is
/// another machine for whoever opens the link, and the server listens elsewhere; then the first address there.
/// `outward`: the address of this machine in its network, for a listener that has them all.
pub(crate) fn authority(host: &str, listening: &[SocketAddr], outward: impl Fn() -> Option<IpAddr>) -> String {
    if !is_loopback(host) {
        return host.to_owned();
    }
    let elsewhere = listening.iter().find_map(|address| match address.ip() {
        ip if ip.is_loopback() => None,
        ip if ip.is_unspecified() => outward().map(|ip| SocketAddr::new(ip, address.port())),
        _ => Some(*address),
    });
    elsewhere.map_or_else(|| host.to_owned(), |address| address.to_string())
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// The scheme of a link to `authority`: that of the page that asks for it, where it is a page of the same address. The
/// server itself speaks HTTP.
pub(crate) fn scheme(origin: Option<&str>, authority: &str) -> &'static str {
    let secure = origin.and_then(|origin| origin.strip_prefix("https://"));
    if secure.is_some_and(|host| host.eq_ignore_ascii_case(authority)) { "https" } else { "http" }
}

/// The link. `target`: the path that the page goes on to.
pub(crate) fn url(scheme: &str, authority: &str, target: Option<&str>, token: &str) -> String {
    let to = target.map_or_else(String::new, |target| format!("?to={}", encode(target)));
    format!("{scheme}://{authority}/join{to}#{token}")
}

/// A path as the value of a query's parameter.
fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn a_link_made_on_the_servers_own_machine_leads_to_it_from_others() {
        let check = |host: &str, listening: &[&str], expect: &str| {
            let listening: Vec<SocketAddr> = listening.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(authority(host, &listening, || "192.168.1.20".parse().ok()), expect, "{host} {listening:?}");
        };
        let all = ["127.0.0.1:7766", "[::1]:7766", "10.0.0.5:7767", "100.64.1.2:7766"];
        for loopback in ["localhost:7766", "127.0.0.1:7766", "[::1]:7766", "LOCALHOST.", "127.9.9.9"] {
            check(loopback, &all, "10.0.0.5:7767");
            check(loopback, &["127.0.0.1:7766"], loopback);
            check(loopback, &["0.0.0.0:80"], "192.168.1.20:80");
        }
        for named in ["box.lan:7766", "192.168.1.7:7766", "host.tail.ts.net", "[fd00::1]:7766", "[fd00::1]"] {
            check(named, &all, named);
        }
        assert_eq!(authority("localhost", &["0.0.0.0:80".parse().unwrap()], || None), "localhost");
    }

    #[test]
    fn the_scheme_is_the_pages_own() {
        assert_eq!(scheme(None, "box.lan"), "http");
        assert_eq!(scheme(Some("http://box.lan"), "box.lan"), "http");
        assert_eq!(scheme(Some("https://play.example"), "play.example"), "https");
        assert_eq!(scheme(Some("https://dev.example"), "play.example"), "http");
    }

    #[test]
    fn the_secret_stands_in_the_fragment_alone() {
        assert_eq!(url("http", "box.lan:7766", None, "t"), "http://box.lan:7766/join#t");
        let with_target = url("http", "box.lan", Some("/table.html?game=g1&x=é"), "t");
        assert_eq!(url("http", "box.lan", Some("/#friday"), "t"), "http://box.lan/join?to=/%23friday#t");
        assert_eq!(with_target, "http://box.lan/join?to=/table.html%3Fgame%3Dg1%26x%3D%C3%A9#t");
    }
}
