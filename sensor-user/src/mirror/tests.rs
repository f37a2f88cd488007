//! What is said of mirrors, sound and wrong.

use proptest::prelude::*;
use sensor_common::{packet::Marks, reason::Lost};

use super::*;
use crate::{
    config::Config,
    flow::{FlowId, FrameCounts, Protocol},
    orient::Orientation,
};

const SYN_ON: Marks = Marks::SYN.with(Marks::OTHER);
const SYN_ACK_ON: Marks = Marks::SYN_ACK.with(Marks::OTHER);

/// A mirror watched through orientation, drains of a second from second 1000 on.
struct World {
    mirror: Mirror,
    orientation: Orientation,
    second: u64,
}

fn world() -> World {
    World { mirror: Mirror::default(), orientation: Orientation::new(&Config::default()), second: 1000 }
}

fn flow(from: (u32, u16), to: (u32, u16), marks: Marks, packets: u64) -> Flow {
    let [src, dst] = [from.0, to.0].map(|address| IpAddr::from(address.to_be_bytes()));
    let id = FlowId { src, dst, dst_port: to.1, protocol: Protocol::TCP };
    Flow { id, src_port: from.1, packets, bytes: packets * 400, marks, first_seen: Timestamp::default() }
}

/// What both ends of connection `number` send: the first its client, the second its server. Lengths vary.
fn connection(number: u32) -> [Flow; 2] {
    let client = (0x0a00_0000 + number % 17, 40_000 + u16::try_from(number % 20_000).unwrap());
    let server = (0x2d00_0000 + number % 29, 443);
    let (sent, received) = (u64::from(3 + number % 7), u64::from(2 + number % 11));
    [flow(client, server, SYN_ON, sent), flow(server, client, SYN_ACK_ON, received)]
}

impl World {
    fn drain_with(&mut self, flows: Vec<Flow>, frames: Vec<FrameCounts>) {
        let (start, end) = (Timestamp::from_secs(self.second), Timestamp::from_secs(self.second + 1));
        self.second += 1;
        let flows = flows.into_iter().map(|flow| Flow { first_seen: start, ..flow }).collect();
        let drain = Drain { start, end, flows, frames };
        let oriented = self.orientation.orient(&drain);
        self.mirror.take(&drain, &oriented.observations);
    }

    fn drain(&mut self, flows: Vec<Flow>) {
        let packets = flows.iter().map(|flow| flow.packets).sum();
        self.drain_with(flows, vec![FrameCounts { seen: packets, counted: packets, ..Default::default() }]);
    }

    /// `seconds` drains of ten connections each, of which `shown` says what arrives.
    fn watch(&mut self, seconds: u32, shown: impl Fn(u32, [Flow; 2]) -> Vec<Flow>) {
        for _ in 0..seconds {
            let first = u32::try_from(self.second).unwrap() * 10;
            let flows = (first..first + 10).flat_map(|number| shown(number, connection(number)));
            self.drain(flows.collect());
        }
    }

    fn problems(&self) -> Vec<Problem> {
        self.mirror.diagnoses().iter().map(|diagnosis| diagnosis.problem).collect()
    }
}

/// What is found after a minute of `shown`.
fn minute(shown: impl Fn(u32, [Flow; 2]) -> Vec<Flow>) -> Vec<Problem> {
    let mut world = world();
    world.watch(61, shown);
    world.problems()
}

#[test]
fn a_sound_mirror_has_no_problem() {
    assert_eq!(minute(|_, both| both.to_vec()), []);
}

#[test]
fn a_mirror_of_one_direction_is_one_way_whichever_it_is() {
    assert_eq!(minute(|_, [client, _]| vec![client]), [Problem::OneWay]);
    assert_eq!(minute(|_, [_, server]| vec![server]), [Problem::OneWay]);
    // Of a host that opens connections and is connected to.
    assert_eq!(minute(|number, both| vec![both[number as usize % 2]]), [Problem::OneWay]);
}

#[test]
fn a_mirror_that_lacks_the_answers_of_some_links_is_partly_one_way() {
    let shown = |number: u32, [client, server]: [Flow; 2]| match number % 29 {
        0..12 => vec![client],
        _ => vec![client, server],
    };
    assert_eq!(minute(shown), [Problem::PartlyOneWay]);
}

