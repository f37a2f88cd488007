//! The burst: a real client is named within seconds, whoever browses beside it is not.

use std::{net::IpAddr, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    browsing,
    client::Client,
    process::wait_for,
    require_root,
    sensor::Sensor,
    swarm,
    topology::{BROWSER, CLIENT, MIRROR, Office, SERVER},
    witness::Witness,
};
use sensor_user::clock::Timestamp;

/// From the tenth new peer to the alert.
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_live_client_is_named_within_5_s_of_its_tenth_peer_and_a_reader_is_not() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let directory = tempfile::tempdir()?;
    let _web = browsing::serve(&office.internet)?;
    let _swarm = swarm::start(&office.internet)?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR])?;
    let witness = Witness::start(&office.switch, &directory.path().join("capture.pcap"))?;
    let _reader = browsing::browse(&office.browser)?;
    // The reader is seen before, beside and after the client.
    thread::sleep(Duration::from_secs(5));
    let _client = Client::Aria2.start(&office.client, directory.path())?;

    let alert = wait_for("alert", Duration::from_secs(30), || {
        sensor
            .alerts()?
            .into_iter()
            .find(|alert| alert["kind"] == "torrent")
            .context("no torrent alert so far")
    })?;
    ensure!(alert["source"] == CLIENT.to_string() && alert["state"] == "firing", "a wrong alert: {alert}");
    thread::sleep(Duration::from_secs(12));
    let mut deeds =
        witness.testify(|address| matches!(address, IpAddr::V4(address) if address.is_private()))?;
    let tenth = deeds.remove(&CLIENT.into()).context("the client did nothing")?.tenth_peer()?;

    let time = alert["time"].as_str().context("an alert must have a time")?;
    let time: jiff::Timestamp = time.parse().with_context(|| format!("not RFC 3339: {time}"))?;
    let time = Timestamp(u64::try_from(time.as_nanosecond())?);
    eprintln!("{:?} after the tenth peer: {}", time.since(tenth), alert["summary"]);
    ensure!(time <= tenth.plus(LIMIT), "{:?} after the tenth peer: {alert}", time.since(tenth));
    // Counters of sources grow interval by interval.
    let metrics = wait_for("reader in the metrics", Duration::from_secs(30), || {
        let metrics = sensor.metrics()?;
        let reader =
            metrics.count("flowsensor_source_new_connections_total", &[("source", &BROWSER.to_string())])?;
        ensure!(reader > 20, "only {reader} new connections by the reader: that proves nothing");
        Ok(metrics)
    })?;
    let torrent = |source: IpAddr| {
        let source = source.to_string();
        metrics.sum("flowsensor_alert_active", &[("kind", "torrent"), ("source", &source)])
    };
    ensure!(torrent(CLIENT.into()) > 0.0, "the alert must be active");
    let ended = sensor.stop()?;
    for bystander in [BROWSER, SERVER] {
        let alerts: Vec<_> = ended.alerts.iter().filter(|a| a["source"] == bystander.to_string()).collect();
        ensure!(alerts.is_empty(), "{bystander} did nothing: {alerts:?}");
    }
    Ok(())
}
