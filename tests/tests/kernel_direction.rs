//! A server that the world connects to opens nothing itself, however slow its conversations are.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    packet::{Segment, frame},
    process::wait_for,
    require_root,
    sender::Sender,
    sensor::{Sensor, output},
    topology::{Cable, MIRROR},
};
use serde_json::Value;

const SERVER: &str = "10.1.2.3";
/// Each opens one TCP and one UDP conversation.
const CLIENTS: u32 = 5_000;
/// The clients come one after the other over this time.
const ARRIVALS: Duration = Duration::from_secs(9);
/// Between one frame of a conversation and the next: longer than a drain and, twice, than an interval.
const PAUSE: Duration = Duration::from_millis(1300);
const TIMES: [&str; 4] = ["--drain", "500ms", "--interval", "2s"];

/// All frames with the time of each, in order.
type Schedule = Vec<(Duration, Vec<u8>)>;

#[test]
fn a_server_with_5000_clients_opens_nothing_and_alarms_nobody() -> Result<()> {
    require_root()?;
    let schedule = schedule()?;
    // Of each conversation's four frames the server sends two.
    let sent = schedule.len() as u64 / 2;
    replayed(&schedule).context("in replay")?;

    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &[&["--interface", MIRROR], &TIMES[..]].concat())?;
    cable.sender.inside(|| {
        let (sender, begin) = (Sender::open(Cable::OUT)?, Instant::now());
        for (time, bytes) in &schedule {
            thread::sleep((begin + *time).saturating_duration_since(Instant::now()));
            sender.send(&[bytes])?;
        }
        Ok(())
    })?;
    let metrics = wait_for("the last interval", Duration::from_secs(20), || {
        let metrics = sensor.metrics()?;
        let packets =
            metrics.count("flowsensor_source_packets_total", &[("source", SERVER), ("direction", "out")])?;
        ensure!(packets == sent, "{packets} frames of the server counted of {sent}");
        Ok(metrics)
    })?;
    ensure!(metrics.count("flowsensor_frames_total", &[("outcome", "lost")])? == 0, "frames were lost");
    for protocol in ["tcp", "udp"] {
        let labels = [("source", SERVER), ("protocol", protocol)];
        let new = metrics.count("flowsensor_source_new_connections_total", &labels)?;
        ensure!(new == 0, "{new} new {protocol} connections of a server that opened none");
    }
    let ended = sensor.stop()?;
    ensure!(ended.alerts.is_empty(), "alerts about nothing: {:?}", ended.alerts);
    Ok(())
}

fn replayed(schedule: &Schedule) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("server.pcap");
    write_capture(&file, schedule)?;
    let file = file.to_string_lossy();
    let lines = output(&[&["replay", &file, "--format", "json"], &TIMES[..]].concat())?;
    let mut packets_counted = 0;
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line)?;
        ensure!(line["type"] != "alert", "an alert about nothing: {line}");
        let sources = line["sources"].as_array().into_iter().flatten();
        for source in sources.filter(|source| source["source"] == SERVER) {
            ensure!(source["new_connections"] == 0, "new connections of a server that opened none: {source}");
        }
        packets_counted += line["frames"]["counted"].as_u64().unwrap_or(0);
    }
    ensure!(
        packets_counted == schedule.len() as u64,
        "{packets_counted} frames counted of {}",
        schedule.len()
    );
    Ok(())
}

/// Handshake, question, answer, question; each a pause after the other.
fn schedule() -> Result<Schedule> {
    let server: IpAddr = SERVER.parse()?;
    let mut schedule = Schedule::new();
    for client in 0..CLIENTS {
        let [_, high, middle, low] = (client * 2659).to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(80 + high % 16, middle, low, 7));
        let port = 32_768 + u16::try_from(client)?;
        let begin = ARRIVALS * client / CLIENTS;
        let tcp = [Segment::Syn, Segment::SynAck, Segment::Ack, Segment::Ack];
        for (service, segments) in [(443, tcp), (5004, [Segment::Datagram; 4])] {
            let ends = [SocketAddr::new(address, port), SocketAddr::new(server, service)];
            for (step, segment) in (0_u32..).zip(segments) {
                let [src, dst] = if step % 2 == 0 { ends } else { [ends[1], ends[0]] };
                schedule.push((begin + PAUSE * step, frame(src, dst, segment, b"")));
            }
        }
    }
    schedule.sort_by_key(|(time, _)| *time);
    Ok(schedule)
}

/// A pcap file: a header, and before each frame its time and its length twice.
fn write_capture(path: &Path, schedule: &Schedule) -> Result<()> {
    const MAGIC: u32 = 0xa1b2_c3d4;
    const VERSION: u32 = 2 | 4 << 16;
    const SNAP_LENGTH: u32 = 65_535;
    const ETHERNET: u32 = 1;
    const START: Duration = Duration::from_secs(1_700_000_000);
    let mut words = vec![MAGIC, VERSION, 0, 0, SNAP_LENGTH, ETHERNET];
    let mut file = Vec::new();
    for (time, bytes) in schedule {
        let (time, length) = (START + *time, u32::try_from(bytes.len())?);
        words.extend([u32::try_from(time.as_secs())?, time.subsec_micros(), length, length]);
        file.extend(words.drain(..).flat_map(u32::to_le_bytes));
        file.extend(bytes);
    }
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}
