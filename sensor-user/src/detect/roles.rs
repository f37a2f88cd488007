//! What a host is, as far as its conversations show: the hosts that look like a torrent client and are none,
//! each recognised by a stated rule.
//!
//! A role never silences a detector by itself: what keeps such a host from being named are the rules about
//! single contacts (its ports are services, its clients came to it, ...). A role says which of them are at
//! work, for whoever reads an alert or wonders why there is none.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt, net::IpAddr};

use foldhash::fast::RandomState;

use super::ports::Service;
use crate::clock::Timestamp;

/// So many contacts of late make a role: with fewer peers nobody is taken for a torrent host.
const LOOK_ALIKE: u16 = 8;
/// So many contacts of late make many: one a second and more.
const MANY: u16 = 300;
/// A gateway's hosts use so many services.
const GATEWAY_SERVICES: u16 = 3;
/// Monitoring polls so many services of local hosts ...
const POLLED: u16 = 30;
/// ... of which so many in a hundred answer.
const POLLED_ANSWERING: u32 = 80;

/// A class of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// Asks many name servers.
    Resolver,
    /// Delivers to many mail servers.
    Mail,
    /// Asks many time servers.
    Time,
    /// Makes calls or meets: it asked STUN where it can be reached.
    Call,
    /// Relays for Tor.
    Tor,
    /// A node of a blockchain or of IPFS.
    Blockchain,
    /// Fetches updates or games from peers on their usual ports.
    Delivery,
    /// Signals calls to many.
    Telephony,
    /// Holds tunnels with many.
    Tunnel,
    /// Browses the web.
    Browser,
    /// Visits so much of the web, and nothing else, that no person does.
    Crawler,
    /// Polls services of local hosts.
    Monitoring,
    /// Speaks for many hosts.
    Gateway,
    /// Is contacted by clients, and answers.
    Server,
    /// Contacts peers that all have the same port, which is no service's.
    FixedPortPeer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 15] = [
        Self::Resolver,
        Self::Mail,
        Self::Time,
        Self::Call,
        Self::Tor,
        Self::Blockchain,
        Self::Delivery,
        Self::Telephony,
        Self::Tunnel,
        Self::Browser,
        Self::Crawler,
        Self::Monitoring,
        Self::Gateway,
        Self::Server,
        Self::FixedPortPeer,
    ];

    /// The name in evidence, metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolver => "resolver",
            Self::Mail => "mail",
            Self::Time => "time",
            Self::Call => "call",
            Self::Tor => "tor",
            Self::Blockchain => "blockchain",
            Self::Delivery => "delivery",
            Self::Telephony => "telephony",
            Self::Tunnel => "tunnel",
            Self::Browser => "browser",
            Self::Crawler => "crawler",
            Self::Monitoring => "monitoring",
            Self::Gateway => "gateway",
            Self::Server => "server",
            Self::FixedPortPeer => "fixed_port_peer",
        }
    }

    /// What the rules behind it do to the torrent verdict.
    #[must_use]
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Resolver
            | Self::Mail
            | Self::Time
            | Self::Tor
            | Self::Blockchain
            | Self::Delivery
            | Self::Telephony
            | Self::Tunnel
            | Self::Browser => "these ports are no evidence",
            Self::Crawler | Self::Gateway => {
                "these ports are no evidence, and all thresholds grow with the rate of such contacts"
            }
            Self::Call => "UDP from the socket that spoke to STUN weighs a quarter",
            Self::Monitoring => "local hosts are no peers",
            Self::Server => {
                "clients are no evidence, and bar the alert where nearly all at their socket are answered"
            }
            Self::FixedPortPeer => "a popular port is no evidence, and bars the alert where it is the rule",
        }
    }

    /// The role of whoever contacts many hosts over a service that makes one by itself.
    const fn of(service: Service) -> Option<Self> {
        Some(match service {
            Service::Names => Self::Resolver,
            Service::Mail => Self::Mail,
            Service::Time => Self::Time,
            Service::Tor => Self::Tor,
            Service::Blockchain => Self::Blockchain,
            Service::Delivery => Self::Delivery,
            Service::Telephony => Self::Telephony,
            Service::Tunnel => Self::Tunnel,
            _ => return None,
        })
    }
}

/// A role that a source has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Which.
    pub role: Role,
    /// Since when without a break, as far as it was looked at.
    pub since: Timestamp,
    /// The numbers that show it.
    pub because: Because,
}

