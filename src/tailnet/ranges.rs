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

/// Whether `address` is this machine or on the tailnet. Nothing is sent on to any other, whoever asks: a server that
/// sends what it has to any address is a way into networks that it stands in.
pub(crate) fn is_machine_or_tailnet(address: IpAddr) -> bool {
    is_loopback(address) || is_tailnet(address)
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn only_this_machine_and_the_tailnet_are_allowed() {
        let allowed = |text: &str| is_machine_or_tailnet(text.parse().unwrap());
        for address in [
            "127.0.0.1",
            "127.255.255.255",
            "::1",
            "::ffff:127.0.0.1",
            "100.64.0.0",
            "100.115.91.255",
            "100.115.94.0",
            "100.127.255.255",
            "::ffff:100.100.1.2",
            "fd7a:115c:a1e0::",
            "fd7a:115c:a1e0:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(allowed(address), "{address}");
        }
        for address in [
            "0.0.0.0",
            "::",
            "126.255.255.255",
            "128.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "100.115.92.0",
            "100.115.93.255",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "8.8.8.8",
            "255.255.255.255",
            "::2",
            "fd7a:115c:a1df:ffff::",
            "fd7a:115c:a1e1::",
            "fe80::1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "2001:db8::1",
        ] {
            assert!(!allowed(address), "{address}");
        }
    }
}
