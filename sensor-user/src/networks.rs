//! Which addresses the admin answers for, and the direction of a conversation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The local networks; everything else is external.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNetworks {
    networks: Vec<IpNet>,
    local: AddressSet,
}

/// The addresses of any number of networks, found by a search whose length grows with its logarithm only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl AddressSet {
    /// The addresses of `networks`, which may overlap.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Ranges(Vec::new()), Ranges(Vec::new()));
        // Aggregated networks are disjoint, and sorted within their family.
        for network in IpNet::aggregate(&networks.to_vec()) {
            match network {
                IpNet::V4(network) => v4.0.push((network.network().to_bits(), network.broadcast().to_bits())),
                IpNet::V6(network) => v6.0.push((network.network().to_bits(), network.broadcast().to_bits())),
            }
        }
        Self { v4, v6 }
    }

    /// Whether `address` is in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }
}

/// Addresses from the first to the last of each pair; the pairs do not overlap and are in order. What is
/// asked for every flow is answered by one short search.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ranges<T>(Vec<(T, T)>);

impl<T: Ord + Copy> Ranges<T> {
    fn contains(&self, address: T) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        after > 0 && address <= self.0[after - 1].1
    }
}

/// The networks of RFC 1918 and RFC 4193.
pub const DEFAULT_LOCAL_NETWORKS: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Addresses that mean something on their own link only, or are no host's: unspecified, loopback, link-local
/// (RFC 3927, RFC 4291), multicast and broadcast. Routed multicast is among them: it is a group, not a place.
const NEVER_ROUTED: [IpNet; 9] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];

impl LocalNetworks {
    /// From a list; overlapping networks are merged.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        let local = AddressSet::new(&[networks, &NEVER_ROUTED].concat());
        Self { networks: IpNet::aggregate(&networks.to_vec()), local }
    }

    /// The networks, merged and in order.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.networks.iter()
    }

    /// Whether `address` is local: in one of the networks, or one that no router forwards.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.local.contains(address)
    }

    /// The direction of a conversation that `initiator` opened to `responder`.
    #[must_use]
    pub fn direction(&self, initiator: IpAddr, responder: IpAddr) -> Direction {
        Direction::between(self.contains(initiator), self.contains(responder))
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
    /// The direction from an initiator to a responder of which each is local or not.
    #[must_use]
    pub const fn between(initiator: bool, responder: bool) -> Self {
        match (initiator, responder) {
            (true, false) => Self::Outbound,
            (false, true) => Self::Inbound,
            (true, true) => Self::Internal,
            (false, false) => Self::Transit,
        }
    }

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
