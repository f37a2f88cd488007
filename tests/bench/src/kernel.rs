//! Running kernel programs on distinct frames, and what that costs a frame.

use std::os::fd::AsFd as _;

use anyhow::{Context, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp, xdp::XdpMode},
    util::nr_cpus,
};
use nix::net::if_::if_nametoindex;
use sensor_common::{
    bench::{Cursor, FrameFlow},
    table::{Counters, SLOTS},
};
use sensor_user::{
    capture::live::{
        program::Program,
        table::{FlowTable, TableSize},
    },
    config::Capacity,
};

use crate::{
    flows::tcp_frame,
    sys::{BatchDrain, FlowList, cpu_time},
    traffic::mean_run,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/bench.bpf.o"));

#[expect(clippy::cast_possible_truncation, reason = "a bucket has few slots")]
const SLOTS_PER_BUCKET: u32 = SLOTS as u32;

/// Verdict of every program that is measured.
const XDP_DROP: u32 = 1;

/// Entries that a batch operation moves at once.
const BATCH: u32 = 65_536;

/// The programs to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Does nothing.
    Empty,
    /// Only parses.
    Parse,
    /// Parses and counts in one random slot.
    Floor,
    /// The kernel's per-CPU hash map.
    PerCpuHash,
    /// The kernel's per-CPU hash map that evicts.
    LruPerCpuHash,
}

impl Baseline {
    const fn program(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Parse => "parse_only",
            Self::Floor => "floor",
            Self::PerCpuHash => "percpu_hash",
            Self::LruPerCpuHash => "lru_percpu_hash",
        }
    }

    /// The map that it counts in, where that can be emptied.
    const fn map(self) -> Option<&'static str> {
        match self {
            Self::PerCpuHash => Some("KERNEL_HASH"),
            Self::LruPerCpuHash => Some("KERNEL_LRU"),
            Self::Empty | Self::Parse | Self::Floor => None,
        }
    }
}

/// The possible CPUs of this machine.
pub fn cpus() -> Result<u32> {
    let cpus = nr_cpus().map_err(|(file, error)| anyhow::Error::from(error).context(file))?;
    Ok(u32::try_from(cpus)?)
}

/// The driver, the baselines and the list of flows.
pub struct Driver {
    ebpf: Ebpf,
    list: FlowList,
    under_test: ProgramArray<MapData>,
    cursor: PerCpuArray<MapData, [u32; 2]>,
    flows: u32,
    cpus: usize,
}

impl Driver {
    /// For at most `flows` flows, with kernel maps of `entries` entries and a floor of `slots` slots.
    pub fn load(flows: u32, entries: u32, slots: u32) -> Result<Self> {
        ensure!(!OBJECT.is_empty(), "built with SENSOR_EBPF_SKIP: unset it and build again");
        let floor_bits = (slots / SLOTS_PER_BUCKET).max(1).ilog2();
        let mut ebpf = EbpfLoader::new()
            .override_global("FLOOR_BITS", &floor_bits, true)
            .map_max_entries("FLOWS", flows)
            .map_max_entries("FLOOR", 1 << floor_bits)
            .map_max_entries("KERNEL_HASH", entries)
            .map_max_entries("KERNEL_LRU", entries)
            .load(OBJECT)
            .context("loading the benchmark programs (as root?)")?;
        for name in ["driver", "empty", "parse_only", "floor", "percpu_hash", "lru_percpu_hash"] {
            xdp(&mut ebpf, name)?.load().with_context(|| format!("loading {name}"))?;
        }
        let list = array(&ebpf, "FLOWS")?;
        let list = FlowList::map(list.fd().as_fd(), flows as usize).context("mapping the list of flows")?;
        let mut take = |name| ebpf.take_map(name).with_context(|| format!("no map {name}"));
        let (under_test, cursor) = (take("UNDER_TEST")?.try_into()?, take("CURSOR")?.try_into()?);
        Ok(Self { ebpf, list, under_test, cursor, flows: 0, cpus: cpus()? as usize })
    }

