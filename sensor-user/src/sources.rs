//! Statistics per local source: what it opened, whether that was answered, and how it compares with itself.

mod variance;

use std::{collections::HashSet, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;

use self::variance::{Deviation, Window};
use crate::{
    by_address::ByAddress,
    config::Config,
    flow::{Drain, Flow, Protocol},
    interval::SourceInterval,
    networks::LocalNetworks,
    observation::{Contact, Observation, Opening, Outcome},
    orient::{Oriented, OutcomeChange},
};

/// Every local source that was active within the window.
pub struct Sources {
    networks: LocalNetworks,
    table: ByAddress<Source>,
    window: usize,
    capacity: usize,
    /// Left out of the literal statistics.
    ignored_ports: HashSet<u16, RandomState>,
    untracked: u64,
    /// Where the search for an idle source goes on.
    hand: usize,
}

/// One source.
struct Source {
    current: Current,
    window: Window,
    /// Intervals without activity, up to now.
    idle: usize,
}

/// What one source did in the interval under way.
#[derive(Default)]
struct Current {
    active: bool,
    tcp: u64,
    udp: u64,
    other: u64,
    peers: u64,
    ports: Ports,
    answered: u64,
    refused: u64,
    unreachable: u64,
    mid_stream: u64,
    trifectas: u64,
    packets_per_trifecta: Deviation,
    bytes_out: u64,
    bytes_in: u64,
    packets_out: u64,
    packets_in: u64,
}

impl Sources {
    /// Knows no source yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            networks: config.local_networks.clone(),
            table: ByAddress::default(),
            window: config.window,
            capacity: config.capacity.sources,
            ignored_ports: config.ignored_ports.iter().copied().collect(),
            untracked: 0,
            hand: 0,
        }
    }

    /// Sources held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Sources held at most.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// What a source takes at most in bytes, where it contacts no more than a few ports an interval.
    #[must_use]
    pub const fn bytes_per_source(&self) -> usize {
        size_of::<Source>() + self.window * size_of::<f64>() + ByAddress::<Source>::BYTES_TO_FIND
    }

    /// Whether no source is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Flows of local sources that had no room in the table, since the start.
    #[must_use]
    pub const fn untracked(&self) -> u64 {
        self.untracked
    }

    /// Takes one drain into the interval under way.
    pub fn observe(&mut self, drain: &Drain, oriented: &Oriented) {
        for flow in &drain.flows {
            self.traffic(flow);
        }
        for observation in &oriented.observations {
            if let Observation::Contact(contact) = observation {
                self.contact(contact);
            }
        }
        for activity in &oriented.activities {
            if self.ignored_ports.contains(&activity.port) {
                continue;
            }
            let Some(current) = self.current(activity.source) else { continue };
            current.trifectas += u64::from(activity.first);
            current.packets_per_trifecta.grow(activity.before, activity.packets);
        }
        for &OutcomeChange { source, before, after } in &oriented.outcomes {
            let Some(current) = self.current(source) else { continue };
            if let Some(before) = before {
                *current.outcome(before) -= 1;
            }
            *current.outcome(after) += 1;
        }
    }

    fn traffic(&mut self, flow: &Flow) {
        if flow.packets == 0 {
            return;
        }
        if self.networks.contains(flow.id.src)
            && let Some(current) = self.current(flow.id.src)
        {
            current.packets_out += flow.packets;
            current.bytes_out += flow.bytes;
        }
        // An address becomes a source by sending: strangers knock at addresses where nobody is.
        if let Some(at) = self.table.find(flow.id.dst) {
            let source = self.table.state(at);
            source.current.active = true;
            source.current.packets_in += flow.packets;
            source.current.bytes_in += flow.bytes;
        }
    }

    fn contact(&mut self, contact: &Contact) {
        if !contact.direction.from_local() {
            return;
        }
        let Some(current) = self.current(contact.trifecta.initiator) else { return };
        if contact.opening == Opening::MidStream {
            current.mid_stream += 1;
            return;
        }
        match contact.trifecta.protocol {
            Protocol::TCP => current.tcp += 1,
            Protocol::UDP => current.udp += 1,
            _ => current.other += 1,
        }
        current.peers += u64::from(contact.new_peer);
        current.ports.insert(contact.trifecta.port);
    }

    fn current(&mut self, source: IpAddr) -> Option<&mut Current> {
        let at = if let Some(at) = self.table.find(source) {
            at
        } else {
            if self.table.len() >= self.capacity && !self.evict_idle() {
                self.untracked += 1;
                return None;
            }
            let window = Window::new(self.window);
            self.table.insert(source, Source { current: Current::default(), window, idle: 0 })
        };
        let state = self.table.state(at);
        state.current.active = true;
        Some(&mut state.current)
    }

    /// Makes room by forgetting a source that was idle in the last complete interval and in this one, if one
    /// of the next few is.
    fn evict_idle(&mut self) -> bool {
        const LOOK: usize = 16;
        for _ in 0..LOOK {
            self.hand = (self.hand + 1) % self.table.len().max(1);
            let idle = |(_, source): (_, &Source)| source.idle > 0 && !source.current.active;
            if self.table.at(self.hand).is_some_and(idle) {
                self.table.swap_remove(self.hand);
                return true;
            }
        }
        false
    }

    /// Closes the interval under way and begins the next. The busiest source comes first.
    ///
    /// `seconds` is its measured and `nominal` its configured length: what enters mean and variance is the
    /// count per nominal interval. The piece of an interval at either end of a capture enters them if it is
    /// at least half.
    pub fn close(&mut self, seconds: f64, nominal: Duration) -> Vec<SourceInterval> {
        let scale = nominal.as_secs_f64() / seconds.max(f64::MIN_POSITIVE);
        let whole = scale <= 2.0;
        let window = self.window;
        let mut rows: Vec<SourceInterval> = Vec::with_capacity(self.table.len());
        self.table.retain(|address, source| {
            source.idle = if source.current.active { 0 } else { source.idle + 1 };
            if whole {
                source.window.push(source.current.new_connections() as f64 * scale);
            }
            rows.push(source.row(address));
            source.current.clear();
            source.idle < window
        });
        rows.sort_by(|a, b| b.new_connections.cmp(&a.new_connections).then_with(|| a.source.cmp(&b.source)));
        rows
    }
}