/// The numbers that show a role. They are put into words for whoever asks: all of them are kept for every
/// source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// New peers over the services of the role.
    Peers(Role, u16),
    /// New peers, and the number of services.
    Services(u32, u16),
    /// A socket spoke to STUN.
    Stun,
    /// Services of local hosts that it contacted, and how many of them answered.
    Polled(u16, u16),
    /// Conversations of clients that it answered, and their most frequent port.
    Clients(u16, Option<u16>),
    /// New peers on a shared port, and the most frequent one.
    SharedPort(u16, Option<u16>),
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mostly =
            |port: Option<u16>| port.map_or_else(String::new, |port| format!(", mostly port {port}"));
        match *self {
            Self::Peers(role, count) => write!(f, "{count} new {}", peers_of(role)),
            Self::Services(peers, services) => write!(f, "{peers} new peers of {services} services"),
            Self::Stun => f.write_str("a UDP socket spoke to STUN within five minutes"),
            Self::Polled(polled, answered) => {
                write!(f, "{polled} services of local hosts, of which {answered} answered")
            }
            Self::Clients(clients, port) => {
                write!(f, "answered {clients} conversations of clients{}", mostly(port))
            }
            Self::SharedPort(peers, port) => write!(f, "{peers} new peers on a shared port{}", mostly(port)),
        }
    }
}

/// What is contacted by whoever has a role.
const fn peers_of(role: Role) -> &'static str {
    match role {
        Role::Resolver => "name servers",
        Role::Mail => "mail servers",
        Role::Time => "time servers",
        Role::Tor => "hosts on the ports of Tor relays",
        Role::Blockchain => "hosts on the ports of blockchain and IPFS nodes",
        Role::Delivery => "hosts on the ports of Delivery Optimization or games",
        Role::Telephony => "hosts on the ports of SIP",
        Role::Tunnel => "hosts on the ports of tunnels",
        Role::Browser => "web servers",
        Role::Crawler => "web servers and hardly anything else",
        Role::Call | Role::Monitoring | Role::Gateway | Role::Server | Role::FixedPortPeer => "peers",
    }
}

/// What a source does of late: counts that all halve every [`HALVING_SECONDS`](Self::HALVING_SECONDS).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// New peers by service.
    services: [u16; Service::ALL.len()],
    /// Conversations with services that were under way when first seen.
    standing: u16,
    /// Contacts with services of local hosts, and those of them that were answered.
    polled: (u16, u16),
    /// Conversations that others opened with it and that it answered, and their most frequent port.
    clients: u16,
    client_port: Majority,
    /// New peers on a popular port, and the most frequent one.
    popular: u16,
    popular_port: Majority,
    halved: u32,
}

/// The value that makes up more than half of a stream, if one does (Boyer and Moore's vote).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Majority {
    port: u16,
    votes: u16,
}

impl Majority {
    const fn vote(&mut self, port: u16) {
        if self.votes == 0 {
            *self = Self { port, votes: 1 };
        } else if self.port == port {
            self.votes = self.votes.saturating_add(1);
        } else {
            self.votes -= 1;
        }
    }

    fn elected(self) -> Option<u16> {
        (self.votes > 0).then_some(self.port)
    }
}

impl Habits {
    /// After this many seconds a contact counts half.
    pub const HALVING_SECONDS: u32 = 300;

    /// Counts a new peer on a service's port.
    pub fn count(&mut self, service: Service, second: u32) {
        self.halve(second);
        let count = &mut self.services[service as usize];
        *count = count.saturating_add(1);
    }

    /// Counts one conversation with a service that was under way when first seen.
    pub fn count_standing(&mut self, second: u32) {
        self.halve(second);
        self.standing = self.standing.saturating_add(1);
    }

    /// Counts a contact with a service of a local host.
    pub fn count_polled(&mut self, second: u32) {
        self.halve(second);
        self.polled.0 = self.polled.0.saturating_add(1);
    }

    /// Counts an answer to such a contact.
    pub fn count_polled_answer(&mut self, second: u32) {
        self.halve(second);
        self.polled.1 = self.polled.1.saturating_add(1);
    }

    /// Counts a conversation that another opened on `port` of this source, and that it answered.
    pub fn count_client(&mut self, port: u16, second: u32) {
        self.halve(second);
        self.clients = self.clients.saturating_add(1);
        self.client_port.vote(port);
    }

    /// Counts a new peer on a port that is popular with this source.
    pub fn count_popular(&mut self, port: u16, second: u32) {
        self.halve(second);
        self.popular = self.popular.saturating_add(1);
        self.popular_port.vote(port);
    }

