//! What the page is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::{
    alert::{AlertKind, AlertState},
    clock::Timestamp,
    detect::allow::{Allowance, AllowanceUse, Whom},
    flow::Protocol,
    networks::Direction,
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
    output::{
        fixture::{START, address, alert, builder, drain, interval, snapshot, source as busy},
        notify::ReceiverStatus,
        snapshot::InterfaceReading,
    },
    suppress::Suppression,
};

/// The data of an event, whose form is checked on the way.
fn data(event: &str, name: &str) -> Value {
    let rest = event.strip_prefix(&format!("event: {name}\ndata: ")).unwrap();
    let data = rest.strip_suffix("\n\n").unwrap();
    assert!(!data.contains(['\n', '\r']), "a line end would end the event");
    serde_json::from_str(data).unwrap()
}

fn contact(to: &str, port: u16, second: u64) -> Contact {
    let trifecta =
        Trifecta { initiator: address("10.0.0.5"), responder: address(to), port, protocol: Protocol::TCP };
    Contact {
        time: START.plus(Duration::from_secs(second)),
        trifecta,
        initiator_port: 40_000,
        direction: Direction::Outbound,
        opening: Opening::New,
        new_peer: true,
    }
}

fn answer(to: &Contact) -> Observation {
    let Contact { time, trifecta, initiator_port, direction, .. } = *to;
    Observation::Response(Response { time, trifecta, initiator_port, direction, outcome: Outcome::Answered })
}

#[test]
fn the_sensor_event_closes_the_loss_budget() {
    let sensor = data(&sensor_event(&snapshot()), "sensor");
    let port = &sensor["interfaces"][0];
    let number = |name: &str| port[name].as_u64().unwrap();
    assert_eq!(number("seen"), number("counted") + number("ignored") + number("lost"));
    assert_eq!(port["unaccounted"], 0);
    assert_eq!(port["reasons"], json!({ "not_ip": 90, "map_full": 10 }));
    assert_eq!((&port["mode"], &port["name"]), (&json!("native"), &json!("mirror0")));
}

#[test]
fn findings_name_the_source_with_an_alert_first_and_its_evidence() {
    let mut builder = builder(10);
    builder.interval(interval(0, vec![busy(address("10.0.0.5"), 2), busy(address("10.0.0.9"), 900)]));
    builder.alert(&alert(AlertKind::Scan, address("10.0.0.5"), AlertState::Firing));
    let findings = data(&findings_event(&builder.snapshot()), "findings");
    let listed: Vec<&str> =
        findings["sources"].as_array().unwrap().iter().map(|of| of["source"].as_str().unwrap()).collect();
    assert_eq!(listed, ["10.0.0.5", "10.0.0.9"]);
    assert_eq!(findings["sources"][0]["alerts"], json!(["scan"]));
    assert_eq!(findings["sources"][1]["points"], json!([[0, 90.0]]));
    let told = &findings["active"][0]["told"];
    assert_eq!(told["evidence"]["new_connections"], 214);
    assert_eq!((&told["score"], &told["coverage"]), (&json!(0.97), &json!(0.99)));
}

#[test]
fn a_suppressed_alert_is_listed_last_with_its_reason_and_names_no_source() {
    let mut builder = builder(10);
    builder.drain(&drain(0));
    let known = address("10.0.0.5");
    for (source, seconds) in [(known, 9), (address("10.0.0.9"), 1)] {
        let mut alert = alert(AlertKind::Torrent, source, AlertState::Firing);
        alert.finding.time = START.plus(Duration::from_secs(seconds));
        builder.alert(&alert);
    }
    builder.interval(interval(0, vec![busy(known, 5)]));
    let until = drain(60).end;
    let reason = "our seeder".into();
    builder.suppressions(&[Suppression { source: ipnet::IpNet::from(known), kind: None, until, reason }]);
    let findings = data(&findings_event(&builder.snapshot()), "findings");
    let listed = |index: usize| {
        let alert = &findings["active"][index];
        (alert["source"].as_str().unwrap().to_owned(), alert["suppressed"]["reason"].as_str())
    };
    assert_eq!(listed(0), ("10.0.0.9".to_owned(), None));
    assert_eq!(listed(1), ("10.0.0.5".to_owned(), Some("our seeder")));
    assert_eq!((&findings["active_count"], &findings["suppressed_count"]), (&json!(2), &json!(1)));
    assert_eq!(findings["sources"][1]["alerts"], json!([]));
}

