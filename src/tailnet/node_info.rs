//! The state of this node in its tailnet. Pure.

use std::net::IpAddr;

use super::ranges::is_node;
use super::wire::TailscaleStatus;

/// This node, as tailscaled tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its addresses, in the order in which tailscaled names them; none while it is not connected.
    pub addresses: Vec<IpAddr>,
    /// Its name without and with domain, as far as it has them, without a dot at the end.
    pub names: Vec<String>,
    /// The domain of the tailnet's names, without a dot at the end; empty when it has none.
    pub domain: String,
    /// Whose node it is; nobody's in person when it is tagged.
    pub owner: Option<i64>,
    /// Whether the tailnet's connections come through an interface of the kernel. False also when that is not known.
    pub tun: bool,
    /// Why there are no addresses, in tailscaled's word; empty when there are some.
    pub waiting: String,
}

impl NodeInfo {
    /// Reads a status. An address that no node can have is not believed: it would be listened on.
    pub fn of(status: &TailscaleStatus) -> Self {
        let running = status.backend_state == "Running";
        let mut addresses: Vec<IpAddr> = Vec::new();
        if running {
            for address in status.tailscale_ips.iter().map(IpAddr::to_canonical).filter(|address| is_node(*address)) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        let full = without_trailing_dot(&status.own.dns_name);
        let (first, rest) = full.split_once('.').unwrap_or((&full, ""));
        let suffix = without_trailing_dot(&status.current_tailnet.magic_dns_suffix);
        let domain = if suffix.is_empty() { rest.to_owned() } else { suffix };
        let mut names = vec![first.to_owned(), full.clone()];
        names.dedup();
        names.retain(|name| !name.is_empty());
        let owner = Some(status.own.user_id).filter(|id| *id > 0 && status.own.tags.is_empty());
        let waiting = match (running, addresses.is_empty()) {
            (true, false) => String::new(),
            (true, true) => "it has no address".to_owned(),
            (false, _) => format!("its state is {}", super::client::printable(&status.backend_state)),
        };
        Self { addresses, names, domain, owner, tun: status.tun == Some(true), waiting }
    }
}

/// A name as it is compared: lower case, without the dot at its end.
pub(super) fn without_trailing_dot(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}
