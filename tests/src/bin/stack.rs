//! The whole way from a frame to a page, to look at: the office of the demo, the sensor, Prometheus,
//! Alertmanager and a pager that prints what it gets.
//!
//! Run by `cargo xtask stack`. Everything happens in network namespaces; only the servers' ports can be
//! reached from this machine's loopback. It goes on until Ctrl-C and leaves nothing behind.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use sensor_tests::{
    browsing,
    paging::{ALERTMANAGER, Alertmanager, Pager},
    prometheus::{self, Prometheus},
    relay, require_root,
    sensor::{self, Sensor, workspace},
    stage::{RecordedClient, keep_on, sleep, watch_signals},
    topology::{BROWSER, CLIENT, MIRROR, Office},
};
use serde_json::Value;

/// How long there is only browsing before the client.
const QUIET: Duration = Duration::from_secs(10);
/// From one burst of the client to the next: long enough for the page to end.
const PERIOD: Duration = Duration::from_mins(6);

fn main() -> Result<()> {
    require_root()?;
    watch_signals()?;
    let office = Office::new()?;
    let servers: [(&str, SocketAddr); 3] = [
        ("sensor, page and metrics", sensor::ADDRESS),
        ("Prometheus", prometheus::ADDRESS),
        ("Alertmanager", ALERTMANAGER),
    ];
    let inside = Arc::new(office.sensor.handle()?);
    for (_, address) in servers {
        relay::open(&inside, address)?;
    }
    let _web = browsing::serve(&office.internet)?;
    let _pager = Pager::start(&office.sensor, |_, page| print_page(page))?;
    let _alertmanager = Alertmanager::start(&office.sensor)?;
    let sensor = Sensor::start(&office.sensor, &["--interface", MIRROR, "--interval", "5s"])?;
    let prometheus = Prometheus::alerting(&office.sensor)?;
    let client = RecordedClient::open(&workspace().join("tests/data/transmission.pcap"), &office)?;
    let _reader = browsing::browse(&office.browser)?;

    for (name, address) in servers {
        println!("{name:<26} http://{address}/");
    }
    println!(
        "\n{BROWSER} browses all the time; {CLIENT} starts a BitTorrent client in {} s, and again every {} min.\nWhat \
         the pager gets is printed here. Ctrl-C ends it.\n",
        QUIET.as_secs(),
        PERIOD.as_secs() / 60
    );
    sleep(QUIET);
    while keep_on() {
        let begin = Instant::now();
        client.play(keep_on)?;
        sleep(PERIOD.saturating_sub(begin.elapsed()));
    }
    drop(prometheus);
    sensor.stop()?;
    println!("\nStopped; nothing is left behind.");
    Ok(())
}

/// A page in a few lines.
fn print_page(page: &Value) {
    for alert in page["alerts"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (labels, annotations) = (&alert["labels"], &alert["annotations"]);
        println!(
            "page: {} {}: {}",
            text(&alert["status"]),
            text(&labels["alertname"]),
            text(&annotations["description"])
        );
        println!("      {}", text(&annotations["runbook_url"]));
    }
}
