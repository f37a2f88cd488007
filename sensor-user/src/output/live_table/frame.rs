//! One frame of the table: plain lines of at most the terminal's size, some of them marked.

use std::{collections::BTreeSet, net::IpAddr};

use super::Size;
use crate::{
    alert::{Alert, AlertState},
    capture::live::program::XdpMode,
    interval::SourceInterval,
    mirror::Diagnosis,
    output::snapshot::{InterfaceStatus, Snapshot},
};

/// Log lines at the bottom.
pub(super) const LOG_LINES: usize = 3;
/// Alerts below the sources.
const ALERTS: usize = 5;

/// How a line stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Plain,
    Heading,
    Alarm,
    Faint,
}

impl Mark {
    const fn escape(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "\x1b[1m",
            Self::Alarm => "\x1b[1;31m",
            Self::Faint => "\x1b[2m",
        }
    }
}

/// The lines of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame(Vec<(Mark, String)>);

impl Frame {
    pub(super) fn of(snapshot: &Snapshot, log: &[String], size: Size) -> Self {
        let header = header(snapshot);
        let footer = footer(snapshot, log, size.columns);
        // The last row stays empty: a line feed there would scroll the screen.
        let room = size.rows.saturating_sub(header.len() + footer.len() + 1);
        let mut lines = header;
        lines.extend(sources(snapshot, room));
        lines.extend(footer);
        lines.truncate(size.rows.saturating_sub(1));
        for (_, line) in &mut lines {
            *line = printable(line, size.columns);
        }
        Self(lines)
    }

    pub(super) fn write(&self, text: &mut String, colours: bool, end_line: &str) {
        for (mark, line) in &self.0 {
            if colours {
                text.push_str(mark.escape());
            }
            text.push_str(line);
            text.push_str(end_line);
        }
    }
}

/// Kinds of the alerts that `source` has, `-` for none.
pub(super) fn kinds_of(snapshot: &Snapshot, source: IpAddr) -> String {
    let of_source = snapshot.alerts.active.iter().filter(|alert| alert.source == source);
    let kinds: Vec<&str> = of_source.map(|alert| alert.kind.name()).collect();
    if kinds.is_empty() { "-".to_owned() } else { kinds.join(", ") }
}

/// A ratio in percent; never 100 % unless it is.
pub(super) fn percent(ratio: f64) -> String {
    let hundredths = if ratio < 1.0 { (ratio * 1e4).floor() } else { 1e4 };
    format!("{:.2} %", hundredths / 100.0)
}

fn header(snapshot: &Snapshot) -> Vec<(Mark, String)> {
    let title = format!("flow-sensor {}  {}", snapshot.build.version, snapshot.time);
    let mut lines = vec![(Mark::Heading, title)];
    lines.extend(snapshot.interfaces.iter().map(interface));
    lines.extend(snapshot.mirror.iter().map(|diagnosis| mirror(diagnosis, &snapshot.interfaces)));
    lines.push((Mark::Plain, String::new()));
    lines
}

fn interface(interface: &InterfaceStatus) -> (Mark, String) {
    let InterfaceStatus { name, reading, frames, frames_per_second, coverage, drain_duration: _ } = interface;
    let Some(mode) = reading.mode else {
        return (Mark::Alarm, format!("{name}: not attached, waiting for the interface"));
    };
    let coverage = coverage.map_or("-".to_owned(), percent);
    let line = format!(
        "{name}: {} mode, {frames_per_second:.0} frames/s, coverage {coverage}, lost {}, flow table {} of {}",
        mode.name(),
        frames.lost(),
        reading.table_entries,
        reading.table_capacity,
    );
    (if mode == XdpMode::Generic || frames.lost() > 0 { Mark::Heading } else { Mark::Plain }, line)
}

fn mirror(diagnosis: &Diagnosis, interfaces: &[InterfaceStatus]) -> (Mark, String) {
    let of = diagnosis.interface.and_then(|index| interfaces.get(index));
    let of = of.map_or(String::new(), |interface| format!(" to {}", interface.name));
    (Mark::Alarm, format!("The mirror{of} is wrong: {diagnosis}"))
}

const COLUMNS: &str =
    "source                     new/s  mean/s    variance  peers  ports  unansw.  score  state";

