//! A histogram of durations with fixed bounds.

use std::time::Duration;

/// How often something took how long, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DurationHistogram {
    below: [u64; Self::BOUNDS_US.len()],
    count: u64,
    sum: Duration,
}

impl DurationHistogram {
    /// Upper bounds in microseconds. A drain of an idle port takes some 100 µs, one that has to wait for a
    /// grace period of the kernel some 10 ms, and it must end within the drain period, 1 s by default.
    pub const BOUNDS_US: [u32; 11] =
        [250, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000];

    /// Counts one.
    pub fn observe(&mut self, duration: Duration) {
        for (count, bound) in self.below.iter_mut().zip(Self::BOUNDS_US) {
            *count += u64::from(duration <= Duration::from_micros(bound.into()));
        }
        self.count += 1;
        self.sum += duration;
    }

    /// Upper bounds in seconds, with how many took at most that long.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        Self::BOUNDS_US.into_iter().map(|bound| f64::from(bound) / 1e6).zip(self.below)
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
