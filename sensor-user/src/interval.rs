//! The statistics of one interval, as every output and detector receives them.

use std::net::IpAddr;

use crate::{clock::Timestamp, detect::roles::Recognised, flow::FrameCounts};

/// One source in one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInterval {
    /// The local address.
    pub source: IpAddr,
    /// New connections it opened.
    pub new_connections: u64,
    /// Of these, TCP.
    pub new_tcp: u64,
    /// Of these, UDP.
    pub new_udp: u64,
    /// Distinct external addresses among them that are new peers.
    pub new_peers: u64,
    /// Distinct responder ports among the new connections.
    pub new_ports: u64,
    /// New connections answered by the end of the interval.
    pub answered: u64,
    /// New connections refused with RST by the end of the interval.
    pub refused: u64,
    /// New connections that an ICMP error spoke of by the end of the interval.
    pub unreachable: u64,
    /// First sights of TCP conversations whose opening was not seen.
    pub mid_stream: u64,
    /// Trifectas it initiated with at least one frame in the interval, those on ignored ports left out.
    pub active_trifectas: u64,
    /// Population variance of the frames it sent per active trifecta in which it sent any; none without one.
    pub trifecta_packets_variance: Option<f64>,
    /// Mean of new connections per interval over the window; none before the first full interval.
    pub mean: Option<f64>,
    /// Sample variance of the same; none before the second.
    pub variance: Option<f64>,
    /// Bytes it sent.
    pub bytes_out: u64,
    /// Bytes it received.
    pub bytes_in: u64,
    /// Frames it sent.
    pub packets_out: u64,
    /// Frames it received.
    pub packets_in: u64,
    /// The torrent detector's score, 0 to 1.
    pub torrent_score: f64,
    /// What it is, as far as it was recognised.
    pub roles: Vec<Recognised>,
}

impl SourceInterval {
    /// Share of the new connections that were not answered by the end of the interval; none without one.
    #[must_use]
    pub fn unanswered_ratio(&self) -> Option<f64> {
        let new = self.new_connections;
        (new > 0).then(|| new.saturating_sub(self.answered) as f64 / new as f64)
    }

    /// Index of dispersion: variance over mean; 1 for a Poisson process. None without a mean.
    #[must_use]
    pub fn dispersion(&self) -> Option<f64> {
        let mean = self.mean.filter(|mean| *mean > 0.0)?;
        Some(self.variance? / mean)
    }
}

/// One complete interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Its beginning.
    pub start: Timestamp,
    /// Its end, aligned to the wall clock unless the capture ended inside.
    pub end: Timestamp,
    /// Its measured length in seconds; every rate divides by this.
    pub seconds: f64,
    /// Every source known in it, idle ones included, in the order of new connections, most first.
    pub sources: Vec<SourceInterval>,
    /// Frame counts by interface.
    pub frames: Vec<FrameCounts>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{interval::SourceInterval, output::fixture};

    fn with(mean: Option<f64>, variance: Option<f64>) -> SourceInterval {
        SourceInterval { mean, variance, ..fixture::source([10, 0, 0, 5].into(), 0) }
    }

    #[test]
    fn dispersion_is_unknown_without_a_mean_a_variance_or_anything_to_disperse() {
        for (mean, variance) in [(None, None), (Some(5.0), None), (None, Some(5.0)), (Some(0.0), Some(0.0))] {
            assert_eq!(with(mean, variance).dispersion(), None, "{mean:?} {variance:?}");
        }
    }

    proptest! {
        /// Batches multiply the index by their size, whatever the rate: that is what it is for.
        #[test]
        fn dispersion_grows_with_the_size_of_batches(
            counts in prop::collection::vec(0u32..1_000, 2..60), batch in 1u32..100,
        ) {
            let of = |scale: f64| {
                let values: Vec<f64> = counts.iter().map(|count| f64::from(*count) * scale).collect();
                let n = values.len() as f64;
                let mean = values.iter().sum::<f64>() / n;
                let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
                with(Some(mean), Some(variance)).dispersion()
            };
            match (of(1.0), of(f64::from(batch))) {
                (Some(single), Some(batched)) => {
                    prop_assert!((batched - f64::from(batch) * single).abs() <= 1e-9 * batched.max(1.0));
                }
                (single, batched) => {
                    prop_assert!(single == batched && counts.iter().all(|count| *count == 0));
                }
            }
        }
    }
}
