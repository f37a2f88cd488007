//! A histogram of durations with fixed bounds.

use std::time::Duration;

/// How often something took how long, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DurationHistogram {
    below: [u64; Self::BOUNDS_MS.len()],
    count: u64,
    sum: Duration,
}

impl DurationHistogram {
    /// Upper bounds in milliseconds. A drain waits for a grace period of the kernel (some 10 ms) and must
    /// end within the drain period (1 s by default).
    pub const BOUNDS_MS: [u32; 10] = [1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];

    /// Counts one.
    pub fn observe(&mut self, duration: Duration) {
        for (count, bound) in self.below.iter_mut().zip(Self::BOUNDS_MS) {
            *count += u64::from(duration <= Duration::from_millis(bound.into()));
        }
        self.count += 1;
        self.sum += duration;
    }

    /// Upper bounds in seconds, with how many took at most that long.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        Self::BOUNDS_MS.into_iter().map(|bound| f64::from(bound) / 1e3).zip(self.below)
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// How long all took together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }
}
