//! The demo keeps its promise, and leaves nothing behind when it is stopped.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sensor_tests::{
    process::{Process, wait_for},
    require_root,
    sensor::binary,
};

const DEMO: &str = env!("CARGO_BIN_EXE_demo");

#[test]
fn the_demo_ends_with_the_alert_and_the_metrics_behind_it() -> Result<()> {
    require_root()?;
    binary()?;
    let output = Command::new(DEMO).stdin(Stdio::null()).output().context("cannot run the demo")?;
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {error}", output.status);
    for part in [
        "\"kind\":\"torrent\"",
        "BitTorrent-like peer discovery",
        "flowsensor_alert_active{kind=\"torrent\",source=\"10.77.0.10\"} 1",
        "flowsensor_coverage_ratio{interface=\"mirror\"} 1",
        "flowsensor_xdp_mode{interface=\"mirror\",mode=\"native\"} 1",
        "flowsensor_source_torrent_score{source=\"10.77.0.20\"} 0",
        "Where to look next",
    ] {
        ensure!(out.contains(part), "it does not show {part}:\n{out}\n{error}");
    }
    Ok(())
}

#[test]
fn a_demo_that_is_interrupted_takes_its_sensor_along() -> Result<()> {
    require_root()?;
    binary()?;
    let mut command = Command::new(DEMO);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut demo = Process::spawn(&mut command)?;
    let sensor = wait_for("sensor", Duration::from_secs(20), || sensor_of(demo.id()))?;
    demo.signal(Signal::SIGINT)?;
    let status = demo.wait(Duration::from_secs(20))?;
    ensure!(status.success(), "the demo ended with {status}");
    ensure!(!sensor.exists(), "{} is still there", sensor.display());
    Ok(())
}

/// The directory in /proc of the sensor that the demo started.
fn sensor_of(demo: u32) -> Result<PathBuf> {
    let processes = fs::read_dir("/proc").context("cannot read /proc")?;
    let mut paths = processes.filter_map(|entry| Some(entry.ok()?.path()));
    let is_sensor = |path: &PathBuf| {
        let status = fs::read_to_string(path.join("status")).unwrap_or_default();
        status.starts_with("Name:\tflow-sensor\n") && status.contains(&format!("\nPPid:\t{demo}\n"))
    };
    paths.find(is_sensor).context("the demo has no sensor")
}