    /// Conversations with services that were under way when first seen of late.
    #[must_use]
    pub const fn standing(&self) -> u16 {
        self.standing
    }

    /// The roles that these habits show as of `second`, with the numbers. `calls`: whether a socket of it
    /// spoke to STUN of late.
    #[must_use]
    pub fn roles(mut self, second: u32, calls: bool) -> Vec<(Role, Because)> {
        self.halve(second);
        let mut roles = Vec::new();
        for (service, count) in Service::ALL.into_iter().zip(self.services) {
            if let Some(role) = Role::of(service).filter(|_| count >= LOOK_ALIKE) {
                roles.push((role, Because::Peers(role, count)));
            }
        }
        if calls {
            roles.push((Role::Call, Because::Stun));
        }
        roles.extend(self.of_many());
        let (polled, answered) = self.polled;
        if polled >= POLLED && u32::from(answered) * 100 >= u32::from(polled) * POLLED_ANSWERING {
            roles.push((Role::Monitoring, Because::Polled(polled, answered)));
        }
        if self.clients >= LOOK_ALIKE {
            roles.push((Role::Server, Because::Clients(self.clients, self.client_port.elected())));
        }
        if self.popular >= LOOK_ALIKE {
            let because = Because::SharedPort(self.popular, self.popular_port.elected());
            roles.push((Role::FixedPortPeer, because));
        }
        roles
    }

    /// Browser, crawler or gateway: by how much, and whether it is the web alone.
    fn of_many(&self) -> Option<(Role, Because)> {
        let web = self.services[Service::Web as usize];
        let all: u32 = self.services.iter().copied().map(u32::from).sum();
        let used: u16 = self.services.iter().map(|count| u16::from(*count >= LOOK_ALIKE)).sum();
        if all >= u32::from(MANY) && used >= GATEWAY_SERVICES {
            return Some((Role::Gateway, Because::Services(all, used)));
        }
        let role = match web {
            MANY.. => Role::Crawler,
            LOOK_ALIKE.. => Role::Browser,
            _ => return None,
        };
        Some((role, Because::Peers(role, web)))
    }

    fn halve(&mut self, second: u32) {
        let halvings = second.saturating_sub(self.halved) / Self::HALVING_SECONDS;
        if halvings > 0 {
            let Self { services, standing, polled, clients, client_port, popular, popular_port, halved } =
                self;
            let others = [
                standing,
                &mut polled.0,
                &mut polled.1,
                clients,
                &mut client_port.votes,
                popular,
                &mut popular_port.votes,
            ];
            for count in services.iter_mut().chain(others) {
                *count = count.checked_shr(halvings).unwrap_or(0);
            }
            *halved += halvings * Self::HALVING_SECONDS;
        }
    }
}

/// Who has which roles, and since when.
#[derive(Debug, Default)]
pub struct Roles(HashMap<IpAddr, Vec<Recognised>, RandomState>);

impl Roles {
    /// What one source takes in bytes at most, in a table of which at least 7 in 16 places are taken: of
    /// browser, crawler and gateway nobody is more than one.
    pub const BYTES_PER_SOURCE: usize = (size_of::<(IpAddr, Vec<Recognised>)>() + 1) * 16 / 7
        + (Role::ALL.len() - 2) * size_of::<Recognised>();

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let held: usize = self.0.values().map(|roles| size_of_val(roles.as_slice())).sum();
        self.0.len() * size_of::<(IpAddr, Vec<Recognised>)>() + held
    }

    /// The roles of a source as of the last [`recognise`](Self::recognise).
    #[must_use]
    pub fn of(&self, source: IpAddr) -> &[Recognised] {
        self.0.get(&source).map_or(&[], Vec::as_slice)
    }

    /// With their beginnings, as far as `source` had them before.
    #[must_use]
    pub fn since(&self, source: IpAddr, found: Vec<(Role, Because)>, now: Timestamp) -> Vec<Recognised> {
        let before = self.of(source);
        let recognised = |(role, because)| {
            let known = before.iter().find(|known| known.role == role);
            Recognised { role, since: known.map_or(now, |known| known.since), because }
        };
        found.into_iter().map(recognised).collect()
    }

    /// Takes the roles of all sources as of `now` in place of those before.
    pub fn recognise(&mut self, found: impl Iterator<Item = (IpAddr, Vec<(Role, Because)>)>, now: Timestamp) {
        let found = found.filter(|(_, roles)| !roles.is_empty());
        let next = found.map(|(source, roles)| (source, self.since(source, roles, now))).collect();
        self.0 = next;
    }
}
