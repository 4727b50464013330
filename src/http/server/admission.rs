//! Admission control: identifies the peer of an accepted connection and bounds the connections of each.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::base::error::{Error, Kind};
use crate::base::ids::UserId;
use crate::http::concurrency::{ConcurrencyLimit, Permit};
use crate::http::request::caller::{Peer, Principal};
use crate::http::request::hosts::Hosts;
use crate::http::server::listener_set::ListenerInfo;
use crate::tailnet::authenticator::{Authentication, Authenticator, IDENTITY_TTL, ListenerScope};
use crate::tailnet::policy::TailnetIdentity;

/// Divisor of the recheck interval after tailscaled gave no answer.
const RECHECK_RETRY_DIVISOR: u32 = 12;

/// An admitted connection, as all of its requests see it.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    pub peer: Peer,
    /// The host names that are ours on this connection.
    pub hosts: Arc<Hosts>,
    /// With it, every request is refused.
    pub refusal: Option<ConnectionRefusal>,
}

/// Counts a connection against its owner; `None` where connections are not bounded.
pub(crate) type ConnectionPermit = Option<Permit<ConnectionOwner>>;

/// Why every request of a connection is refused. The connection is served so that the client sees the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRefusal {
    /// The peer is known and not admitted, for this reason.
    Denied(String),
    /// tailscaled did not answer.
    IdentityUnknown,
}

impl ConnectionRefusal {
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::Denied(why) => Error::new(Kind::Forbidden, why.clone()),
            Self::IdentityUnknown => {
                Error::new(Kind::IdentityUnavailable, "tailscaled cannot say who you are now; try again in a moment")
            }
        }
    }
}

/// Whom a connection counts against.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectionOwner {
    /// A user of the tailnet, or the user that stands for a tag.
    User(UserId),
    Address(IpAddr),
}

/// Admits connections: asks the tailnet authenticator, counts connections per owner. Shared by all listeners of a
/// server.
pub(crate) struct Admission {
    authenticator: Arc<Authenticator>,
    recheck: Duration,
    permits: Arc<ConcurrencyLimit<ConnectionOwner>>,
    /// Closed connections from outside the tailnet.
    outsiders_count: AtomicU64,
    /// Closed connections past the bound of one owner.
    over_limit_count: AtomicU64,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("authenticator", &self.authenticator).finish_non_exhaustive()
    }
}

impl Admission {
    /// Admits whom `authenticator` admits, at most `per_owner_max` connections of each, and asks again every `recheck`.
    pub(crate) fn new(authenticator: Arc<Authenticator>, per_owner_max: usize, recheck: Duration) -> Self {
        let permits = ConcurrencyLimit::new(per_owner_max);
        Self {
            authenticator,
            recheck,
            permits,
            outsiders_count: AtomicU64::new(0),
            over_limit_count: AtomicU64::new(0),
        }
    }

    /// Identifies the peer before a byte is read. `None`: close the connection without a response. `stop` ends what the
    /// peer has open. Cancel safe.
    pub(crate) async fn admit(
        &self,
        stream: &TcpStream,
        address: SocketAddr,
        listener: &ListenerInfo,
        stop: &CancellationToken,
    ) -> Option<(ConnectionInfo, ConnectionPermit)> {
        let authentication = self.authenticator.authenticate(address, listener.scope, IDENTITY_TTL).await;
        let local = stream.local_addr().unwrap_or(listener.address);
        let (principal, life, refusal) = match authentication {
            Authentication::Local => (Principal::Local, stop.clone(), None),
            Authentication::Member(member) => (Principal::Member(member), stop.child_token(), None),
            Authentication::Anonymous => (Principal::Anonymous, stop.clone(), None),
            Authentication::Refused(why) => (
                Principal::Anonymous,
                stop.clone(),
                Some(ConnectionRefusal::Denied(format!("you are not let in: {why}"))),
            ),
            Authentication::Unavailable => {
                (Principal::Anonymous, stop.clone(), Some(ConnectionRefusal::IdentityUnknown))
            }
            Authentication::NotInTailnet => {
                warn_sparsely(&self.outsiders_count, address, "connections are closed: they are not from the tailnet");
                return None;
            }
        };
        let permit = match owner(&principal, address) {
            Some(owner) => match self.permits.try_acquire(owner) {
                Some(permit) => Some(permit),
                None => {
                    warn_sparsely(&self.over_limit_count, address, "connections are closed: one person has too many");
                    return None;
                }
            },
            None => None,
        };
        let over_tailnet = match (&principal, &refusal) {
            (Principal::Local, _) => listener.scope == ListenerScope::Tailnet,
            (Principal::Member(_), _) | (_, Some(ConnectionRefusal::Denied(_))) => true,
            // An unidentified peer gets 503 before its Host is checked, and who could name this node does not answer.
            (_, Some(ConnectionRefusal::IdentityUnknown)) | (Principal::Anonymous, None) => false,
        };
        let hosts = match over_tailnet {
            true => listener.tailnet_hosts(&self.authenticator.last_node_info().await),
            false => listener.local_hosts(local),
        };
        let peer = Peer { address, principal, life, stop: stop.clone() };
        Some((ConnectionInfo { peer, hosts, refusal }, permit))
    }

    /// Waits until the access of `member`, connected from `address` to `listener`, is revoked; returns the reason.
    /// After no answer tailscaled is asked again sooner; none for twice the recheck interval counts as revoked. Cancel
    /// safe.
    pub(crate) async fn until_revoked(
        &self,
        member: &TailnetIdentity,
        address: SocketAddr,
        listener: &ListenerInfo,
    ) -> &'static str {
        let age = IDENTITY_TTL.min(self.recheck / 2);
        let mut confirmed = Instant::now();
        let mut wait = self.recheck;
        loop {
            sleep(wait).await;
            wait = self.recheck;
            match self.authenticator.authenticate(address, listener.scope, age).await {
                Authentication::Member(now) if now.has_same_rights(member) => confirmed = Instant::now(),
                Authentication::Member(_) => return "the address has another user now, or other rights",
                Authentication::Refused(_) => return "the policy no longer admits them",
                Authentication::Local | Authentication::Anonymous | Authentication::NotInTailnet => {
                    return "tailscaled no longer knows them";
                }
                Authentication::Unavailable if confirmed.elapsed() > self.recheck * 2 => {
                    return "tailscaled does not answer";
                }
                Authentication::Unavailable => wait = self.recheck / RECHECK_RETRY_DIVISOR,
            }
        }
    }
}

/// `None` for a process of this machine: it could exhaust the server in other ways, and all of them are one owner.
fn owner(principal: &Principal, address: SocketAddr) -> Option<ConnectionOwner> {
    match principal {
        Principal::Local => None,
        Principal::Member(member) => Some(ConnectionOwner::User(member.user.clone())),
        Principal::Anonymous => Some(ConnectionOwner::Address(address.ip().to_canonical())),
    }
}

/// Logs the 1st, 2nd, 4th, 8th … occurrence, so that a flood of connections is no flood of lines.
fn warn_sparsely(counter: &AtomicU64, peer: SocketAddr, what: &'static str) {
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!(count, %peer, "{what}");
    }
}
