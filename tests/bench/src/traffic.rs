//! The cost under real traffic: a cable of two network namespaces, frames from an `AF_PACKET` sender.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};
use sensor_common::reason::Lost;
use sensor_tests::{
    metrics::Metrics,
    packet::{Segment, frame},
    sender::{Sender, pin_to_cpu},
    sensor::Sensor as Agent,
    topology::{Cable, MIRROR},
};

use crate::{
    Group,
    flows::Random,
    kernel::{Baseline, Driver, Sensor},
    report::{Bar, Report, median, ratio},
};

/// Frames of `count` distinct outbound connections.
fn frames(random: &mut Random, count: usize, segment: Segment) -> Vec<Vec<u8>> {
    let one = || {
        let [a, b, c, d, e, port, ..] = random.next().to_ne_bytes();
        let src = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(10, 0, e % 4, 1 + d % 250), 40_000));
        let dst =
            SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(20 + a % 64, b, c, d), 1024 + u16::from(port)));
        frame(src, dst, segment, &[])
    };
    std::iter::repeat_with(one).take(count).collect()
}

/// The figures.
pub fn traffic(wanted: impl Fn(Group) -> bool, rounds: usize, report: &mut Report) -> Result<()> {
    if wanted(Group::Frames) {
        for flows in [1 << 10, 1 << 16] {
            per_frame(flows, rounds, report)?;
        }
    }
    if wanted(Group::Start) {
        start(rounds, report)?;
    }
    if wanted(Group::Agent) {
        agent(report)?;
    }
    Ok(())
}

