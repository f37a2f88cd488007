//! Orientation: which end of a flow opened the conversation, whether that is new, and what came back.
//!
//! Takes the directional flows of a drain, yields observations in the order of time and the activity of
//! trifectas. The rules, in this order:
//!
//! 1. TCP says it itself: the sender of SYN initiates, the sender of SYN+ACK responds.
//! 2. What is remembered stays as it is: a flow that continues a known trifecta, or answers it, opens
//!    nothing. A trifecta does not name the initiator's port, so this holds for all of its ports: what a
//!    local port sends to another port of an end that had opened a conversation to it counts as an answer.
//! 3. Without a handshake (UDP, SCTP, UDP-Lite) the first to speak initiates. Frames of the two directions
//!    may be counted on different CPUs and so a little out of order: within [`SERVICE_BIAS`] the end with the
//!    well-known port responds.
//! 4. TCP without its handshake is *mid-stream*: it is oriented by an estimate and never new.

mod handshakes;
mod memory;
mod order;

use std::{collections::HashMap, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use sensor_common::packet::Marks;

use self::{
    handshakes::{Handshakes, SharedPorts},
    order::Turn,
};
pub use self::{
    memory::{Memory, Place, Seen},
    order::SERVICE_BIAS,
};
use crate::{
    clock::Timestamp,
    config::Config,
    flow::{Drain, Flow, FlowId, Pair, Protocol},
    networks::{Direction, LocalNetworks},
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
};

/// How long a pair of local and external address must be silent for the next contact to be a new peer's.
pub const PEER_MEMORY: Duration = Duration::from_mins(10);

/// Ports below are well known (RFC 6335 section 6): their owner responds.
const WELL_KNOWN: u16 = 1024;

/// Drains in the course of which the memories are swept once.
const SWEEP_SHARE: usize = 300;

/// What is remembered of a trifecta: 16 bytes, with key and time a cache line's worth.
#[derive(Clone, Copy, Debug)]
struct Conversation {
    /// Frames from the initiator in the interval named below.
    packets: u64,
    /// Interval of the last activity.
    interval: u32,
    initiator_port: u16,
    age: Age,
    outcome: Option<Outcome>,
}

const _: () = assert!(size_of::<Conversation>() == 16);

/// How and when a conversation was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    /// Opened in the interval of its last activity.
    Fresh,
    /// Opened before.
    Known,
    /// Its opening was not seen.
    MidStream,
}

impl Age {
    const fn opening(self) -> Opening {
        match self {
            Self::Fresh | Self::Known => Opening::New,
            Self::MidStream => Opening::MidStream,
        }
    }
}

/// A trifecta with its direction, which tells the memory that it is in.
#[derive(Clone, Copy, Debug)]
struct Subject {
    trifecta: Trifecta,
    direction: Direction,
}

/// Which ends of a flow are local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    src: bool,
    dst: bool,
}

impl Ends {
    /// The conversation that the sender of `flow` opened.
    fn forward(self, flow: &Flow) -> Subject {
        let FlowId { src, dst, dst_port, protocol } = flow.id;
        let trifecta = Trifecta { initiator: src, responder: dst, port: dst_port, protocol };
        Subject { trifecta, direction: Direction::between(self.src, self.dst) }
    }

    /// The conversation that `flow` answers.
    fn reverse(self, flow: &Flow) -> Subject {
        let FlowId { src, dst, protocol, .. } = flow.id;
        let trifecta = Trifecta { initiator: dst, responder: src, port: flow.src_port, protocol };
        Subject { trifecta, direction: Direction::between(self.dst, self.src) }
    }
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
    peers: Memory<Pair, ()>,
    handshakes: Handshakes,
    shared: SharedPorts,
    interval: u32,
    order: Vec<Turn>,
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
            shared: SharedPorts::default(),
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
    pub const fn bytes_at_capacity(&self) -> usize {
        self.local.bytes_at_capacity() + self.foreign.bytes_at_capacity() + self.peers.bytes_at_capacity()
    }

    /// Orients the flows of a drain.
    pub fn orient(&mut self, drain: &Drain) -> &Oriented {
        let Oriented { observations, activities, outcomes } = &mut self.oriented;
        observations.clear();
        activities.clear();
        outcomes.clear();
        let order = self.order(&drain.flows);
        for turn in &order {
            self.orient_flow(&drain.flows[turn.position as usize], turn.ends);
        }
        self.order = order;
        self.refuse_all(&drain.flows);
        self.local.sweep(drain.end, SWEEP_SHARE);
        self.foreign.sweep(drain.end, SWEEP_SHARE);
        self.peers.sweep(drain.end, SWEEP_SHARE);
        self.oriented.observations.sort_by_key(Observation::time);
        &self.oriented
    }

