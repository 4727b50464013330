//! The cookie by which a browser shows its session. An `EventSource` cannot set headers, and a script of the page must
//! not be able to read the token: hence a cookie, and one that is `HttpOnly`.
//!
//! `SameSite=Strict`, beside the check of `Origin` that each request passes: no other site's page sends it along. Not
//! `Secure`: the server itself speaks plain HTTP, inside the tailnet's own encryption, and a browser would keep such a
//! cookie back there. A header by which a proxy claims that it speaks HTTPS is nothing that anybody can be believed.
//! A browser sends cookies to all ports of a host, so that another program on the server's machine can get to see it.

use std::time::Duration;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::base::error::{Error, Result};

/// The cookie that holds a session's token.
pub(crate) const NAME: &str = "rejoin_session";

/// The `Set-Cookie` by which a browser keeps `token` for `kept`. `None`: it is no token.
pub(crate) fn keep(token: &str, kept: Duration) -> Option<HeaderValue> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if token.is_empty() || !token.bytes().all(plain) {
        return None;
    }
    let text = format!("{NAME}={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", kept.as_secs());
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The `Set-Cookie` by which a browser forgets its token.
pub(crate) fn forget() -> HeaderValue {
    const { HeaderValue::from_static("rejoin_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0") }
}

/// The token that a request shows by cookie, whatever it is; an empty one too. Cookies of others are not looked at.
/// Error: `Invalid` when there are several.
pub(crate) fn shown(headers: &HeaderMap) -> Result<Option<&str>> {
    let texts = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut ours = texts.flat_map(|text| text.split(|c| *c == b';')).filter_map(value_of_ours);
    match (ours.next(), ours.next()) {
        (Some(_), Some(_)) => Err(Error::invalid_field("Cookie", format!("{NAME} is given more than once"))),
        // What is not even text is no token, and must not be taken for none.
        (first, _) => Ok(first.map(|value| std::str::from_utf8(value).unwrap_or_default())),
    }
}

/// The value in `name=value`, if the name is ours. A name without a value has an empty one.
fn value_of_ours(pair: &[u8]) -> Option<&[u8]> {
    match pair.trim_ascii().strip_prefix(NAME.as_bytes())?.trim_ascii_start() {
        b"" => Some(b""),
        rest => Some(rest.strip_prefix(b"=")?.trim_ascii()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::base::error::Kind;

    fn check(values: &[&[u8]], expect: Result<Option<&str>, Kind>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(COOKIE, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(shown(&headers).map_err(|error| error.kind()), expect, "{values:?}");
    }

    #[test]
    fn the_token_is_found_among_the_cookies_of_others() {
        check(&[], Ok(None));
        check(&[b"a=b; c"], Ok(None));
        check(&[b"rejoin_session=x"], Ok(Some("x")));
        check(&[b"a=\xc3\xa4\xff; rejoin_session=x;d=e"], Ok(Some("x")));
        check(&[b"a=b", b"rejoin_session=x"], Ok(Some("x")));
        check(&[b"rejoin_session_2=x; xrejoin_session=y"], Ok(None));
    }

    #[test]
    fn one_that_is_malformed_is_not_none() {
        for malformed in [&b"rejoin_session="[..], b"rejoin_session", b" rejoin_session ;", b"rejoin_session=\xff"] {
            check(&[malformed], Ok(Some("")));
        }
        check(&[b"rejoin_session=x; rejoin_session=x"], Err(Kind::Invalid));
        check(&[b"rejoin_session=x", b"rejoin_session="], Err(Kind::Invalid));
    }

    #[test]
    fn what_is_set_is_what_is_found() {
        let set = keep("rejoin_session_AZaz09-_", Duration::from_secs(60)).unwrap();
        assert!(set.is_sensitive() && !format!("{set:?}").contains("AZaz"));
        let text = set.to_str().unwrap();
        assert_eq!(text, "rejoin_session=rejoin_session_AZaz09-_; HttpOnly; SameSite=Strict; Path=/; Max-Age=60");
        check(&[text.split(';').next().unwrap().as_bytes()], Ok(Some("rejoin_session_AZaz09-_")));
        for bad in ["", "a;b", "a\r\nb", "a b"] {
            assert_eq!(keep(bad, Duration::ZERO), None, "{bad:?}");
        }
    }
}
