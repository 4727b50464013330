//! Who is asking: the one place that says it.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;

use super::problem::Failure;
use crate::base::error::{Error, Kind, Result};
use crate::base::ids::UserId;
use crate::document::visibility::Viewer;

/// The header by which a local caller acts as somebody.
pub const HEADER: &str = "rejoin-viewer";

/// Where the connection comes from. The guard puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Says who the viewer is. Only loopback is believed: there, no header means the owner, and one valid header that user.
/// A header that is empty, malformed or repeated never means the owner. Errors: `Unauthenticated`, `Invalid`.
pub fn viewer(peer: SocketAddr, headers: &HeaderMap) -> Result<Viewer> {
    if !is_loopback(peer.ip()) {
        return Err(Error::new(Kind::Unauthenticated, "only callers on this machine are known"));
    }
    let mut values = headers.get_all(HEADER).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(Viewer::Owner),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(Error::invalid_field("Rejoin-Viewer", "is given more than once")),
    };
    let id = UserId::new(value.to_str().unwrap_or_default());
    id.map(Viewer::User).map_err(|error| Error::invalid_field("Rejoin-Viewer", error.message()))
}

/// An IPv4 peer of a listener that takes both families arrives as an IPv6 address with the other inside.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The extractor of the [`Viewer`].
#[derive(Clone, Debug)]
pub struct Caller(pub Viewer);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<Peer>().ok_or_else(|| Error::internal("a request came past the guard"))?;
        Ok(Self(viewer(peer.0, &parts.headers)?))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    fn asked(peer: &str, values: &[&[u8]]) -> Result<Viewer, Kind> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, http::HeaderValue::from_bytes(value).unwrap());
        }
        viewer(peer.parse().unwrap(), &headers).map_err(|error| error.kind())
    }

    #[test]
    fn no_header_is_the_owner_and_no_value_is() {
        assert_eq!(asked("127.0.0.1:5", &[]), Ok(Viewer::Owner));
        assert_eq!(asked("[::1]:5", &[]), Ok(Viewer::Owner));
        assert_eq!(asked("[::ffff:127.0.0.1]:5", &[]), Ok(Viewer::Owner));
        let alice = || Ok(Viewer::User(UserId::new("alice").unwrap()));
        assert_eq!(asked("127.0.0.1:5", &[b"alice"]), alice());
        for bad in [&b""[..], b" ", b"a b", b"@owner", b"\xc3\xa4", b"alice,bob", &[b'x'; 65]] {
            assert_eq!(asked("127.0.0.1:5", &[bad]), Err(Kind::Invalid), "{bad:?}");
        }
        assert_eq!(asked("127.0.0.1:5", &[b"alice", b"alice"]), Err(Kind::Invalid));
        assert!(matches!(asked("127.0.0.1:5", &[b"host"]), Ok(Viewer::User(_))));
    }

    #[test]
    fn others_are_nobody_whatever_they_claim() {
        for peer in ["192.168.1.5:5", "100.64.1.2:5", "[fe80::1]:5", "[::ffff:10.0.0.1]:5"] {
            assert_eq!(asked(peer, &[]), Err(Kind::Unauthenticated), "{peer}");
            assert_eq!(asked(peer, &[b"alice"]), Err(Kind::Unauthenticated), "{peer}");
        }
    }
}