impl Source {
    fn row(&self, source: IpAddr) -> SourceInterval {
        let current = &self.current;
        SourceInterval {
            source,
            new_connections: current.new_connections(),
            new_tcp: current.tcp,
            new_udp: current.udp,
            new_peers: current.peers,
            new_ports: current.ports.len() as u64,
            answered: current.answered,
            refused: current.refused,
            unreachable: current.unreachable,
            mid_stream: current.mid_stream,
            active_trifectas: current.trifectas,
            trifecta_packets_variance: current.packets_per_trifecta.population_variance(),
            mean: self.window.mean(),
            variance: self.window.sample_variance(),
            bytes_out: current.bytes_out,
            bytes_in: current.bytes_in,
            packets_out: current.packets_out,
            packets_in: current.packets_in,
            torrent_score: 0.0,
            roles: Vec::new(),
        }
    }
}

impl Current {
    const fn new_connections(&self) -> u64 {
        self.tcp + self.udp + self.other
    }

    const fn outcome(&mut self, outcome: Outcome) -> &mut u64 {
        match outcome {
            Outcome::Answered => &mut self.answered,
            Outcome::Refused => &mut self.refused,
            Outcome::Unreachable => &mut self.unreachable,
        }
    }

    /// Empties it, keeping the memory of the ports.
    fn clear(&mut self) {
        let mut ports = std::mem::take(&mut self.ports);
        ports.clear();
        *self = Self { ports, ..Self::default() };
    }
}

/// Distinct ports. Most sources contact few in an interval: those lie in place, and only more take memory of
/// their own.
#[derive(Debug, Default)]
struct Ports {
    few: [u16; Self::FEW],
    len: u8,
    more: HashSet<u16, RandomState>,
}

impl Ports {
    const FEW: usize = 11;
    /// Of the memory of many ports, what is kept for the next interval.
    const KEEP: usize = 256;

    fn insert(&mut self, port: u16) {
        let len = usize::from(self.len);
        if self.few[..len].contains(&port) {
            return;
        }
        if len < Self::FEW {
            self.few[len] = port;
            self.len += 1;
        } else {
            self.more.insert(port);
        }
    }

    fn len(&self) -> usize {
        usize::from(self.len) + self.more.len()
    }

    fn clear(&mut self) {
        self.len = 0;
        self.more.clear();
        self.more.shrink_to(Self::KEEP);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ports_are_counted_once(
            drains in prop::collection::vec(prop::collection::vec(0u16..40, 0..60), 1..4),
        ) {
            let mut ports = Ports::default();
            for drain in drains {
                for port in &drain {
                    ports.insert(*port);
                }
                prop_assert_eq!(ports.len(), drain.iter().collect::<BTreeSet<_>>().len());
                ports.clear();
            }
        }
    }
}
