//! What is named a torrent, what is not, when, and when it is over.

use proptest::prelude::*;

use crate::{
    alert::{AlertKind, AlertState, Finding},
    clock::Timestamp,
    detect::{
        Detector, Detectors,
        settings::{Sensitivity, Settings},
        synthetic::{
            After, HOST, START, Swarm, Traffic, address, at, both_ways, browser, findings, fired, fired_with,
            one_port, run,
        },
    },
    flow::Protocol,
    observation::{Contact, Observation, Response},
};

const NAMED: &[(AlertKind, std::net::IpAddr)] = &[(AlertKind::Torrent, HOST)];

fn first(settings: &Settings, make: impl Fn(&mut Traffic)) -> Finding {
    findings(settings, make).into_iter().next().expect("something must fire")
}

#[test]
fn every_way_to_find_peers_is_named() {
    let cases = [
        ("mixed", Swarm::default()),
        ("TCP only", Swarm { tcp: 100, ..Swarm::default() }),
        ("UDP only", Swarm { tcp: 0, ..Swarm::default() }),
        ("IPv6", Swarm { ipv6: true, ..Swarm::default() }),
        ("most dead", Swarm { answering: 12, ..Swarm::default() }),
        ("most alive", Swarm { answering: 70, ..Swarm::default() }),
        ("at once", Swarm { per_second: 100.0, ..Swarm::default() }),
        ("thirty peers", Swarm { peers: 30, ..Swarm::default() }),
        ("trickle", Swarm { peers: 200, per_second: 0.5, ..Swarm::default() }),
        ("mostly on 443", Swarm { on_443: 60, ..Swarm::default() }),
    ];
    for (name, swarm) in cases {
        assert_eq!(fired(|traffic| swarm.play(traffic)), NAMED, "{name}");
    }
}

#[test]
fn a_burst_is_named_within_two_seconds_of_its_tenth_peer() {
    for per_second in [5.0, 10.0, 30.0, 100.0] {
        let swarm = Swarm { per_second, ..Swarm::default() };
        let finding = first(&Settings::default(), |traffic| swarm.play(traffic));
        let tenth = at(swarm.from + 9.0 / per_second);
        let late = finding.time.since(tenth).as_secs_f64();
        assert!(late <= 2.0, "{per_second}/s: {late} s after the tenth peer");
    }
}

/// As in captures whose stamps were made relative.
#[test]
fn a_swarm_over_udp_is_named_on_a_clock_that_begins_at_zero() {
    let mut traffic = Traffic::new(1);
    Swarm { tcp: 0, ..Swarm::default() }.play(&mut traffic);
    let mut detectors = Detectors::new(&Settings::default());
    let mut findings = Vec::new();
    for mut observation in traffic.finish() {
        let (Observation::Contact(Contact { time, .. }) | Observation::Response(Response { time, .. })) =
            &mut observation;
        *time = Timestamp(time.0 - START.0);
        detectors.advance(*time, &mut findings);
        detectors.observe(&[observation]);
    }
    assert_eq!(findings.first().map(|finding| finding.kind), Some(AlertKind::Torrent));
}

/// TCP shows even then who answered: its initiator goes on. UDP shows nothing.
#[test]
fn a_mirror_of_one_direction_still_shows_a_swarm() {
    for tcp in [30, 100] {
        let one_way = |traffic: &mut Traffic| {
            for number in 0..100 {
                let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
                let is_tcp = traffic.chance(tcp);
                let after = if is_tcp && traffic.chance(40) { After::Answer } else { After::Silence };
                let protocol = if is_tcp { Protocol::TCP } else { Protocol::UDP };
                traffic.contact(f64::from(number) / 10.0, (HOST, 8_999), (peer, port), protocol, after);
            }
        };
        assert_eq!(fired(one_way), NAMED, "{tcp} % TCP");
    }
}

#[test]
fn a_swarm_beside_heavy_browsing_is_named() {
    let both = |traffic: &mut Traffic| {
        browser(traffic, HOST, 60, 10);
        Swarm { from: 20.0, ..Swarm::default() }.play(traffic);
    };
    assert_eq!(fired(both), NAMED);
}

#[test]
fn a_swarm_behind_a_gateway_of_many_users_is_named_and_the_gateway_alone_is_not() {
    let users = |traffic: &mut Traffic| browser(traffic, HOST, 60, 60);
    assert_eq!(fired(users), []);
    let both = |traffic: &mut Traffic| {
        users(traffic);
        Swarm { from: 20.0, peers: 200, per_second: 10.0, ..Swarm::default() }.play(traffic);
    };
    assert_eq!(fired(both), NAMED);
}

