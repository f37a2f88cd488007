//! An office at work names nobody: a minute of mixed benign load in the tests, half an hour by `cargo xtask
//! soak`.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    benign::{ACTORS, Load},
    metrics::Metrics,
    process::wait_for,
    require_root,
    sensor::Sensor,
    topology::{Family, MIRROR, Office, address},
};

/// Names the seconds that the load lasts; `cargo xtask soak` wants many.
const SECONDS: &str = "SENSOR_BENIGN_SECONDS";
const DEFAULT_SECONDS: u64 = 60;
/// How often the alerts are looked at, and how often one is told how it goes.
const LOOK: Duration = Duration::from_secs(2);
const TELL: Duration = Duration::from_mins(5);

#[test]
fn an_office_at_work_names_nobody() -> Result<()> {
    require_root()?;
    let seconds = env::var(SECONDS).map_or(Ok(DEFAULT_SECONDS), |text| text.parse());
    let duration = Duration::from_secs(seconds.with_context(|| format!("{SECONDS} must be a number"))?);
    let office = Office::new()?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR])?;
    let load = Load::start(&office)?;
    let (begin, mut told) = (Instant::now(), Instant::now());
    while begin.elapsed() < duration {
        thread::sleep(LOOK);
        let alerts = sensor.alerts()?;
        ensure!(alerts.is_empty(), "after {:?}: {alerts:?}", begin.elapsed());
        if told.elapsed() >= TELL {
            told = Instant::now();
            eprintln!("after {:.0} s: {}", begin.elapsed().as_secs_f64(), totals(&sensor.metrics()?)?);
        }
    }
    // Counters of sources grow interval by interval.
    let metrics = wait_for("work by everybody", Duration::from_secs(30), || {
        let metrics = sensor.metrics()?;
        for actor in ACTORS {
            let source = address(Family::V4, actor.number).to_string();
            let opened = metrics.count("flowsensor_source_new_connections_total", &[("source", &source)])?;
            // Some have met everybody after a minute, and what is known is not new.
            let least = u64::from(actor.least) * duration.as_secs().min(60) / 60;
            ensure!(opened >= least, "{source}, {}: {opened} new connections", actor.name);
        }
        Ok(metrics)
    })?;
    eprintln!("{}", totals(&metrics)?);
    for actor in ACTORS {
        let source = address(Family::V4, actor.number).to_string();
        let labels = [("source", &source[..])];
        let opened = metrics.count("flowsensor_source_new_connections_total", &labels)?;
        let score = metrics.sum("flowsensor_source_torrent_score", &labels);
        eprintln!("  {source} {}: {opened} new connections, torrent score {score:.2}", actor.name);
    }
    let coverage = metrics.sum("flowsensor_coverage_ratio", &[]);
    ensure!(coverage > 0.99, "coverage {coverage}: the silence of the detectors proves little");
    drop(load);
    let ended = sensor.stop()?;
    ensure!(ended.alerts.is_empty(), "{:?}", ended.alerts);
    Ok(())
}

/// One line of figures.
fn totals(metrics: &Metrics) -> Result<String> {
    let frames = metrics.count("flowsensor_frames_total", &[])?;
    let lost = metrics.count("flowsensor_frames_total", &[("outcome", "lost")])?;
    let opened = metrics.count("flowsensor_source_new_connections_total", &[])?;
    let alerts = metrics.count("flowsensor_alerts_total", &[])?;
    let coverage = metrics.sum("flowsensor_coverage_ratio", &[]);
    Ok(format!(
        "{frames} frames, {lost} lost, {opened} new connections, coverage {coverage:.4}, {alerts} alerts"
    ))
}
