//! ICMP errors in the kernel: evidence about the flow that they quote, and no frame of it.

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, ensure};
use sensor_common::{packet::Marks, reason::Ignored};
use sensor_tests::{
    packet::{Segment, frame, unreachable},
    require_root,
    sender::Sender,
    topology::{Cable, MIRROR},
};
use sensor_user::{
    capture::live::Live,
    config::{Capacity, Config, MirrorAction},
    flow::Drain,
    observation::{Observation, Outcome},
    orient::Orientation,
};

fn config(capacity: Capacity) -> Config {
    Config {
        interfaces: vec![MIRROR.to_owned()],
        mirror_action: MirrorAction::Drop,
        capacity,
        ..Config::default()
    }
}

/// The ends of a refused conversation, and the router that says so.
fn ends() -> [[SocketAddr; 3]; 2] {
    let all = [
        ["10.0.0.5:40000", "93.184.1.1:6881", "198.18.0.1:0"],
        ["[fd00::5]:40000", "[2001:db8::9]:6881", "[2001:db8::1]:0"],
    ];
    all.map(|ends| ends.map(|end| end.parse().expect("an address and a port must parse")))
}

/// Sends the frames and drains them.
fn drained(live: &mut Live, cable: &Cable, frames: &[Vec<u8>]) -> Result<Drain> {
    cable.sender.inside(|| Sender::open(Cable::OUT)?.send(frames).map(drop))?;
    thread::sleep(Duration::from_millis(200));
    live.drain().map_err(Into::into).and_then(|drain| {
        let counts = drain.frames[0];
        ensure!(counts.seen == frames.len() as u64 && counts.unaccounted() == 0, "{counts:?}");
        Ok(drain)
    })
}

#[test]
fn a_refused_datagram_shows_as_unreachable_in_the_same_drain_and_in_a_later_one() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let config = config(Capacity::default());
    for [client, server, router] in ends() {
        let asked = frame(client, server, Segment::Datagram, b"hello");
        let refused = unreachable(router.ip(), client.ip(), &asked);
        for together in [true, false] {
            let mut orientation = Orientation::new(&config);
            let mut seen = Vec::new();
            let mut flows = Vec::new();
            cable.sensor.inside(|| {
                let mut live = Live::open(&config)?;
                let batches = if together {
                    vec![vec![asked.clone(), refused.clone()]]
                } else {
                    vec![vec![asked.clone()], vec![refused.clone()]]
                };
                for frames in batches {
                    let drain = drained(&mut live, &cable, &frames)?;
                    seen.extend(orientation.orient(&drain).observations.iter().copied());
                    flows.extend(drain.flows);
                }
                live.close()?;
                Ok(())
            })?;
            let outcomes: Vec<_> = seen
                .iter()
                .filter_map(|observation| match observation {
                    Observation::Response(response) => Some((response.trifecta.responder, response.outcome)),
                    Observation::Contact(_) => None,
                })
                .collect();
            ensure!(outcomes == [(server.ip(), Outcome::Unreachable)], "together {together}: {seen:?}");
            let packets: u64 = flows.iter().map(|flow| flow.packets).sum();
            let bytes: u64 = flows.iter().map(|flow| flow.bytes).sum();
            ensure!((packets, bytes) == (1, asked.len() as u64), "the error must count nothing: {flows:?}");
            ensure!(flows.iter().all(|flow| flow.src_port == client.port()), "{flows:?}");
            ensure!(flows.iter().any(|flow| flow.marks.has(Marks::UNREACHABLE)), "{flows:?}");
        }
    }
    Ok(())
}

/// Errors about more flows than there is room for are ignored frames like any; only their evidence is lost.
#[test]
fn errors_about_more_flows_than_there_is_room_for_lose_no_frame() -> Result<()> {
    const ERRORS: u16 = 20_000;
    require_root()?;
    let cable = Cable::new()?;
    let [[client, server, router], _] = ends();
    let frames: Vec<_> = (0..ERRORS)
        .map(|number| {
            let server = SocketAddr::new(server.ip(), 1024 + number);
            unreachable(router.ip(), client.ip(), &frame(client, server, Segment::Datagram, &[]))
        })
        .collect();
    cable.sensor.inside(|| {
        let small = Capacity { ipv4_flows: 1024, ipv6_flows: 1024, ..Capacity::default() };
        let mut live = Live::open(&config(small))?;
        let drain = drained(&mut live, &cable, &frames)?;
        let (counts, status) = (drain.frames[0], &live.status()[0]);
        ensure!(counts.ignored[Ignored::NotL4 as usize] == u64::from(ERRORS), "{counts:?}");
        ensure!(counts.lost() == 0 && counts.counted == 0, "{counts:?}");
        ensure!(status.marks_lost > 0, "{status:?}");
        ensure!(status.marks_lost + drain.flows.len() as u64 == u64::from(ERRORS), "{status:?}");
        live.close()?;
        Ok(())
    })
}
