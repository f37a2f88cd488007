//! The page's list of sources.

use std::net::IpAddr;

use serde::Serialize;

use super::{MAX_SOURCES, milliseconds, per_second, round};
use crate::{
    interval::SourceInterval,
    output::snapshot::{ActiveAlert, OwnSource, Snapshot, history::Point},
};

/// Sources as of the last complete interval.
#[derive(Serialize)]
pub(super) struct Sources {
    /// Its end; none before the first.
    time: Option<u64>,
    /// Its length.
    seconds: f64,
    #[serde(rename = "sources")]
    listed: Vec<Source>,
    /// Sources with a place that are not listed.
    unlisted: usize,
    /// Sources without a place.
    without_place: u64,
    /// What they opened in the interval.
    without_place_new: u64,
    /// Places there are.
    places: usize,
}

/// One source; rates are new connections a second.
#[derive(Serialize)]
pub(super) struct Source {
    #[serde(rename = "source")]
    address: IpAddr,
    /// Kinds of the alerts that hold and are not suppressed.
    alerts: Vec<&'static str>,
    /// What it is, as far as it was recognised in the last interval.
    role_names: Vec<&'static str>,
    /// New connections in the last ten minutes.
    total: u64,
    rate: f64,
    mean: Option<f64>,
    deviation: Option<f64>,
    /// Variance over mean of new connections per interval.
    dispersion: Option<f64>,
    peers: u64,
    ports: u64,
    unanswered: Option<f64>,
    score: f64,
    /// The last ten minutes: seconds ago, rate.
    points: Vec<(u64, f64)>,
}

impl Sources {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let seconds = snapshot.interval.as_ref().map_or(0.0, |interval| interval.seconds);
        let mut sources: Vec<Source> =
            snapshot.sources.own.iter().map(|own| Source::of(own, snapshot)).collect();
        sources.sort_by(|a, b| {
            let alerting = b.alerts.is_empty().cmp(&a.alerts.is_empty()).reverse();
            alerting.then(b.total.cmp(&a.total)).then_with(|| a.address.cmp(&b.address))
        });
        let unlisted = sources.len().saturating_sub(MAX_SOURCES);
        sources.truncate(MAX_SOURCES);
        Self {
            time: snapshot.interval.as_ref().map(|interval| milliseconds(interval.end)),
            seconds: round(seconds),
            listed: sources,
            unlisted,
            without_place: snapshot.sources.other.sources,
            without_place_new: snapshot.sources.other.new_connections,
            places: snapshot.sources.places,
        }
    }
}

impl Source {
    pub(super) fn of(own: &OwnSource, snapshot: &Snapshot) -> Self {
        let seconds = snapshot.interval.as_ref().map_or(0.0, |interval| interval.seconds);
        let is_its =
            |alert: &&ActiveAlert| alert.source == own.source && alert.suppressed_at(snapshot.time).is_none();
        let active = snapshot.alerts.active.iter().filter(is_its);
        let last = own.interval.as_ref();
        let count = |of: fn(&SourceInterval) -> u64| last.map_or(0, of);
        Self {
            address: own.source,
            alerts: active.map(|alert| alert.kind.name()).collect(),
            role_names: last.iter().flat_map(|of| &of.roles).map(|known| known.role.name()).collect(),
            total: own.history.new_connections(),
            rate: per_second(count(|of| of.new_connections) as f64, seconds),
            mean: last.and_then(|of| of.mean).map(|mean| per_second(mean, seconds)),
            deviation: last.and_then(|of| of.variance).map(|variance| per_second(variance.sqrt(), seconds)),
            dispersion: last.and_then(SourceInterval::dispersion).map(round),
            peers: count(|of| of.new_peers),
            ports: count(|of| of.new_ports),
            unanswered: last.and_then(SourceInterval::unanswered_ratio).map(round),
            score: last.map_or(0.0, |of| round(of.torrent_score)),
            points: own.history.points().map(|point| short(point, snapshot)).collect(),
        }
    }
}

fn short(point: &Point, snapshot: &Snapshot) -> (u64, f64) {
    let end = snapshot.interval.as_ref().map_or(snapshot.time, |interval| interval.end);
    (end.since(point.end).as_secs(), per_second(point.new_connections as f64, point.seconds))
}
