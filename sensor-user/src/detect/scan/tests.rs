//! What is named a scan, what is not, and when it is over.

use std::net::IpAddr;

use crate::{
    alert::{AlertKind, AlertState},
    detect::{
        Detector, Detectors,
        settings::Settings,
        sources::Sources,
        synthetic::{
            After, HOST, Swarm, Traffic, address, both_ways, browser, findings, fired, fired_with, one_port,
            run,
        },
        trace::Step,
    },
    flow::Protocol,
    observation::Outcome,
};

const NAMED: &[(AlertKind, IpAddr)] = &[(AlertKind::Scan, HOST)];

fn horizontal(traffic: &mut Traffic, port: u16, hosts: u32, per_second: f64, answering: u32) {
    for number in 0..hosts {
        let (host, local_port) = (traffic.anywhere(), traffic.ephemeral());
        let after = if traffic.chance(answering) { After::Answer } else { After::Silence };
        traffic.contact(
            f64::from(number) / per_second,
            (HOST, local_port),
            (host, port),
            Protocol::TCP,
            after,
        );
    }
}

fn vertical(traffic: &mut Traffic, target: IpAddr, ports: u16, protocol: Protocol, after: After) {
    for number in 0..ports {
        let local_port = traffic.ephemeral();
        traffic.contact(
            f64::from(number) / 50.0,
            (HOST, local_port),
            (target, 1 + number * 7),
            protocol,
            after,
        );
    }
}

#[test]
fn one_port_of_twenty_hosts_is_named_at_any_speed() {
    for (port, per_second) in [(23, 1_000.0), (445, 10.0), (22, 1.0), (5555, 5.0), (3389, 0.1), (80, 20.0)] {
        let scan = |traffic: &mut Traffic| horizontal(traffic, port, 20, per_second, 0);
        assert_eq!(fired(scan), NAMED, "port {port} at {per_second}/s");
    }
}

#[test]
fn twenty_ports_of_one_host_are_named_inside_and_outside() {
    for target in ["10.0.0.9", "198.51.100.9", "2001:db8::9", "fd00::9"] {
        for after in [After::Refusal, After::Silence] {
            for protocol in [Protocol::TCP, Protocol::UDP] {
                let source = if target.contains(':') { address("fd00::5") } else { HOST };
                let scan = |traffic: &mut Traffic| {
                    for number in 0..20 {
                        let (when, port) = (f64::from(number) / 10.0, 1_000 + number * 37);
                        traffic.contact(when, (source, 40_000), (address(target), port), protocol, after);
                    }
                };
                assert_eq!(fired(scan), [(AlertKind::Scan, source)], "{target} {after:?} {protocol}");
            }
        }
    }
}

#[test]
fn a_fast_vertical_scan_says_what_it_was() {
    let scan = |traffic: &mut Traffic| {
        vertical(traffic, address("10.0.0.9"), 1_000, Protocol::TCP, After::Refusal);
    };
    let first = &findings(&Settings::default(), scan)[0];
    assert_eq!(first.evidence["shape"], "vertical");
    assert_eq!(first.evidence["target"], "10.0.0.9");
    assert!(first.summary.contains("ports of 10.0.0.9"), "{}", first.summary);
}

#[test]
fn pairs_of_host_and_port_at_random_are_a_scan_and_no_torrent() {
    for answering in [0, 2] {
        let scan = |traffic: &mut Traffic| {
            for number in 0..400 {
                let (host, port) = (traffic.anywhere(), traffic.port(1));
                let after = if traffic.chance(answering) { After::Answer } else { After::Silence };
                traffic.contact(f64::from(number) / 40.0, (HOST, 40_000), (host, port), Protocol::TCP, after);
            }
        };
        assert_eq!(fired(scan), NAMED, "{answering} % answer");
    }
}

