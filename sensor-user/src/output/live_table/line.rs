//! An interval in one line.

use std::fmt::Write as _;

use super::frame::{kinds_of, percent};
use crate::{interval::Interval, output::snapshot::Snapshot};

/// Sources that a line names.
const NAMED: usize = 3;

/// The essentials of `interval`, the last complete one of `snapshot`.
pub(super) fn of(snapshot: &Snapshot, interval: &Interval) -> String {
    let new: u64 = interval.sources.iter().map(|source| source.new_connections).sum();
    let mut line = format!("{} {new} new connections in {:.1} s", interval.end, interval.seconds);
    let busiest = interval.sources.iter().filter(|source| source.new_connections > 0).take(NAMED);
    for (index, source) in busiest.enumerate() {
        line.push_str(if index == 0 { ", most by " } else { ", " });
        // Writing to memory cannot fail.
        let _ = write!(line, "{} ({})", source.source, source.new_connections);
    }
    let mut frames = crate::flow::FrameCounts::default();
    interval.frames.iter().for_each(|counts| frames.add(counts));
    let rate = if interval.seconds > 0.0 { frames.seen as f64 / interval.seconds } else { 0.0 };
    let _ = write!(line, "; {rate:.0} frames/s, coverage {}", percent(frames.coverage()));
    let mut alerting: Vec<_> = snapshot.alerts.active.iter().map(|alert| alert.source).collect();
    alerting.sort_unstable();
    alerting.dedup();
    if alerting.is_empty() {
        line.push_str("; no alert");
    }
    for (index, source) in alerting.into_iter().enumerate() {
        line.push_str(if index == 0 { "; alert: " } else { ", " });
        let _ = write!(line, "{source} {}", kinds_of(snapshot, source));
    }
    line
}
