//! What a frame costs in the kernel.

use std::{panic::resume_unwind, thread::ScopedJoinHandle};

use anyhow::{Result, ensure};
use sensor_common::bench::FrameFlow;
use sensor_tests::sender::pin_to_cpu;

use crate::{
    flows::{Random, arp_frame, colliding, random},
    kernel::{Baseline, Driver, Sensor, cpus},
    report::{Bar, Report, median, ratio},
};

/// Frames of one measurement, at least: some milliseconds.
const MIN_FRAMES: u32 = 1 << 18;

/// Capacity of every table, in live flows: as much again as is in use.
const HEADROOM: u32 = 2;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The sensor's program.
    Sensor,
    /// Another.
    Baseline(Baseline),
}

/// All of them.
pub const CANDIDATES: [Candidate; 6] = [
    Candidate::Baseline(Baseline::Empty),
    Candidate::Baseline(Baseline::Parse),
    Candidate::Baseline(Baseline::Floor),
    Candidate::Sensor,
    Candidate::Baseline(Baseline::PerCpuHash),
    Candidate::Baseline(Baseline::LruPerCpuHash),
];

/// Nanoseconds per frame of every candidate, round by round, the empty program's taken off.
#[derive(Clone, Debug)]
pub struct Costs([Vec<f64>; CANDIDATES.len()]);

impl Costs {
    /// Of one candidate.
    pub fn of(&self, candidate: Candidate) -> &[f64] {
        let index = CANDIDATES.iter().position(|other| *other == candidate);
        index.map_or(&[], |index| &self.0[index])
    }

    /// Of the sensor.
    pub fn sensor(&self) -> &[f64] {
        self.of(Candidate::Sensor)
    }

    /// Of a baseline.
    pub fn baseline(&self, baseline: Baseline) -> &[f64] {
        self.of(Candidate::Baseline(baseline))
    }

    /// The medians in words.
    pub fn remark(&self) -> String {
        let names = ["", "parse", "floor", "sensor", "PERCPU_HASH", "LRU_PERCPU_HASH"];
        let medians = names.iter().zip(&self.0).skip(1);
        let parts: Vec<_> = medians.map(|(name, values)| format!("{name} {:.1}", median(values))).collect();
        format!("ns: {}", parts.join(", "))
    }

    fn net(mut self) -> Self {
        let [empty, others @ ..] = &mut self.0;
        for costs in others {
            costs.iter_mut().zip(&*empty).for_each(|(cost, empty)| *cost -= empty);
        }
        self
    }
}

/// Everything loaded for one number of flows.
pub struct Bench {
    driver: Driver,
    sensor: Sensor,
    random: Random,
}

impl Bench {
    /// With a table for `capacity` flows, a list with room for `list`, and kernel maps of `entries` entries.
    pub fn load(capacity: u32, list: u32, entries: u32) -> Result<Self> {
        // A little more: the capacity pays for the overflow and the bitmap too.
        let sensor = Sensor::load(capacity + capacity / 16)?;
        let driver = Driver::load(list, entries, sensor.slots_per_cpu())?;
        Ok(Self { driver, sensor, random: Random::new(u64::from(list)) })
    }

    fn select(&mut self, candidate: Candidate) -> Result<()> {
        match candidate {
            Candidate::Sensor => self.driver.select(&self.sensor.fd),
            Candidate::Baseline(baseline) => self.driver.select_baseline(baseline),
        }
    }

    /// Runs each candidate in turn, `rounds` times over.
    fn rounds(
        &mut self,
        rounds: usize,
        mut one: impl FnMut(&mut Self, Candidate) -> Result<f64>,
    ) -> Result<Costs> {
        let mut costs: [Vec<f64>; CANDIDATES.len()] = Default::default();
        for round in 0..rounds {
            for step in 0..CANDIDATES.len() {
                let index = (round + step) % CANDIDATES.len();
                self.select(CANDIDATES[index])?;
                costs[index].push(one(self, CANDIDATES[index])?);
            }
        }
        Ok(Costs(costs).net())
    }

