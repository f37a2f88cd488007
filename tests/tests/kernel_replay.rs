//! Live and replay are one: the same frames lead to the same flows, the same numbers and the same alerts.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use sensor_common::packet::Marks;
use sensor_tests::{
    player::Recording,
    process::wait_for,
    require_root,
    sender::Sender,
    sensor::{Sensor, output, workspace},
    topology::{Cable, MIRROR},
};
use sensor_user::{
    capture::{file::CaptureFile, live::Live, replay::Replay},
    config::Config,
    flow::{Drain, Flow, FlowId, FrameCounts},
};
use serde_json::Value;

fn capture(name: &str) -> PathBuf {
    workspace().join("tests/data").join(name)
}

/// Flows of a whole capture, and what became of its frames.
#[derive(Default, Debug)]
struct Total {
    flows: BTreeMap<FlowId, Flow>,
    frames: FrameCounts,
}

impl Total {
    fn add(&mut self, drain: &Drain) {
        for flow in &drain.flows {
            self.flows.entry(flow.id).and_modify(|known| known.merge(flow)).or_insert(*flow);
        }
        drain.frames.iter().for_each(|counts| self.frames.add(counts));
    }

    /// All of a flow that does not depend on when it was sent.
    fn counts(&self, id: &FlowId) -> Option<(u64, u64, Marks)> {
        self.flows.get(id).map(|flow| (flow.packets, flow.bytes, flow.marks))
    }
}

#[test]
fn the_kernel_counts_the_flows_that_replay_counts() -> Result<()> {
    require_root()?;
    for name in ["aria2.pcap", "transmission.pcap"] {
        let (live, replayed) = (live(name)?, replayed(name)?);
        ensure!(
            live.frames == replayed.frames,
            "{name}: {:?} live, {:?} replayed",
            live.frames,
            replayed.frames
        );
        for id in replayed.flows.keys() {
            let (live, replayed) = (live.counts(id), replayed.counts(id));
            ensure!(live == replayed, "{name}: {id:?}: {live:?} live, {replayed:?} replayed");
        }
        ensure!(live.flows.len() == replayed.flows.len(), "{name}: flows that only the kernel has");
    }
    Ok(())
}

fn live(name: &str) -> Result<Total> {
    let cable = Cable::new()?;
    let recording = Recording::read(&capture(name))?;
    let config = Config { interfaces: vec![MIRROR.to_owned()], ..Config::default() };
    let mut total = Total::default();
    cable.sensor.inside(|| {
        let mut live = Live::open(&config).context("cannot open the mirror port")?;
        cable.sender.inside(|| recording.rush(&Sender::open(Cable::OUT)?))?;
        wait_for("end of the capture", Duration::from_secs(20), || {
            total.add(&live.drain()?);
            let seen = total.frames.seen;
            ensure!(seen == recording.len() as u64, "{seen} frames of {} came", recording.len());
            Ok(())
        })?;
        total.add(&live.close()?);
        Ok(())
    })?;
    Ok(total)
}

fn replayed(name: &str) -> Result<Total> {
    let mut file = CaptureFile::open(&capture(name))?;
    let mut replay = Replay::new(&Config::default());
    let mut total = Total::default();
    let mut feed = |drain: &Drain| {
        total.add(drain);
        anyhow::Ok(())
    };
    while let Some(frame) = file.next_frame()? {
        replay.push(&frame, &mut feed)?;
    }
    replay.finish(&mut feed)?;
    Ok(total)
}

#[test]
fn aria2_gives_the_same_numbers_and_alert_live_and_in_replay() -> Result<()> {
    same_conclusions("aria2.pcap")
}

#[test]
fn transmission_gives_the_same_numbers_and_alert_live_and_in_replay() -> Result<()> {
    same_conclusions("transmission.pcap")
}

/// What is said of each source at the end: new connections by protocol, and frames it sent.
type Numbers = BTreeMap<String, [u64; 2]>;

fn same_conclusions(name: &str) -> Result<()> {
    require_root()?;
    let path = capture(name);
    let lines = output(&["replay".as_ref(), path.as_os_str(), "--format".as_ref(), "json".as_ref()])?;
    let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let expected = replayed_numbers(&lines)?;
    ensure!(!expected.is_empty(), "{name} has no sources");

    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR])?;
    let recording = Recording::read(&path)?;
    let sender = cable.sender.inside(|| Sender::open(Cable::OUT))?;
    recording.play(|_| &sender, || true)?;
    // Counters grow when an interval is complete.
    wait_for("the numbers of replay", Duration::from_secs(30), || {
        let live = live_numbers(&sensor, expected.keys())?;
        ensure!(live == expected, "{live:?} live, {expected:?} replayed");
        Ok(())
    })?;
    let began = |alerts: &[Value]| -> Vec<(Value, Value)> {
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| (alert["kind"].clone(), alert["source"].clone())).collect()
    };
    let replayed: Vec<Value> = lines.into_iter().filter(|line| line["type"] == "alert").collect();
    ensure!(
        replayed.iter().any(|alert| alert["kind"] == "torrent"),
        "replay of {name} must give a torrent alert"
    );
    let ended = sensor.stop()?;
    let (live, replayed) = (began(&ended.alerts), began(&replayed));
    ensure!(live == replayed, "{name}: {live:?} live, {replayed:?} replayed");
    Ok(())
}

fn replayed_numbers(lines: &[Value]) -> Result<Numbers> {
    let mut numbers = Numbers::new();
    for interval in lines.iter().filter(|line| line["type"] == "interval") {
        for entry in interval["sources"].as_array().context("an interval must have sources")? {
            let source = entry["source"].as_str().context("a source must have an address")?;
            let counts = numbers.entry(source.to_owned()).or_default();
            for (count, key) in counts.iter_mut().zip(["new_tcp", "new_udp"]) {
                *count += entry[key].as_u64().with_context(|| format!("no {key} in {entry}"))?;
            }
        }
    }
    Ok(numbers)
}

fn live_numbers<'a>(sensor: &Sensor<'_>, sources: impl Iterator<Item = &'a String>) -> Result<Numbers> {
    let metrics = sensor.metrics()?;
    let count = |source: &str, protocol: &str| {
        metrics
            .count("flowsensor_source_new_connections_total", &[("source", source), ("protocol", protocol)])
    };
    sources.map(|source| Ok((source.clone(), [count(source, "tcp")?, count(source, "udp")?]))).collect()
}
