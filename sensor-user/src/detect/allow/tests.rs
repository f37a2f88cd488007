//! What is no evidence any more, for whom, and what stays as it was.

use std::net::IpAddr;

use super::*;
use crate::{
    alert::{AlertState, Finding},
    detect::{
        Detectors,
        settings::Settings,
        synthetic::{After, HOST, Swarm, Traffic, at, fired_with, row, run},
    },
    flow::Protocol,
    interval::{Interval, SourceInterval},
    observation::Trifecta,
};

fn whom(text: &str) -> Whom {
    Whom::new(text, &[text.parse().expect("a network")])
}

fn everything_of(source: &str, kind: Option<AlertKind>) -> Allowance {
    Allowance {
        source: Some(whom(source)),
        destination: None,
        ports: Vec::new(),
        kind,
        reason: "known".into(),
    }
}

fn allowing(allow: Allowance) -> Settings {
    Settings { allow: vec![allow], ..Settings::default() }
}

fn swarm(traffic: &mut Traffic) {
    Swarm::default().play(traffic);
}

/// SSH to a hundred hosts of one network, none of which answers.
fn sweep(traffic: &mut Traffic) {
    for number in 0..100 {
        let (target, local_port) = (IpAddr::from([198, 51, 100, number]), traffic.ephemeral());
        let when = 1.0 + f64::from(number) / 10.0;
        traffic.contact(when, (HOST, local_port), (target, 22), Protocol::TCP, After::Silence);
    }
}

const TORRENT: (AlertKind, IpAddr) = (AlertKind::Torrent, HOST);
const SCAN: (AlertKind, IpAddr) = (AlertKind::Scan, HOST);

#[test]
fn a_source_that_is_allowed_is_not_named_and_its_neighbour_is() {
    assert_eq!(fired_with(&allowing(everything_of("10.0.0.5/32", None)), swarm), []);
    assert_eq!(fired_with(&allowing(everything_of("10.0.0.6/32", None)), swarm), [TORRENT]);
}

#[test]
fn what_is_allowed_for_one_kind_is_evidence_for_the_others() {
    let both = |traffic: &mut Traffic| {
        sweep(traffic);
        Swarm { from: 40.0, ..Swarm::default() }.play(traffic);
    };
    let of = |kind| fired_with(&allowing(everything_of("10.0.0.0/8", Some(kind))), both);
    assert_eq!(of(AlertKind::Scan), [TORRENT]);
    assert_eq!(of(AlertKind::Torrent), [SCAN]);
    assert_eq!(of(AlertKind::Fanout), [SCAN, TORRENT]);
}

#[test]
fn a_destination_or_a_port_that_is_allowed_is_no_evidence_and_any_other_is() {
    let cases = [
        (Some(whom("198.51.100.0/24")), vec![], true),
        (Some(whom("198.51.100.0/24")), vec![22], true),
        (None, vec![80, 22], true),
        (Some(whom("198.51.100.0/24")), vec![23], false),
        (Some(whom("203.0.113.0/24")), vec![22], false),
    ];
    for (destination, ports, allowed) in cases {
        let entry = Allowance { source: None, destination, ports, kind: None, reason: "our servers".into() };
        let all = fired_with(&allowing(entry.clone()), sweep);
        assert_eq!(all.is_empty(), allowed, "{entry:?}");
    }
}

#[test]
fn a_torrent_host_is_named_by_what_is_not_allowed() {
    let entry =
        Allowance { source: None, destination: None, ports: vec![6_881], kind: None, reason: "x".into() };
    assert_eq!(fired_with(&allowing(entry), swarm), [TORRENT]);
}

#[test]
fn answers_to_allowed_contacts_do_not_excuse_others() {
    // Each silent contact is followed by one that is answered: without the allowed ones it is a sweep.
    let mixed = |traffic: &mut Traffic| {
        sweep(traffic);
        for number in 0..100 {
            let (server, local_port) = (IpAddr::from([203, 0, 113, number]), traffic.ephemeral());
            let when = 1.05 + f64::from(number) / 10.0;
            traffic.contact(when, (HOST, local_port), (server, 22), Protocol::TCP, After::Answer);
        }
    };
    let settings = allowing(Allowance {
        destination: Some(whom("203.0.113.0/24")),
        source: None,
        ports: vec![],
        kind: None,
        reason: "x".into(),
    });
    assert_eq!(fired_with(&Settings::default(), mixed), []);
    assert_eq!(fired_with(&settings, mixed), [SCAN]);
}