    /// Known flows in random order, in tables that were in use before: what the kernel's maps hand out first
    /// lies in order, what they hand out again does not.
    pub fn known(&mut self, flows: u32, rounds: usize) -> Result<Costs> {
        let mut list = random(&mut self.random, flows as usize);
        self.driver.set_flows(&list)?;
        for candidate in CANDIDATES {
            self.select(candidate)?;
            self.driver.rewind()?;
            self.driver.run(flows)?;
        }
        self.random.shuffle(&mut list);
        self.driver.set_flows(&list)?;
        let frames = flows.max(MIN_FRAMES);
        let costs = self.rounds(rounds, |bench, _| bench.driver.run(frames))?;
        let drained = self.sensor.drain()?;
        ensure!(drained.lost == 0, "{} frames of known flows were lost", drained.lost);
        Ok(costs)
    }

    /// New flows, into empty tables until they are half full.
    pub fn new_flows(&mut self, flows: u32, rounds: usize) -> Result<Costs> {
        let list = random(&mut self.random, flows as usize);
        self.driver.set_flows(&list)?;
        // Fills and empties everything once beforehand, both generations of the table included.
        for _ in 0..2 {
            self.rounds(1, |bench, candidate| bench.insert_all(candidate, flows))?;
        }
        self.rounds(rounds, |bench, candidate| bench.insert_all(candidate, flows))
    }

    fn insert_all(&mut self, candidate: Candidate, flows: u32) -> Result<f64> {
        self.driver.rewind()?;
        let cost = self.driver.run(flows)?;
        self.empty(candidate)?;
        Ok(cost)
    }

    fn empty(&mut self, candidate: Candidate) -> Result<()> {
        match candidate {
            Candidate::Sensor => {
                self.sensor.drain()?;
            }
            Candidate::Baseline(baseline @ (Baseline::PerCpuHash | Baseline::LruPerCpuHash)) => {
                self.driver.drain_baseline(baseline, &mut self.driver.batch())?;
            }
            Candidate::Baseline(_) => {}
        }
        Ok(())
    }
}

/// The figures of known and new flows at one number of live flows.
pub struct Point {
    /// Live flows.
    pub flows: u32,
    /// Frames of known flows.
    pub known: Costs,
    /// First frames.
    pub new: Costs,
}

/// Measures one number of live flows.
pub fn point(flows: u32, rounds: usize) -> Result<Point> {
    let mut bench = Bench::load(flows * HEADROOM, flows, flows * HEADROOM)?;
    let new = bench.new_flows(flows, rounds)?;
    let known = bench.known(flows, rounds)?;
    Ok(Point { flows, known, new })
}

/// Known flows alone, at one number of live flows.
pub fn known_flows(flows: u32, rounds: usize) -> Result<Costs> {
    let mut bench = Bench::load(flows * HEADROOM, flows, flows * HEADROOM)?;
    bench.new_flows(flows, 1)?;
    bench.known(flows, rounds)
}

impl Point {
    /// Its rows.
    pub fn report(&self, report: &mut Report) {
        let Self { flows, known, new } = self;
        let (against_kernel, against_floor) = match flows {
            ..=1024 => (0.30, Some(1.5)),
            ..=65_536 => (0.15, Some(3.0)),
            _ => (0.20, None),
        };
        let value = ratio(known.sensor(), known.baseline(Baseline::PerCpuHash));
        let what = format!("known flow, {flows} live, against PERCPU_HASH");
        report.held(what, value, "×", Bar::Most(against_kernel), known.remark());
        if let Some(bar) = against_floor {
            let value = ratio(known.sensor(), known.baseline(Baseline::Floor));
            report.held(
                format!("known flow, {flows} live, against the floor"),
                value,
                "×",
                Bar::Most(bar),
                "",
            );
        }
        // Fewer first frames are over before they can be measured.
        if *flows >= 1 << 16 {
            let value = ratio(new.sensor(), new.baseline(Baseline::PerCpuHash));
            let what = format!("new flow, to {flows} live, against PERCPU_HASH");
            report.held(what, value, "×", Bar::Most(0.20), new.remark());
        }
    }
}