#[test]
fn a_tap_with_a_port_for_each_direction_is_sound() {
    let mut world = world();
    for second in 0..61 {
        let flows: Vec<Flow> = (second * 10..second * 10 + 10).flat_map(connection).collect();
        let half = FrameCounts { seen: 50, counted: 50, ..Default::default() };
        world.drain_with(flows, vec![half, half]);
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn openings_that_nobody_answered_say_nothing_of_the_mirror() {
    let scan = |number: u32, [client, _]: [Flow; 2]| {
        vec![Flow { marks: Marks::SYN, packets: u64::from(1 + number % 2), ..client }]
    };
    assert_eq!(minute(scan), []);
    let flood = |number: u32, [client, _]: [Flow; 2]| {
        vec![Flow { marks: Marks::OTHER, packets: u64::from(1 + number % 2), ..client }]
    };
    assert_eq!(minute(flood), []);
}

#[test]
fn one_pair_of_hosts_is_not_taken_for_the_mirror() {
    let shown = |number, _| {
        let client = (0x0a00_0001, 40_000 + u16::try_from(number % 20_000).unwrap());
        vec![flow(client, (0x2d00_0001, 443), SYN_ON, u64::from(3 + number % 7))]
    };
    assert_eq!(minute(shown), []);
}

#[test]
fn syn_acks_that_did_not_come_say_that_the_mirror_drops_frames() {
    let lossy = |number: u32, [client, server]: [Flow; 2]| match number % 20 {
        0 => vec![client, Flow { marks: Marks::OTHER, ..server }],
        _ => vec![client, server],
    };
    let mut world = world();
    world.watch(61, lossy);
    assert_eq!(world.problems(), [Problem::MissingFrames]);
    let evidence = &world.mirror.diagnoses()[0].evidence;
    assert!(evidence.contains("(5 %)"), "{evidence}");
}

#[test]
fn frames_that_the_sensor_itself_lost_are_not_blamed_on_the_mirror() {
    let mut world = world();
    for second in 0..61 {
        let flows = (second * 10..second * 10 + 10).flat_map(|number| {
            let [client, server] = connection(number);
            [client, Flow { marks: Marks::OTHER, ..server }]
        });
        let mut frames = FrameCounts { seen: 100, counted: 99, ..Default::default() };
        frames.lost[Lost::MapFull as usize] = 1;
        world.drain_with(flows.collect(), vec![frames]);
    }
    assert_eq!(world.problems(), []);
}

#[test]
fn double_frames_are_noticed_and_even_ones_of_one_kind_are_not() {
    let double = |flow: Flow| Flow { packets: 2 * flow.packets, bytes: 2 * flow.bytes, ..flow };
    assert_eq!(minute(|_, both| both.map(double).to_vec()), [Problem::DuplicatedFrames]);
    // A poller: six frames there, four back, for ever the same.
    let poller =
        |_, [client, server]: [Flow; 2]| vec![Flow { packets: 6, ..client }, Flow { packets: 4, ..server }];
    assert_eq!(minute(poller), []);
}

#[test]
fn frames_longer_than_the_wire_allows_were_joined() {
    let long = |_, both: [Flow; 2]| both.map(|flow| Flow { bytes: flow.packets * 4000, ..flow }).to_vec();
    assert_eq!(minute(long), [], "jumbo frames are, where the MTU is not known");
    let mut world = world();
    world.mirror.set_mtu(1500);
    world.watch(60, long);
    assert_eq!(world.problems(), [Problem::JoinedFrames]);
    world.watch(30, |_, both| both.to_vec());
    assert_eq!(world.problems(), [], "it is over when the frames are no longer joined");
}

#[test]
fn conversations_of_strangers_say_that_the_local_networks_are_wrong() {
    let shown = |_, both: [Flow; 2]| {
        let outside = |address: IpAddr| match address {
            IpAddr::V4(v4) if v4.octets()[0] == 10 => IpAddr::from([192, 0, 2, v4.octets()[3]]),
            other => other,
        };
        let moved = both.map(|flow| {
            let id = FlowId { src: outside(flow.id.src), dst: outside(flow.id.dst), ..flow.id };
            Flow { id, ..flow }
        });
        moved.to_vec()
    };
    assert_eq!(minute(shown), [Problem::Transit]);
}

#[test]
fn chatter_on_the_link_is_no_transit() {
    let shown = |number: u32, _| {
        let src = format!("fe80::{:x}", number % 40 + 1).parse().unwrap();
        let id = FlowId { src, dst: "ff02::fb".parse().unwrap(), dst_port: 5353, protocol: Protocol::UDP };
        vec![Flow { id, ..flow((0, 5353), (0, 0), Marks::OTHER, 1) }]
    };
    assert_eq!(minute(shown), []);
}

#[test]
fn an_interface_without_a_frame_for_a_minute_is_silent_until_the_next_frame() {
    let mut world = world();
    let frames = |seen| FrameCounts { seen, counted: seen, ..Default::default() };
    for _ in 0..59 {
        world.drain_with(Vec::new(), vec![frames(1), frames(0)]);
    }
    assert_eq!(world.problems(), []);
    world.drain_with(Vec::new(), vec![frames(1), frames(0)]);
    assert_eq!(world.problems(), [Problem::Silent]);
    assert_eq!(world.mirror.diagnoses()[0].interface, Some(1));
    world.drain_with(Vec::new(), vec![frames(1), frames(1)]);
    assert_eq!(world.problems(), []);
}

#[test]
fn what_is_not_proved_again_in_ten_minutes_no_longer_holds() {
    let mut world = world();
    world.watch(31, |_, [client, _]| vec![client]);
    assert_eq!(world.problems(), [Problem::OneWay]);
    for _ in 0..598 {
        world.drain_with(Vec::new(), vec![FrameCounts { seen: 1, counted: 1, ..Default::default() }]);
    }
    assert_eq!(world.problems(), [Problem::OneWay]);
    world.drain_with(Vec::new(), vec![FrameCounts { seen: 1, counted: 1, ..Default::default() }]);
    assert_eq!(world.problems(), []);
}

proptest! {
    /// Whatever is lost, a mirror that shows single frames of both directions is never called one-way or
    /// doubled.
    #[test]
    fn loss_is_not_taken_for_a_missing_direction(
        lost in proptest::collection::vec(0_u64..4, 300),
        extra in proptest::collection::vec(0_u64..30, 300),
    ) {
        let problems = minute(|number, both| {
            let at = number as usize % 300;
            let [client, server] = both;
            let client = Flow { packets: client.packets + extra[at], ..client };
            let marks = if lost[at] == 0 { Marks::OTHER } else { SYN_ACK_ON };
            let packets = (server.packets + extra[at] + 1).saturating_sub(lost[at]).max(1);
            vec![client, Flow { packets, marks, ..server }]
        });
        for wrong in [Problem::OneWay, Problem::PartlyOneWay, Problem::DuplicatedFrames] {
            prop_assert!(!problems.contains(&wrong), "{problems:?}");
        }
    }
}
