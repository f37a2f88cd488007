//! From frames to the page, with the real servers and the project's own rules: sensor, Prometheus,
//! Alertmanager, pager. And without them: the sensor's own posts.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    paging::{ALERTMANAGER, Alertmanager, PAGER, Pager},
    player::Recording,
    process::wait_for,
    prometheus::Prometheus,
    require_root,
    sender::Sender,
    sensor::{Sensor, workspace},
    topology::{CLIENT, Cable, MIRROR},
};
use serde_json::Value;

/// From the first frame to the page: the detector's ten peers, a scrape, an evaluation and the group's wait.
const TO_PAGE: Duration = Duration::from_secs(30);
/// From the last frame to its end: the sensor holds an alert for three minutes after its last evidence.
const TO_END: Duration = Duration::from_mins(4);

/// Alerts of `pages` from Alertmanager that are about the client, in `state`.
fn alerts<'a>(pages: &'a [Value], state: &str) -> Vec<&'a Value> {
    let of_page = |page: &'a Value| page["alerts"].as_array().into_iter().flatten();
    let is_it = |alert: &&Value| alert["status"] == state && alert["labels"]["source"] == CLIENT.to_string();
    pages.iter().flat_map(of_page).filter(is_it).collect()
}

/// The page of either way: that it names the host, carries numbers and links to the runbook.
fn check(alert: &Value) -> Result<()> {
    ensure!(alert["labels"]["alertname"] == "FlowSensorTorrent", "{alert:#}");
    ensure!(alert["labels"]["severity"] == "critical", "{alert:#}");
    let text = |name: &str| alert["annotations"][name].as_str().context("an annotation is missing");
    let description = text("description")?;
    ensure!(description.contains(&CLIENT.to_string()), "who? {description}");
    ensure!(description.contains("new connections in") && !description.contains("unknown"), "{description}");
    ensure!(description.chars().filter(char::is_ascii_digit).count() > 12, "numbers: {description}");
    let runbook = text("runbook_url")?;
    let (file, section) = runbook.split_once('#').context("no section")?;
    let page = fs::read_to_string(workspace().join(file)).with_context(|| format!("no {file}"))?;
    let sections = page.lines().filter_map(|line| line.strip_prefix("## "));
    ensure!(sections.map(str::to_lowercase).any(|name| name == section), "{runbook} leads nowhere");
    Ok(())
}

#[test]
fn a_torrent_pages_with_its_numbers_by_every_way_and_the_page_ends_after_it() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let receiver = Pager::start(&cable.sensor, |_, _| {})?;
    let _alertmanager = Alertmanager::start(&cable.sensor)?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("sensor.yml");
    let notify =
        format!("notify: {{alertmanager: ['http://{ALERTMANAGER}'], webhook: ['http://{PAGER}/direct']}}\n");
    fs::write(&config, notify)?;
    let config = config.to_str().context("a path must be text")?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--config", config])?;
    let _prometheus = Prometheus::alerting(&cable.sensor)?;
    let recording = Recording::read(&workspace().join("tests/data/transmission.pcap"))?;
    let out = cable.sender.inside(|| Sender::open(Cable::OUT))?;

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let player = scope.spawn(|| recording.play(|_| &out, || !done.load(Ordering::Relaxed)));
        let pages = wait_for("page by every way", TO_PAGE, || {
            let pages = receiver.pages("/page");
            // One for the labels of Prometheus, one for the sensor's own.
            let by_prometheus =
                alerts(&pages, "firing").iter().any(|alert| alert["labels"]["job"] == "flowsensor");
            let by_sensor = alerts(&pages, "firing").iter().any(|alert| alert["labels"]["job"].is_null());
            let direct = receiver.pages("/direct");
            ensure!(
                by_prometheus && by_sensor && !direct.is_empty(),
                "{pages:#?} {direct:?} {:?} {}",
                sensor.alerts()?,
                sensor.log()?
            );
            Ok(pages)
        });
        done.store(true, Ordering::Relaxed);
        player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        alerts(&pages?, "firing").into_iter().try_for_each(check)
    })?;
    let direct = receiver.pages("/direct");
    ensure!(sensor.alerts()?.contains(&direct[0]), "the webhook must get the object of the log: {direct:?}");
    let status = sensor.metrics()?;
    ensure!(status.count("flowsensor_notifications_total", &[("outcome", "delivered")])? >= 2);
    ensure!(status.count("flowsensor_notification_errors_total", &[])? == 0, "{}", sensor.log()?);

    wait_for("end of the page by every way", TO_END, || {
        let pages = receiver.pages("/page");
        let over = alerts(&pages, "resolved");
        let by_prometheus = over.iter().any(|alert| alert["labels"]["job"] == "flowsensor");
        let by_sensor = over.iter().any(|alert| alert["labels"]["job"].is_null());
        let direct = receiver.pages("/direct").iter().any(|alert| alert["state"] == "resolved");
        ensure!(by_prometheus && by_sensor && direct, "{by_prometheus} {by_sensor} {direct}");
        Ok(())
    })?;
    ensure!(sensor.stop()?.status.success());
    Ok(())
}

#[test]
fn a_suppressed_torrent_is_in_log_and_metrics_and_pages_nobody() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let receiver = Pager::start(&cable.sensor, |_, _| {})?;
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("sensor.yml");
    let text = format!(
        "notify: {{webhook: ['http://{PAGER}/direct']}}\nsuppress: [{{source: {CLIENT}, kind: torrent, until: \
         '2100-01-01T00:00:00Z', reason: mirror of Linux images}}]\n"
    );
    fs::write(&config, text)?;
    let config = config.to_str().context("a path must be text")?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--config", config])?;
    let recording = Recording::read(&workspace().join("tests/data/transmission.pcap"))?;
    let out = cable.sender.inside(|| Sender::open(Cable::OUT))?;
    let found = AtomicBool::new(false);
    let alert = thread::scope(|scope| {
        let player = scope.spawn(|| recording.play(|_| &out, || !found.load(Ordering::Relaxed)));
        let alert = wait_for("alert", TO_PAGE, || sensor.alerts()?.into_iter().next().context("no alert"));
        found.store(true, Ordering::Relaxed);
        player.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        alert
    })?;
    ensure!(alert["suppressed"] == "mirror of Linux images", "{alert}");
    let metrics = sensor.metrics()?;
    let labels = [("kind", "torrent"), ("source", &*CLIENT.to_string())];
    ensure!(metrics.count("flowsensor_alert_suppressed", &labels)? == 1);
    ensure!(metrics.count("flowsensor_alert_active", &labels)? == 1);
    ensure!(metrics.count("flowsensor_suppressions", &[("kind", "torrent")])? == 1);
    ensure!(sensor.stop()?.status.success());
    ensure!(receiver.pages("/direct").is_empty(), "{:?}", receiver.pages("/direct"));
    Ok(())
}
