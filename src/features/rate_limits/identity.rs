//! Whom requests are counted of. Pure.

use std::fmt;
use std::net::IpAddr;

use crate::base::ids::UserId;

/// Whose bucket it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BucketOwner {
    /// The owner of the server.
    Owner,
    /// A user, on whatever device.
    User(UserId),
    /// Somebody of whom nothing is known but their address.
    Address(IpAddr),
}

impl BucketOwner {
    /// Reads what [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "owner" => Some(Self::Owner),
            Some(("user", id)) => UserId::new(id).ok().map(Self::User),
            Some(("address", address)) => address.parse().ok().map(Self::Address),
            _ => None,
        }
    }
}

impl fmt::Display for BucketOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("owner"),
            Self::User(id) => write!(f, "user:{id}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn identities_are_read_as_they_are_written() {
        let user = BucketOwner::User(UserId::new("alice").unwrap());
        for identity in [BucketOwner::Owner, user, BucketOwner::Address("fd7a::1".parse().unwrap())] {
            assert_eq!(BucketOwner::parse(&identity.to_string()), Some(identity));
        }
        for text in ["", "alice", "user:", "user:a b", "address:x", "owner:x"] {
            assert_eq!(BucketOwner::parse(text), None, "{text}");
        }
    }
}
