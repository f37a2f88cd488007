//! SIGHUP: what is suppressed changes at once, a mistake changes nothing, and what needs a new start is named.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sensor_tests::{
    metrics::Metrics,
    packet::{Segment, frame},
    process::wait_for,
    require_root,
    sender::Sender,
    sensor::Sensor,
    topology::{Cable, MIRROR},
};

const SCANNER: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);
const PATIENCE: Duration = Duration::from_secs(20);
const SUCCESSFUL: &str = "flowsensor_config_last_reload_successful";
const TIME: &str = "flowsensor_config_last_reload_success_timestamp_seconds";

/// Enough of a scan to be called one.
fn scan() -> Vec<Vec<u8>> {
    let to = |host| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(45, 1, 1, host)), 445);
    let from = SocketAddr::new(IpAddr::V4(SCANNER), 40_000);
    (1..=200).map(|host| frame(from, to(host), Segment::Syn, &[])).collect()
}

/// Writes the configuration, tells the sensor and returns its metrics once they are `as_expected`.
fn reload(
    sensor: &Sensor<'_>,
    file: &Path,
    text: &str,
    as_expected: impl Fn(&Metrics) -> bool,
) -> Result<Metrics> {
    fs::write(file, text).context("cannot write the configuration")?;
    sensor.signal(Signal::SIGHUP)?;
    wait_for(&format!("effect of {text:?}"), PATIENCE, || {
        let metrics = sensor.metrics()?;
        ensure!(as_expected(&metrics), "the sensor says {}", sensor.log()?);
        Ok(metrics)
    })
}

#[test]
fn a_new_configuration_takes_effect_on_the_current_state_and_a_wrong_one_not_at_all() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = directory.path().join("flow-sensor.yml");
    fs::write(&file, "interval: 2s\n").context("cannot write the configuration")?;
    let name = file.to_str().context("a temporary path must be text")?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--config", name])?;
    cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&scan()))?;
    let source = SCANNER.to_string();
    let alert = [("kind", "scan"), ("source", source.as_str())];
    let before = wait_for("alert", PATIENCE, || {
        let metrics = sensor.metrics()?;
        ensure!(metrics.sum("flowsensor_alert_active", &alert) > 0.0, "no alert so far");
        Ok(metrics)
    })?;
    ensure!(before.sum(SUCCESSFUL, &[]) > 0.0 && before.sum(TIME, &[]) > 1.7e9, "the first one counts too");

    let suppress =
        "interval: 2s\nsuppress:\n- {source: 10.9.9.0/24, until: '2100-01-01T00:00:00Z', reason: ours}\n";
    let is_suppressed = |metrics: &Metrics| metrics.sum("flowsensor_alert_suppressed", &alert) > 0.0;
    let metrics = reload(&sensor, &file, suppress, is_suppressed)?;
    ensure!(metrics.sum("flowsensor_alert_active", &alert) > 0.0, "it still holds");
    ensure!(metrics.sum(TIME, &[]) > before.sum(TIME, &[]), "the time of the last one must be told");

    let wrong = suppress.replace("10.9.9.0/24", "10.9.9.0/33");
    let metrics = reload(&sensor, &file, &wrong, |metrics| metrics.sum(SUCCESSFUL, &[]) == 0.0)?;
    ensure!(is_suppressed(&metrics), "the one before must stay in force");
    let log = sensor.log()?;
    ensure!(log.contains("stays as it was: suppress.source") && log.contains("10.9.9.0/33"), "{log}");
    let metrics = reload(&sensor, &file, "interval: 2s\nsupress: []\n", |metrics| is_suppressed(metrics))?;
    ensure!(metrics.sum(SUCCESSFUL, &[]) == 0.0, "still wrong");
    wait_for("the place of the mistake", PATIENCE, || {
        let log = sensor.log()?;
        ensure!(log.contains("line 2") && log.contains("supress"), "{log}");
        Ok(())
    })?;

    let metrics = reload(&sensor, &file, "interval: 5s\n", |metrics| !is_suppressed(metrics))?;
    ensure!(metrics.sum(SUCCESSFUL, &[]) > 0.0, "it is mended");
    let log = sensor.log()?;
    ensure!(log.contains("on a new start only: interval"), "{log}");
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    Ok(())
}
