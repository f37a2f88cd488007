//! `cargo xtask bench`: what the sensor costs, against the kernel's own maps and other programs.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root, path, root, target},
    setup,
};

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// The cost of a frame and of the agent under real traffic, instead of everything else.
    #[arg(long)]
    traffic: bool,
    /// Passed to the benchmark; see `cargo xtask bench -- --help`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// Builds the sensor and the benchmark and runs it.
pub fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("the benchmark loads XDP programs: run `sudo -E cargo xtask bench`");
    }
    setup::toolchain()?;
    setup::bench()?;
    let packages = ["--package", "sensor-user", "--package", "sensor-bench"];
    exec(cargo().args(["build", "--locked", "--release"]).args(packages))?;
    let mut command = Command::new(target().join("release/sensor-bench"));
    if options.traffic {
        command.arg("--traffic");
    }
    exec(command.args(&options.arguments).current_dir(root()).env("PATH", path()))
}
