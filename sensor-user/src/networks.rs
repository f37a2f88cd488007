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

    /// Whether `address` is local.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
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
