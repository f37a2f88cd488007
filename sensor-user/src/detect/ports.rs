//! What a port says about a conversation: the services that are nobody's evidence, and the addresses that are
//! nobody's peer.
//!
//! A first contact on a service port is as likely from a torrent host as from any other, so it neither
//! accuses nor acquits. Ports from 1024 on are listed only where the IANA registry or the software's own
//! default names a service that hosts contact in numbers. The defaults of BitTorrent clients (6881 to
//! 6889, 51413, 8999) are left out on purpose.

use std::net::IpAddr;

/// What is served on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Service {
    /// HTTP and its like: browsers, crawlers, content networks, updates.
    Web,
    /// Name resolution.
    Names,
    /// SMTP, IMAP, POP.
    Mail,
    /// Network time.
    Time,
    /// STUN and TURN: calls and meetings.
    Call,
    /// The default ports of Tor relays.
    Tor,
    /// The default ports of blockchain and IPFS nodes.
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
    Other,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 13] = [
        Self::Web,
        Self::Names,
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
        Self::Other,
    ];

    /// The name in evidence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Names => "names",
            Self::Mail => "mail",
            Self::Time => "time",
            Self::Call => "calls (STUN)",
            Self::Tor => "Tor",
            Self::Blockchain => "blockchain or IPFS",
            Self::Delivery => "content delivery or games",
            Self::Messaging => "messaging",
            Self::Tunnel => "tunnels",
            Self::Telephony => "telephony",
            Self::Traceroute => "traceroute",
            Self::Other => "other services",
        }
    }
}

/// Whether a port is usual with BitTorrent: the defaults of clients and of trackers. It accuses nobody by
/// itself.
#[must_use]
pub const fn is_bittorrents(port: u16) -> bool {
    matches!(port, 1337 | 2710 | 6881..=6889 | 6969 | 8999 | 51413)
}

/// The service of a responder's port, or none for a port that says nothing.
#[must_use]
pub const fn service(port: u16) -> Option<Service> {
    Some(match port {
        80 | 443 | 3128 | 8000 | 8008 | 8080 | 8081 | 8443 | 8888 => Service::Web,
        53 | 853 | 5353 | 5355 => Service::Names,
        25 | 110 | 143 | 465 | 587 | 993 | 995 => Service::Mail,
        123 => Service::Time,
        3478..=3481 | 5349 | 5350 | 19302..=19309 => Service::Call,
        9001 | 9030 | 9050 | 9150 => Service::Tor,
        4001 | 8332 | 8333 | 9333 | 18080 | 18081 | 18333 | 22556 | 26656 | 30303 | 30304 => {
            Service::Blockchain
        }
        1119 | 3074 | 3724 | 6112..=6114 | 7680 | 27000..=27050 => Service::Delivery,
        1863 | 4070 | 4244 | 5222..=5223 | 5228..=5230 | 5242 | 5269 => Service::Messaging,
        500 | 1194 | 1701 | 1723 | 4500 | 41641 | 51820 => Service::Tunnel,
        5060..=5062 => Service::Telephony,
        33434..=33534 => Service::Traceroute,
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
        | 11211 => Service::Other,
        _ => return None,
    })
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
        for port in (0..=u16::MAX).filter(|port| is_bittorrents(*port)) {
            assert_eq!(service(port), None, "{port}");
        }
        assert!(is_bittorrents(6881) && is_bittorrents(51413));
    }

    #[test]
    fn every_privileged_port_is_a_service() {
        assert!((0..1024).all(|port| service(port).is_some()));
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
