//! Keeps the listeners open that are configured: those at fixed addresses from the start, those at the node's tailnet
//! addresses as soon as and for as long as it has them.
//!
//! tailscaled says that it is ready before its addresses can be bound, and they may change at any time, so this waits
//! and follows. It never listens anywhere else instead: an address that is not there yet is waited for.

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
use crate::http::server::listener_set::{Entrance, Open};
use crate::tailnet::gate::{Gate, Reach};
use crate::tailnet::home::Home;
use crate::tailnet::listen::{Listen, ListenOn};

/// The wait after the first look that found something missing; it doubles up to [`WAIT_MAX`].
const WAIT_MIN: Duration = Duration::from_millis(250);
/// See [`WAIT_MIN`].
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What to listen on, and how to keep to it.
#[derive(Clone, Debug)]
pub(crate) struct ListenOptions {
    pub on: ListenOn,
    /// Host names that all of them go by besides their own.
    pub names: Arc<[String]>,
    /// Time between two looks at the node's addresses while all is well.
    pub poll: Duration,
}

/// The listeners of a server.
pub(crate) struct Listeners {
    options: ListenOptions,
    gate: Arc<Gate>,
    entropy: Arc<dyn Entropy>,
    /// In the order of the configuration: the listeners of each place, by the address that was asked for.
    open: Vec<(Listen, HashMap<SocketAddr, Arc<Entrance>>)>,
    told: watch::Sender<Open>,
    /// Why something is waited for, as it was last logged; empty: nothing is.
    waiting: String,
    /// Whether changes are logged: not while the server starts, which says itself where it listens or why it does not.
    logs: bool,
}

/// Why a look left something missing.
type Missing = String;

impl Listeners {
    /// Opens what can be opened now. What is the tailnet's may be missing for now; [`follow`](Self::follow) opens it.
    /// Error: an address that is no matter of waiting cannot be had.
    pub(crate) async fn open(
        options: ListenOptions,
        gate: Arc<Gate>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let open = options.on.places().iter().map(|place| (*place, HashMap::new())).collect();
        let (told, _) = watch::channel(Open::new());
        let mut this = Self { options, gate, entropy, open, told, waiting: String::new(), logs: false };
        for (place, opened) in &mut this.open {
            if let Listen::Address(address) = place
                && Reach::of(address.ip()) != Reach::Tailnet
            {
                let entrance = bind(*address, &this.options.names).map_err(|error| (*address, error))?;
                opened.insert(*address, Arc::new(entrance));
            }
        }
        this.waiting = this.look().await?.unwrap_or_default();
        Ok(this)
    }

    /// The listeners that there are, and are told of when they change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Open> {
        self.told.subscribe()
    }

    /// Why something is waited for; empty when nothing is.
    pub(crate) fn waiting(&self) -> &str {
        &self.waiting
    }

    /// Opens what was missing and follows the node's addresses, until `stop`. Returns at once where there is nothing to
    /// follow.
    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        if self.open.iter().all(|(place, _)| place.reach() != Reach::Tailnet) {
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
                () = sleep(wait(failures, self.options.poll, roll)) => {}
                () = stop.cancelled() => return,
            }
            let missing = match self.look().await {
                Ok(missing) => missing,
                Err((address, error)) => Some(format!("{address}: {error}")),
            };
            failures = if missing.is_some() { failures.saturating_add(1) } else { 0 };
            self.say(missing);
        }
    }

    /// Looks once: opens what the tailnet's places need and then closes what they no longer do. Tells why something is
    /// still missing. Error: an address is taken by somebody else.
    async fn look(&mut self) -> Result<Option<Missing>, (SocketAddr, io::Error)> {
        let mut missing = None;
        let mut home = None;
        let mut taken = Ok(());
        for (place, opened) in &mut self.open {
            let wanted = match *place {
                Listen::Address(address) if place.reach() == Reach::Tailnet => vec![address],
                Listen::Address(_) => continue,
                Listen::Tailnet(port) => {
                    if home.is_none() {
                        home = Some(self.gate.look().await.map_err(|error| error.to_string()));
                    }
                    match home.as_ref().map(|home| home.as_ref().map(|home| wanted_of(home, port))) {
                        Some(Ok(Ok(wanted))) => wanted,
                        // Those that are open stay: their addresses may come back, and who connects is asked about.
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
                    missing = Some(not_there(address, userspace));
                }
                Err(failed) => taken = Err(failed),
            }
        }
        self.tell();
        taken.map(|()| missing)
    }

    /// Tells of the listeners if they are others than before.
    fn tell(&self) {
        let now: Open = self.open.iter().flat_map(|(_, opened)| in_order(opened)).collect();
        self.told.send_if_modified(|before| {
            let same = before.len() == now.len() && before.iter().zip(&now).all(|(a, b)| Arc::ptr_eq(a, b));
            if self.logs && !same {
                for entrance in now.iter().filter(|new| !before.iter().any(|old| Arc::ptr_eq(old, new))) {
                    tracing::info!(address = %entrance.front().address, "listening");
                }
                for entrance in before.iter().filter(|old| !now.iter().any(|new| Arc::ptr_eq(old, new))) {
                    tracing::info!(address = %entrance.front().address, "no longer listening");
                }
            }
            *before = now;
            !same
        });
    }

    /// Logs what is waited for, once for each reason.
    fn say(&mut self, missing: Option<Missing>) {
        let missing = missing.unwrap_or_default();
        if missing != self.waiting {
            match missing.is_empty() {
                true => tracing::info!("the tailnet's addresses are there"),
                false => tracing::warn!(why = missing, "waiting for the tailnet's addresses"),
            }
            self.waiting = missing;
        }
    }
}

