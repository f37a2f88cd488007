//! What the drains of a capture hold, and where they are cut.

use std::{collections::HashMap, convert::Infallible};

use proptest::prelude::*;
use sensor_common::{
    frame::CapturedFrame,
    packet::Marks,
    parse::{Decapsulate, Link, parse},
    reason::Ignored,
};

use super::*;
use crate::{
    capture::file::builder::{arp, fragments, tcp, udp, unreachable, vxlan},
    flow::FlowId,
};

const SECOND: u64 = 1_000_000_000;
/// A whole number of intervals after the epoch.
const START: u64 = 1_700_000_000 * SECOND;

/// Every drain of these frames.
fn drains(config: &Config, frames: &[(u64, Vec<u8>)]) -> Vec<Drain> {
    drains_of(Replay::new(config), frames)
}

fn drains_of(mut replay: Replay, frames: &[(u64, Vec<u8>)]) -> Vec<Drain> {
    let mut drains = Vec::new();
    let mut feed = |drain: &Drain| {
        drains.push(drain.clone());
        Ok::<_, Infallible>(())
    };
    for (time, bytes) in frames {
        let frame = CapturedFrame::whole(bytes);
        let Ok(()) =
            replay.push(&TimedFrame { time: Timestamp(*time), link: Link::Ethernet, frame }, &mut feed);
    }
    let Ok(()) = replay.finish(&mut feed);
    drains
}

/// The laws of every list of drains: they follow each other without a gap, and account for every frame.
fn check_laws(drains: &[Drain], frames: usize) {
    for pair in drains.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
    let mut total = FrameCounts::default();
    for drain in drains {
        assert!(drain.start <= drain.end, "{drain:?}");
        assert_eq!(drain.flows.iter().map(|flow| flow.packets).sum::<u64>(), drain.frames[0].counted);
        for flow in &drain.flows {
            assert!(drain.start <= flow.first_seen && flow.first_seen <= drain.end, "{drain:?}");
        }
        drain.frames.iter().for_each(|counts| total.add(counts));
    }
    assert_eq!((total.seen, total.unaccounted()), (frames as u64, 0));
}

fn periods(drains: &[Drain]) -> Vec<(u64, u64)> {
    drains.iter().map(|drain| (drain.start.0, drain.end.0)).collect()
}

#[test]
fn a_capture_without_frames_has_no_drains() {
    assert!(drains(&Config::default(), &[]).is_empty());
}

#[test]
fn drains_are_cut_at_whole_periods_of_the_clock() {
    let frame = udp("10.0.0.1:1", "192.0.2.1:2");
    let times = [START + 1, START + SECOND - 1, START + SECOND, START + 3 * SECOND + 5];
    let frames = times.map(|time| (time, frame.clone()));
    let drains = drains(&Config::default(), &frames);
    check_laws(&drains, 4);
    let expected: Vec<_> = (0..4).map(|n| (START + n * SECOND, START + (n + 1) * SECOND)).collect();
    assert_eq!(periods(&drains), expected);
    let packets: Vec<_> = drains.iter().map(|drain| drain.frames[0].counted).collect();
    assert_eq!(packets, [2, 1, 0, 1]);
}

#[test]
fn flows_keep_their_first_port_and_time_and_collect_marks() {
    let (syn, ack) = (0x02, 0x10);
    let frames = [
        (START + 7, tcp("10.0.0.1:1000", "192.0.2.1:443", syn)),
        (START + 8, tcp("10.0.0.1:1000", "192.0.2.1:443", ack)),
        (START + 9, tcp("10.0.0.1:2000", "192.0.2.1:80", syn)),
        (START + 10, tcp("10.0.0.1:2001", "192.0.2.1:80", syn)),
    ];
    let drains = drains(&Config::default(), &frames);
    check_laws(&drains, 4);
    let [first, second] = drains[0].flows[..] else { panic!("{drains:?} must hold two flows") };
    assert_eq!((first.src_port, first.id.dst_port, first.packets, first.bytes), (1000, 443, 2, 2 * 54));
    assert_eq!((first.marks, first.first_seen), (Marks::SYN.with(Marks::OTHER), Timestamp(START + 7)));
    assert_eq!((second.src_port, second.id.dst_port, second.packets), (2000, 80, 2));
    assert_eq!((second.marks, second.first_seen), (Marks::SYN.with(Marks::MORE_PORTS), Timestamp(START + 9)));
}

#[test]
fn frames_without_a_flow_are_counted_by_their_reason() {
    let frames =
        [(START, arp()), (START, arp()), (START, vec![0; 5]), (START, udp("10.0.0.1:1", "192.0.2.1:2"))];
    let drains = drains(&Config::default(), &frames);
    check_laws(&drains, 4);
    let counts = drains[0].frames[0];
    assert_eq!(counts.ignored[Ignored::NotIp as usize], 2);
    assert_eq!(counts.ignored[Ignored::Truncated as usize], 1);
    assert_eq!(counts.counted, 1);
}

