//! Sequential tests: a leaky cumulative sum, and the likelihood ratios that feed it.
//!
//! A cumulative sum that is reflected at zero (Page, *Continuous inspection schemes*, Biometrika 1954)
//! is the fastest way to notice that a stream of events has changed its nature, for a given rate of
//! false alarms. The leak is what the stream loses per second while nothing happens: it makes the sum
//! of a marked point process, so that slow evidence never adds up and fast evidence does.

use crate::clock::Timestamp;

/// `S ← max(0, S − leak·Δt)`, then `S ← clamp(S + x, 0, cap)` at every event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cusum {
    value: f64,
    as_of: Timestamp,
}

impl Cusum {
    /// The sum as of the last call of [`Self::leak`].
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// Moves to `now`, losing `per_second` for every second since the last move. A `now` that lies
    /// before changes nothing.
    pub fn leak(&mut self, now: Timestamp, per_second: f64) {
        if now > self.as_of {
            if self.value > 0.0 {
                let seconds = now.since(self.as_of).as_secs_f64();
                self.value = (self.value - per_second * seconds).max(0.0);
            }
            self.as_of = now;
        }
    }

    /// Adds evidence, which may be negative; the sum stays between 0 and `cap`.
    pub fn add(&mut self, evidence: f64, cap: f64) {
        self.value = (self.value + evidence).clamp(0.0, cap);
    }

    /// Starts over.
    pub const fn reset(&mut self) {
        self.value = 0.0;
    }
}

/// The logarithms of Wald's likelihood ratio for events that either fail or succeed.
///
/// Fed to a sum that is reflected at zero they make the threshold random walk of Jung et al. (*Fast
/// portscan detection using sequential hypothesis testing*, IEEE S&P 2004).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Odds {
    /// Added at a failure; positive.
    pub failure: f64,
    /// Added at a success; negative.
    pub success: f64,
}

impl Odds {
    /// The ratio of a hypothesis under which events succeed with probability `suspect` to one under
    /// which they do with probability `benign`, which must be the larger.
    #[must_use]
    pub fn new(benign: f64, suspect: f64) -> Self {
        Self { failure: ((1.0 - suspect) / (1.0 - benign)).ln(), success: (suspect / benign).ln() }
    }

    /// Wald's upper threshold for a test that errs with probability `false_alarm` on the benign and
    /// detects with probability `detection`.
    #[must_use]
    pub fn threshold(false_alarm: f64, detection: f64) -> f64 {
        (detection / false_alarm).ln()
    }
}

/// A sum as a score for people: 0 without evidence, one half at the threshold, towards 1 above it.
#[must_use]
pub fn score(sum: f64, threshold: f64) -> f64 {
    1.0 - (-sum.max(0.0) / threshold).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_score_is_one_half_at_the_threshold() {
        assert!(score(0.0, 10.0).abs() < 1e-12);
        assert!((score(10.0, 10.0) - 0.5).abs() < 1e-12);
        assert!((score(50.0, 10.0) - 0.968_75).abs() < 1e-12);
        assert!(score(-3.0, 10.0).abs() < 1e-12);
    }

    #[test]
    fn the_odds_are_those_of_jung_et_al() {
        let odds = Odds::new(0.8, 0.2);
        assert!((odds.failure - 4f64.ln()).abs() < 1e-12);
        assert!((odds.success + 4f64.ln()).abs() < 1e-12);
        assert!((Odds::threshold(0.01, 0.99) - 99f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn time_that_runs_backwards_leaks_nothing() {
        let mut sum = Cusum::default();
        sum.leak(Timestamp::from_secs(10), 1.0);
        sum.add(5.0, 100.0);
        sum.leak(Timestamp::from_secs(3), 1.0);
        assert!((sum.value() - 5.0).abs() < 1e-12);
        sum.leak(Timestamp::from_secs(12), 1.0);
        assert!((sum.value() - 3.0).abs() < 1e-12);
    }

    /// A million events decades after the epoch, where nanoseconds no longer fit a double.
    #[test]
    fn long_runs_at_late_times_lose_nothing() {
        let start = Timestamp::from_secs(4_000_000_000);
        let mut sum = Cusum::default();
        for number in 0..1_000_000_u64 {
            sum.leak(start.plus(std::time::Duration::from_millis(number * 100)), 0.5);
            sum.add(1.0, f64::INFINITY);
        }
        // One event in a tenth of a second, of which a twentieth leaks.
        let expected = 1e6 - 0.05 * 999_999.0;
        assert!((sum.value() - expected).abs() < 1e-3, "{} is not {expected}", sum.value());
    }

    proptest! {
        /// Without cap, the sum equals its closed form: the largest sum of net evidence over all ends
        /// of the sequence, which is how Page defined it.
        #[test]
        fn the_sum_is_the_largest_suffix(
            steps in prop::collection::vec((0u64..5_000, -3.0f64..3.0), 0..200),
            leak in 0.0f64..2.0,
        ) {
            let mut sum = Cusum::default();
            let mut now = Timestamp::from_secs(1_000);
            let mut net = Vec::new();
            sum.leak(now, leak);
            for (milliseconds, evidence) in steps {
                now = now.plus(std::time::Duration::from_millis(milliseconds));
                sum.leak(now, leak);
                sum.add(evidence, f64::INFINITY);
                net.push(-leak * milliseconds as f64 / 1e3);
                net.push(evidence);
            }
            let largest = (0..=net.len()).map(|from| net[from..].iter().sum::<f64>()).fold(0.0, f64::max);
            prop_assert!((sum.value() - largest).abs() < 1e-6, "{} is not {largest}", sum.value());
        }

        #[test]
        fn the_sum_stays_within_its_bounds(
            steps in prop::collection::vec((any::<u64>(), -1e9f64..1e9), 0..100), cap in 0.0f64..100.0,
        ) {
            let mut sum = Cusum::default();
            for (time, evidence) in steps {
                sum.leak(Timestamp(time), 0.5);
                sum.add(evidence, cap);
                prop_assert!((0.0..=cap).contains(&sum.value()));
            }
        }
    }
}