/// The parser alone, and its early exit.
pub fn parser(rounds: usize, report: &mut Report) -> Result<()> {
    let mut bench = Bench::load(1 << 10, 1 << 10, 1 << 10)?;
    let list = random(&mut bench.random, 1 << 10);
    bench.driver.set_flows(&list)?;
    let tcp = bench.rounds(rounds, |bench, _| bench.driver.run(MIN_FRAMES))?;
    let arp = bench.rounds(rounds, |bench, _| bench.driver.run_frame(&arp_frame(), MIN_FRAMES))?;
    let parse = median(tcp.baseline(Baseline::Parse));
    report.held("parse Ethernet, IPv4, TCP", parse, "ns", Bar::Most(6.0), "net of the empty program");
    let exit = median(arp.baseline(Baseline::Parse));
    report.held("parse a frame that is not IP", exit, "ns", Bar::Most(2.0), "net of the empty program");
    report.noted(
        "the whole program on one that is not IP",
        median(arp.sensor()),
        "ns",
        "parse, count as ignored",
    );
    Ok(())
}

/// A table full of spoofed flows.
pub fn full(rounds: usize, report: &mut Report) -> Result<()> {
    const KNOWN: u32 = 1 << 16;
    const FLOOD: u32 = 1 << 19;
    let mut bench = Bench::load(KNOWN, FLOOD, KNOWN * HEADROOM)?;
    let mut list = random(&mut bench.random, KNOWN as usize + 2 * FLOOD as usize);
    let (known, strangers) = list.split_at_mut(KNOWN as usize);
    let (flood, others) = strangers.split_at(FLOOD as usize);
    bench.driver.set_flows(known)?;
    for candidate in CANDIDATES {
        bench.select(candidate)?;
        bench.driver.rewind()?;
        bench.driver.run(KNOWN)?;
    }
    bench.random.shuffle(known);
    bench.driver.set_flows(known)?;
    let half_full = bench.rounds(rounds, |bench, _| bench.driver.run(MIN_FRAMES))?;
    bench.driver.set_flows(flood)?;
    for candidate in CANDIDATES {
        bench.select(candidate)?;
        bench.driver.rewind()?;
        bench.driver.run(FLOOD)?;
    }
    bench.driver.set_flows(others)?;
    let new = bench.rounds(rounds, |bench, _| bench.driver.run(FLOOD))?;
    bench.driver.set_flows(known)?;
    let full = bench.rounds(rounds, |bench, _| bench.driver.run(MIN_FRAMES))?;
    let value = ratio(new.sensor(), new.baseline(Baseline::PerCpuHash));
    report.held("new flow, table full, against full PERCPU_HASH", value, "×", Bar::Most(0.45), new.remark());
    let value = ratio(full.sensor(), half_full.sensor());
    let remark = format!("ns: {:.1}, half full {:.1}", median(full.sensor()), median(half_full.sensor()));
    report.held("known flow, table full, against half full", value, "×", Bar::Most(1.5), remark);
    let expected = u64::from(KNOWN) + 2 * rounds as u64 * u64::from(MIN_FRAMES);
    let exact = bench.frames_of(known)?;
    let difference = exact.abs_diff(expected) as f64;
    report.held(
        "frames of known flows miscounted, table full",
        difference,
        "",
        Bar::Most(0.0),
        format!("of {expected}"),
    );
    Ok(())
}

impl Bench {
    /// Empties the table; frames that were counted for these flows.
    fn frames_of(&mut self, flows: &[FrameFlow]) -> Result<u64> {
        let wanted: std::collections::HashSet<[u8; 8]> =
            flows.iter().map(|flow| flow.addresses.to_ne_bytes()).collect();
        let generation = self.sensor.table.flip();
        let mut frames = 0;
        self.sensor.table.drain(generation, |entry| {
            if let sensor_common::packet::Addresses::V4 { src: [a, b, c, d], dst: [e, f, g, h] } =
                entry.key.addresses
                && wanted.contains(&[a, b, c, d, e, f, g, h])
            {
                frames += entry.counters.packets();
            }
        })?;
        Ok(frames)
    }
}

