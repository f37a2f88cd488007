//! The flow table, drained in this process: every trifecta has the count that was sent, also when the table
//! is too small for all of them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use sensor_common::{
    parse::{Decapsulate, Link, parse},
    reason::Lost,
};
use sensor_tests::{
    packet::{Segment, frame},
    require_root,
    sender::{Sender, pin_to_cpu, require_cpus},
    topology::{Cable, MIRROR},
};
use sensor_user::{
    capture::live::Live,
    config::{Capacity, Config, MirrorAction},
    flow::{Drain, FlowId, FrameCounts},
    observation::Observation,
    orient::Orientation,
};

/// Frames and bytes of each flow, summed over drains.
#[derive(Default)]
struct Sums {
    flows: HashMap<FlowId, (u64, u64)>,
    frames: FrameCounts,
}

impl Sums {
    fn add(&mut self, drain: &Drain) {
        for flow in &drain.flows {
            let (packets, bytes) = self.flows.entry(flow.id).or_default();
            *packets += flow.packets;
            *bytes += flow.bytes;
        }
        drain.frames.iter().for_each(|frames| self.frames.add(frames));
    }
}

fn config(capacity: Capacity) -> Config {
    Config {
        interfaces: vec![MIRROR.to_owned()],
        mirror_action: MirrorAction::Drop,
        capacity,
        ..Config::default()
    }
}

/// The frames of one trifecta each: IPv4 and IPv6, TCP and UDP in turn.
fn frames(count: u32) -> Vec<(FlowId, Vec<u8>)> {
    let address = |number: u32| -> (IpAddr, IpAddr) {
        if number % 4 == 3 {
            let suffix = u128::from(number);
            (
                Ipv6Addr::from(0xfd00_u128 << 112 | 5).into(),
                Ipv6Addr::from(0x2001_0db8_u128 << 96 | suffix).into(),
            )
        } else {
            (Ipv4Addr::new(10, 0, 0, 5).into(), Ipv4Addr::from(0x5db8_0000 + number).into())
        }
    };
    let build = |number| {
        let (src, dst) = address(number);
        let (port, segment) =
            (1024 + (number % 60_000) as u16, if number % 2 == 0 { Segment::Syn } else { Segment::Datagram });
        let bytes = frame(SocketAddr::new(src, 40_000), SocketAddr::new(dst, port), segment, &[]);
        let (id, _) = FlowId::of(&parsed(&bytes));
        (id, bytes)
    };
    (0..count).map(build).collect()
}

fn parsed(bytes: &[u8]) -> sensor_common::packet::FlowKey {
    let frame = sensor_common::frame::CapturedFrame::whole(bytes);
    parse(&frame, Link::Ethernet, Decapsulate::ALL).expect("a built frame must parse").key
}

/// Two CPUs send the same trifectas, the second one each twice, while the table is drained all the time.
#[test]
fn every_trifecta_has_the_count_that_was_sent_whatever_cpu_and_drain_it_fell_into() -> Result<()> {
    require_root()?;
    require_cpus(2)?;
    let cable = Cable::new()?;
    let built = frames(100_000);
    let once: Vec<&[u8]> = built.iter().map(|(_, bytes)| &bytes[..]).collect();
    let twice: Vec<&[u8]> = once.iter().flat_map(|&bytes| [bytes, bytes]).collect();
    let (stop, rounds) = (AtomicBool::new(false), [AtomicU64::new(0), AtomicU64::new(0)]);
    let sums = cable.sensor.inside(|| {
        let mut live = Live::open(&config(Capacity::default()))?;
        let mut sums = Sums::default();
        let mut drains = 0u32;
        thread::scope(|scope| -> Result<()> {
            for (cpu, frames) in [&once, &twice].into_iter().enumerate() {
                let (cable, stop, rounds) = (&cable, &stop, &rounds[cpu]);
                scope.spawn(move || flood(cable, cpu, frames, stop, rounds));
            }
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(10) {
                sums.add(&live.drain()?);
                drains += 1;
                thread::sleep(Duration::from_millis(50));
            }
            stop.store(true, Ordering::Relaxed);
            Ok(())
        })?;
        thread::sleep(Duration::from_millis(100));
        sums.add(&live.close()?);
        eprintln!("{} frames in {} trifectas over {drains} drains", sums.frames.seen, sums.flows.len());
        Ok(sums)
    })?;
    let per_trifecta = rounds[0].load(Ordering::Relaxed) + 2 * rounds[1].load(Ordering::Relaxed);
    ensure!(sums.frames.unaccounted() == 0 && sums.frames.lost() == 0, "{:?}", sums.frames);
    ensure!(
        sums.frames.counted == per_trifecta * built.len() as u64,
        "{:?}, sent {per_trifecta} of each",
        sums.frames
    );
    for (id, bytes) in &built {
        let expected = (per_trifecta, per_trifecta * bytes.len() as u64);
        ensure!(sums.flows.get(id) == Some(&expected), "{id:?}: {:?}, sent {expected:?}", sums.flows.get(id));
    }
    ensure!(sums.flows.len() == built.len(), "{} trifectas counted", sums.flows.len());
    Ok(())
}

