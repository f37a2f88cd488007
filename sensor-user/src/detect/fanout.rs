//! Bursts of new connections that nothing else explains: far over a floor, and far over what the source
//! itself did before.
//!
//! This is the variance rule made honest. The count is of connections that the source opened, per interval;
//! the baseline is the mean and variance that the *previous* interval closed with, so that a burst never
//! raises its own threshold, and is of what is not allowed; and the deviation is never taken for less than
//! that of a Poisson process with the same mean, so that a quiet source is not judged by a variance of
//! nothing.
//!
//! ```text
//! threshold = max(floor, mean + 6·max(√variance, √mean)) × sensitivity
//! ```
//!
//! Without a baseline (the sensor has just started) the floor is five times as high, only what is mostly
//! unanswered or goes to another peer on another port each time is called, and the burst is taken back
//! when the baseline turns out to be just that; a source that first appears later has the
//! baseline of silence, because it would have been seen. Sources that are named as scanner or torrent host
//! are left to those alerts.

mod rest;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use foldhash::fast::RandomState;
use serde_json::json;

use self::rest::{Rest, rest};
use super::{
    Detector, Facts, Firing, Usage,
    cusum::score,
    settings::{Sensitivity, Settings},
    trace::{Step, Trace},
};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    interval::{Interval, SourceInterval},
    observation::Observation,
};

/// No burst below this many new connections in an interval: a browser that opens a page with its ads
/// makes 30 to 60 in ten seconds.
const FLOOR: f64 = 100.0;
/// Nor below this many a second over the interval.
const FLOOR_PER_SECOND: f64 = 10.0;
/// Standard deviations over the mean.
const DEVIATIONS: f64 = 6.0;
/// Intervals after the start in which nobody has a baseline yet, and a higher floor holds ...
const COLD_INTERVALS: u32 = 3;
/// ... higher by this factor.
const COLD: f64 = 5.0;
/// Intervals in a row below the threshold after which a burst is over.
const QUIET_INTERVALS: u32 = 2;
/// Intervals after which a variance is known well enough to be relied on; before, it is not taken for less
/// than that of ...
const YOUNG_INTERVALS: u32 = 10;
/// ... pages that come at random, each with so many connections.
const BATCH: f64 = 40.0;
/// After this long a burst is the new habit of its source.
const NEW_HABIT: Duration = Duration::from_mins(30);

/// What a source did before.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Baseline {
    mean: Option<f64>,
    variance: Option<f64>,
}

/// A burst under way.
#[derive(Clone, Copy, Debug)]
struct Burst {
    since: Timestamp,
    threshold: f64,
    score: f64,
    peak: u64,
    quiet: u32,
    /// Called without a baseline.
    cold: bool,
}

/// The detector of kind `fanout`.
#[derive(Debug)]
pub struct Fanout {
    sensitivity: Sensitivity,
    baselines: HashMap<IpAddr, Baseline, RandomState>,
    /// Of sources a part of whose connections is allowed: the baseline of the others.
    rests: HashMap<IpAddr, Rest, RandomState>,
    bursts: HashMap<IpAddr, Burst, RandomState>,
    intervals: u32,
    trace: Trace,
}

