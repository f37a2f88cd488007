//! Whether the mirror shows what it should.
//!
//! Takes what the pipeline sees anyway: the frames and flows of each drain and what orientation made of them.
//! Says what is wrong with the mirror port or with the configuration, so that nobody looks for it among the
//! hosts.
//!
//! Every rule rests on something that cannot be so on a sound mirror, and speaks only after a minimum of
//! evidence:
//!
//! - *silent*: no frame on an interface for [`SILENCE`].
//! - *one-way*, *partly one-way*, *missing frames*: whoever goes on after its SYN, or after its SYN+ACK, was
//!   answered. If the answer was not seen in the same drain, the mirror does not show it.
//! - *duplicated frames*: if every frame comes twice, every count is even.
//! - *joined frames*: a flow whose frames are on average longer than the interface lets through.
//! - *transit*: most conversations are between external addresses, so `local_networks` is wrong.
//!
//! All but silence are about all interfaces together: a tap delivers each direction on a port of its own, and
//! only together they are a whole mirror. What flow counts cannot tell is left out: a mirror that doubles
//! only a part of the frames, and VLAN tags in one direction only, which change no address.

mod copies;
mod openings;

use std::{collections::HashSet, fmt, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;

use self::{copies::Copies, openings::Openings};
use crate::{
    clock::Timestamp,
    flow::{Drain, Flow},
    networks::Direction,
    observation::Observation,
};

/// How long no frame must arrive on an interface: any switched network has broadcasts, spanning tree or LLDP
/// every 30 s or more often.
pub const SILENCE: Duration = Duration::from_mins(1);

/// How often the rules judge, where there is evidence enough.
pub const PERIOD: Duration = Duration::from_secs(30);

/// How long evidence is gathered at most; what was not proved again by then no longer holds.
pub const PATIENCE: Duration = Duration::from_mins(10);

/// Distinct pairs of addresses that a verdict rests on, so that no pair of hosts is taken for the mirror.
const MIN_PAIRS: usize = 10;

/// The longest frame on networks with jumbo frames: an MTU of 9216, Ethernet's header and two VLAN tags.
const LONGEST_JUMBO: u64 = 9216 + FRAME_OVERHEAD;

/// What a frame has beyond the MTU: Ethernet's header and two VLAN tags.
pub const FRAME_OVERHEAD: u64 = 14 + 8;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Problem {
    /// Nothing arrives.
    Silent,
    /// Of nearly every conversation only one direction arrives.
    OneWay,
    /// Of some conversations only one direction arrives.
    PartlyOneWay,
    /// Single frames of conversations do not arrive.
    MissingFrames,
    /// Every frame arrives twice.
    DuplicatedFrames,
    /// Frames arrive joined to longer ones.
    JoinedFrames,
    /// The conversations are not those of the local networks.
    Transit,
}

impl Problem {
    /// Every problem.
    pub const ALL: [Self; 7] = [
        Self::Silent,
        Self::OneWay,
        Self::PartlyOneWay,
        Self::MissingFrames,
        Self::DuplicatedFrames,
        Self::JoinedFrames,
        Self::Transit,
    ];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::OneWay => "one_way",
            Self::PartlyOneWay => "partly_one_way",
            Self::MissingFrames => "missing_frames",
            Self::DuplicatedFrames => "duplicated_frames",
            Self::JoinedFrames => "joined_frames",
            Self::Transit => "transit",
        }
    }

    /// What to look at first.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Silent => {
                "look at the mirror session on the switch, and whether its source port has traffic"
            }
            Self::OneWay => "mirror both directions (rx and tx) of the source port",
            Self::PartlyOneWay => "mirror every link that the traffic may take",
            Self::MissingFrames => "the switch drops mirrored frames: mirror less, or to a faster port",
            Self::DuplicatedFrames => "mirror each path once: one direction of each port, or the uplink only",
            Self::JoinedFrames => "turn joining off: ethtool -K INTERFACE gro off lro off",
            Self::Transit => "name your networks in local_networks, or mirror inside the address translation",
        }
    }
}

/// A problem that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What.
    pub problem: Problem,
    /// Of which interface, by its place in the configuration; none where it is about all of them together.
    pub interface: Option<usize>,
    /// Since when it is known.
    pub since: Timestamp,
    /// The numbers that it rests on, in words, as of the last judgement.
    pub evidence: String,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.evidence, self.problem.remedy())
    }
}

