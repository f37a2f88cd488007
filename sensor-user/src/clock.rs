//! Time as the pipeline sees it: one clock that never runs backwards.

use std::{fmt, ops::Sub, time::Duration};

use nix::time::ClockId;

/// A point in time, in nanoseconds since the UNIX epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds since the UNIX epoch.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000_000)
    }

    /// Whole seconds since the UNIX epoch; what comes after 2106 is taken for the last that fits.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "what does not fit is looked for")]
    pub const fn seconds(self) -> u32 {
        let seconds = self.0 / 1_000_000_000;
        if seconds > u32::MAX as u64 { u32::MAX } else { seconds as u32 }
    }

    /// Seconds since the UNIX epoch.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time from `earlier` to this, zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point moved by `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(duration)))
    }

    /// This point moved back by `duration`, saturating at the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanoseconds(duration)))
    }

    /// The end of the period of length `period` (aligned to the epoch) that this point lies in.
    #[must_use]
    pub fn period_end(self, period: Duration) -> Self {
        let period = nanoseconds(period).max(1);
        Self((self.0 / period + 1).saturating_mul(period))
    }
}

impl Sub for Timestamp {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// The clock of a live capture: `CLOCK_MONOTONIC`, which stamps frames, shown as wall-clock time.
///
/// The distance between the two is taken at the start and never shrinks, so that time does not run
/// backwards when somebody sets the clock back; it grows when the wall clock runs ahead (a step forward,
/// or a suspended host, during which the monotonic clock stands still).
#[derive(Debug)]
pub struct LiveClock {
    /// Nanoseconds to add to `CLOCK_MONOTONIC`.
    offset: u64,
}

/// A step of the wall clock smaller than this is left to the drift that NTP slews away.
const STEP: Duration = Duration::from_secs(1);

impl LiveClock {
    /// Starts from the clocks as they are.
    #[must_use]
    pub fn start() -> Self {
        Self { offset: read(ClockId::CLOCK_REALTIME).saturating_sub(read(ClockId::CLOCK_MONOTONIC)) }
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(read(ClockId::CLOCK_MONOTONIC))
    }

    /// The time of a stamp in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn at(&self, monotonic: u64) -> Timestamp {
        Timestamp(self.offset.saturating_add(monotonic))
    }

    /// Follows a wall clock that ran ahead. Returns by how much the wall clock differs, as (ahead, behind).
    pub fn follow_wall_clock(&mut self) -> (Duration, Duration) {
        let wall = Timestamp(read(ClockId::CLOCK_REALTIME));
        let now = self.now();
        let (ahead, behind) = (wall.since(now), now.since(wall));
        if ahead >= STEP {
            self.offset = self.offset.saturating_add(nanoseconds(ahead));
        }
        (ahead, behind)
    }
}

/// The wall clock, for what is told to other machines: what happens here is timed by [`LiveClock`].
#[must_use]
pub fn wall_clock() -> Timestamp {
    Timestamp(read(ClockId::CLOCK_REALTIME))
}

fn read(clock: ClockId) -> u64 {
    let time = clock.now().map(Duration::from).unwrap_or_default();
    nanoseconds(time)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
