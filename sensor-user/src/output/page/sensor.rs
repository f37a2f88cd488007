//! The page's header: what the sensor sees, and whether every frame is accounted for.

use std::collections::BTreeMap;

use sensor_common::reason::{Ignored, Lost};
use serde::Serialize;

use super::{milliseconds, round, troubles::troubles};
use crate::{
    capture::live::program::XdpMode,
    output::snapshot::{InterfaceStatus, Snapshot},
};

/// The event `sensor`.
#[derive(Serialize)]
pub(super) struct Sensor<'a> {
    version: &'a str,
    revision: &'a str,
    /// End of the last drain.
    time: u64,
    drains: u64,
    interfaces: Vec<Interface<'a>>,
    /// What is wrong with the mirror or the sensor, in sentences; empty where nothing is.
    troubles: Vec<String>,
}

#[derive(Serialize)]
struct Interface<'a> {
    name: &'a str,
    link_up: bool,
    /// None while the program is not attached.
    mode: Option<&'static str>,
    frames_per_second: f64,
    /// Of the last complete interval.
    coverage: Option<f64>,
    /// Frames since the start.
    seen: u64,
    counted: u64,
    ignored: u64,
    lost: u64,
    /// Of `seen`; anything but 0 is a defect of the sensor.
    unaccounted: i64,
    /// Why frames were ignored or lost, those reasons that occurred.
    reasons: BTreeMap<&'static str, u64>,
    table_entries: u64,
    table_capacity: u64,
}

impl<'a> Sensor<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        Self {
            version: snapshot.build.version,
            revision: snapshot.build.revision,
            time: milliseconds(snapshot.time),
            drains: snapshot.drains.done,
            interfaces: snapshot.interfaces.iter().map(Interface::of).collect(),
            troubles: troubles(snapshot),
        }
    }
}

impl<'a> Interface<'a> {
    fn of(interface: &'a InterfaceStatus) -> Self {
        let InterfaceStatus { name, reading, frames, frames_per_second, coverage, drain_duration: _ } =
            interface;
        let ignored = Ignored::ALL.iter().zip(frames.ignored).map(|(reason, count)| (reason.name(), count));
        let lost = Lost::ALL.iter().zip(frames.lost).map(|(reason, count)| (reason.name(), count));
        let reasons = ignored.chain(lost).chain([("nic_missed", frames.nic_missed)]);
        Self {
            name,
            link_up: reading.link_up,
            mode: reading.mode.map(XdpMode::name),
            frames_per_second: round(*frames_per_second),
            coverage: *coverage,
            seen: frames.seen,
            counted: frames.counted,
            ignored: frames.ignored.iter().sum(),
            lost: frames.lost(),
            unaccounted: i64::try_from(frames.unaccounted()).unwrap_or(i64::MAX),
            reasons: reasons.filter(|(_, count)| *count > 0).collect(),
            table_entries: reading.table_entries,
            table_capacity: reading.table_capacity,
        }
    }
}
