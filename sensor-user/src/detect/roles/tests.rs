//! Who is recognised, by what, and that it keeps him from being named.

use super::*;
use crate::{
    alert::AlertKind,
    detect::{
        Detectors,
        settings::Settings,
        synthetic::{After, HOST, Swarm, Traffic, address, at, browser, one_port, row, run},
    },
    flow::Protocol,
    interval::Interval,
};

const SECOND: u32 = 1_700_000_000;

fn names(habits: Habits, second: u32) -> Vec<&'static str> {
    habits.roles(second, false).into_iter().map(|(role, _)| role.name()).collect()
}

fn contacts(counts: &[(Service, u32)]) -> Habits {
    let mut habits = Habits::default();
    for (service, count) in counts {
        (0..*count).for_each(|_| habits.count(*service, SECOND));
    }
    habits
}

#[test]
fn habits_are_forgotten_by_halves() {
    let mut habits = contacts(&[(Service::Mail, 20)]);
    habits.count(Service::Web, SECOND + Habits::HALVING_SECONDS);
    assert_eq!(habits.services[Service::Mail as usize], 10);
    assert_eq!(names(habits, SECOND + Habits::HALVING_SECONDS), ["mail"]);
    assert_eq!(names(habits, SECOND + 2 * Habits::HALVING_SECONDS), [""; 0]);
    habits.count(Service::Web, u32::MAX);
    assert_eq!(habits.services[Service::Mail as usize], 0);
}

#[test]
fn a_role_takes_as_many_contacts_as_a_torrent_alert() {
    for (service, name) in [
        (Service::Names, "resolver"),
        (Service::Mail, "mail"),
        (Service::Time, "time"),
        (Service::Tor, "tor"),
        (Service::Blockchain, "blockchain"),
        (Service::Delivery, "delivery"),
        (Service::Telephony, "telephony"),
        (Service::Tunnel, "tunnel"),
        (Service::Web, "browser"),
    ] {
        assert_eq!(names(contacts(&[(service, 7)]), SECOND), [""; 0], "{name}");
        assert_eq!(names(contacts(&[(service, 8)]), SECOND), [name]);
    }
}

#[test]
fn much_of_the_web_is_a_crawler_and_much_of_many_services_a_gateway() {
    assert_eq!(names(contacts(&[(Service::Web, 299)]), SECOND), ["browser"]);
    assert_eq!(names(contacts(&[(Service::Web, 300)]), SECOND), ["crawler"]);
    let office = contacts(&[(Service::Web, 300), (Service::Messaging, 8), (Service::Other, 8)]);
    assert_eq!(names(office, SECOND), ["gateway"]);
}

#[test]
fn monitoring_is_answered_and_a_scan_is_not() {
    let polled = |answers| {
        let mut habits = Habits::default();
        (0..30).for_each(|_| habits.count_polled(SECOND));
        (0..answers).for_each(|_| habits.count_polled_answer(SECOND));
        names(habits, SECOND)
    };
    assert_eq!(polled(24), ["monitoring"]);
    assert_eq!(polled(23), [""; 0]);
}

#[test]
fn a_server_is_known_by_its_clients_and_its_port() {
    let mut habits = Habits::default();
    for number in 0..20 {
        habits.count_client(if number % 5 == 0 { 22 } else { 28_015 }, SECOND);
    }
    let roles = habits.roles(SECOND, false);
    assert_eq!(roles, [(Role::Server, Because::Clients(20, Some(28_015)))]);
    assert_eq!(roles[0].1.to_string(), "answered 20 conversations of clients, mostly port 28015");
}

#[test]
fn a_role_begins_once_and_ends_when_it_is_not_seen_any_more() {
    let source = IpAddr::from([10, 0, 0, 5]);
    let mut roles = Roles::default();
    let found = |count| vec![(Role::Resolver, Because::Peers(Role::Resolver, count))];
    roles.recognise([(source, found(8))].into_iter(), Timestamp::from_secs(10));
    roles.recognise([(source, found(9))].into_iter(), Timestamp::from_secs(20));
    let [held] = roles.of(source) else { panic!("{:?}", roles.of(source)) };
    assert_eq!(
        (held.since, held.because.to_string()),
        (Timestamp::from_secs(10), "9 new name servers".to_owned())
    );
    roles.recognise([(source, Vec::new())].into_iter(), Timestamp::from_secs(30));
    assert_eq!(roles.of(source), []);
}

/// What is said of the host and as what it is named, a second after the traffic that `make` makes.
fn judged(make: impl Fn(&mut Traffic)) -> (Vec<&'static str>, Vec<AlertKind>) {
    let mut traffic = Traffic::new(1);
    make(&mut traffic);
    let observations = traffic.finish();
    let end = observations.last().expect("there must be traffic").time();
    let mut detectors = Detectors::new(&Settings::default());
    let findings = run(&mut detectors, &observations, 1);
    let sources = vec![row(HOST, 1, None)];
    let interval = Interval { start: at(0.0), end, seconds: 10.0, sources, frames: Vec::new() };
    detectors.close_interval(&interval, &mut Vec::new());
    let names = detectors.roles(HOST).iter().map(|recognised| recognised.role.name()).collect();
    (names, findings.into_iter().map(|finding| finding.kind).collect())
}

