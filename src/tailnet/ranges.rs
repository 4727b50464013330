//! Which addresses are the tailnet's. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` is in one of the ranges that nodes of a tailnet get their addresses from. An IPv4 address inside
/// an IPv6 one counts as what it is inside.
pub(crate) fn is_tailnet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_tailnet_v4(address),
        IpAddr::V6(address) => is_tailnet_v6(address),
    }
}

/// Whether a node can have `address`: in the tailnet's ranges, and none of the two that tailscaled answers at itself.
pub(crate) fn is_node(address: IpAddr) -> bool {
    let address = address.to_canonical();
    is_tailnet(address)
        && address != IpAddr::V4(Ipv4Addr::new(100, 100, 100, 100))
        && address != IpAddr::V6(Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0x53))
}

/// Whether `address` is this machine itself, in either family.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// 100.64.0.0/10 without 100.115.92.0/23, which ChromeOS uses for machines of its own.
fn is_tailnet_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    a == 100 && (64..128).contains(&b) && !(b == 115 && matches!(c, 92 | 93))
}

/// fd7a:115c:a1e0::/48.
fn is_tailnet_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    [a, b, c] == [0xfd7a, 0x115c, 0xa1e0]
}