#[test]
fn many_ports_of_many_hosts_are_a_scan_and_no_torrent() {
    let scan = |traffic: &mut Traffic| {
        let hosts: Vec<IpAddr> = (0..30).map(|_| traffic.anywhere()).collect();
        for port in 0..100_u16 {
            for (number, host) in (0_u32..).zip(&hosts) {
                let when = f64::from(port) / 10.0 + f64::from(number) / 1e3;
                let after = if traffic.chance(20) { After::Refusal } else { After::Silence };
                traffic.contact(when, (HOST, 40_000), (*host, 1_024 + port * 31), Protocol::TCP, after);
            }
        }
    };
    assert_eq!(fired(scan), NAMED);
}

#[test]
fn a_worm_on_a_port_of_services_is_named_beside_browsing() {
    let infected = |traffic: &mut Traffic| {
        browser(traffic, HOST, 30, 5);
        horizontal(traffic, 445, 200, 10.0, 2);
    };
    assert_eq!(fired(infected), NAMED);
}

#[test]
fn clients_whose_servers_answer_are_not_named() {
    let cases = [
        ("browser", 443, Protocol::TCP, 95),
        ("mail with dead servers", 25, Protocol::TCP, 70),
        ("resolver", 53, Protocol::UDP, 90),
        ("monitoring", 9100, Protocol::TCP, 90),
        ("blockchain with most peers dead", 18_444, Protocol::TCP, 25),
    ];
    for (name, port, protocol, answering) in cases {
        let client = |traffic: &mut Traffic| one_port(traffic, port, protocol, 500, answering);
        assert_eq!(fired(client), [], "{name}");
    }
}

#[test]
fn a_browser_whose_quic_is_blocked_is_not_named() {
    let browser = |traffic: &mut Traffic| {
        both_ways(traffic);
        for number in 0..200 {
            let (server, local_port) = (traffic.anywhere(), traffic.ephemeral());
            let when = 1.0 + f64::from(number) / 10.0;
            traffic.contact(when, (HOST, local_port), (server, 443), Protocol::UDP, After::Silence);
            traffic.contact(when + 0.3, (HOST, local_port), (server, 443), Protocol::TCP, After::Answer);
        }
    };
    assert_eq!(fired(browser), []);
}

/// A mesh of tunnels tries every address that a peer has, those of networks out of reach included.
#[test]
fn a_mesh_of_tunnels_is_not_named_for_the_addresses_that_it_cannot_reach() {
    let mesh = |traffic: &mut Traffic, reached: u32| {
        both_ways(traffic);
        for number in 0..30 {
            let (inside, outside) = (address(&format!("192.168.{number}.7")), traffic.anywhere());
            let when = 1.0 + f64::from(number);
            traffic.contact(when, (HOST, 41_641), (inside, 41_641), Protocol::UDP, After::Silence);
            let after = if number % 10 < reached { After::Answer } else { After::Silence };
            traffic.contact(when, (HOST, 41_641), (outside, 41_641), Protocol::UDP, after);
        }
    };
    assert_eq!(fired(|traffic| mesh(traffic, 3)), []);
    assert_eq!(fired(|traffic| mesh(traffic, 0)), NAMED, "when it reaches nobody");
}

#[test]
fn traceroute_and_discovery_are_not_named() {
    let both = |traffic: &mut Traffic| {
        let target = address("198.51.100.9");
        for hop in 0..90_u16 {
            let when = f64::from(hop) / 10.0;
            traffic.contact(when, (HOST, 40_000), (target, 33_434 + hop), Protocol::UDP, After::Unreachable);
        }
        for group in 0..100 {
            let group = address(&format!("239.1.1.{group}"));
            traffic.contact(20.0, (HOST, 1_900), (group, 1_900), Protocol::UDP, After::Silence);
        }
    };
    assert_eq!(fired(both), []);
}

#[test]
fn answers_whose_questions_were_not_seen_are_not_named() {
    let resolver = |traffic: &mut Traffic| {
        for number in 0..200 {
            let (client, port) = (address("10.0.0.77"), traffic.ephemeral());
            traffic.contact(
                f64::from(number) / 10.0,
                (HOST, 53),
                (client, port),
                Protocol::UDP,
                After::Silence,
            );
        }
    };
    assert_eq!(fired(resolver), []);
}

