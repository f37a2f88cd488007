//! Openings of TCP conversations as probes of the mirror.
//!
//! A sender that goes on after its SYN has received a SYN+ACK, and one that goes on after its SYN+ACK has
//! received an ACK: in both cases the other direction had a frame after the first and before the last of what
//! was seen here. If both ends of that stretch lie in one drain, so does the answer, and a mirror that shows
//! both directions shows it.
//!
//! - The other direction has no frame at all in the drain: it is not mirrored.
//! - It has frames, but not the SYN+ACK: that frame was lost before it came here. SYN+ACKs are a fair sample
//!   of all frames for a queue that drops what finds it full, so their loss estimates that of all.
//!
//! Scans, dead peers and forged floods do not matter: they never go on. Entries that stand for several
//! connections are left out, since their answers cannot be told apart.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use foldhash::fast::RandomState;
use sensor_common::packet::Marks;

use super::{Evidence, Pairs, Problem, Verdict, percent};
use crate::flow::{Drain, Flow, FlowId, FrameCounts, Protocol};

/// Openings looked at in one drain. Drains bring flows in no order, so the first of them are a fair sample.
const SAMPLE: usize = 512;

/// Openings that a verdict on directions rests on.
const MIN_OPENINGS: u64 = 20;

/// Share of one-sided openings from which the mirror is called one-way. A one-way mirror makes it all of
/// them; the rest is for conversations that cross it twice.
const ONE_WAY: f64 = 0.9;

/// Share from which it is called partly so. On a sound mirror it is zero but for frames that two CPUs handle
/// in another order while a drain flips the table, far below 1 %.
const PARTLY: f64 = 0.1;

/// Openings with both directions that a verdict on missing frames rests on.
const MIN_PROBES: u64 = 200;
/// Of these, how many must miss their SYN+ACK,
const MIN_MISSING: u64 = 10;
/// and which share of them.
const MISSING: f64 = 0.02;

/// What the openings of some drains showed.
#[derive(Default)]
pub(super) struct Openings {
    seen: u64,
    one_sided: u64,
    pairs: Pairs,
    one_sided_pairs: Pairs,
    /// Openings by SYN with both directions, in drains in which the sensor itself lost nothing.
    probes: u64,
    /// Of these, without SYN+ACK.
    missing: u64,
    /// One of the one-sided: from whom to whom it was seen.
    example: Option<(IpAddr, IpAddr)>,
}

/// An opening whose answer is looked for.
struct Probe {
    /// Place in the drain's flows.
    position: usize,
    answered: bool,
    with_syn_ack: bool,
}

impl Openings {
    pub(super) fn add(&mut self, drain: &Drain) {
        let mut probes: HashMap<FlowId, Probe, RandomState> = HashMap::default();
        for (position, flow) in drain.flows.iter().enumerate() {
            if probes.len() >= SAMPLE {
                break;
            }
            if went_on(flow)
                && let Entry::Vacant(entry) = probes.entry(answer_to(flow))
            {
                entry.insert(Probe { position, answered: false, with_syn_ack: false });
            }
        }
        if probes.is_empty() {
            return;
        }
        for flow in drain.flows.iter().filter(|flow| flow.id.protocol == Protocol::TCP && flow.packets > 0) {
            if let Some(probe) = probes.get_mut(&flow.id) {
                probe.answered = true;
                probe.with_syn_ack = flow.marks.has(Marks::SYN_ACK);
            }
        }
        let whole = drain.frames.iter().map(FrameCounts::lost).sum::<u64>() == 0;
        for probe in probes.values() {
            self.count(&drain.flows[probe.position], probe, whole);
        }
    }

    fn count(&mut self, flow: &Flow, probe: &Probe, whole: bool) {
        self.seen += 1;
        self.pairs.add(flow);
        if !probe.answered {
            self.one_sided += 1;
            self.one_sided_pairs.add(flow);
            self.example = Some((flow.id.src, flow.id.dst));
        } else if whole && flow.marks.has(Marks::SYN) {
            self.probes += 1;
            self.missing += u64::from(!probe.with_syn_ack);
        }
    }

    fn directions(&self) -> [(Problem, Verdict); 2] {
        let Self { seen, one_sided, example, .. } = self;
        let share = *one_sided as f64 / (*seen).max(1) as f64;
        let evidence = || {
            let example = example.map_or(String::new(), |(from, to)| format!(", such as {from} to {to}"));
            let part = percent(*one_sided, *seen);
            Verdict::Wrong(format!(
                "of {one_sided} of {seen} TCP conversations ({part}) only one direction arrives{example}"
            ))
        };
        let enough = self.one_sided_pairs.enough();
        let (one_way, partly) = match enough {
            true if share >= ONE_WAY => (evidence(), Verdict::Sound),
            true if share >= PARTLY => (Verdict::Sound, evidence()),
            _ => (Verdict::Sound, Verdict::Sound),
        };
        [(Problem::OneWay, one_way), (Problem::PartlyOneWay, partly)]
    }

    /// A verdict on missing frames, where there are probes enough.
    fn frames(&self) -> (Problem, Verdict) {
        let Self { probes, missing, .. } = self;
        let wrong =
            *probes >= MIN_PROBES && *missing >= MIN_MISSING && *missing as f64 >= MISSING * *probes as f64;
        let verdict = if wrong {
            let share = percent(*missing, *probes);
            Verdict::Wrong(format!(
                "{missing} of {probes} answered TCP openings ({share}) came without their SYN+ACK"
            ))
        } else {
            Verdict::Sound
        };
        (Problem::MissingFrames, verdict)
    }
}

impl Evidence for Openings {
    const PROBLEMS: &'static [Problem] = &[Problem::OneWay, Problem::PartlyOneWay, Problem::MissingFrames];

    fn suffices(&self) -> bool {
        self.seen >= MIN_OPENINGS && self.pairs.enough()
    }

    fn judge(&self) -> Vec<(Problem, Verdict)> {
        self.directions().into_iter().chain([self.frames()]).collect()
    }
}

/// Whether this is one connection that was opened, and went on, in this drain.
fn went_on(flow: &Flow) -> bool {
    flow.id.protocol == Protocol::TCP
        && flow.marks.has(Marks::SYN.with(Marks::SYN_ACK))
        && flow.marks.has(Marks::OTHER.with(Marks::FIN))
        && !flow.marks.has(Marks::MORE_PORTS)
}

/// The flow that answers `flow`.
fn answer_to(flow: &Flow) -> FlowId {
    FlowId { src: flow.id.dst, dst: flow.id.src, dst_port: flow.src_port, protocol: flow.id.protocol }
}