#[test]
fn what_is_allowed_is_listed_as_it_was_named_with_what_it_kept_back() {
    let allowance = Allowance {
        source: Some(Whom::new("scanners", &["10.0.9.0/28".parse().unwrap()])),
        destination: None,
        ports: vec![443],
        kind: Some(AlertKind::Scan),
        reason: "ours".into(),
    };
    let mut snapshot = snapshot();
    assert_eq!(data(&findings_event(&snapshot), "findings")["allowed"], json!([]));
    snapshot.allowances = vec![AllowanceUse { allowance: allowance.into(), contacts: 7 }];
    let expected = json!([{
        "reason": "ours", "source": "scanners", "destination": null, "ports": [443], "kind": "scan", "contacts": 7,
    }]);
    assert_eq!(data(&findings_event(&snapshot), "findings")["allowed"], expected);
}

#[test]
fn a_receiver_that_fails_and_a_configuration_that_was_refused_are_troubles() {
    let mut builder = builder(10);
    let name = "webhook@hook:80".to_owned();
    builder.notifications(vec![ReceiverStatus {
        name,
        failing: true,
        errors: 3,
        ..ReceiverStatus::default()
    }]);
    builder.config_refused();
    let sensor = data(&sensor_event(&builder.snapshot()), "sensor");
    let troubles = sensor["troubles"].to_string();
    assert!(troubles.contains("webhook@hook:80 does not take alerts"), "{troubles}");
    assert!(troubles.contains("configuration file was refused"), "{troubles}");
    builder.notifications(vec![ReceiverStatus { errors: 3, ..ReceiverStatus::default() }]);
    let sensor = data(&sensor_event(&builder.snapshot()), "sensor");
    assert!(!sensor["troubles"].to_string().contains("does not take"), "it takes them again");
}

#[test]
fn an_alert_that_is_over_is_recent_but_not_active() {
    let mut builder = builder(10);
    for state in [AlertState::Firing, AlertState::Resolved] {
        builder.alert(&alert(AlertKind::Torrent, address("10.0.0.5"), state));
    }
    let findings = data(&findings_event(&builder.snapshot()), "findings");
    assert_eq!((&findings["active"], &findings["active_count"]), (&json!([]), &json!(0)));
    let states: Vec<&Value> =
        findings["recent"].as_array().unwrap().iter().map(|event| &event["state"]).collect();
    assert_eq!(states, ["resolved", "firing"]);
}

#[test]
fn however_many_sources_and_alerts_there_are_the_event_stays_bounded() {
    let mut builder = builder(1000);
    let host = |n: u32| std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
    for number in 0..70 {
        builder.interval(interval(number, (0..2000).map(|n| busy(host(n), 1 + u64::from(n))).collect()));
    }
    for n in 0..500 {
        builder.alert(&alert(AlertKind::Scan, host(n), AlertState::Firing));
    }
    let event = findings_event(&builder.snapshot());
    let findings = data(&event, "findings");
    assert_eq!(findings["sources"].as_array().unwrap().len(), MAX_SOURCES);
    assert_eq!(findings["active"].as_array().unwrap().len(), MAX_ACTIVE);
    assert_eq!((&findings["active_count"], &findings["unlisted"]), (&json!(500), &json!(950)));
    assert!(event.len() < 128 * 1024, "{} bytes", event.len());
}

