//! What is remembered of a source, and what it must not cost.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    flow::Protocol,
    networks::Direction,
    observation::Opening,
    output::fixture::{START, address, interval, source},
};

const CAPACITY: usize = 8;

fn contact(second: u64, port: u16) -> Contact {
    let trifecta = Trifecta {
        initiator: address("10.0.0.5"),
        responder: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
        port,
        protocol: Protocol::TCP,
    };
    Contact {
        time: START.plus(Duration::from_secs(second)),
        trifecta,
        initiator_port: 40_000,
        direction: Direction::Outbound,
        opening: Opening::New,
        new_peer: true,
    }
}

fn response(of: &Contact, outcome: Outcome) -> Response {
    let Contact { time, trifecta, initiator_port, direction, .. } = *of;
    Response { time, trifecta, initiator_port, direction, outcome }
}

fn ports(recent: &RecentContacts) -> Vec<u16> {
    let mut ports: Vec<u16> = recent.iter().map(|(trifecta, _)| trifecta.port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn ten_minutes_are_kept_and_no_more() {
    let mut history = History::default();
    let host = address("10.0.0.5");
    for number in 0..200 {
        history.push(&interval(number, Vec::new()), &source(host, u64::from(number)));
    }
    let counts: Vec<u64> = history.points().map(|point| point.new_connections).collect();
    assert_eq!(counts, (140..200).collect::<Vec<u64>>());
    assert_eq!(history.new_connections(), (140..200).sum::<u64>());
}

#[test]
fn short_intervals_share_a_point_of_ten_seconds() {
    let mut history = History::default();
    for second in 0..1000_u64 {
        let start = START.plus(Duration::from_secs(second));
        let end = start.plus(Duration::from_secs(1));
        let interval = Interval { start, end, seconds: 1.0, sources: Vec::new(), frames: Vec::new() };
        history.push(&interval, &source(address("10.0.0.5"), 2));
    }
    let lengths: Vec<f64> = history.points().map(|point| point.seconds).collect();
    assert_eq!(lengths, vec![10.0; POINTS]);
    assert!(history.points().all(|point| point.new_connections == 20));
}

#[test]
fn the_latest_contacts_are_kept_and_the_oldest_go_first() {
    let mut recent = RecentContacts::default();
    for number in 0..30 {
        recent.add(&contact(number, u16::try_from(number).unwrap()), CAPACITY);
        let first = (number + 1).saturating_sub(CAPACITY as u64);
        let expected: Vec<u16> = (first..=number).map(|port| u16::try_from(port).unwrap()).collect();
        assert_eq!(ports(&recent), expected);
    }
}

#[test]
fn what_came_of_a_contact_is_noted_while_it_is_kept() {
    let mut recent = RecentContacts::default();
    let (first, second) = (contact(0, 22), contact(1, 80));
    recent.add(&first, CAPACITY);
    recent.add(&second, CAPACITY);
    recent.respond(&response(&second, Outcome::Refused));
    recent.respond(&response(&second, Outcome::Answered));
    recent.respond(&response(&contact(2, 443), Outcome::Answered));
    let outcome = |port| recent.iter().find(|(of, _)| of.port == port).map(|(_, contact)| contact.outcome);
    assert_eq!((outcome(22), outcome(80)), (Some(None), Some(Some(Outcome::Answered))));
    assert_eq!(outcome(443), None, "an answer to what is not kept adds nothing");
}

#[test]
fn contacts_of_all_sources_together_are_bounded() {
    for sources in [0, 1, 200, 1000, 1_000_000] {
        let capacity = RecentContacts::capacity(sources);
        assert!((1..=MOST_CONTACTS).contains(&capacity));
        assert!(capacity * sources <= ALL_CONTACTS || capacity == 1, "{sources}");
    }
}
