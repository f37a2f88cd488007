//! Orientation as a specification: flows in, observations out.

use std::net::SocketAddr;

use sensor_common::packet::UDP;

use super::*;
use crate::flow::FlowId;

const LOCAL: &str = "10.0.0.5:40000";
const SERVER: &str = "203.0.113.9:443";
const SECOND: u64 = 1_000_000_000;

/// A world that starts at second 1000.
struct World {
    orientation: Orientation,
    now: u64,
}

fn world() -> World {
    World { orientation: Orientation::new(&Config::default()), now: 1000 }
}

/// One flow: from, to, what was seen, and milliseconds into the drain.
fn tcp(from: &str, to: &str, marks: Marks, ms: u64) -> Flow {
    flow(Protocol::TCP, from, to, marks, ms)
}

fn udp(from: &str, to: &str, ms: u64) -> Flow {
    flow(Protocol(UDP), from, to, Marks::OTHER, ms)
}

fn flow(protocol: Protocol, from: &str, to: &str, marks: Marks, ms: u64) -> Flow {
    let (from, to): (SocketAddr, SocketAddr) =
        (from.parse().expect("an address"), to.parse().expect("an address"));
    Flow {
        id: FlowId { src: from.ip(), dst: to.ip(), dst_port: to.port(), protocol },
        src_port: from.port(),
        packets: 3,
        bytes: 180,
        marks,
        first_seen: Timestamp(ms * 1_000_000),
    }
}

impl World {
    /// One drain of a second; what it shows, in words.
    fn drain(&mut self, flows: &[Flow]) -> Vec<String> {
        let start = Timestamp(self.now * SECOND);
        let shifted =
            flows.iter().map(|flow| Flow { first_seen: Timestamp(start.0 + flow.first_seen.0), ..*flow });
        self.now += 1;
        let drain =
            Drain { start, end: Timestamp(self.now * SECOND), flows: shifted.collect(), frames: Vec::new() };
        self.orientation.orient(&drain).observations.iter().map(words).collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now += seconds;
    }
}

fn words(observation: &Observation) -> String {
    match observation {
        Observation::Contact(Contact {
            trifecta: t, initiator_port, direction, opening, new_peer, ..
        }) => {
            let peer = if *new_peer { ", new peer" } else { "" };
            format!(
                "{opening:?} {direction:?} {}:{initiator_port} > {}:{}{peer}",
                t.initiator, t.responder, t.port
            )
        }
        Observation::Response(Response { trifecta: t, outcome, .. }) => {
            format!("{outcome:?} {} > {}:{}", t.initiator, t.responder, t.port)
        }
    }
}

const SYN: Marks = Marks::SYN;
const SYN_ACK: Marks = Marks::SYN_ACK;
const RST: Marks = Marks::RST;
const OTHER: Marks = Marks::OTHER;

const OPENED: &str = "New Outbound 10.0.0.5:40000 > 203.0.113.9:443, new peer";
const ANSWERED: &str = "Answered 10.0.0.5 > 203.0.113.9:443";

#[test]
fn a_handshake_is_one_contact_and_one_answer_whatever_the_order_of_stamps() {
    let there = tcp(LOCAL, SERVER, SYN.with(OTHER), 10);
    let back = tcp(SERVER, LOCAL, SYN_ACK.with(OTHER), 10);
    for flows in [[there, back], [back, there]] {
        assert_eq!(world().drain(&flows), [OPENED, ANSWERED]);
    }
}

#[test]
fn replies_in_later_drains_open_nothing() {
    let mut world = world();
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, SYN, 990)]), [OPENED]);
    assert_eq!(world.drain(&[tcp(SERVER, LOCAL, SYN_ACK, 5)]), [ANSWERED]);
    assert!(world.drain(&[tcp(SERVER, LOCAL, OTHER, 5), tcp(LOCAL, SERVER, OTHER, 6)]).is_empty());
}

#[test]
fn a_second_connection_to_the_same_place_is_not_new() {
    let mut world = world();
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, SYN, 0)]), [OPENED]);
    assert!(world.drain(&[tcp("10.0.0.5:40001", SERVER, SYN, 0)]).is_empty());
}

#[test]
fn a_trifecta_silent_for_longer_than_the_memory_is_new_again() {
    let mut world = world();
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, SYN, 0)]), [OPENED]);
    world.wait(3601);
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, SYN, 0)]), [OPENED]);
}

