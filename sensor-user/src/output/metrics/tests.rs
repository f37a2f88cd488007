//! What Prometheus reads: names, values, bounds.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use serde_json::json;

use super::{family, *};
use crate::{
    alert::{Alert, AlertKind, AlertState},
    detect::{
        allow::{Allowance, AllowanceUse},
        roles::{Because, Recognised, Role},
    },
    interval::SourceInterval,
    mirror::{Diagnosis, Problem},
    output::{
        fixture::{START, address, alert, builder, interval, snapshot, source},
        notify::ReceiverStatus,
        snapshot::{AlertLogStatus, Snapshot, SnapshotBuilder},
    },
    suppress::{Suppressed, Suppression},
};

fn text(snapshot: &Snapshot) -> String {
    render(&Exposition { snapshot, process: None, http: &HttpStatus::default() })
}

/// The samples of one source or family, without comments.
fn lines<'a>(text: &'a str, containing: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !line.starts_with('#') && line.contains(containing)).collect()
}

#[test]
fn a_source_is_told_by_its_counters_and_its_last_interval() {
    let text = text(&snapshot());
    let expected = [
        r#"flowsensor_alert_active{kind="torrent",source="10.0.0.5"} 1"#,
        r#"flowsensor_alert_evidence{kind="torrent",source="10.0.0.5",number="score"} 0.97"#,
        r#"flowsensor_alert_evidence{kind="torrent",source="10.0.0.5",number="coverage"} 0.99"#,
        r#"flowsensor_alert_evidence{kind="torrent",source="10.0.0.5",number="new_connections"} 214"#,
        r#"flowsensor_source_active_trifectas{source="10.0.0.5"} 214"#,
        r#"flowsensor_source_bytes_total{source="10.0.0.5",direction="out"} 21400"#,
        r#"flowsensor_source_bytes_total{source="10.0.0.5",direction="in"} 0"#,
        r#"flowsensor_source_new_connections{source="10.0.0.5"} 214"#,
        r#"flowsensor_source_new_connections_mean{source="10.0.0.5"} 7.13333"#,
        r#"flowsensor_source_new_connections_total{source="10.0.0.5",protocol="tcp"} 80"#,
        r#"flowsensor_source_new_connections_total{source="10.0.0.5",protocol="udp"} 134"#,
        r#"flowsensor_source_new_connections_variance{source="10.0.0.5"} 1522.26"#,
        r#"flowsensor_source_new_peers{source="10.0.0.5"} 214"#,
        r#"flowsensor_source_new_ports{source="10.0.0.5"} 7"#,
        r#"flowsensor_source_packets_total{source="10.0.0.5",direction="out"} 214"#,
        r#"flowsensor_source_packets_total{source="10.0.0.5",direction="in"} 0"#,
        r#"flowsensor_source_role{source="10.0.0.5",role="call"} 1"#,
        r#"flowsensor_source_torrent_score{source="10.0.0.5"} 0.97"#,
        r#"flowsensor_source_trifecta_packets_variance{source="10.0.0.5"} 0.5"#,
        r#"flowsensor_source_unanswered_ratio{source="10.0.0.5"} 0.61215"#,
    ];
    assert_eq!(lines(&text, "10.0.0.5"), expected);
}

#[test]
fn what_is_not_known_has_no_sample() {
    let text = text(&snapshot());
    let of_quiet = lines(&text, "10.0.0.7");
    for absent in ["mean", "variance", "unanswered"] {
        assert!(of_quiet.iter().all(|line| !line.contains(absent)), "{absent} in {of_quiet:?}");
    }
}

