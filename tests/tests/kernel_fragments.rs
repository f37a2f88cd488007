//! Fragments in the kernel: later ones belong to the flow of their first, on whatever CPU they arrive.

use std::{collections::BTreeMap, convert::Infallible, thread, time::Duration};

use anyhow::{Result, ensure};
use sensor_common::{
    frame::CapturedFrame,
    packet::{Marks, UDP},
    parse::Link,
    reason::Ignored,
};
use sensor_tests::{
    require_root,
    sender::{Sender, pin_to_cpu, require_cpus},
    topology::{Cable, MIRROR},
};
use sensor_user::{
    capture::{file::TimedFrame, live::Live, replay::Replay},
    clock::Timestamp,
    config::{Config, MirrorAction},
    flow::{Drain, FlowId, FrameCounts},
};

#[expect(dead_code, reason = "the parser's own tests use the rest")]
#[path = "../../sensor-common/tests/parse/frames.rs"]
mod frames;
use frames::{IPV4, IPV6, ethernet, fragment, ipv4_with, ipv6, udp};

/// Packets, bytes and marks of each flow, and what became of the frames.
type Counted = (BTreeMap<FlowId, (u64, u64, Marks)>, FrameCounts);

fn add((flows, frames): &mut Counted, drain: &Drain) {
    for flow in &drain.flows {
        let (packets, bytes, marks) = flows.entry(flow.id).or_default();
        *packets += flow.packets;
        *bytes += flow.bytes;
        *marks = marks.with(flow.marks);
    }
    drain.frames.iter().for_each(|counts| frames.add(counts));
}

/// First fragments, then later ones of the same datagrams, and of others.
fn batches() -> [Vec<Vec<u8>>; 2] {
    let first4 = ethernet(IPV4, &ipv4_with(UDP, &[], 0x2000, &udp(b"datagram")));
    let first6 = ethernet(IPV6, &ipv6(44, &fragment(UDP, 1, &udp(b"datagram"))));
    let later4 = |offset| ethernet(IPV4, &ipv4_with(UDP, &[], offset, b"more of it"));
    let later6 = |offset: u16| ethernet(IPV6, &ipv6(44, &fragment(UDP, offset << 3, b"more of it")));
    let mut stranger = later4(2);
    stranger[14 + 4] ^= 1;
    [vec![first4, first6], vec![later4(2), later4(9), later6(2), stranger]]
}

#[test]
fn later_fragments_count_for_the_flow_of_their_first_as_in_replay() -> Result<()> {
    require_root()?;
    require_cpus(2)?;
    let cable = Cable::new()?;
    let config = Config {
        interfaces: vec![MIRROR.to_owned()],
        mirror_action: MirrorAction::Drop,
        ..Config::default()
    };
    let mut counted = Counted::default();
    cable.sensor.inside(|| {
        let mut live = Live::open(&config)?;
        for (cpu, frames) in batches().into_iter().enumerate() {
            cable.sender.inside(|| {
                pin_to_cpu(cpu)?;
                Sender::open(Cable::OUT)?.send(&frames).map(drop)
            })?;
            thread::sleep(Duration::from_millis(200));
            add(&mut counted, &live.drain()?);
        }
        add(&mut counted, &live.close()?);
        Ok(())
    })?;
    let (flows, frames) = &counted;
    ensure!((frames.seen, frames.counted, frames.unaccounted()) == (6, 5, 0), "{frames:?}");
    ensure!(frames.ignored[Ignored::Fragment as usize] == 1, "{frames:?}");
    let packets: Vec<u64> = flows.values().map(|(packets, ..)| *packets).collect();
    ensure!(packets == [3, 2], "{flows:?}");

    let mut replayed = Counted::default();
    let mut replay = Replay::new(&config);
    let mut feed = |drain: &Drain| {
        add(&mut replayed, drain);
        Ok::<_, Infallible>(())
    };
    for bytes in batches().iter().flatten() {
        let frame = CapturedFrame::whole(bytes);
        let Ok(()) = replay.push(&TimedFrame { time: Timestamp(1), link: Link::Ethernet, frame }, &mut feed);
    }
    let Ok(()) = replay.finish(&mut feed);
    ensure!(counted == replayed, "{counted:?} live, {replayed:?} in replay");
    Ok(())
}
