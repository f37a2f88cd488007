//! From what the run loop learns, drain by drain, to snapshots.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    ActiveAlert, AlertLogStatus, AlertStatus, Build, ConfigStatus, DrainStatus, DurationHistogram,
    InterfaceReading, InterfaceStatus, Snapshot, evidence, places::Places,
};
use crate::{
    alert::{Alert, AlertKind, AlertState, Finding},
    clock::Timestamp,
    detect::allow::AllowanceUse,
    flow::{Drain, FrameCounts},
    interval::Interval,
    mirror::Diagnosis,
    observation::Observation,
    orient::MemoryUse,
    output::notify::ReceiverStatus,
    suppress::{Suppression, suppressed},
};

/// Alerts kept to be shown, beginnings and ends.
const RECENT_ALERTS: usize = 100;

/// Accumulates what snapshots show. Call what applies after a drain, then [`snapshot`](Self::snapshot).
#[derive(Debug)]
pub struct SnapshotBuilder {
    build: Build,
    config: ConfigStatus,
    time: Timestamp,
    interfaces: Vec<InterfaceStatus>,
    mirror: Vec<Diagnosis>,
    drains: DrainStatus,
    pipeline_duration: DurationHistogram,
    interval: Option<Arc<Interval>>,
    places: Places,
    memories: Vec<MemoryUse>,
    fired: [u64; AlertKind::ALL.len()],
    active: BTreeMap<(AlertKind, IpAddr), ActiveAlert>,
    recent: VecDeque<Arc<Alert>>,
    alert_log: Option<AlertLogStatus>,
    notifications: Vec<ReceiverStatus>,
    suppressions: Vec<Suppression>,
    allowances: Vec<AllowanceUse>,
}

impl SnapshotBuilder {
    /// Nothing seen yet; at most `max_sources` sources get metric series of their own.
    #[must_use]
    pub fn new(build: Build, interfaces: &[String], max_sources: usize) -> Self {
        let interfaces = interfaces.iter().map(|name| InterfaceStatus {
            name: name.clone(),
            reading: InterfaceReading::default(),
            frames: FrameCounts::default(),
            frames_per_second: 0.0,
            coverage: None,
            drain_duration: DurationHistogram::default(),
        });
        Self {
            build,
            config: ConfigStatus { successful: true, taken: Timestamp::default() },
            time: Timestamp::default(),
            interfaces: interfaces.collect(),
            mirror: Vec::new(),
            drains: DrainStatus::default(),
            pipeline_duration: DurationHistogram::default(),
            interval: None,
            places: Places::new(max_sources),
            memories: Vec::new(),
            fired: [0; AlertKind::ALL.len()],
            active: BTreeMap::new(),
            recent: VecDeque::new(),
            alert_log: None,
            notifications: Vec::new(),
            suppressions: Vec::new(),
            allowances: Vec::new(),
        }
    }

    /// What the capture knows of an interface; `index` as in the configuration.
    pub fn interface(&mut self, index: usize, reading: InterfaceReading) {
        if let Some(interface) = self.interfaces.get_mut(index) {
            interface.reading = reading;
        }
    }

    /// How long draining one interface took.
    pub fn drain_took(&mut self, index: usize, duration: Duration) {
        if let Some(interface) = self.interfaces.get_mut(index) {
            interface.drain_duration.observe(duration);
        }
    }

    /// How long it took from the end of a drain until its result was published.
    pub fn pipeline_took(&mut self, duration: Duration) {
        self.pipeline_duration.observe(duration);
    }

    /// A drain began late because the one before took too long.
    pub fn drain_overrun(&mut self) {
        self.drains.overruns += 1;
    }

    /// Counts the frames of a drain.
    pub fn drain(&mut self, drain: &Drain) {
        self.drains.done += 1;
        self.time = drain.end;
        let seconds = drain.end.since(drain.start).as_secs_f64();
        for (interface, frames) in self.interfaces.iter_mut().zip(&drain.frames) {
            interface.frames.add(frames);
            interface.frames_per_second = if seconds > 0.0 { frames.seen as f64 / seconds } else { 0.0 };
        }
    }

