//! Rank 2: what Rejoin knows of the tailnet, and the only place that knows Tailscale.
//!
//! [`client`] asks tailscaled over its local socket and [`wire`] reads its answers; [`ranges`] says which addresses are
//! the tailnet's, [`home`] what this node is in it, [`listen`] where to be reached, and [`policy`] who is let in and as
//! whom: these are pure. [`gate`] puts them together, for each connection that is accepted.

pub(crate) mod client;
pub(crate) mod gate;
pub(crate) mod home;
pub(crate) mod listen;
pub(crate) mod policy;
pub(crate) mod ranges;
pub(crate) mod wire;

#[cfg(test)]
mod tests;
