//! The pipeline as a specification: drains in, intervals out.

use std::net::{IpAddr, Ipv4Addr};

use sensor_common::packet::Marks;

use super::*;
use crate::{
    flow::{Flow, FlowId, Protocol},
    interval::SourceInterval,
};

const SECOND: u64 = 1_000_000_000;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

fn external(host: u32) -> IpAddr {
    Ipv4Addr::from(0xcb00_7100 + host).into()
}

fn flow(protocol: Protocol, from: (IpAddr, u16), to: (IpAddr, u16), marks: Marks) -> Flow {
    let id = FlowId { src: from.0, dst: to.0, dst_port: to.1, protocol };
    Flow { id, src_port: from.1, packets: 1, bytes: 100, marks, first_seen: Timestamp::default() }
}

fn syn(to: u32) -> Flow {
    flow(Protocol::TCP, (LOCAL, 40000), (external(to), 443), Marks::SYN)
}

/// A pipeline fed with drains of a second from second 1000 on.
struct Feed {
    pipeline: Pipeline,
    second: u64,
}

impl Feed {
    fn new() -> Self {
        Self { pipeline: Pipeline::new(&Config::default()), second: 1000 }
    }

    fn drain(&mut self, flows: Vec<Flow>) -> Vec<Interval> {
        self.long_drain(1, flows)
    }

    fn long_drain(&mut self, seconds: u64, flows: Vec<Flow>) -> Vec<Interval> {
        let start = Timestamp(self.second * SECOND);
        self.second += seconds;
        let stamped =
            flows.into_iter().zip(0..).map(|(flow, n)| Flow { first_seen: Timestamp(start.0 + n), ..flow });
        let flows: Vec<Flow> = stamped.collect();
        let packets = flows.iter().map(|flow| flow.packets).sum();
        let frames = vec![FrameCounts { seen: packets, counted: packets, ..FrameCounts::default() }];
        self.pipeline.feed(&Drain { start, end: Timestamp(self.second * SECOND), flows, frames }).intervals
    }

    /// Whole intervals, `new` connections in each.
    fn intervals(&mut self, new: &[u32]) -> Vec<SourceInterval> {
        let mut next = 0;
        let mut rows = Vec::new();
        for &count in new {
            let flows = (next..next + count).map(syn).chain([flow(
                Protocol::TCP,
                (external(0), 443),
                (LOCAL, 40000),
                Marks::OTHER,
            )]);
            next += count;
            let mut closed = self.drain(flows.collect());
            (1..10).for_each(|_| closed.extend(self.drain(Vec::new())));
            assert_eq!(closed.len(), 1, "ten drains of a second make an interval");
            rows.extend(closed.remove(0).sources.into_iter().find(|row| row.source == LOCAL));
        }
        rows
    }
}

#[test]
fn intervals_end_at_whole_periods_of_the_wall_clock() {
    let mut feed = Feed { second: 1003, ..Feed::new() };
    let closed: Vec<Interval> = (0..17).flat_map(|_| feed.drain(vec![syn(1)])).collect();
    let bounds: Vec<(u64, u64)> =
        closed.iter().map(|interval| (interval.start.0 / SECOND, interval.end.0 / SECOND)).collect();
    assert_eq!(bounds, [(1003, 1010), (1010, 1020)]);
    assert_eq!(closed[1].frames[0].seen, 10);
}

#[test]
fn finishing_closes_the_interval_under_way_and_only_that() {
    let mut feed = Feed::new();
    feed.drain(vec![syn(1)]);
    let intervals = feed.pipeline.finish().intervals;
    assert_eq!((intervals.len(), intervals[0].sources[0].new_connections), (1, 1));
    assert!(feed.pipeline.finish().intervals.is_empty());
}

#[test]
fn mean_and_sample_variance_are_those_of_the_counts_per_interval() {
    let rows = Feed::new().intervals(&[2, 4, 9]);
    assert_eq!(rows.iter().map(|row| row.new_connections).collect::<Vec<_>>(), [2, 4, 9]);
    assert_eq!((rows[0].mean, rows[0].variance), (Some(2.0), None));
    assert_eq!((rows[1].mean, rows[1].variance), (Some(3.0), Some(2.0)));
    assert_eq!((rows[2].mean, rows[2].variance), (Some(5.0), Some(13.0)));
    assert_eq!(rows[2].dispersion(), Some(2.6));
}

#[test]
fn a_drain_that_took_longer_than_an_interval_counts_by_its_measured_length() {
    let mut feed = Feed::new();
    feed.intervals(&[5]);
    let late = feed.long_drain(40, (100..140).map(syn).collect()).remove(0);
    assert_eq!((late.seconds, late.sources[0].new_connections), (40.0, 40));
    assert_eq!(late.sources[0].mean, Some(7.5), "40 in 40 s are 10 per interval, beside 5 before");
}