impl Fanout {
    /// What every source takes in bytes: in a table of which at least 7 in 16 places are taken.
    pub const BYTES_PER_SOURCE: usize = (size_of::<(IpAddr, Baseline)>() + 1) * 16 / 7;
    /// What a source takes in addition of which a part is allowed, and that has a burst.
    pub const BYTES_PER_BURST: usize =
        (size_of::<(IpAddr, Rest)>() + size_of::<(IpAddr, Burst)>() + 2) * 16 / 7;

    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            sensitivity: settings.sensitivity,
            baselines: HashMap::default(),
            rests: HashMap::default(),
            bursts: HashMap::default(),
            intervals: 0,
            trace: Trace::default(),
        }
    }

    /// The steps about a source.
    pub const fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    fn baseline(&self, source: IpAddr) -> Baseline {
        // One or two intervals say nothing of how much the others may differ from them.
        if self.intervals < COLD_INTERVALS {
            return Baseline { mean: None, variance: None };
        }
        if let Some(rest) = self.rests.get(&source) {
            return rest.baseline();
        }
        let silence = Baseline { mean: Some(0.0), variance: Some(0.0) };
        self.baselines.get(&source).copied().unwrap_or(silence)
    }

    /// Learns the new connections that are evidence, where they are not all of them or were not before: mean
    /// and variance of the statistics are those of all.
    fn learn(&mut self, source: IpAddr, new: u64, is_part: bool) {
        if is_part && !self.rests.contains_key(&source) {
            let rest = match self.baselines.get(&source) {
                Some(baseline) => Rest::after(baseline, self.intervals),
                None => Rest::of_silence(self.intervals),
            };
            self.rests.insert(source, rest);
        }
        if let Some(rest) = self.rests.get_mut(&source) {
            rest.learn(new);
        }
    }

    /// `of` is what of the interval is evidence, beside `allowed` new connections that are none.
    fn judge(
        &mut self,
        of: &SourceInterval,
        allowed: u64,
        interval: &Interval,
        explained: bool,
    ) -> Option<Finding> {
        let new = of.new_connections;
        let baseline = self.baseline(of.source);
        let threshold = threshold(&baseline, interval.seconds, self.sensitivity, self.intervals);
        if self.trace.wants(of.source) && new > 0 {
            let odd = baseline.mean.is_some() || is_odd(of);
            let what = looked_at((new, allowed), &baseline, (threshold, explained, odd));
            let (weight, sum) = (new as f64, threshold);
            self.trace.record(Step {
                time: interval.end,
                kind: AlertKind::Fanout,
                peer: None,
                what,
                weight,
                sum,
            });
        }
        if let Some(burst) = self.bursts.get_mut(&of.source) {
            burst.peak = burst.peak.max(new);
            let below = (new as f64) < burst.threshold;
            burst.quiet = if below { burst.quiet + 1 } else { 0 };
            let burst = *burst;
            let settled = burst.cold && self.intervals >= COLD_INTERVALS;
            let reason = if explained {
                "explained by another alert"
            } else if burst.quiet >= QUIET_INTERVALS {
                "over"
            } else if settled && (new as f64) < threshold {
                "its habit"
            } else if interval.end.since(burst.since) >= NEW_HABIT {
                "the new habit"
            } else {
                return None;
            };
            self.bursts.remove(&of.source);
            return Some(resolved(of.source, &burst, reason, interval));
        }
        if explained || (new as f64) < threshold {
            return None;
        }
        if baseline.mean.is_none() && !is_odd(of) {
            return None;
        }
        let score = score(new as f64, threshold);
        let burst = Burst {
            since: interval.end,
            threshold,
            score,
            peak: new,
            quiet: 0,
            cold: baseline.mean.is_none(),
        };
        self.bursts.insert(of.source, burst);
        Some(firing(of, allowed, &baseline, &burst, interval))
    }

    /// Bursts of sources that the interval no longer lists are over.
    fn close_absent(&mut self, interval: &Interval, findings: &mut Vec<Finding>) {
        if self.bursts.is_empty() {
            return;
        }
        let listed: HashSet<IpAddr, RandomState> = interval.sources.iter().map(|of| of.source).collect();
        let mut absent: Vec<IpAddr> =
            self.bursts.keys().filter(|source| !listed.contains(*source)).copied().collect();
        absent.sort_unstable();
        for source in absent {
            if let Some(burst) = self.bursts.remove(&source) {
                findings.push(resolved(source, &burst, "over", interval));
            }
        }
    }
}

impl Detector for Fanout {
    fn kind(&self) -> AlertKind {
        AlertKind::Fanout
    }

    fn observe(&mut self, _: &Observation) {}

    fn advance(&mut self, _: Timestamp, _: &Firing, _: &mut Vec<Finding>) {}

    fn close_interval(&mut self, interval: &Interval, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
        for of in &interval.sources {
            let Facts { firing, allow } = facts;
            let explained = firing.is(of.source, AlertKind::Torrent) || firing.is(of.source, AlertKind::Scan);
            let apart = allow.apart(of.source);
            let evidence = apart.map_or(Cow::Borrowed(of), |apart| Cow::Owned(rest(of, apart)));
            let new = evidence.new_connections;
            let evidence = if allow.of_source(of.source, AlertKind::Fanout) {
                Cow::Owned(SourceInterval { new_connections: 0, ..of.clone() })
            } else {
                evidence
            };
            let allowed = of.new_connections - evidence.new_connections;
            findings.extend(self.judge(&evidence, allowed, interval, explained));
            self.learn(of.source, new, apart.is_some());
        }
        self.close_absent(interval, findings);
        self.baselines.clear();
        self.baselines.extend(
            interval.sources.iter().map(|of| (of.source, Baseline { mean: of.mean, variance: of.variance })),
        );
        let baselines = &self.baselines;
        self.rests.retain(|source, _| baselines.contains_key(source));
        self.intervals = self.intervals.saturating_add(1);
    }

    fn score(&self, source: IpAddr) -> f64 {
        self.bursts.get(&source).map_or(0.0, |burst| burst.score)
    }