#[test]
fn clients_of_services_are_not_named() {
    let cases = [
        ("resolver", 53, Protocol::UDP, 95),
        ("mail", 25, Protocol::TCP, 75),
        ("time", 123, Protocol::UDP, 95),
        ("Tor", 9001, Protocol::TCP, 90),
        ("Bitcoin", 8333, Protocol::TCP, 30),
        ("Ethereum", 30303, Protocol::UDP, 40),
        ("Delivery Optimization", 7680, Protocol::TCP, 50),
        ("a port of its own", 34_197, Protocol::UDP, 60),
        ("crawler", 443, Protocol::TCP, 95),
    ];
    for (name, port, protocol, answering) in cases {
        let alone = |traffic: &mut Traffic| one_port(traffic, port, protocol, 600, answering);
        assert_eq!(fired(alone), [], "{name}");
    }
}

#[test]
fn a_call_among_twelve_is_not_named() {
    let call = |traffic: &mut Traffic| {
        let (stun, socket) = (address("198.51.100.7"), 50_123);
        traffic.contact(1.0, (HOST, socket), (stun, 3478), Protocol::UDP, After::Answer);
        for partner in 0..11 {
            // Each offers two candidates, of which one answers.
            for (candidate, after) in [(0, After::Answer), (1, After::Silence)] {
                let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
                let when = 2.0 + f64::from(partner) * 0.3 + f64::from(candidate) * 0.05;
                traffic.contact(when, (HOST, socket), (peer, port), Protocol::UDP, after);
            }
        }
    };
    assert_eq!(fired(call), []);
}

#[test]
fn a_lobby_of_one_operators_servers_is_not_named() {
    let lobby = |traffic: &mut Traffic| {
        for number in 0..200 {
            let server = address(&format!("192.0.2.{number}"));
            let (port, after) = (traffic.port(10_000), traffic.chance(60));
            let after = if after { After::Answer } else { After::Silence };
            traffic.contact(f64::from(number) / 20.0, (HOST, 40_000), (server, port), Protocol::UDP, after);
        }
    };
    assert_eq!(fired(lobby), []);
}

/// The sum must not outlive the peers that it came from, nor few peers excuse what many bar.
#[test]
fn peers_that_all_answer_are_not_named_not_even_when_they_are_over() {
    for (protocol, peers, per_second) in [
        (Protocol::UDP, 240, 4.0),
        (Protocol::TCP, 240, 4.0),
        (Protocol::UDP, 10, 5.0),
        (Protocol::TCP, 60, 1.0),
    ] {
        let mut traffic = Traffic::new(1);
        for number in 0..peers {
            let (peer, port, local_port) = (traffic.anywhere(), traffic.port(10_000), traffic.ephemeral());
            let when = 5.0 + f64::from(number) / per_second;
            traffic.contact(when, (HOST, local_port), (peer, port), protocol, After::Answer);
        }
        let all = run(&mut Detectors::new(&Settings::default()), &traffic.finish(), 900);
        assert!(all.is_empty(), "{peers} over {protocol} at {per_second}/s: {all:?}");
    }
}

#[test]
fn a_mirror_that_loses_a_direction_is_taken_for_one_of_one_direction_an_hour_later() {
    let silent_swarm = |hours: f64| {
        let all = fired(|traffic: &mut Traffic| {
            both_ways(traffic);
            for number in 0..100 {
                let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
                let port = if number % 10 == 0 { 6_881 } else { port };
                let when = hours * 3_600.0 + f64::from(number) / 10.0;
                traffic.contact(when, (HOST, 8_999), (peer, port), Protocol::UDP, After::Silence);
            }
        });
        all.contains(&NAMED[0])
    };
    assert!(!silent_swarm(0.5) && silent_swarm(1.5));
}

#[test]
fn a_server_whose_clients_were_there_first_is_not_named() {
    let server = |traffic: &mut Traffic| {
        for number in 0..400 {
            let (client, port) = (traffic.anywhere(), traffic.ephemeral());
            let when = f64::from(number) / 40.0;
            // The sensor starts in the middle: of every other client it first sees an answer.
            if number % 2 == 0 && number < 100 {
                traffic.contact(when, (HOST, 34_197), (client, port), Protocol::UDP, After::Answer);
            } else {
                traffic.contact(when, (client, port), (HOST, 34_197), Protocol::UDP, After::Answer);
            }
        }
    };
    assert_eq!(fired(server), []);
}