#[test]
fn a_syn_ack_without_its_syn_orients() {
    assert_eq!(world().drain(&[tcp(SERVER, LOCAL, SYN_ACK, 0)]), [OPENED, ANSWERED]);
}

#[test]
fn a_syn_ack_that_nobody_asked_for_opens_nothing_where_the_mirror_shows_syns() {
    let mut world = world();
    world.drain(&[tcp("10.0.0.6:40000", SERVER, SYN, 0)]);
    assert!(world.drain(&[tcp(SERVER, LOCAL, SYN_ACK, 0)]).is_empty());
    assert_eq!(
        world.drain(&[tcp(LOCAL, SERVER, OTHER, 0)])[0][..9],
        *"MidStream",
        "what the host sends itself tells"
    );
}

#[test]
fn an_answer_must_be_seen_where_answers_can_be_seen() {
    let mut world = world();
    world.drain(&[tcp("10.0.0.6:40000", SERVER, SYN, 0), tcp(SERVER, "10.0.0.6:40000", SYN_ACK, 1)]);
    assert_eq!(world.drain(&[tcp(LOCAL, "203.0.113.7:22", SYN.with(OTHER), 0)]).len(), 1);
}

#[test]
fn an_initiator_that_goes_on_was_answered_even_where_the_mirror_shows_one_way_only() {
    let mut world = world();
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, SYN, 0)]), [OPENED]);
    assert_eq!(world.drain(&[tcp(LOCAL, SERVER, OTHER, 0)]), [ANSWERED]);
}

#[test]
fn a_reset_refuses_and_a_later_answer_outweighs_it() {
    let mut world = world();
    let refused = world.drain(&[tcp(LOCAL, SERVER, SYN, 0), tcp(SERVER, LOCAL, RST, 1)]);
    assert_eq!(refused, [OPENED, "Refused 10.0.0.5 > 203.0.113.9:443"]);
    assert_eq!(world.drain(&[tcp(SERVER, LOCAL, SYN_ACK, 0)]), [ANSWERED]);
    assert!(world.drain(&[tcp(SERVER, LOCAL, RST, 0)]).is_empty(), "an answer is final");
}

#[test]
fn a_scan_from_one_port_is_refused_port_by_port() {
    let mut flows: Vec<Flow> =
        (1..=5).map(|port| tcp("10.0.0.5:50000", &format!("10.0.0.9:{port}"), SYN, port)).collect();
    flows.push(tcp("10.0.0.9:1", "10.0.0.5:50000", RST.with(Marks::MORE_PORTS), 2));
    let shown = world().drain(&flows);
    assert_eq!(shown.iter().filter(|line| line.starts_with("New Internal")).count(), 5);
    assert_eq!(shown.iter().filter(|line| line.starts_with("Refused")).count(), 5, "{shown:?}");
}

#[test]
fn mid_stream_is_never_new_and_its_well_known_port_responds() {
    let there = tcp(LOCAL, SERVER, OTHER, 1);
    let back = tcp(SERVER, LOCAL, OTHER, 0);
    let expected = ["MidStream Outbound 10.0.0.5:40000 > 203.0.113.9:443, new peer", ANSWERED];
    assert_eq!(world().drain(&[there, back]), expected);
    assert_eq!(world().drain(&[back])[..], expected[..]);
}

#[test]
fn mid_stream_between_high_ports_is_taken_for_the_local_ends() {
    assert_eq!(
        world().drain(&[tcp("203.0.113.9:6881", "10.0.0.5:51000", OTHER, 0)])[0],
        "MidStream Outbound 10.0.0.5:51000 > 203.0.113.9:6881, new peer"
    );
}

#[test]
fn mid_stream_of_a_local_port_that_many_share_is_inbound() {
    let flows: Vec<Flow> =
        (1..=4).map(|host| tcp(&format!("203.0.113.{host}:50000"), "10.0.0.5:25565", OTHER, host)).collect();
    let shown = world().drain(&flows);
    assert!(shown.iter().all(|line| line.starts_with("MidStream Inbound")), "{shown:?}");
}

#[test]
fn a_lone_reset_opens_nothing() {
    assert!(world().drain(&[tcp(SERVER, LOCAL, RST, 0)]).is_empty());
}

#[test]
fn the_first_datagram_opens_and_the_answer_does_not() {
    let (there, back) =
        (udp("10.0.0.5:6881", "203.0.113.9:51413", 3), udp("203.0.113.9:51413", "10.0.0.5:6881", 4));
    let outbound =
        ["New Outbound 10.0.0.5:6881 > 203.0.113.9:51413, new peer", "Answered 10.0.0.5 > 203.0.113.9:51413"];
    assert_eq!(world().drain(&[there, back]), outbound);
    assert_eq!(world().drain(&[back, there]), outbound, "their order in the drain must not matter");
    let mut world = world();
    assert_eq!(world.drain(&[there]), outbound[..1]);
    assert_eq!(world.drain(&[back]), outbound[1..]);
}

