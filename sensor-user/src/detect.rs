//! Detectors: one file per rule, fed by observations and intervals, without I/O and without a clock.
//!
//! [`Detectors`] owns them in the order of their power to explain: a scan is looked for first, then torrents,
//! and the burst rule comes last and speaks only of what neither explains. Each is told what [`Firing`] holds
//! at that moment, and none knows the others. The literal rules stand beside them, where they are configured,
//! and look at nothing but their statistic. What the configuration allows is kept from all of them.

pub mod allow;
pub mod fanout;
pub mod literal;
pub mod roles;
pub mod scan;
pub mod settings;
pub mod torrent;
pub mod trace;

mod cusum;
mod decay;
mod grouping;
#[cfg(test)]
mod look_alikes;
mod ports;
mod sources;
#[cfg(test)]
mod synthetic;

use std::{collections::HashMap, net::IpAddr};

use foldhash::fast::RandomState;
use serde_json::json;

use self::{
    allow::{Allow, Allowance, AllowanceUse, Allowed, Ends},
    fanout::Fanout,
    grouping::Grouping,
    literal::Literal,
    roles::Recognised,
    scan::Scan,
    settings::Settings,
    torrent::Torrent,
    trace::{Step, Trace},
};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    interval::Interval,
    observation::{Contact, Observation, Opening},
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
    fn advance(&mut self, now: Timestamp, firing: &Firing, findings: &mut Vec<Finding>);

    /// Decides on a complete interval.
    fn close_interval(&mut self, interval: &Interval, facts: &Facts<'_>, findings: &mut Vec<Finding>);

    /// The score of a source as of the last [`advance`](Self::advance), 0 to 1; 0 for one it does not
    /// know. One half and more means that the source is named.
    fn score(&self, source: IpAddr) -> f64;

    /// What it holds in memory, and what it had to forget.
    fn usage(&self) -> Usage;
}

/// What a detector is told beside an interval.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is named so far.
    pub firing: &'a Firing,
    /// What is no evidence.
    pub allow: &'a Allow,
}

/// The memory of one detector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sources it keeps state of.
    pub sources: usize,
    /// Bytes of that state, without the allocator's overhead.
    pub bytes: usize,
    /// Sources forgotten because they were idle, ever.
    pub evicted_idle: u64,
    /// Sources forgotten because the table was full, ever, and allowed connections that for the same reason
    /// could not be set apart. Anything but 0 means that the capacity is too small or that source addresses
    /// are forged.
    pub evicted_full: u64,
}

/// Which sources are named at this moment, and as what.
#[derive(Clone, Debug, Default)]
pub struct Firing(HashMap<IpAddr, u8, RandomState>);

impl Firing {
    /// Whether `source` is named as `kind`.
    #[must_use]
    pub fn is(&self, source: IpAddr, kind: AlertKind) -> bool {
        self.0.get(&source).is_some_and(|kinds| kinds & bit(kind) != 0)
    }

    /// Every source with every kind that it is named as, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, AlertKind)> + '_ {
        self.0.iter().flat_map(|(source, kinds)| {
            AlertKind::ALL.into_iter().filter(move |kind| kinds & bit(*kind) != 0).map(|kind| (*source, kind))
        })
    }

    fn apply(&mut self, finding: &Finding) {
        let kinds = self.0.entry(finding.source).or_default();
        match finding.state {
            AlertState::Firing => *kinds |= bit(finding.kind),
            AlertState::Resolved => *kinds &= !bit(finding.kind),
        }
        if *kinds == 0 {
            self.0.remove(&finding.source);
        }
    }
}

const fn bit(kind: AlertKind) -> u8 {
    1 << kind as u8
}

/// All detectors, asked in order.
pub struct Detectors {
    scan: Scan,
    torrent: Torrent,
    fanout: Fanout,
    literal: Vec<Literal>,
    allow: Allow,
    firing: Firing,
    grouping: Grouping,
    trace: Trace,
    /// The kind whose steps are wanted; none for all.
    traced: Option<AlertKind>,
}

