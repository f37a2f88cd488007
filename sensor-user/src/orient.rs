//! Orientation: which end of a flow opened the conversation, whether that is new, and what came back.
//!
//! Takes the directional flows of a drain, yields observations in the order of time and the activity of
//! trifectas. The rules, in this order:
//!
//! 1. TCP says it itself: the sender of SYN initiates, the sender of SYN+ACK responds.
//! 2. What is remembered stays as it is: a flow that continues a known trifecta, or answers it, opens nothing.
//!    A trifecta does not name the initiator's port, so this holds for all of its ports: what a local port sends to
//!    another port of an end that had opened a conversation to it counts as an answer.
//! 3. Without a handshake (UDP, SCTP, UDP-Lite) the first to speak initiates. Frames of the two directions may be
//!    counted on different CPUs and so a little out of order: within [`SERVICE_BIAS`] the end with the well-known
//!    port responds.
//! 4. TCP without its handshake is *mid-stream*: it is oriented by an estimate and never new.

mod memory;

use std::{collections::HashMap, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use sensor_common::packet::Marks;

pub use self::memory::{Memory, Seen};
use crate::{
    clock::Timestamp,
    config::Config,
    flow::{Drain, Flow, Protocol},
    networks::{Direction, LocalNetworks},
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
};

/// How long a pair of local and external address must be silent for the next contact to be a new peer's.
pub const PEER_MEMORY: Duration = Duration::from_mins(10);

/// How far apart request and answer are trusted to be in the order of their stamps, where a well-known port says
/// otherwise: CPUs handle received frames in batches, which takes up to some hundred microseconds.
pub const SERVICE_BIAS: Duration = Duration::from_millis(1);

/// Ports below are well known (RFC 6335 section 6): their owner responds.
const WELL_KNOWN: u16 = 1024;

/// Distinct remote ends at which a local port looks like a service in mid-stream TCP.
const SERVICE_PEERS: u32 = 3;

/// Drains in the course of which the memories are swept once.
const SWEEP_SHARE: usize = 300;

/// What is remembered of a trifecta.
#[derive(Clone, Copy, Debug)]
struct Conversation {
    initiator_port: u16,
    opening: Opening,
    outcome: Option<Outcome>,
    /// Interval of the first sight.
    opened: u32,
    /// Interval that `packets` is of.
    interval: u32,
    /// Frames from the initiator in that interval.
    packets: u64,
}

/// Frames of one trifecta in one drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    /// The local initiator.
    pub source: IpAddr,
    /// The responder's port.
    pub port: u16,
    /// Frames from the initiator earlier in this interval.
    pub before: u64,
    /// Frames from the initiator in this drain.
    pub packets: u64,
    /// Whether this is the trifecta's first activity in this interval.
    pub first: bool,
}

/// A response, with what the statistics of the interval need to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeChange {
    /// The local initiator.
    pub source: IpAddr,
    /// What was known before.
    pub before: Option<Outcome>,
    /// What is known now.
    pub after: Outcome,
}

/// Everything orientation learned from one drain.
#[derive(Debug, Default)]
pub struct Oriented {
    /// In the order of time.
    pub observations: Vec<Observation>,
    /// Of trifectas with a local initiator.
    pub activities: Vec<Activity>,
    /// Of new connections of this interval with a local initiator.
    pub outcomes: Vec<OutcomeChange>,
}

/// Fill of one memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// Its name in metrics.
    pub name: &'static str,
    /// Entries held.
    pub entries: usize,
    /// Entries at most.
    pub capacity: usize,
    /// Entries forgotten early since the start.
    pub evicted: u64,
}

/// Turns flows into observations; remembers trifectas and peers.
pub struct Orientation {
    networks: LocalNetworks,
    /// Trifectas that a local address initiated.
    local: Memory<Trifecta, Conversation>,
    /// All others: a flood of strangers must not displace what is known of the admin's own hosts.
    foreign: Memory<Trifecta, Conversation>,
    peers: Memory<(IpAddr, IpAddr), ()>,
    handshakes: Handshakes,
    interval: u32,
    order: Vec<(u64, u32)>,
    oriented: Oriented,
}