#[test]
fn every_look_alike_is_recognised_and_not_named() {
    let cases = [
        ("resolver", 53, Protocol::UDP, 95),
        ("mail", 25, Protocol::TCP, 75),
        ("time", 123, Protocol::UDP, 95),
        ("tor", 9001, Protocol::TCP, 90),
        ("blockchain", 8333, Protocol::TCP, 30),
        ("delivery", 7680, Protocol::TCP, 50),
        ("telephony", 5060, Protocol::UDP, 90),
        ("tunnel", 51_820, Protocol::UDP, 90),
        ("browser", 443, Protocol::TCP, 95),
        ("fixed_port_peer", 34_197, Protocol::UDP, 60),
    ];
    for (name, port, protocol, answering) in cases {
        let alone = |traffic: &mut Traffic| one_port(traffic, port, protocol, 200, answering);
        assert_eq!(judged(alone), (vec![name], Vec::new()), "{name}");
    }
    let crawler = |traffic: &mut Traffic| browser(traffic, HOST, 60, 10);
    assert_eq!(judged(crawler), (vec!["crawler"], Vec::new()));
    let gateway = |traffic: &mut Traffic| {
        browser(traffic, HOST, 60, 10);
        one_port(traffic, 5228, Protocol::TCP, 20, 95);
        one_port(traffic, 993, Protocol::TCP, 20, 95);
    };
    assert_eq!(judged(gateway), (vec!["mail", "gateway"], Vec::new()));
}

#[test]
fn monitoring_of_local_hosts_and_servers_are_recognised() {
    let monitoring = |traffic: &mut Traffic| {
        for host in 1..=40 {
            let (target, local_port) = (address(&format!("10.0.1.{host}")), traffic.ephemeral());
            let when = f64::from(host) / 10.0;
            traffic.contact(when, (HOST, local_port), (target, 9100), Protocol::TCP, After::Answer);
        }
    };
    assert_eq!(judged(monitoring), (vec!["monitoring"], Vec::new()));
    let server = |traffic: &mut Traffic| {
        for number in 0..200 {
            let client = (traffic.anywhere(), traffic.ephemeral());
            traffic.contact(f64::from(number) / 20.0, client, (HOST, 28_015), Protocol::UDP, After::Answer);
        }
    };
    assert_eq!(judged(server), (vec!["server"], Vec::new()));
}

#[test]
fn a_call_is_recognised_while_its_stun_is_remembered() {
    let call = |traffic: &mut Traffic| {
        let stun = (address("198.51.100.7"), 3478);
        traffic.contact(1.0, (HOST, 50_123), stun, Protocol::UDP, After::Answer);
    };
    assert_eq!(judged(call), (vec!["call"], Vec::new()));
    let later = |traffic: &mut Traffic| {
        call(traffic);
        let web = (address("198.51.100.8"), 443);
        traffic.contact(302.0, (HOST, 40_000), web, Protocol::TCP, After::Answer);
    };
    assert_eq!(judged(later), (Vec::new(), Vec::new()));
}

#[test]
fn a_server_whose_client_comes_from_a_port_of_stun_is_no_call() {
    let reply = |traffic: &mut Traffic| {
        let client = (address("198.51.100.7"), 3478);
        traffic.contact(1.0, (HOST, 123), client, Protocol::UDP, After::Silence);
    };
    assert_eq!(judged(reply), (Vec::new(), Vec::new()));
}

#[test]
fn a_scan_of_one_port_is_no_fixed_port_peer_and_a_torrent_host_no_look_alike() {
    let scan = |traffic: &mut Traffic| one_port(traffic, 34_197, Protocol::TCP, 200, 0);
    assert_eq!(judged(scan), (Vec::new(), vec![AlertKind::Scan]));
    assert_eq!(judged(|traffic| Swarm::default().play(traffic)).1, [AlertKind::Torrent]);
}

#[test]
fn an_alert_says_what_else_its_source_is() {
    let mut traffic = Traffic::new(1);
    one_port(&mut traffic, 53, Protocol::UDP, 20, 95);
    Swarm::default().play(&mut traffic);
    let findings = run(&mut Detectors::new(&Settings::default()), &traffic.finish(), 1);
    let roles = &findings[0].evidence["roles"];
    assert_eq!(roles[0]["role"], "resolver", "{roles}");
    assert_eq!(roles[0]["because"], "20 new name servers");
    assert_eq!(roles[0]["effect"], Role::Resolver.effect());
}