    /// Looks at every flow once: who is local, when it is handled, and what all of them together tell.
    fn order(&mut self, flows: &[Flow]) -> Vec<Turn> {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        self.shared.clear();
        for (flow, position) in flows.iter().zip(0u32..) {
            let ends =
                Ends { src: self.networks.contains(flow.id.src), dst: self.networks.contains(flow.id.dst) };
            self.handshakes.look(flow, ends);
            self.shared.look(flow);
            order.push(Turn::of(flow, position, ends));
        }
        order.sort_unstable_by_key(Turn::key);
        order
    }

    fn orient_flow(&mut self, flow: &Flow, ends: Ends) {
        let (forward, now) = (ends.forward(flow), flow.first_seen);
        let tcp = flow.id.protocol == Protocol::TCP;
        if tcp && flow.marks.has(Marks::SYN) && flow.packets > 0 {
            return self.sent(&forward, None, flow, Opening::New);
        }
        if flow.packets == 0 {
            if let Some(place) = self.find(&forward, now) {
                self.respond(place, &forward, now, Outcome::Unreachable);
            }
            return;
        }
        let reverse = ends.reverse(flow);
        if tcp && flow.marks.has(Marks::SYN_ACK) {
            let known = self.find(&reverse, now);
            if known.is_some() || !self.is_unsolicited(&reverse, now) {
                self.answered(&reverse, known, flow, Opening::New);
            }
        } else if let Some(known) = self.find(&forward, now) {
            self.sent(&forward, Some(known), flow, Opening::New);
        } else if let Some(known) = self.find(&reverse, now) {
            self.answered(&reverse, Some(known), flow, Opening::New);
        } else if !flow.marks.has(Marks::SEGMENT) {
            // Later fragments of a conversation that is forgotten.
        } else if !tcp {
            self.sent(&forward, None, flow, Opening::New);
        } else if !only_reset(flow.marks) {
            if self.estimate(flow, ends) {
                self.sent(&forward, None, flow, Opening::MidStream);
            } else {
                self.answered(&reverse, None, flow, Opening::MidStream);
            }
        }
    }

    /// Whether a SYN+ACK for `subject`, which is not known, answers nothing: its SYN was not seen, on a
    /// mirror that shows SYNs of local hosts. Anyone can send such a frame to any local address, so it opens
    /// no conversation of that address. If there is one, what the address sends itself will tell.
    fn is_unsolicited(&self, subject: &Subject, now: Timestamp) -> bool {
        subject.direction.from_local() && self.handshakes.shows_syn(now)
    }

    /// Who initiated a mid-stream conversation: true for the sender of `flow`.
    ///
    /// An estimate. The end with a well-known port responds. Else, between a local and an external address,
    /// the local one is taken for the initiator, unless several ends share its port, as they share a
    /// server's. Else the end with the lower port responds: services sit below the ports that systems hand
    /// out to clients.
    fn estimate(&self, flow: &Flow, ends: Ends) -> bool {
        let (from, to) = (flow.src_port, flow.id.dst_port);
        match (from < WELL_KNOWN, to < WELL_KNOWN) {
            (true, false) => return false,
            (false, true) => return true,
            _ => {}
        }
        match (ends.src, ends.dst) {
            (true, false) => !self.shared.is_service(flow.id.src, from),
            (false, true) => self.shared.is_service(flow.id.dst, to),
            _ => to <= from,
        }
    }

    const fn memory(&mut self, subject: &Subject) -> &mut Memory<Trifecta, Conversation> {
        if subject.direction.from_local() { &mut self.local } else { &mut self.foreign }
    }

    fn find(&mut self, subject: &Subject, now: Timestamp) -> Option<Place> {
        self.memory(subject).find(&subject.trifecta, now)
    }

    /// The initiator of `subject` sent `flow`.
    fn sent(&mut self, subject: &Subject, known: Option<Place>, flow: &Flow, opening: Opening) {
        let (place, opening) = self.see(subject, known, flow, (flow.src_port, opening), flow.packets);
        // On a mirror that shows no answers, an initiator that goes on after its SYN has got one. Where
        // answers can be seen they must be: a scanner may send what it likes.
        let goes_on = flow.id.protocol == Protocol::TCP && flow.marks.has(Marks::OTHER.with(Marks::FIN));
        if goes_on && opening == Opening::New && !self.handshakes.shows_syn_ack(flow.first_seen) {
            self.respond(place, subject, flow.first_seen, Outcome::Answered);
        } else if flow.marks.has(Marks::UNREACHABLE) {
            self.respond(place, subject, flow.first_seen, Outcome::Unreachable);
        }
    }

