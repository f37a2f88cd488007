//! The page's list of alerts: those that hold with their evidence, and what was before.

use std::net::IpAddr;

use serde::Serialize;

use super::{MAX_ACTIVE, milliseconds, round};
use crate::{
    alert::{Alert, AlertState},
    output::snapshot::{ActiveAlert, Snapshot},
};

/// Alerts.
#[derive(Serialize)]
pub(super) struct Alerts<'a> {
    /// Those that hold, suppressed ones last, the latest first.
    active: Vec<Active<'a>>,
    /// How many hold, listed or not.
    active_count: usize,
    /// Of these, suppressed.
    suppressed_count: usize,
    /// Beginnings and ends, the latest first.
    recent: Vec<Event<'a>>,
}

/// An alert that holds.
#[derive(Serialize)]
struct Active<'a> {
    kind: &'static str,
    source: IpAddr,
    since: u64,
    suppressed: Option<Suppression<'a>>,
    /// What was said when it began; none where too many alerts came since.
    told: Option<Event<'a>>,
}

/// That nobody is to be told of an alert.
#[derive(Serialize)]
struct Suppression<'a> {
    until: u64,
    reason: &'a str,
}

/// A beginning or an end.
#[derive(Serialize)]
struct Event<'a> {
    time: u64,
    kind: &'static str,
    source: IpAddr,
    state: &'static str,
    /// How sure, 0 to 1.
    score: f64,
    coverage: f64,
    summary: &'a str,
    evidence: &'a serde_json::Value,
}

impl<'a> Alerts<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let alerts = &snapshot.alerts;
        let mut active: Vec<&ActiveAlert> = alerts.active.iter().collect();
        let is_suppressed = |alert: &ActiveAlert| alert.suppressed_at(snapshot.time).is_some();
        let suppressed_count = active.iter().filter(|alert| is_suppressed(alert)).count();
        active.sort_by_key(|alert| (is_suppressed(alert), std::cmp::Reverse(alert.since)));
        active.truncate(MAX_ACTIVE);
        Self {
            active: active.into_iter().map(|alert| Active::of(alert, snapshot)).collect(),
            active_count: alerts.active.len(),
            suppressed_count,
            recent: alerts.recent.iter().map(|alert| Event::of(alert)).collect(),
        }
    }
}

impl<'a> Active<'a> {
    fn of(active: &'a ActiveAlert, snapshot: &'a Snapshot) -> Self {
        let ActiveAlert { kind, source, since, .. } = *active;
        let began = snapshot.alerts.recent.iter().find(|alert| {
            let finding = &alert.finding;
            (finding.kind, finding.source, finding.state) == (kind, source, AlertState::Firing)
        });
        let told = began.map(|alert| Event::of(alert));
        let suppressed = active.suppressed_at(snapshot.time);
        let suppressed =
            suppressed.map(|by| Suppression { until: milliseconds(by.until), reason: &by.reason });
        Self { kind: kind.name(), source, since: milliseconds(since), suppressed, told }
    }
}

impl<'a> Event<'a> {
    fn of(alert: &'a Alert) -> Self {
        let Alert { finding, coverage, suppressed: _ } = alert;
        Self {
            time: milliseconds(finding.time),
            kind: finding.kind.name(),
            source: finding.source,
            state: finding.state.name(),
            score: round(finding.score),
            coverage: *coverage,
            summary: &finding.summary,
            evidence: &finding.evidence,
        }
    }
}
