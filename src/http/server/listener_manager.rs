//! Opens and closes the configured listeners: fixed addresses at the start, the node's tailnet addresses while it has
//! them.
//!
//! tailscaled reports ready before its addresses can be bound, and they may change at any time; so this module polls.
//! It never listens anywhere else instead.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::base::entropy::{Entropy, below};
use crate::base::limits::LISTEN_QUEUE_MAX;
use crate::http::server::listener_set::{Listener, OpenListeners};
use crate::tailnet::authenticator::{Authenticator, ListenerScope};
use crate::tailnet::listen_address::{ListenAddress, ListenAddresses};
use crate::tailnet::node_info::NodeInfo;

/// Delay after the first check that found an address missing; it doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(crate) struct ListenOptions {
    pub on: ListenAddresses,
    /// Host names of all listeners besides their addresses.
    pub names: Arc<[String]>,
    /// Interval of checking the node's addresses while all are bound.
    pub poll: Duration,
}

/// Owns the listeners of a server and publishes changes of them.
pub(crate) struct ListenerManager {
    options: ListenOptions,
    authenticator: Arc<Authenticator>,
    entropy: Arc<dyn Entropy>,
    /// In the order of the configuration: the listeners of each entry, by the address asked for.
    open: Vec<(ListenAddress, HashMap<SocketAddr, Arc<Listener>>)>,
    changes: watch::Sender<OpenListeners>,
    /// Why an address is missing, as last logged; empty: none is.
    waiting: String,
    /// Whether changes are logged: not during the start, when the caller reports the addresses.
    logs: bool,
}

