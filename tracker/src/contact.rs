//! Which address of a peer is handed to whom.
//!
//! A tracker must not be usable to aim peers at a third party: an address is the one that was observed,
//! with the port from HELLO, or one that its owner advertised and that can belong to a single host.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where a peer accepts connections. Smaller than a [`SocketAddr`], since there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contact {
    ip: IpAddr,
    port: u16,
}

impl Contact {
    /// The observed address with the port from HELLO; `None` for a peer that accepts no connections.
    pub(crate) fn observed(ip: IpAddr, listen: u16) -> Option<Self> {
        (listen != 0).then_some(Self { ip, port: listen })
    }

    /// An address that a peer asks us to hand out; `None` if it can't belong to one host that others
    /// reach. // [T-20]
    pub(crate) fn advertised(addr: SocketAddr, observed: IpAddr) -> Option<Self> {
        let ip = addr.ip().to_canonical();
        let group = match ip {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_multicast(),
        };
        let foreign_loopback = ip.is_loopback() && !observed.is_loopback();
        let usable = !group && !foreign_loopback && !ip.is_unspecified() && addr.port() != 0;
        usable.then_some(Self { ip, port: addr.port() })
    }

    /// Whether somebody at `asker` could reach it. Loopback is another host for everybody else, and a
    /// link-local address says nothing without its link. // [T-22]
    pub(crate) fn visible_to(self, asker: IpAddr) -> bool {
        match self.ip {
            ip if ip.is_loopback() => asker.is_loopback(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
            IpAddr::V4(_) => true,
        }
    }

    /// As messages carry it.
    pub(crate) fn socket(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// What counts as one address where hosts are told apart: one with IPv6 has a whole /64 to itself.
pub(crate) fn host_key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_belong_to_one_reachable_host() {
        let far: IpAddr = "192.0.2.1".parse().unwrap();
        let near: IpAddr = "127.0.0.1".parse().unwrap();
        let ok = |addr: &str, from| Contact::advertised(addr.parse().unwrap(), from).is_some();
        assert!(ok("198.51.100.7:9001", far));
        assert!(ok("[2001:db8::1]:9001", far));
        assert!(ok("127.0.0.1:9001", near));
        for bad in ["0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "[ff02::1]:1", "[::]:1"] {
            assert!(!ok(bad, far), "{bad}");
        }
        assert!(!ok("127.0.0.1:9001", far));
        // [T-56]
        assert!(!ok("[::ffff:127.0.0.1]:9001", far), "mapped loopback is loopback");
        assert!(!ok("198.51.100.7:0", far));
    }

    #[test]
    fn loopback_is_for_local_askers_only() {
        let contact = Contact::observed("127.0.0.1".parse().unwrap(), 9001).unwrap();
        assert!(contact.visible_to("::1".parse().unwrap()));
        assert!(!contact.visible_to("192.0.2.1".parse().unwrap()));
        assert_eq!(Contact::observed("192.0.2.1".parse().unwrap(), 0), None);
    }
}
