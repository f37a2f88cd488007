//! What of an interval is evidence where a part of it is allowed, and the baseline of that.

use super::Baseline;
use crate::{detect::allow::Apart, interval::SourceInterval};

/// Mean and variance of the new connections that are not allowed, of a source that also has allowed ones.
///
/// The statistics' own are of all connections, and only as sums, so that the allowed cannot be taken out of
/// their variance afterwards. These weigh an interval the less the older it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest {
    mean: f64,
    variance: f64,
    intervals: u32,
}

impl Rest {
    /// A new interval weighs at least one part in so many: as in the default window of the statistics.
    const MEMORY: u32 = 30;

    /// Goes on where the baseline ends that a source had after so many intervals in which nothing of it was
    /// allowed.
    pub fn after(baseline: &Baseline, intervals: u32) -> Self {
        let Some(mean) = baseline.mean else { return Self::of_silence(0) };
        Self { mean, variance: baseline.variance.unwrap_or(0.0), intervals }
    }

    /// Of a source that did nothing for so many intervals.
    pub const fn of_silence(intervals: u32) -> Self {
        Self { mean: 0.0, variance: 0.0, intervals }
    }

    /// Learns the next interval.
    pub fn learn(&mut self, new: u64) {
        self.intervals = self.intervals.saturating_add(1);
        let weight = 1.0 / f64::from(self.intervals.min(Self::MEMORY));
        let off = new as f64 - self.mean;
        self.mean += weight * off;
        self.variance = (1.0 - weight) * (self.variance + weight * off * off);
    }

    /// What it comes to.
    pub const fn baseline(&self) -> Baseline {
        Baseline { mean: Some(self.mean), variance: Some(self.variance) }
    }
}

/// What remains of an interval without what is allowed of it. Ports that are used both ways are taken for
/// allowed.
pub fn rest(of: &SourceInterval, apart: &Apart) -> SourceInterval {
    SourceInterval {
        new_connections: of.new_connections.saturating_sub(apart.connections),
        new_tcp: of.new_tcp.saturating_sub(apart.tcp),
        new_udp: of.new_udp.saturating_sub(apart.udp),
        new_peers: of.new_peers.saturating_sub(apart.peers),
        new_ports: of.new_ports.saturating_sub(apart.ports.len() as u64),
        answered: of.answered.saturating_sub(apart.answered),
        ..of.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_variance_are_those_of_the_values_as_long_as_all_weigh_the_same() {
        let mut rest = Rest::of_silence(0);
        for new in [2, 4, 4, 4, 5, 5, 7, 9] {
            rest.learn(new);
        }
        let Baseline { mean, variance } = rest.baseline();
        assert!((mean.unwrap() - 5.0).abs() < 1e-9 && (variance.unwrap() - 4.0).abs() < 1e-9, "{rest:?}");
    }
}
