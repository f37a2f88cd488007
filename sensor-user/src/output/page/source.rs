//! One source in detail: its timeline, and to whom and which ports it opened connections lately.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;

use super::{json, milliseconds, per_second, round, sources::Source};
use crate::{
    detect::roles,
    flow::Protocol,
    observation::{Outcome, Trifecta},
    output::snapshot::{
        OwnSource, Snapshot,
        history::{PERIOD, Point, RecentContact},
    },
};

/// Rows of each table.
const ROWS: usize = 12;
/// Ports named beside a peer.
const PORTS: usize = 3;

/// The source at `address` as JSON; none for one without a place.
#[must_use]
pub fn source(snapshot: &Snapshot, address: IpAddr) -> Option<String> {
    let own = snapshot.sources.own.iter().find(|own| own.source == address)?;
    Some(json(&Detail::of(own, snapshot)))
}

#[derive(Serialize)]
struct Detail {
    #[serde(flatten)]
    row: Source,
    /// When all of this was so.
    time: u64,
    /// Length of an interval in seconds.
    seconds: f64,
    bytes_out: u64,
    bytes_in: u64,
    /// What it is, as far as it was recognised in the last interval.
    roles: Vec<Recognised>,
    timeline: Vec<Moment>,
    /// New connections that the tops are made of,
    recent: usize,
    /// and when the first of them was.
    recent_since: Option<u64>,
    outcomes: Outcomes,
    distinct_peers: usize,
    distinct_ports: usize,
    top_peers: Vec<Peer>,
    top_ports: Vec<Port>,
}

/// One thing that it is.
#[derive(Serialize)]
struct Recognised {
    role: &'static str,
    since: u64,
    because: String,
    /// What that does to the torrent verdict.
    effect: &'static str,
}

/// A point of the timeline; rates are new connections a second.
#[derive(Serialize)]
struct Moment {
    /// Its end.
    time: u64,
    rate: f64,
    answered: f64,
    mean: Option<f64>,
    deviation: Option<f64>,
    score: f64,
}

/// What came of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Outcomes {
    answered: u64,
    refused: u64,
    unreachable: u64,
    /// Nothing came so far.
    silent: u64,
}

#[derive(Serialize)]
struct Peer {
    #[serde(rename = "peer")]
    address: IpAddr,
    connections: u64,
    /// Some of the ports, each with its protocols.
    ports: Vec<String>,
    more_ports: usize,
    #[serde(flatten)]
    outcomes: Outcomes,
    last: u64,
}

#[derive(Serialize)]
struct Port {
    #[serde(rename = "port")]
    number: u16,
    protocol: String,
    connections: u64,
    peers: usize,
    #[serde(flatten)]
    outcomes: Outcomes,
}

impl Detail {
    fn of(own: &OwnSource, snapshot: &Snapshot) -> Self {
        let seconds = snapshot.interval.as_ref().map_or(0.0, |interval| interval.seconds);
        let contacts: Vec<(&Trifecta, &RecentContact)> =
            own.recent.iter().filter(|(_, contact)| snapshot.time.since(contact.time) < PERIOD).collect();
        let mut outcomes = Outcomes::default();
        for (_, contact) in &contacts {
            outcomes.add(contact.outcome);
        }
        let (peers, ports) = (peers(&contacts), ports(&contacts));
        Self {
            row: Source::of(own, snapshot),
            time: milliseconds(snapshot.time),
            seconds: round(seconds),
            bytes_out: own.totals.bytes_out,
            bytes_in: own.totals.bytes_in,
            roles: own.interval.iter().flat_map(|interval| &interval.roles).map(Recognised::of).collect(),
            timeline: own.history.points().map(|point| Moment::of(point, seconds)).collect(),
            recent: contacts.len(),
            recent_since: contacts.iter().map(|(_, contact)| milliseconds(contact.time)).min(),
            outcomes,
            distinct_peers: peers.len(),
            distinct_ports: ports.len(),
            top_peers: peers.into_iter().take(ROWS).collect(),
            top_ports: ports.into_iter().take(ROWS).collect(),
        }
    }
}

impl Recognised {
    fn of(one: &roles::Recognised) -> Self {
        let roles::Recognised { role, since, because } = one;
        let (role, effect) = (role.name(), role.effect());
        Self { role, since: milliseconds(*since), because: because.to_string(), effect }
    }
}

impl Moment {
    fn of(point: &Point, interval: f64) -> Self {
        Self {
            time: milliseconds(point.end),
            rate: per_second(point.new_connections as f64, point.seconds),
            answered: per_second(point.answered as f64, point.seconds),
            mean: point.mean.map(|mean| per_second(mean, interval)),
            deviation: point.variance.map(|variance| per_second(variance.sqrt(), interval)),
            score: round(point.torrent_score),
        }
    }
}

impl Outcomes {
    const fn add(&mut self, outcome: Option<Outcome>) {
        match outcome {
            Some(Outcome::Answered) => self.answered += 1,
            Some(Outcome::Refused) => self.refused += 1,
            Some(Outcome::Unreachable) => self.unreachable += 1,
            None => self.silent += 1,
        }
    }
}

/// Peers, those with most new connections first, of equals the latest first.
fn peers(contacts: &[(&Trifecta, &RecentContact)]) -> Vec<Peer> {
    #[derive(Default)]
    struct Tally {
        outcomes: Outcomes,
        connections: u64,
        ports: BTreeMap<u16, BTreeSet<Protocol>>,
        last: u64,
    }
    let mut tallies: BTreeMap<IpAddr, Tally> = BTreeMap::new();
    for (trifecta, contact) in contacts {
        let tally = tallies.entry(trifecta.responder).or_default();
        tally.outcomes.add(contact.outcome);
        tally.connections += 1;
        tally.ports.entry(trifecta.port).or_default().insert(trifecta.protocol);
        tally.last = tally.last.max(milliseconds(contact.time));
    }
    let mut peers: Vec<Peer> = tallies
        .into_iter()
        .map(|(address, Tally { outcomes, connections, ports, last })| Peer {
            address,
            connections,
            more_ports: ports.len().saturating_sub(PORTS),
            ports: ports.iter().take(PORTS).map(|(port, protocols)| port_name(*port, protocols)).collect(),
            outcomes,
            last,
        })
        .collect();
    peers.sort_by_key(|peer| (Reverse(peer.connections), Reverse(peer.last)));
    peers
}

/// As in `6881/tcp,udp`.
fn port_name(port: u16, protocols: &BTreeSet<Protocol>) -> String {
    let protocols: Vec<String> = protocols.iter().map(Protocol::to_string).collect();
    format!("{port}/{}", protocols.join(","))
}

/// Ports, those with most new connections first.
fn ports(contacts: &[(&Trifecta, &RecentContact)]) -> Vec<Port> {
    let mut tallies: BTreeMap<(u16, Protocol), (Outcomes, BTreeSet<IpAddr>, u64)> = BTreeMap::new();
    for (trifecta, contact) in contacts {
        let (outcomes, peers, count) = tallies.entry((trifecta.port, trifecta.protocol)).or_default();
        outcomes.add(contact.outcome);
        peers.insert(trifecta.responder);
        *count += 1;
    }
    let mut ports: Vec<Port> = tallies
        .into_iter()
        .map(|((number, protocol), (outcomes, peers, connections))| Port {
            number,
            protocol: protocol.to_string(),
            connections,
            peers: peers.len(),
            outcomes,
        })
        .collect();
    ports.sort_by_key(|port| Reverse(port.connections));
    ports
}
