//! What flow-sensor costs, measured side by side with what it could have been built on.
//!
//! Everything is measured in CPU time, the candidates taking turns, so that a shared machine does little
//! harm; what counts are the ratios. Run by `cargo xtask bench`, as root.
#![deny(unsafe_code)]

mod agent;
mod encapsulations;
mod flows;
mod frames;
#[expect(dead_code, reason = "the parser's own tests use the rest")]
#[path = "../../../sensor-common/tests/parse/frames.rs"]
mod headers;
mod kernel;
mod plot;
mod replay;
mod report;
mod sys;
mod traffic;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use sensor_tests::sender::pin_to_cpu;

use crate::report::{Bar, Report};

/// Measures flow-sensor.
#[derive(Parser)]
struct Options {
    /// Rounds in which the candidates take turns.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only this group of figures; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Group>,
    /// Instead: the cost of a frame and of the agent under real traffic, over a cable of network namespaces.
    #[arg(long)]
    traffic: bool,
    /// Where to draw the cost of a frame from 1 to 4 million flows.
    #[arg(long)]
    plot: Option<PathBuf>,
}

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The parser alone.
    Parser,
    /// One flow in every encapsulation.
    Encapsulations,
    /// Known and new flows at several sizes.
    Table,
    /// A table full of spoofed flows.
    Full,
    /// Flows chosen to collide.
    Chosen,
    /// Two CPUs at once.
    Cpus,
    /// What the verifier makes of the programs.
    Verifier,
    /// Memory per flow.
    Memory,
    /// Draining a million entries.
    Drain,
    /// Frames accounted for while draining.
    Exactness,
    /// Behind the drain.
    Pipeline,
    /// Capture files.
    Replay,
    /// The growth curve alone, where it is to be drawn.
    Curve,
    /// With `--traffic`: the cost of a frame.
    Frames,
    /// With `--traffic`: from the start to the first frame counted.
    Start,
    /// With `--traffic`: the agent under new connections.
    Agent,
}

/// How long exactness is watched, in seconds.
const EXACTNESS: u64 = 30;

fn main() -> Result<()> {
    let options = Options::parse();
    let mut report = Report::default();
    if options.traffic {
        let wanted = |group| options.only.is_empty() || options.only.contains(&group);
        traffic::traffic(wanted, options.rounds, &mut report)?;
    } else {
        measure(&options, &mut report)?;
    }
    println!("{report}\n{} of the bars were missed.", report.missed());
    Ok(())
}

fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wanted = |group| options.only.is_empty() || options.only.contains(&group);
    let rounds = options.rounds;
    // What is per CPU stays with one; where two are needed, threads choose theirs.
    pin_to_cpu(0)?;
    if wanted(Group::Parser) {
        frames::parser(rounds, report)?;
    }
    if wanted(Group::Encapsulations) {
        encapsulations::encapsulations(rounds, report)?;
    }
    if wanted(Group::Table) {
        for flows in [1 << 10, 1 << 16, 1 << 20] {
            frames::point(flows, rounds)?.report(report);
        }
    }
    if wanted(Group::Full) {
        frames::full(rounds, report)?;
    }
    if wanted(Group::Chosen) {
        frames::chosen(rounds, report)?;
    }
    if wanted(Group::Cpus) {
        frames::two_cpus(rounds, report)?;
    }
    if wanted(Group::Verifier) {
        for (program, instructions) in kernel::Sensor::load(1 << 16)?.verified()? {
            let what = format!("instructions verified, `{program}`");
            report.held(what, f64::from(instructions), "", Bar::Most(1e6), "the kernel's limit");
        }
    }
    if wanted(Group::Memory) {
        agent::memory(report);
    }
    if wanted(Group::Drain) {
        agent::drain(rounds, report)?;
    }
    if wanted(Group::Exactness) {
        agent::exactness(EXACTNESS, report)?;
    }
    if wanted(Group::Pipeline) {
        agent::pipeline(rounds, report);
    }
    if wanted(Group::Replay) {
        replay::replay(rounds, report)?;
    }
    if let Some(path) = &options.plot {
        let points = plot::CURVE.map(|flows| frames::known_flows(flows, rounds).map(|costs| (flows, costs)));
        let points = points.into_iter().collect::<Result<Vec<_>>>()?;
        plot::draw(path, &points)?;
    }
    Ok(())
}