/// The sources in at most `room` lines: those with an alert, then those that opened most.
fn sources(snapshot: &Snapshot, room: usize) -> Vec<(Mark, String)> {
    let rows = rows(snapshot);
    let mut lines = vec![(Mark::Heading, COLUMNS.to_owned())];
    if rows.is_empty() {
        let nothing = match snapshot.interval {
            Some(_) => "No new connections in the last interval.",
            None => "The first interval is under way.",
        };
        lines.push((Mark::Faint, nothing.to_owned()));
    }
    let count = rows.len();
    let fitting = if count < room { count } else { room.saturating_sub(2) };
    lines.extend(rows.into_iter().take(fitting));
    if fitting < count {
        lines.push((Mark::Faint, format!("and {} more", count - fitting)));
    }
    lines
}

fn rows(snapshot: &Snapshot) -> Vec<(Mark, String)> {
    let alerting: BTreeSet<IpAddr> = snapshot.alerts.active.iter().map(|alert| alert.source).collect();
    let interval = snapshot.interval.as_deref();
    let known = interval.map_or(&[][..], |interval| &interval.sources);
    let seconds = interval.map_or(0.0, |interval| interval.seconds);
    let line = |source: &SourceInterval| row(snapshot, seconds, source);
    // An alert may be younger than the last interval, which then says nothing of its source.
    let unknown = alerting.iter().filter(|source| known.iter().all(|known| known.source != **source));
    let unknown = unknown.map(|source| {
        let (source, kinds) = (source.to_string(), kinds_of(snapshot, *source));
        (Mark::Alarm, format!("{source:<25} not in the last interval{:>50}  {kinds}", ""))
    });
    let with_alert = known.iter().filter(|source| alerting.contains(&source.source));
    let others =
        known.iter().filter(|source| source.new_connections > 0 && !alerting.contains(&source.source));
    unknown
        .chain(with_alert.map(|source| (Mark::Alarm, line(source))))
        .chain(others.map(|source| (Mark::Plain, line(source))))
        .collect()
}

fn row(snapshot: &Snapshot, seconds: f64, source: &SourceInterval) -> String {
    let per_second = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
    let unanswered = source.unanswered_ratio().map(|ratio| format!("{:.0} %", 100.0 * ratio));
    format!(
        "{:<25} {:>6.1} {:>7} {:>11} {:>6} {:>6} {:>8} {:>6.2}  {}",
        source.source,
        per_second(source.new_connections as f64),
        or_dash(source.mean.map(|mean| format!("{:.2}", per_second(mean)))),
        or_dash(source.variance.map(|variance| format!("{variance:.1}"))),
        source.new_peers,
        source.new_ports,
        or_dash(unanswered),
        source.torrent_score,
        kinds_of(snapshot, source.source),
    )
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

fn footer(snapshot: &Snapshot, log: &[String], columns: usize) -> Vec<(Mark, String)> {
    let mut lines = vec![(Mark::Plain, String::new()), (Mark::Heading, "Alerts".to_owned())];
    if snapshot.alerts.recent.is_empty() {
        lines.push((Mark::Faint, "none so far".to_owned()));
    }
    for alert in snapshot.alerts.recent.iter().take(ALERTS) {
        let (mark, text) = alert_line(alert);
        lines.extend(wrap(&text, columns).into_iter().map(|line| (mark, line)));
    }
    if !log.is_empty() {
        lines.push((Mark::Plain, String::new()));
        lines.extend(log.iter().map(|line| (Mark::Faint, line.clone())));
    }
    lines
}

fn alert_line(alert: &Alert) -> (Mark, String) {
    let finding = &alert.finding;
    let mark = if finding.state == AlertState::Firing { Mark::Alarm } else { Mark::Faint };
    let (kind, state) = (finding.kind.name(), finding.state.name());
    let note = alert.suppressed.as_ref().map(|by| format!(" (suppressed: {})", by.reason));
    (mark, format!("{}  {state} {kind}: {}{}", finding.time, finding.summary, note.unwrap_or_default()))
}

/// `text` in lines of at most `columns` characters, broken at blanks, all but the first indented.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > columns {
            lines.push(std::mem::replace(&mut line, "   ".to_owned()));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// The first `columns` characters, none of which can steer the terminal. Escape sequences are taken out
/// whole: log lines come coloured.
fn printable(line: &str, columns: usize) -> String {
    console::strip_ansi_codes(line).chars().filter(|c| !c.is_control()).take(columns).collect()
}
