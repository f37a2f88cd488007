//! What the kernel's verifier makes of the programs, and that they count frames once it has let them pass.
//!
//! `cargo xtask vm` runs this file on other kernels than the one at hand.

use anyhow::{Context, Result, ensure};
use aya::util::nr_cpus;
use sensor_common::parse::Decapsulate;
use sensor_tests::{
    netns::Namespace,
    packet::{Segment, frame},
    require_root,
    sender::Sender,
    topology::{Cable, MIRROR},
};
use sensor_user::{
    capture::live::{
        Live,
        program::{Program, XdpMode},
        table::TableSize,
    },
    config::{Capacity, Config, MirrorAction},
    flow::FrameCounts,
};

/// Instructions that the verifier may look at in each program, on any kernel; its limit is 1,000,000. What
/// each kernel takes is in docs/kernels.md. `inspect` has all ways through the parser meet in one answer, and
/// is only loaded by who asks for it.
const BUDGETS: [(&str, u32); 3] = [("sensor", 100_000), ("sensor_frags", 100_000), ("inspect", 200_000)];

const FRAMES: u16 = 1_000;

#[test]
fn each_program_passes_the_verifier_within_the_budget() -> Result<()> {
    require_root()?;
    let cpus = nr_cpus().map_err(|(_, error)| error).context("cannot count CPUs")?;
    let size = TableSize::new(&Capacity::default(), u32::try_from(cpus)?);
    let mut program = Program::load(&size, false, Decapsulate::ALL)?;
    for (name, budget) in BUDGETS {
        let info = program.verified(name)?.info()?;
        let instructions = info.verified_instruction_count().context("no count of verified instructions")?;
        println!("verified instructions of {name}: {instructions}");
        ensure!(instructions <= budget, "{name}: {instructions} verified instructions, {budget} allowed");
    }
    Ok(())
}

#[test]
fn a_driver_with_xdp_counts_natively() -> Result<()> {
    let cable = Cable::new()?;
    let sender = || Sender::open(Cable::OUT);
    counts(&cable.sensor, MIRROR, XdpMode::Native, || cable.sender.inside(|| send(&sender()?)))
}

#[test]
fn a_driver_with_jumbo_frames_counts_natively() -> Result<()> {
    let cable = Cable::new()?;
    for (namespace, interface) in [(&cable.sender, Cable::OUT), (&cable.sensor, MIRROR)] {
        namespace.run(&format!("ip link set {interface} mtu 9000"))?;
    }
    let sender = || Sender::open(Cable::OUT);
    counts(&cable.sensor, MIRROR, XdpMode::Native, || cable.sender.inside(|| send(&sender()?)))
}

#[test]
fn a_driver_without_xdp_counts_generically() -> Result<()> {
    // Loopback has no native XDP.
    let namespace = Namespace::new("alone")?;
    counts(&namespace, "lo", XdpMode::Generic, || namespace.inside(|| send(&Sender::open("lo")?)))
}

/// Opens `interface`, lets `send` send and compares what a drain finds.
fn counts(
    namespace: &Namespace,
    interface: &str,
    mode: XdpMode,
    send: impl FnOnce() -> Result<u64>,
) -> Result<()> {
    require_root()?;
    let config = Config {
        interfaces: vec![interface.to_owned()],
        mirror_action: MirrorAction::Drop,
        ..Config::default()
    };
    let mut live = namespace.inside(|| Live::open(&config).context("cannot open the port"))?;
    ensure!(live.status()[0].mode == Some(mode), "attached otherwise: {:?}", live.status());
    let sent = send()?;
    let (mut frames, mut flows) = (FrameCounts::default(), 0);
    // The last frames have been handed to the other end and may still be on their way through it.
    for _ in 0..20 {
        let drain = namespace.inside(|| Ok(live.drain()?))?;
        drain.frames.iter().for_each(|counts| frames.add(counts));
        flows += drain.flows.len();
        if frames.seen >= sent {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    println!("{interface}: {} frames counted in {} mode", frames.counted, mode.name());
    ensure!((frames.seen, frames.counted, frames.unaccounted()) == (sent, sent, 0), "{frames:?} of {sent}");
    ensure!(flows == usize::from(FRAMES), "{flows} flows of {FRAMES}");
    Ok(())
}

/// Sends one frame on each of many flows, every other one behind two tags.
fn send(sender: &Sender) -> Result<u64> {
    let frames: Vec<_> = (0..FRAMES)
        .map(|port| {
            let plain =
                frame("10.0.0.5:4000".parse()?, format!("203.0.113.9:{port}").parse()?, Segment::Syn, &[]);
            Ok(if port % 2 == 0 { plain } else { tagged_twice(&plain) })
        })
        .collect::<Result<_>>()?;
    Ok(sender.send(&frames)?.frames)
}

/// The same behind a service tag and a customer tag, so that its headers are walked.
fn tagged_twice(frame: &[u8]) -> Vec<u8> {
    const ADDRESSES: usize = 12;
    const TAGS: [u8; 8] = [0x88, 0xa8, 0, 100, 0x81, 0, 0, 7];
    [&frame[..ADDRESSES], &TAGS, &frame[ADDRESSES..]].concat()
}
