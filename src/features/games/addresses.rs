//! Where a game may be sent: this machine, and the tailnet. Pure.

use std::net::IpAddr;

use crate::tailnet::ranges::{is_loopback, is_tailnet};

/// Whether a game may be sent to this address. Everything else is refused, whoever asks: a server that sends what it
/// has to any address is a way into networks that it stands in.
pub(crate) fn is_allowed(address: IpAddr) -> bool {
    is_loopback(address) || is_tailnet(address)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;

    #[test]
    fn only_this_machine_and_the_tailnet_are_allowed() {
        let allowed = |text: &str| is_allowed(text.parse().unwrap());
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
