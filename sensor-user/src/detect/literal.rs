//! The literal rules: the search that this sensor began with, as alerts of their own. Off unless configured.
//!
//! ```text
//! count:     active trifectas of a source in an interval ≥ threshold
//! variance:  population variance of frames per trifecta in the interval, over or under a threshold
//! ```
//!
//! They look at nothing else, neither direction of habit nor answers nor ports (save those of
//! `ignored_ports`), and are wrong most of the time; docs/detection.md has the numbers. They are here because
//! the question was first asked this way, and for networks where an admin knows a threshold that holds.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use foldhash::fast::RandomState;
use serde_json::json;

use super::{Detector, Facts, Firing, Usage, cusum::score};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    interval::{Interval, SourceInterval},
    observation::Observation,
};

/// Intervals in a row on the right side of the threshold after which an alert is over.
const QUIET_INTERVALS: u32 = 2;

/// A threshold on one literal statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// So many active trifectas in an interval, or more.
    Count(u64),
    /// A variance of frames per trifecta beyond a bound, for sources with enough trifectas.
    Variance {
        /// Which side is named.
        side: Side,
        /// The bound, in frames squared.
        bound: f64,
        /// Sources with fewer trifectas in the interval are not looked at.
        trifectas: u64,
    },
}

/// A side of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// More than the bound: a few conversations carry nearly everything.
    Over,
    /// Less than the bound: all conversations are alike, as probes are.
    Under,
}

impl Rule {
    /// The kind of its alerts.
    #[must_use]
    pub const fn kind(self) -> AlertKind {
        match self {
            Self::Count(_) => AlertKind::Count,
            Self::Variance { .. } => AlertKind::Variance,
        }
    }

    /// The score of a source, one half at the threshold; none where the rule says nothing of it.
    fn score(self, of: &SourceInterval) -> Option<f64> {
        match self {
            Self::Count(threshold) => (of.active_trifectas >= threshold)
                .then(|| score(of.active_trifectas as f64, threshold as f64)),
            Self::Variance { side, bound, trifectas } => {
                let variance = of.trifecta_packets_variance.filter(|_| of.active_trifectas >= trifectas)?;
                match side {
                    Side::Over => (variance > bound).then(|| score(variance, bound)),
                    Side::Under => (variance < bound).then(|| score(bound, variance.max(f64::MIN_POSITIVE))),
                }
            }
        }
    }
}

/// An alert that holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: Timestamp,
    score: f64,
    quiet: u32,
}

/// The detector of one rule.
#[derive(Debug)]
pub struct Literal {
    rule: Rule,
    held: HashMap<IpAddr, Held, RandomState>,
}

impl Literal {
    /// What an alert that holds takes in bytes: in a table of which at least 7 in 16 places are taken.
    pub const BYTES_PER_ALERT: usize = (size_of::<(IpAddr, Held)>() + 1) * 16 / 7;

    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        Self { rule, held: HashMap::default() }
    }

    fn judge(&mut self, of: &SourceInterval, allowed: bool, interval: &Interval) -> Option<Finding> {
        let score = self.rule.score(of).filter(|_| !allowed);
        match (self.held.get_mut(&of.source), score) {
            (None, None) => None,
            (None, Some(score)) => {
                self.held.insert(of.source, Held { since: interval.end, score, quiet: 0 });
                Some(self.begun(of, score, interval))
            }
            (Some(held), Some(score)) => {
                (held.quiet, held.score) = (0, score);
                None
            }
            (Some(held), None) => {
                held.quiet += 1;
                (held.quiet >= QUIET_INTERVALS).then(|| self.over(of.source, interval)).flatten()
            }
        }
    }

    fn begun(&self, of: &SourceInterval, score: f64, interval: &Interval) -> Finding {
        let SourceInterval { source, active_trifectas, trifecta_packets_variance, .. } = of;
        let seconds = interval.seconds;
        let said = match self.rule {
            Rule::Count(threshold) => format!("{threshold} and more are named: literal count"),
            Rule::Variance { side, bound, .. } => {
                let side = if side == Side::Over { "above" } else { "below" };
                let variance = trifecta_packets_variance.unwrap_or(0.0);
                format!(
                    "the variance of frames between them is {variance:.1}, {side} {bound}: literal variance"
                )
            }
        };
        let (bound, side, least) = match self.rule {
            Rule::Count(threshold) => (threshold as f64, None, None),
            Rule::Variance { side, bound, trifectas } => {
                (bound, Some(if side == Side::Over { "over" } else { "under" }), Some(trifectas))
            }
        };
        Finding {
            time: interval.end,
            kind: self.rule.kind(),
            source: *source,
            state: AlertState::Firing,
            score,
            evidence: json!({
                "active_trifectas": active_trifectas,
                "trifecta_packets_variance": trifecta_packets_variance,
                "seconds": seconds,
                "threshold": bound,
                "side": side,
                "least_trifectas": least,
                "new_connections": of.new_connections,
            }),
            summary: format!("{source} was active in {active_trifectas} trifectas in {seconds:.0} s; {said}"),
        }
    }

    fn over(&mut self, source: IpAddr, interval: &Interval) -> Option<Finding> {
        let held = self.held.remove(&source)?;
        let (kind, seconds) = (self.rule.kind(), interval.end.since(held.since).as_secs());
        Some(Finding {
            time: interval.end,
            kind,
            source,
            state: AlertState::Resolved,
            score: 0.0,
            evidence: json!({ "since": held.since.to_string(), "seconds": seconds }),
            summary: format!("{source} no longer meets the literal {} rule, after {seconds} s", kind.name()),
        })
    }
}

impl Detector for Literal {
    fn kind(&self) -> AlertKind {
        self.rule.kind()
    }

    fn observe(&mut self, _: &Observation) {}

    fn advance(&mut self, _: Timestamp, _: &Firing, _: &mut Vec<Finding>) {}

    fn close_interval(&mut self, interval: &Interval, facts: &Facts<'_>, findings: &mut Vec<Finding>) {
        let kind = self.rule.kind();
        for of in &interval.sources {
            findings.extend(self.judge(of, facts.allow.of_source(of.source, kind), interval));
        }
        if self.held.is_empty() {
            return;
        }
        let listed: HashSet<IpAddr, RandomState> = interval.sources.iter().map(|of| of.source).collect();
        let mut absent: Vec<IpAddr> =
            self.held.keys().filter(|held| !listed.contains(*held)).copied().collect();
        absent.sort_unstable();
        findings.extend(absent.into_iter().filter_map(|source| self.over(source, interval)));
    }

    fn score(&self, source: IpAddr) -> f64 {
        self.held.get(&source).map_or(0.0, |held| held.score)
    }

    fn usage(&self) -> Usage {
        Usage {
            sources: self.held.len(),
            bytes: self.held.len() * size_of::<(IpAddr, Held)>(),
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests;