#[test]
fn a_source_is_shown_with_whom_it_contacted_and_what_came_of_it() {
    let mut builder = builder(10);
    builder.interval(interval(0, vec![busy(address("10.0.0.5"), 5)]));
    let contacts = [
        contact("203.0.113.9", 443, 1),
        contact("203.0.113.9", 80, 2),
        contact("198.51.100.7", 443, 3),
        contact("192.0.2.1", 6881, 4),
    ];
    let mut seen: Vec<Observation> = contacts.iter().copied().map(Observation::Contact).collect();
    seen.push(answer(&contacts[0]));
    let mut stranger = contact("203.0.113.9", 22, 5);
    stranger.trifecta.initiator = address("10.0.0.77");
    let mut ongoing = contact("203.0.113.10", 5222, 5);
    ongoing.opening = Opening::MidStream;
    seen.extend([Observation::Contact(stranger), Observation::Contact(ongoing)]);
    builder.observe(&seen);
    let snapshot = builder.snapshot();
    assert_eq!(source(&snapshot, address("10.0.0.77")), None);
    let detail: Value = serde_json::from_str(&source(&snapshot, address("10.0.0.5")).unwrap()).unwrap();
    assert_eq!((&detail["recent"], &detail["distinct_peers"]), (&json!(4), &json!(3)));
    assert_eq!(detail["outcomes"], json!({ "answered": 1, "refused": 0, "unreachable": 0, "silent": 3 }));
    let first = &detail["top_peers"][0];
    assert_eq!((&first["peer"], &first["connections"]), (&json!("203.0.113.9"), &json!(2)));
    assert_eq!(first["ports"], json!(["80/tcp", "443/tcp"]));
    assert_eq!(detail["top_peers"][1]["peer"], "192.0.2.1", "of equals the latest comes first");
    let port = &detail["top_ports"][0];
    assert_eq!((&port["port"], &port["peers"], &port["answered"]), (&json!(443), &json!(2), &json!(1)));
    assert_eq!(detail["timeline"][0]["rate"], 0.5);
}

#[test]
fn a_source_in_detail_says_what_it_is_since_when_and_why() {
    let detail: Value = serde_json::from_str(&source(&snapshot(), address("10.0.0.5")).unwrap()).unwrap();
    let expected = json!([{
        "role": "call",
        "since": 1_800_000_000_000_u64,
        "because": "a UDP socket spoke to STUN within five minutes",
        "effect": "UDP from the socket that spoke to STUN weighs a quarter",
    }]);
    assert_eq!(detail["roles"], expected);
}

#[test]
fn contacts_older_than_ten_minutes_are_not_shown() {
    let mut builder = builder(10);
    builder.interval(interval(0, vec![busy(address("10.0.0.5"), 1)]));
    builder.observe(&[
        Observation::Contact(contact("203.0.113.9", 443, 1)),
        Observation::Contact(contact("203.0.113.9", 444, 700)),
    ]);
    let mut snapshot = builder.snapshot();
    snapshot.time = Timestamp::from_secs(START.0 / 1_000_000_000 + 701);
    let detail: Value = serde_json::from_str(&source(&snapshot, address("10.0.0.5")).unwrap()).unwrap();
    assert_eq!((&detail["recent"], &detail["top_ports"][0]["port"]), (&json!(1), &json!(444)));
}

#[test]
fn a_sensor_that_sees_nothing_says_so_and_one_at_work_does_not() {
    let silent = data(&sensor_event(&builder(10).snapshot()), "sensor");
    assert!(silent["troubles"][0].as_str().unwrap().contains("not attached"), "{silent}");
    let mut working = snapshot();
    working.interfaces[0].coverage = Some(1.0);
    assert_eq!(data(&sensor_event(&working), "sensor")["troubles"], json!([]));
    working.interfaces[0].reading = InterfaceReading { link_up: false, ..working.interfaces[0].reading };
    let troubles = data(&sensor_event(&working), "sensor")["troubles"].clone();
    assert!(troubles[0].as_str().unwrap().contains("the link is down"), "{troubles}");
}

#[test]
fn the_page_asks_nobody_else_and_runs_no_inline_script() {
    let all = assets::ASSETS.iter().chain([&assets::INDEX]);
    for asset in all {
        let own = asset.body.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !own.contains("http://") && !own.contains("https://") && !own.contains("//cdn"),
            "{}",
            asset.path
        );
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "onclick="]
        {
            assert!(!own.contains(forbidden), "{} has {forbidden}", asset.path);
        }
        assert!(!asset.body.is_empty(), "{}", asset.path);
    }
    let named = assets::INDEX.body.split('"').filter(|text| text.starts_with("/assets/"));
    named.for_each(|path| assert!(assets::find(path).is_some(), "{path}"));
    assert_eq!(assets::INDEX.body.matches("<script").count(), 1);
    assert!(!assets::INDEX.body.contains("<style") && !assets::INDEX.body.contains("style="));
}