#[test]
fn what_is_kept_from_the_detectors_is_counted() {
    let mut traffic = Traffic::new(1);
    sweep(&mut traffic);
    let mut detectors = Detectors::new(&allowing(everything_of("10.0.0.5/32", Some(AlertKind::Torrent))));
    run(&mut detectors, &traffic.finish(), 1);
    assert_eq!(detectors.allowances().iter().map(|one| one.contacts).collect::<Vec<_>>(), [100]);
}

#[test]
fn an_entry_that_stays_counts_on_when_entries_are_replaced() {
    let mut traffic = Traffic::new(1);
    sweep(&mut traffic);
    let observations = traffic.finish();
    let [kept, other] = [everything_of("10.0.0.5/32", None), everything_of("10.9.0.0/16", None)];
    let other = Allowance { reason: "another".into(), ..other };
    let mut detectors = Detectors::new(&allowing(kept.clone()));
    detectors.observe(&observations);
    detectors.allow(&[other, kept]);
    detectors.observe(&observations);
    assert_eq!(detectors.allowances().iter().map(|one| one.contacts).collect::<Vec<_>>(), [0, 200]);
}

/// Closes an interval after a quiet minute in which the host opened 500 connections, 400 of them on port 22.
fn burst(settings: &Settings) -> Vec<Finding> {
    let mut detectors = Detectors::new(settings);
    let mut findings = Vec::new();
    for number in 0..4_u32 {
        let new = if number == 3 { 500 } else { 1 };
        if number == 3 {
            let mut traffic = Traffic::new(1);
            for contact in 0..400 {
                let (server, local_port) = (traffic.anywhere(), traffic.ephemeral());
                let when = 30.0 + f64::from(contact) / 100.0;
                traffic.contact(when, (HOST, local_port), (server, 22), Protocol::TCP, After::Answer);
            }
            detectors.observe(&traffic.finish());
        }
        let [start, end] = [f64::from(number) * 10.0, f64::from(number + 1) * 10.0].map(at);
        let sources = vec![row(HOST, new, Some((1.0, 1.0)))];
        let interval = Interval { start, end, seconds: 10.0, sources, frames: Vec::new() };
        detectors.close_interval(&interval, &mut findings);
    }
    findings.retain(|finding| finding.state == AlertState::Firing);
    findings
}

#[test]
fn a_burst_is_judged_without_what_is_allowed() {
    let [all] = burst(&Settings::default()).try_into().expect("one alert");
    assert_eq!((&all.evidence["new_connections"], &all.evidence["allowed"]), (&500.into(), &0.into()));
    let ssh = Allowance { source: None, destination: None, ports: vec![22], kind: None, reason: "x".into() };
    let [rest] = burst(&allowing(ssh)).try_into().expect("one alert");
    assert_eq!((&rest.evidence["new_connections"], &rest.evidence["allowed"]), (&100.into(), &400.into()));
    assert_eq!(burst(&allowing(everything_of("10.0.0.0/8", None))), []);
}

/// Everything on one port.
fn port(port: u16, kind: Option<AlertKind>, reason: &str) -> Allowance {
    Allowance { source: None, destination: None, ports: vec![port], kind, reason: reason.into() }
}

/// A host that opens 400 allowed connections an interval, and in the last of `intervals` besides `last`
/// others.
fn beside_allowed(intervals: u64, last: u64) -> Vec<Finding> {
    let mut detectors = Detectors::new(&allowing(port(22, None, "backups")));
    let mut findings = Vec::new();
    for number in 1..=intervals {
        let mut traffic = Traffic::new(number);
        for contact in 0..400 {
            let (server, local_port) = (traffic.anywhere(), traffic.ephemeral());
            let when = 10.0 * number as f64 + f64::from(contact) / 50.0;
            traffic.contact(when, (HOST, local_port), (server, 22), Protocol::TCP, After::Answer);
        }
        detectors.observe(&traffic.finish());
        // The statistics know nothing of what is allowed.
        let new = 400 + if number == intervals { last } else { 0 };
        let sources = vec![row(HOST, new, Some((400.0, 0.0)))];
        let [start, end] = [number, number + 1].map(|number| at(10.0 * number as f64));
        let interval = Interval { start, end, seconds: 10.0, sources, frames: Vec::new() };
        detectors.close_interval(&interval, &mut findings);
    }
    findings
}

