//! Authenticates the peer of each accepted connection.
//!
//! An address is not an identity. On a tailnet listener tailscaled is asked about every peer, since whoever shares any
//! other network with this machine can send to its tailnet addresses too. And a loopback peer is a process of this
//! machine only if tailscaled does not carry the tailnet's connections over loopback, as it does where it has no
//! interface in the kernel (userspace mode); there it is asked about those. A peer that cannot be authenticated is not
//! let in.

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
use super::node_info::NodeInfo;
use super::policy::{Policy, PolicyRefusal, TailnetIdentity};
use super::ranges::{is_loopback, is_tailnet};

/// How long the user of an address, and [`NodeInfo`], are cached.
pub const IDENTITY_TTL: Duration = Duration::from_secs(15);
/// Addresses whose user is cached. Past it expired entries are dropped, then all.
const IDENTITIES_CACHED_MAX: usize = 4096;
/// Concurrent requests to tailscaled. Further ones wait, within the time limit of each.
const WHOIS_CONCURRENCY_MAX: usize = 32;

/// The networks that can reach a listener, by the address that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListenerScope {
    /// This machine, and the tailnet where tailscaled runs in userspace mode.
    Loopback,
    /// The tailnet.
    Tailnet,
    /// Whatever network the address is of: only by a configuration that says so.
    OtherNetwork,
}

impl ListenerScope {
    /// The scope of a listener at `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            address if is_loopback(address) => Self::Loopback,
            address if is_tailnet(address) => Self::Tailnet,
            _ => Self::OtherNetwork,
        }
    }
}

/// The result of authenticating a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// A process of this machine.
    Local,
    /// Somebody of the tailnet who is let in.
    Member(Arc<TailnetIdentity>),
    /// A peer of another network, on a listener that such can reach.
    Anonymous,
    /// A peer that tailscaled knows and the policy does not let in.
    Refused(PolicyRefusal),
    /// No peer of the tailnet, though it connected to a tailnet address.
    NotInTailnet,
    /// tailscaled gave no answer. The reason is logged and not told to the peer.
    Unavailable,
}

/// Authenticates peers by their address. Shared by all listeners and connections of a server.
#[derive(Debug)]
pub struct Authenticator {
    api: LocalApi,
    policy: Policy,
    whois_permits: Semaphore,
    /// Never held across an await.
    state: Mutex<AuthenticatorState>,
}

#[derive(Debug, Default)]
struct AuthenticatorState {
    node_info: Option<(Instant, Arc<NodeInfo>)>,
    /// The socket of a tailscaled that is known to have an interface in the kernel.
    kernel_mode_socket: Option<SocketId>,
    cached: HashMap<IpAddr, (Instant, Authentication)>,
    /// Whether the last request failed: each outage is logged once.
    failing: bool,
}

/// A socket in the file system, told from one that was put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SocketId(u64, u64, i64, i64);

impl Authenticator {
    /// Asks `api` and applies `policy`.
    pub fn new(api: LocalApi, policy: Policy) -> Self {
        Self { api, policy, whois_permits: Semaphore::new(WHOIS_CONCURRENCY_MAX), state: Mutex::default() }
    }

    /// Authenticates `peer` on a listener of this `scope`. A cached result is used up to the age of `age`. Takes no
    /// longer than [`TIMEOUT`], and only a `stat` of the socket where tailscaled cannot know the peer. Cancel safe.
    pub async fn authenticate(&self, peer: SocketAddr, scope: ListenerScope, age: Duration) -> Authentication {
        let ip = peer.ip().to_canonical();
        if is_loopback(ip) {
            return self.identify_loopback(SocketAddr::new(ip, peer.port())).await;
        }
        match scope {
            // The kernel does not let such a packet through.
            ListenerScope::Loopback => Authentication::NotInTailnet,
            ListenerScope::Tailnet if is_tailnet(ip) => {
                self.identify_tailnet(SocketAddr::new(ip, peer.port()), age).await
            }
            ListenerScope::Tailnet => Authentication::NotInTailnet,
            ListenerScope::OtherNetwork if is_tailnet(ip) && self.socket().is_ok_and(|socket| socket.is_some()) => {
                // These addresses are used by others than tailnets, too; whom tailscaled does not know is one of those.
                match self.identify_tailnet(SocketAddr::new(ip, peer.port()), age).await {
                    Authentication::NotInTailnet => Authentication::Anonymous,
                    authentication => authentication,
                }
            }
            ListenerScope::OtherNetwork => Authentication::Anonymous,
        }
    }

