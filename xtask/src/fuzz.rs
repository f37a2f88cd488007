//! `cargo xtask fuzz`: feeds what comes from strangers (frames and capture files) with damaged input.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use clap::{Args, builder::PossibleValuesParser};

use crate::{
    exec::{exec, path, root, target},
    setup,
};

/// Where each target is, and its name.
const TARGETS: [(&str, &str); 2] = [("sensor-common/fuzz", "parse"), ("sensor-user/fuzz", "capture")];

/// How long to fuzz.
#[derive(Args)]
pub struct Options {
    /// Seconds for each target.
    #[arg(default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Only this target.
    #[arg(long, value_parser = PossibleValuesParser::new(TARGETS.map(|(_, name)| name)))]
    only: Option<String>,
}

/// Runs every target; ends at the first input that crashes one, which is then in its `artifacts`.
pub fn run(options: &Options) -> Result<()> {
    setup::fuzzer()?;
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| only == name);
    TARGETS
        .into_iter()
        .filter(|(_, name)| wanted(name))
        .try_for_each(|(folder, name)| fuzz(folder, name, options.seconds))
}

/// New inputs go to the target directory; the seeds that are in the repository are only read.
fn fuzz(folder: &str, name: &str, seconds: u64) -> Result<()> {
    let folder = Path::new(folder);
    let corpus = target().join("fuzz").join(name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", "run", name, "--fuzz-dir"]).arg(folder);
    command.arg(&corpus).arg(folder.join("seeds").join(name));
    command.args(["--", &format!("-max_total_time={seconds}"), "-print_final_stats=1"]);
    // An input that takes seconds, or memory by a length that it claims, is a finding.
    command.args(["-timeout=10", "-malloc_limit_mb=64"]);
    // The kernel program is not what is fuzzed.
    exec(command.env("PATH", path()).env("SENSOR_EBPF_SKIP", "1").current_dir(root()))
}
