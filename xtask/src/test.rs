//! `cargo xtask test`: everything. What cannot be tested here is named, never passed over; where the
//! environment says `CI=true` it is an error.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    exec::{cargo, exec, is_root, root, target},
    lint, setup,
};

/// Where tests write, one line each, what they had to leave out and why.
const SKIPS: &str = "SENSOR_TEST_SKIPS";

/// The one thing that may be missing everywhere: captures that are not the project's to publish.
const OPTIONAL: &str = "../shared/captures";
/// What takes so long that it has a command of its own says so when it is left out.
const LONG: &str = "left to cargo xtask soak";

/// Integration tests of sensor-tests whose name begins with this need root: they load programs and
/// make network namespaces.
const PRIVILEGED: &str = "kernel";

/// What to test.
#[derive(Args)]
pub struct Options {
    /// Only the tests with the real kernel (and what they need).
    #[arg(long)]
    only_kernel: bool,
}

/// What became of one step.
struct Outcome {
    step: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

/// Runs every step also after one has failed, then sums up.
pub fn run(options: &Options) -> Result<()> {
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    if ci && !is_root() {
        bail!("CI=true and not root: the tests with the real kernel would be left out");
    }
    let skips = skip_file()?;
    let mut outcomes = vec![timed("setup", set_up)];
    if outcomes.iter().all(|outcome| outcome.error.is_none()) {
        if !options.only_kernel {
            outcomes.push(timed("lint", lint::run));
            outcomes.push(timed("unit tests", || unit_tests(&skips)));
        }
        outcomes.push(timed("end-to-end tests", || end_to_end(&skips)));
    }
    let mut left_out = read_skips(&skips)?;
    if !root().join(OPTIONAL).is_dir() {
        left_out.push(format!("the captures of others that may lie in {OPTIONAL}: they are not there"));
    }
    if !is_root() {
        left_out.push(format!(
            "the tests with the real kernel (tests/tests/{PRIVILEGED}*): they load XDP programs and make network \
             namespaces, which needs root; run the same command as root"
        ));
    }
    sum_up(&outcomes, &left_out, ci)
}

fn set_up() -> Result<()> {
    setup::lints()?;
    setup::toolchain()?;
    if is_root() { setup::tests() } else { Ok(()) }
}

fn unit_tests(skips: &Path) -> Result<()> {
    // The eBPF crate has no tests: what it computes is in sensor-common.
    let exclude = ["--exclude", "sensor-tests", "--exclude", "sensor-ebpf"];
    exec(cargo().args(["test", "--locked", "--no-fail-fast", "--workspace"]).args(exclude).env(SKIPS, skips))
}

/// Optimised, as the sensor is in use: half of these tests are about keeping up.
///
/// Tests with the real kernel make claims about time, on a machine that others may use. One that fails is run
/// once more, alone; that it had to be is said, and a second failure counts.
fn end_to_end(skips: &Path) -> Result<()> {
    exec(cargo().args(["build", "--locked", "--release", "--package", "sensor-user"]))?;
    let run = |selection: &[&str]| {
        let mut command = cargo();
        command.args(["test", "--locked", "--no-fail-fast", "--release", "--package", "sensor-tests"]);
        exec(command.args(selection).env(SKIPS, skips))
    };
    run(&["--lib", "--bins"])?;
    let mut failed = Vec::new();
    for name in targets()?.into_iter().filter(|name| is_root() || !name.starts_with(PRIVILEGED)) {
        let selection = ["--test", &name];
        let Err(error) = run(&selection) else { continue };
        eprintln!("{name} failed ({error:#}); once more");
        match run(&selection) {
            Ok(()) => eprintln!("{name} passed on its second run only"),
            Err(_) => failed.push(name),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed twice: {}", failed.join(", ")) }
}

/// The integration tests of sensor-tests, by name: a file or a folder each.
fn targets() -> Result<Vec<String>> {
    let directory = root().join("tests/tests");
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn timed(step: &'static str, task: impl FnOnce() -> Result<()>) -> Outcome {
    eprintln!("\n=== {step}");
    let begin = Instant::now();
    let error = task().err();
    if let Some(error) = &error {
        eprintln!("error: {error:#}");
    }
    Outcome { step, took: begin.elapsed(), error }
}

/// An empty file for the tests to write their skips to.
fn skip_file() -> Result<PathBuf> {
    let path = target().join("test-skips");
    fs::create_dir_all(target()).with_context(|| format!("cannot make {}", target().display()))?;
    fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn read_skips(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn sum_up(outcomes: &[Outcome], left_out: &[String], ci: bool) -> Result<()> {
    eprintln!("\n=== summary");
    for Outcome { step, took, error } in outcomes {
        let verdict = if error.is_none() { "ok" } else { "FAILED" };
        eprintln!("{verdict:>6}  {step} ({:.0} s)", took.as_secs_f64());
    }
    for skip in left_out {
        eprintln!("  left out: {skip}");
    }
    let failed: Vec<_> = outcomes.iter().filter(|outcome| outcome.error.is_some()).map(|o| o.step).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    if ci && left_out.iter().any(|skip| !skip.contains(OPTIONAL) && !skip.contains(LONG)) {
        bail!("CI=true and something was left out");
    }
    Ok(())
}