    fn usage(&self) -> Usage {
        let bytes = self.baselines.len() * size_of::<(IpAddr, Baseline)>()
            + self.rests.len() * size_of::<(IpAddr, Rest)>()
            + self.bursts.len() * size_of::<(IpAddr, Burst)>();
        Usage { sources: self.baselines.len(), bytes, ..Usage::default() }
    }
}

/// Whether a burst looks unlike what servers, resolvers and gateways do all day: most of it is unanswered, or
/// most of it goes to another new peer on another port each.
fn is_odd(of: &SourceInterval) -> bool {
    let most = of.new_connections.div_ceil(2);
    of.unanswered_ratio().is_some_and(|ratio| ratio > 0.5) || (of.new_peers >= most && of.new_ports >= most)
}

/// What a source did before, in words.
fn before(baseline: &Baseline) -> String {
    match (baseline.mean, baseline.variance) {
        (Some(mean), Some(variance)) => {
            format!("its mean is {mean:.1} with deviation {:.1}", variance.sqrt())
        }
        (Some(mean), None) => format!("its mean is {mean:.1}"),
        (None, _) => "it has no baseline yet".to_owned(),
    }
}

/// What the rule makes of one interval.
fn looked_at(
    (new, allowed): (u64, u64),
    baseline: &Baseline,
    (threshold, explained, odd): (f64, bool, bool),
) -> String {
    let verdict = if explained {
        "explained by another alert"
    } else if (new as f64) < threshold {
        "no burst"
    } else if odd {
        "a burst"
    } else {
        "no burst without a baseline: answered, and not scattered"
    };
    let allowed = match allowed {
        0 => String::new(),
        allowed => format!(" beside {allowed} that are allowed"),
    };
    let before = before(baseline);
    format!("{new} new connections{allowed}, threshold {threshold:.0}; {before}: {verdict}")
}

/// New connections in an interval of `seconds`, after so many others, from which on they are a burst.
fn threshold(baseline: &Baseline, seconds: f64, sensitivity: Sensitivity, intervals: u32) -> f64 {
    let floor = FLOOR.max(FLOOR_PER_SECOND * seconds);
    let least = match baseline.mean {
        None => COLD * floor,
        Some(mean) => {
            let batch = if intervals < YOUNG_INTERVALS { BATCH } else { 1.0 };
            let deviation = baseline.variance.unwrap_or(0.0).max(batch * mean).max(0.0).sqrt();
            floor.max(mean + DEVIATIONS * deviation)
        }
    };
    least * sensitivity.factor()
}

fn firing(
    of: &SourceInterval,
    allowed: u64,
    baseline: &Baseline,
    burst: &Burst,
    interval: &Interval,
) -> Finding {
    let new = of.new_connections;
    let before = before(baseline);
    Finding {
        time: interval.end,
        kind: AlertKind::Fanout,
        source: of.source,
        state: AlertState::Firing,
        score: burst.score,
        evidence: json!({
            "new_connections": new,
            "allowed": allowed,
            "seconds": interval.seconds,
            "per_second": new as f64 / interval.seconds,
            "threshold": burst.threshold,
            "mean": baseline.mean,
            "variance": baseline.variance,
            "deviations": DEVIATIONS,
            "tcp": of.new_tcp,
            "udp": of.new_udp,
            "new_peers": of.new_peers,
            "new_ports": of.new_ports,
            "unanswered_ratio": of.unanswered_ratio(),
        }),
        summary: format!(
            "{} opened {} new connections in {:.0} s to {} new peers on {} ports, {:.0} % unanswered; {before}, the \
             threshold {:.0}: unexplained burst",
            of.source,
            new,
            interval.seconds,
            of.new_peers,
            of.new_ports,
            100.0 * of.unanswered_ratio().unwrap_or(0.0),
            burst.threshold,
        ),
    }
}

fn resolved(source: IpAddr, burst: &Burst, reason: &str, interval: &Interval) -> Finding {
    let seconds = interval.end.since(burst.since).as_secs();
    Finding {
        time: interval.end,
        kind: AlertKind::Fanout,
        source,
        state: AlertState::Resolved,
        score: 0.0,
        evidence: json!({
            "since": burst.since.to_string(),
            "seconds": seconds,
            "peak": burst.peak,
            "threshold": burst.threshold,
            "reason": reason,
        }),
        summary: format!(
            "{source} is below {:.0} new connections an interval after {seconds} s with at most {}: burst {reason}",
            burst.threshold, burst.peak,
        ),
    }
}

#[cfg(test)]
mod tests;
