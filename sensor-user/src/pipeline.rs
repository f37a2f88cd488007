//! The assembly: drains in, intervals and alerts out. No I/O and no clock of its own.

use crate::{alert::Alert, config::Config, flow::Drain, interval::Interval};

/// What one drain led to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Intervals that the drain completed, oldest first.
    pub intervals: Vec<Interval>,
    /// Alerts that began or ended, oldest first.
    pub alerts: Vec<Alert>,
}

/// From drains to intervals and alerts.
pub struct Pipeline {}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(_config: &Config) -> Self {
        Self {}
    }

    /// Takes the next drain; drains must not overlap and must come in the order of time.
    pub fn feed(&mut self, _drain: &Drain) -> Report {
        Report::default()
    }

    /// Closes the interval that is under way, as at the end of a capture or on stop.
    pub fn finish(&mut self) -> Report {
        Report::default()
    }
}
