//! The evidence about one source: three leaky sums, the candidates behind them, and how each
//! observation moves them.

use std::{net::IpAddr, time::Duration};

use super::{
    peers::{Answer, Candidate, Peers, Weighing},
    sockets::Sockets,
};
use crate::{
    alert::AlertKind,
    clock::Timestamp,
    detect::{
        cusum::Cusum,
        decay::DecayingRate,
        ports,
        trace::{Step, Trace},
    },
    flow::Protocol,
    observation::{Contact, Outcome},
};

/// A port that this many other peers of the source use is popular with it.
const POPULAR: usize = 3;
/// How long a peer makes its port and network popular.
pub const WINDOW: Duration = Duration::from_mins(1);
/// From this many peers in one network on, more of it weigh less.
const CROWDED: usize = 3;
/// What a damped contact weighs.
pub const DAMPED: f64 = 0.25;
/// Added for UDP from a socket that served this many other new peers.
const SHARED_SOCKET: f64 = 0.25;
const SHARED_SOCKET_PEERS: u16 = 3;
/// Taken back when the peer answers.
const ANSWERED: f64 = -0.5;
/// Added when it does not.
const UNANSWERED: f64 = 0.75;
/// Added when the same port of the same peer is tried over the other of TCP and UDP.
const BOTH_PROTOCOLS: f64 = 0.5;
/// A peer tried on this many ports is being scanned: all its evidence is taken back.
const SCANNED_PORTS: u8 = 3;
/// A TCP port of the source that this many peers talk to is one that it serves on.
const SERVED_PEERS: usize = 2;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Memory of the source's own habit of contacting rare ports.
const HABIT: Duration = Duration::from_mins(5);

/// The three tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Bursts: about ten peers within seconds.
    Fast,
    /// Trickles: twenty and more within minutes.
    Slow,
    /// Conversations that were under way when first seen.
    Standing,
}

impl Test {
    /// Every test, in the order in which they are asked.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Slow, Self::Standing];

    /// The name in evidence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Slow => "slow",
            Self::Standing => "standing",
        }
    }

    /// The evidence that it asks for, in units of one new peer.
    #[must_use]
    pub const fn threshold(self) -> f64 {
        match self {
            Self::Fast | Self::Standing => 10.0,
            Self::Slow => 40.0,
        }
    }

    /// What is lost per second, in units of one new peer.
    #[must_use]
    pub const fn leak(self) -> f64 {
        match self {
            Self::Fast => 0.5,
            Self::Slow | Self::Standing => 0.05,
        }
    }

    /// How far back the conditions look.
    #[must_use]
    pub const fn window(self) -> Duration {
        match self {
            Self::Fast => WINDOW,
            Self::Slow | Self::Standing => Duration::from_mins(10),
        }
    }

    /// The most that a sum holds: what leaks down to the threshold within the window of the conditions, so
    /// that no sum outlives the peers that it came from.
    const fn cap(self) -> f64 {
        self.threshold() + self.leak() * self.window().as_secs() as f64
    }
}

/// What can speak for or against a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A first contact with a new peer on a rare high port.
    NewPeer,
    /// The same UDP socket as to other peers.
    SharedSocket,
    /// An answer.
    Answered,
    /// RST, an ICMP error, or nothing for three seconds.
    Unanswered,
    /// TCP and UDP to the same port of the same peer.
    BothProtocols,
    /// A third port of the same peer, or a local port that serves many.
    Retracted,
}

impl Evidence {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::NewPeer,
        Self::SharedSocket,
        Self::Answered,
        Self::Unanswered,
        Self::BothProtocols,
        Self::Retracted,
    ];

    /// The name in evidence objects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewPeer => "new_peers",
            Self::SharedSocket => "shared_socket",
            Self::Answered => "answered",
            Self::Unanswered => "unanswered",
            Self::BothProtocols => "both_protocols",
            Self::Retracted => "retracted",
        }
    }
}

/// One sum and when it last began to grow from nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// The sum.
    pub cusum: Cusum,
    /// First evidence in it.
    pub onset: Timestamp,
}

