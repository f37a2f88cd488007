//! Nothing is lost and nothing is counted twice, at full speed, over drains, on stop.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
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

#[test]
fn two_senders_at_full_speed_for_30_s_are_counted_to_the_frame() -> Result<()> {
    require_root()?;
    require_cpus(2)?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--mirror-action", "drop"])?;
    let (stop, sent) = (AtomicBool::new(false), [frames(0), frames(1)]);
    let sent = thread::scope(|scope| {
        let senders = [0, 1].map(|cpu| {
            let (cable, stop, frames) = (&cable, &stop, &sent[cpu]);
            scope.spawn(move || flood(cable, cpu, frames, stop))
        });
        thread::sleep(Duration::from_secs(30));
        stop.store(true, Ordering::Relaxed);
        senders.map(|sender| sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let [a, b] = sent;
    let (a, b) = (a?, b?);
    eprintln!("sent {a:?} and {b:?}");
    let metrics = settled(&sensor, a.frames + b.frames)?;
    ensure!(metrics.count("flowsensor_frames_total", &[("outcome", "lost")])? == 0, "lost frames");
    ensure!(metrics.count("flowsensor_frames_total", &[("outcome", "ignored")])? == 0, "ignored frames");
    let bytes = metrics.count("flowsensor_source_bytes_total", &[("direction", "out")])?;
    ensure!(bytes == a.bytes + b.bytes, "{bytes} bytes counted of {}", a.bytes + b.bytes);
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
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
    let metrics = wait_for("drain of everything", Duration::from_secs(5), || {
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
