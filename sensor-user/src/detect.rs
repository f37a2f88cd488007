//! Detectors: one file per rule, fed by observations and intervals, without I/O and without a clock.

use std::net::IpAddr;

use crate::{
    alert::{AlertKind, Finding},
    clock::Timestamp,
    interval::Interval,
    observation::Observation,
};

/// A rule that names sources.
///
/// The pipeline calls [`observe`](Self::observe) for every observation of a drain in the order of time,
/// then [`advance`](Self::advance) once with the end of the drain, and
/// [`close_interval`](Self::close_interval) when an interval is complete. Time never runs backwards.
pub trait Detector: Send {
    /// What it finds.
    fn kind(&self) -> AlertKind;

    /// Learns one thing.
    fn observe(&mut self, observation: &Observation);

    /// Decides as of `now`, adding what begins or ceases to hold.
    fn advance(&mut self, now: Timestamp, findings: &mut Vec<Finding>);

    /// Decides on a complete interval.
    fn close_interval(&mut self, interval: &Interval, findings: &mut Vec<Finding>);

    /// The current score of a source, 0 to 1; 0 for one it does not know.
    fn score(&self, source: IpAddr) -> f64;
}