/// What a source is being named for.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Since when.
    pub since: Timestamp,
    /// By which test.
    pub test: Test,
}

/// Everything about one source that has contacted new peers on rare ports.
#[derive(Debug)]
pub struct Suspect {
    /// Whose state this is.
    pub source: IpAddr,
    /// Last evidence of any kind.
    pub last: Timestamp,
    /// By [`Test`].
    pub sums: [Sum; 3],
    /// By [`Evidence`]: what each kind added since the fast sum was last nothing.
    pub shares: [f32; Evidence::ALL.len()],
    /// The latest candidates.
    pub peers: Peers,
    /// The latest UDP sockets.
    pub sockets: Sockets,
    /// How much busier than a single host the source is; scales the thresholds. 1 or more.
    pub busy: f64,
    /// Whether it is named.
    pub named: Option<Named>,
    /// The score of the last decision.
    pub score: f64,
    /// The condition that kept it from being named at the last decision.
    pub barred: Option<&'static str>,
    /// The latest evidence, as long as no decision has seen it in full.
    pub undecided: Option<Timestamp>,
    habit: DecayingRate,
    rare: DecayingRate,
    popular: DecayingRate,
}

impl Suspect {
    /// A source without evidence.
    #[must_use]
    pub fn new(source: IpAddr) -> Self {
        Self {
            source,
            last: Timestamp::default(),
            sums: [Sum::default(); 3],
            shares: [0.0; Evidence::ALL.len()],
            peers: Peers::default(),
            sockets: Sockets::default(),
            busy: 1.0,
            named: None,
            score: 0.0,
            barred: None,
            undecided: None,
            habit: DecayingRate::default(),
            rare: DecayingRate::default(),
            popular: DecayingRate::default(),
        }
    }

    /// The same memory for another source.
    pub fn recycle(&mut self, source: IpAddr) {
        let mut peers = std::mem::take(&mut self.peers);
        peers.clear();
        *self = Self { peers, ..Self::new(source) };
    }

    /// A first contact with a new peer on a port that is no service; whether it counts.
    pub fn new_peer(&mut self, contact: &Contact, damped: bool, trace: &mut Trace) -> Weighing {
        let (now, peer, port) = (contact.time, contact.trifecta.responder, contact.trifecta.port);
        self.last = now;
        let since = now.minus(WINDOW);
        let mut candidate = candidate(contact, contact.initiator_port, port, peer);
        if self.peers.on_port(port, peer, since) >= POPULAR {
            self.note_popular(now);
            candidate.weighing = Weighing::Popular;
            if !self.peers.replace_popular(candidate, POPULAR) {
                self.peers.push(candidate);
            }
            self.tell(trace, now, &candidate, "popular port: no evidence", 0.0);
            return Weighing::Popular;
        }
        self.rare.count(now, WINDOW);
        self.leak(now);
        self.habit.count(now, HABIT);
        let crowded = self.peers.in_network(ports::network(peer), since) >= CROWDED;
        let damping = if crowded || damped { DAMPED } else { 1.0 };
        let mut weight = self.add(Evidence::NewPeer, damping, now, &Test::ALL[..2]);
        if contact.trifecta.protocol == Protocol::UDP
            && self.sockets.used(contact.initiator_port, now).note_contacted() >= SHARED_SOCKET_PEERS
        {
            weight += self.add(Evidence::SharedSocket, damping * SHARED_SOCKET, now, &Test::ALL[..2]);
        }
        candidate.damping = single(damping);
        candidate.evidence = single(weight);
        self.peers.push(candidate);
        let what = match (crowded, damped) {
            (false, false) => "new peer on a rare high port",
            (true, _) => "new peer in a crowded network",
            (false, true) => "new peer from a STUN or service socket",
        };
        self.tell(trace, now, &candidate, what, weight);
        Weighing::Counted
    }