#[test]
fn conversations_under_way_with_a_swarm_are_named() {
    let swarm = |traffic: &mut Traffic| {
        for number in 0..15_u16 {
            let peer = (traffic.anywhere(), traffic.port(10_000));
            traffic.standing(f64::from(number), (HOST, 50_000 + number), peer);
        }
    };
    assert_eq!(fired(swarm), NAMED);
}

#[test]
fn conversations_under_way_of_a_server_or_a_browser_are_not_named() {
    let server = |traffic: &mut Traffic| {
        for number in 0..300 {
            let client = (traffic.anywhere(), traffic.ephemeral());
            traffic.standing(f64::from(number) / 50.0, (HOST, 28_015), client);
        }
    };
    assert_eq!(fired(server), [], "server on a high port");
    let gateway = |traffic: &mut Traffic| {
        for number in 0..200 {
            let port = if number % 12 == 0 { traffic.port(10_000) } else { 443 };
            let (peer, local_port) = (traffic.anywhere(), traffic.ephemeral());
            traffic.standing(f64::from(number) / 50.0, (HOST, local_port), (peer, port));
        }
    };
    assert_eq!(fired(gateway), [], "gateway");
}

#[test]
fn it_resolves_three_minutes_after_the_last_peers_and_not_before() {
    let mut traffic = Traffic::new(1);
    Swarm::default().play(&mut traffic);
    let mut detectors = Detectors::new(&Settings::default());
    let all = run(&mut detectors, &traffic.finish(), 400);
    let [begin, end] = all.as_slice() else {
        panic!("one alert that begins and ends, not {all:?}");
    };
    assert_eq!((begin.state, end.state), (AlertState::Firing, AlertState::Resolved));
    let quiet = end.time.since(at(15.0)).as_secs();
    assert!((175..=185).contains(&quiet), "resolved {quiet} s after the last peer");
    assert!(detectors.score(AlertKind::Torrent, HOST) < 1e-9);
    assert_eq!(detectors.firing().iter().count(), 0);
}

#[test]
fn a_swarm_that_goes_on_is_one_alert() {
    let mut traffic = Traffic::new(1);
    Swarm { peers: 3_000, per_second: 2.0, ..Swarm::default() }.play(&mut traffic);
    let all = run(&mut Detectors::new(&Settings::default()), &traffic.finish(), 0);
    assert_eq!(all.len(), 1, "{all:?}");
}

#[test]
fn sensitivity_moves_the_smallest_swarm_that_is_named() {
    let named = |sensitivity, peers| {
        let settings = Settings { sensitivity, ..Settings::default() };
        !fired_with(&settings, |traffic| Swarm { peers, ..Swarm::default() }.play(traffic)).is_empty()
    };
    assert!(!named(Sensitivity::Low, 12) && named(Sensitivity::Low, 40));
    assert!(!named(Sensitivity::Normal, 5) && named(Sensitivity::Normal, 16));
    assert!(!named(Sensitivity::High, 4) && named(Sensitivity::High, 10));
}

#[test]
fn what_evades_by_pace_is_a_small_swarm() {
    let twenty = |per_second| {
        fired(|traffic| Swarm { peers: 20, tcp: 100, per_second, ..Swarm::default() }.play(traffic))
    };
    assert_eq!(twenty(2.0), NAMED);
    assert_eq!(twenty(1.0 / 3.0), []);
}

#[test]
fn the_evidence_holds_what_the_sentence_says() {
    let finding = first(&Settings::default(), |traffic| Swarm::default().play(traffic));
    let evidence = &finding.evidence;
    let count = |name: &str| evidence[name].as_u64().unwrap();
    for (name, word) in [("new_connections", "new connections"), ("peers", "peers"), ("ports", "ports")] {
        assert!(finding.summary.contains(&format!("{} {word}", count(name))), "{}", finding.summary);
    }
    assert!(evidence["sum"].as_f64().unwrap() >= evidence["threshold"].as_f64().unwrap());
    assert!(evidence["conditions"].as_array().unwrap().iter().all(|one| one["met"] == true));
    assert_eq!(evidence["sample"].as_array().unwrap().len(), 5);
    assert!(finding.score >= 0.5);
}