/// Flows chosen to collide under a hash without secret.
pub fn chosen(rounds: usize, report: &mut Report) -> Result<()> {
    const FLOWS: u32 = 100_000;
    let mut bench = Bench::load(1 << 17, FLOWS, 1)?;
    let bits = bench.sensor.size.bucket_bits_v4;
    let lists = [random(&mut bench.random, FLOWS as usize), colliding(FLOWS as usize, bits)];
    ensure!(lists[1].len() == FLOWS as usize, "only {} colliding flows found", lists[1].len());
    let mut costs: [[Vec<f64>; 2]; 2] = Default::default();
    let mut overflowed = [0; 2];
    for _ in 0..=rounds {
        let empty = |bench: &mut Bench| {
            bench.select(Candidate::Baseline(Baseline::Empty))?;
            bench.driver.run(MIN_FRAMES)
        };
        let driver = empty(&mut bench)?;
        for (list, (costs, overflowed)) in lists.iter().zip(costs.iter_mut().zip(&mut overflowed)) {
            bench.select(Candidate::Sensor)?;
            bench.driver.set_flows(list)?;
            costs[0].push(bench.driver.run(FLOWS)? - driver);
            costs[1].push(bench.driver.run(MIN_FRAMES)? - driver);
            *overflowed = bench.sensor.drain()?.overflowed;
        }
    }
    let [of_random, of_chosen] = costs;
    for (index, what) in ["new", "known"].into_iter().enumerate() {
        // The first round touches the memory for the first time.
        let (chosen, random) = (&of_chosen[index][1..], &of_random[index][1..]);
        let remark = format!(
            "ns: {:.1}, random {:.1}; in the overflow {} and {}",
            median(chosen),
            median(random),
            overflowed[1],
            overflowed[0]
        );
        let what = format!("100,000 chosen flows, {what}, against random ones");
        report.held(what, ratio(chosen, random), "×", Bar::Most(1.3), remark);
    }
    Ok(())
}

/// Two CPUs at once against one.
///
/// Two processors of a virtual machine may be threads of one core, and they share its caches. So the empty
/// program is taken off as it costs on two CPUs too, and the table is one that fits a core's own cache.
pub fn two_cpus(rounds: usize, report: &mut Report) -> Result<()> {
    const FLOWS: u32 = 1 << 10;
    ensure!(cpus()? >= 2, "two CPUs are needed");
    let mut bench = Bench::load(FLOWS * HEADROOM, FLOWS, 1)?;
    let list = random(&mut bench.random, FLOWS as usize);
    bench.driver.set_flows(&list)?;
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let [mut alone, mut both] = [0.0; 2];
        for (candidate, sign) in [(Candidate::Baseline(Baseline::Empty), -1.0), (Candidate::Sensor, 1.0)] {
            bench.select(candidate)?;
            alone += sign * on_cpus(&bench.driver, &[0])?;
            both += sign * on_cpus(&bench.driver, &[0, 1])?;
        }
        // The first round fills the tables.
        if round > 0 {
            one.push(alone);
            two.push(both);
        }
    }
    bench.sensor.drain()?;
    let remark = format!("ns: {:.1}, alone {:.1}", median(&two), median(&one));
    let what = "two CPUs on the same flows, per frame, against one";
    report.held(what, ratio(&two, &one), "×", Bar::Most(1.05), remark);
    Ok(())
}

/// Runs what is under test on these CPUs at once; the mean cost of a frame.
fn on_cpus(driver: &Driver, cpus: &[usize]) -> Result<f64> {
    let costs = std::thread::scope(|scope| {
        let run = |cpu| {
            pin_to_cpu(cpu)?;
            driver.run(8 * MIN_FRAMES)
        };
        let threads: Vec<_> = cpus.iter().map(|&cpu| scope.spawn(move || run(cpu))).collect();
        let join =
            |thread: ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().map(join).collect::<Result<Vec<f64>>>()
    })?;
    Ok(costs.iter().sum::<f64>() / costs.len() as f64)
}