/// What a rule says of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// There is none.
    Sound,
    /// There is one, because of this.
    Wrong(String),
}

/// What a rule gathers and concludes.
trait Evidence: Default {
    /// Whether it is enough to judge by.
    fn suffices(&self) -> bool;

    /// A verdict on each problem that this rule knows.
    fn judge(&self) -> Vec<(Problem, Verdict)>;

    /// The problems that it knows.
    const PROBLEMS: &'static [Problem];
}

/// The evidence of one rule since a point in time.
struct Trial<E> {
    since: Option<Timestamp>,
    evidence: E,
}

impl<E: Evidence> Trial<E> {
    fn new() -> Self {
        Self { since: None, evidence: E::default() }
    }

    /// The verdicts that are due at `now`; begins anew after them. With `last` whatever suffices is judged.
    fn judge(&mut self, start: Timestamp, now: Timestamp, last: bool) -> Vec<(Problem, Verdict)> {
        let age = now.since(*self.since.get_or_insert(start));
        let verdicts = if (age >= PERIOD || last) && self.evidence.suffices() {
            self.evidence.judge()
        } else if age >= PATIENCE {
            E::PROBLEMS.iter().map(|&problem| (problem, Verdict::Sound)).collect()
        } else {
            return Vec::new();
        };
        *self = Self { since: Some(now), evidence: E::default() };
        verdicts
    }
}

/// A set of address pairs that is only asked whether there are enough of them.
#[derive(Default)]
struct Pairs(HashSet<(IpAddr, IpAddr), RandomState>);

impl Pairs {
    fn add(&mut self, flow: &Flow) {
        if !self.enough() {
            let (a, b) = (flow.id.src, flow.id.dst);
            self.0.insert((a.min(b), a.max(b)));
        }
    }

    fn enough(&self) -> bool {
        self.0.len() >= MIN_PAIRS
    }
}

/// Watches the mirror.
pub struct Mirror {
    longest_frame: u64,
    /// Of each interface, when a frame came last; at first, when it was watched first.
    last_frame: Vec<Timestamp>,
    openings: Trial<Openings>,
    copies: Trial<Copies>,
    lengths: Trial<Lengths>,
    directions: Trial<Directions>,
    diagnoses: Vec<Diagnosis>,
}

impl Default for Mirror {
    fn default() -> Self {
        Self {
            longest_frame: LONGEST_JUMBO,
            last_frame: Vec::new(),
            openings: Trial::new(),
            copies: Trial::new(),
            lengths: Trial::new(),
            directions: Trial::new(),
            diagnoses: Vec::new(),
        }
    }
}

impl Mirror {
    /// Tells the MTU of the interfaces, in bytes, where it is known.
    pub fn set_mtu(&mut self, bytes: u32) {
        self.longest_frame = u64::from(bytes) + FRAME_OVERHEAD;
    }

    /// Takes a drain and what orientation made of it.
    pub fn take(&mut self, drain: &Drain, observations: &[Observation]) {
        self.listen(drain);
        self.openings.evidence.add(drain);
        for flow in &drain.flows {
            self.copies.evidence.add(flow);
            self.lengths.evidence.add(flow, self.longest_frame);
        }
        for observation in observations {
            self.directions.evidence.add(observation);
        }
        self.judge(drain.start, drain.end, false);
    }

    /// Judges by the evidence there is, as at the end of a capture.
    pub fn finish(&mut self, now: Timestamp) {
        self.judge(now, now, true);
    }

    /// The problems that hold, in the order of their beginning.
    #[must_use]
    pub fn diagnoses(&self) -> &[Diagnosis] {
        &self.diagnoses
    }

    fn judge(&mut self, start: Timestamp, now: Timestamp, last: bool) {
        let verdicts = [
            self.openings.judge(start, now, last),
            self.copies.judge(start, now, last),
            self.lengths.judge(start, now, last),
            self.directions.judge(start, now, last),
        ];
        for (problem, verdict) in verdicts.into_iter().flatten() {
            self.note(problem, None, now, verdict);
        }
    }