/// Time servers, key exchange and telephony speak from one port to the same, client or server.
#[test]
fn answers_to_the_port_that_they_come_from_are_not_named_on_a_mirror_of_one_direction() {
    let servers = |traffic: &mut Traffic, two_way| {
        if two_way {
            both_ways(traffic);
        }
        for number in 0..200 {
            let client = traffic.anywhere();
            let when = 1.0 + f64::from(number) / 10.0;
            traffic.contact(when, (HOST, 123), (client, 123), Protocol::UDP, After::Silence);
        }
    };
    assert_eq!(fired(|traffic| servers(traffic, false)), []);
    assert_eq!(fired(|traffic| servers(traffic, true)), NAMED, "where others are answered");
}

#[test]
fn probes_that_belong_to_no_conversation_are_named_and_conversations_under_way_are_not() {
    let sweep = |traffic: &mut Traffic| {
        both_ways(traffic);
        for number in 0..20 {
            let host = traffic.anywhere();
            traffic.standing(1.0 + f64::from(number) / 10.0, (HOST, 40_000), (host, 8_545));
        }
    };
    assert_eq!(fired(sweep), NAMED, "nothing comes back");
    let ports = |traffic: &mut Traffic| {
        for port in 1..=20 {
            let (when, target) = (f64::from(port) / 10.0, (address("198.51.100.9"), port));
            traffic.standing_with(when, (HOST, 40_000), target, Outcome::Refused);
        }
    };
    assert_eq!(fired(ports), NAMED, "RST comes back");
    let under_way = |traffic: &mut Traffic| {
        both_ways(traffic);
        for number in 0..200 {
            let (host, local_port) = (traffic.anywhere(), traffic.ephemeral());
            let when = 1.0 + f64::from(number) / 50.0;
            traffic.standing_with(when, (HOST, local_port), (host, 443), Outcome::Answered);
        }
    };
    assert_eq!(fired(under_way), [], "frames come back");
    let one_way = |traffic: &mut Traffic| {
        for number in 0..200 {
            let (host, local_port) = (traffic.anywhere(), traffic.ephemeral());
            traffic.standing(f64::from(number) / 50.0, (HOST, local_port), (host, 443));
        }
    };
    assert_eq!(fired(one_way), [], "a mirror of one direction");
}

#[test]
fn a_sweep_of_name_servers_is_named_and_a_resolver_on_a_mirror_of_one_direction_is_not() {
    let silent = |traffic: &mut Traffic| one_port(traffic, 53, Protocol::UDP, 500, 0);
    assert_eq!(fired(silent), NAMED, "nobody is answered");
    let resolver = |traffic: &mut Traffic| {
        // That TCP is answered shows by its initiator alone.
        let local_port = traffic.ephemeral();
        traffic.contact(0.0, (HOST, local_port), (address("9.9.9.9"), 443), Protocol::TCP, After::Answer);
        silent(traffic);
    };
    assert_eq!(fired(resolver), [], "only UDP is not answered");
}

#[test]
fn a_source_that_comes_back_into_a_full_table_is_looked_at_once() {
    let mut scan = super::Scan::new(&Settings { sources: 8, ..Settings::default() });
    let mut traffic = Traffic::new(1);
    for round in 0..50_u32 {
        for number in 0..16 {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            let (when, peer) = (f64::from(round) / 100.0 + f64::from(number) / 1e4, traffic.anywhere());
            traffic.contact(when, (source, 40_000), (peer, 23), Protocol::TCP, After::Silence);
        }
    }
    traffic.finish().iter().for_each(|observation| scan.observe(observation));
    assert!(scan.queue.len() <= 8, "{} in the queue for 8 sources", scan.queue.len());
}

#[test]
fn a_torrent_host_is_not_named_a_scanner() {
    for answering in [15, 30, 60] {
        let kinds: Vec<AlertKind> =
            fired(|traffic| Swarm { answering, peers: 400, ..Swarm::default() }.play(traffic))
                .into_iter()
                .map(|(kind, _)| kind)
                .collect();
        assert_eq!(kinds, [AlertKind::Torrent], "{answering} % answer");
    }
}

