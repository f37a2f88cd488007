//! `cargo xtask soak`: what the tests do with a hundred thousand frames, with as many as one has time for; and `inspect`
//! against tshark on the captures at hand.

use std::path::{self, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root},
    setup,
};

/// How many frames each test generates; the name is also known to `tests/tests/kernel_parity`.
const FRAMES: &str = "SENSOR_PARITY_FRAMES";

/// Where the captures of others are; the name is also known to `tests/src/lib.rs`.
const CAPTURES: &str = "SENSOR_CAPTURES";

/// How long to soak, and in what.
#[derive(Args)]
pub struct Options {
    /// Frames that each test of the parser generates.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Folder of captures besides the project's own [default: ../shared/captures, if it is there].
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
}

/// Holds the parser in the kernel, the one in user space and independent ones against each other.
pub fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!(
            "the parser in the kernel is among those compared, which needs root: run the same command as root"
        );
    }
    setup::toolchain()?;
    // Without it that one comparison says that it is left out.
    if let Err(error) = setup::tshark() {
        eprintln!("tshark: {error:#}");
    }
    test("kernel_parity", &[], options)?;
    test("tshark", &["--include-ignored"], options)
}

/// Runs a test, one claim after the other so that what they print stays apart.
fn test(name: &str, arguments: &[&str], options: &Options) -> Result<()> {
    let mut command = cargo();
    // Not optimised: a million frames take a minute and a half, an optimised build takes longer than it saves.
    command.args(["test", "--locked", "--package", "sensor-tests", "--test", name]);
    command.args(["--", "--nocapture", "--test-threads", "1"]).args(arguments);
    if let Some(folder) = &options.captures {
        let folder = path::absolute(folder).with_context(|| format!("no folder {}", folder.display()))?;
        command.env(CAPTURES, folder);
    }
    exec(command.env(FRAMES, options.frames.to_string()))
}
