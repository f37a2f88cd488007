//! What the sensor says of sources: those with series of their own, and `source="other"`.

use std::{cmp::Reverse, collections::HashSet, net::IpAddr};

use super::{
    family::{self, Family, Samples},
    sensor::single,
};
use crate::{
    alert::AlertKind,
    interval::SourceInterval,
    output::snapshot::{ActiveAlert, OtherSources, Snapshot, SourceTotals, WITH_EVIDENCE},
};

/// The source that stands for all without series of their own.
const OTHER: &str = "other";

/// One family for each thing said of a source.
struct SourceSamples {
    new_total: Samples,
    bytes: Samples,
    packets: Samples,
    new_connections: Samples,
    mean: Samples,
    variance: Samples,
    active_trifectas: Samples,
    packets_variance: Samples,
    new_peers: Samples,
    new_ports: Samples,
    unanswered: Samples,
    torrent_score: Samples,
    role: Samples,
}

pub(super) fn collect(snapshot: &Snapshot, samples: &mut Vec<Samples>) {
    let sources = &snapshot.sources;
    let mut all = SourceSamples::new();
    for own in &sources.own {
        let name = own.source.to_string();
        all.totals(&name, &own.totals);
        if let Some(interval) = &own.interval {
            all.interval(&name, interval);
        }
    }
    all.totals(OTHER, &sources.other.totals);
    all.others(&sources.other);
    samples.push(single(&family::SOURCES_TRACKED, sources.own.len() as f64));
    samples.push(single(&family::SOURCES_EVICTED, sources.evicted as f64));
    let own: HashSet<IpAddr> = sources.own.iter().map(|own| own.source).collect();
    samples.push(alerts(&family::ALERT_ACTIVE, &own, &snapshot.alerts.active));
    let is_suppressed = |alert: &&ActiveAlert| alert.suppressed_at(snapshot.time).is_some();
    let suppressed: Vec<ActiveAlert> = snapshot.alerts.active.iter().filter(is_suppressed).cloned().collect();
    samples.push(alerts(&family::ALERT_SUPPRESSED, &own, &suppressed));
    samples.push(evidence(snapshot, &own));
    all.append_to(samples);
}

fn alerts(family: &'static Family, own: &HashSet<IpAddr>, alerts: &[ActiveAlert]) -> Samples {
    let mut samples = Samples::of(family);
    let (named, unnamed): (Vec<&ActiveAlert>, Vec<&ActiveAlert>) =
        alerts.iter().partition(|alert| own.contains(&alert.source));
    for alert in named {
        samples.add(&[alert.kind.name(), &alert.source.to_string()], 1.0);
    }
    for kind in AlertKind::ALL {
        let count = unnamed.iter().filter(|alert| alert.kind == kind).count();
        samples.add(&[kind.name(), OTHER], count as f64);
    }
    samples
}

fn evidence(snapshot: &Snapshot, own: &HashSet<IpAddr>) -> Samples {
    let mut latest: Vec<&ActiveAlert> =
        snapshot.alerts.active.iter().filter(|alert| own.contains(&alert.source)).collect();
    latest.sort_by_key(|alert| Reverse(alert.since));
    let mut samples = Samples::of(&family::ALERT_EVIDENCE);
    for alert in latest.into_iter().take(WITH_EVIDENCE) {
        let source = alert.source.to_string();
        for (number, value) in &alert.numbers {
            samples.add(&[alert.kind.name(), &source, number], significant(*value));
        }
    }
    samples
}

impl SourceSamples {
    fn new() -> Self {
        Self {
            new_total: Samples::of(&family::NEW_CONNECTIONS_TOTAL),
            bytes: Samples::of(&family::BYTES),
            packets: Samples::of(&family::PACKETS),
            new_connections: Samples::of(&family::NEW_CONNECTIONS),
            mean: Samples::of(&family::NEW_CONNECTIONS_MEAN),
            variance: Samples::of(&family::NEW_CONNECTIONS_VARIANCE),
            active_trifectas: Samples::of(&family::ACTIVE_TRIFECTAS),
            packets_variance: Samples::of(&family::TRIFECTA_PACKETS_VARIANCE),
            new_peers: Samples::of(&family::NEW_PEERS),
            new_ports: Samples::of(&family::NEW_PORTS),
            unanswered: Samples::of(&family::UNANSWERED),
            torrent_score: Samples::of(&family::TORRENT_SCORE),
            role: Samples::of(&family::SOURCE_ROLE),
        }
    }

    fn totals(&mut self, source: &str, totals: &SourceTotals) {
        let SourceTotals { new_tcp, new_udp, new_other, bytes_out, bytes_in, packets_out, packets_in } =
            *totals;
        self.new_total.add(&[source, "tcp"], new_tcp as f64);
        self.new_total.add(&[source, "udp"], new_udp as f64);
        // SCTP and the like: a series only where it happens.
        if new_other > 0 {
            self.new_total.add(&[source, "other"], new_other as f64);
        }
        self.bytes.add(&[source, "out"], bytes_out as f64);
        self.bytes.add(&[source, "in"], bytes_in as f64);
        self.packets.add(&[source, "out"], packets_out as f64);
        self.packets.add(&[source, "in"], packets_in as f64);
    }

    fn interval(&mut self, source: &str, interval: &SourceInterval) {
        let label = &[source];
        self.new_connections.add(label, interval.new_connections as f64);
        self.active_trifectas.add(label, interval.active_trifectas as f64);
        self.new_peers.add(label, interval.new_peers as f64);
        self.new_ports.add(label, interval.new_ports as f64);
        self.torrent_score.add(label, significant(interval.torrent_score));
        for recognised in &interval.roles {
            self.role.add(&[source, recognised.role.name()], 1.0);
        }
        let optional = [
            (&mut self.mean, interval.mean),
            (&mut self.variance, interval.variance),
            (&mut self.packets_variance, interval.trifecta_packets_variance),
            (&mut self.unanswered, interval.unanswered_ratio()),
        ];
        for (samples, value) in optional {
            if let Some(value) = value {
                samples.add(label, significant(value));
            }
        }
    }

    /// Only what adds up: variances and scores of different sources do not.
    fn others(&mut self, other: &OtherSources) {
        let label = &[OTHER];
        self.new_connections.add(label, other.new_connections as f64);
        self.mean.add(label, significant(other.mean));
        self.active_trifectas.add(label, other.active_trifectas as f64);
        self.new_peers.add(label, other.new_peers as f64);
        self.new_ports.add(label, other.new_ports as f64);
        if other.new_connections > 0 {
            self.unanswered.add(label, significant(other.unanswered as f64 / other.new_connections as f64));
        }
    }

    fn append_to(self, samples: &mut Vec<Samples>) {
        let Self {
            new_total,
            bytes,
            packets,
            new_connections,
            mean,
            variance,
            active_trifectas,
            packets_variance,
            new_peers,
            new_ports,
            unanswered,
            torrent_score,
            role,
        } = self;
        samples.extend([new_total, bytes, packets, new_connections, mean, variance]);
        samples.extend([
            active_trifectas,
            packets_variance,
            new_peers,
            new_ports,
            unanswered,
            torrent_score,
            role,
        ]);
    }
}

/// Rounded to six significant digits: nobody reads more, and the rest would be a third of the scrape.
fn significant(value: f64) -> f64 {
    const DIGITS: i32 = 6;
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a decimal exponent is within ±308")]
    let magnitude = value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(DIGITS - 1 - magnitude);
    if scale.is_finite() && scale > 0.0 { (value * scale).round() / scale } else { value }
}