impl ListenerManager {
    /// Opens what can be opened now. Tailnet addresses may be missing; [`follow`](Self::follow) opens them later.
    /// Error: a fixed address cannot be bound, or any address is in use.
    pub(crate) async fn open(
        options: ListenOptions,
        authenticator: Arc<Authenticator>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let open = options.on.addresses().iter().map(|place| (*place, HashMap::new())).collect();
        let (changes, _) = watch::channel(OpenListeners::new());
        let mut this = Self { options, authenticator, entropy, open, changes, waiting: String::new(), logs: false };
        for (place, opened) in &mut this.open {
            if let ListenAddress::Address(address) = place
                && ListenerScope::of(address.ip()) != ListenerScope::Tailnet
            {
                let listener = bind(*address, &this.options.names).map_err(|error| (*address, error))?;
                opened.insert(*address, Arc::new(listener));
            }
        }
        this.waiting = this.check().await?.unwrap_or_default();
        Ok(this)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<OpenListeners> {
        self.changes.subscribe()
    }

    /// Why an address is missing; empty: none is.
    pub(crate) fn missing_summary(&self) -> &str {
        &self.waiting
    }

    /// Opens missing listeners and follows the node's addresses, until `stop`.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        if self.open.iter().all(|(place, _)| place.scope() != ListenerScope::Tailnet) {
            return stop.cancelled().await;
        }
        self.logs = true;
        let mut failures = u32::from(!self.waiting.is_empty());
        if failures > 0 {
            tracing::warn!(why = self.waiting, "waiting for the tailnet's addresses");
        }
        loop {
            let roll = below(&*self.entropy, 1000);
            tokio::select! {
                () = sleep(next_delay(failures, self.options.poll, roll)) => {}
                () = stop.cancelled() => return,
            }
            let missing = match self.check().await {
                Ok(missing) => missing,
                Err((address, error)) => Some(format!("{address}: {error}")),
            };
            failures = if missing.is_some() { failures.saturating_add(1) } else { 0 };
            self.log_missing(missing);
        }
    }

    /// Opens the tailnet addresses that are not open and then closes those that the node no longer has. Returns why one
    /// is still missing. Error: an address is in use.
    async fn check(&mut self) -> Result<Option<String>, (SocketAddr, io::Error)> {
        let mut missing = None;
        let mut home = None;
        let mut in_use = Ok(());
        for (place, opened) in &mut self.open {
            let wanted = match *place {
                ListenAddress::Address(address) if place.scope() == ListenerScope::Tailnet => vec![address],
                ListenAddress::Address(_) => continue,
                ListenAddress::Tailnet(port) => {
                    if home.is_none() {
                        home = Some(self.authenticator.refresh_node_info().await.map_err(|error| error.to_string()));
                    }
                    match home.as_ref().map(|home| home.as_ref().map(|home| addresses_of(home, port))) {
                        Some(Ok(Ok(wanted))) => wanted,
                        // Open listeners stay: tailscaled may reconnect, and each peer is authenticated anyway.
                        Some(Ok(Err(why))) => {
                            missing = Some(why);
                            continue;
                        }
                        Some(Err(why)) => {
                            missing = Some(why.clone());
                            continue;
                        }
                        None => continue,
                    }
                }
            };
            let userspace = home.as_ref().is_some_and(|home| home.as_ref().is_ok_and(|home| !home.tun));
            match open_all(opened, &wanted, &self.options.names).await {
                Ok(()) => {
                    opened.retain(|address, _| wanted.contains(address));
                }
                Err((address, error)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    missing = Some(missing_reason(address, userspace));
                }
                Err(failed) => in_use = Err(failed),
            }
        }
        self.publish();
        in_use.map(|()| missing)
    }

    fn publish(&self) {
        let now: OpenListeners = self.open.iter().flat_map(|(_, opened)| sorted_listeners(opened)).collect();
        self.changes.send_if_modified(|before| {
            let same = before.len() == now.len() && before.iter().zip(&now).all(|(a, b)| Arc::ptr_eq(a, b));
            if self.logs && !same {
                for listener in now.iter().filter(|new| !before.iter().any(|old| Arc::ptr_eq(old, new))) {
                    tracing::info!(address = %listener.info().address, "listening");
                }
                for listener in before.iter().filter(|old| !now.iter().any(|new| Arc::ptr_eq(old, new))) {
                    tracing::info!(address = %listener.info().address, "no longer listening");
                }
            }
            *before = now;
            !same
        });
    }

    /// Logs each new reason once.
    fn log_missing(&mut self, missing: Option<String>) {
        let missing = missing.unwrap_or_default();
        if missing != self.waiting {
            match missing.is_empty() {
                true => tracing::info!("all tailnet addresses are bound"),
                false => tracing::warn!(why = missing, "waiting for the tailnet's addresses"),
            }
            self.waiting = missing;
        }
    }
}

/// The node's addresses with `port`. Error: why it has none.
fn addresses_of(home: &NodeInfo, port: u16) -> Result<Vec<SocketAddr>, String> {
    match home.waiting.is_empty() {
        true => Ok(home.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()),
        false => Err(format!("tailscaled is not connected: {}", home.waiting)),
    }
}

fn missing_reason(address: SocketAddr, userspace: bool) -> String {
    if userspace {
        return "tailscaled runs in userspace mode, so that nobody can listen on this node's addresses; listen on \
                127.0.0.1 instead, where it brings the tailnet's connections"
            .to_owned();
    }
    format!("{} is not an address of this machine yet", address.ip())
}

/// Opens those of `wanted` that are not open. With port 0 the first takes any free port, and all others the same one.
async fn open_all(
    opened: &mut HashMap<SocketAddr, Arc<Listener>>,
    wanted: &[SocketAddr],
    names: &Arc<[String]>,
) -> Result<(), (SocketAddr, io::Error)> {
    for address in wanted {
        if opened.contains_key(address) {
            continue;
        }
        let port = opened.values().next().map_or(address.port(), |listener| listener.info().address.port());
        let listener = bind(SocketAddr::new(address.ip(), port), names).map_err(|error| (*address, error))?;
        opened.insert(*address, Arc::new(listener));
    }
    Ok(())
}

fn bind(address: SocketAddr, names: &Arc<[String]>) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port is free again at once after a stop. On Windows the option would let others take it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Listener::new(socket.listen(LISTEN_QUEUE_MAX)?, names)
}

