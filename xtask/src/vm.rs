//! `cargo xtask vm`: the kernel program under other kernels than the one at hand.
//!
//! Boots Debian's kernels in QEMU with `tests/tests/kernel_verifier.rs` in an initramfs and nothing else. All
//! of it is unpacked below `target/vm`: nothing is installed, and no root is needed. The processor is
//! emulated (TCG), which works on every host, also in a virtual machine; a kernel takes about a minute.

mod image;
mod packages;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::{
    exec::{cargo, target},
    setup,
};

/// The test that is run.
const TEST: &str = "kernel_verifier";

/// What the inside says at the end, before the test's exit status.
const STATUS: &str = "vm: status ";

/// How the test reports what the verifier counted.
const COUNT: &str = "verified instructions of ";

/// Seconds that a kernel may take.
const PATIENCE: &str = "600";

/// Which kernels.
#[derive(Args)]
pub struct Options {
    /// A kernel by the beginning of its version, as Debian names it; repeatable.
    #[arg(long, default_values = ["6.1", "6.12"])]
    kernel: Vec<String>,
}

/// Boots each kernel in turn, also after one has failed, then sums up.
pub fn run(options: &Options) -> Result<()> {
    setup::toolchain()?;
    setup::network()?;
    let test = build_test()?;
    let emulator = packages::emulator()?;
    let outcomes: Vec<_> =
        options.kernel.iter().map(|version| (version, boot(&emulator, version, &test))).collect();
    eprintln!("\n=== summary");
    let mut failed = Vec::new();
    for (version, outcome) in outcomes {
        match outcome {
            Ok(report) => eprintln!("    ok  {report}"),
            Err(error) => {
                eprintln!("FAILED  {version}: {error:#}");
                failed.push(version.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "failed on {}", failed.join(", "));
    Ok(())
}

/// Where everything is kept.
fn directory() -> PathBuf {
    target().join("vm")
}

/// Builds the test and returns its program.
fn build_test() -> Result<PathBuf> {
    let arguments =
        ["test", "--locked", "--package", "sensor-tests", "--test", "kernel_verifier", "--no-run"];
    let mut command = cargo();
    command.args(arguments).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the test does not build: {}", output.status);
    let text = String::from_utf8(output.stdout).context("cargo wrote something else than text")?;
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    // The programs of the package are built along with it.
    messages
        .filter(|message| message["target"]["name"] == TEST)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo named no executable")
}

/// Boots one kernel; says which it was and what the verifier counted.
fn boot(emulator: &packages::Emulator, version: &str, test: &Path) -> Result<String> {
    let kernel = packages::kernel(version)?;
    eprintln!("\n=== {}", kernel.name);
    let initrd = image::build(&kernel, &emulator.busybox, test)?;
    let log = kernel.directory.join("console");
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(&emulator.program).args(&emulator.arguments);
    command.args(["-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1G", "-nodefaults", "-no-user-config"]);
    command.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&initrd);
    command.args(["-append", "console=ttyS0 quiet panic=-1"]);
    command.envs(emulator.libraries.iter().map(|path| ("LD_LIBRARY_PATH", path)));
    let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
    let status = command.stdin(Stdio::null()).stdout(file).status().context("cannot run timeout")?;
    let console = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let console = String::from_utf8_lossy(&console);
    eprintln!("{}", console.trim());
    let Some(result) = console.lines().find_map(|line| line.trim().strip_prefix(STATUS)) else {
        bail!("the tests did not come to an end within {PATIENCE} s ({status}); see {}", log.display());
    };
    ensure!(result == "0", "the tests failed; see {}", log.display());
    Ok(summary(&kernel.name, &console))
}

fn summary(name: &str, console: &str) -> String {
    let counts: Vec<_> = console.lines().filter_map(|line| Some(line.split_once(COUNT)?.1.trim())).collect();
    format!("{name}: {}", counts.join(", "))
}
