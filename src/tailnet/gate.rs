//! Says of each connection that is accepted who is at its other end.
//!
//! An address is not an identity. On a tailnet listener tailscaled is asked about every peer, since whoever shares any
//! other network with this machine can send to its tailnet addresses too. And a loopback peer is a process of this
//! machine only if tailscaled does not carry the tailnet's connections over loopback, as it does where it has no
//! interface in the kernel (userspace mode); there it is asked about those. What cannot be found out lets nobody in.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::client::{ApiError, LocalApi, TIMEOUT};
use super::home::Home;
use super::policy::{Member, Policy, Refusal};
use super::ranges::{is_loopback, is_tailnet};

/// How long it is believed who has an address, and what this node is.
pub const BELIEVED: Duration = Duration::from_secs(15);
/// Addresses of which it is remembered who has them. Past it those that are no longer believed are forgotten, then all.
const KNOWN_MAX: usize = 4096;
/// Questions to tailscaled at once. Further ones wait, within the time limit of each.
const QUESTIONS_MAX: usize = 32;

/// From where a listener can be reached, by the address that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// This machine, and the tailnet where tailscaled runs in userspace mode.
    Loopback,
    /// The tailnet.
    Tailnet,
    /// Whatever network the address is of: only by a configuration that says so.
    Beyond,
}

impl Reach {
    /// That of a listener at `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            address if is_loopback(address) => Self::Loopback,
            address if is_tailnet(address) => Self::Tailnet,
            _ => Self::Beyond,
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A process of this machine.
    Local,
    /// Somebody of the tailnet who is let in.
    Member(Arc<Member>),
    /// Somebody of another network, on a listener that such can reach.
    Stranger,
    /// Somebody of whom tailscaled knows, and who is not let in.
    Refused(Refusal),
    /// Nobody of the tailnet, though it came to a tailnet address.
    Outsider,
    /// It cannot be found out now. Why is logged, and no business of the peer's.
    Unclear,
}

/// The gate of a server. Shared by its listeners and connections.
#[derive(Debug)]
pub struct Gate {
    api: LocalApi,
    policy: Policy,
    questions: Semaphore,
    /// Never held while waiting for an answer.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    home: Option<(Instant, Arc<Home>)>,
    /// The socket of a tailscaled that is known to have an interface in the kernel.
    kernel: Option<SocketId>,
    known: HashMap<IpAddr, (Instant, Verdict)>,
    /// Whether the last question found no answer, so that trouble is logged once.
    troubled: bool,
}

/// A socket in the file system, told from one that was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SocketId(u64, u64, i64, i64);

impl Gate {
    /// A gate that asks `api` and decides by `policy`.
    pub fn new(api: LocalApi, policy: Policy) -> Self {
        Self { api, policy, questions: Semaphore::new(QUESTIONS_MAX), state: Mutex::default() }
    }

    /// Says who `peer` is, that came to a listener of this `reach`. What was found out within the last `age` counts.
    /// Takes no longer than [`TIMEOUT`], and nothing but a look at the file system where no tailscaled could know of
    /// the peer. Cancel safe.
    pub async fn who(&self, peer: SocketAddr, reach: Reach, age: Duration) -> Verdict {
        let ip = peer.ip().to_canonical();
        if is_loopback(ip) {
            return self.loopback(SocketAddr::new(ip, peer.port())).await;
        }
        match reach {
            // The kernel does not let such a packet through.
            Reach::Loopback => Verdict::Outsider,
            Reach::Tailnet if is_tailnet(ip) => self.tailnet(SocketAddr::new(ip, peer.port()), age).await,
            Reach::Tailnet => Verdict::Outsider,
            Reach::Beyond if is_tailnet(ip) && self.socket().is_ok_and(|socket| socket.is_some()) => {
                // These addresses are used by others than tailnets, too; whom tailscaled does not know is one of those.
                match self.tailnet(SocketAddr::new(ip, peer.port()), age).await {
                    Verdict::Outsider => Verdict::Stranger,
                    verdict => verdict,
                }
            }
            Reach::Beyond => Verdict::Stranger,
        }
    }