#[test]
fn an_icmp_error_marks_the_flow_that_it_quotes_and_is_no_frame_of_it() {
    let sent = udp("10.0.0.1:1", "192.0.2.1:2");
    let frames =
        [(START, sent.clone()), (START + 1, unreachable(&sent)), (START + SECOND, unreachable(&sent))];
    let drains = drains(&Config::default(), &frames);
    check_laws(&drains, 3);
    let [known] = drains[0].flows[..] else { panic!("{drains:?} must begin with one flow") };
    assert_eq!((known.packets, known.bytes), (1, sent.len() as u64));
    assert_eq!(known.marks, Marks::OTHER.with(Marks::UNREACHABLE));
    let [alone] = drains[1].flows[..] else { panic!("{drains:?} must end with one flow") };
    assert_eq!((alone.id, alone.src_port, alone.packets, alone.bytes), (known.id, known.src_port, 0, 0));
    assert_eq!((alone.marks, alone.first_seen), (Marks::UNREACHABLE, Timestamp(START + SECOND)));
    assert!(drains.iter().all(|drain| drain.frames[0].ignored[Ignored::NotL4 as usize] == 1), "{drains:?}");
}

/// Frames counted and fragments ignored, of all drains.
fn fragments_counted(frames: &[(u64, Vec<u8>)]) -> (u64, u64) {
    let drains = drains(&Config::default(), frames);
    check_laws(&drains, frames.len());
    let counts =
        |drain: &Drain| (drain.frames[0].counted, drain.frames[0].ignored[Ignored::Fragment as usize]);
    drains.iter().map(counts).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
}

#[test]
fn later_fragments_belong_to_the_flow_of_their_first() {
    let [first, later] = fragments("10.0.0.1:1", "192.0.2.1:2", 7);
    let length = first.len() + later.len();
    let together = [(START, first.clone()), (START + 1, later.clone())];
    let together = drains(&Config::default(), &together);
    let [flow] = together[0].flows[..] else { panic!("{together:?} must hold one flow") };
    assert_eq!((flow.id.dst_port, flow.src_port, flow.packets, flow.bytes), (2, 1, 2, length as u64));
    assert_eq!(flow.marks, Marks::OTHER);
    let apart = drains(&Config::default(), &[(START, first), (START + 30 * SECOND, later)]);
    let alone = apart.last().and_then(|drain| drain.flows.first()).expect("the later one must be in a flow");
    assert_eq!((alone.id, alone.packets, alone.marks), (flow.id, 1, Marks(0)));
}

#[test]
fn a_later_fragment_is_ignored_where_its_first_was_not_seen_shortly_before() {
    let [first, later] = fragments("10.0.0.1:1", "192.0.2.1:2", 7);
    let [_, of_another] = fragments("10.0.0.1:1", "192.0.2.1:2", 8);
    let (after, too_late) = (START + 1, START + 30 * SECOND + 1);
    assert_eq!(
        fragments_counted(&[(START, later.clone()), (after, first.clone())]),
        (1, 1),
        "it came before"
    );
    assert_eq!(fragments_counted(&[(START, first.clone()), (after, of_another)]), (1, 1), "another datagram");
    assert_eq!(fragments_counted(&[(START, first), (too_late, later)]), (1, 1), "too late");
}

#[test]
fn the_memory_of_first_fragments_is_bounded() {
    let capacity = u16::try_from(sensor_common::fragment::CAPACITY).unwrap();
    let datagrams =
        |range: std::ops::RangeInclusive<u16>| range.map(|id| fragments("10.0.0.1:1", "192.0.2.1:2", id));
    let firsts = datagrams(0..=capacity).map(|[first, _]| first);
    let laters = datagrams(0..=capacity).map(|[_, later]| later);
    let frames: Vec<_> = firsts.chain(laters).map(|frame| (START, frame)).collect();
    let (firsts, laters) = (u64::from(capacity) + 1, u64::from(capacity));
    assert_eq!(
        fragments_counted(&frames),
        (firsts + laters, 1),
        "the oldest must be forgotten, and no other"
    );
}

#[test]
fn a_tunnel_that_is_not_opened_counts_as_the_conversation_of_its_ends() {
    let frames = [(START, vxlan(&udp("10.0.0.1:1", "192.0.2.1:2")))];
    let ports = |decapsulate| -> Vec<u16> {
        let config = Config { decapsulate, ..Config::default() };
        drains(&config, &frames)[0].flows.iter().map(|flow| flow.id.dst_port).collect()
    };
    assert_eq!((ports(Decapsulate::ALL), ports(Decapsulate::NONE)), (vec![2], vec![4789]));
}

