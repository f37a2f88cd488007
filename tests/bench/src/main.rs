//! What flow-sensor costs, measured side by side with what it could have been built on.
//!
//! Everything is measured in CPU time, the candidates taking turns, so that a shared machine does little harm; what
//! counts are the ratios. Run by `cargo xtask bench`, as root.
#![deny(unsafe_code)]

mod flows;
mod frames;
mod kernel;
mod report;
mod sys;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::report::Report;

/// Measures flow-sensor.
#[derive(Parser)]
struct Options {
    /// Rounds in which the candidates take turns.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Only this group of figures; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Group>,
}

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    /// The parser alone.
    Parser,
    /// Known and new flows at several sizes.
    Table,
    /// A table full of spoofed flows.
    Full,
    /// Flows chosen to collide.
    Chosen,
    /// Two CPUs at once.
    Cpus,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let wanted = |group| options.only.is_empty() || options.only.contains(&group);
    let mut report = Report::default();
    let rounds = options.rounds;
    if wanted(Group::Parser) {
        frames::parser(rounds, &mut report)?;
    }
    if wanted(Group::Table) {
        let points = [1 << 10, 1 << 16, 1 << 20].map(|flows| frames::point(flows, rounds));
        let points = points.into_iter().collect::<Result<Vec<_>>>()?;
        frames::report_points(&points, &mut report);
    }
    if wanted(Group::Full) {
        frames::full(rounds, &mut report)?;
    }
    if wanted(Group::Chosen) {
        frames::chosen(rounds, &mut report)?;
    }
    if wanted(Group::Cpus) {
        frames::two_cpus(rounds, &mut report)?;
    }
    println!("{report}");
    Ok(())
}