#[test]
fn the_loss_budget_closes_in_the_exposition() {
    let text = text(&snapshot());
    let sum: f64 = lines(&text, "flowsensor_frames_total{")
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert!((sum - 1000.0).abs() < f64::EPSILON, "{sum}");
    assert_eq!(lines(&text, "coverage_ratio"), [r#"flowsensor_coverage_ratio{interface="mirror0"} 0.99"#]);
}

#[test]
fn an_interface_without_a_program_has_no_mode_and_is_not_attached() {
    let text = text(&builder(200).snapshot());
    assert!(lines(&text, "flowsensor_xdp_mode").is_empty());
    let attached = [r#"flowsensor_interface_attached{interface="mirror0"} 0"#];
    assert_eq!(lines(&text, "flowsensor_interface_attached"), attached);
}

#[test]
fn an_alert_that_is_over_leaves_its_count_only() {
    let mut builder = builder(200);
    let source = address("10.0.0.5");
    builder.alert(&alert(AlertKind::Torrent, source, AlertState::Firing));
    builder.alert(&alert(AlertKind::Torrent, source, AlertState::Resolved));
    let text = text(&builder.snapshot());
    assert_eq!(
        lines(&text, r#"alerts_total{kind="torrent"}"#),
        [r#"flowsensor_alerts_total{kind="torrent"} 1"#]
    );
    assert!(lines(&text, r#"alert_active{kind="torrent",source="10."#).is_empty());
}

/// What a scrape may bring at the default of `max_sources`.
const LARGEST: usize = 256 * 1024;

/// A source as after a busy month: every series that all have, with long values.
fn busy(address: IpAddr) -> SourceInterval {
    let mut source = source(address, 2_469_134);
    (source.new_tcp, source.new_udp) = (1_234_567, 1_234_567);
    source.mean = Some(1_234.567_89);
    source.variance = Some(1_234_567.89);
    source.trifecta_packets_variance = Some(1_234.567_89);
    source.torrent_score = 0.123_456_789;
    (source.answered, source.active_trifectas, source.new_ports) = (3_456, 12_345, 12_345);
    (source.bytes_out, source.bytes_in) = (9_876_543_210_987, 9_876_543_210_987);
    (source.packets_out, source.packets_in) = (9_876_543_210, 9_876_543_210);
    source
}

/// The same in so many roles, those with the longest names, and in all of them with every series there is.
fn in_roles(address: IpAddr, roles: usize) -> SourceInterval {
    let mut all = Role::ALL;
    all.sort_by_key(|role| Reverse(role.name().len()));
    let recognised = |role: &Role| Recognised { role: *role, since: START, because: Because::Stun };
    let mut source = busy(address);
    source.roles = all[..roles].iter().map(recognised).collect();
    if roles == all.len() {
        source.new_connections += 1_234_567;
    }
    source
}

/// A sensor with as many busy sources as may have series, which show more roles in each of these intervals.
fn crowd(address: fn(u8) -> IpAddr, roles: &[usize]) -> SnapshotBuilder {
    let mut builder = builder(200);
    for (number, roles) in (0..).zip(roles) {
        let sources = (0..=u8::MAX).map(|source| in_roles(address(source), *roles));
        builder.interval(interval(number, sources.collect()));
    }
    builder
}

fn named(text: &str) -> usize {
    let names = text.split("source=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    names.filter(|name| *name != "other").collect::<BTreeSet<_>>().len()
}

/// As long as an IPv4 address can be.
fn long_ipv4(number: u8) -> IpAddr {
    Ipv4Addr::from([192, 168, 100 + number / 100, 100 + number % 100]).into()
}

/// With nothing to shorten.
fn long_ipv6(number: u8) -> IpAddr {
    Ipv6Addr::new(0xfd12, 0x3456, 0x789a, 0xbcde, 0xf012, 0x3456, 0x789a, 0x1000 + u16::from(number)).into()
}

/// An alert with all the numbers that one can have.
fn alert_in_full(source: IpAddr) -> Alert {
    let mut alert = alert(AlertKind::Torrent, source, AlertState::Firing);
    let answers = json!({ "answered_share": 0.123_456_789 });
    let number = 1_234_567;
    alert.finding.evidence = json!({ "new_connections": number, "window_seconds": 60.123_456, "peers": number,
        "ports": number, "answers": answers });
    alert.suppressed =
        Some(Suppressed { until: START.plus(Duration::from_hours(1)), reason: "known".into() });
    alert
}

#[test]
fn a_million_sources_add_no_series_beyond_the_limit() {
    let mut builder = builder(200);
    for batch in 0..50_u32 {
        let addresses = (batch * 20_000..(batch + 1) * 20_000).map(|n| Ipv4Addr::from(0x0aff_ffff - n));
        builder.interval(interval(batch, addresses.map(|address| busy(address.into())).collect()));
    }
    let text = text(&builder.snapshot());
    assert_eq!(named(&text), 200);
    assert!(text.len() < LARGEST, "{} bytes", text.len());
}

#[test]
fn a_scrape_is_bounded_in_bytes_whatever_the_names_the_roles_and_the_alerts() {
    /// Addresses, roles in each interval, and how many sources must have series.
    type Crowd = (fn(u8) -> IpAddr, &'static [usize], usize);
    const EVERY: usize = Role::ALL.len();
    let crowds: [Crowd; 5] = [
        (long_ipv4, &[1], 200),
        (long_ipv6, &[1], 145),
        (long_ipv4, &[EVERY], 105),
        (long_ipv4, &[0, EVERY], 105),
        (long_ipv6, &[0, 2, EVERY], 75),
    ];
    for (address, roles, least) in crowds {
        let mut full = crowd(address, roles);
        for alerts in [0, 4, 20, 150] {
            full.alerts(&(0..alerts).map(|number| alert_in_full(address(number))).collect::<Vec<_>>());
            let text = text(&full.snapshot());
            let named = named(&text);
            let case = format!("{named} sources in {roles:?} roles with {alerts} alerts");
            assert!(text.len() < LARGEST, "{case}: {} bytes", text.len());
            let expected = if alerts <= 4 { least } else { least * 3 / 4 };
            assert!(named >= expected, "{case}");
        }
    }
}

#[test]
fn a_scrape_is_bounded_where_every_source_has_every_alert() {
    let mut full = crowd(long_ipv4, &[1, Role::ALL.len()]);
    for kind in AlertKind::ALL {
        for number in 0..=u8::MAX {
            let mut alert = alert_in_full(long_ipv4(number));
            alert.finding.kind = kind;
            full.alert(&alert);
        }
        let text = text(&full.snapshot());
        assert!(text.len() < LARGEST, "{} bytes with alerts up to {kind:?}", text.len());
        assert!(named(&text) >= 60, "{} sources", named(&text));
    }
}

#[test]
fn a_source_pays_for_the_most_roles_it_had_so_that_others_do_not_come_and_go() {
    let mut full = crowd(long_ipv4, &[0, 9]);
    let fewer = named(&text(&full.snapshot()));
    assert!((100..200).contains(&fewer), "{fewer} sources");
    let without = (0..=u8::MAX).map(|source| busy(long_ipv4(source)));
    full.interval(interval(2, without.collect()));
    let after = named(&text(&full.snapshot()));
    // One without roles may fit where one with nine did not.
    assert!((fewer..=fewer + 1).contains(&after), "{fewer} sources, then {after}");
}

fn suppression(source: &str, until: u64) -> Suppression {
    let until = START.plus(Duration::from_secs(until));
    Suppression { source: source.parse().unwrap(), kind: None, until, reason: "known".into() }
}

#[test]
fn a_suppressed_alert_is_marked_for_as_long_as_it_is_suppressed() {
    let mut snapshot = snapshot();
    let marked =
        |snapshot: &Snapshot| lines(&text(snapshot), "alert_suppressed{").join(" ").contains("10.0.0.5");
    assert!(!marked(&snapshot));
    let until = snapshot.time.plus(Duration::from_secs(1));
    snapshot.alerts.active[0].suppressed = Some(Suppressed { until, reason: "known".into() });
    snapshot.suppressions = vec![suppression("10.0.0.5/32", 3600), suppression("10.0.0.0/24", 0)];
    assert!(marked(&snapshot));
    let expected = [
        r#"flowsensor_suppressions{source="10.0.0.5/32",kind="any",reason="known"} 1"#,
        r#"flowsensor_suppressions{source="10.0.0.0/24",kind="any",reason="known"} 0"#,
    ];
    assert_eq!(lines(&text(&snapshot), "flowsensor_suppressions{"), expected);
    snapshot.time = snapshot.time.plus(Duration::from_secs(1));
    assert!(!marked(&snapshot));
}

#[test]
fn every_problem_of_the_mirror_is_said_to_be_there_or_not() {
    let mut snapshot = snapshot();
    let problem =
        |problem, interface| Diagnosis { problem, interface, since: START, evidence: String::new() };
    snapshot.mirror = vec![problem(Problem::Silent, Some(0)), problem(Problem::OneWay, None)];
    let text = text(&snapshot);
    let problems = lines(&text, "flowsensor_mirror_problem{");
    assert_eq!(problems.len(), Problem::ALL.len());
    let holds: Vec<&str> = problems.into_iter().filter(|line| line.ends_with(" 1")).collect();
    let expected = [
        r#"flowsensor_mirror_problem{interface="mirror0",problem="silent"} 1"#,
        r#"flowsensor_mirror_problem{interface="all",problem="one_way"} 1"#,
    ];
    assert_eq!(holds, expected);
}

fn allowance(contacts: u64) -> AllowanceUse {
    let allowance = Allowance {
        source: None,
        destination: None,
        ports: vec![22],
        kind: None,
        reason: "our servers".into(),
    };
    AllowanceUse { allowance: Arc::new(allowance), contacts }
}

#[test]
fn what_is_allowed_is_counted_by_its_reason_and_no_address() {
    let mut snapshot = snapshot();
    snapshot.allowances = vec![allowance(3)];
    let text = text(&snapshot);
    let expected = [r#"flowsensor_allowed_contacts_total{reason="our servers"} 3"#];
    assert_eq!(lines(&text, "flowsensor_allowed"), expected);
}

#[test]
fn every_declared_family_is_written_and_nothing_else() {
    let mut snapshot = snapshot();
    snapshot.alert_log = Some(AlertLogStatus::default());
    snapshot.notifications = vec![ReceiverStatus::default()];
    snapshot.suppressions = vec![suppression("10.0.0.5/32", 1)];
    snapshot.allowances = vec![allowance(3)];
    let process = ProcessStatus::read().unwrap();
    let http = HttpStatus {
        connections: 1,
        requests: vec![("/metrics", 200, 1)],
        cut: vec![("refused", 0)],
        render: Some(Duration::from_millis(1)),
    };
    let text = render(&Exposition { snapshot: &snapshot, process: Some(&process), http: &http });
    let written: Vec<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut declared: Vec<_> = family::ALL.iter().map(|family| (family.name, family.kind.name())).collect();
    declared.sort_unstable();
    assert_eq!(written, declared);
}

#[test]
fn names_follow_the_conventions() {
    for family in family::ALL {
        let counts = family.name.ends_with("_total");
        assert_eq!(counts, family.kind == family::Kind::Counter, "{}", family.name);
        let own = family.name.starts_with("flowsensor_") || family.name.starts_with("process_");
        assert!(own, "{}", family.name);
        assert!(family.help.ends_with('.'), "{}", family.name);
    }
}
