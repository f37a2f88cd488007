//! The live capture: an XDP program on each mirror port, drained exactly.

pub mod inspector;
pub mod interface;
mod kernel_log;
mod mapped;
pub mod program;
mod sys;
pub mod table;

pub use self::sys::wait_for_running_programs;

use std::{
    io,
    time::{Duration, Instant},
};

use aya::util::nr_cpus;
use sensor_common::control::FrameTotals;

use self::{
    interface::Verdict,
    program::{Attachment, Program, ProgramFailure, XdpMode},
    sys::Promiscuous,
    table::{Entry, FlowTable, TableError, TableSize},
};
use crate::{
    capture::merge::FlowSet,
    clock::{LiveClock, Timestamp},
    config::Config,
    flow::{Drain, Flow, FlowId, FrameCounts},
};

/// Why a live capture could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Loading or attaching failed.
    #[error(transparent)]
    Program(#[from] ProgramFailure),
    /// The program's maps could not be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The number of CPUs is unknown.
    #[error("reading {file} failed")]
    Cpus {
        /// The file.
        file: &'static str,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Promiscuous mode was refused.
    #[error(
        "switching {interface} to promiscuous mode failed: it needs CAP_NET_RAW; or use --no-promiscuous and `ip link \
         set dev {interface} promisc on`"
    )]
    Promiscuous {
        /// The interface.
        interface: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Waiting for running programs failed.
    #[error("waiting for the kernel to leave the old generation of the flow table failed")]
    Quiescence(#[source] io::Error),
}

/// One mirror port.
pub struct Port {
    name: String,
    program: Program,
    table: FlowTable,
    verdict: Verdict,
    attachment: Option<Attachment>,
    promiscuous: Option<Promiscuous>,
    /// The NIC's own loss counter at the last drain, where there is one.
    missed: Option<u64>,
    /// Of the last drain.
    entries: u64,
    /// Of the last drain.
    took: Duration,
    marks_lost: u64,
}

/// What a port is like at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// How the program is attached; none while the interface is gone.
    pub mode: Option<XdpMode>,
    /// Whether the interface has a carrier.
    pub link_up: bool,
    /// Entries of the flow table in the last drain, before merging over CPUs.
    pub entries: u64,
    /// Entries that it has room for.
    pub slots: u64,
    /// ICMP errors whose quoted flow found no room, since the start.
    pub marks_lost: u64,
    /// How long reading and clearing the table took in the last drain.
    pub took: Duration,
}

/// All mirror ports of this sensor.
pub struct Live {
    ports: Vec<Port>,
    clock: LiveClock,
    flows: FlowSet,
    promiscuous: bool,
    last_end: Timestamp,
}

impl Live {
    /// Loads a program for each interface of the configuration and attaches it.
    pub fn open(config: &Config) -> Result<Self, LiveError> {
        let cpus = nr_cpus().map_err(|(file, error)| LiveError::Cpus { file, error })?;
        let size = TableSize::new(&config.capacity, u32::try_from(cpus).unwrap_or(u32::MAX));
        if interface::is_realtime_kernel() {
            tracing::warn!(
                "this kernel has real-time preemption: counts are exact only where softirqs of one CPU do not interleave"
            );
        }
        let mut ports = Vec::with_capacity(config.interfaces.len());
        for name in &config.interfaces {
            let verdict = Verdict::decide(config.mirror_action, name);
            let mut program = Program::load(&size, verdict.drop, config.decapsulate)?;
            let table = FlowTable::take(program.ebpf(), size)?;
            let mut port = Port {
                name: name.clone(),
                program,
                table,
                verdict,
                attachment: None,
                promiscuous: None,
                missed: None,
                entries: 0,
                took: Duration::ZERO,
                marks_lost: 0,
            };
            port.attach(config.promiscuous)?;
            ports.push(port);
        }
        tracing::info!(
            "flow table: {} IPv4 and {} IPv6 flows per interface and drain, {:.1} MiB of kernel memory for {} \
             interface(s) on {cpus} CPUs",
            config.capacity.ipv4_flows,
            config.capacity.ipv6_flows,
            size.bytes() as f64 * ports.len() as f64 / f64::from(1 << 20),
            ports.len(),
        );
        let clock = LiveClock::start();
        let last_end = clock.now();
        Ok(Self { ports, clock, flows: FlowSet::default(), promiscuous: config.promiscuous, last_end })
    }

    /// The time now, on the clock of the drains.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Empties the flow tables of all ports. Takes a grace period of the kernel, some milliseconds.
    pub fn drain(&mut self) -> Result<Drain, LiveError> {
        self.follow_interfaces();
        let (_, behind) = self.clock.follow_wall_clock();
        if !behind.is_zero() {
            tracing::debug!("the wall clock is {behind:?} behind the sensor's");
        }
        self.drain_generation()
    }

    /// Detaches every program and empties what they counted last.
    pub fn close(mut self) -> Result<Drain, LiveError> {
        for port in &mut self.ports {
            port.detach();
        }
        self.drain_generation()
    }