#[test]
fn time_never_runs_backwards() {
    let frame = udp("10.0.0.1:1", "192.0.2.1:2");
    let times = [START + 5 * SECOND, START, START + 5 * SECOND + 1];
    let mut replay = Replay::new(&Config::default());
    let mut drains = Vec::new();
    for at in times {
        let captured = CapturedFrame::whole(&frame);
        let next = TimedFrame { time: Timestamp(at), link: Link::Ethernet, frame: captured };
        let Ok(()) = replay.push(&next, &mut |drain| {
            drains.push(drain.clone());
            Ok::<_, Infallible>(())
        });
    }
    assert_eq!(replay.take_clamped(), Clamped { frames: 1, most: Duration::from_secs(5) });
    assert_eq!(replay.take_clamped(), Clamped::default());
    assert_eq!(replay.now(), Some(Timestamp(START + 5 * SECOND + 1)));
    assert!(drains.is_empty(), "all three frames must be in the drain of the first: {drains:?}");
}

#[test]
fn years_of_silence_are_passed_in_one_drain_behind_a_full_window() {
    let config = Config { window: 3, ..Config::default() };
    let frame = udp("10.0.0.1:1", "192.0.2.1:2");
    let years = 20 * 365 * 86_400;
    let frames = [(START + SECOND, frame.clone()), (START + (years + 14) * SECOND, frame)];
    let drains = drains(&config, &frames);
    check_laws(&drains, 2);
    let long: Vec<_> = drains.iter().filter(|drain| drain.end.since(drain.start) > config.drain).collect();
    let [long] = long[..] else { panic!("there must be one long drain, not {}", long.len()) };
    assert!(long.flows.is_empty());
    // The silence begins at second 2; 30 s later a window is full, the next interval border is at 40.
    assert_eq!(periods(std::slice::from_ref(long)), [(START + 40 * SECOND, START + (years + 10) * SECOND)]);
    assert_eq!(drains.len(), 39 + 1 + 5);
}

#[test]
fn silence_shorter_than_the_window_is_handed_on_period_by_period() {
    let config = Config { window: 3, ..Config::default() };
    let frame = udp("10.0.0.1:1", "192.0.2.1:2");
    let drains = drains(&config, &[(START, frame.clone()), (START + 39 * SECOND, frame)]);
    check_laws(&drains, 2);
    assert_eq!(drains.len(), 40);
}

#[test]
fn a_flood_of_flows_cuts_the_drain_early_and_loses_nothing() {
    let replay = Replay { max_flows: 10, ..Replay::new(&Config::default()) };
    let frames: Vec<_> =
        (0..25).map(|n| (START + n, udp("10.0.0.1:1", &format!("192.0.2.1:{}", n + 1)))).collect();
    let drains = drains_of(replay, &frames);
    check_laws(&drains, 25);
    assert_eq!(drains.iter().map(|drain| drain.flows.len()).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(drains[2].end, Timestamp(START + SECOND));
}

#[test]
fn the_latest_time_ends_like_any_other() {
    let frame = udp("10.0.0.1:1", "192.0.2.1:2");
    let latest = i64::MAX.cast_unsigned();
    let drains = drains(&Config::default(), &[(0, frame.clone()), (latest, frame.clone()), (latest, frame)]);
    check_laws(&drains, 3);
    assert_eq!(drains.last().map(|drain| drain.frames[0].seen), Some(2));
}

proptest! {
    /// The reference counts every frame of every period in the plainest way.
    #[test]
    fn drains_hold_what_a_plain_recount_finds(
        steps in proptest::collection::vec(
            (0_u64..3 * SECOND, 0_u8..3, 0_u16..4, 0_u16..3, any::<bool>()),
            1..200,
        ),
        drain_millis in prop::sample::select(vec![100_u64, 500, 1000, 2000]),
    ) {
        let config = Config { drain: Duration::from_millis(drain_millis), ..Config::default() };
        let mut time = START;
        let mut frames = Vec::new();
        let mut expected: HashMap<(u64, FlowId), (u64, u64, u64, u16)> = HashMap::new();
        for (step, host, port, src_port, is_tcp) in steps {
            time += step;
            let (src, dst) = (format!("10.0.0.{host}:{}", 1000 + src_port), format!("192.0.2.1:{}", 1 + port));
            let bytes = if is_tcp { tcp(&src, &dst, 0x02) } else { udp(&src, &dst) };
            let parsed = parse(&CapturedFrame::whole(&bytes), Link::Ethernet, Decapsulate::ALL).expect("the frame must be read");
            let (id, src_port) = FlowId::of(&parsed.key);
            let period = Timestamp(time).period_end(config.drain).0;
            let entry = expected.entry((period, id)).or_insert((0, 0, time, src_port));
            entry.0 += 1;
            entry.1 += bytes.len() as u64;
            frames.push((time, bytes));
        }
        let drains = drains(&config, &frames);
        check_laws(&drains, frames.len());
        let mut found = HashMap::new();
        for drain in &drains {
            for flow in &drain.flows {
                let counts = (flow.packets, flow.bytes, flow.first_seen.0, flow.src_port);
                prop_assert!(found.insert((drain.end.0, flow.id), counts).is_none(), "a flow came twice in a drain");
            }
        }
        prop_assert_eq!(found, expected);
    }
}
