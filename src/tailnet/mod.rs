//! Rank 2: what Rejoin knows of the tailnet, and the only place that knows Tailscale.
//!
//! [`client`] asks tailscaled over its local socket and [`wire`] reads its answers; [`ranges`] says which addresses are
//! the tailnet's, [`node_info`] what this node is in it, [`listen_address`] where to be reached, and [`policy`] who is
//! let in and as whom: these are pure. [`authenticator`] puts them together, for each connection that is accepted.

pub(crate) mod authenticator;
pub(crate) mod client;
pub(crate) mod listen_address;
pub(crate) mod node_info;
pub(crate) mod policy;
pub(crate) mod ranges;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