/// The share of the first-seen memory that conversations with a foreign initiator get, as a divisor.
const FOREIGN_SHARE: usize = 4;

impl Orientation {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let trifectas = config.capacity.trifectas;
        let foreign = trifectas / FOREIGN_SHARE;
        let period = config.first_seen_memory;
        Self {
            networks: config.local_networks.clone(),
            local: Memory::new(period, trifectas - foreign),
            foreign: Memory::new(period, foreign),
            peers: Memory::new(PEER_MEMORY, config.capacity.peers),
            handshakes: Handshakes::default(),
            interval: 0,
            order: Vec::new(),
            oriented: Oriented::default(),
        }
    }

    /// Begins a new interval of the statistics.
    pub fn begin_interval(&mut self) {
        self.interval = self.interval.wrapping_add(1);
    }

    /// The observations of the last drain, in the order of time.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.oriented.observations
    }

    /// Fill of the memories.
    #[must_use]
    pub fn memory_use(&self) -> [MemoryUse; 3] {
        let one = |name, entries, capacity, evicted| MemoryUse { name, entries, capacity, evicted };
        let Self { local, foreign, peers, .. } = self;
        [
            one("trifectas_local", local.held(), local.capacity(), local.evicted()),
            one("trifectas_foreign", foreign.held(), foreign.capacity(), foreign.evicted()),
            one("peers", peers.held(), peers.capacity(), peers.evicted()),
        ]
    }

    /// Memory at full capacity in bytes.
    #[must_use]
    pub fn bytes_at_capacity(&self) -> usize {
        (self.local.capacity() + self.foreign.capacity())
            * Memory::<Trifecta, Conversation>::bytes_per_entry()
            + self.peers.capacity() * Memory::<(IpAddr, IpAddr), ()>::bytes_per_entry()
    }

    /// Orients the flows of a drain.
    pub fn orient(&mut self, drain: &Drain) -> &Oriented {
        let Oriented { observations, activities, outcomes } = &mut self.oriented;
        observations.clear();
        activities.clear();
        outcomes.clear();
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let positions = drain.flows.iter().zip(0u32..);
        order.extend(positions.map(|(flow, position)| (sort_key(flow), position)));
        order.sort_unstable();
        self.handshakes.look(&drain.flows, &self.networks);
        let shared = shared_ports(&drain.flows);
        for &(_, position) in &order {
            self.orient_flow(&drain.flows[position as usize], &shared);
        }
        self.refuse_all(&drain.flows);
        self.order = order;
        self.local.sweep(drain.end, SWEEP_SHARE);
        self.foreign.sweep(drain.end, SWEEP_SHARE);
        self.peers.sweep(drain.end, SWEEP_SHARE);
        self.oriented.observations.sort_by_key(Observation::time);
        &self.oriented
    }

    fn orient_flow(&mut self, flow: &Flow, shared: &SharedPorts) {
        let forward = trifecta(flow.id.src, flow.id.dst, flow.id.dst_port, flow.id.protocol);
        let reverse = trifecta(flow.id.dst, flow.id.src, flow.src_port, flow.id.protocol);
        let tcp = flow.id.protocol == Protocol::TCP;
        if flow.packets == 0 {
            self.respond(&forward, flow.first_seen, Outcome::Unreachable);
        } else if tcp && flow.marks.has(Marks::SYN) {
            self.sent(&forward, flow, Opening::New);
        } else if tcp && flow.marks.has(Marks::SYN_ACK) {
            if !self.is_unsolicited(&reverse, flow.first_seen) {
                self.answered(&reverse, flow, Opening::New);
            }
        } else if self.knows(&forward, flow.first_seen) {
            self.sent(&forward, flow, Opening::New);
        } else if self.knows(&reverse, flow.first_seen) {
            self.answered(&reverse, flow, Opening::New);
        } else if !flow.marks.has(Marks::SEGMENT) {
            // Later fragments of a conversation that is forgotten.
        } else if !tcp {
            self.sent(&forward, flow, Opening::New);
        } else if !only_reset(flow.marks) {
            if self.estimate(flow, shared) {
                self.sent(&forward, flow, Opening::MidStream);
            } else {
                self.answered(&reverse, flow, Opening::MidStream);
            }
        }
    }

    /// Whether a SYN+ACK for `trifecta` answers nothing: its SYN was not seen, on a mirror that shows SYNs of local
    /// hosts. Anyone can send such a frame to any local address, so it opens no conversation of that address. If
    /// there is one, what the address sends itself will tell.
    fn is_unsolicited(&mut self, trifecta: &Trifecta, now: Timestamp) -> bool {
        self.networks.contains(trifecta.initiator)
            && self.handshakes.shows_syn(now)
            && !self.knows(trifecta, now)
    }

    /// Who initiated a mid-stream conversation: true for the sender of `flow`.
    ///
    /// An estimate. The end with a well-known port responds. Else, between a local and an external address, the
    /// local one is taken for the initiator, unless several ends share its port, as they share a server's. Else
    /// the end with the lower port responds: services sit below the ports that systems hand out to clients.
    fn estimate(&self, flow: &Flow, shared: &SharedPorts) -> bool {
        let (from, to) = (flow.src_port, flow.id.dst_port);
        match (from < WELL_KNOWN, to < WELL_KNOWN) {
            (true, false) => return false,
            (false, true) => return true,
            _ => {}
        }
        match (self.networks.contains(flow.id.src), self.networks.contains(flow.id.dst)) {
            (true, false) => !shared.is_service(flow.id.src, from),
            (false, true) => shared.is_service(flow.id.dst, to),
            _ => to <= from,
        }
    }

    fn memory(&mut self, trifecta: &Trifecta) -> &mut Memory<Trifecta, Conversation> {
        if self.networks.contains(trifecta.initiator) { &mut self.local } else { &mut self.foreign }
    }

    fn knows(&mut self, trifecta: &Trifecta, now: Timestamp) -> bool {
        self.memory(trifecta).get(trifecta, now).is_some()
    }

    /// The initiator of `trifecta` sent `flow`.
    fn sent(&mut self, trifecta: &Trifecta, flow: &Flow, opening: Opening) {
        let opening = self.see(trifecta, flow, flow.src_port, opening, flow.packets);
        // On a mirror that shows no answers, an initiator that goes on after its SYN has got one. Where answers can
        // be seen they must be: a scanner may send what it likes.
        let goes_on = flow.id.protocol == Protocol::TCP && flow.marks.has(Marks::OTHER.with(Marks::FIN));
        if goes_on && opening == Opening::New && !self.handshakes.shows_syn_ack(flow.first_seen) {
            self.respond(trifecta, flow.first_seen, Outcome::Answered);
        } else if flow.marks.has(Marks::UNREACHABLE) {
            self.respond(trifecta, flow.first_seen, Outcome::Unreachable);
        }
    }

    /// The responder of `trifecta` sent `flow`. `opening` is what the trifecta is where it was not known.
    fn answered(&mut self, trifecta: &Trifecta, flow: &Flow, opening: Opening) {
        self.see(trifecta, flow, flow.id.dst_port, opening, 0);
        let outcome = if only_reset(flow.marks) { Outcome::Refused } else { Outcome::Answered };
        self.respond(trifecta, flow.first_seen, outcome);
    }

    /// Sees a trifecta; reports a contact if it is the first sight, and its activity. Returns how the trifecta
    /// was opened, `opening` only where it was not known.
    fn see(
        &mut self,
        trifecta: &Trifecta,
        flow: &Flow,
        initiator_port: u16,
        opening: Opening,
        sent: u64,
    ) -> Opening {
        let now = flow.first_seen;
        let interval = self.interval;
        let fresh =
            Conversation { initiator_port, opening, outcome: None, opened: interval, interval, packets: 0 };
        let (conversation, new) = match self.memory(trifecta).see(*trifecta, now, fresh) {
            Seen::Known(conversation) => (conversation, false),
            Seen::New(conversation) => (conversation, true),
        };
        let first = new || conversation.interval != interval;
        if first {
            conversation.interval = interval;
            conversation.packets = 0;
        }
        let (before, opening) = (conversation.packets, conversation.opening);
        conversation.packets += sent;
        let new_peer = self.see_peer(trifecta, now);
        let direction = self.networks.direction(trifecta.initiator, trifecta.responder);
        if direction.from_local() {
            self.oriented.activities.push(Activity {
                source: trifecta.initiator,
                port: trifecta.port,
                before,
                packets: sent,
                first,
            });
        }
        if new {
            let contact =
                Contact { time: now, trifecta: *trifecta, initiator_port, direction, opening, new_peer };
            self.oriented.observations.push(Observation::Contact(contact));
        }
        opening
    }

    /// Sees the pair of local and external address; true where they were silent for [`PEER_MEMORY`].
    fn see_peer(&mut self, trifecta: &Trifecta, now: Timestamp) -> bool {
        let Trifecta { initiator, responder, .. } = *trifecta;
        let pair = match self.networks.direction(initiator, responder) {
            Direction::Outbound => (initiator, responder),
            Direction::Inbound => (responder, initiator),
            Direction::Internal | Direction::Transit => return false,
        };
        matches!(self.peers.see(pair, now, ()), Seen::New(()))
    }

    /// Notes an outcome of a known trifecta, if it says more than what was known.
    fn respond(&mut self, trifecta: &Trifecta, time: Timestamp, outcome: Outcome) {
        let interval = self.interval;
        let Some(conversation) = self.memory(trifecta).get(trifecta, time) else { return };
        let before = conversation.outcome;
        if before.is_some_and(|before| rank(before) >= rank(outcome)) {
            return;
        }
        conversation.outcome = Some(outcome);
        let Conversation { initiator_port, opened, opening, .. } = *conversation;
        let direction = self.networks.direction(trifecta.initiator, trifecta.responder);
        let response = Response { time, trifecta: *trifecta, initiator_port, direction, outcome };
        self.oriented.observations.push(Observation::Response(response));
        if direction.from_local() && opened == interval && opening == Opening::New {
            let change = OutcomeChange { source: trifecta.initiator, before, after: outcome };
            self.oriented.outcomes.push(change);
        }
    }

    /// Several ports of one host reset what came from one port, as under a scan from a fixed port. Such a flow
    /// names only the first of them, so each attempt of this drain from that port is refused.
    fn refuse_all(&mut self, flows: &[Flow]) {
        let many = |flow: &&Flow| flow.marks.has(Marks::MORE_PORTS) && only_reset(flow.marks);
        let resets: HashMap<_, _, RandomState> = flows
            .iter()
            .filter(many)
            .map(|flow| ((flow.id.dst, flow.id.src, flow.id.dst_port), flow.first_seen))
            .collect();
        if resets.is_empty() {
            return;
        }
        for flow in flows.iter().filter(|flow| flow.marks.has(Marks::SYN)) {
            if let Some(&time) = resets.get(&(flow.id.src, flow.id.dst, flow.src_port)) {
                let attempt = trifecta(flow.id.src, flow.id.dst, flow.id.dst_port, flow.id.protocol);
                self.respond(&attempt, time, Outcome::Refused);
            }
        }
    }
}

