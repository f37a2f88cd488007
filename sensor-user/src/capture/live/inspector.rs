//! The kernel's instance of the parser, run on single frames: attached to nothing.

use std::borrow::Cow;

use aya::{
    programs::{ProgramError, TestRun as _, TestRunOptions},
    util::nr_cpus,
};
use sensor_common::{
    control::{INSPECTION, Inspection},
    frame::CapturedFrame,
    packet::Packet,
    parse::{Decapsulate, Link},
    reason::Ignored,
};

use super::{
    LiveError,
    mapped::MappedArray,
    program::{Program, ProgramFailure},
    table::{TableSize, map},
};
use crate::config::Capacity;

/// `BPF_PROG_TEST_RUN` refuses less than an Ethernet header.
const MIN_FRAME: usize = 14;

/// As much as fits the one buffer that the kernel gives a test frame; no header begins further inside.
const MAX_FRAME: usize = 3000;

/// Runs the parser in the kernel through `BPF_PROG_TEST_RUN`.
pub struct Inspector {
    program: Program,
    exchange: MappedArray<Inspection>,
}

/// Why a frame could not be put to the kernel.
#[derive(Debug, thiserror::Error)]
#[error("running the parser in the kernel failed")]
pub struct InspectError(#[source] Box<ProgramFailureOrRun>);

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFailureOrRun {
    /// The program is not there.
    #[error(transparent)]
    Program(#[from] ProgramFailure),
    /// The run was refused.
    #[error(transparent)]
    Run(#[from] ProgramError),
}

impl Inspector {
    /// Loads the program, which opens these tunnels; needs the same privilege as a live capture, but no
    /// interface.
    pub fn load(decapsulate: Decapsulate) -> Result<Self, LiveError> {
        let cpus = nr_cpus().map_err(|(file, error)| LiveError::Cpus { file, error })?;
        let smallest = Capacity { ipv4_flows: 1, ipv6_flows: 1, ..Capacity::default() };
        let size = TableSize::new(&smallest, u32::try_from(cpus).unwrap_or(u32::MAX));
        let mut program = Program::load(&size, false, decapsulate)?;
        program.verified("inspect")?;
        let exchange = map(program.ebpf(), INSPECTION, 1)?;
        Ok(Self { program, exchange })
    }

    /// What the kernel's parser makes of a frame.
    pub fn inspect(
        &mut self,
        frame: &CapturedFrame<'_>,
        link: Link,
    ) -> Result<Result<Packet, Ignored>, InspectError> {
        Ok(self.answer(frame, link)?.parsed())
    }

    /// All that the kernel's parser says of a frame: also the flow that an ICMP error quotes, and whose
    /// datagram a later fragment is of.
    pub fn answer(&mut self, frame: &CapturedFrame<'_>, link: Link) -> Result<Inspection, InspectError> {
        let bytes = &frame.bytes[..frame.bytes.len().min(MAX_FRAME)];
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.exchange.write(0, Inspection::question(length(bytes.len()), length(frame.wire_len), link));
        let mut padded = Cow::Borrowed(bytes);
        if bytes.len() < MIN_FRAME {
            padded.to_mut().resize(MIN_FRAME, 0);
        }
        self.run(&padded).map_err(|error| InspectError(Box::new(error)))?;
        Ok(self.exchange.read(0))
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), ProgramFailureOrRun> {
        let options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::default() };
        self.program.verified("inspect")?.test_run(options)?;
        Ok(())
    }
}
