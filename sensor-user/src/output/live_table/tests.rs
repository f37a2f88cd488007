//! What a person sees.

use super::*;
use crate::{
    alert::{AlertKind, AlertState},
    output::fixture::{address, alert, builder, drain, interval, snapshot, source},
};

const WIDE: Size = Size { rows: 30, columns: 120 };

fn plain(snapshot: &Snapshot, log: &[String], size: Size) -> String {
    let mut text = String::new();
    Frame::of(snapshot, log, size).write(&mut text, false, "\n");
    text
}

#[test]
fn the_table_says_who_how_much_and_why() {
    let text = plain(&snapshot(), &["WARN something".to_owned()], WIDE);
    let expected = "\
flow-sensor 1.2.3  2027-01-15T08:00:01.000Z
mirror0: native mode, 1000 frames/s, coverage 99.00 %, lost 10, flow table 230 of 131072

source                     new/s  mean/s    variance  peers  ports  unansw.  score  state
10.0.0.5                    21.4    0.71      1522.3    214      7     61 %   0.97  torrent

Alerts
2027-01-15T08:00:10.000Z  firing torrent: 10.0.0.5 opened 214 new connections in 10 s

WARN something
";
    assert_eq!(text, expected);
}

#[test]
fn an_interface_that_is_gone_is_said_first() {
    let text = plain(&builder(1).snapshot(), &[], WIDE);
    assert_eq!(text.lines().nth(1), Some("mirror0: not attached, waiting for the interface"));
}

#[test]
fn a_source_with_an_alert_comes_before_busier_ones() {
    let mut builder = builder(10);
    let victim = address("10.0.0.200");
    builder.alert(&alert(AlertKind::Scan, victim, AlertState::Firing));
    let busy = (1..=100).map(|n| source(address(&format!("10.0.0.{n}")), 50));
    builder.interval(interval(0, busy.chain([source(victim, 1)]).collect()));
    let text = plain(&builder.snapshot(), &[], Size { rows: 20, columns: 100 });
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("10.0.0.")).collect();
    assert!(rows[0].starts_with("10.0.0.200 "), "{text}");
    assert!(text.contains(&format!("and {} more", 101 - rows.len())), "{text}");
}

#[test]
fn a_source_that_the_last_interval_did_not_know_is_shown_once_it_has_an_alert() {
    let mut builder = builder(10);
    for known in [Vec::new(), vec![source(address("10.0.0.9"), 3)]] {
        builder.alert(&alert(AlertKind::Torrent, address("10.0.0.5"), AlertState::Firing));
        let text = plain(&builder.snapshot(), &[], WIDE);
        let row = text.lines().find(|line| line.starts_with("10.0.0.5 ")).unwrap();
        assert!(row.ends_with("  torrent"), "{text}");
        builder.interval(interval(0, known));
    }
}

#[test]
fn a_long_alert_is_wrapped_at_blanks() {
    let text = plain(&snapshot(), &[], Size { rows: 30, columns: 60 });
    let wrapped =
        "2027-01-15T08:00:10.000Z  firing torrent: 10.0.0.5 opened\n    214 new connections in 10 s\n";
    assert!(text.contains(wrapped), "{text}");
}

#[test]
fn no_frame_is_larger_than_the_terminal() {
    let mut builder = builder(10);
    let sources = (1..=100).map(|n| source(address(&format!("fd00::{n:x}")), 50));
    builder.interval(interval(0, sources.collect()));
    for n in 1..=50 {
        builder.alert(&alert(AlertKind::Scan, address(&format!("10.0.0.{n}")), AlertState::Firing));
    }
    let snapshot = builder.snapshot();
    for size in [1, 2, 5, 10, 24, 200].map(|n| Size { rows: n, columns: n * 3 }) {
        let text = plain(&snapshot, &["a log line".repeat(20)], size);
        assert!(text.lines().count() < size.rows.max(1), "{size:?}: {}", text.lines().count());
        assert!(text.lines().all(|line| line.chars().count() <= size.columns), "{size:?}");
    }
}

#[test]
fn nothing_that_is_shown_can_steer_the_terminal() {
    let text = plain(&snapshot(), &["\x1b[2J\x1b[31mred\x1b[0m \u{7}bell\ttab".to_owned()], WIDE);
    assert!(text.ends_with("red belltab\n"), "{text:?}");
}

#[test]
fn the_screen_is_given_back_with_the_log_of_the_meantime() {
    let mut out = Vec::new();
    let mut table = LiveTable::new(&mut out, LogPane::default(), true).unwrap();
    table.show(&snapshot(), WIDE).unwrap();
    drop(table);
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(ENTER) && text.ends_with(LEAVE));
    assert!(!text.contains("\x1b[2J"), "erasing the screen would flicker");
}

#[test]
fn without_a_terminal_there_is_one_line_per_interval() {
    let mut out = Vec::new();
    let mut lines = IntervalLines::new(&mut out);
    let mut builder = builder(10);
    builder.drain(&drain(0));
    lines.show(&builder.snapshot()).unwrap();
    let sources = ["10.0.0.5", "10.0.0.7", "10.0.0.8", "10.0.0.9"].map(|text| source(address(text), 9));
    builder.interval(interval(0, sources.to_vec()));
    lines.show(&builder.snapshot()).unwrap();
    lines.show(&builder.snapshot()).unwrap();
    builder.alert(&alert(AlertKind::Torrent, address("10.0.0.5"), AlertState::Firing));
    builder.interval(interval(1, Vec::new()));
    lines.show(&builder.snapshot()).unwrap();
    let expected = "\
2027-01-15T08:00:10.000Z 36 new connections in 10.0 s, most by 10.0.0.5 (9), 10.0.0.7 (9), 10.0.0.8 (9); \
100 frames/s, coverage 99.00 %; no alert
2027-01-15T08:00:20.000Z 0 new connections in 10.0 s; 100 frames/s, coverage 99.00 %; alert: 10.0.0.5 torrent
";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}
