//! The state of the sensor after a drain, as every output sees it: plain data, built by the run loop
//! with [`SnapshotBuilder`], never changed afterwards.

mod builder;
mod evidence;
mod histogram;
pub mod history;
mod places;
mod room;

use std::{net::IpAddr, sync::Arc};

pub use builder::SnapshotBuilder;
pub use histogram::DurationHistogram;
pub use places::{IDLE_LEAVE, MIN_STAY, OtherSources, OwnSource, SourceTotals};
pub use room::WITH_EVIDENCE;

use crate::{
    alert::{Alert, AlertKind},
    capture::live::program::XdpMode,
    clock::Timestamp,
    detect::allow::AllowanceUse,
    flow::FrameCounts,
    interval::Interval,
    mirror::Diagnosis,
    orient::MemoryUse,
    output::notify::ReceiverStatus,
    suppress::{Suppressed, Suppression},
};

/// Which sensor this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build {
    /// Release.
    pub version: &'static str,
    /// Commit that it was built from, `unknown` outside a checkout.
    pub revision: &'static str,
}

/// What the capture knows of one interface at the end of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceReading {
    /// Whether the link is up.
    pub link_up: bool,
    /// How the program is attached; none while it is not (the interface is gone, or attaching failed).
    pub mode: Option<XdpMode>,
    /// Flows that the drained generation of the table held.
    pub table_entries: u64,
    /// Flows that it can hold.
    pub table_capacity: u64,
    /// ICMP errors whose quoted flow found no room in it, since the start.
    pub marks_lost: u64,
}

/// One interface.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// The latest reading.
    pub reading: InterfaceReading,
    /// Frames since the start.
    pub frames: FrameCounts,
    /// Frames per second in the last drain.
    pub frames_per_second: f64,
    /// Coverage of the last complete interval, 0 to 1; none before the first.
    pub coverage: Option<f64>,
    /// How long drains took.
    pub drain_duration: DurationHistogram,
}

/// Drains since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainStatus {
    /// Drains done.
    pub done: u64,
    /// Drains that began late because the one before took too long.
    pub overruns: u64,
}

/// The alert log's counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertLogStatus {
    /// Alerts written.
    pub written: u64,
    /// Alerts dropped because the queue was full.
    pub dropped: u64,
    /// Failed attempts to open the file or write to it.
    pub errors: u64,
}

/// An alert that holds at present.
#[derive(Clone, Debug, PartialEq)]
pub struct ActiveAlert {
    /// What.
    pub kind: AlertKind,
    /// Of which local address.
    pub source: IpAddr,
    /// Since when.
    pub since: Timestamp,
    /// That it is suppressed and until when, which may be over.
    pub suppressed: Option<Suppressed>,
    /// The numbers behind it, as of its beginning, by name.
    pub numbers: Vec<(&'static str, f64)>,
}

impl ActiveAlert {
    /// That it is suppressed at the time `now`.
    #[must_use]
    pub fn suppressed_at(&self, now: Timestamp) -> Option<&Suppressed> {
        self.suppressed.as_ref().filter(|suppressed| now < suppressed.until)
    }
}

/// What became of the last attempt to load the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigStatus {
    /// Whether it was taken.
    pub successful: bool,
    /// When one was taken last.
    pub taken: Timestamp,
}

/// Alerts so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertStatus {
    /// Alerts that began since the start, by [`AlertKind::ALL`].
    pub fired: [u64; AlertKind::ALL.len()],
    /// Those that hold, in the order of kind and source.
    pub active: Vec<ActiveAlert>,
    /// The latest, beginnings and ends, newest first.
    pub recent: Vec<Arc<Alert>>,
}

/// Sources with metric series of their own, and the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourcesStatus {
    /// Sources with series of their own, in the order of their address.
    pub own: Vec<OwnSource>,
    /// The sum of the others.
    pub other: OtherSources,
    /// Sources that may have series of their own.
    pub places: usize,
    /// Sources that lost their series to a busier one, since the start.
    pub evicted: u64,
}

/// The sensor after a drain.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Which sensor.
    pub build: Build,
    /// The configuration in effect.
    pub config: ConfigStatus,
    /// End of the last drain.
    pub time: Timestamp,
    /// Interfaces in the order of the configuration.
    pub interfaces: Vec<InterfaceStatus>,
    /// What is wrong with the mirror.
    pub mirror: Vec<Diagnosis>,
    /// Drains.
    pub drains: DrainStatus,
    /// From drained to published, of the drains before this one: this one is not published yet.
    pub pipeline_duration: DurationHistogram,
    /// The last complete interval; none before the first.
    pub interval: Option<Arc<Interval>>,
    /// Sources with series of their own, and the rest.
    pub sources: SourcesStatus,
    /// The agent's bounded memories.
    pub memories: Vec<MemoryUse>,
    /// Alerts.
    pub alerts: AlertStatus,
    /// The alert log; none where none is configured.
    pub alert_log: Option<AlertLogStatus>,
    /// What became of notifications, by receiver.
    pub notifications: Vec<ReceiverStatus>,
    /// Alerts that the configuration suppresses.
    pub suppressions: Vec<Suppression>,
    /// What the configuration allows, and what that kept from the detectors.
    pub allowances: Vec<AllowanceUse>,
}

impl Snapshot {
    /// Whether frames are being counted: at least one drain was done and every interface is attached.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.drains.done > 0 && self.interfaces.iter().all(|interface| interface.reading.mode.is_some())
    }
}

#[cfg(test)]
mod tests;
