//! The demo: an office in network namespaces, somebody who browses, somebody who starts a BitTorrent client,
//! and the sensor on the mirror port.
//!
//! Run by `cargo xtask demo`. Browsing is live. The client is a recording of a real one, so that it need not
//! be installed: what it sent is sent again from its place in the office, what it got from the gateway's.
//! Everything is gone when this process has ended, however it ended.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sensor_tests::{
    browsing,
    metrics::Metrics,
    require_root,
    sensor::{Sensor, workspace},
    stage::{RecordedClient, keep_on, sleep, watch_signals},
    topology::{BROWSER, CLIENT, MIRROR, Office},
};
use serde_json::Value;

/// How long there is only browsing.
const QUIET: Duration = Duration::from_secs(6);
/// The end of it all, alert or not.
const LIMIT: Duration = Duration::from_mins(1);
/// How long it goes on after the interval of the alert.
const AFTER: Duration = Duration::from_secs(8);
/// The sensor's interval: short, so that its statistics show up while one watches.
const INTERVAL: Duration = Duration::from_secs(5);

const INTRODUCTION: &str = "
  client  10.77.0.10 ─┐
  browser 10.77.0.20 ─┤ switch ── gateway ── internet
  server  10.77.0.30 ─┘    ║ mirror of the gateway's port, both directions (tc mirred)
                           ╚═ flow-sensor run --interface mirror   (native XDP)

  10.77.0.20 browses the web all the time. In 6 seconds 10.77.0.10 starts a BitTorrent client.
  All of it happens in network namespaces; Ctrl-C ends it.
";

fn main() -> Result<()> {
    require_root()?;
    watch_signals()?;
    let capture = std::env::args_os()
        .nth(1)
        .map_or_else(|| workspace().join("tests/data/transmission.pcap"), PathBuf::from);
    println!("{INTRODUCTION}");
    let office = Office::new()?;
    let recorded = RecordedClient::open(&capture, &office)?;
    let _web = browsing::serve(&office.internet)?;
    let interval = format!("{}s", INTERVAL.as_secs());
    let mut sensor = Sensor::show(&office.sensor, &["--interface", MIRROR, "--interval", &interval])?;
    let _reader = browsing::browse(&office.browser)?;
    let outcome = perform(&recorded, &mut sensor)?;
    sensor.stop()?;
    if !keep_on() {
        println!("\nStopped; nothing is left behind.");
        return Ok(());
    }
    let (alert, metrics) = outcome.context("no torrent alert: the sensor failed its own demo")?;
    conclude(&alert, &metrics);
    Ok(())
}

/// Plays the client and waits for its alert and for the statistics of the interval that it fell into.
fn perform(recorded: &RecordedClient, sensor: &mut Sensor<'_>) -> Result<Option<(Value, Metrics)>> {
    let begin = Instant::now();
    sleep(QUIET);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let player = scope.spawn(|| recorded.play(|| !over.load(Ordering::Relaxed) && keep_on()));
        let outcome = watch(sensor, begin);
        over.store(true, Ordering::Relaxed);
        player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        outcome
    })
}

/// Waits for the alert and for the end of the interval that it fell into, and lets it run on for a while.
fn watch(sensor: &mut Sensor<'_>, begin: Instant) -> Result<Option<(Value, Metrics)>> {
    let is_torrent = |alert: &Value| alert["kind"] == "torrent" && alert["state"] == "firing";
    let client = [("source", &*CLIENT.to_string())];
    let opened = |metrics: &Metrics| metrics.count("flowsensor_source_new_connections_total", &client);
    let (mut alert, mut at_alert) = (None, 0);
    while keep_on() && begin.elapsed() < LIMIT && !sensor.has_ended()? {
        if alert.is_none() {
            alert = sensor.alerts()?.into_iter().find(is_torrent);
            at_alert = opened(&sensor.metrics()?)?;
        } else {
            // Counters grow when an interval is complete.
            let metrics = sensor.metrics()?;
            if opened(&metrics)? > at_alert {
                sleep(AFTER);
                return Ok(alert.map(|alert| (alert, metrics)));
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(None)
}

fn conclude(alert: &Value, metrics: &Metrics) {
    println!("\nThe alert, as in the alert log:\n\n  {alert}\n");
    println!("In words:\n\n  {}\n", alert["summary"].as_str().unwrap_or_default());
    println!("The metrics behind it, as Prometheus would read them (the reader is there to compare):\n");
    let names = [
        "flowsensor_frames_total",
        "flowsensor_coverage_ratio",
        "flowsensor_xdp_mode",
        "flowsensor_alert_active",
        "flowsensor_source_torrent_score",
        "flowsensor_source_new_connections_total",
        "flowsensor_source_new_peers",
        "flowsensor_source_new_ports",
        "flowsensor_source_unanswered_ratio",
    ];
    let sources = [CLIENT, BROWSER].map(|address| address.to_string());
    for name in names {
        for series in metrics.series(name, &[]) {
            let of_interest = series.labels.get("source").is_none_or(|source| sources.contains(source));
            // Reasons for which nothing was ignored or lost are left out here.
            let telling = name != "flowsensor_frames_total" || series.value > 0.0;
            if of_interest && telling {
                println!("  {}", series.line);
            }
        }
    }
    println!(
        "
Where to look next:
  target/release/flow-sensor run --interface IF         your own mirror port (README: running it for real)
  target/release/flow-sensor replay FILE                your own captures; tests/data has some to begin with
  http://127.0.0.1:19810/metrics                        of a running sensor
"
    );
}
