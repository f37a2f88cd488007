//! Every way in which a client can look for peers is named within seconds: two clients, two protocols, by
//! tracker only, by DHT only, and with encryption required. All of them at the same time, each on a host of
//! its own, under one sensor.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use sensor_tests::{
    browsing,
    client::{Client, Discovery, Settings},
    process::wait_for,
    require_root,
    sensor::Sensor,
    swarm::{Swarm, tracker},
    topology::{BROWSER, Family, MIRROR, NETWORK6, Office, address},
    witness::{Deeds, Witness},
};
use sensor_user::clock::Timestamp;
use serde_json::Value;

/// From the tenth new peer to the alert, by the time stamps of the frames.
const LIMIT: Duration = Duration::from_secs(5);
/// The same for a client that finds peers by DHT only. Most are named within 4 s; one that knows few nodes asks
/// about one more in 10 s, and most that it then asks answer: that looks like a service until it speeds up.
const DHT_LIMIT: Duration = Duration::from_secs(20);
/// How long clients may take until they have found peers: those of DHT only begin with one node.
const PATIENCE: Duration = Duration::from_secs(150);
/// The office's host that the first client runs on; the others have the next numbers.
const FIRST: u8 = 40;

/// A client with what it is told, and the host that it runs on.
struct Case {
    settings: Settings,
    address: IpAddr,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { client, family, discovery, encrypted } = self.settings;
        let encrypted = if encrypted { ", encrypted only" } else { "" };
        write!(f, "{client:?} over {family:?} by {discovery:?}{encrypted}")
    }
}

#[test]
fn every_client_is_named_within_seconds_of_its_tenth_peer_and_nobody_else() -> Result<()> {
    require_root()?;
    let office = Office::dual_stack()?;
    let directory = tempfile::tempdir()?;
    let _web = browsing::serve(&office.internet)?;
    let _swarm = Swarm::start(&office.internet)?;
    let locals = ["--local-network", "10.0.0.0/8", "--local-network", NETWORK6];
    let sensor = Sensor::start(&office.sensor, &[&["--interface", MIRROR][..], &locals].concat())?;
    let witness = Witness::start(&office.switch, &directory.path().join("capture.pcap"))?;
    let _reader = browsing::browse(&office.browser)?;
    // The reader is seen before, beside and after the clients.
    thread::sleep(Duration::from_secs(5));

    let cases = cases();
    let mut running = Vec::new();
    for (case, number) in cases.iter().zip(FIRST..) {
        let host = office.host("client", number)?;
        let own = directory.path().join(number.to_string());
        std::fs::create_dir(&own)?;
        running.push((case.settings.start(&host, case.address, &own)?, host));
    }
    let named = wait_for("alert for everybody", PATIENCE, || {
        let named = named(&sensor.alerts()?)?;
        let missing: Vec<_> = cases.iter().filter(|case| !named.contains_key(&case.address)).collect();
        ensure!(missing.is_empty(), "nothing of {}", list(&missing));
        Ok(())
    });
    let deeds = witness.testify(is_local)?;
    let ended = sensor.stop()?;
    let alerts = self::named(&ended.alerts)?;
    let mut failures: Vec<_> = cases
        .iter()
        .filter_map(|case| judge(case, &alerts, &deeds).err())
        .map(|error| format!("{error:#}"))
        .collect();
    failures.extend(named.err().map(|error| format!("{error:#}")));
    for alert in &ended.alerts {
        let source: IpAddr = alert["source"].as_str().context("an alert must have a source")?.parse()?;
        if !cases.iter().any(|case| case.address == source) {
            failures.push(format!("{source} did nothing: {alert}"));
        }
    }
    let read = deeds.get(&IpAddr::from(BROWSER)).map_or(0, |reader| reader.peers.len());
    ensure!(read > 20, "the reader met {read} hosts only: that proves nothing");
    if !failures.is_empty() {
        let kept = directory.keep();
        let told: Vec<_> = ended.alerts.iter().map(ToString::to_string).collect();
        std::fs::write(kept.join("alerts.jsonl"), told.join("\n"))?;
        bail!("{}\nthe capture and the alerts are in {}", failures.join("\n"), kept.display());
    }
    Ok(())
}

/// All of them.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for client in [Client::Aria2, Client::Transmission] {
        for family in [Family::V4, Family::V6] {
            for (discovery, encrypted) in
                [(Discovery::Tracker, false), (Discovery::Dht, false), (Discovery::All, true)]
            {
                let settings = Settings { client, family, discovery, encrypted };
                let number = FIRST + u8::try_from(cases.len()).expect("cases are few");
                cases.push(Case { settings, address: address(family, number) });
            }
        }
    }
    cases
}

/// The first torrent alert of each host, with its time.
fn named(alerts: &[Value]) -> Result<BTreeMap<IpAddr, (Timestamp, String)>> {
    let mut named = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert["kind"] == "torrent" && alert["state"] == "firing") {
        let (Some(source), Some(time)) = (alert["source"].as_str(), alert["time"].as_str()) else {
            bail!("an alert must have a source and a time: {alert}");
        };
        let time: jiff::Timestamp = time.parse().with_context(|| format!("not RFC 3339: {time}"))?;
        let time = Timestamp(u64::try_from(time.as_nanosecond())?);
        named.entry(source.parse()?).or_insert((time, alert["summary"].to_string()));
    }
    Ok(named)
}

/// Whether the client did what it was told, and was named in time.
fn judge(
    case: &Case,
    named: &BTreeMap<IpAddr, (Timestamp, String)>,
    deeds: &HashMap<IpAddr, Deeds>,
) -> Result<()> {
    let deeds = deeds.get(&case.address).with_context(|| format!("{case}: it did nothing"))?;
    let Settings { family, discovery, encrypted, .. } = case.settings;
    let (asked, queries) = (deeds.knows(tracker(family).ip()), deeds.dht_queries);
    match discovery {
        Discovery::Tracker => ensure!(asked && queries == 0, "{case}: it asked {queries} DHT nodes"),
        Discovery::Dht => ensure!(!asked && queries > 0, "{case}: it asked the tracker or no DHT node"),
        Discovery::All => ensure!(asked, "{case}: it did not ask the tracker"),
    }
    let greetings = deeds.greetings;
    ensure!(!encrypted || greetings == 0, "{case}: {greetings} greetings that everybody can read");
    let tenth = deeds.tenth_peer().with_context(|| case.to_string())?;
    let (time, summary) = named.get(&case.address).with_context(|| format!("{case}: no alert"))?;
    eprintln!("{case}: {:.1} s after its tenth peer: {summary}", seconds(*time, tenth));
    let limit = if discovery == Discovery::Dht { DHT_LIMIT } else { LIMIT };
    ensure!(*time <= tenth.plus(limit), "{case}: {:.1} s after its tenth peer", seconds(*time, tenth));
    Ok(())
}

/// Seconds from `begin` to `end`, less than none where it is the other way about.
fn seconds(end: Timestamp, begin: Timestamp) -> f64 {
    end.since(begin).as_secs_f64() - begin.since(end).as_secs_f64()
}

fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        // Neighbour discovery is between the hosts of one link.
        IpAddr::V6(address) => {
            let segments = address.segments();
            address.is_unicast_link_local() || segments.starts_with(&[0x2001, 0xdb8])
        }
    }
}

fn list(cases: &[&Case]) -> String {
    cases.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
