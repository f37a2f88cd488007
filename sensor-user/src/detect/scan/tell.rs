//! The path to the decision about one source, contact by contact: what `--why` shows of scans.

use super::{
    source::{Rules, Source, Verdict},
    walk::Tally,
};
use crate::{
    alert::AlertKind,
    clock::Timestamp,
    detect::{
        ports,
        trace::{Step, Trace},
    },
    observation::{Contact, Outcome, Response, Trifecta},
};

fn step(time: Timestamp, trifecta: Option<&Trifecta>, what: String, (weight, sum): (f64, f64)) -> Step {
    let peer = trifecta.map(|one| (one.responder, one.port, one.protocol));
    Step { time, kind: AlertKind::Scan, peer, what, weight, sum }
}

/// The walk of a port as it stands.
fn of_port(source: &Source, port: u16, rules: &Rules) -> Tally {
    let walk = source.ports.iter().find(|one| one.port == port);
    walk.map_or_else(Tally::default, |one| one.walk.tally(rules.of_port(port)))
}

/// A contact that is no evidence.
pub fn no_evidence(contact: &Contact, reason: &str) -> Step {
    step(contact.time, Some(&contact.trifecta), format!("no evidence: {reason}"), (0.0, 0.0))
}

/// A first contact, whose outcome is yet to come.
pub fn contact(contact: &Contact, source: &Source, rules: &Rules) -> Step {
    let port = contact.trifecta.port;
    let of_service = if ports::service(port).is_some() { "a service's" } else { "a high" };
    let what = format!("first contact, on {of_service} port; its outcome is waited for");
    step(contact.time, Some(&contact.trifecta), what, (0.0, of_port(source, port, rules).sum))
}

/// The walk of the port of a trifecta, before an outcome.
pub fn standing(source: &Source, trifecta: &Trifecta, rules: &Rules) -> f64 {
    of_port(source, trifecta.port, rules).sum
}

/// An outcome, and what it did to the walk of its port.
pub fn response(response: &Response, before: f64, source: &Source, rules: &Rules) -> Step {
    let Response { time, trifecta, outcome, .. } = response;
    let sum = of_port(source, trifecta.port, rules).sum;
    let what = match outcome {
        Outcome::Answered => "answered",
        Outcome::Refused => "refused",
        Outcome::Unreachable => "unreachable",
    };
    step(*time, Some(trifecta), format!("{what} (walk of port {})", trifecta.port), (sum - before, sum))
}

/// What had its time without an outcome, by walk.
pub fn silence(trace: &mut Trace, before: &[Verdict], after: impl Iterator<Item = Verdict>, now: Timestamp) {
    for (before, after) in before.iter().zip(after) {
        let silent = after.tally.failed.saturating_sub(before.tally.failed);
        if silent > 0 {
            let what = format!("{silent} silent for three seconds and more ({})", name(&after));
            let sum = after.tally.sum;
            trace.record(step(now, None, what, (sum - before.tally.sum, sum)));
        }
    }
}

/// That a walk names its source, or why one that reached its threshold does not.
pub fn decision(
    trace: &mut Trace,
    walks: impl Iterator<Item = Verdict>,
    named: Option<&Verdict>,
    (targets, torrent, rules): (u32, bool, &Rules),
    now: Timestamp,
) {
    if let Some(verdict) = named {
        let what = format!("named: {} scan ({})", verdict.shape.name(), name(verdict));
        trace.decide(step(now, None, what, (0.0, verdict.tally.sum)));
        return;
    }
    let highest = walks
        .filter(|walk| walk.tally.sum >= walk.rule.threshold)
        .max_by(|a, b| a.tally.sum.total_cmp(&b.tally.sum));
    let Some(walk) = highest else { return };
    let most = if torrent { rules.peer.most_answered } else { walk.rule.most_answered };
    let (decided, answered) = (walk.tally.decided(), walk.tally.answered_share());
    let reason = if decided < targets {
        format!("{decided} of the {targets} that are asked for")
    } else if answered > most {
        format!("{:.0} % answered, of at most {:.0} %", 100.0 * answered, 100.0 * most)
    } else {
        "its torrent alert explains it".to_owned()
    };
    trace.decide(step(now, None, format!("not named: {reason} ({})", name(&walk)), (0.0, walk.tally.sum)));
}

fn name(walk: &Verdict) -> String {
    match (walk.port, walk.target) {
        (Some(port), _) => format!("walk of port {port}"),
        (_, Some(target)) => format!("walk of {target}"),
        _ => "walk of all high ports".to_owned(),
    }
}
