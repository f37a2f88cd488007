//! `cargo xtask soak`: what the tests do with a hundred thousand frames and in a minute, with as many and for
//! as long as one has time for; and `inspect` against tshark on the captures at hand.

use std::path::{self, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root},
    setup,
};

/// How many frames each test generates; the name is also known to `tests/tests/kernel_parity`.
const FRAMES: &str = "SENSOR_PARITY_FRAMES";
/// How long the benign load lasts; the name is also known to `tests/tests/kernel_benign.rs`.
const SECONDS: &str = "SENSOR_BENIGN_SECONDS";
/// That the comparison with tshark is wanted; the name is also known to `tests/tests/tshark.rs`.
const TSHARK: &str = "SENSOR_TSHARK";
/// Where the captures of others are; the name is also known to `tests/src/lib.rs`.
const CAPTURES: &str = "SENSOR_CAPTURES";

/// How long to soak, and in what.
#[derive(Args)]
pub struct Options {
    /// Frames that each test of the parser generates; 0 leaves the parser out.
    #[arg(long, default_value_t = 1_000_000)]
    frames: u64,
    /// Minutes of mixed benign load, in which nobody may be named; 0 leaves it out.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// Folder of captures besides the project's own [default: ../shared/captures, if it is there].
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
}

/// Holds the parser in the kernel, the one in user space and independent ones against each other; then
/// watches an office at work.
pub fn run(options: &Options) -> Result<()> {
    if !is_root() {
        bail!("this loads an XDP program and makes network namespaces: run the same command as root");
    }
    setup::toolchain()?;
    if options.frames > 0 {
        // Without it that one comparison says that it is left out.
        if let Err(error) = setup::tshark() {
            eprintln!("tshark: {error:#}");
        }
        test("kernel_parity", options)?;
        test("tshark", options)?;
    }
    if options.minutes > 0 {
        setup::tests()?;
        test("kernel_benign", options)?;
    }
    Ok(())
}

/// Runs a test, one claim after the other so that what they print stays apart.
fn test(name: &str, options: &Options) -> Result<()> {
    let mut command = cargo();
    // Not optimised: a million frames take a minute and a half, an optimised build takes longer than it
    // saves.
    command.args(["test", "--locked", "--package", "sensor-tests", "--test", name]);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    if let Some(folder) = &options.captures {
        let folder = path::absolute(folder).with_context(|| format!("no folder {}", folder.display()))?;
        command.env(CAPTURES, folder);
    }
    command.env(TSHARK, "1");
    command.env(FRAMES, options.frames.to_string()).env(SECONDS, (options.minutes * 60).to_string());
    exec(&mut command)
}
