//! Rates and counts that forget exponentially, in constant memory.

use std::time::Duration;

use crate::clock::Timestamp;

/// The rate of events, averaged with weights that fall by e per `memory`.
///
/// An event adds `1/memory`; between events the rate decays. For a stream of rate r that began a time t
/// ago the expectation is r·(1 − e^(−t/memory)): it starts low and never overshoots, so that a burst at
/// the start is not mistaken for a habit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DecayingRate {
    rate: f64,
    as_of: Timestamp,
}

impl DecayingRate {
    /// Counts one event at `now`.
    pub fn count(&mut self, now: Timestamp, memory: Duration) {
        self.rate = self.per_second(now, memory) + 1.0 / memory.as_secs_f64();
        self.as_of = self.as_of.max(now);
    }

    /// Events per second as of `now`.
    #[must_use]
    pub fn per_second(&self, now: Timestamp, memory: Duration) -> f64 {
        if self.rate == 0.0 {
            return 0.0;
        }
        self.rate * decay(now.since(self.as_of).as_secs_f64() / memory.as_secs_f64())
    }
}

/// e^(−x) for x of 0 and more. Most events follow each other so soon that four terms of the series leave
/// an error below 1e-9, at a fraction of the cost.
fn decay(x: f64) -> f64 {
    if x < 0.01 { 1.0 - x * (1.0 - x * (0.5 - x / 6.0)) } else { (-x).exp() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MEMORY: Duration = Duration::from_mins(1);

    #[test]
    fn a_steady_stream_converges_to_its_rate() {
        let mut rate = DecayingRate::default();
        for tenth in 0..10_000 {
            rate.count(Timestamp(tenth * 100_000_000), MEMORY);
        }
        let measured = rate.per_second(Timestamp::from_secs(1_000), MEMORY);
        assert!((measured - 10.0).abs() < 0.05, "{measured}");
    }

    #[test]
    fn nothing_seen_is_a_rate_of_zero() {
        assert!(DecayingRate::default().per_second(Timestamp::from_secs(5), MEMORY).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn the_series_is_the_exponential(x in 0.0f64..0.02) {
            prop_assert!((decay(x) - (-x).exp()).abs() < 1e-9);
        }

        /// Against the definition: the sum over all events of their weights.
        #[test]
        fn the_rate_is_the_sum_of_the_weights(gaps in prop::collection::vec(0u64..100_000, 1..200)) {
            let mut rate = DecayingRate::default();
            let mut now = Timestamp::from_secs(1);
            let mut events = Vec::new();
            for gap in gaps {
                now = now.plus(Duration::from_millis(gap));
                rate.count(now, MEMORY);
                events.push(now);
            }
            let weights: f64 = events.iter().map(|at| (-(now.since(*at)).as_secs_f64() / 60.0).exp()).sum();
            let (measured, expected) = (rate.per_second(now, MEMORY), weights / 60.0);
            prop_assert!((measured - expected).abs() <= 1e-7 * expected.max(1.0), "{measured} {expected}");
        }
    }
}
