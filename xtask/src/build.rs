//! `cargo xtask build`: the sensor with its kernel program.

use anyhow::Result;
use clap::Args;

use crate::{
    exec::{cargo, exec},
    setup,
};

/// How to build.
#[derive(Args)]
pub struct Options {
    /// With optimisation.
    #[arg(long)]
    pub release: bool,
}

/// Builds the default members, after seeing to the eBPF toolchain.
pub fn run(options: &Options) -> Result<()> {
    setup::toolchain()?;
    let mut command = cargo();
    command.args(["build", "--locked"]);
    if options.release {
        command.arg("--release");
    }
    exec(&mut command)
}