    /// Asks tailscaled for the state of this node, and caches it. Cancel safe.
    pub async fn refresh_node_info(&self) -> Result<Arc<NodeInfo>, ApiError> {
        let node = Arc::new(NodeInfo::of(&self.api.status().await?));
        self.state.lock().node_info = Some((Instant::now(), Arc::clone(&node)));
        Ok(node)
    }

    /// The state of this node, cached or asked for now.
    async fn node_info(&self) -> Result<Arc<NodeInfo>, ApiError> {
        let known = self.state.lock().node_info.clone();
        match known {
            Some((since, node)) if since.elapsed() < IDENTITY_TTL => Ok(node),
            _ => self.refresh_node_info().await,
        }
    }

    /// The state of this node, or the last known one where tailscaled gives no answer: good for host names, not for
    /// authentication. Cancel safe.
    pub async fn last_node_info(&self) -> Arc<NodeInfo> {
        if let Ok(node) = self.node_info().await {
            return node;
        }
        let known = self.state.lock().node_info.clone();
        known.map(|(_, node)| node).unwrap_or_default()
    }

    async fn identify_loopback(&self, peer: SocketAddr) -> Authentication {
        let socket = match self.socket() {
            Ok(None) => return Authentication::Local,
            Ok(Some(socket)) if self.state.lock().kernel_mode_socket == Some(socket) => return Authentication::Local,
            Ok(Some(socket)) => socket,
            Err(error) => return self.unavailable(&ApiError::Unreachable(self.api.socket().to_owned(), error)),
        };
        let asked = self.with_timeout(async {
            if self.node_info().await?.tun {
                // What is remembered may be of the tailscaled before this one.
                if self.refresh_node_info().await?.tun {
                    self.state.lock().kernel_mode_socket = Some(socket);
                    return Ok(Authentication::Local);
                }
            }
            self.whois(peer).await
        });
        match asked.await {
            // Nobody of the tailnet, so a process of this machine; and without tailscaled nothing comes from there.
            Ok(Authentication::NotInTailnet) | Err(ApiError::Absent(_)) => Authentication::Local,
            Ok(authentication) => authentication,
            Err(error) => self.unavailable(&error),
        }
    }

    async fn identify_tailnet(&self, peer: SocketAddr, age: Duration) -> Authentication {
        let known = self.state.lock().cached.get(&peer.ip()).cloned();
        if let Some((since, authentication)) = known
            && since.elapsed() < age
        {
            return authentication;
        }
        let asked = Instant::now();
        match self.with_timeout(self.whois(peer)).await {
            Ok(authentication) => {
                self.remember(peer.ip(), asked, &authentication);
                authentication
            }
            Err(error) => self.unavailable(&error),
        }
    }

    /// Asks tailscaled who `peer` is, and applies the policy.
    async fn whois(&self, peer: SocketAddr) -> Result<Authentication, ApiError> {
        let Some(found) = self.api.whois(peer).await? else { return Ok(Authentication::NotInTailnet) };
        let node = self.node_info().await?;
        Ok(match self.policy.authorize(&node, &found) {
            Ok(member) => Authentication::Member(Arc::new(member)),
            Err(refusal) => Authentication::Refused(refusal),
        })
    }

    /// Awaits `question`, the wait for a permit included, for at most [`TIMEOUT`].
    async fn with_timeout<T>(&self, question: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let answered = timeout(TIMEOUT, async {
            let _permit = self.whois_permits.acquire().await;
            question.await
        });
        let answer = answered.await.map_err(|_| ApiError::Silent(TIMEOUT))??;
        if std::mem::take(&mut self.state.lock().failing) {
            tracing::info!("tailscaled says again who peers are");
        }
        Ok(answer)
    }

    fn remember(&self, address: IpAddr, since: Instant, authentication: &Authentication) {
        // One that was just refused may have been let in by now; and outsiders could fill the memory.
        if !matches!(authentication, Authentication::Member(_)) {
            return;
        }
        let known = &mut self.state.lock().cached;
        if known.len() >= IDENTITIES_CACHED_MAX {
            known.retain(|_, (since, _)| since.elapsed() < IDENTITY_TTL);
        }
        if known.len() >= IDENTITIES_CACHED_MAX {
            known.clear();
        }
        known.insert(address, (since, authentication.clone()));
    }

    fn unavailable(&self, error: &ApiError) -> Authentication {
        if !std::mem::replace(&mut self.state.lock().failing, true) {
            tracing::warn!(%error, "it cannot be found out who peers are; they are not let in until it can");
        }
        Authentication::Unavailable
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