    /// How full the fullest part of any flow table is, 0 to 1. At 1 new flows are lost until the next drain.
    #[must_use]
    pub fn pressure(&self) -> f64 {
        self.ports.iter().map(|port| port.table.pressure()).fold(0.0, f64::max)
    }

    /// What the ports are like, in the order of the configuration.
    #[must_use]
    pub fn status(&self) -> Vec<PortStatus> {
        let status = |port: &Port| PortStatus {
            mode: port.attachment.as_ref().map(|attachment| attachment.mode),
            link_up: port.attachment.is_some() && interface::has_carrier(&port.name),
            entries: port.entries,
            slots: port.table.size().slots(),
            marks_lost: port.marks_lost,
            took: port.took,
        };
        self.ports.iter().map(status).collect()
    }

    /// Names of the interfaces, in the order of the configuration.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.ports.iter().map(|port| port.name.as_str()).collect()
    }

    /// The largest MTU of the interfaces in bytes; none where the host does not say.
    #[must_use]
    pub fn largest_mtu(&self) -> Option<u32> {
        self.ports.iter().filter_map(|port| interface::mtu(&port.name)).max()
    }

    fn drain_generation(&mut self) -> Result<Drain, LiveError> {
        let Self { ports, clock, flows, last_end, .. } = self;
        let left: Vec<usize> = ports.iter_mut().map(|port| port.table.flip()).collect();
        sys::wait_for_running_programs().map_err(LiveError::Quiescence)?;
        let (start, end) = (*last_end, clock.now());
        let mut frames = Vec::with_capacity(ports.len());
        for (port, generation) in ports.iter_mut().zip(left) {
            frames.push(port.drain(generation, |entry| flows.add(flow(&entry, clock, start, end)))?);
        }
        *last_end = end;
        Ok(Drain { start, end, flows: flows.take(), frames })
    }

    /// Notices interfaces that went away or came back.
    fn follow_interfaces(&mut self) {
        let promiscuous = self.promiscuous;
        for port in &mut self.ports {
            let index = interface::index_of(&port.name);
            let attached = port.attachment.as_ref().map(|attachment| attachment.index);
            if attached.is_some() && attached != index {
                tracing::error!("interface {} is gone; waiting for it to come back", port.name);
                port.detach();
            }
            if port.attachment.is_none() && index.is_some() {
                match port.attach(promiscuous) {
                    Ok(()) => tracing::info!("interface {} is back", port.name),
                    Err(error) => tracing::error!("{}", crate::error_chain(&error)),
                }
            }
        }
    }
}

impl Port {
    fn attach(&mut self, promiscuous: bool) -> Result<(), LiveError> {
        let attachment = self.program.attach(&self.name, interface::mtu(&self.name))?;
        let (name, mode) = (&self.name, attachment.mode);
        if promiscuous {
            let hold = Promiscuous::on(attachment.index)
                .map_err(|error| LiveError::Promiscuous { interface: name.clone(), error })?;
            self.promiscuous = Some(hold);
        }
        let action = if self.verdict.drop { "dropped" } else { "passed on" };
        tracing::info!(
            "{name}: XDP attached in {} mode; frames are {action} after counting: {}",
            mode.name(),
            self.verdict.why
        );
        if let Some(why) = &attachment.not_native {
            tracing::warn!("{name}: native XDP was refused ({why}); generic mode is several times slower");
        }
        for advice in interface::offload_advice(name, mode == XdpMode::Native) {
            tracing::warn!("{advice}");
        }
        self.missed = interface::missed_frames(name);
        self.attachment = Some(attachment);
        Ok(())
    }

    fn detach(&mut self) {
        self.promiscuous = None;
        if let Some(attachment) = self.attachment.take() {
            self.program.detach(attachment);
        }
    }

    fn drain(&mut self, generation: usize, mut each: impl FnMut(Entry)) -> Result<FrameCounts, LiveError> {
        let begun = Instant::now();
        let (mut counted, mut entries) = (0, 0);
        let totals = self.table.drain(generation, |entry| {
            counted += entry.counters.packets();
            entries += 1;
            each(entry);
        })?;
        self.program.flush_log();
        let FrameTotals { seen, ignored, lost, marks_lost, .. } = totals;
        self.entries = entries;
        self.marks_lost += marks_lost;
        self.took = begun.elapsed();
        Ok(FrameCounts { seen, counted, ignored, lost, nic_missed: self.newly_missed() })
    }

    fn newly_missed(&mut self) -> u64 {
        let now = interface::missed_frames(&self.name);
        let before = std::mem::replace(&mut self.missed, now);
        match (before, now) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => 0,
        }
    }
}

fn flow(entry: &Entry, clock: &LiveClock, start: Timestamp, end: Timestamp) -> Flow {
    let (id, src_port) = FlowId::of(&entry.key);
    let counters = &entry.counters;
    Flow {
        id,
        src_port,
        packets: counters.packets(),
        bytes: counters.bytes(),
        marks: counters.marks(),
        // The coarse clock may lag the drain's by a tick.
        first_seen: clock.at(counters.first_seen_ns()).clamp(start, end),
    }
}
