//! What is said about a scanner: the evidence object and the sentence.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::source::{SAMPLE, Shape, Verdict};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    detect::ports,
};

/// The source is named.
pub fn named(
    source: IpAddr,
    verdict: &Verdict,
    sample: &[Option<(IpAddr, u16)>; SAMPLE],
    targets: u32,
    score: f64,
    now: Timestamp,
) -> Finding {
    let Verdict { shape, tally, onset, rule, port, target, .. } = verdict;
    let onset = Timestamp::from_secs((*onset).into());
    let evidence = json!({
        "shape": shape.name(),
        "port": port,
        "service": port.and_then(ports::service).map(ports::Service::name),
        "target": target.map(|target| target.to_string()),
        "decided": tally.decided(),
        "targets_wanted": targets,
        "failed": tally.failed,
        "refused": tally.refused,
        "silent": tally.failed - tally.refused,
        "answered": tally.answered,
        "answered_share": round(tally.answered_share()),
        "most_answered": rule.most_answered,
        "walk": round(tally.sum),
        "threshold": round(rule.threshold),
        "per_failure": round(rule.odds.failure),
        "per_answer": round(rule.odds.success),
        "first_evidence": onset.to_string(),
        "window_seconds": now.since(onset).as_secs().max(1),
        "sample": sample_of(verdict, sample),
    });
    Finding {
        time: now,
        kind: AlertKind::Scan,
        source,
        state: AlertState::Firing,
        score,
        evidence,
        summary: sentence(source, verdict, now),
    }
}

/// The source is no longer named.
pub fn resolved(source: IpAddr, since: Timestamp, shape: Shape, now: Timestamp) -> Finding {
    let seconds = now.since(since).as_secs();
    Finding {
        time: now,
        kind: AlertKind::Scan,
        source,
        state: AlertState::Resolved,
        score: 0.0,
        evidence: json!({ "since": since.to_string(), "seconds": seconds, "shape": shape.name() }),
        summary: format!("{source} has stopped: {} scan is over after {seconds} s", shape.name()),
    }
}

/// A named source had to be forgotten because the table of sources was full of named ones.
pub fn forgotten(source: IpAddr, now: Timestamp) -> Finding {
    Finding {
        time: now,
        kind: AlertKind::Scan,
        source,
        state: AlertState::Resolved,
        score: 0.0,
        evidence: json!({ "reason": "forgotten, table of sources full" }),
        summary: format!("{source} is no longer followed because more sources are active than the capacity"),
    }
}

fn sentence(source: IpAddr, verdict: &Verdict, now: Timestamp) -> String {
    let Verdict { shape, tally, onset, port, target, .. } = verdict;
    let seconds = now.since(Timestamp::from_secs((*onset).into())).as_secs().max(1);
    let count = tally.decided();
    let unanswered = 100.0 * (1.0 - tally.answered_share());
    let what = match (shape, port, target) {
        (Shape::Horizontal, Some(port), _) => format!("port {port} of {count} hosts"),
        (Shape::Vertical, _, Some(target)) => format!("{count} ports of {target}"),
        _ => format!("{count} pairs of host and high port"),
    };
    format!("{source} tried {what} in {seconds} s, {unanswered:.0} % unanswered: {} scan", shape.name())
}

/// Of the latest contacts, those that the verdict is about.
fn sample_of(verdict: &Verdict, sample: &[Option<(IpAddr, u16)>; SAMPLE]) -> Vec<Value> {
    let of_verdict = |(peer, port): &(IpAddr, u16)| {
        verdict.port.is_none_or(|wanted| wanted == *port)
            && verdict.target.is_none_or(|wanted| wanted == *peer)
    };
    sample
        .iter()
        .flatten()
        .filter(|contact| of_verdict(contact))
        .map(|(peer, port)| json!({ "peer": peer.to_string(), "port": port }))
        .collect()
}

/// Three decimals: what a reader can use.
fn round(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}
