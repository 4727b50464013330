//! The configured addresses to listen on. Pure.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::authenticator::ListenerScope;

/// The port of `tailnet` without one.
pub(crate) const PORT: u16 = 7766;

/// One configured address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// This address; port 0 takes any free port.
    Address(SocketAddr),
    /// Each of this node's tailnet addresses, whatever they are, at this port; port 0 takes one that is free.
    Tailnet(u16),
}

impl ListenAddress {
    pub fn scope(self) -> ListenerScope {
        match self {
            Self::Address(address) => ListenerScope::of(address.ip()),
            Self::Tailnet(_) => ListenerScope::Tailnet,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Tailnet(port) => write!(f, "tailnet:{port}"),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "tailnet" {
            return Ok(Self::Tailnet(PORT));
        }
        if let Some(port) = text.strip_prefix("tailnet:").and_then(|port| port.parse().ok()) {
            return Ok(Self::Tailnet(port));
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(text).parse::<SocketAddr>();
        // An IPv4 address inside an IPv6 one is the IPv4 address.
        let address = address.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()));
        address.map(Self::Address).map_err(|_| {
            format!(
                "'{text}' is not an address and port such as 127.0.0.1:7766, [::1]:7766, localhost:0, or tailnet:7766"
            )
        })
    }
}

/// The configured addresses to listen on, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddresses(Vec<ListenAddress>);

impl ListenAddresses {
    /// These places. Error: there are none, or one twice.
    pub fn new(places: Vec<ListenAddress>) -> Result<Self, String> {
        let twice = places.iter().enumerate().find(|(n, place)| places.iter().take(*n).any(|other| other == *place));
        match twice {
            Some((_, ListenAddress::Address(address))) if address.port() == 0 => Ok(Self(places)),
            Some((_, place)) => Err(format!("{place} is given twice")),
            None if places.is_empty() => Err("names nothing to listen on".to_owned()),
            None => Ok(Self(places)),
        }
    }

    /// The places, in the order in which they were given.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.0
    }
}

impl From<SocketAddr> for ListenAddresses {
    fn from(address: SocketAddr) -> Self {
        Self(vec![ListenAddress::Address(address)])
    }
}

/// One place, or several with commas between.
impl FromStr for ListenAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text.split(',').map(|place| place.trim().parse()).collect::<Result<_, _>>()?)
    }
}
