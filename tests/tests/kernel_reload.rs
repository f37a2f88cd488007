//! SIGHUP: what is suppressed or allowed changes at once, a mistake changes nothing, and what needs a new
//! start is named.

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

/// Enough of a scan of a network to be called one.
fn scan(network: u8) -> Vec<Vec<u8>> {
    let to = |host| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(45, 1, network, host)), 445);
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
    cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&scan(1)))?;
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
    reload(&sensor, &file, suppress, |metrics| metrics.sum(SUCCESSFUL, &[]) > 0.0)?;
    let misspelt = "interval: 2s\nsupress: []\n";
    let metrics = reload(&sensor, &file, misspelt, |metrics| metrics.sum(SUCCESSFUL, &[]) == 0.0)?;
    ensure!(is_suppressed(&metrics), "the one before must stay in force");
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

#[test]
fn what_is_allowed_changes_with_the_group_that_it_names() -> Result<()> {
    const ALLOWED: &str = "flowsensor_allowed_contacts_total";
    const GROWTH: &str = "flowsensor_source_new_connections_total";
    /// How many connections each scan opens.
    const SCAN: f64 = 200.0;
    require_root()?;
    let cable = Cable::new()?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let file = directory.path().join("flow-sensor.yml");
    fs::write(&file, "interval: 2s\n").context("cannot write the configuration")?;
    let name = file.to_str().context("a temporary path must be text")?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--config", name])?;
    let (source, reason) = (SCANNER.to_string(), [("reason", "ours")]);
    let of_group = |address: &str| {
        format!(
            "interval: 2s\ngroups: {{scanners: [{address}]}}\nallow: [{{source: scanners, reason: ours}}]\n"
        )
    };
    let seen = |scans: f64| {
        wait_for("the scan", PATIENCE, || {
            let metrics = sensor.metrics()?;
            let counted = metrics.sum(GROWTH, &[("source", &source)]);
            ensure!(counted >= scans * SCAN, "{counted} new connections");
            Ok(metrics)
        })
    };

    let is_listed = |metrics: &Metrics| metrics.series(ALLOWED, &reason).any(|series| series.value == 0.0);
    reload(&sensor, &file, &of_group("10.9.9.8"), is_listed)?;
    cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&scan(1)))?;
    let metrics = seen(1.0)?;
    ensure!(metrics.sum(ALLOWED, &reason) == 0.0, "the group is somebody else");

    let before = metrics.sum(TIME, &[]);
    reload(&sensor, &file, &of_group("10.9.9.0/24"), |metrics| metrics.sum(TIME, &[]) > before)?;
    cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&scan(2)))?;
    let metrics = seen(2.0)?;
    let allowed = metrics.sum(ALLOWED, &reason);
    ensure!((allowed - SCAN).abs() < 0.5, "{allowed} contacts were allowed");
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    Ok(())
}