#[test]
fn the_trace_ends_in_the_decision_and_adds_up() {
    let mut traffic = Traffic::new(1);
    Swarm::default().play(&mut traffic);
    let mut detectors = Detectors::new(&Settings::default());
    detectors.trace(HOST, Some(AlertKind::Torrent));
    run(&mut detectors, &traffic.finish(), 0);
    let steps = detectors.take_steps();
    let decision = steps.iter().position(|step| step.what.contains("named")).expect("a decision");
    assert!(decision >= 10, "ten peers are asked for");
    for pair in steps[..decision].windows(2) {
        let most = pair[0].sum + pair[1].weight.max(0.0);
        assert!(pair[1].sum <= most + 1e-9, "{} then {}", pair[0], pair[1]);
    }
}

#[test]
fn forged_sources_do_not_displace_a_swarm() {
    let mut traffic = Traffic::new(1);
    for number in 0..20_000_u32 {
        let source = std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).into();
        let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
        let when = f64::from(number) / 1_000.0;
        traffic.contact(when, (source, 40_000), (peer, port), Protocol::UDP, After::Silence);
    }
    Swarm::default().play(&mut traffic);
    let settings = Settings { sources: 1_000, suspects: 100, ..Settings::default() };
    let mut detectors = Detectors::new(&settings);
    let all = run(&mut detectors, &traffic.finish(), 5);
    assert!(all.iter().any(|finding| finding.kind == AlertKind::Torrent && finding.source == HOST));
    assert!(all.iter().all(|finding| finding.source == HOST), "{all:?}");
}

#[test]
fn memory_is_bounded_by_the_settings() {
    let settings = Settings { sources: 500, suspects: 50, ..Settings::default() };
    let mut torrent = super::Torrent::new(&settings);
    let mut traffic = Traffic::new(1);
    for number in 0..5_000_u32 {
        let source = std::net::Ipv4Addr::from_bits(0x0a01_0000 + number).into();
        let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
        traffic.contact(f64::from(number), (source, 40_000), (peer, port), Protocol::UDP, After::Silence);
    }
    traffic.finish().iter().for_each(|observation| torrent.observe(observation));
    let usage = torrent.usage();
    assert_eq!(usage.sources, 500);
    assert!(usage.bytes <= 500 * 144 + 50 * 14 * 1_024, "{usage:?}");
    assert!(usage.evicted_full >= 4_500, "{usage:?}");
}

/// The price of evasion, as the documentation states it.
#[test]
fn what_evades_costs_the_evader_his_speed() {
    let slow = |per_second| Swarm { peers: 300, per_second, ..Swarm::default() };
    assert_eq!(fired(|traffic| slow(0.2).play(traffic)), NAMED, "one peer in five seconds is still named");
    assert_eq!(fired(|traffic| slow(0.02).play(traffic)), [], "one peer in fifty seconds is not");
    let tunnelled = |on_443| Swarm { peers: 300, on_443, ..Swarm::default() };
    assert_eq!(
        fired(|traffic| tunnelled(60).play(traffic)),
        NAMED,
        "four in ten peers on high ports are named"
    );
    let all = fired(|traffic| tunnelled(100).play(traffic));
    assert!(!all.contains(&NAMED[0]), "all on port 443 is web browsing: {all:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes: scores stay within 0 and 1, nothing panics, and a source is named only when its
    /// score is one half or more.
    #[test]
    fn scores_and_alerts_never_contradict(
        events in prop::collection::vec(
            (0u32..60_000, 0u32..8, 0u32..40, 1u16.., any::<bool>(), 0u8..4), 0..400,
        ),
    ) {
        let mut traffic = Traffic::new(1);
        for (milliseconds, source, peer, port, tcp, after) in events {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 + source).into();
            let peer = std::net::Ipv4Addr::from_bits(0x5000_0001 + (peer << 16)).into();
            let after = [After::Answer, After::Refusal, After::Unreachable, After::Silence][usize::from(after)];
            let protocol = if tcp { Protocol::TCP } else { Protocol::UDP };
            traffic.contact(f64::from(milliseconds) / 1e3, (source, 40_000), (peer, port), protocol, after);
        }
        let mut detectors = Detectors::new(&Settings::default());
        run(&mut detectors, &traffic.finish(), 10);
        for number in 0..8 {
            let source = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            for kind in AlertKind::ALL {
                let score = detectors.score(kind, source);
                prop_assert!((0.0..=1.0).contains(&score));
                prop_assert_eq!(score >= 0.5, detectors.firing().is(source, kind), "{:?} {}", kind, score);
            }
        }
    }
}
