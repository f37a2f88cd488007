//! Traffic made for tests: streams of observations as a drain would bring them, one function for each
//! kind of host. Every stream is the same each time.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{Detectors, settings::Settings};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    flow::Protocol,
    interval::SourceInterval,
    networks::{Direction, LocalNetworks},
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
};

/// When all streams begin.
pub const START: Timestamp = Timestamp::from_secs(1_700_000_000);
/// The host that most streams are about.
pub const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

/// What happens after a first contact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    Answer,
    Refusal,
    Unreachable,
    Silence,
}

/// Observations in the making.
pub struct Traffic {
    random: u64,
    networks: LocalNetworks,
    seen: HashSet<Trifecta>,
    pairs: HashSet<(IpAddr, IpAddr)>,
    observations: Vec<Observation>,
}

impl Traffic {
    pub fn new(seed: u64) -> Self {
        Self {
            random: seed,
            networks: LocalNetworks::default(),
            seen: HashSet::new(),
            pairs: HashSet::new(),
            observations: Vec::new(),
        }
    }

    /// The next of a sequence that looks random (Steele et al., *Fast splittable pseudorandom number
    /// generators*).
    pub fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).unwrap()
    }

    pub fn port(&mut self, from: u16) -> u16 {
        from + u16::try_from(self.below(u32::from(u16::MAX - from))).unwrap()
    }

    /// An ephemeral port of Linux.
    pub fn ephemeral(&mut self) -> u16 {
        32_768 + u16::try_from(self.below(28_000)).unwrap()
    }

    /// An address anywhere on the IPv4 Internet.
    pub fn anywhere(&mut self) -> IpAddr {
        loop {
            let address = Ipv4Addr::from_bits(self.below(u32::MAX));
            let first = address.octets()[0];
            if (1..224).contains(&first)
                && ![10, 127].contains(&first)
                && !address.is_private()
                && !address.is_link_local()
            {
                return address.into();
            }
        }
    }

    /// An address anywhere on the IPv6 Internet.
    pub fn anywhere6(&mut self) -> IpAddr {
        let bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        Ipv6Addr::from_bits((bits >> 3) | (1 << 125)).into()
    }

    /// A first contact at `seconds` after the start, and what follows 80 ms later.
    pub fn contact(
        &mut self,
        seconds: f64,
        (initiator, initiator_port): (IpAddr, u16),
        (responder, port): (IpAddr, u16),
        protocol: Protocol,
        after: After,
    ) {
        let time = at(seconds);
        let trifecta = Trifecta { initiator, responder, port, protocol };
        if !self.seen.insert(trifecta) {
            return;
        }
        let direction = self.networks.direction(initiator, responder);
        let new_pair = self.pairs.insert((initiator.min(responder), initiator.max(responder)));
        let external = matches!(direction, Direction::Outbound | Direction::Inbound);
        let new_peer = new_pair && external;
        let opening = Opening::New;
        self.observations.push(Observation::Contact(Contact {
            time,
            trifecta,
            initiator_port,
            direction,
            opening,
            new_peer,
        }));
        let outcome = match after {
            After::Silence => return,
            After::Answer => Outcome::Answered,
            After::Refusal => Outcome::Refused,
            After::Unreachable => Outcome::Unreachable,
        };
        let time = time.plus(Duration::from_millis(80));
        let response = Response { time, trifecta, initiator_port, direction, outcome };
        self.observations.push(Observation::Response(response));
    }

    /// A TCP conversation that was under way.
    pub fn standing(&mut self, seconds: f64, local: (IpAddr, u16), remote: (IpAddr, u16)) {
        let trifecta =
            Trifecta { initiator: local.0, responder: remote.0, port: remote.1, protocol: Protocol::TCP };
        self.observations.push(Observation::Contact(Contact {
            time: at(seconds),
            trifecta,
            initiator_port: local.1,
            direction: Direction::Outbound,
            opening: Opening::MidStream,
            new_peer: true,
        }));
    }

    /// The same, of which both directions are seen: what came back, 80 ms later.
    pub fn standing_with(
        &mut self,
        seconds: f64,
        local: (IpAddr, u16),
        remote: (IpAddr, u16),
        back: Outcome,
    ) {
        self.standing(seconds, local, remote);
        let Some(Observation::Contact(contact)) = self.observations.last().copied() else {
            unreachable!("it was just added");
        };
        let Contact { trifecta, initiator_port, direction, .. } = contact;
        let time = contact.time.plus(Duration::from_millis(80));
        let response = Response { time, trifecta, initiator_port, direction, outcome: back };
        self.observations.push(Observation::Response(response));
    }

    /// One of `percent` in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// The observations in the order of time.
    pub fn finish(mut self) -> Vec<Observation> {
        self.observations.sort_by_key(Observation::time);
        self.observations
    }
}

pub fn at(seconds: f64) -> Timestamp {
    START.plus(Duration::from_secs_f64(seconds))
}

/// Feeds observations in drains of a second, and `idle` more seconds without any.
pub fn run(detectors: &mut Detectors, observations: &[Observation], idle: u64) -> Vec<Finding> {
    let second = Duration::from_secs(1);
    let mut findings = Vec::new();
    let mut end = START.plus(second);
    for observation in observations {
        while observation.time() >= end {
            detectors.advance(end, &mut findings);
            end = end.plus(second);
        }
        detectors.observe(std::slice::from_ref(observation));
    }
    for _ in 0..=idle {
        detectors.advance(end, &mut findings);
        end = end.plus(second);
    }
    findings
}

