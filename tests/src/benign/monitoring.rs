//! Monitoring of another site: pings of all its addresses (fping), and TCP checks of every host that is known
//! there, a few of which are down.

use std::{net::Ipv4Addr, process::Command, time::Duration};

use anyhow::Result;
use tokio::time::{sleep, timeout};

use super::{Repeat, echo, exchange};
use crate::{
    netns::Namespace,
    service::{Service, detach},
    topology::Office,
};

/// What is checked: SSH, a web interface, the node exporter of Prometheus.
const CHECKED: [u16; 3] = [22, 443, 9100];
/// Hosts that are known there, and which of them are down.
const KNOWN: u8 = 120;
const DOWN: [u8; 6] = [17, 33, 58, 71, 96, 113];
/// Between two checks.
const PAUSE: Duration = Duration::from_millis(120);

/// Connects the other site to the gateway: `10.78.0.0/24`.
pub fn site(office: &Office) -> Result<(Namespace, Service)> {
    let site = Namespace::new("site")?;
    office.gateway.cable("site", &site, "lan")?;
    office.gateway.run("ip address add 10.79.0.1/30 dev site")?;
    office.gateway.run("ip route add 10.78.0.0/24 via 10.79.0.2")?;
    site.run("ip address add 10.79.0.2/30 dev lan")?;
    site.run("ip route add default via 10.79.0.1")?;
    let up = (1..=KNOWN).filter(|host| !DOWN.contains(host));
    let routes: Vec<_> = up.map(|host| format!("route add local 10.78.0.{host}/32 dev lo")).collect();
    site.ip(&routes)?;
    site.run("ip route add blackhole 10.78.0.0/24")?;
    let service = Service::start(&site, || async {
        for port in CHECKED {
            echo(port, b"up\r\n").await?;
        }
        Ok(())
    })?;
    Ok((site, service))
}

/// Starts the checks.
pub fn check(monitor: &Namespace) -> Result<Service> {
    Service::start(monitor, || async {
        detach(async {
            for (host, port) in (1..=KNOWN).flat_map(|host| CHECKED.map(|port| (host, port))).cycle() {
                let host = (Ipv4Addr::new(10, 78, 0, host), port);
                // That some are down is what the checks are for.
                detach(timeout(Duration::from_secs(2), exchange(host, 10)));
                sleep(PAUSE).await;
            }
        });
        Ok(())
    })
}

/// Starts the pings.
pub fn ping(monitor: &Namespace) -> Result<Repeat> {
    Repeat::start(monitor, Duration::from_secs(20), |_| {
        let mut command = Command::new("fping");
        command.args(["-q", "-r", "0", "-i", "10", "-g", "10.78.0.0/24"]);
        command
    })
}