    /// A further trifecta with a peer that may be a candidate.
    pub fn known_peer(&mut self, contact: &Contact, trace: &mut Trace) {
        let (now, port) = (contact.time, contact.trifecta.port);
        let Some(found) = self.peers.find(contact.trifecta.responder) else {
            return;
        };
        found.trifectas = found.trifectas.saturating_add(1);
        let weight = if found.port == port {
            if found.both_protocols || found.protocol == contact.trifecta.protocol || !found.counts() {
                return;
            }
            found.both_protocols = true;
            f64::from(found.damping) * BOTH_PROTOCOLS
        } else {
            found.ports = found.ports.saturating_add(1);
            if found.ports < SCANNED_PORTS || !found.counts() {
                return;
            }
            found.weighing = Weighing::Retracted;
            -f64::from(found.evidence)
        };
        found.evidence += single(weight);
        let found = *found;
        self.leak(now);
        let (evidence, what) = if weight >= 0.0 {
            (Evidence::BothProtocols, "the same peer over both TCP and UDP")
        } else {
            (Evidence::Retracted, "third port of one peer: a scan")
        };
        self.add(evidence, weight, now, &Test::ALL[..2]);
        self.tell(trace, now, &found, what, weight);
    }

    /// What a peer did.
    pub fn outcome(&mut self, now: Timestamp, peer: IpAddr, port: u16, outcome: Outcome, trace: &mut Trace) {
        let Some(found) = self.peers.find(peer).filter(|found| found.port == port && found.opened()) else {
            return;
        };
        let damping = f64::from(found.damping);
        let (answer, evidence, what) = match outcome {
            Outcome::Answered => (Answer::Answered, Evidence::Answered, "answered"),
            Outcome::Refused => (Answer::Refused, Evidence::Unanswered, "refused"),
            Outcome::Unreachable => (Answer::Unreachable, Evidence::Unanswered, "unreachable"),
        };
        let weight = match (found.answer, answer) {
            (Answer::Answered, _) => return,
            (Answer::Pending, Answer::Answered) => damping * ANSWERED,
            // It answered after all, late or over the other protocol.
            (_, Answer::Answered) => damping * (ANSWERED - UNANSWERED),
            (Answer::Pending, _) => damping * UNANSWERED,
            (..) => return,
        };
        found.answer = answer;
        if !found.counts() {
            return;
        }
        found.evidence += single(weight);
        let found = *found;
        self.leak(now);
        self.add(evidence, weight, now, &Test::ALL[..2]);
        self.tell(trace, now, &found, what, weight);
    }

    /// A conversation under way with a peer, over a port of the source that is no service.
    pub fn standing(&mut self, contact: &Contact, peer: IpAddr, ends: (u16, u16), trace: &mut Trace) {
        let (now, (local_port, port)) = (contact.time, ends);
        if let Some(found) = self.peers.find(peer) {
            found.trifectas = found.trifectas.saturating_add(1);
            return;
        }
        self.last = now;
        self.leak(now);
        let mut candidate = candidate(contact, local_port, port, peer);
        candidate.answer = Answer::Standing;
        if self.peers.over_local_port(local_port, peer).count() >= SERVED_PEERS {
            self.retract_served(now, local_port, peer);
            candidate.weighing = Weighing::Retracted;
            self.peers.push(candidate);
            self.tell(trace, now, &candidate, "under way, over a port that the source serves on", 0.0);
        } else if self.peers.on_port(port, peer, now.minus(Test::Standing.window())) >= POPULAR {
            self.note_popular(now);
            candidate.weighing = Weighing::Popular;
            if !self.peers.replace_popular(candidate, POPULAR) {
                self.peers.push(candidate);
            }
            self.tell(trace, now, &candidate, "under way, popular port: no evidence", 0.0);
        } else {
            let since = now.minus(Test::Standing.window());
            let crowded = self.peers.in_network(ports::network(peer), since) >= CROWDED;
            let damping = if crowded { DAMPED } else { 1.0 };
            candidate.damping = single(damping);
            candidate.evidence = single(self.add(Evidence::NewPeer, damping, now, &[Test::Standing]));
            self.peers.push(candidate);
            self.tell(trace, now, &candidate, "under way on high ports of both ends", damping);
        }
    }

    /// Counts a popular peer.
    pub fn note_popular(&mut self, now: Timestamp) {
        self.popular.count(now, WINDOW);
    }

