//! The candidate peers of one suspect: a ring of the latest, searched by peer, port and network.
//!
//! Ports and hashes of peer and network lie in arrays of their own, so that a search compares a few cache
//! lines and looks closer only at what matches.

use std::{net::IpAddr, time::Duration};

use crate::{clock::Timestamp, detect::ports, flow::Protocol};

/// How many candidates one suspect keeps; the oldest makes room.
pub const CANDIDATES: usize = 256;

/// What became of a first contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing yet.
    #[default]
    Pending,
    /// An answer.
    Answered,
    /// RST.
    Refused,
    /// An ICMP error.
    Unreachable,
    /// Nothing for too long.
    Silent,
    /// Conversation under way when first seen: there is nothing to wait for.
    Standing,
}

/// Why a candidate counts, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weighing {
    /// It is evidence.
    #[default]
    Counted,
    /// Its port is popular with this source.
    Popular,
    /// It was evidence until the source tried too many of its ports, or until its local port turned out
    /// to serve many.
    Retracted,
}

/// One external address that the source had no business with before.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// First contact.
    pub time: Timestamp,
    /// Whom.
    pub peer: IpAddr,
    /// The peer's port.
    pub port: u16,
    /// The source's port.
    pub local_port: u16,
    /// Transport protocol of the first contact.
    pub protocol: Protocol,
    /// What became of it.
    pub answer: Answer,
    /// Whether it counts.
    pub weighing: Weighing,
    /// Whether both TCP and UDP were tried.
    pub both_protocols: bool,
    /// Distinct ports of this peer that were contacted.
    pub ports: u8,
    /// Trifectas with this peer.
    pub trifectas: u8,
    /// The weight of its first contact: 1, or less where a rule dampens it.
    pub damping: f32,
    /// All that it added to the sums so far.
    pub evidence: f32,
}

impl Candidate {
    /// Whether it is evidence.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.weighing == Weighing::Counted
    }

    /// Whether its opening was seen.
    #[must_use]
    pub fn opened(&self) -> bool {
        self.answer != Answer::Standing
    }
}

/// The latest candidates of one suspect.
#[derive(Debug)]
pub struct Peers {
    entries: Vec<Candidate>,
    ports: Box<[u16; CANDIDATES]>,
    tags: Box<[u16; CANDIDATES]>,
    networks: Box<[u16; CANDIDATES]>,
    /// Candidates ever pushed; the next goes to this position modulo the ring.
    pushed: usize,
    /// The first that may still be pending, counted as `pushed` is.
    settled: usize,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            entries: Vec::with_capacity(CANDIDATES),
            ports: Box::new([0; CANDIDATES]),
            tags: Box::new([0; CANDIDATES]),
            networks: Box::new([0; CANDIDATES]),
            pushed: 0,
            settled: 0,
        }
    }
}

impl Peers {
    /// Bytes of a full ring.
    pub const BYTES: usize = CANDIDATES * (size_of::<Candidate>() + 3 * size_of::<u16>());

    /// Forgets all, keeping the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.pushed = 0;
        self.settled = 0;
    }

    /// Adds a candidate in place of the oldest.
    pub fn push(&mut self, candidate: Candidate) {
        let at = self.pushed % CANDIDATES;
        self.index(at, &candidate);
        if at < self.entries.len() {
            self.entries[at] = candidate;
        } else {
            self.entries.push(candidate);
        }
        self.pushed += 1;
        self.settled = self.settled.max(self.pushed.saturating_sub(CANDIDATES));
    }

    /// Makes room on a popular port: gives the place of its oldest popular candidate to this one, if
    /// the port has `most` of them already.
    pub fn replace_popular(&mut self, candidate: Candidate, most: usize) -> bool {
        let mut popular = 0;
        let mut oldest: Option<usize> = None;
        for at in self.positions(&self.ports, candidate.port) {
            if self.entries[at].weighing == Weighing::Popular {
                popular += 1;
                if oldest.is_none_or(|oldest| self.entries[at].time < self.entries[oldest].time) {
                    oldest = Some(at);
                }
            }
        }
        let Some(at) = oldest.filter(|_| popular >= most) else {
            return false;
        };
        self.index(at, &candidate);
        self.entries[at] = candidate;
        true
    }

    /// Puts what is searched for in the columns.
    fn index(&mut self, at: usize, candidate: &Candidate) {
        self.ports[at] = candidate.port;
        self.tags[at] = tag(candidate.peer);
        self.networks[at] = mixed(ports::network(candidate.peer));
    }

    /// The candidate of a peer.
    pub fn find(&mut self, peer: IpAddr) -> Option<&mut Candidate> {
        let at = self.positions(&self.tags, tag(peer)).find(|at| self.entries[*at].peer == peer)?;
        Some(&mut self.entries[at])
    }

    /// How many peers other than `peer` were contacted on `port` since `since`.
    #[must_use]
    pub fn on_port(&self, port: u16, peer: IpAddr, since: Timestamp) -> usize {
        self.positions(&self.ports, port)
            .filter(|at| self.entries[*at].time >= since && self.entries[*at].peer != peer)
            .count()
    }

    /// How many candidates that count lie in `network` and are not older than `since`.
    #[must_use]
    pub fn in_network(&self, network: u64, since: Timestamp) -> usize {
        self.positions(&self.networks, mixed(network))
            .map(|at| &self.entries[at])
            .filter(|one| one.counts() && one.time >= since && ports::network(one.peer) == network)
            .count()
    }

    /// Standing conversations over `local_port` with peers other than `peer`.
    pub fn over_local_port(&mut self, local_port: u16, peer: IpAddr) -> impl Iterator<Item = &mut Candidate> {
        self.entries.iter_mut().filter(move |candidate| {
            !candidate.opened() && candidate.local_port == local_port && candidate.peer != peer
        })
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.entries.iter()
    }

    /// Marks as silent what was contacted `patience` or longer ago without an outcome, and hands each to
    /// `settle`.
    pub fn settle(&mut self, now: Timestamp, patience: Duration, mut settle: impl FnMut(&mut Candidate)) {
        while self.settled < self.pushed {
            let candidate = &mut self.entries[self.settled % CANDIDATES];
            if candidate.answer == Answer::Pending {
                if now.since(candidate.time) < patience {
                    return;
                }
                candidate.answer = Answer::Silent;
                settle(candidate);
            }
            self.settled += 1;
        }
    }

    fn positions<'a>(
        &'a self,
        column: &'a [u16; CANDIDATES],
        wanted: u16,
    ) -> impl Iterator<Item = usize> + use<'a> {
        // Compared all at once, which costs next to nothing; mostly there is none to look at closer.
        let matches: u16 = column.iter().map(|value| u16::from(*value == wanted)).sum();
        let used = if matches > 0 { self.entries.len() } else { 0 };
        column[..used].iter().enumerate().filter(move |(_, value)| **value == wanted).map(|(at, _)| at)
    }
}

/// A few bits of an address to search by; equality is always decided by the address itself.
fn tag(peer: IpAddr) -> u16 {
    let bits = match peer {
        IpAddr::V4(peer) => u64::from(peer.to_bits()),
        IpAddr::V6(peer) => {
            let bits = peer.to_bits().to_be_bytes();
            let [high, low] = [&bits[..8], &bits[8..]]
                .map(|half| half.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
            high ^ low.rotate_left(17)
        }
    };
    mixed(bits)
}

/// The high bits of a product by 2^64 over the golden ratio, on which all bits below have an influence.
fn mixed(bits: u64) -> u16 {
    let [high, low, ..] = bits.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
    u16::from_be_bytes([high, low])
}