/// What fired, of which source, in order, for traffic that `make` makes; a minute of silence at the end.
pub fn fired(make: impl Fn(&mut Traffic)) -> Vec<(AlertKind, IpAddr)> {
    fired_with(&Settings::default(), make)
}

pub fn fired_with(settings: &Settings, make: impl Fn(&mut Traffic)) -> Vec<(AlertKind, IpAddr)> {
    findings(settings, make)
        .into_iter()
        .filter(|finding| finding.state == AlertState::Firing)
        .map(|finding| (finding.kind, finding.source))
        .collect()
}

pub fn findings(settings: &Settings, make: impl Fn(&mut Traffic)) -> Vec<Finding> {
    let mut traffic = Traffic::new(1);
    make(&mut traffic);
    run(&mut Detectors::new(settings), &traffic.finish(), 60)
}

/// A swarm as a client meets it.
#[derive(Clone, Copy, Debug)]
pub struct Swarm {
    pub source: IpAddr,
    pub from: f64,
    pub peers: u32,
    pub per_second: f64,
    /// Share of the peers tried over TCP (the rest over UDP, one socket), in percent.
    pub tcp: u32,
    /// Share of the peers that answer, in percent.
    pub answering: u32,
    pub ipv6: bool,
    /// Share of the peers on port 443, in percent.
    pub on_443: u32,
}

impl Default for Swarm {
    fn default() -> Self {
        Self {
            source: HOST,
            from: 5.0,
            peers: 100,
            per_second: 10.0,
            tcp: 40,
            answering: 40,
            ipv6: false,
            on_443: 0,
        }
    }
}

impl Swarm {
    pub fn play(self, traffic: &mut Traffic) {
        for number in 0..self.peers {
            let seconds = self.from + f64::from(number) / self.per_second;
            let peer = if self.ipv6 { traffic.anywhere6() } else { traffic.anywhere() };
            // A fifth of all clients keeps the default port.
            let port = match (traffic.chance(self.on_443), traffic.chance(15)) {
                (true, _) => 443,
                (false, true) => 6881,
                (false, false) => traffic.port(10_000),
            };
            let after = match (traffic.chance(self.answering), traffic.chance(25)) {
                (true, _) => After::Answer,
                (false, true) => After::Refusal,
                (false, false) => After::Silence,
            };
            let tcp = traffic.chance(self.tcp);
            let (protocol, local_port) =
                if tcp { (Protocol::TCP, traffic.ephemeral()) } else { (Protocol::UDP, 8_999) };
            traffic.contact(seconds, (self.source, local_port), (peer, port), protocol, after);
        }
    }
}

/// Shows that the mirror has both directions: another host asks for a name and is answered.
pub fn both_ways(traffic: &mut Traffic) {
    let (host, server) = (address("10.0.0.9"), address("9.9.9.9"));
    traffic.contact(0.0, (host, 40_000), (server, 53), Protocol::UDP, After::Answer);
}

/// Browsing: `per_second` first contacts with web servers in the networks of a few operators.
pub fn browser(traffic: &mut Traffic, source: IpAddr, seconds: u32, per_second: u32) {
    for number in 0..seconds * per_second {
        let when = f64::from(number) / f64::from(per_second);
        let server = traffic.anywhere();
        let quic = traffic.chance(30);
        let protocol = if quic { Protocol::UDP } else { Protocol::TCP };
        let after = if traffic.chance(97) { After::Answer } else { After::Silence };
        let port = if traffic.chance(90) { 443 } else { 80 };
        let local_port = traffic.ephemeral();
        traffic.contact(when, (source, local_port), (server, port), protocol, after);
    }
}

/// A client or server of one port: mail, names, time, Tor, a blockchain.
pub fn one_port(traffic: &mut Traffic, port: u16, protocol: Protocol, peers: u32, answering: u32) {
    for number in 0..peers {
        let peer = traffic.anywhere();
        let after = if traffic.chance(answering) { After::Answer } else { After::Silence };
        let local_port = traffic.ephemeral();
        traffic.contact(f64::from(number) / 10.0, (HOST, local_port), (peer, port), protocol, after);
    }
}

/// A source in an interval: connections that are all answered on one port, and its mean and variance.
pub fn row(source: IpAddr, new_connections: u64, before: Option<(f64, f64)>) -> SourceInterval {
    SourceInterval {
        source,
        new_connections,
        new_tcp: new_connections,
        new_udp: 0,
        new_peers: new_connections,
        new_ports: 1,
        answered: new_connections,
        refused: 0,
        unreachable: 0,
        mid_stream: 0,
        active_trifectas: new_connections,
        trifecta_packets_variance: None,
        mean: before.map(|(mean, _)| mean),
        variance: before.map(|(_, variance)| variance),
        bytes_out: 0,
        bytes_in: 0,
        packets_out: 0,
        packets_in: 0,
        torrent_score: 0.0,
        roles: Vec::new(),
    }
}

/// Fixtures of addresses.
pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}