    /// Sets the list of flows, to be visited in this order, over and over.
    pub fn set_flows(&mut self, flows: &[FrameFlow]) -> Result<()> {
        self.list.write(flows);
        self.flows = u32::try_from(flows.len())?;
        self.rewind()
    }

    /// Goes back to the first flow.
    pub fn rewind(&mut self) -> Result<()> {
        let Cursor { position, flows } = Cursor { position: 0, flows: self.flows };
        let values = PerCpuValues::try_from(vec![[position, flows]; self.cpus])?;
        self.cursor.set(0, values, 0).context("setting the cursor")
    }

    /// Puts a program under test.
    pub fn select(&mut self, program: &ProgramFd) -> Result<()> {
        self.under_test.set(0, program, 0).context("putting a program under test")
    }

    /// Puts a baseline under test.
    pub fn select_baseline(&mut self, baseline: Baseline) -> Result<()> {
        let program = xdp(&mut self.ebpf, baseline.program())?.fd()?.try_clone()?;
        self.select(&program)
    }

    /// Runs what is under test on the next `frames` frames; CPU time of one of them in nanoseconds.
    pub fn run(&self, frames: u32) -> Result<f64> {
        self.run_frame(&tcp_frame(), frames)
    }

    /// The same with frames that are all like this one, but for the bytes that the driver writes.
    pub fn run_frame(&self, frame: &[u8], frames: u32) -> Result<f64> {
        let driver = self.ebpf.program("driver").context("no driver")?;
        repeat(driver.try_into()?, frame, frames)
    }

    /// Runs a baseline without the driver on one frame, `frames` times over; CPU time of one in nanoseconds.
    pub fn run_alone(&self, baseline: Baseline, frame: &[u8], frames: u32) -> Result<f64> {
        let name = baseline.program();
        let program = self.ebpf.program(name).with_context(|| format!("no program {name}"))?;
        repeat(program.try_into()?, frame, frames)
    }

    /// Mean run time in nanoseconds of a baseline that is attached to an interface while `task` runs.
    pub fn attached(
        &mut self,
        baseline: Baseline,
        interface: &str,
        task: &mut (impl FnMut() -> Result<()> + Send),
    ) -> Result<f64> {
        attached(xdp(&mut self.ebpf, baseline.program())?, interface, task)
    }

    /// Empties the map of a baseline; returns the number of entries and the CPU time in seconds.
    pub fn drain_baseline(&self, baseline: Baseline, batch: &mut BatchDrain) -> Result<(usize, f64)> {
        let name = baseline.map().context("this baseline has no entries")?;
        let Some(Map::PerCpuHashMap(map) | Map::PerCpuLruHashMap(map)) = self.ebpf.map(name) else {
            bail!("no hash map {name}")
        };
        let mut packets = 0;
        let begin = cpu_time();
        let entries = batch.drain(map.fd().as_fd(), |values| {
            packets += values.iter().step_by(size_of::<Counters>() / 8).sum::<u64>();
        });
        let took = cpu_time().saturating_sub(begin);
        std::hint::black_box(packets);
        Ok((entries.context("BPF_MAP_LOOKUP_AND_DELETE_BATCH")?, took.as_secs_f64()))
    }

    /// Buffers for [`Driver::drain_baseline`].
    pub fn batch(&self) -> BatchDrain {
        BatchDrain::new(12, size_of::<Counters>() * self.cpus, BATCH)
    }
}

/// Runs a program on one frame, `frames` times over; CPU time of one in nanoseconds.
fn repeat(program: &Xdp, frame: &[u8], frames: u32) -> Result<f64> {
    let options = TestRunOptions { data_in: Some(frame), repeat: frames, ..TestRunOptions::default() };
    let begin = cpu_time();
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
    let took = cpu_time().saturating_sub(begin);
    ensure!(result.return_value == XDP_DROP, "the program under test returned {}", result.return_value);
    Ok(took.as_secs_f64() * 1e9 / f64::from(frames))
}