    /// Counts a complete interval and decides which sources have series of their own.
    pub fn interval(&mut self, interval: Arc<Interval>) {
        for (interface, frames) in self.interfaces.iter_mut().zip(&interval.frames) {
            interface.coverage = Some(frames.coverage());
        }
        self.places.close(&interval);
        self.interval = Some(interval);
    }

    /// Notes whom sources contacted, and what came of it; after the alerts of the same drain, so that a
    /// source that one of them gave a place keeps what it was named for.
    pub fn observe(&mut self, observations: &[Observation]) {
        for observation in observations {
            self.places.observe(observation);
        }
    }

    /// Notes an alert by itself.
    pub fn alert(&mut self, alert: &Alert) {
        self.alerts(std::slice::from_ref(alert));
    }

    /// Notes the alerts of a drain; those that begin give their sources series of their own at once.
    pub fn alerts(&mut self, alerts: &[Alert]) {
        for alert in alerts {
            self.note(alert);
        }
        let begin = alerts.iter().map(|alert| &alert.finding).filter(|it| it.state == AlertState::Firing);
        if let Some(latest) = begin.clone().map(|finding| finding.time).max() {
            let hold = begin.filter(|finding| self.active.contains_key(&(finding.kind, finding.source)));
            self.places.claim(hold.map(|finding| finding.source), latest);
        }
    }

    fn note(&mut self, alert: &Alert) {
        let Finding { kind, source, time, state, .. } = alert.finding;
        match state {
            AlertState::Firing => {
                if let Some(index) = AlertKind::ALL.iter().position(|it| *it == kind) {
                    self.fired[index] += 1;
                }
                let (numbers, suppressed) = (evidence::numbers(alert), alert.suppressed.clone());
                let active = ActiveAlert { kind, source, since: time, suppressed, numbers };
                if self.active.insert((kind, source), active).is_none() {
                    self.places.alert_begins(source);
                }
            }
            AlertState::Resolved => {
                if self.active.remove(&(kind, source)).is_some() {
                    self.places.alert_ends(source);
                }
            }
        }
        self.recent.truncate(RECENT_ALERTS - 1);
        self.recent.push_front(Arc::new(alert.clone()));
    }

    /// What became of notifications.
    pub fn notifications(&mut self, status: Vec<ReceiverStatus>) {
        self.notifications = status;
    }

    /// Alerts that the configuration suppresses; those that hold are looked at anew.
    pub fn suppressions(&mut self, suppressions: &[Suppression]) {
        suppressions.clone_into(&mut self.suppressions);
        for alert in self.active.values_mut() {
            alert.suppressed = suppressed(suppressions, alert.kind, alert.source, self.time);
        }
    }

    /// A configuration was taken, at `now`.
    pub const fn config_taken(&mut self, now: Timestamp) {
        self.config = ConfigStatus { successful: true, taken: now };
    }

    /// A configuration was refused.
    pub const fn config_refused(&mut self) {
        self.config.successful = false;
    }

    /// What the configuration allows, and what that kept from the detectors.
    pub fn allowances(&mut self, allowances: &[AllowanceUse]) {
        allowances.clone_into(&mut self.allowances);
    }

    /// What is wrong with the mirror at present.
    pub fn mirror(&mut self, diagnoses: &[Diagnosis]) {
        diagnoses.clone_into(&mut self.mirror);
    }

    /// The state of the agent's bounded memories.
    pub fn memories(&mut self, memories: Vec<MemoryUse>) {
        self.memories = memories;
    }

    /// The state of the alert log.
    pub fn alert_log(&mut self, status: AlertLogStatus) {
        self.alert_log = Some(status);
    }

    /// Everything as it stands.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            build: self.build,
            config: self.config,
            time: self.time,
            interfaces: self.interfaces.clone(),
            mirror: self.mirror.clone(),
            drains: self.drains,
            pipeline_duration: self.pipeline_duration,
            interval: self.interval.clone(),
            sources: self.places.status(),
            memories: self.memories.clone(),
            alerts: AlertStatus {
                fired: self.fired,
                active: self.active.values().cloned().collect(),
                recent: self.recent.iter().cloned().collect(),
            },
            alert_log: self.alert_log,
            notifications: self.notifications.clone(),
            suppressions: self.suppressions.clone(),
            allowances: self.allowances.clone(),
        }
    }
}
