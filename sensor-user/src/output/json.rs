//! JSON lines: one object a line, of the types `interval`, `alert`, `step` (only where asked for) and
//! `summary`.
//!
//! The alert object is the same in `replay --format json` and in the alert log of `run`. Numbers are
//! finite; what is not known (a variance of one interval) is null.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
};

use sensor_common::reason::Ignored;
use serde::Serialize;

use super::{ReplayOutput, Totals};
use crate::{
    alert::{Alert, Finding},
    detect::trace::Step,
    flow::FrameCounts,
    interval::{Interval, SourceInterval},
    pipeline::Report,
};

/// A replay's results as JSON lines.
pub struct JsonLines<W> {
    out: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub const fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> ReplayOutput for JsonLines<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        let Report { intervals, alerts, steps } = report;
        for step in steps {
            write_line(&mut self.out, &Object::of_step(step))?;
        }
        for interval in intervals {
            write_line(&mut self.out, &Object::of_interval(interval))?;
        }
        for alert in alerts {
            write_alert(&mut self.out, alert)?;
        }
        if intervals.is_empty() && alerts.is_empty() { Ok(()) } else { self.out.flush() }
    }

    fn finish(&mut self, totals: &Totals) -> io::Result<()> {
        let Totals { frames: FrameCounts { seen, counted, ignored, .. }, intervals, alerts } = *totals;
        let ignored =
            Ignored::ALL.into_iter().map(|reason| (reason.name(), ignored[reason as usize])).collect();
        let frames = Frames { seen, counted, ignored };
        write_line(&mut self.out, &Object::Summary { frames, intervals, alerts })?;
        self.out.flush()
    }
}

/// Writes one alert as a line.
pub fn write_alert(out: &mut impl Write, alert: &Alert) -> io::Result<()> {
    write_line(out, &Object::of_alert(alert))
}

fn write_line(out: &mut impl Write, object: &Object<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, object)?;
    out.write_all(b"\n")
}

/// A line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Object<'a> {
    /// A complete interval.
    Interval {
        /// When it began.
        time: String,
        /// Its length.
        seconds: Option<f64>,
        sources: Vec<Source>,
    },
    /// A finding that began or ceased to hold.
    Alert {
        time: String,
        kind: &'static str,
        source: IpAddr,
        state: &'static str,
        score: Option<f64>,
        coverage: Option<f64>,
        evidence: &'a serde_json::Value,
        summary: &'a str,
        /// Why it is not posted.
        #[serde(skip_serializing_if = "Option::is_none")]
        suppressed: Option<&'a str>,
    },
    /// What moved the evidence about a host that is asked about.
    Step {
        time: String,
        kind: &'static str,
        peer: Option<IpAddr>,
        port: Option<u16>,
        protocol: Option<String>,
        what: &'a str,
        weight: Option<f64>,
        sum: Option<f64>,
    },
    /// The last line of a replay.
    Summary { frames: Frames, intervals: u64, alerts: u64 },
}

/// One source in one interval.
#[derive(Serialize)]
struct Source {
    #[serde(rename = "source")]
    address: IpAddr,
    new_connections: u64,
    new_tcp: u64,
    new_udp: u64,
    new_peers: u64,
    new_ports: u64,
    unanswered_ratio: Option<f64>,
    active_trifectas: u64,
    mean: Option<f64>,
    variance: Option<f64>,
    trifecta_packets_variance: Option<f64>,
    torrent_score: Option<f64>,
    /// By name; left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<&'static str>,
}

/// Frames by outcome.
#[derive(Serialize)]
struct Frames {
    seen: u64,
    counted: u64,
    ignored: BTreeMap<&'static str, u64>,
}

impl<'a> Object<'a> {
    fn of_interval(interval: &Interval) -> Self {
        Self::Interval {
            time: interval.start.to_string(),
            seconds: finite(interval.seconds),
            sources: interval
                .sources
                .iter()
                .filter(|source| says_something(source))
                .map(Source::of)
                .collect(),
        }
    }

    fn of_alert(alert: &'a Alert) -> Self {
        let Alert { finding, coverage, suppressed } = alert;
        let Finding { time, kind, source, state, score, evidence, summary } = finding;
        Self::Alert {
            time: time.to_string(),
            kind: kind.name(),
            source: *source,
            state: state.name(),
            score: finite(*score),
            coverage: finite(*coverage),
            evidence,
            summary,
            suppressed: suppressed.as_ref().map(|suppressed| suppressed.reason.as_ref()),
        }
    }
}

impl<'a> Object<'a> {
    fn of_step(step: &'a Step) -> Self {
        let Step { time, kind, peer, what, weight, sum } = step;
        Self::Step {
            time: time.to_string(),
            kind: kind.name(),
            peer: peer.map(|(peer, ..)| peer),
            port: peer.map(|(_, port, _)| port),
            protocol: peer.map(|(.., protocol)| protocol.to_string()),
            what,
            weight: finite(*weight),
            sum: finite(*sum),
        }
    }
}

impl Source {
    fn of(source: &SourceInterval) -> Self {
        Self {
            address: source.source,
            new_connections: source.new_connections,
            new_tcp: source.new_tcp,
            new_udp: source.new_udp,
            new_peers: source.new_peers,
            new_ports: source.new_ports,
            unanswered_ratio: source.unanswered_ratio().and_then(finite),
            active_trifectas: source.active_trifectas,
            mean: source.mean.and_then(finite),
            variance: source.variance.and_then(finite),
            trifecta_packets_variance: source.trifecta_packets_variance.and_then(finite),
            torrent_score: finite(source.torrent_score),
            roles: source.roles.iter().map(|recognised| recognised.role.name()).collect(),
        }
    }
}

/// Whether a source had traffic in the interval, or new connections in the window before it. The rest
/// are known sources at rest: a line of zeros each, in every interval.
fn says_something(source: &SourceInterval) -> bool {
    source.packets_in + source.packets_out + source.new_connections + source.active_trifectas > 0
        || source.mean.is_some_and(|mean| mean > 0.0)
        || source.torrent_score > 0.0
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
