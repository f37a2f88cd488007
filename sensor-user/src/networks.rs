//! Which addresses the admin answers for, and the direction of a conversation.

use std::net::IpAddr;

use ipnet::IpNet;

/// The local networks; everything else is external.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetworks(Vec<IpNet>);

/// The networks of RFC 1918 and RFC 4193.
pub const DEFAULT_LOCAL_NETWORKS: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

impl LocalNetworks {
    /// From a list; overlapping networks are merged.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(IpNet::aggregate(&networks.to_vec()))
    }

    /// The networks, merged and in order.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether `address` is local: in one of the networks, or one that no router forwards.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        is_never_routed(address) || self.0.iter().any(|network| network.contains(&address))
    }

    /// The direction of a conversation that `initiator` opened to `responder`.
    #[must_use]
    pub fn direction(&self, initiator: IpAddr, responder: IpAddr) -> Direction {
        match (self.contains(initiator), self.contains(responder)) {
            (true, false) => Direction::Outbound,
            (false, true) => Direction::Inbound,
            (true, true) => Direction::Internal,
            (false, false) => Direction::Transit,
        }
    }
}

/// Whether an address means something on its own link only, or is no host's: link-local (RFC 3927, RFC 4291), multicast,
/// broadcast, unspecified and loopback addresses. Routed multicast is among them: it is a group, not a place.
fn is_never_routed(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
                || v4.is_loopback()
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || v6.is_loopback()
        }
    }
}

impl Default for LocalNetworks {
    fn default() -> Self {
        Self::new(&DEFAULT_LOCAL_NETWORKS.map(|network| network.parse().expect("the defaults must parse")))
    }
}

/// Where a conversation goes, seen from the local networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Local to external.
    Outbound,
    /// External to local.
    Inbound,
    /// Local to local.
    Internal,
    /// External to external: `local_networks` or the mirror is wrong.
    Transit,
}

impl Direction {
    /// Whether the initiator is local.
    #[must_use]
    pub const fn from_local(self) -> bool {
        matches!(self, Self::Outbound | Self::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_router_forwards_is_local() {
        let networks = LocalNetworks::default();
        let direction = |from: &str, to: &str| {
            networks.direction(from.parse().expect("an address"), to.parse().expect("an address"))
        };
        for to in ["239.255.255.250", "255.255.255.255", "169.254.169.254", "ff02::fb", "fe80::1"] {
            assert_eq!(direction("10.0.0.5", to), Direction::Internal, "{to}");
        }
        assert_eq!(direction("0.0.0.0", "255.255.255.255"), Direction::Internal, "DHCP");
        assert_eq!(direction("10.0.0.5", "203.0.113.9"), Direction::Outbound);
        assert_eq!(direction("203.0.113.9", "10.0.0.5"), Direction::Inbound);
        assert_eq!(direction("203.0.113.9", "198.51.100.1"), Direction::Transit);
    }
}
