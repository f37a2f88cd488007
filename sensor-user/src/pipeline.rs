//! The assembly: drains in, intervals and alerts out. No I/O and no clock of its own.

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use crate::{
    alert::{Alert, AlertKind, Finding},
    clock::Timestamp,
    config::{Config, Reloadable},
    detect::{Detectors, allow::AllowanceUse, settings::Settings, trace::Step},
    flow::{Drain, FrameCounts},
    interval::Interval,
    mirror::{Diagnosis, Mirror},
    observation::Observation,
    orient::{MemoryUse, Orientation},
    sources::Sources,
    suppress::{Suppression, suppressed},
};

/// How far back the coverage of an alert looks: the evidence of the slowest rule is older, but what matters to the
/// reader is whether the sensor sees now.
const COVERAGE_PERIOD: Duration = Duration::from_mins(1);

/// What one drain led to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Intervals that the drain completed, oldest first.
    pub intervals: Vec<Interval>,
    /// Alerts that began or ended, oldest first.
    pub alerts: Vec<Alert>,
    /// What moved the evidence about the host that is traced, in the order of time.
    pub steps: Vec<Step>,
}

/// From drains to intervals and alerts.
pub struct Pipeline {
    interval: Duration,
    orientation: Orientation,
    sources: Sources,
    detectors: Detectors,
    mirror: Mirror,
    suppress: Vec<Suppression>,
    coverage: Coverage,
    current: Option<Current>,
}

/// The interval under way.
struct Current {
    start: Timestamp,
    /// Where it is due to end.
    due: Timestamp,
    /// End of the last drain in it.
    end: Timestamp,
    frames: Vec<FrameCounts>,
}