#[test]
fn a_local_server_that_answers_strangers_opens_nothing() {
    let mut world = world();
    for host in 1..=200 {
        let client = format!("203.0.113.{host}:50000");
        let shown = world.drain(&[udp(&client, "10.0.0.5:27015", 0), udp("10.0.0.5:27015", &client, 0)]);
        assert!(shown[0].starts_with("New Inbound"), "{shown:?}");
        assert!(world.drain(&[udp("10.0.0.5:27015", &client, 0)]).is_empty(), "late answers open nothing");
    }
}

#[test]
fn a_request_counted_a_little_after_its_answer_keeps_its_direction_by_the_well_known_port() {
    let query = Flow { first_seen: Timestamp(10_400_000), ..udp(LOCAL, "10.0.0.1:53", 0) };
    let answer = Flow { first_seen: Timestamp(10_000_000), ..udp("10.0.0.1:53", LOCAL, 0) };
    assert_eq!(
        world().drain(&[query, answer]),
        ["Answered 10.0.0.5 > 10.0.0.1:53", "New Internal 10.0.0.5:40000 > 10.0.0.1:53"],
        "the answer has the earlier stamp, so it is told first; the direction is right all the same"
    );
}

#[test]
fn an_icmp_error_marks_what_it_quotes() {
    let error =
        Flow { packets: 0, bytes: 0, marks: Marks::UNREACHABLE, ..udp(LOCAL, "203.0.113.9:51413", 500) };
    let mut world = world();
    world.drain(&[udp(LOCAL, "203.0.113.9:51413", 0)]);
    assert_eq!(world.drain(&[error]), ["Unreachable 10.0.0.5 > 203.0.113.9:51413"]);
    assert!(world.drain(&[Flow { id: FlowId { dst_port: 9, ..error.id }, ..error }]).is_empty());
}

#[test]
fn later_fragments_open_nothing() {
    let later = Flow { marks: Marks(0), ..udp(LOCAL, "203.0.113.9:51413", 500) };
    let mut world = world();
    assert!(world.drain(&[later]).is_empty());
    world.drain(&[udp(LOCAL, "203.0.113.9:51413", 600)]);
    let answer = Flow { marks: Marks(0), ..udp("203.0.113.9:51413", LOCAL, 700) };
    assert_eq!(world.drain(&[later, answer]), ["Answered 10.0.0.5 > 203.0.113.9:51413"]);
}

#[test]
fn a_peer_is_new_once_in_ten_silent_minutes_in_either_direction() {
    let mut world = world();
    let is_new = |shown: &[String]| shown[0].ends_with("new peer");
    assert!(is_new(&world.drain(&[udp("203.0.113.9:1111", "10.0.0.5:6881", 0)])));
    assert!(!is_new(&world.drain(&[udp("10.0.0.5:7000", "203.0.113.9:2222", 0)])), "it had contacted us");
    world.wait(601);
    assert!(is_new(&world.drain(&[udp("10.0.0.5:7000", "203.0.113.9:3333", 0)])));
}

#[test]
fn what_goes_to_another_port_of_an_end_that_knocked_here_counts_as_an_answer() {
    let mut world = world();
    assert_eq!(world.drain(&[udp("203.0.113.9:1111", "10.0.0.5:6881", 0)]).len(), 1);
    assert_eq!(
        world.drain(&[udp("10.0.0.5:6881", "203.0.113.9:2222", 0)]),
        ["Answered 203.0.113.9 > 10.0.0.5:6881"]
    );
}

#[test]
fn families_and_protocols_do_not_mix() {
    let mut world = world();
    assert_eq!(world.drain(&[udp("[fd00::1]:5000", "[2001:db8::1]:5001", 0)]).len(), 1);
    assert_eq!(world.drain(&[tcp("[2001:db8::1]:5001", "[fd00::1]:5000", SYN, 0)]).len(), 1);
    assert_eq!(
        world.drain(&[udp("[::ffff:10.0.0.5]:40000", "[::ffff:203.0.113.9]:443", 0)]),
        ["New Transit ::ffff:10.0.0.5:40000 > ::ffff:203.0.113.9:443"]
    );
}