    fn listen(&mut self, drain: &Drain) {
        self.last_frame.resize(self.last_frame.len().max(drain.frames.len()), drain.start);
        for (interface, frames) in drain.frames.iter().enumerate() {
            if frames.on_wire() > 0 {
                self.last_frame[interface] = drain.end;
            }
            let silence = drain.end.since(self.last_frame[interface]);
            let verdict = if silence >= SILENCE {
                Verdict::Wrong(format!("no frame has arrived for {} s", silence.as_secs()))
            } else {
                Verdict::Sound
            };
            self.note(Problem::Silent, Some(interface), drain.end, verdict);
        }
    }

    /// Begins, keeps or ends a diagnosis.
    fn note(&mut self, problem: Problem, interface: Option<usize>, now: Timestamp, verdict: Verdict) {
        let known = self.diagnoses.iter().position(|d| d.problem == problem && d.interface == interface);
        match (verdict, known) {
            (Verdict::Wrong(evidence), Some(known)) => self.diagnoses[known].evidence = evidence,
            (Verdict::Wrong(evidence), None) => {
                self.diagnoses.push(Diagnosis { problem, interface, since: now, evidence });
            }
            (Verdict::Sound, Some(known)) => drop(self.diagnoses.remove(known)),
            (Verdict::Sound, None) => {}
        }
    }
}

/// Frames longer than can be. The mean of a flow is a lower bound of its longest frame, so this is proof, but
/// not every joined frame is noticed.
#[derive(Default)]
struct Lengths {
    /// Flows whose frames are too long, and the longest mean among them.
    flows: u64,
    longest: u64,
}

impl Lengths {
    fn add(&mut self, flow: &Flow, longest_frame: u64) {
        if flow.bytes > flow.packets.saturating_mul(longest_frame) && flow.packets > 0 {
            self.flows += 1;
            self.longest = self.longest.max(flow.bytes / flow.packets);
        }
    }
}

impl Evidence for Lengths {
    const PROBLEMS: &'static [Problem] = &[Problem::JoinedFrames];

    fn suffices(&self) -> bool {
        true
    }

    fn judge(&self) -> Vec<(Problem, Verdict)> {
        let Self { flows, longest } = self;
        let verdict = match flows {
            0 => Verdict::Sound,
            _ => Verdict::Wrong(format!(
                "frames of {flows} flow(s) are longer than the wire allows, up to {longest} bytes on average"
            )),
        };
        vec![(Problem::JoinedFrames, verdict)]
    }
}

/// Which conversations are seen. Those that stay on a link, or go to a group, have no direction.
#[derive(Default)]
struct Directions {
    contacts: u64,
    transit: u64,
    pairs: HashSet<(IpAddr, IpAddr), RandomState>,
}

impl Directions {
    /// Conversations that a verdict rests on.
    const MIN_CONTACTS: u64 = 50;

    fn add(&mut self, observation: &Observation) {
        let Observation::Contact(contact) = observation else { return };
        let ends = [contact.trifecta.initiator, contact.trifecta.responder];
        if !ends.iter().all(|end| is_routed(*end)) {
            return;
        }
        self.contacts += 1;
        if contact.direction == Direction::Transit {
            self.transit += 1;
            if self.pairs.len() < MIN_PAIRS {
                self.pairs.insert((ends[0].min(ends[1]), ends[0].max(ends[1])));
            }
        }
    }
}

impl Evidence for Directions {
    const PROBLEMS: &'static [Problem] = &[Problem::Transit];

    fn suffices(&self) -> bool {
        self.contacts >= Self::MIN_CONTACTS
    }

    fn judge(&self) -> Vec<(Problem, Verdict)> {
        let Self { contacts, transit, pairs } = self;
        let wrong = 2 * transit > *contacts && pairs.len() >= MIN_PAIRS;
        let verdict = if wrong {
            Verdict::Wrong(format!(
                "{transit} of {contacts} conversations that began are between external addresses"
            ))
        } else {
            Verdict::Sound
        };
        vec![(Problem::Transit, verdict)]
    }
}

/// Whether frames to and from an address cross routers.
fn is_routed(address: IpAddr) -> bool {
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
        return false;
    }
    match address {
        IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

/// `part` of `whole` in percent, for a person.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", 100.0 * part as f64 / whole.max(1) as f64)
}

#[cfg(test)]
mod tests;