#[test]
fn what_is_allowed_does_not_raise_the_threshold_of_what_is_not() {
    for intervals in [5, 50] {
        assert_eq!(beside_allowed(intervals, 99), [], "below the floor");
        let [finding] = beside_allowed(intervals, 500).try_into().expect("one alert");
        let evidence = &finding.evidence;
        assert_eq!((&evidence["new_connections"], &evidence["allowed"]), (&500.into(), &400.into()));
        assert_eq!((&evidence["mean"], &evidence["threshold"]), (&0.0.into(), &100.0.into()));
        assert_eq!(evidence["tcp"], 500, "{evidence}");
    }
}

/// Without a baseline only what is odd is called, and answers to what is allowed say nothing of the rest.
#[test]
fn what_is_allowed_does_not_make_a_burst_look_usual_or_odd() {
    let odd = |after| {
        let mut traffic = Traffic::new(1);
        for contact in 0..2_000 {
            let (server, local_port) = (traffic.anywhere(), traffic.ephemeral());
            traffic.contact(
                f64::from(contact) / 500.0,
                (HOST, local_port),
                (server, 22),
                Protocol::TCP,
                after,
            );
        }
        let mut detectors = Detectors::new(&allowing(port(22, Some(AlertKind::Fanout), "backups")));
        detectors.observe(&traffic.finish());
        // Of 2000 others, 600 are answered where those that are allowed are, and all where those are not.
        let answered = if after == After::Answer { 2_600 } else { 2_000 };
        let sources = vec![SourceInterval { answered, ..row(HOST, 4_000, None) }];
        let interval = Interval { start: at(0.0), end: at(10.0), seconds: 10.0, sources, frames: Vec::new() };
        let mut findings = Vec::new();
        detectors.close_interval(&interval, &mut findings);
        !findings.is_empty()
    };
    assert!(odd(After::Answer) && !odd(After::Silence));
}

#[test]
fn what_has_no_room_to_be_set_apart_is_counted() {
    let mut traffic = Traffic::new(1);
    for number in 1..=5 {
        let (host, local_port) = (IpAddr::from([10, 0, 0, number]), traffic.ephemeral());
        let server = (IpAddr::from([198, 51, 100, 1]), 22);
        traffic.contact(1.0, (host, local_port), server, Protocol::TCP, After::Answer);
    }
    let settings = Settings { sources: 3, ..allowing(port(22, Some(AlertKind::Fanout), "backups")) };
    let mut detectors = Detectors::new(&settings);
    detectors.observe(&traffic.finish());
    let usage = detectors.usage().into_iter().find(|(kind, _)| *kind == AlertKind::Fanout);
    assert_eq!(usage.map(|(_, usage)| usage.evicted_full), Some(2));
}

#[test]
fn a_step_names_the_entry_of_its_own_kind_and_the_far_end() {
    let peer = IpAddr::from([203, 0, 113, 9]);
    let contact = |(initiator, initiator_port), (responder, port), direction, opening| {
        let trifecta = Trifecta { initiator, responder, port, protocol: Protocol::TCP };
        let new_peer = true;
        Observation::Contact(Contact {
            time: at(1.0),
            trifecta,
            initiator_port,
            direction,
            opening,
            new_peer,
        })
    };
    let outbound = contact((HOST, 50_000), (peer, 6_881), Direction::Outbound, Opening::New);
    let under_way = contact((peer, 6_881), (HOST, 50_000), Direction::Inbound, Opening::MidStream);
    let entries = vec![
        port(6_881, Some(AlertKind::Fanout), "many"),
        port(6_881, Some(AlertKind::Scan), "sweeps"),
        port(6_881, None, "all"),
    ];
    let told = |observation| {
        let mut detectors = Detectors::new(&Settings { allow: entries.clone(), ..Settings::default() });
        detectors.trace(HOST, None);
        detectors.observe(&[observation]);
        let steps = detectors.take_steps();
        assert!(steps.iter().all(|step| step.peer == Some((peer, 6_881, Protocol::TCP))), "{steps:?}");
        steps.into_iter().map(|step| (step.kind, step.what)).collect::<Vec<_>>()
    };
    let step = |kind, reason: &str| (kind, format!("allowed ({reason}): no evidence"));
    let [scan, torrent] = [step(AlertKind::Scan, "sweeps"), step(AlertKind::Torrent, "all")];
    assert_eq!(told(outbound), [scan.clone(), torrent.clone(), step(AlertKind::Fanout, "many")]);
    assert_eq!(told(under_way), [scan, torrent], "what was under way is no new connection");
}
