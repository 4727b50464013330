//! The listeners of a server as its accept loop sees them. They may be opened and closed while it runs.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::http::listening_addresses::ListeningAddresses;
use crate::http::request::hosts::Hosts;
use crate::tailnet::authenticator::ListenerScope;
use crate::tailnet::node_info::NodeInfo;

/// A bound socket. It is closed when the last holder drops it, so connections hold its [`ListenerInfo`] only.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    info: Arc<ListenerInfo>,
}

/// A listener's address, who can reach it, and its host names.
#[derive(Debug)]
pub(crate) struct ListenerInfo {
    pub address: SocketAddr,
    pub scope: ListenerScope,
    /// Configured host names, for all callers.
    extra_names: Arc<[String]>,
    /// For callers that do not come over the tailnet.
    local: Arc<Hosts>,
    /// For callers over the tailnet, with the node state that they were made of. The lock is never held across an
    /// await.
    tailnet: Mutex<Option<(Arc<NodeInfo>, Arc<Hosts>)>>,
}

impl Listener {
    /// `extra_names`: host names besides its address. Error: the socket has no address.
    pub(crate) fn new(socket: TcpListener, extra_names: &Arc<[String]>) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let info = ListenerInfo {
            address,
            scope: ListenerScope::of(address.ip()),
            extra_names: Arc::clone(extra_names),
            local: Arc::new(Hosts::new(address, extra_names)),
            tailnet: Mutex::default(),
        };
        Ok(Self { socket, info: Arc::new(info) })
    }

    pub(crate) fn info(&self) -> &Arc<ListenerInfo> {
        &self.info
    }
}

impl ListenerInfo {
    /// For a caller that does not come over the tailnet. `local` is the connection's address on this side.
    pub(crate) fn local_hosts(&self, local: SocketAddr) -> Arc<Hosts> {
        // A listener on all addresses has the name of the one that the connection came to, and its own, which systems
        // take for loopback's: no name of a foreign page can be one of the two.
        if self.address.ip().is_unspecified() && local.port() == self.address.port() {
            let names: Vec<String> = self.extra_names.iter().cloned().chain([self.address.to_string()]).collect();
            return Arc::new(Hosts::new(SocketAddr::new(local.ip().to_canonical(), local.port()), &names));
        }
        Arc::clone(&self.local)
    }

    /// For a caller over the tailnet: all names of this node there, none of loopback's.
    pub(crate) fn tailnet_hosts(&self, home: &Arc<NodeInfo>) -> Arc<Hosts> {
        let mut known = self.tailnet.lock();
        if let Some((of, hosts)) = &*known
            && (Arc::ptr_eq(of, home) || of == home)
        {
            return Arc::clone(hosts);
        }
        let own = Some(self.address.ip()).filter(|_| self.scope == ListenerScope::Tailnet);
        let addresses: Vec<IpAddr> = own.into_iter().chain(home.addresses.iter().copied()).collect();
        let hosts = Arc::new(Hosts::of_node(self.address.port(), &addresses, &home.names, &self.extra_names));
        *known = Some((Arc::clone(home), Arc::clone(&hosts)));
        hosts
    }
}

pub(crate) type OpenListeners = Vec<Arc<Listener>>;

/// Where the server listens, as `open` changes.
pub(crate) fn listening_addresses(open: watch::Receiver<OpenListeners>) -> ListeningAddresses {
    ListeningAddresses::new(move || open.borrow().iter().map(|listener| listener.info().address).collect())
}

/// Accepts from all open listeners in turn.
pub(crate) struct ListenerSet {
    open: OpenListeners,
    changes: watch::Receiver<OpenListeners>,
    /// Whether the sender is gone, so that no change can follow.
    is_final: bool,
    /// Rotates which listener is polled first, so that a busy one does not starve the others.
    turn: usize,
}

impl fmt::Debug for ListenerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerSet").field("open", &self.open).finish_non_exhaustive()
    }
}

impl ListenerSet {
    /// Follows `changes`.
    pub(crate) fn new(mut changes: watch::Receiver<OpenListeners>) -> Self {
        let open = changes.borrow_and_update().clone();
        Self { open, changes, is_final: false, turn: 0 }
    }

    #[cfg(test)]
    pub(crate) fn only(listener: Listener) -> Self {
        let mut listeners = Self::new(watch::channel(vec![Arc::new(listener)]).1);
        listeners.is_final = true;
        listeners
    }

    /// Waits for the next connection or accept error, with the listener that it is of. Cancel safe.
    pub(crate) async fn accept(&mut self) -> (Arc<ListenerInfo>, io::Result<(TcpStream, SocketAddr)>) {
        let Self { open, changes, is_final, turn } = self;
        loop {
            tokio::select! {
                biased;
                changed = changes.changed(), if !*is_final => match changed {
                    Ok(()) => open.clone_from(&changes.borrow_and_update()),
                    Err(_) => *is_final = true,
                },
                accepted = accept_any(open, turn) => return accepted,
            }
        }
    }
}

async fn accept_any(
    open: &OpenListeners,
    turn: &mut usize,
) -> (Arc<ListenerInfo>, io::Result<(TcpStream, SocketAddr)>) {
    *turn = turn.wrapping_add(1);
    let first = *turn % open.len().max(1);
    poll_fn(|cx| {
        let in_turn = open.iter().skip(first).chain(open.iter().take(first));
        for listener in in_turn {
            if let Poll::Ready(accepted) = listener.socket.poll_accept(cx) {
                return Poll::Ready((Arc::clone(&listener.info), accepted));
            }
        }
        Poll::Pending
    })
    .await
}
