//! The exact lines and the report that made-up results give.

use std::time::Duration;

use sensor_common::reason::Ignored;
use serde_json::json;

use super::{json::JsonLines, table::TableReport, *};
use crate::{
    alert::{Alert, AlertKind, AlertState, Finding},
    clock::Timestamp,
    interval::{Interval, SourceInterval},
};

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

fn source(address: &str) -> SourceInterval {
    SourceInterval {
        source: address.parse().unwrap(),
        new_connections: 0,
        new_tcp: 0,
        new_udp: 0,
        new_peers: 0,
        new_ports: 0,
        answered: 0,
        refused: 0,
        unreachable: 0,
        mid_stream: 0,
        active_trifectas: 0,
        trifecta_packets_variance: None,
        mean: None,
        variance: None,
        bytes_out: 0,
        bytes_in: 0,
        packets_out: 0,
        packets_in: 0,
        torrent_score: 0.0,
        roles: Vec::new(),
    }
}

fn busy() -> SourceInterval {
    SourceInterval {
        new_connections: 200,
        new_tcp: 80,
        new_udp: 120,
        new_peers: 190,
        new_ports: 180,
        answered: 50,
        active_trifectas: 230,
        trifecta_packets_variance: Some(2.5),
        mean: Some(20.0),
        variance: Some(f64::INFINITY),
        packets_out: 900,
        torrent_score: 0.97,
        roles: Vec::new(),
        ..source("10.0.0.5")
    }
}

fn interval(number: u64, sources: Vec<SourceInterval>) -> Interval {
    let start = START.plus(Duration::from_secs(10 * number));
    Interval { start, end: start.plus(Duration::from_secs(10)), seconds: 10.0, sources, frames: Vec::new() }
}

fn alert(state: AlertState, coverage: f64) -> Alert {
    let finding = Finding {
        time: START.plus(Duration::from_millis(3_250)),
        kind: AlertKind::Torrent,
        source: "10.0.0.5".parse().unwrap(),
        state,
        score: 0.97,
        evidence: json!({"peers": 190}),
        summary: "10.0.0.5 opened 200 new connections".to_owned(),
    };
    Alert { finding, coverage, suppressed: None }
}

fn totals() -> Totals {
    let mut frames = FrameCounts { seen: 10, counted: 7, ..FrameCounts::default() };
    frames.ignored[Ignored::Fragment as usize] = 3;
    Totals { frames, intervals: 2, alerts: 1 }
}

/// What is written for two intervals, an alert and its end.
fn written(output: impl FnOnce(&mut Vec<u8>) -> Box<dyn ReplayOutput + '_>) -> String {
    let mut bytes = Vec::new();
    let mut output = output(&mut bytes);
    let quiet = SourceInterval { mean: Some(0.0), ..source("10.0.0.9") };
    let waning = SourceInterval { mean: Some(0.5), variance: Some(0.25), ..source("fd00::1") };
    let intervals = vec![interval(0, vec![busy(), quiet]), interval(1, vec![waning])];
    let alerts = vec![alert(AlertState::Firing, 1.0), alert(AlertState::Resolved, 0.5)];
    output.report(&Report { intervals, alerts, ..Report::default() }).unwrap();
    output.report(&Report::default()).unwrap();
    output.finish(&totals()).unwrap();
    drop(output);
    String::from_utf8(bytes).expect("the output must be text")
}

#[test]
fn json_lines_are_intervals_alerts_and_a_summary() {
    let text = written(|bytes| Box::new(JsonLines::new(bytes)));
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("every line must be an object")).collect();
    let idle = json!({
        "source": "fd00::1", "new_connections": 0, "new_tcp": 0, "new_udp": 0, "new_peers": 0, "new_ports": 0,
        "unanswered_ratio": null, "active_trifectas": 0, "mean": 0.5, "variance": 0.25,
        "trifecta_packets_variance": null, "torrent_score": 0.0
    });
    let busy = json!({
        "source": "10.0.0.5", "new_connections": 200, "new_tcp": 80, "new_udp": 120, "new_peers": 190,
        "new_ports": 180, "unanswered_ratio": 0.75, "active_trifectas": 230, "mean": 20.0, "variance": null,
        "trifecta_packets_variance": 2.5, "torrent_score": 0.97
    });
    let alert = |state: &str, coverage: f64| {
        json!({
            "type": "alert", "time": "2023-11-14T22:13:23.250Z", "kind": "torrent", "source": "10.0.0.5",
            "state": state, "score": 0.97, "coverage": coverage, "evidence": {"peers": 190},
            "summary": "10.0.0.5 opened 200 new connections"
        })
    };
    let expected = [
        json!({"type": "interval", "time": "2023-11-14T22:13:20.000Z", "seconds": 10.0, "sources": [busy]}),
        json!({"type": "interval", "time": "2023-11-14T22:13:30.000Z", "seconds": 10.0, "sources": [idle]}),
        alert("firing", 1.0),
        alert("resolved", 0.5),
        json!({
            "type": "summary",
            "frames": {"seen": 10, "counted": 7, "ignored": {
                "not_ip": 0, "not_l4": 0, "fragment": 3, "truncated": 0, "malformed": 0, "too_deep": 0,
                "unsupported_encapsulation": 0, "filtered": 0
            }},
            "intervals": 2, "alerts": 1
        }),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_type_comes_first_in_every_line() {
    let text = written(|bytes| Box::new(JsonLines::new(bytes)));
    for line in text.lines() {
        assert!(line.starts_with("{\"type\":\""), "{line}");
    }
}

#[test]
fn the_report_tells_alerts_sources_and_the_frame_budget() {
    let text = written(|bytes| Box::new(TableReport::new(bytes)));
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = [
        "2023-11-14T22:13:23.250Z firing torrent: 10.0.0.5 opened 200 new connections",
        "resolved torrent: 10.0.0.5 opened 200 new connections (coverage 50.00 %)",
        "Sources by new connections, 1 of 1",
        "10.0.0.5 200 200 in 10 s 190 180 75 % - torrent",
        "2 intervals from 2023-11-14T22:13:20.000Z to 2023-11-14T22:13:40.000Z; alerts: 1",
        "10 frames = 7 counted + 3 ignored (fragment)",
    ];
    for part in expected {
        assert!(words.contains(part), "{part:?} is missing in\n{text}");
    }
}

#[test]
fn a_report_without_local_sources_says_what_may_be_wrong() {
    let mut bytes = Vec::new();
    TableReport::new(&mut bytes).finish(&Totals::default()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("No alerts.\n\nNo local source opened a connection."), "{text}");
    assert!(text.ends_with("0 frames = 0 counted\n"), "{text}");
}