/// The addresses that a node has, with a port; or why it has none.
fn wanted_of(home: &Home, port: u16) -> Result<Vec<SocketAddr>, Missing> {
    match home.waiting.is_empty() {
        true => Ok(home.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect()),
        false => Err(format!("tailscaled is not connected: {}", home.waiting)),
    }
}

fn not_there(address: SocketAddr, userspace: bool) -> Missing {
    if userspace {
        return "tailscaled runs in userspace mode, so that nobody can listen on this node's addresses; listen on \
                127.0.0.1 instead, where it brings the tailnet's connections"
            .to_owned();
    }
    format!("{} is not an address of this machine yet", address.ip())
}

/// Opens those of `wanted` that are not open. With port 0 the first takes any free port, and the others the same, now
/// and later.
async fn open_all(
    opened: &mut HashMap<SocketAddr, Arc<Entrance>>,
    wanted: &[SocketAddr],
    names: &Arc<[String]>,
) -> Result<(), (SocketAddr, io::Error)> {
    for address in wanted {
        if opened.contains_key(address) {
            continue;
        }
        let port = opened.values().next().map_or(address.port(), |entrance| entrance.front().address.port());
        let entrance = bind(SocketAddr::new(address.ip(), port), names).map_err(|error| (*address, error))?;
        opened.insert(*address, Arc::new(entrance));
    }
    Ok(())
}

/// Listens on exactly this address.
fn bind(address: SocketAddr, names: &Arc<[String]>) -> io::Result<Entrance> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port is free again at once after a stop. On Windows the option would let others take it.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Entrance::new(socket.listen(LISTEN_QUEUE_MAX)?, names)
}

fn in_order(opened: &HashMap<SocketAddr, Arc<Entrance>>) -> Vec<Arc<Entrance>> {
    let mut entrances: Vec<_> = opened.values().cloned().collect();
    entrances.sort_by_key(|entrance| entrance.front().address);
    entrances
}

/// How long to wait before the next look: after `failures` in a row ever longer, otherwise `poll`; up to a quarter
/// less, by a `roll` from 0 to 999, so that many servers do not ask at once.
fn wait(failures: u32, poll: Duration, roll: u64) -> Duration {
    let full = match failures {
        0 => poll,
        n => WAIT_MIN.saturating_mul(1_u32.checked_shl(n - 1).unwrap_or(u32::MAX)).min(WAIT_MAX),
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
        let waits: Vec<u128> = (0..9).map(|failures| wait(failures, poll, 0).as_millis()).collect();
        assert_eq!(waits, [10_000, 250, 500, 1000, 2000, 4000, 5000, 5000, 5000]);
        assert_eq!(wait(u32::MAX, poll, 0), WAIT_MAX);
        for failures in 0..9 {
            let (longest, shortest) = (wait(failures, poll, 0), wait(failures, poll, 999));
            assert!(shortest < longest && shortest >= longest * 3 / 4, "{shortest:?} {longest:?}");
        }
    }

    async fn open(on: &str) -> Result<Listeners, (SocketAddr, io::Error)> {
        let options = ListenOptions { on: on.parse().unwrap(), names: Arc::default(), poll: WAIT_MIN };
        let gate = Arc::new(Gate::new(LocalApi::new("/nonexistent/tailscaled.sock"), Policy::default()));
        Listeners::open(options, gate, Arc::new(SeededEntropy::new(1))).await
    }

    #[tokio::test]
    async fn fixed_addresses_are_opened_at_once_and_a_tailnet_that_is_not_there_opens_nothing() {
        let listeners = open("127.0.0.1:0, tailnet:0, [::1]:0").await.unwrap();
        let addresses: Vec<_> = listeners.subscribe().borrow().iter().map(|it| it.front().address.ip()).collect();
        assert_eq!(addresses, ["127.0.0.1", "::1"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
        assert!(listeners.waiting().contains("nobody listens at"), "{}", listeners.waiting());
        assert!(open("tailnet").await.unwrap().subscribe().borrow().is_empty());
    }

    /// Without room for it the system tells a client to try again after a second.
    #[tokio::test]
    async fn whoever_comes_in_a_crowd_need_not_come_twice() {
        let listeners = open("127.0.0.1:0").await.unwrap();
        let address = listeners.subscribe().borrow()[0].front().address;
        let come = |_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(900));
        let crowd: Vec<_> = (0..400).map(come).collect::<Result<_, _>>().unwrap();
        assert_eq!(crowd.len(), 400);
    }

    #[tokio::test]
    async fn a_tailnet_address_that_this_machine_does_not_have_is_waited_for() {
        let listeners = open("100.77.77.77:7766").await.unwrap();
        assert!(listeners.subscribe().borrow().is_empty());
        assert_eq!(listeners.waiting(), "100.77.77.77 is not an address of this machine yet");
    }

    #[tokio::test]
    async fn a_fixed_address_that_is_taken_is_an_error() {
        let first = open("127.0.0.1:0").await.unwrap();
        let address = first.subscribe().borrow()[0].front().address;
        let error = open(&address.to_string()).await.map(|_| ()).unwrap_err();
        assert_eq!((error.0, error.1.kind()), (address, io::ErrorKind::AddrInUse));
    }
}
