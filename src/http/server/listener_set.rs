//! Where connections come in: listeners, which may come and go while the server runs.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::request::hosts::Hosts;
use crate::tailnet::gate::Reach;
use crate::tailnet::home::Home;

/// A listener, and what is known of it. Its socket is closed when the last holder drops it, so connections hold the
/// [`Front`] only.
#[derive(Debug)]
pub(crate) struct Entrance {
    listener: TcpListener,
    front: Arc<Front>,
}

/// How a listener presents itself: its address, who can reach it, and the names that it goes by.
#[derive(Debug)]
pub(crate) struct Front {
    pub address: SocketAddr,
    /// From where it can be reached.
    pub reach: Reach,
    extra: Arc<[String]>,
    /// The names for callers that do not come over the tailnet.
    local: Arc<Hosts>,
    /// The names for those who do, with the node that they were made of. The lock is held for no longer than it takes
    /// to compare or make them.
    tailnet: Mutex<Option<(Arc<Home>, Arc<Hosts>)>>,
}

impl Entrance {
    /// Takes in what comes to `listener`. `extra`: further names that it goes by. Error: it has no address.
    pub(crate) fn new(listener: TcpListener, extra: &Arc<[String]>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let front = Front {
            address,
            reach: Reach::of(address.ip()),
            extra: Arc::clone(extra),
            local: Arc::new(Hosts::new(address, extra)),
            tailnet: Mutex::default(),
        };
        Ok(Self { listener, front: Arc::new(front) })
    }

    /// How it presents itself.
    pub(crate) fn front(&self) -> &Arc<Front> {
        &self.front
    }
}

impl Front {
    /// The names for a caller that does not come over the tailnet, and whose connection ends at `local`.
    pub(crate) fn local_hosts(&self, local: SocketAddr) -> Arc<Hosts> {
        // A listener on all addresses goes by the one that it was found at.
        if self.address.ip().is_unspecified() && local.port() == self.address.port() {
            return Arc::new(Hosts::new(SocketAddr::new(local.ip().to_canonical(), local.port()), &self.extra));
        }
        Arc::clone(&self.local)
    }

    /// The names for a caller that comes over the tailnet: all that this node has there. What loopback goes by is not
    /// among them.
    pub(crate) fn tailnet_hosts(&self, home: &Arc<Home>) -> Arc<Hosts> {
        let mut known = self.tailnet.lock();
        if let Some((of, hosts)) = &*known
            && (Arc::ptr_eq(of, home) || of == home)
        {
            return Arc::clone(hosts);
        }
        let own = Some(self.address.ip()).filter(|_| self.reach == Reach::Tailnet);
        let addresses: Vec<IpAddr> = own.into_iter().chain(home.addresses.iter().copied()).collect();
        let hosts = Arc::new(Hosts::of_node(self.address.port(), &addresses, &home.names, &self.extra));
        *known = Some((Arc::clone(home), Arc::clone(&hosts)));
        hosts
    }
}

/// The listeners that there are now.
pub(crate) type Open = Vec<Arc<Entrance>>;

/// The listeners of a server, as the accept loop sees them.
pub(crate) struct Entrances {
    open: Open,
    changes: watch::Receiver<Open>,
    /// Whether there can be no further change.
    settled: bool,
    /// Which listener is looked at first, so that a busy one does not keep the others waiting.
    turn: usize,
}

impl fmt::Debug for Entrances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrances").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Entrances {
    /// Those that `changes` tells of, from now on.
    pub(crate) fn new(mut changes: watch::Receiver<Open>) -> Self {
        let open = changes.borrow_and_update().clone();
        Self { open, changes, settled: false, turn: 0 }
    }

    /// Just this one, for as long as the server runs.
    #[cfg(test)]
    pub(crate) fn only(entrance: Entrance) -> Self {
        let mut entrances = Self::new(watch::channel(vec![Arc::new(entrance)]).1);
        entrances.settled = true;
        entrances
    }

    /// Waits for the next connection: where it came in, and the connection or why there is none. Cancel safe.
    pub(crate) async fn accept(&mut self) -> (Arc<Front>, io::Result<(TcpStream, SocketAddr)>) {
        let Self { open, changes, settled, turn } = self;
        loop {
            tokio::select! {
                biased;
                changed = changes.changed(), if !*settled => match changed {
                    Ok(()) => open.clone_from(&changes.borrow_and_update()),
                    Err(_) => *settled = true,
                },
                accepted = accept_any(open, turn) => return accepted,
            }
        }
    }
}

async fn accept_any(open: &Open, turn: &mut usize) -> (Arc<Front>, io::Result<(TcpStream, SocketAddr)>) {
    *turn = turn.wrapping_add(1);
    let first = *turn % open.len().max(1);
    poll_fn(|cx| {
        let in_turn = open.iter().skip(first).chain(open.iter().take(first));
        for entrance in in_turn {
            if let Poll::Ready(accepted) = entrance.listener.poll_accept(cx) {
                return Poll::Ready((Arc::clone(&entrance.front), accepted));
            }
        }
        Poll::Pending
    })
    .await
}
