//! What the pipeline found, as files, terminals and programs get it. Only here are types serialised.

pub mod json;
pub mod table;

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
