//! The report of a replay for people: alerts, the sources that opened most, and the frame budget.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::IpAddr,
};

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};
use sensor_common::reason::{Ignored, Lost};

use super::{ReplayOutput, Totals};
use crate::{
    alert::{Alert, AlertKind, AlertState},
    interval::{Interval, SourceInterval},
    pipeline::Report,
};

/// Sources that the report lists.
const LISTED: usize = 20;
/// Sources that are summed up; a capture of a spoofed flood has more than anyone would list.
const MAX_SOURCES: usize = 100_000;

/// A replay's results as one report, written at the end.
pub struct TableReport<W> {
    out: W,
    alerts: Vec<Alert>,
    sources: HashMap<IpAddr, SourceSummary>,
    unlisted: u64,
    span: Option<(String, String)>,
}

/// One source over a whole capture.
#[derive(Default)]
struct SourceSummary {
    new_connections: u64,
    /// Most new connections of one interval, and the length of that interval in seconds.
    peak: (u64, f64),
    new_peers: u64,
    /// Most distinct ports of one interval.
    ports: u64,
    unanswered: u64,
    /// Largest variance of new connections per interval.
    variance: Option<f64>,
    kinds: Vec<AlertKind>,
}

impl SourceSummary {
    fn add(&mut self, source: &SourceInterval, seconds: f64) {
        self.new_connections += source.new_connections;
        if source.new_connections > self.peak.0 {
            self.peak = (source.new_connections, seconds);
        }
        self.new_peers += source.new_peers;
        self.ports = self.ports.max(source.new_ports);
        self.unanswered += source.new_connections.saturating_sub(source.answered);
        self.variance = match (self.variance, source.variance.filter(|variance| variance.is_finite())) {
            (Some(largest), Some(variance)) => Some(largest.max(variance)),
            (largest, variance) => largest.or(variance),
        };
    }

    fn row(&self, source: IpAddr) -> [String; 8] {
        let (peak, seconds) = self.peak;
        let peak = if peak > 0 { format!("{peak} in {seconds:.0} s") } else { "-".to_owned() };
        let unanswered = match self.new_connections {
            0 => "-".to_owned(),
            new => format!("{:.0} %", 100.0 * self.unanswered as f64 / new as f64),
        };
        let verdict = match self.kinds.as_slice() {
            [] => "-".to_owned(),
            kinds => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        [
            source.to_string(),
            self.new_connections.to_string(),
            peak,
            self.new_peers.to_string(),
            self.ports.to_string(),
            unanswered,
            self.variance.map_or_else(|| "-".to_owned(), |variance| format!("{variance:.1}")),
            verdict,
        ]
    }
}

impl<W: Write> TableReport<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, alerts: Vec::new(), sources: HashMap::new(), unlisted: 0, span: None }
    }

    fn add_interval(&mut self, interval: &Interval) {
        let end = interval.end.to_string();
        match &mut self.span {
            Some((_, last)) => *last = end,
            None => self.span = Some((interval.start.to_string(), end)),
        }
        for source in &interval.sources {
            let room = self.sources.len() < MAX_SOURCES;
            match self.sources.get_mut(&source.source) {
                Some(known) => known.add(source, interval.seconds),
                None if room => self.sources.entry(source.source).or_default().add(source, interval.seconds),
                None => self.unlisted += source.new_connections,
            }
        }
    }

    fn add_alert(&mut self, alert: &Alert) {
        let finding = &alert.finding;
        if finding.state == AlertState::Firing {
            let kinds = &mut self.sources.entry(finding.source).or_default().kinds;
            if !kinds.contains(&finding.kind) {
                kinds.push(finding.kind);
            }
        }
        self.alerts.push(alert.clone());
    }

    fn write_alerts(&mut self) -> io::Result<()> {
        if self.alerts.is_empty() {
            return writeln!(self.out, "No alerts.");
        }
        writeln!(self.out, "Alerts")?;
        for Alert { finding, coverage, suppressed: _ } in &self.alerts {
            let state = finding.state.name();
            write!(self.out, "  {} {state} {}: {}", finding.time, finding.kind.name(), finding.summary)?;
            match *coverage {
                coverage if coverage < 1.0 => writeln!(self.out, " (coverage {:.2} %)", 100.0 * coverage)?,
                _ => writeln!(self.out)?,
            }
        }
        Ok(())
    }

    fn write_sources(&mut self) -> io::Result<()> {
        let mut sources: Vec<_> =
            self.sources.iter().filter(|(_, summary)| summary.new_connections > 0).collect();
        sources.sort_by_key(|(address, summary)| (u64::MAX - summary.new_connections, **address));
        if sources.is_empty() {
            return writeln!(
                self.out,
                "\nNo local source opened a connection. Does --local-network name the networks of this capture?"
            );
        }
        writeln!(
            self.out,
            "\nSources by new connections, {} of {}",
            sources.len().min(LISTED),
            sources.len()
        )?;
        let mut table = Table::new();
        table.load_style(UTF8_HORIZONTAL_ONLY).set_header([
            "source",
            "new connections",
            "peak",
            "new peers",
            "ports",
            "unanswered",
            "largest variance",
            "verdict",
        ]);
        for (address, summary) in sources.into_iter().take(LISTED) {
            table.add_row(summary.row(*address));
        }
        for column in table.column_iter_mut().skip(1).take(6) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(self.out, "{}", table.trim_fmt())?;
        if self.unlisted > 0 {
            writeln!(self.out, "and {} new connections of other sources", self.unlisted)?;
        }
        Ok(())
    }

    fn write_totals(&mut self, totals: &Totals) -> io::Result<()> {
        let Totals { frames, intervals, alerts } = totals;
        write!(self.out, "\n{intervals} intervals")?;
        if let Some((start, end)) = &self.span {
            write!(self.out, " from {start} to {end}")?;
        }
        writeln!(self.out, "; alerts: {alerts}")?;
        write!(self.out, "{} frames = {} counted", frames.seen, frames.counted)?;
        let ignored = Ignored::ALL.map(|reason| ("ignored", reason.name(), frames.ignored[reason as usize]));
        let lost = Lost::ALL.map(|reason| ("lost", reason.name(), frames.lost[reason as usize]));
        for (outcome, reason, count) in ignored.into_iter().chain(lost).filter(|(_, _, count)| *count > 0) {
            write!(self.out, " + {count} {outcome} ({reason})")?;
        }
        writeln!(self.out)
    }
}

impl<W: Write> ReplayOutput for TableReport<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        report.intervals.iter().for_each(|interval| self.add_interval(interval));
        report.alerts.iter().for_each(|alert| self.add_alert(alert));
        report.steps.iter().try_for_each(|step| writeln!(self.out, "{step}"))
    }

    fn finish(&mut self, totals: &Totals) -> io::Result<()> {
        self.write_alerts()?;
        self.write_sources()?;
        self.write_totals(totals)?;
        self.out.flush()
    }
}