impl Detectors {
    /// What every source takes in bytes.
    pub const BYTES_PER_SOURCE: usize =
        Scan::BYTES_PER_SOURCE + Torrent::BYTES_PER_SOURCE + Fanout::BYTES_PER_SOURCE;
    /// What a source takes in addition in the rare case that everything is to be said of it: every role, a
    /// burst, an alert of each literal rule, and allowed connections (their ports aside).
    pub const MORE_BYTES_PER_SOURCE: usize = Torrent::BYTES_OF_ROLES
        + Fanout::BYTES_PER_BURST
        + 2 * Literal::BYTES_PER_ALERT
        + Allow::BYTES_PER_SOURCE;
    /// What every suspect of the torrent detector takes in addition.
    pub const BYTES_PER_SUSPECT: usize = Torrent::BYTES_PER_SUSPECT;

    /// Detectors that have seen nothing.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            scan: Scan::new(settings),
            torrent: Torrent::new(settings),
            fanout: Fanout::new(settings),
            literal: settings.literal.iter().copied().map(Literal::new).collect(),
            allow: Allow::new(&settings.allow, settings.sources),
            firing: Firing::default(),
            grouping: Grouping::default(),
            trace: Trace::default(),
            traced: None,
        }
    }

    /// Learns the observations of a drain, which are in the order of time.
    pub fn observe(&mut self, observations: &[Observation]) {
        let Self { scan, torrent, allow, grouping, trace, .. } = self;
        if allow.is_empty() {
            grouping.each(observations, |observation| {
                scan.observe(observation);
                torrent.observe(observation);
            });
            return;
        }
        grouping.each(observations, |observation| {
            let allowed = allow.take(observation);
            if let Some(allowed) = &allowed {
                tell_allowed(trace, observation, allowed);
            }
            let is_allowed = |kind| allowed.as_ref().is_some_and(|allowed| allowed.is_for(kind));
            if is_allowed(AlertKind::Scan) {
                scan.overhear(observation);
            } else {
                scan.observe(observation);
            }
            if is_allowed(AlertKind::Torrent) {
                torrent.overhear(observation);
            } else {
                torrent.observe(observation);
            }
        });
    }

    /// Decides as of `now`, the end of a drain, adding what begins or ceases to hold.
    pub fn advance(&mut self, now: Timestamp, findings: &mut Vec<Finding>) {
        self.ask(findings, |detector, facts, findings| detector.advance(now, facts.firing, findings));
    }

    /// Decides on a complete interval, adding what begins or ceases to hold.
    pub fn close_interval(&mut self, interval: &Interval, findings: &mut Vec<Finding>) {
        let known = findings.len();
        self.ask(findings, |detector, facts, findings| detector.close_interval(interval, facts, findings));
        self.allow.close_interval();
        self.show_contacts(&mut findings[known..]);
    }

    /// The score of `source` in the detector of `kind`, 0 to 1.
    #[must_use]
    pub fn score(&self, kind: AlertKind, source: IpAddr) -> f64 {
        match kind {
            AlertKind::Torrent => self.torrent.score(source),
            AlertKind::Scan => self.scan.score(source),
            AlertKind::Fanout => self.fanout.score(source),
            AlertKind::Count | AlertKind::Variance => {
                let literal = self.literal.iter().find(|literal| literal.kind() == kind);
                literal.map_or(0.0, |literal| literal.score(source))
            }
        }
    }

    /// Replaces what is allowed, for contacts to come.
    pub fn allow(&mut self, entries: &[Allowance]) {
        self.allow.replace(entries);
    }

    /// What is allowed, and what that kept from the detectors.
    #[must_use]
    pub fn allowances(&self) -> &[AllowanceUse] {
        self.allow.entries()
    }

    /// What `source` is, as of the last complete interval.
    #[must_use]
    pub fn roles(&self, source: IpAddr) -> &[Recognised] {
        self.torrent.roles(source)
    }

    /// Who is named at this moment.
    #[must_use]
    pub const fn firing(&self) -> &Firing {
        &self.firing
    }

    /// How many suspects the torrent detector follows at most.
    #[must_use]
    pub const fn suspects(&self) -> usize {
        self.torrent.suspects()
    }

    /// Memory by detector.
    #[must_use]
    pub fn usage(&self) -> Vec<(AlertKind, Usage)> {
        let each: [&dyn Detector; 3] = [&self.scan, &self.torrent, &self.fanout];
        let literal = self.literal.iter().map(|literal| literal as &dyn Detector);
        let usage = |detector: &dyn Detector| {
            let (kind, mut usage) = (detector.kind(), detector.usage());
            if kind == AlertKind::Fanout {
                // What is set apart for its sake.
                usage.bytes += self.allow.bytes();
                usage.evicted_full += self.allow.mixed();
            }
            (kind, usage)
        };
        each.into_iter().chain(literal).map(usage).collect()
    }

    /// Records from now on every step about `source`, of one detector or of all; see [`Self::take_steps`].
    pub fn trace(&mut self, source: IpAddr, kind: Option<AlertKind>) {
        let Self { scan, torrent, fanout, trace, traced, .. } = self;
        let all = [
            (AlertKind::Scan, scan.trace()),
            (AlertKind::Torrent, torrent.trace()),
            (AlertKind::Fanout, fanout.trace()),
        ];
        for (of, trace) in all {
            if kind.is_none_or(|kind| kind == of) {
                trace.follow(source);
            }
        }
        trace.follow(source);
        *traced = kind;
    }

    /// The steps recorded since the last call, in the order of time.
    pub fn take_steps(&mut self) -> Vec<Step> {
        let Self { scan, torrent, fanout, trace, traced, .. } = self;
        let all = [trace, scan.trace(), torrent.trace(), fanout.trace()];
        let mut steps: Vec<Step> = all.into_iter().flat_map(Trace::take).collect();
        steps.retain(|step| traced.is_none_or(|kind| kind == step.kind));
        steps.sort_by_key(|step| step.time);
        steps
    }

    /// Adds the latest contacts of its source to what an interval alone has shown.
    fn show_contacts(&self, findings: &mut [Finding]) {
        for finding in findings.iter_mut().filter(|finding| finding.state == AlertState::Firing) {
            let contact = |(peer, port): (IpAddr, u16)| json!({ "peer": peer.to_string(), "port": port });
            finding.evidence["sample"] = self.scan.latest(finding.source).map(contact).collect();
        }
    }

    fn ask(
        &mut self,
        findings: &mut Vec<Finding>,
        mut question: impl FnMut(&mut dyn Detector, &Facts<'_>, &mut Vec<Finding>),
    ) {
        let Self { scan, torrent, fanout, literal, allow, firing, .. } = self;
        let explaining: [&mut dyn Detector; 3] = [scan, torrent, fanout];
        let literal = literal.iter_mut().map(|literal| literal as &mut dyn Detector);
        for detector in explaining.into_iter().chain(literal) {
            let known = findings.len();
            question(detector, &Facts { firing, allow }, findings);
            for finding in &findings[known..] {
                firing.apply(finding);
            }
        }
    }
}

/// A contact that is kept from detectors, as a step of each that would have learned of it.
fn tell_allowed(trace: &mut Trace, observation: &Observation, allowed: &Allowed) {
    let Observation::Contact(Contact { time, trifecta, opening, .. }) = *observation else { return };
    let Ends { source, destination, port } = allowed.ends;
    if !trace.wants(source) {
        return;
    }
    for kind in [AlertKind::Scan, AlertKind::Torrent, AlertKind::Fanout] {
        // A burst is one of new connections.
        let counts = kind != AlertKind::Fanout || opening == Opening::New;
        if let Some(reason) = allowed.reason(kind).filter(|_| counts) {
            let what = format!("allowed ({reason}): no evidence");
            let peer = Some((destination, port, trifecta.protocol));
            trace.record(Step { time, kind, peer, what, weight: 0.0, sum: 0.0 });
        }
    }
}
