//! `cargo xtask soak`: what the tests do with a hundred thousand frames, with as many as one has time for.

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root},
    setup,
};

/// How many frames each test generates; the name is also known to `tests/tests/kernel_parity`.
const FRAMES: &str = "SENSOR_PARITY_FRAMES";

/// How long to soak.
#[derive(Args)]
pub struct Options {
    /// Frames that each test of the parser generates.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
}

/// Holds the parser in the kernel, the one in user space and an independent one against each other.
pub fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the parser in the kernel is among those compared, which needs root: run the same command as root"
        );
    }
    setup::toolchain()?;
    let arguments = ["test", "--locked", "--release", "--package", "sensor-tests", "--test", "kernel_parity"];
    exec(cargo().args(arguments).args(["--", "--nocapture"]).env(FRAMES, options.frames.to_string()))
}
