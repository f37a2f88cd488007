//! What the server does while it cannot accept: most likely the process has no file descriptor left.

use std::{
    io,
    time::{Duration, Instant},
};

use tracing::warn;

/// Waits longer from one failure to the next, and does not fill the log however often they come and go.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    /// One after the other.
    failures: u32,
    /// When the log was told last.
    told: Option<Instant>,
}

impl BackOff {
    const FIRST: Duration = Duration::from_millis(20);
    const LONGEST: Duration = Duration::from_secs(1);
    const SILENCE: Duration = Duration::from_mins(1);

    /// Accepting went well.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after `error`, which the log is told of once a minute at most.
    pub(super) fn after(&mut self, error: &io::Error, now: Instant) -> Duration {
        if self.told.is_none_or(|told| now.duration_since(told) >= Self::SILENCE) {
            self.told = Some(now);
            warn!(%error, "cannot accept HTTP connections; trying again");
        }
        let wait = Self::FIRST.saturating_mul(1 << self.failures.min(10)).min(Self::LONGEST);
        self.failures += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_begin_anew_after_a_success() {
        let (mut back_off, now) = (BackOff::default(), Instant::now());
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        let waits: Vec<u128> = (0..8).map(|_| back_off.after(&error, now).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1000, 1000]);
        back_off.reset();
        assert_eq!(back_off.after(&error, now).as_millis(), 20);
    }

    #[test]
    fn the_log_is_told_once_a_minute_even_where_successes_come_between() {
        let (mut back_off, begin) = (BackOff::default(), Instant::now());
        let error = io::Error::from_raw_os_error(libc::EMFILE);
        let mut told = Vec::new();
        for second in 0..150 {
            back_off.after(&error, begin + Duration::from_secs(second));
            back_off.reset();
            told.extend(back_off.told);
        }
        told.dedup();
        assert_eq!(told.len(), 3);
    }
}