fn trifecta(initiator: IpAddr, responder: IpAddr, port: u16, protocol: Protocol) -> Trifecta {
    Trifecta { initiator, responder, port, protocol }
}

const fn only_reset(marks: Marks) -> bool {
    marks.has(Marks::RST)
        && !marks.has(Marks(Marks::SYN.0 | Marks::SYN_ACK.0 | Marks::FIN.0 | Marks::OTHER.0))
}

/// An answer outweighs a refusal, which outweighs an error on the way.
const fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Unreachable => 1,
        Outcome::Refused => 2,
        Outcome::Answered => 3,
    }
}

/// Which halves of TCP handshakes with local hosts the mirror shows.
#[derive(Debug, Default)]
struct Handshakes {
    /// When the last SYN of a local host was seen.
    syn: Option<Timestamp>,
    /// When the last SYN+ACK to a local host was seen.
    syn_ack: Option<Timestamp>,
}

impl Handshakes {
    /// How long a mirror is taken to show what it has shown.
    const MEMORY: Duration = Duration::from_mins(10);

    fn look(&mut self, flows: &[Flow], networks: &LocalNetworks) {
        for flow in flows.iter().filter(|flow| flow.id.protocol == Protocol::TCP && flow.packets > 0) {
            if flow.marks.has(Marks::SYN) && networks.contains(flow.id.src) {
                self.syn = self.syn.max(Some(flow.first_seen));
            }
            if flow.marks.has(Marks::SYN_ACK) && networks.contains(flow.id.dst) {
                self.syn_ack = self.syn_ack.max(Some(flow.first_seen));
            }
        }
    }

