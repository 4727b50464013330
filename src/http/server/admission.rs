//! From a connection that was accepted to somebody who is let in, or not; and on, for as long as they may be here.

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
use crate::http::request::caller::{Peer, Person};
use crate::http::request::hosts::Hosts;
use crate::http::server::concurrency::{Counts, Held};
use crate::http::server::listener_set::Front;
use crate::tailnet::gate::{BELIEVED, Gate, Reach, Verdict};
use crate::tailnet::policy::Member;

/// How much sooner it is asked again when it could not be found out whether somebody may still be here.
const HURRY: u32 = 12;

/// A connection that is served, and what all of its requests have in common.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Who it is from.
    pub peer: Peer,
    /// The names that the server goes by there.
    pub hosts: Arc<Hosts>,
    /// Why every request is refused, if it is.
    pub turned_away: Option<TurnedAway>,
}

/// The place of a connection among those of the same person, where these are bounded. Free again when dropped.
pub(crate) type Place = Option<Held<Identity>>;

/// Why a connection is served with nothing but refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// They are known, and not let in, for this reason.
    Refused(String),
    /// It cannot be found out who they are.
    Unclear,
}

impl TurnedAway {
    /// What each request is told.
    pub(crate) fn to_error(&self) -> Error {
        match self {
            Self::Refused(why) => Error::new(Kind::Forbidden, why.clone()),
            Self::Unclear => {
                Error::new(Kind::IdentityUnavailable, "tailscaled cannot say who you are now; try again in a moment")
            }
        }
    }
}

/// Whose a connection is, where that is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// A user of the tailnet, or a tag.
    User(UserId),
    /// Somebody of whom nothing else is known.
    Address(IpAddr),
}

/// Who lets connections in. Shared by all listeners of a server.
pub(crate) struct Porter {
    gate: Arc<Gate>,
    recheck: Duration,
    places: Arc<Counts<Identity>>,
    /// Connections from where no listener of ours is to be reached from.
    outsiders: AtomicU64,
    /// Connections past the bound of one person.
    crowded: AtomicU64,
}

impl fmt::Debug for Porter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Porter").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Porter {
    /// Lets in whom `gate` does: at most `each_max` connections of each person, and asks again about each every
    /// `recheck`.
    pub(crate) fn new(gate: Arc<Gate>, each_max: usize, recheck: Duration) -> Self {
        let places = Counts::new(each_max);
        Self { gate, recheck, places, outsiders: AtomicU64::new(0), crowded: AtomicU64::new(0) }
    }

    /// Says who has come, before a byte of theirs is read. `None`: the connection is to be closed without a word.
    /// `stop` ends what they have open. Cancel safe.
    pub(crate) async fn admit(
        &self,
        stream: &TcpStream,
        address: SocketAddr,
        front: &Front,
        stop: &CancellationToken,
    ) -> Option<(Visit, Place)> {
        let verdict = self.gate.who(address, front.reach, BELIEVED).await;
        let local = stream.local_addr().unwrap_or(front.address);
        let (person, life, turned_away) = match verdict {
            Verdict::Local => (Person::Local, stop.clone(), None),
            Verdict::Member(member) => (Person::Member(member), stop.child_token(), None),
            Verdict::Stranger => (Person::Stranger, stop.clone(), None),
            Verdict::Refused(why) => {
                (Person::Stranger, stop.clone(), Some(TurnedAway::Refused(format!("you are not let in: {why}"))))
            }
            Verdict::Unclear => (Person::Stranger, stop.clone(), Some(TurnedAway::Unclear)),
            Verdict::Outsider => {
                tell(&self.outsiders, address, "connections are closed: they are not from the tailnet");
                return None;
            }
        };
        let place = match identity(&person, address) {
            Some(identity) => match self.places.take(identity) {
                Some(place) => Some(place),
                None => {
                    tell(&self.crowded, address, "connections are closed: one person has too many");
                    return None;
                }
            },
            None => None,
        };
        let over_tailnet = match (&person, &turned_away) {
            (Person::Local, _) => front.reach == Reach::Tailnet,
            (Person::Member(_), _) | (_, Some(TurnedAway::Refused(_))) => true,
            // One that gets nothing but this word needs no name; and who could tell which are ours is not there.
            (_, Some(TurnedAway::Unclear)) | (Person::Stranger, None) => false,
        };
        let hosts = match over_tailnet {
            true => front.tailnet_hosts(&self.gate.names().await),
            false => front.local_hosts(local),
        };
        Some((Visit { peer: Peer { address, person, life }, hosts, turned_away }, place))
    }

    /// Waits until `member`, who came from `address` to `front`, may no longer be here, and says why. A tailscaled that
    /// gives no answer is asked again sooner, and believed to have said no when it has given none for twice the usual
    /// time. Cancel safe.
    pub(crate) async fn outstayed(&self, member: &Member, address: SocketAddr, front: &Front) -> &'static str {
        let age = BELIEVED.min(self.recheck / 2);
        let mut confirmed = Instant::now();
        let mut wait = self.recheck;
        loop {
            sleep(wait).await;
            wait = self.recheck;
            match self.gate.who(address, front.reach, age).await {
                Verdict::Member(now) if now.is_still(member) => confirmed = Instant::now(),
                Verdict::Member(_) => return "they are somebody else now, or have other rights",
                Verdict::Refused(_) => return "they are no longer let in",
                Verdict::Local | Verdict::Stranger | Verdict::Outsider => return "tailscaled no longer knows them",
                Verdict::Unclear if confirmed.elapsed() > self.recheck * 2 => return "tailscaled does not answer",
                Verdict::Unclear => wait = self.recheck / HURRY,
            }
        }
    }
}

/// Whose connection it is, where that is bounded: not for a process of this machine, which could take everything in
/// other ways too, and where all are one.
fn identity(person: &Person, address: SocketAddr) -> Option<Identity> {
    match person {
        Person::Local => None,
        Person::Member(member) => Some(Identity::User(member.user.clone())),
        Person::Stranger => Some(Identity::Address(address.ip().to_canonical())),
    }
}

/// Logs the first, then ever fewer: a flood of connections is not to become a flood of lines.
fn tell(counter: &AtomicU64, peer: SocketAddr, what: &'static str) {
    let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
    if count.is_power_of_two() {
        tracing::warn!(count, %peer, "{what}");
    }
}
