//! What it costs the agent: drains, and what is made of them.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use sensor_common::packet::{Addresses, Marks};
use sensor_tests::sender::pin_to_cpu;
use sensor_user::{
    capture::{live::table::TableSize, merge::FlowSet},
    clock::Timestamp,
    config::{Capacity, Config},
    flow::{Drain, Flow, FlowId, FrameCounts, Protocol},
    pipeline::Pipeline,
};

use crate::{
    flows::{Random, random},
    kernel::{Baseline, Driver, Sensor, cpus},
    report::{Bar, Report, median, ratio},
    sys::cpu_time,
};

/// Draining a million live entries, against the kernel's own way.
pub fn drain(rounds: usize, report: &mut Report) -> Result<()> {
    const FLOWS: u32 = 1 << 20;
    let mut sensor = Sensor::load(FLOWS + FLOWS / 16)?;
    let mut driver = Driver::load(FLOWS, FLOWS, 1)?;
    driver.set_flows(&random(&mut Random::new(1), FLOWS as usize))?;
    let mut batch = driver.batch();
    let (mut own, mut kernel) = (Vec::new(), Vec::new());
    // The first rounds touch both generations and all buffers for the first time.
    for round in 0..rounds + 2 {
        driver.select(&sensor.fd)?;
        driver.rewind()?;
        driver.run(FLOWS)?;
        let drained = sensor.drain()?;
        ensure!(drained.packets + drained.lost == u64::from(FLOWS), "{drained:?}");
        driver.select_baseline(Baseline::PerCpuHash)?;
        driver.rewind()?;
        driver.run(FLOWS)?;
        let (entries, seconds) = driver.drain_baseline(Baseline::PerCpuHash, &mut batch)?;
        ensure!(entries == FLOWS as usize, "{entries} entries in the kernel's map");
        if round >= 2 {
            own.push(drained.seconds * 1e3);
            kernel.push(seconds * 1e3);
        }
    }
    let remark = format!("scan, sum and clear; LOOKUP_AND_DELETE_BATCH {:.0} ms", median(&kernel));
    report.held("drain of 1,048,576 live entries, CPU time", median(&own), "ms", Bar::Most(20.0), remark);
    let value = ratio(&kernel, &own);
    report.held("LOOKUP_AND_DELETE_BATCH of a PERCPU_HASH against it", value, "×", Bar::Least(25.0), "");
    Ok(())
}