    fn shows_syn(&self, now: Timestamp) -> bool {
        self.syn.is_some_and(|last| now.since(last) <= Self::MEMORY)
    }

    fn shows_syn_ack(&self, now: Timestamp) -> bool {
        self.syn_ack.is_some_and(|last| now.since(last) <= Self::MEMORY)
    }
}

/// Flows are handled in the order of their first frames. Those that can be understood only when the opening of
/// their conversation is known come after: answers to SYNs, and last TCP without handshake and ICMP errors.
fn sort_key(flow: &Flow) -> u64 {
    /// Above every time until the year 2116.
    const AFTER: u64 = 1 << 62;
    const LAST: u64 = 1 << 63;
    let time = flow.first_seen;
    if flow.packets == 0 {
        return time.0 | LAST;
    }
    if flow.id.protocol == Protocol::TCP {
        return match (flow.marks.has(Marks::SYN), flow.marks.has(Marks::SYN_ACK)) {
            (true, _) => time.0,
            (false, true) => time.0 | AFTER,
            (false, false) => time.0 | LAST,
        };
    }
    match (flow.src_port < WELL_KNOWN, flow.id.dst_port < WELL_KNOWN) {
        (true, false) => time.plus(SERVICE_BIAS).0,
        (false, true) => time.minus(SERVICE_BIAS).0,
        _ => time.0,
    }
}

/// How many ends each port of mid-stream TCP is shared by, in one drain.
struct SharedPorts(HashMap<(IpAddr, u16), u32, RandomState>);

impl SharedPorts {
    fn is_service(&self, address: IpAddr, port: u16) -> bool {
        self.0.get(&(address, port)).is_some_and(|&ends| ends >= SERVICE_PEERS)
    }
}

/// Counts, for every address and port that mid-stream flows go to, the flows: each is from another address.
fn shared_ports(flows: &[Flow]) -> SharedPorts {
    let mut ends: HashMap<_, u32, _> = HashMap::default();
    let mid_stream = flows
        .iter()
        .filter(|flow| flow.id.protocol == Protocol::TCP && flow.marks.has(Marks::SEGMENT))
        .filter(|flow| !flow.marks.has(Marks::SYN.with(Marks::SYN_ACK)));
    for flow in mid_stream {
        *ends.entry((flow.id.dst, flow.id.dst_port)).or_default() += 1;
    }
    SharedPorts(ends)
}

#[cfg(test)]
mod tests;