    /// Asks what this node is, and remembers it. Cancel safe.
    pub async fn look(&self) -> Result<Arc<Home>, ApiError> {
        let home = Arc::new(Home::of(&self.api.status().await?));
        self.state.lock().home = Some((Instant::now(), Arc::clone(&home)));
        Ok(home)
    }

    /// What this node is, as was found out lately, or else is asked now.
    async fn home(&self) -> Result<Arc<Home>, ApiError> {
        let known = self.state.lock().home.clone();
        match known {
            Some((since, home)) if since.elapsed() < BELIEVED => Ok(home),
            _ => self.look().await,
        }
    }

    /// What this node goes by: as the last answer, and as it was last known where that finds no answer. Good for
    /// names, not for who somebody is. Cancel safe.
    pub async fn names(&self) -> Arc<Home> {
        if let Ok(home) = self.home().await {
            return home;
        }
        let known = self.state.lock().home.clone();
        known.map(|(_, home)| home).unwrap_or_default()
    }

    async fn loopback(&self, peer: SocketAddr) -> Verdict {
        let socket = match self.socket() {
            Ok(None) => return Verdict::Local,
            Ok(Some(socket)) if self.state.lock().kernel == Some(socket) => return Verdict::Local,
            Ok(Some(socket)) => socket,
            Err(error) => return self.unclear(&ApiError::Unreachable(self.api.socket().to_owned(), error)),
        };
        let asked = self.within(async {
            if self.home().await?.tun {
                // What is remembered may be of the tailscaled before this one.
                if self.look().await?.tun {
                    self.state.lock().kernel = Some(socket);
                    return Ok(Verdict::Local);
                }
            }
            self.ask(peer).await
        });
        match asked.await {
            // Nobody of the tailnet, so a process of this machine; and without tailscaled nothing comes from there.
            Ok(Verdict::Outsider) | Err(ApiError::Absent(_)) => Verdict::Local,
            Ok(verdict) => verdict,
            Err(error) => self.unclear(&error),
        }
    }

    async fn tailnet(&self, peer: SocketAddr, age: Duration) -> Verdict {
        let known = self.state.lock().known.get(&peer.ip()).cloned();
        if let Some((since, verdict)) = known
            && since.elapsed() < age
        {
            return verdict;
        }
        let asked = Instant::now();
        match self.within(self.ask(peer)).await {
            Ok(verdict) => {
                self.remember(peer.ip(), asked, &verdict);
                verdict
            }
            Err(error) => self.unclear(&error),
        }
    }

    /// Asks tailscaled who `peer` is, and decides.
    async fn ask(&self, peer: SocketAddr) -> Result<Verdict, ApiError> {
        let Some(found) = self.api.whois(peer).await? else { return Ok(Verdict::Outsider) };
        let home = self.home().await?;
        Ok(match self.policy.judge(&home, &found) {
            Ok(member) => Verdict::Member(Arc::new(member)),
            Err(refusal) => Verdict::Refused(refusal),
        })
    }

    /// Awaits a question, its turn included, for no longer than [`TIMEOUT`].
    async fn within<T>(&self, question: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let answered = timeout(TIMEOUT, async {
            let _turn = self.questions.acquire().await;
            question.await
        });
        let answer = answered.await.map_err(|_| ApiError::Silent(TIMEOUT))??;
        if std::mem::take(&mut self.state.lock().troubled) {
            tracing::info!("tailscaled says again who peers are");
        }
        Ok(answer)
    }

    fn remember(&self, address: IpAddr, since: Instant, verdict: &Verdict) {
        // One that was just refused may have been let in by now; and outsiders could fill the memory.
        if !matches!(verdict, Verdict::Member(_)) {
            return;
        }
        let known = &mut self.state.lock().known;
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (since, _)| since.elapsed() < BELIEVED);
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(address, (since, verdict.clone()));
    }

    fn unclear(&self, error: &ApiError) -> Verdict {
        if !std::mem::replace(&mut self.state.lock().troubled, true) {
            tracing::warn!(%error, "it cannot be found out who peers are; they are not let in until it can");
        }
        Verdict::Unclear
    }

    /// tailscaled's socket, if there is one.
    fn socket(&self) -> io::Result<Option<SocketId>> {
        match std::fs::metadata(self.api.socket()) {
            Ok(found) => Ok(Some(SocketId(found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