    /// Moves all sums to `now`, and marks as silent what had its time.
    pub fn settle(&mut self, now: Timestamp, trace: &mut Trace) {
        self.leak(now);
        let mut silent = 0.0;
        let source = self.source;
        let mut sum = self.sums[0].cusum.value();
        self.peers.settle(now, PATIENCE, |candidate| {
            if candidate.counts() {
                let weight = f64::from(candidate.damping) * UNANSWERED;
                candidate.evidence += single(weight);
                silent += weight;
                sum += weight;
                if trace.wants(source) {
                    trace.record(step(now, candidate, "silent for three seconds", weight, sum));
                }
            }
        });
        if silent > 0.0 {
            self.add(Evidence::Unanswered, silent, now, &Test::ALL[..2]);
        }
    }

    /// Share of rare ports among the peers on ports that are no service, over the last minute; 1 without
    /// any.
    #[must_use]
    pub fn rare_share(&self, now: Timestamp) -> f64 {
        let (rare, popular) = (self.rare.per_second(now, WINDOW), self.popular.per_second(now, WINDOW));
        if rare + popular > 0.0 { rare / (rare + popular) } else { 1.0 }
    }

    /// Whether nothing is left that could matter.
    #[must_use]
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.named.is_none() && now.since(self.last) > Test::Slow.window()
    }

    /// Forgets the sums, as when the source ceases to be named.
    pub fn acquit(&mut self) {
        self.named = None;
        self.shares = Default::default();
        for sum in &mut self.sums {
            sum.cusum.reset();
        }
    }

    /// What was added because of standing conversations over a port that turned out to serve is taken
    /// back.
    fn retract_served(&mut self, now: Timestamp, local_port: u16, peer: IpAddr) {
        let mut taken = 0.0;
        for other in self.peers.over_local_port(local_port, peer).filter(|other| other.counts()) {
            other.weighing = Weighing::Retracted;
            taken += f64::from(other.evidence);
            other.evidence = 0.0;
        }
        self.add(Evidence::Retracted, -taken, now, &[Test::Standing]);
    }

    fn leak(&mut self, now: Timestamp) {
        let habit = self.habit.per_second(now, HABIT);
        for (test, sum) in Test::ALL.into_iter().zip(&mut self.sums) {
            let leak = if test == Test::Fast { test.leak().max(habit) } else { test.leak() };
            sum.cusum.leak(now, leak);
        }
        if self.sums[0].cusum.value() == 0.0 {
            self.shares = Default::default();
        }
    }

    fn add(&mut self, evidence: Evidence, weight: f64, now: Timestamp, tests: &[Test]) -> f64 {
        self.undecided = Some(now);
        self.shares[evidence as usize] += single(weight);
        for test in tests {
            let sum = &mut self.sums[*test as usize];
            if sum.cusum.value() == 0.0 {
                sum.onset = now;
            }
            sum.cusum.add(weight, test.cap() * self.busy);
        }
        weight
    }

    fn tell(&self, trace: &mut Trace, time: Timestamp, candidate: &Candidate, what: &str, weight: f64) {
        if trace.wants(self.source) {
            trace.record(step(time, candidate, what, weight, self.sums[0].cusum.value()));
        }
    }
}

fn step(time: Timestamp, candidate: &Candidate, what: &str, weight: f64, sum: f64) -> Step {
    let peer = Some((candidate.peer, candidate.port, candidate.protocol));
    Step { time, kind: AlertKind::Torrent, peer, what: what.to_owned(), weight, sum }
}

fn candidate(contact: &Contact, local_port: u16, port: u16, peer: IpAddr) -> Candidate {
    Candidate {
        time: contact.time,
        peer,
        port,
        local_port,
        protocol: contact.trifecta.protocol,
        answer: Answer::Pending,
        weighing: Weighing::Counted,
        both_protocols: false,
        ports: 1,
        trifectas: 1,
        damping: 1.0,
        evidence: 0.0,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights have few digits")]
const fn single(value: f64) -> f32 {
    value as f32
}