/// Frames at full speed on one CPU while the other drains without a pause: each flow compared with the truth.
pub fn exactness(seconds: u64, report: &mut Report) -> Result<()> {
    const FLOWS: u32 = 1 << 14;
    ensure!(cpus()? >= 2, "two CPUs are needed");
    let mut sensor = Sensor::load(FLOWS * 2)?;
    let mut driver = Driver::load(FLOWS, 1, 1)?;
    let flows = random(&mut Random::new(2), FLOWS as usize);
    driver.set_flows(&flows)?;
    driver.select(&sensor.fd)?;
    let begin = std::time::Instant::now();
    let mut counted = std::collections::HashMap::<[u8; 8], u64>::new();
    let (mut drains, mut lost) = (0_u64, 0);
    let visits = std::thread::scope(|scope| -> Result<u64> {
        let frames = scope.spawn(|| -> Result<u64> {
            pin_to_cpu(0)?;
            let mut visits = 0;
            while begin.elapsed().as_secs() < seconds {
                driver.run(16 * FLOWS)?;
                visits += 16;
            }
            Ok(visits)
        });
        pin_to_cpu(1)?;
        let mut ended = false;
        loop {
            let generation = sensor.table.flip();
            sensor_user::capture::live::wait_for_running_programs()?;
            let totals = sensor.table.drain(generation, |entry| {
                if let Addresses::V4 { src: [a, b, c, d], dst: [e, f, g, h] } = entry.key.addresses {
                    *counted.entry([a, b, c, d, e, f, g, h]).or_default() += entry.counters.packets();
                }
            })?;
            lost += totals.lost.iter().sum::<u64>();
            drains += 1;
            if ended {
                break;
            }
            // Once more after the last frame.
            ended = frames.is_finished();
        }
        frames.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let wrong =
        flows.iter().filter(|flow| counted.get(&flow.addresses.to_ne_bytes()) != Some(&visits)).count();
    let frames = visits * u64::from(FLOWS);
    let unaccounted = frames.abs_diff(counted.values().sum::<u64>() + lost);
    ensure!(wrong == 0 || lost > 0, "{wrong} flows differ from the truth");
    let remark = format!("of {frames}, in {drains} drains within {seconds} s; {lost} lost under a name");
    report.held("frames unaccounted for while draining", unaccounted as f64, "", Bar::Most(0.0), remark);
    Ok(())
}

/// Memory per flow, whatever the number of CPUs.
pub fn memory(report: &mut Report) {
    let capacity = Capacity { ipv6_flows: 1, ..Capacity::default() };
    for cpus in [1, 2, 16, 128] {
        let size = TableSize::new(&capacity, cpus);
        let bytes = size.bytes_v4() as f64 / f64::from(capacity.ipv4_flows);
        let remark = format!("{} flows, both generations", capacity.ipv4_flows);
        report.held(format!("memory per IPv4 flow, {cpus} CPUs"), bytes, "bytes", Bar::Most(256.0), remark);
    }
}

/// Flows of one drain.
const NEW: u32 = 100_000;

/// New outbound TCP connections of 1,000 local sources.
fn new_flows(random: &mut Random, at: u64) -> Vec<Flow> {
    let one = |n: u32, random: &mut Random| {
        let [a, b, c, d, port_high, port_low, ..] = random.next().to_ne_bytes();
        let src = IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + n % 1000));
        // Public addresses: 20.0.0.0 to 83.255.255.255.
        let dst = IpAddr::V4(Ipv4Addr::new(20 + a % 64, b, c, d));
        Flow {
            id: FlowId {
                src,
                dst,
                dst_port: u16::from_ne_bytes([port_high, port_low]) | 1,
                protocol: Protocol::TCP,
            },
            src_port: 40_000,
            packets: 1,
            bytes: 60,
            marks: Marks::SYN,
            first_seen: Timestamp(at + u64::from(n) * 10_000),
        }
    };
    (0..NEW).map(|n| one(n, random)).collect()
}

/// What a new trifecta costs behind the drain: merge, then orientation, statistics and detectors.
pub fn pipeline(rounds: usize, report: &mut Report) {
    let mut random = Random::new(3);
    let mut set = FlowSet::default();
    let mut pipeline = Pipeline::new(&Config::default());
    let (mut merged, mut fed) = (Vec::new(), Vec::new());
    for second in 0..rounds as u64 + 2 {
        let start = Timestamp::from_secs(1_700_000_000 + second);
        let flows = new_flows(&mut random, start.0);
        let begin = cpu_time();
        for flow in &flows {
            set.add(*flow);
        }
        let flows = set.take();
        let middle = cpu_time();
        let frames = FrameCounts { seen: u64::from(NEW), counted: u64::from(NEW), ..FrameCounts::default() };
        let end = Timestamp::from_secs(1_700_000_001 + second);
        let drain = Drain { start, end, flows, frames: vec![frames] };
        let report = pipeline.feed(&drain);
        let end = cpu_time();
        std::hint::black_box(report);
        if second >= 2 {
            let each = |took: std::time::Duration| took.as_secs_f64() * 1e9 / f64::from(NEW);
            merged.push(each(middle.saturating_sub(begin)));
            fed.push(each(end.saturating_sub(middle)));
        }
    }
    report.noted("merge of a flow into the drain's set", median(&merged), "ns", "100,000 new flows a drain");
    let what = "orientation, statistics and detectors per new trifecta";
    let share = (median(&merged) + median(&fed)) * f64::from(NEW) / 1e9 * 100.0;
    let remark = format!("with the merge {share:.1} % of a core at 100,000 a second");
    report.noted(what, median(&fed), "ns", remark);
}
