//! What is said about a suspect: the evidence object and the sentence.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    HOLD,
    peers::Candidate,
    suspect::{Evidence, Named, Suspect, Test},
    view::{Condition, View},
};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    detect::{roles::Recognised, trace::Step},
};

/// Peers shown as a sample.
const SAMPLE: usize = 5;

/// The source is named.
pub fn named(
    suspect: &Suspect,
    roles: &[Recognised],
    test: Test,
    threshold: f64,
    view: &View,
    conditions: &[Condition],
    now: Timestamp,
) -> Finding {
    let sum = &suspect.sums[test as usize];
    let evidence = json!({
        "test": test.name(),
        "sum": round(sum.cusum.value()),
        "threshold": round(threshold),
        "busy_factor": round(suspect.busy),
        "parts": parts(suspect),
        "first_evidence": sum.onset.to_string(),
        "window_seconds": round(window(view, now)),
        "new_connections": view.trifectas,
        "peers": view.peers,
        "ports": view.ports,
        "networks": view.networks,
        "udp_peers": view.udp,
        "both_protocols": view.both_protocols,
        "usual_ports": view.usual,
        "answers": answers(view),
        "shared_socket": suspect.sockets.busiest().map(|socket| json!({
            "port": socket.port, "peers": socket.contacted, "clients": socket.clients,
        })),
        "conditions": conditions.iter().map(condition).collect::<Vec<_>>(),
        "roles": roles.iter().map(|Recognised { role, since, because }| json!({
            "role": role.name(), "since": since.to_string(), "because": because.to_string(), "effect": role.effect(),
        })).collect::<Vec<_>>(),
        "sample": sample(suspect, test),
    });
    Finding {
        time: now,
        kind: AlertKind::Torrent,
        source: suspect.source,
        state: AlertState::Firing,
        score: suspect.score,
        evidence,
        summary: sentence(suspect.source, test, view, now),
    }
}

/// The source is no longer named.
pub fn resolved(suspect: &Suspect, named: Named, held: &View, now: Timestamp) -> Finding {
    let seconds = now.since(named.since).as_secs();
    Finding {
        time: now,
        kind: AlertKind::Torrent,
        source: suspect.source,
        state: AlertState::Resolved,
        score: 0.0,
        evidence: json!({
            "since": named.since.to_string(),
            "seconds": seconds,
            "test": named.test.name(),
            "peers": held.peers,
            "window_seconds": HOLD.as_secs(),
        }),
        summary: format!(
            "{} contacted {} new peers on rare ports in the last {} s: BitTorrent-like peer discovery is over \
             after {seconds} s",
            suspect.source,
            held.peers,
            HOLD.as_secs(),
        ),
    }
}

/// A named source had to be forgotten because the table of sources was full of named ones.
pub fn forgotten(source: IpAddr, now: Timestamp) -> Finding {
    Finding {
        time: now,
        kind: AlertKind::Torrent,
        source,
        state: AlertState::Resolved,
        score: 0.0,
        evidence: json!({ "reason": "forgotten, table of sources full" }),
        summary: format!("{source} is no longer followed because more sources are active than the capacity"),
    }
}

/// The step that says what a decision was.
pub fn decision(suspect: &Suspect, by: Option<Test>, now: Timestamp) -> Step {
    let what = match (by, suspect.barred) {
        (Some(test), _) => format!("named by the {} test", test.name()),
        (None, barred) => format!("enough evidence, but: {}", barred.unwrap_or("nothing")),
    };
    Step {
        time: now,
        kind: AlertKind::Torrent,
        peer: None,
        what,
        weight: 0.0,
        sum: suspect.sums[0].cusum.value(),
    }
}

fn sentence(source: IpAddr, test: Test, view: &View, now: Timestamp) -> String {
    let seconds = window(view, now);
    if test == Test::Standing {
        return format!(
            "{source} has conversations under way with {} external peers on {} high ports in {} networks, seen \
             within {seconds:.0} s: BitTorrent-like peer exchange",
            view.peers, view.ports, view.networks,
        );
    }
    let unanswered = view.answered_share().map_or_else(
        || "none old enough to have been answered".to_owned(),
        |answered| format!("{:.0} % unanswered", 100.0 * (1.0 - answered)),
    );
    format!(
        "{source} opened {} new connections in {seconds:.0} s to {} peers on {} ports, {unanswered}: \
         BitTorrent-like peer discovery",
        view.trifectas, view.peers, view.ports,
    )
}

/// From the first contact of the window to now, at least a second.
fn window(view: &View, now: Timestamp) -> f64 {
    now.since(view.since).as_secs_f64().ceil().max(1.0)
}

fn parts(suspect: &Suspect) -> Value {
    Evidence::ALL
        .into_iter()
        .map(|evidence| (evidence.name().to_owned(), round(suspect.shares[evidence as usize].into())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn answers(view: &View) -> Value {
    let View { ripe, answered, refused, unreachable, .. } = *view;
    json!({
        "due": ripe,
        "answered": answered,
        "refused": refused,
        "unreachable": unreachable,
        "silent": ripe - answered - refused - unreachable,
        "answered_share": view.answered_share().map(round),
    })
}

fn condition(condition: &Condition) -> Value {
    json!({
        "not": condition.name,
        "value": round(condition.value),
        "limit": round(condition.limit),
        "met": condition.met,
    })
}

/// The latest peers that count.
fn sample(suspect: &Suspect, test: Test) -> Vec<Value> {
    let mut counted: Vec<&Candidate> = suspect
        .peers
        .iter()
        .filter(|candidate| candidate.counts() && candidate.opened() == (test != Test::Standing))
        .collect();
    counted.sort_by_key(|candidate| std::cmp::Reverse(candidate.time));
    counted.truncate(SAMPLE);
    counted
        .into_iter()
        .map(|candidate| {
            json!({
                "peer": candidate.peer.to_string(),
                "port": candidate.port,
                "protocol": candidate.protocol.to_string(),
                "time": candidate.time.to_string(),
            })
        })
        .collect()
}

/// Three decimals: what a reader can use.
fn round(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}
