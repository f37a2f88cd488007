//! Whether every frame comes twice, as where both directions of both ends of a path are mirrored.
//!
//! The two copies come within microseconds of each other, so they lie in the same drain, and the frames of
//! each flow are even in number. On a sound mirror half of the counts are odd. Two kinds of sound traffic
//! have many even counts: resolvers that ask for A and AAAA together (UDP, which is left out), and machines
//! that repeat one exchange for ever. So a verdict needs TCP flows of several pairs with various counts; and
//! an exchange that repeats is sometimes cut by the end of a drain, which makes odd counts where frames are
//! single, but not where they are double.

use sensor_common::packet::Marks;

use super::{Evidence, Pairs, Problem, Verdict, percent};
use crate::flow::{Flow, Protocol};

/// Flows that a verdict rests on.
const MIN_FLOWS: u64 = 200;

/// Distinct even counts among them.
const MIN_COUNTS: u32 = 4;

/// Share of odd counts up to which frames are called double. Zero, but for copies between which a drain
/// ended.
const MOST_ODD: f64 = 0.01;

/// Counts of frames of the flows of some drains.
#[derive(Default)]
pub(super) struct Copies {
    flows: u64,
    odd: u64,
    /// Bit n: a flow had 2n frames; those with more share the last bit.
    even_counts: u64,
    pairs: Pairs,
}

impl Copies {
    pub(super) fn add(&mut self, flow: &Flow) {
        let one_connection = flow.id.protocol == Protocol::TCP && !flow.marks.has(Marks::MORE_PORTS);
        if !one_connection || flow.packets == 0 {
            return;
        }
        self.flows += 1;
        if flow.packets.is_multiple_of(2) {
            self.even_counts |= 1 << (flow.packets / 2).min(63);
            self.pairs.add(flow);
        } else {
            self.odd += 1;
        }
    }
}

impl Evidence for Copies {
    const PROBLEMS: &'static [Problem] = &[Problem::DuplicatedFrames];

    fn suffices(&self) -> bool {
        self.flows >= MIN_FLOWS && self.pairs.enough() && self.even_counts.count_ones() >= MIN_COUNTS
    }

    fn judge(&self) -> Vec<(Problem, Verdict)> {
        let Self { flows, odd, .. } = self;
        let even = flows - odd;
        let verdict = if *odd as f64 <= MOST_ODD * *flows as f64 {
            Verdict::Wrong(format!(
                "{even} of {flows} TCP flows ({}) have an even number of frames: each comes twice",
                percent(even, *flows)
            ))
        } else {
            Verdict::Sound
        };
        vec![(Problem::DuplicatedFrames, verdict)]
    }
}