impl Pipeline {
    /// A pipeline that has seen nothing.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let settings = Settings {
            sensitivity: config.sensitivity,
            sources: config.capacity.sources,
            suspects: config.capacity.suspects,
            allow: config.allow.clone(),
            literal: config.literal.clone(),
        };
        Self {
            interval: config.interval,
            orientation: Orientation::new(config),
            sources: Sources::new(config),
            detectors: Detectors::new(&settings),
            mirror: Mirror::default(),
            suppress: config.suppress.clone(),
            coverage: Coverage::default(),
            current: None,
        }
    }

    /// Replaces what is allowed and suppressed, for contacts and alerts to come.
    pub fn reconfigure(&mut self, config: &Reloadable) {
        let Reloadable { groups: _, allow, suppress } = config;
        self.detectors.allow(allow);
        suppress.clone_into(&mut self.suppress);
    }

    /// Reports from now on what moves the evidence about `source`, in one detector or in all.
    pub fn trace(&mut self, source: IpAddr, kind: Option<AlertKind>) {
        self.detectors.trace(source, kind);
    }

    /// Takes the next drain; drains must not overlap and must come in the order of time.
    pub fn feed(&mut self, drain: &Drain) -> Report {
        let mut report = Report::default();
        self.begin(drain, &mut report);
        self.coverage.add(drain);
        let oriented = self.orientation.orient(drain);
        self.sources.observe(drain, oriented);
        self.mirror.take(drain, &oriented.observations);
        let mut findings = Vec::new();
        self.detectors.observe(&oriented.observations);
        self.detectors.advance(drain.end, &mut findings);
        self.report(findings, &mut report);
        report.steps.extend(self.detectors.take_steps());
        if self.current.as_ref().is_some_and(|current| drain.end >= current.due) {
            self.close(&mut report);
        }
        report
    }

    /// Closes the interval that is under way, as at the end of a capture or on stop.
    pub fn finish(&mut self) -> Report {
        let mut report = Report::default();
        if let Some(current) = &self.current {
            self.mirror.finish(current.end);
        }
        self.close(&mut report);
        report
    }

    /// What every source takes in statistics and detectors, in bytes.
    #[must_use]
    pub const fn bytes_per_source(&self) -> usize {
        self.sources.bytes_per_source() + Detectors::BYTES_PER_SOURCE
    }

    /// What all memories take when they are full, in bytes.
    #[must_use]
    pub const fn bytes_at_capacity(&self) -> usize {
        self.orientation.bytes_at_capacity()
            + self.sources.capacity() * (self.bytes_per_source() + Detectors::MORE_BYTES_PER_SOURCE)
            + self.detectors.suspects() * Detectors::BYTES_PER_SUSPECT
    }

    /// What the last drain told of conversations, in the order of time.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        self.orientation.observations()
    }

    /// What is allowed, and what that kept from the detectors since the start.
    #[must_use]
    pub fn allowances(&self) -> &[AllowanceUse] {
        self.detectors.allowances()
    }

    /// What is wrong with the mirror at present.
    #[must_use]
    pub fn diagnoses(&self) -> &[Diagnosis] {
        self.mirror.diagnoses()
    }

    /// Tells the MTU of the interfaces, in bytes: longer frames were joined on the way.
    pub fn set_mtu(&mut self, bytes: u32) {
        self.mirror.set_mtu(bytes);
    }

    /// Fill of the memories.
    #[must_use]
    pub fn memory_use(&self) -> [MemoryUse; 3] {
        self.orientation.memory_use()
    }

    /// Sources held and flows of sources that had no room, since the start.
    #[must_use]
    pub fn source_use(&self) -> (usize, u64) {
        (self.sources.len(), self.sources.untracked())
    }

    /// Opens an interval for the drain if none is under way.
    fn begin(&mut self, drain: &Drain, report: &mut Report) {
        if self.current.as_ref().is_some_and(|current| drain.start >= current.due) {
            self.close(report);
        }
        let interval = self.interval;
        let current = self.current.get_or_insert_with(|| Current {
            start: drain.start,
            due: drain.start.period_end(interval),
            end: drain.start,
            frames: Vec::new(),
        });
        current.end = drain.end;
        current.frames.resize(current.frames.len().max(drain.frames.len()), FrameCounts::default());
        for (total, counts) in current.frames.iter_mut().zip(&drain.frames) {
            total.add(counts);
        }
    }

    fn close(&mut self, report: &mut Report) {
        let Some(Current { start, due: _, end, frames }) = self.current.take() else { return };
        let seconds = (end - start).as_secs_f64();
        let mut sources = self.sources.close(seconds, self.interval);
        for row in &mut sources {
            row.torrent_score = self.detectors.score(AlertKind::Torrent, row.source);
        }
        self.orientation.begin_interval();
        let mut interval = Interval { start, end, seconds, sources, frames };
        let mut findings = Vec::new();
        self.detectors.close_interval(&interval, &mut findings);
        report.steps.extend(self.detectors.take_steps());
        for row in &mut interval.sources {
            self.detectors.roles(row.source).clone_into(&mut row.roles);
        }
        self.report(findings, report);
        report.intervals.push(interval);
    }

    fn report(&self, findings: Vec<Finding>, report: &mut Report) {
        let coverage = self.coverage.ratio();
        report.alerts.extend(findings.into_iter().map(|finding| {
            let Finding { kind, source, time, .. } = finding;
            let suppressed = suppressed(&self.suppress, kind, source, time);
            Alert { finding, coverage, suppressed }
        }));
    }
}

/// The share of frames counted or ignored, as opposed to lost, over the last minute.
#[derive(Default)]
struct Coverage {
    drains: VecDeque<(Timestamp, FrameCounts)>,
}

impl Coverage {
    fn add(&mut self, drain: &Drain) {
        let mut counts = FrameCounts::default();
        drain.frames.iter().for_each(|frames| counts.add(frames));
        self.drains.push_back((drain.end, counts));
        while self.drains.front().is_some_and(|(end, _)| drain.end.since(*end) > COVERAGE_PERIOD) {
            self.drains.pop_front();
        }
    }

    fn ratio(&self) -> f64 {
        let mut sum = FrameCounts::default();
        self.drains.iter().for_each(|(_, counts)| sum.add(counts));
        sum.coverage()
    }
}

#[cfg(test)]
mod tests;
