//! Statistics per local source: what it opened, whether that was answered, and how it compares with itself.

mod variance;

use std::{collections::HashSet, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use self::variance::{Deviation, Window};
use crate::{
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
    table: IndexMap<IpAddr, Source, RandomState>,
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
    ports: HashSet<u16, RandomState>,
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
            table: IndexMap::default(),
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

    /// What a source takes in bytes with what finds it, without its set of ports.
    #[must_use]
    pub const fn bytes_per_source(&self) -> usize {
        size_of::<(usize, IpAddr, Source)>() + size_of::<usize>() + self.window * size_of::<f64>()
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
        if let Some(source) = self.table.get_mut(&flow.id.dst) {
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
        if self.table.len() >= self.capacity && !self.table.contains_key(&source) && !self.evict_idle() {
            self.untracked += 1;
            return None;
        }
        let state = match self.table.entry(source) {
            indexmap::map::Entry::Occupied(entry) => entry.into_mut(),
            indexmap::map::Entry::Vacant(entry) => entry.insert(Source {
                current: Current::default(),
                window: Window::new(self.window),
                idle: 0,
            }),
        };
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
            if self.table.get_index(self.hand).is_some_and(idle) {
                self.table.swap_remove_index(self.hand);
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
        self.table.retain(|&address, source| {
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

    /// Empties it, keeping the memory of the port set unless a scan made it large.
    fn clear(&mut self) {
        const KEEP: usize = 256;
        let mut ports = std::mem::take(&mut self.ports);
        ports.clear();
        ports.shrink_to(KEEP);
        *self = Self { ports, ..Self::default() };
    }
}