fn attached(program: &mut Xdp, interface: &str, task: impl FnOnce() -> Result<()>) -> Result<f64> {
    let index = if_nametoindex(interface).with_context(|| format!("no interface {interface}"))?;
    let link = program.attach_to_if_index(index, XdpMode::Driver).context("attaching to the cable")?;
    let cost = mean_run(program.info()?.id(), task);
    program.detach(link)?;
    cost
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

fn array<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a MapData> {
    match ebpf.map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => bail!("no array {name}"),
    }
}

/// The sensor's own program and its flow table.
pub struct Sensor {
    program: Program,
    /// To put it under test.
    pub fd: ProgramFd,
    /// The agent's side.
    pub table: FlowTable,
    /// How large it is.
    pub size: TableSize,
}

impl Sensor {
    /// With room for `flows` IPv4 flows.
    pub fn load(flows: u32) -> Result<Self> {
        let capacity = Capacity { ipv4_flows: flows, ipv6_flows: 1, ..Capacity::default() };
        let size = TableSize::new(&capacity, cpus()?);
        let mut program = Program::load(&size, true, sensor_common::parse::Decapsulate::ALL)?;
        let fd = program.verified("sensor")?.fd()?.try_clone()?;
        let table = FlowTable::take(program.ebpf(), size)?;
        Ok(Self { program, fd, table, size })
    }

    /// Instructions that the verifier walked through to accept each program of the object.
    pub fn verified(&mut self) -> Result<Vec<(&'static str, u32)>> {
        let count = |name| {
            let program = self.program.verified(name)?;
            Ok((name, program.info()?.verified_instruction_count().unwrap_or(0)))
        };
        ["sensor", "sensor_frags", "inspect"].into_iter().map(count).collect()
    }

    /// Runs the program on one frame, `frames` times over; CPU time of one in nanoseconds.
    pub fn run_alone(&mut self, frame: &[u8], frames: u32) -> Result<f64> {
        repeat(self.program.verified("sensor")?, frame, frames)
    }

    /// IPv4 entries of one CPU's part of one generation.
    pub fn slots_per_cpu(&self) -> u32 {
        SLOTS_PER_BUCKET << self.size.bucket_bits_v4
    }

    /// Mean run time in nanoseconds of the program attached to an interface while `task` runs.
    pub fn attached(
        &mut self,
        interface: &str,
        task: &mut (impl FnMut() -> Result<()> + Send),
    ) -> Result<f64> {
        attached(self.program.verified("sensor")?, interface, task)
    }

    /// Empties the table and counts what was in it.
    pub fn drain(&mut self) -> Result<Drained> {
        let generation = self.table.flip();
        let mut drained = Drained::default();
        let begin = cpu_time();
        let totals = self.table.drain(generation, |entry| {
            drained.entries += 1;
            drained.packets += entry.counters.packets();
            drained.bytes += entry.counters.bytes();
        })?;
        drained.seconds = cpu_time().saturating_sub(begin).as_secs_f64();
        drained.seen = totals.seen;
        drained.lost = totals.lost.iter().sum();
        drained.overflowed = totals.overflowed;
        let accounted = drained.packets + drained.lost + totals.ignored.iter().sum::<u64>();
        ensure!(totals.seen == accounted, "{} frames seen, {accounted} accounted for", totals.seen);
        Ok(drained)
    }
}

/// What a drain brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Drained {
    /// Entries.
    pub entries: u64,
    /// Frames in them.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Frames that the program saw.
    pub seen: u64,
    /// Frames that found no room.
    pub lost: u64,
    /// Entries that were in the overflow.
    pub overflowed: u64,
    /// CPU time in seconds.
    pub seconds: f64,
}
