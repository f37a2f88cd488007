//! The project's one door for building, testing and showing.
//!
//! Every subcommand first calls [`setup`] for what it needs, so a fresh machine needs nothing but rustup.

mod bench;
mod build;
mod demo;
mod evaluate;
mod exec;
mod fuzz;
mod lint;
mod setup;
mod soak;
mod stack;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Builds, checks, tests and shows flow-sensor.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Installs what is missing: the eBPF toolchain and what the tests run; changes nothing where all is
    /// there.
    Setup,
    /// Builds the sensor with its kernel program.
    Build(build::Options),
    /// Formatting, clippy and rustdoc, warnings being errors.
    Lint,
    /// Everything: set-up, lint, unit tests and, as root, the tests with the real kernel.
    Test(test::Options),
    /// The comparison of the parsers with many more frames, and the benign load for longer, than in a test
    /// (as root).
    Soak(soak::Options),
    /// Fuzzes the parser and the reader of capture files (with a nightly compiler).
    Fuzz(fuzz::Options),
    /// Boots other kernels under QEMU and runs the kernel program there.
    Vm(vm::Options),
    /// Measures the detectors on labelled captures: what they find, how soon, and what they call wrongly.
    Evaluate(evaluate::Options),
    /// Measures what the sensor costs, side by side with the kernel's own maps (as root).
    Bench(bench::Options),
    /// Shows the sensor catching a BitTorrent client, in network namespaces of its own (as root).
    Demo(demo::Options),
    /// Runs the sensor with a real Prometheus, Alertmanager and pager, for a person to look at (as root).
    Stack,
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup => setup::everything(),
        Task::Build(options) => build::run(&options),
        Task::Lint => lint::run(),
        Task::Test(options) => test::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Vm(options) => vm::run(&options),
        Task::Evaluate(options) => evaluate::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Demo(options) => demo::run(&options),
        Task::Stack => stack::run(),
    }
}
