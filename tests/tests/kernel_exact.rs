//! Nothing is lost and nothing is counted twice by the sensor as a whole, at full speed and on stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic::resume_unwind,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sensor_tests::{
    metrics::Metrics,
    packet::{Segment, frame},
    process::wait_for,
    require_root,
    sender::{Sender, Sent, pin_to_cpu, require_cpus},
    sensor::Sensor,
    topology::{Cable, MIRROR},
};

/// Local sources of the generated traffic, each with as many trifectas as it takes.
const SOURCES: u16 = 100;
const TRIFECTAS: u16 = 1_000;

/// Frames that each of two senders sends in one round.
const FRAMES_A_ROUND: u64 = SOURCES as u64 / 2 * TRIFECTAS as u64;

/// How long the sensor may take to catch up when the senders are done: an interval and a crowded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Both CPUs belong to one test at a time.
static MACHINE: Mutex<()> = Mutex::new(());

#[test]
fn two_senders_at_full_speed_for_30_s_are_counted_to_the_frame() -> Result<()> {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    require_root()?;
    require_cpus(2)?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--mirror-action", "drop"])?;
    let ([a, b], ()) = while_flooded(&cable, || {
        thread::sleep(Duration::from_secs(30));
        Ok(())
    })?;
    eprintln!("sent {a:?} and {b:?}");
    let metrics = settled(&sensor, a.frames + b.frames)?;
    ensure!(metrics.count("flowsensor_frames_total", &[("outcome", "lost")])? == 0, "lost frames");
    ensure!(metrics.count("flowsensor_frames_total", &[("outcome", "ignored")])? == 0, "ignored frames");
    let rounds = [a, b].map(|sent| sent.frames / FRAMES_A_ROUND);
    // The counters of sources grow when an interval is complete.
    wait_for("the last interval", PATIENCE, || each_source_is_exact(&sensor.metrics()?, rounds))?;
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    Ok(())
}

#[test]
fn nothing_is_lost_when_the_sensor_is_stopped_under_load() -> Result<()> {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    require_root()?;
    require_cpus(2)?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--mirror-action", "drop"])?;
    let (sent, ended) = while_flooded(&cable, || {
        thread::sleep(Duration::from_millis(3300));
        let ended = sensor.stop();
        thread::sleep(Duration::from_millis(500));
        ended
    })?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    // What the driver dropped on the program's word is every frame that the program saw.
    let seen = dropped_by_program(&cable)?;
    let all: u64 = sent.iter().map(|sent| sent.frames).sum();
    ensure!(0 < seen && seen < all, "{seen} frames of {all}: the sensor was not stopped in between");
    let word = format!("mirror: {seen} frames seen, {seen} counted, 0 ignored, 0 lost");
    ensure!(ended.log.contains(&word), "not in the log: {word}\n{}", ended.log);
    Ok(())
}

/// The driver's own count of frames that the program told it to drop.
fn dropped_by_program(cable: &Cable) -> Result<u64> {
    let text = cable.sensor.run(&format!("ethtool -S {MIRROR}"))?;
    let counts = text.lines().filter_map(|line| line.split_once(':'));
    counts
        .filter(|(name, _)| name.ends_with("xdp_drops"))
        .map(|(_, count)| Ok(count.trim().parse::<u64>()?))
        .sum()
}

/// What two senders on two CPUs sent while `task` ran.
fn while_flooded<T>(cable: &Cable, task: impl FnOnce() -> Result<T>) -> Result<([Sent; 2], T)> {
    let (stop, frames) = (AtomicBool::new(false), [frames(0), frames(1)]);
    let (sent, outcome) = thread::scope(|scope| {
        let senders = [0, 1].map(|cpu| {
            let (stop, frames) = (&stop, &frames[cpu]);
            scope.spawn(move || flood(cable, cpu, frames, stop))
        });
        let outcome = task();
        stop.store(true, Ordering::Relaxed);
        (senders.map(|sender| sender.join().unwrap_or_else(|panic| resume_unwind(panic))), outcome)
    });
    let [a, b] = sent;
    Ok(([a?, b?], outcome?))
}

/// Each source sent each of its trifectas once a round; they are told by their sender.
fn each_source_is_exact(metrics: &Metrics, rounds: [u64; 2]) -> Result<()> {
    for source in 0..SOURCES {
        let labels = [("source", &*local(source).to_string()), ("direction", "out")];
        let packets = metrics.count("flowsensor_source_packets_total", &labels)?;
        let expected = rounds[usize::from(source % 2)] * u64::from(TRIFECTAS);
        ensure!(packets == expected, "{}: {packets} frames counted of {expected}", local(source));
    }
    Ok(())
}

/// One round of the frames of one sender: every trifecta once, half of them TCP.
fn frames(half: u16) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for source in (half..SOURCES).step_by(2) {
        for trifecta in 0..TRIFECTAS {
            let [high, low] = trifecta.to_be_bytes();
            let src = SocketAddr::new(local(source), 40_000 + trifecta % 7);
            let dst = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(93, 184, high, low)), 1024 + trifecta);
            let segment = if trifecta % 2 == 0 { Segment::Syn } else { Segment::Datagram };
            frames.push(frame(src, dst, segment, &[]));
        }
    }
    frames
}

fn local(source: u16) -> IpAddr {
    let [high, low] = source.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// Sends `frames` again and again until told to stop; whole rounds only.
fn flood(cable: &Cable, cpu: usize, frames: &[Vec<u8>], stop: &AtomicBool) -> Result<Sent> {
    cable.sender.inside(|| {
        pin_to_cpu(cpu)?;
        let sender = Sender::open(Cable::OUT)?;
        let mut sent = Sent::default();
        while !stop.load(Ordering::Relaxed) {
            sent.add(sender.send(frames)?);
        }
        Ok(sent)
    })
}

/// Metrics once all that was sent has been drained.
fn settled(sensor: &Sensor<'_>, sent: u64) -> Result<Metrics> {
    let begin = Instant::now();
    let metrics = wait_for("drain of everything", PATIENCE, || {
        let metrics = sensor.metrics()?;
        let seen = metrics.count("flowsensor_frames_total", &[])?;
        ensure!(seen >= sent, "{seen} frames seen of {sent}");
        Ok(metrics)
    })?;
    // One drain more: nothing may come after everything.
    thread::sleep(Duration::from_millis(1500));
    let seen = sensor.metrics()?.count("flowsensor_frames_total", &[])?;
    ensure!(seen == sent, "{seen} frames seen of {sent}, {:?} after the last", begin.elapsed());
    Ok(metrics)
}