    /// The responder of `subject` sent `flow`. `opening` is what the conversation is where it was not known.
    fn answered(&mut self, subject: &Subject, known: Option<Place>, flow: &Flow, opening: Opening) {
        let (place, _) = self.see(subject, known, flow, (flow.id.dst_port, opening), 0);
        let outcome = if only_reset(flow.marks) { Outcome::Refused } else { Outcome::Answered };
        self.respond(place, subject, flow.first_seen, outcome);
    }

    /// Sees a trifecta, where it is known at its place; reports a contact if it is the first sight, and its
    /// activity. `fresh` has the initiator's port and how the trifecta was opened where it was not known.
    /// Returns its place and how it was opened.
    fn see(
        &mut self,
        subject: &Subject,
        known: Option<Place>,
        flow: &Flow,
        fresh: (u16, Opening),
        sent: u64,
    ) -> (Place, Opening) {
        let (now, interval) = (flow.first_seen, self.interval);
        let Subject { trifecta, direction } = *subject;
        let (initiator_port, opening) = fresh;
        let age = if opening == Opening::New { Age::Fresh } else { Age::MidStream };
        let memory = self.memory(subject);
        let (place, seen) = match known {
            Some(place) => (place, Seen::Known(memory.touch(place, now))),
            None => memory.see(
                trifecta,
                now,
                Conversation { packets: 0, interval, initiator_port, age, outcome: None },
            ),
        };
        let (conversation, new) = match seen {
            Seen::Known(conversation) => (conversation, false),
            Seen::New(conversation) => (conversation, true),
        };
        let first = new || conversation.interval != interval;
        if first && !new {
            conversation.interval = interval;
            conversation.packets = 0;
            if conversation.age == Age::Fresh {
                conversation.age = Age::Known;
            }
        }
        let (before, opening) = (conversation.packets, conversation.age.opening());
        conversation.packets += sent;
        let new_peer = self.see_peer(subject, now);
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
            let contact = Contact { time: now, trifecta, initiator_port, direction, opening, new_peer };
            self.oriented.observations.push(Observation::Contact(contact));
        }
        (place, opening)
    }

    /// Sees the pair of local and external address; true where they were silent for [`PEER_MEMORY`].
    fn see_peer(&mut self, subject: &Subject, now: Timestamp) -> bool {
        let Trifecta { initiator, responder, .. } = subject.trifecta;
        let pair = match subject.direction {
            Direction::Outbound => Pair(initiator, responder),
            Direction::Inbound => Pair(responder, initiator),
            Direction::Internal | Direction::Transit => return false,
        };
        matches!(self.peers.see(pair, now, ()).1, Seen::New(()))
    }

    /// Notes an outcome of a known trifecta, if it says more than what was known.
    fn respond(&mut self, place: Place, subject: &Subject, time: Timestamp, outcome: Outcome) {
        let interval = self.interval;
        let Subject { trifecta, direction } = *subject;
        let conversation = self.memory(subject).value(place);
        let before = conversation.outcome;
        if before.is_some_and(|before| rank(before) >= rank(outcome)) {
            return;
        }
        conversation.outcome = Some(outcome);
        let Conversation { initiator_port, interval: active, age, .. } = *conversation;
        let response = Response { time, trifecta, initiator_port, direction, outcome };
        self.oriented.observations.push(Observation::Response(response));
        if direction.from_local() && age == Age::Fresh && active == interval {
            let change = OutcomeChange { source: trifecta.initiator, before, after: outcome };
            self.oriented.outcomes.push(change);
        }
    }

    /// Several ports of one host reset what came from one port, as under a scan from a fixed port. Such a
    /// flow names only the first of them, so each attempt of this drain from that port is refused.
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
                let ends = Ends {
                    src: self.networks.contains(flow.id.src),
                    dst: self.networks.contains(flow.id.dst),
                };
                let attempt = ends.forward(flow);
                if let Some(place) = self.find(&attempt, time) {
                    self.respond(place, &attempt, time, Outcome::Refused);
                }
            }
        }
    }
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

#[cfg(test)]
mod tests;
