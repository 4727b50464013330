//! The cookie by which a browser shows its session. An `EventSource` cannot set headers, and a script of the page must
//! not be able to read the token: hence a cookie, and one that is `HttpOnly`.
//!
//! `SameSite=Strict`, beside the check of `Origin` that each request passes: no other site's page sends it along. Not
//! `Secure`: the server itself speaks plain HTTP, inside the tailnet's own encryption, and a browser would keep such a
//! cookie back there. A header by which a proxy claims that it speaks HTTPS is nothing that anybody can be believed. A
//! browser sends cookies to all ports of a host, so that another program on the server's machine can get to see it; and
//! another server there has a cookie of another name.

use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::base::error::{Error, Result};

/// How the name of every server's cookie begins. By itself it is nobody's: a program may show a session by it, and none
/// is ever set or forgotten.
const PLAIN_NAME: &str = "rejoin_session";

/// The cookie of one server. Its name tells servers apart: a browser sends the cookies of a host to all of its ports.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    name: String,
}

/// A token that a request shows by cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShownCookie<'a> {
    /// Whatever was sent; an empty one too.
    pub token: &'a str,
    /// Whether it is in a cookie that this server set, and may have the browser forget.
    pub own: bool,
}

impl SessionCookie {
    /// That of the server with this id, which goes with its data.
    pub fn of_server(id: &str) -> Self {
        Self { name: format!("{PLAIN_NAME}_{id}") }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The `Set-Cookie` by which a browser keeps `token` for `kept`. `None`: it is no token.
    pub(crate) fn set_token(&self, token: &str, kept: Duration) -> Option<HeaderValue> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
        if token.is_empty() || !token.bytes().all(plain) {
            return None;
        }
        let text = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", self.name, kept.as_secs());
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The `Set-Cookie` by which a browser forgets its token.
    pub(crate) fn clear_token(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0", self.name)).ok()
    }

    /// The token that a request shows by cookie: by this server's own, else by the plain one. Cookies of others are not
    /// looked at. Error: `Invalid` when there are several of one name.
    pub(crate) fn find_token<'a>(&self, headers: &'a HeaderMap) -> Result<Option<ShownCookie<'a>>> {
        let find = |name: &str, own: bool| -> Result<Option<ShownCookie<'a>>> {
            let texts = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
            let mut values = texts.flat_map(|text| text.split(|c| *c == b';')).filter_map(|pair| value_of(name, pair));
            match (values.next(), values.next()) {
                (Some(_), Some(_)) => Err(Error::invalid_field("Cookie", format!("{name} is given more than once"))),
                // What is not even text is no token, and must not be taken for none.
                (first, _) => {
                    Ok(first.map(|value| ShownCookie { token: std::str::from_utf8(value).unwrap_or_default(), own }))
                }
            }
        };
        match find(&self.name, true)? {
            Some(own) => Ok(Some(own)),
            None => find(PLAIN_NAME, false),
        }
    }
}

/// The value in `name=value`, if the name is this one. A name without a value has an empty one.
fn value_of<'a>(name: &str, pair: &'a [u8]) -> Option<&'a [u8]> {
    match pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start() {
        b"" => Some(b""),
        rest => Some(rest.strip_prefix(b"=")?.trim_ascii()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::error::Kind;

    fn cookie() -> SessionCookie {
        SessionCookie::of_server("0a1b")
    }

    fn check(values: &[&[u8]], expect: Result<Option<(&str, bool)>, Kind>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        let cookie = cookie();
        let shown = cookie.find_token(&headers).map_err(|error| error.kind());
        assert_eq!(shown.map(|shown| shown.map(|shown| (shown.token, shown.own))), expect, "{values:?}");
    }

    #[test]
    fn the_token_is_found_among_the_cookies_of_others() {
        check(&[], Ok(None));
        check(&[b"a=b; c"], Ok(None));
        check(&[b"rejoin_session_0a1b=x"], Ok(Some(("x", true))));
        check(&[b"a=\xc3\xa4\xff; rejoin_session_0a1b=x;d=e"], Ok(Some(("x", true))));
        check(&[b"a=b", b"rejoin_session=x"], Ok(Some(("x", false))));
        check(&[b"rejoin_session_2=x; xrejoin_session=y; rejoin_session_0a1bc=z"], Ok(None));
        check(&[b"rejoin_session=y; rejoin_session_0a1b=x; rejoin_session=z"], Ok(Some(("x", true))));
    }

    #[test]
    fn one_that_is_malformed_is_not_none() {
        for malformed in [&b"rejoin_session="[..], b"rejoin_session", b" rejoin_session ;", b"rejoin_session=\xff"] {
            check(&[malformed], Ok(Some(("", false))));
        }
        check(&[b"rejoin_session_0a1b=\xff; rejoin_session=x"], Ok(Some(("", true))));
        check(&[b"rejoin_session=x; rejoin_session=x"], Err(Kind::Invalid));
        check(&[b"rejoin_session_0a1b=x", b"rejoin_session_0a1b="], Err(Kind::Invalid));
    }

    #[test]
    fn what_is_set_is_what_is_found() {
        let set = cookie().set_token("rejoin_session_AZaz09-_", Duration::from_secs(60)).unwrap();
        assert!(set.is_sensitive() && !format!("{set:?}").contains("AZaz"));
        let text = set.to_str().unwrap();
        let attributes = "HttpOnly; SameSite=Strict; Path=/; Max-Age=60";
        assert_eq!(text, format!("rejoin_session_0a1b=rejoin_session_AZaz09-_; {attributes}"));
        check(&[text.split(';').next().unwrap().as_bytes()], Ok(Some(("rejoin_session_AZaz09-_", true))));
        for bad in ["", "a;b", "a\r\nb", "a b"] {
            assert_eq!(cookie().set_token(bad, Duration::ZERO), None, "{bad:?}");
        }
    }
}
