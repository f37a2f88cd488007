//! The burst: a real client is named within seconds, whoever browses beside it is not.

use std::{collections::BTreeSet, net::IpAddr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::sys::signal::Signal;
use sensor_tests::{
    browsing,
    client::Client,
    process::wait_for,
    require_root,
    sensor::Sensor,
    swarm,
    topology::{BROWSER, CLIENT, MIRROR, Office, SERVER},
};
use sensor_user::{capture::file::CaptureFile, clock::Timestamp};

/// From the tenth new peer to the alert.
const LIMIT: Duration = Duration::from_secs(10);
const TENTH: usize = 10;

#[test]
fn a_live_client_is_named_within_10_s_of_its_tenth_peer_and_a_reader_is_not() -> Result<()> {
    require_root()?;
    let office = Office::new()?;
    let directory = tempfile::tempdir()?;
    let capture = directory.path().join("capture.pcap");
    let _web = browsing::serve(&office.internet)?;
    let _swarm = swarm::start(&office.internet)?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR])?;
    // The witness: another tool, on another port of the switch, with the same clock.
    let mut witness = Command::new("tcpdump");
    witness.args(["-q", "-i", "uplink", "-s", "74", "--immediate-mode", "-Z", "root", "-w"]).arg(&capture);
    let mut witness = office.switch.spawn(&mut witness)?;
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
    witness.signal(Signal::SIGINT)?;
    witness.wait(Duration::from_secs(5))?;

    let time = alert["time"].as_str().context("an alert must have a time")?;
    let time: jiff::Timestamp = time.parse().with_context(|| format!("not RFC 3339: {time}"))?;
    let time = Timestamp(u64::try_from(time.as_nanosecond())?);
    let tenth = tenth_peer(&capture)?;
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

/// When the client first spoke to its tenth external address, by an account of its own.
fn tenth_peer(capture: &Path) -> Result<Timestamp> {
    let mut file = CaptureFile::open(capture)?;
    let mut peers = BTreeSet::new();
    while let Some(frame) = file.next_frame()? {
        let Ok(packet) = SlicedPacket::from_ethernet(frame.frame.bytes) else { continue };
        let Some(NetSlice::Ipv4(ip)) = packet.net else { continue };
        let (from, to) = (ip.header().source_addr(), ip.header().destination_addr());
        let opens = match packet.transport {
            Some(TransportSlice::Tcp(tcp)) => tcp.syn() && !tcp.ack(),
            Some(TransportSlice::Udp(_)) => true,
            _ => false,
        };
        if opens && from == CLIENT && !to.is_private() {
            peers.insert(to);
            if peers.len() == TENTH {
                return Ok(frame.time);
            }
        }
    }
    anyhow::bail!("the client spoke to {} peers only", peers.len())
}