#[test]
fn a_server_that_answers_five_thousand_strangers_opens_nothing() {
    for (protocol, port) in [(Protocol::TCP, 443), (Protocol::UDP, 27015)] {
        let mut feed = Feed::new();
        let mut rows = Vec::new();
        for batch in 0..100 {
            let clients = batch * 50..(batch + 1) * 50;
            let there = clients
                .clone()
                .map(|host| flow(protocol, (external(host), 50000), (LOCAL, port), Marks::SYN));
            let mut closed = feed.drain(there.collect());
            let back =
                clients.map(|host| flow(protocol, (LOCAL, port), (external(host), 50000), Marks::SYN_ACK));
            closed.extend(feed.drain(back.collect()));
            rows.extend(closed.into_iter().flat_map(|interval| interval.sources));
        }
        assert!(
            rows.iter().map(|row| row.packets_out).sum::<u64>() >= 4900,
            "the answers are counted as traffic"
        );
        let opened: u64 =
            rows.iter().map(|row| row.new_connections + row.mid_stream + row.active_trifectas).sum();
        assert_eq!(opened, 0, "{protocol}");
    }
}

#[test]
fn trifectas_and_their_packets_are_merged_over_the_drains_of_an_interval() {
    let mut feed = Feed::new();
    let sent = |to, packets| Flow { packets, ..syn(to) };
    let mut closed = feed.drain(vec![sent(1, 1), sent(2, 5)]);
    closed.extend(feed.drain(vec![sent(1, 2), sent(3, 1)]));
    (2..10).for_each(|_| closed.extend(feed.drain(Vec::new())));
    let row = &closed[0].sources[0];
    assert_eq!((row.new_connections, row.active_trifectas), (3, 3));
    // 3, 5 and 1 packets: mean 3, squares 0 + 4 + 4.
    assert_eq!(row.trifecta_packets_variance, Some(8.0 / 3.0));
    let next: Vec<Interval> = (0..10).flat_map(|_| feed.drain(vec![sent(1, 1)])).collect();
    assert_eq!((next[0].sources[0].new_connections, next[0].sources[0].active_trifectas), (0, 1));
}

#[test]
fn ignored_ports_are_left_out_of_the_literal_statistics_and_of_nothing_else() {
    let config = Config { ignored_ports: vec![443], ..Config::default() };
    let mut feed = Feed { pipeline: Pipeline::new(&config), ..Feed::new() };
    let dns = flow(Protocol::UDP, (LOCAL, 40000), (external(9), 53), Marks::OTHER);
    let closed: Vec<Interval> = (0..10).flat_map(|_| feed.drain(vec![syn(1), syn(2), dns])).collect();
    let row = &closed[0].sources[0];
    assert_eq!((row.new_connections, row.active_trifectas), (3, 1));
    assert_eq!(row.trifecta_packets_variance, Some(0.0));
}

#[test]
fn answers_count_for_the_interval_in_which_the_connection_opened() {
    let mut feed = Feed::new();
    let answer = |host, marks| flow(Protocol::TCP, (external(host), 443), (LOCAL, 40000), marks);
    feed.drain(vec![syn(1), syn(2), syn(3), syn(4)]);
    feed.drain(vec![answer(1, Marks::SYN_ACK), answer(2, Marks::RST)]);
    feed.drain(vec![answer(2, Marks::SYN_ACK), answer(3, Marks::RST)]);
    let closed: Vec<Interval> = (3..10).flat_map(|_| feed.drain(Vec::new())).collect();
    let row = &closed[0].sources[0];
    assert_eq!((row.answered, row.refused, row.unanswered_ratio()), (2, 1, Some(0.5)));
    let late: Vec<Interval> = (0..10).flat_map(|_| feed.drain(vec![answer(4, Marks::SYN_ACK)])).collect();
    assert_eq!(late[0].sources[0].answered, 0);
}

#[test]
fn a_source_is_forgotten_after_a_silent_window() {
    let mut feed = Feed::new();
    feed.intervals(&[1]);
    let silent: Vec<Interval> = (0..310).flat_map(|_| feed.drain(Vec::new())).collect();
    assert_eq!(silent.iter().filter(|interval| !interval.sources.is_empty()).count(), 30);
    assert_eq!(feed.pipeline.source_use().0, 0);
}

#[test]
fn a_source_takes_less_than_two_kilobytes() {
    let bytes = Pipeline::new(&Config::default()).bytes_per_source();
    assert!(bytes < 2_000, "{bytes}");
}
