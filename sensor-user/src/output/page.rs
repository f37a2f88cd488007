//! What the live page gets: its files, and the sensor's state as JSON.
//!
//! The page is plain HTML, CSS and JavaScript, embedded in the program: it loads nothing from anywhere else
//! and needs nothing at run time. It is told what to show by server-sent events, rendered once per snapshot
//! however many pages are open:
//! - `sensor` after every drain: interfaces, frames, what is wrong with the mirror;
//! - `findings` when an interval is complete or an alert begins or ends: sources, alerts and what is allowed.
//!
//! A source's peers, ports and timeline are asked for one at a time, with [`source()`].
//!
//! Everything here is bounded: [`MAX_SOURCES`] sources, [`MAX_ACTIVE`] alerts that hold and the recent ones
//! of the snapshot. Texts may come from the network; the page shows all of them as text, never as markup.

mod alerts;
mod allowed;
pub mod assets;
mod sensor;
mod source;
mod sources;
mod troubles;

use serde::Serialize;

pub use source::source;

use super::snapshot::Snapshot;

/// Sources listed on the page.
pub const MAX_SOURCES: usize = 50;
/// Alerts that hold listed on the page; more are only counted.
pub const MAX_ACTIVE: usize = 50;

/// What the page is told when an interval is complete or an alert begins or ends.
#[derive(Serialize)]
struct Findings<'a> {
    #[serde(flatten)]
    sources: sources::Sources,
    #[serde(flatten)]
    alerts: alerts::Alerts<'a>,
    /// What the configuration allows.
    allowed: Vec<allowed::Allowed<'a>>,
}

/// The event `sensor`.
#[must_use]
pub fn sensor_event(snapshot: &Snapshot) -> String {
    event("sensor", &sensor::Sensor::of(snapshot))
}

/// The event `findings`.
#[must_use]
pub fn findings_event(snapshot: &Snapshot) -> String {
    event(
        "findings",
        &Findings {
            sources: sources::Sources::of(snapshot),
            alerts: alerts::Alerts::of(snapshot),
            allowed: allowed::Allowed::all(snapshot),
        },
    )
}

/// An event as `text/event-stream` has it (HTML Living Standard, section 9.2); JSON has no line ends.
fn event(name: &str, data: &impl Serialize) -> String {
    format!("event: {name}\ndata: {}\n\n", json(data))
}

/// # Panics
///
/// Never: these types have string keys only and serialise to memory.
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("plain values must serialise")
}

/// Milliseconds since the UNIX epoch, as JavaScript counts time.
fn milliseconds(time: crate::clock::Timestamp) -> u64 {
    time.0 / 1_000_000
}

/// Rounded to three decimals: what a reader can use.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// `count` in `seconds` as a rate; 0 where no time passed.
fn per_second(count: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { round(count / seconds) } else { 0.0 }
}

#[cfg(test)]
mod tests;
