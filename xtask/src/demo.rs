//! `cargo xtask demo`: the sensor catching a BitTorrent client, from one command.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root, path, root, target},
    setup,
};

/// How to show it.
#[derive(Args)]
pub struct Options {
    /// A capture to play instead of the committed one; its client must be 10.77.0.10.
    #[arg(value_name = "CAPTURE")]
    capture: Option<PathBuf>,
}

/// Builds what it takes and hands over to the `demo` program of the tests crate.
pub fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the demo makes network namespaces and loads an XDP program: run it as root, such as `sudo -E env PATH=\"$PATH\" cargo xtask demo`"
        );
    }
    setup::toolchain()?;
    setup::network()?;
    exec(cargo().args([
        "build",
        "--locked",
        "--release",
        "--package",
        "sensor-user",
        "--package",
        "sensor-tests",
    ]))?;
    let program = target().join("release/demo");
    exec(Command::new(program).args(&options.capture).current_dir(root()).env("PATH", path()))
}