fn sorted_listeners(opened: &HashMap<SocketAddr, Arc<Listener>>) -> Vec<Arc<Listener>> {
    let mut listeners: Vec<_> = opened.values().cloned().collect();
    listeners.sort_by_key(|listener| listener.info().address);
    listeners
}

/// Delay before the next check: `poll`, or the backoff after `failures` in a row; less a jitter of up to a quarter, by
/// a `roll` from 0 to 999, so that many servers do not ask at once.
fn next_delay(failures: u32, poll: Duration, roll: u64) -> Duration {
    let full = match failures {
        0 => poll,
        n => RETRY_MIN.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(RETRY_MAX),
    };
    let less = u32::try_from(roll.min(999)).unwrap_or(0);
    full - full.saturating_mul(less) / 4000
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic fails the test")]
    use super::*;
    use crate::base::entropy::SeededEntropy;
    use crate::tailnet::client::LocalApi;
    use crate::tailnet::policy::Policy;

    #[test]
    fn waiting_grows_from_a_quarter_of_a_second_to_five() {
        let poll = Duration::from_secs(10);
        let waits: Vec<u128> = (0..9).map(|failures| next_delay(failures, poll, 0).as_millis()).collect();
        assert_eq!(waits, [10_000, 250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(next_delay(u32::MAX, poll, 0), RETRY_MAX);
        for failures in 0..9 {
            let (longest, shortest) = (next_delay(failures, poll, 0), next_delay(failures, poll, 999));
            assert!(shortest < longest && shortest >= longest * 3 / 4, "{shortest:?} {longest:?}");
        }
    }

    async fn open(on: &str) -> Result<ListenerManager, (SocketAddr, io::Error)> {
        let options = ListenOptions { on: on.parse().unwrap(), names: Arc::default(), poll: RETRY_MIN };
        let authenticator =
            Arc::new(Authenticator::new(LocalApi::new("/nonexistent/tailscaled.sock"), Policy::default()));
        ListenerManager::open(options, authenticator, Arc::new(SeededEntropy::new(1))).await
    }

    #[tokio::test]
    async fn fixed_addresses_are_opened_at_once_and_a_tailnet_that_is_not_there_opens_nothing() {
        let listeners = open("127.0.0.1:0, tailnet:0, [::1]:0").await.unwrap();
        let addresses: Vec<_> = listeners.subscribe().borrow().iter().map(|it| it.info().address.ip()).collect();
        assert_eq!(addresses, ["127.0.0.1", "::1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
        assert!(listeners.missing_summary().contains("nobody listens at"), "{}", listeners.missing_summary());
        assert!(open("tailnet").await.unwrap().subscribe().borrow().is_empty());
    }

    /// Without room for it the system tells a client to try again after a second.
    #[tokio::test]
    async fn whoever_comes_in_a_crowd_need_not_come_twice() {
        let listeners = open("127.0.0.1:0").await.unwrap();
        let address = listeners.subscribe().borrow()[0].info().address;
        let come = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let crowd: Vec<_> = (0..400).map(come).collect::<Result<_, _>>().unwrap();
        assert_eq!(crowd.len(), 400);
    }

    #[tokio::test]
    async fn a_tailnet_address_that_this_machine_does_not_have_is_waited_for() {
        let listeners = open("100.77.77.77:7766").await.unwrap();
        assert!(listeners.subscribe().borrow().is_empty());
        assert_eq!(listeners.missing_summary(), "100.77.77.77 is not an address of this machine yet");
    }

    #[tokio::test]
    async fn a_fixed_address_that_is_taken_is_an_error() {
        let first = open("127.0.0.1:0").await.unwrap();
        let address = first.subscribe().borrow()[0].info().address;
        let error = open(&address.to_string()).await.map(|_| ()).unwrap_err();
        assert_eq!((error.0, error.1.kind()), (address, io::ErrorKind::AddrInUse));
    }
}