fn flood(cable: &Cable, cpu: usize, frames: &[&[u8]], stop: &AtomicBool, rounds: &AtomicU64) -> Result<()> {
    cable.sender.inside(|| {
        pin_to_cpu(cpu)?;
        let sender = Sender::open(Cable::OUT)?;
        while !stop.load(Ordering::Relaxed) {
            sender.send(frames)?;
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    })
}

/// A table that is full loses frames of new flows, says so, and goes on counting the flows it has.
#[test]
fn a_full_table_loses_new_flows_loudly_and_keeps_the_known_ones_exact() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let built = frames(50_000);
    let all: Vec<&[u8]> = built.iter().map(|(_, bytes)| &bytes[..]).collect();
    let sums = cable.sensor.inside(|| {
        let mut live =
            Live::open(&config(Capacity { ipv4_flows: 1024, ipv6_flows: 1024, ..Capacity::default() }))?;
        cable.sender.inside(|| {
            pin_to_cpu(0)?;
            let sender = Sender::open(Cable::OUT)?;
            // Whoever is there first keeps its place, however often the flood comes back.
            sender.send(&all[..500])?;
            (0..3).try_for_each(|_| sender.send(&all).map(drop))
        })?;
        ensure!(live.pressure() > 0.9, "the table must know that it is full: {}", live.pressure());
        let mut sums = Sums::default();
        sums.add(&live.drain()?);
        sums.add(&live.close()?);
        Ok(sums)
    })?;
    let frames = &sums.frames;
    ensure!(frames.seen == 150_500 && frames.unaccounted() == 0, "{frames:?}");
    ensure!(frames.lost[Lost::MapFull as usize] > 100_000, "{frames:?}");
    for (id, _) in &built[..500] {
        ensure!(
            sums.flows.get(id).is_some_and(|(packets, _)| *packets == 4),
            "{id:?}: {:?}",
            sums.flows.get(id)
        );
    }
    Ok(())
}

/// A tap delivers each direction on a port of its own: the two ports are one conversation.
#[test]
fn the_directions_of_a_conversation_may_come_on_two_ports() -> Result<()> {
    const SECOND: &str = "mirror2";
    require_root()?;
    let cable = Cable::new()?;
    cable.sender.cable("out2", &cable.sensor, SECOND)?;
    let (client, server) =
        (SocketAddr::from(([10, 0, 0, 5], 40_000)), SocketAddr::from(([93, 184, 1, 1], 6881)));
    let config =
        Config { interfaces: vec![MIRROR.to_owned(), SECOND.to_owned()], ..config(Capacity::default()) };
    let (drain, oriented) = cable.sensor.inside(|| {
        let live = Live::open(&config)?;
        cable.sender.inside(|| {
            Sender::open(Cable::OUT)?.send(&[frame(client, server, Segment::Datagram, &[])])?;
            Sender::open("out2")?.send(&[frame(server, client, Segment::Datagram, &[])])
        })?;
        thread::sleep(Duration::from_millis(100));
        let drain = live.close()?;
        let mut orientation = Orientation::new(&config);
        let observations = orientation.orient(&drain).observations.clone();
        Ok((drain, observations))
    })?;
    ensure!(drain.frames.iter().map(|frames| frames.counted).eq([1, 1]), "{:?}", drain.frames);
    let [Observation::Contact(contact), Observation::Response(response)] = oriented[..] else {
        bail!("{oriented:?}");
    };
    ensure!(
        contact.trifecta.initiator == client.ip() && response.trifecta == contact.trifecta,
        "{oriented:?}"
    );
    Ok(())
}

/// Frames in several buffers: the program for them reads headers from the first and counts the whole length.
#[test]
fn jumbo_frames_are_counted_natively_with_their_length_on_the_wire() -> Result<()> {
    const LENGTH: usize = 8000;
    require_root()?;
    let cable = Cable::new()?;
    cable.sender.run(&format!("ip link set {} mtu 9000", Cable::OUT))?;
    cable.sensor.run(&format!("ip link set {MIRROR} mtu 9000"))?;
    let src = SocketAddr::from(([10, 0, 0, 5], 40_000));
    let dst = SocketAddr::from(([93, 184, 1, 1], 6881));
    let bytes = frame(src, dst, Segment::Datagram, &[0; LENGTH]);
    let sums = cable.sensor.inside(|| {
        let live = Live::open(&config(Capacity::default()))?;
        ensure!(live.status()[0].mode.is_some_and(|mode| mode.name() == "native"), "{:?}", live.status());
        cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&[&bytes[..]]).map(drop))?;
        thread::sleep(Duration::from_millis(100));
        let mut sums = Sums::default();
        sums.add(&live.close()?);
        Ok(sums)
    })?;
    let counted: Vec<_> = sums.flows.values().collect();
    ensure!(counted == [&(1, bytes.len() as u64)], "{counted:?}");
    Ok(())
}
