//! What a port says about a conversation: the services that are nobody's evidence, by the role that a
//! host shows by using them, and the addresses that are nobody's peer.
//!
//! A first contact on a service port is as likely from a torrent host as from any other, so it neither
//! accuses nor acquits. Ports from 1024 on are listed only where the IANA registry or the software's own
//! default names a service that hosts contact in numbers. The defaults of BitTorrent clients (6881 to
//! 6889, 51413, 8999) are left out on purpose.

use std::net::IpAddr;

/// What a host does on a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// HTTP and its like: browsers, crawlers, content networks, updates.
    Web,
    /// Name resolution.
    Resolver,
    /// SMTP, IMAP, POP.
    Mail,
    /// Network time.
    Time,
    /// STUN and TURN: calls and meetings.
    Call,
    /// The default ports of Tor relays.
    Tor,
    /// The default ports of blockchain nodes.
    Blockchain,
    /// Windows Delivery Optimization, and game launchers and servers.
    Delivery,
    /// Push and chat services with a port of their own.
    Messaging,
    /// Tunnels.
    Tunnel,
    /// Telephony signalling.
    Telephony,
    /// The UDP ports of traceroute.
    Traceroute,
    /// Any other service.
    Service,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 13] = [
        Self::Web,
        Self::Resolver,
        Self::Mail,
        Self::Time,
        Self::Call,
        Self::Tor,
        Self::Blockchain,
        Self::Delivery,
        Self::Messaging,
        Self::Tunnel,
        Self::Telephony,
        Self::Traceroute,
        Self::Service,
    ];

    /// The name in evidence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web client",
            Self::Resolver => "resolver",
            Self::Mail => "mail server",
            Self::Time => "time client",
            Self::Call => "calls (STUN)",
            Self::Tor => "Tor",
            Self::Blockchain => "blockchain node",
            Self::Delivery => "content delivery or games",
            Self::Messaging => "messaging",
            Self::Tunnel => "tunnels",
            Self::Telephony => "telephony",
            Self::Traceroute => "traceroute",
            Self::Service => "other services",
        }
    }
}

/// The service of a responder's port, or none for a port that says nothing.
#[must_use]
pub const fn service(port: u16) -> Option<Role> {
    Some(match port {
        80 | 443 | 3128 | 8000 | 8008 | 8080 | 8081 | 8443 | 8888 => Role::Web,
        53 | 853 | 5353 | 5355 => Role::Resolver,
        25 | 110 | 143 | 465 | 587 | 993 | 995 => Role::Mail,
        123 => Role::Time,
        3478..=3481 | 5349 | 5350 | 19302..=19309 => Role::Call,
        9001 | 9030 | 9050 | 9150 => Role::Tor,
        8332 | 8333 | 9333 | 18080 | 18081 | 18333 | 22556 | 26656 | 30303 | 30304 => Role::Blockchain,
        1119 | 3074 | 3724 | 6112..=6114 | 7680 | 27000..=27050 => Role::Delivery,
        1863 | 4070 | 4244 | 5222..=5223 | 5228..=5230 | 5242 | 5269 => Role::Messaging,
        500 | 1194 | 1701 | 1723 | 4500 | 41641 | 51820 => Role::Tunnel,
        5060..=5062 => Role::Telephony,
        33434..=33534 => Role::Traceroute,
        0..=1023
        | 1080
        | 1433
        | 1434
        | 1521
        | 1883
        | 1900
        | 1935
        | 2049
        | 3306
        | 3389
        | 5432
        | 5671
        | 5672
        | 5900..=5903
        | 5938
        | 5985
        | 5986
        | 6379
        | 6568
        | 8554
        | 8883
        | 9092
        | 9100
        | 9200
        | 11211 => Role::Service,
        _ => return None,
    })
}

/// How many first contacts a source made in each role of late: all halve every
/// [`HALVING_SECONDS`](Self::HALVING_SECONDS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    counts: [u16; Role::ALL.len()],
    standing: u16,
    halved: u32,
}

impl Roles {
    /// After this many seconds a contact counts half.
    pub const HALVING_SECONDS: u32 = 300;
    /// With this many contacts of late a role is worth a word.
    const WORTH_A_WORD: u16 = 5;

    /// Counts one contact in `role` at `second`.
    pub fn count(&mut self, role: Role, second: u32) {
        self.halve(second);
        let count = &mut self.counts[role as usize];
        *count = count.saturating_add(1);
    }

    /// Counts one conversation with a service that was under way when first seen at `second`.
    pub fn count_standing(&mut self, second: u32) {
        self.halve(second);
        self.standing = self.standing.saturating_add(1);
    }

    /// Conversations with services that were under way when first seen of late.
    #[must_use]
    pub const fn standing(&self) -> u16 {
        self.standing
    }

    /// The roles with enough contacts of late, with their counts, in the order of [`Role::ALL`].
    pub fn shown(&self) -> impl Iterator<Item = (Role, u16)> + '_ {
        Role::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count >= Self::WORTH_A_WORD)
    }

    fn halve(&mut self, second: u32) {
        let halvings = second.saturating_sub(self.halved) / Self::HALVING_SECONDS;
        if halvings > 0 {
            for count in self.counts.iter_mut().chain([&mut self.standing]) {
                *count = count.checked_shr(halvings).unwrap_or(0);
            }
            self.halved += halvings * Self::HALVING_SECONDS;
        }
    }
}

/// Whether `address` can be one host on the Internet or in a network: neither a group nor everyone, and
/// not confined to one link.
#[must_use]
pub const fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
        }
        IpAddr::V6(address) => {
            !address.is_multicast()
                && !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_unicast_link_local()
        }
    }
}

/// The network that an address is counted in: /16 of IPv4, /32 of IPv6, about what one operator holds.
#[must_use]
pub const fn network(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => (address.to_bits() >> 16) as u64,
        IpAddr::V6(address) => (1 << 32) | (address.to_bits() >> 96) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ports_of_torrent_clients_are_no_services() {
        for port in (6881..=6889).chain([51413, 8999]) {
            assert_eq!(service(port), None, "{port}");
        }
    }

    #[test]
    fn every_privileged_port_is_a_service() {
        assert!((0..1024).all(|port| service(port).is_some()));
    }

    #[test]
    fn roles_are_forgotten_by_halves() {
        let mut roles = Roles::default();
        for _ in 0..20 {
            roles.count(Role::Mail, 1_000_000_000);
        }
        roles.count(Role::Web, 1_000_000_000 + Roles::HALVING_SECONDS);
        assert_eq!(roles.shown().collect::<Vec<_>>(), [(Role::Mail, 10)]);
        roles.count(Role::Web, u32::MAX);
        assert_eq!(roles.shown().count(), 0);
    }

    #[test]
    fn groups_and_links_are_not_hosts() {
        for text in ["224.0.0.251", "255.255.255.255", "0.0.0.0", "169.254.1.1", "ff02::1", "fe80::1"] {
            assert!(!is_host(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "203.0.113.9", "2001:db8::1", "fd00::1"] {
            assert!(is_host(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn families_never_share_a_network() {
        let mapped: IpAddr = "0:203::1".parse().unwrap();
        assert_ne!(network("2.3.0.0".parse().unwrap()), network(mapped));
    }
}