/// Nanoseconds of a run of a program, as the kernel's own statistics have them.
fn per_frame(flows: u32, rounds: usize, report: &mut Report) -> Result<()> {
    const FRAMES: usize = 1 << 17;
    let cable = Cable::new()?;
    let mut sensor = Sensor::load(flows * 2 + flows / 8)?;
    let mut driver = Driver::load(1, flows * 2, sensor.slots_per_cpu())?;
    let frames = frames(&mut Random::new(5), flows as usize, Segment::Ack);
    let _stats = enable_stats(Stats::RunTime).context("bpf_enable_stats")?;
    let baselines =
        [Baseline::Empty, Baseline::Parse, Baseline::Floor, Baseline::PerCpuHash, Baseline::LruPerCpuHash];
    let mut costs: [Vec<f64>; 6] = Default::default();
    for round in 0..=rounds {
        for (index, costs) in costs.iter_mut().enumerate() {
            let mut send = || {
                cable.sender.inside(|| {
                    pin_to_cpu(0)?;
                    let sender = Sender::open(Cable::OUT)?;
                    (0..FRAMES.div_ceil(frames.len())).try_for_each(|_| sender.send(&frames).map(drop))
                })
            };
            let cost = match baselines.get(index) {
                Some(baseline) => cable.sensor.inside(|| driver.attached(*baseline, MIRROR, &mut send))?,
                None => cable.sensor.inside(|| sensor.attached(MIRROR, &mut send))?,
            };
            // The first round fills the tables.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    sensor.drain()?;
    let [empty, net @ ..] = &mut costs;
    for costs in net.iter_mut() {
        costs.iter_mut().zip(&*empty).for_each(|(cost, empty)| *cost -= empty);
    }
    let [parse, floor, hash, lru, own] = net;
    let remark = format!(
        "ns net of an empty program: parse {:.0}, floor {:.0}, sensor {:.0}, PERCPU_HASH {:.0}, LRU_PERCPU_HASH {:.0}",
        median(parse),
        median(floor),
        median(own),
        median(hash),
        median(lru)
    );
    report.noted(format!("veth traffic, {flows} flows, against PERCPU_HASH"), ratio(own, hash), "×", remark);
    Ok(())
}

/// Mean run time of the loaded program with this id while `task` runs, in nanoseconds.
pub fn mean_run(id: u32, task: impl FnOnce() -> Result<()>) -> Result<f64> {
    let read = || -> Result<(Duration, u64)> {
        for info in loaded_programs() {
            let info = info?;
            if info.id() == id {
                return Ok((info.run_time(), info.run_count()));
            }
        }
        anyhow::bail!("program {id} is gone")
    };
    let before = read()?;
    task()?;
    let after = read()?;
    ensure!(after.1 > before.1, "the program did not run");
    Ok(after.0.saturating_sub(before.0).as_secs_f64() * 1e9 / (after.1 - before.1) as f64)
}

/// After this every frame was drained and published.
const DRAINED: Duration = Duration::from_millis(1500);

/// Sends a frame every millisecond; tells when each went out, after `begin`.
fn one_by_one(frames: &[Vec<u8>], begin: Instant) -> Result<Vec<Duration>> {
    let sender = Sender::open(Cable::OUT)?;
    let send = |frame| {
        let at = begin.elapsed();
        sender.send(&[frame])?;
        std::thread::sleep(Duration::from_millis(1));
        Ok(at)
    };
    frames.iter().map(send).collect()
}

/// From the start of the process to the first frame counted.
fn start(rounds: usize, report: &mut Report) -> Result<()> {
    const FRAMES: usize = 1500;
    let cable = Cable::new()?;
    let frames = frames(&mut Random::new(6), FRAMES, Segment::Ack);
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let begin = Instant::now();
        let (sensor, sent) = std::thread::scope(|scope| -> Result<_> {
            let sent = scope.spawn(|| cable.sender.inside(|| one_by_one(&frames, begin)));
            let sensor = Agent::start(&cable.sensor, &["--interface", MIRROR])?;
            let sent = sent.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok((sensor, sent))
        })?;
        std::thread::sleep(DRAINED);
        let counted = sensor.metrics()?.count("flowsensor_frames_total", &[("outcome", "counted")])?;
        let missed = FRAMES - usize::try_from(counted)?.min(FRAMES);
        let first = sent.get(missed).context("no frame was counted")?;
        milliseconds.push(first.as_secs_f64() * 1e3);
        sensor.stop()?;
    }
    report.held("start to first frame counted", median(&milliseconds), "ms", Bar::Most(300.0), "");
    Ok(())
}

/// CPU time of the agent at 100,000 new connections a second.
fn agent(report: &mut Report) -> Result<()> {
    const SECONDS: usize = 10;
    const RATE: usize = 100_000;
    const PIECES: usize = 100;
    let cable = Cable::new()?;
    let frames = frames(&mut Random::new(7), SECONDS * RATE, Segment::Syn);
    let sensor = Agent::start(&cable.sensor, &["--interface", MIRROR])?;
    let before = cpu_of(sensor.id())?;
    let took = cable.sender.inside(|| {
        let sender = Sender::open(Cable::OUT)?;
        let begin = Instant::now();
        for (piece, frames) in frames.chunks(RATE / PIECES).enumerate() {
            let due = begin + Duration::from_secs(1) * u32::try_from(piece)? / u32::try_from(PIECES)?;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            sender.send(frames)?;
        }
        Ok(begin.elapsed())
    })?;
    std::thread::sleep(DRAINED);
    let used = cpu_of(sensor.id())?.saturating_sub(before);
    let rate = frames.len() as f64 / took.as_secs_f64();
    let share = used.as_secs_f64() / took.as_secs_f64() * 100.0 * RATE as f64 / rate;
    let lost = lost(&sensor.metrics()?)?;
    sensor.stop()?;
    let remark = format!("{rate:.0} a second for {:.1} s; {lost}", took.as_secs_f64());
    report.held("agent at 100,000 new trifectas a second", share, "% of a core", Bar::Most(15.0), remark);
    Ok(())
}

/// Frames lost by reason, in words.
fn lost(metrics: &Metrics) -> Result<String> {
    let reasons = Lost::ALL.iter().map(|reason| reason.name()).chain(["nic_missed"]);
    let count = |reason| metrics.count("flowsensor_frames_total", &[("outcome", "lost"), ("reason", reason)]);
    let counts = reasons.map(|reason| Ok((reason, count(reason)?))).collect::<Result<Vec<_>>>()?;
    let lost: Vec<String> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let drains = metrics.count("flowsensor_drains_total", &[])?;
    let overruns = metrics.count("flowsensor_drain_overruns_total", &[])?;
    let lost = if lost.is_empty() { "no frame".to_owned() } else { lost.join(", ") };
    Ok(format!("lost: {lost}; {drains} drains, {overruns} late"))
}

/// CPU time that a process has used (proc(5), fields 14 and 15 of stat).
fn cpu_of(process: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no ) in stat")?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / hertz as f64))
}
