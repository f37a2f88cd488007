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

pub mod datagram;
pub mod service;

pub mod benign;
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

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

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

/// The folder of captures that are not the project's to publish, where it is not beside the workspace.
const CAPTURES: &str = "SENSOR_CAPTURES";

/// Every capture at hand: the project's own, and those of others if they are there.
pub fn captures() -> Result<Vec<PathBuf>> {
    let workspace = sensor::workspace();
    let mut captures = captures_in(&workspace.join("tests/data"))?;
    ensure!(!captures.is_empty(), "the project's own captures must be there");
    let folder = env::var_os(CAPTURES).map_or_else(|| workspace.join("../shared/captures"), PathBuf::from);
    match captures_in(&folder) {
        Ok(more) => captures.extend(more),
        // Only where nobody asked for them.
        Err(error) if env::var_os(CAPTURES).is_none() => left_out(&format!("captures of others: {error:#}"))?,
        Err(error) => return Err(error),
    }
    Ok(captures)
}

/// The capture files in a folder, by name.
fn captures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| {
        let extension = path.extension().unwrap_or_default();
        ["pcap", "pcapng", "cap"].iter().any(|known| extension == *known)
    });
    paths.sort();
    Ok(paths)
}
