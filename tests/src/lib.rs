//! What the end-to-end tests and the demo share: namespaces, traffic, and a hand on the sensor.
//!
//! Traffic stays inside network namespaces that have no way out; they vanish with the process.
#![deny(unsafe_code)]

pub mod netns;

pub mod topology;

pub mod packet;

#[expect(unsafe_code, reason = "two socket calls that nix does not wrap")]
pub mod sender;

pub mod player;

pub mod stage;

pub mod service;

pub mod browsing;
pub mod swarm;

pub mod client;
pub mod witness;

pub mod process;

pub mod http;
pub mod relay;

pub mod paging;
pub mod prometheus;

pub mod browser;
pub mod metrics;

pub mod sensor;

use std::{env, fs::OpenOptions, io::Write, path::PathBuf};

use anyhow::{Context, Result, ensure};

/// Says that a test was left out and why, where `cargo xtask test` finds it for its summary.
///
/// libtest swallows what a passing test prints; the file does not.
pub fn left_out(what: &str) -> Result<()> {
    eprintln!("left out: {what}");
    let Some(path) = env::var_os("SENSOR_TEST_SKIPS").map(PathBuf::from) else { return Ok(()) };
    let mut file = OpenOptions::new()
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    writeln!(file, "{what}").with_context(|| format!("cannot write {}", path.display()))
}

/// Ends a test that cannot run here with a message that says how it can.
pub fn require_root() -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    ensure!(root, "this test loads an XDP program and makes network namespaces: run it as root");
    Ok(())
}