#[test]
fn it_resolves_three_minutes_after_the_last_contact() {
    let mut traffic = Traffic::new(1);
    horizontal(&mut traffic, 23, 100, 10.0, 0);
    let all = run(&mut Detectors::new(&Settings::default()), &traffic.finish(), 400);
    let [begin, end] = all.as_slice() else {
        panic!("one alert that begins and ends, not {all:?}");
    };
    assert_eq!((begin.state, end.state), (AlertState::Firing, AlertState::Resolved));
    let length = end.time.since(begin.time).as_secs();
    assert!((180..=195).contains(&length), "{length} s");
}

/// The price of evasion, as the documentation states it.
#[test]
fn a_scan_slower_than_one_target_a_minute_is_not_seen() {
    let paced = |seconds: f64| move |traffic: &mut Traffic| horizontal(traffic, 23, 60, 1.0 / seconds, 0);
    assert_eq!(fired(paced(30.0)), NAMED, "two targets a minute");
    assert_eq!(fired(paced(65.0)), [], "one target in 65 seconds");
}

fn steps(make: impl Fn(&mut Traffic)) -> Vec<Step> {
    let mut traffic = Traffic::new(1);
    make(&mut traffic);
    let mut detectors = Detectors::new(&Settings::default());
    detectors.trace(HOST, Some(AlertKind::Scan));
    run(&mut detectors, &traffic.finish(), 60);
    detectors.take_steps()
}

#[test]
fn the_trace_of_a_scan_shows_each_target_and_ends_in_the_decision() {
    let steps = steps(|traffic| horizontal(traffic, 23, 20, 10.0, 0));
    let decision = steps.iter().position(|step| step.what == "named: horizontal scan (walk of port 23)");
    let before = &steps[..decision.expect("a decision")];
    assert!(before.iter().filter(|step| step.what.starts_with("first contact")).count() >= 15);
    let of_walk: Vec<&Step> = before.iter().filter(|step| step.what.ends_with("(walk of port 23)")).collect();
    let (added, last) = (of_walk.iter().map(|step| step.weight).sum::<f64>(), of_walk.last().unwrap().sum);
    assert!((added - last).abs() < 0.2, "{added} is {last} but for the leak between steps");
}

#[test]
fn the_trace_of_no_scan_says_why_it_is_none() {
    let decisions = |make: &dyn Fn(&mut Traffic)| {
        let of_decision = |step: Step| step.what.starts_with("not named").then_some(step.what);
        steps(make).into_iter().filter_map(of_decision).collect::<Vec<_>>()
    };
    let few = decisions(&|traffic| horizontal(traffic, 23, 10, 10.0, 0));
    assert_eq!(few.last().unwrap(), "not named: 10 of the 15 that are asked for (walk of port 23)");
    let answered = decisions(&|traffic| horizontal(traffic, 23, 60, 10.0, 45));
    assert!(answered.iter().any(|what| what.contains("% answered, of at most 40 %")), "{answered:?}");
    let no_evidence = steps(|traffic| {
        traffic.contact(1.0, (HOST, 53), (address("10.0.0.9"), 40_000), Protocol::UDP, After::Silence);
    });
    assert_eq!(
        no_evidence[0].what,
        "no evidence: UDP from a service's port: an answer whose question was not seen"
    );
}

#[test]
fn sensitivity_moves_the_smallest_scan() {
    use crate::detect::settings::Sensitivity;
    let named = |sensitivity, hosts| {
        let settings = Settings { sensitivity, ..Settings::default() };
        !fired_with(&settings, |traffic| horizontal(traffic, 23, hosts, 10.0, 0)).is_empty()
    };
    assert!(!named(Sensitivity::Low, 29) && named(Sensitivity::Low, 30));
    assert!(!named(Sensitivity::Normal, 14) && named(Sensitivity::Normal, 15));
    assert!(!named(Sensitivity::High, 10) && named(Sensitivity::High, 11));
}

#[test]
fn a_source_takes_at_most_800_bytes() {
    let bytes = Sources::<super::Source>::BYTES_PER_SOURCE;
    assert!(bytes <= 800, "{bytes}");
}
