//! What the pipeline found, as files, terminals and programs get it. Only here are types serialised.
//!
//! Everything that the live sensor shows is taken from one plain value, the [`snapshot`] that the run loop
//! builds after every drain. Nothing here can slow a drain: outputs read finished snapshots or take from
//! bounded queues.

pub mod json;
pub mod table;
#[cfg(test)]
mod tests;

pub mod snapshot;

pub mod metrics;
pub mod process;

pub mod page;
pub mod publish;

mod worker;

pub mod alert_log;
pub mod http;
pub mod live_table;
pub mod notify;

#[cfg(test)]
pub(crate) mod fixture;

use std::io;

use crate::{flow::FrameCounts, pipeline::Report};

/// What became of a whole capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames by outcome.
    pub frames: FrameCounts,
    /// Complete intervals.
    pub intervals: u64,
    /// Alerts that began.
    pub alerts: u64,
}

/// Where a replay's results go.
pub trait ReplayOutput {
    /// Takes what one drain led to.
    fn report(&mut self, report: &Report) -> io::Result<()>;

    /// Takes the totals; nothing follows.
    fn finish(&mut self, totals: &Totals) -> io::Result<()>;
}
