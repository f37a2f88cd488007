//! An office, its gateway, the internet and a sensor on the switch's mirror port.
//!
//! ```text
//!  client   10.77.0.10 ─┐ host0
//!  browser  10.77.0.20 ─┤ host1   switch    uplink     lan      gateway      wan
//!  server   10.77.0.30 ─┘ host2  (a bridge) ──────────── 10.77.0.1  198.18.0.1 ── internet 198.18.0.2
//!                                   │ span                                       and any other address
//!                                   │ tc mirred: what enters and what leaves `uplink`
//!                                mirror
//!                                 sensor
//! ```
//!
//! The internet answers for nearly every address on earth, so a swarm can have as many
//! networks as a real one. Some prefixes are unreachable (an ICMP error says so) or silent, as hosts that
//! are gone are.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::netns::Namespace;

/// The interface of the sensor's namespace that the mirrored frames arrive on.
pub const MIRROR: &str = "mirror";
/// The BitTorrent client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
/// Somebody who only browses.
pub const BROWSER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);
/// A server of the office that the world connects to.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 30);
/// The internet's end of the gateway's cable.
pub const PROVIDER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// First octets that the internet says are unreachable: `OCTET.0.0.0/8`. As any router it limits these
/// errors: five to a host at once, then one a second.
pub const UNREACHABLE: [u8; 6] = [11, 29, 53, 109, 141, 193];
/// First octets from which nothing ever comes back.
pub const SILENT: [u8; 24] = [
    21, 25, 33, 37, 49, 59, 67, 73, 81, 85, 93, 99, 113, 119, 131, 137, 149, 153, 163, 173, 181, 187, 201,
    211,
];

/// The namespaces of the drawing.
#[derive(Debug)]
pub struct Office {
    /// See [`CLIENT`].
    pub client: Namespace,
    /// See [`BROWSER`].
    pub browser: Namespace,
    /// See [`SERVER`].
    pub server: Namespace,
    /// The office's switch, whose uplink is mirrored.
    pub switch: Namespace,
    /// The office's router; no address is translated.
    pub gateway: Namespace,
    /// Everything else.
    pub internet: Namespace,
    /// Where the sensor runs; its only interfaces are loopback and [`MIRROR`].
    pub sensor: Namespace,
}

impl Office {
    /// Builds it, ready for traffic.
    pub fn new() -> Result<Self> {
        let office = Self {
            client: Namespace::new("client")?,
            browser: Namespace::new("browser")?,
            server: Namespace::new("server")?,
            switch: Namespace::new("switch")?,
            gateway: Namespace::new("gateway")?,
            internet: Namespace::new("internet")?,
            sensor: Namespace::new("sensor")?,
        };
        office.connect_lan()?;
        office.connect_internet()?;
        office.connect_mirror()?;
        Ok(office)
    }

    fn connect_lan(&self) -> Result<()> {
        let Self { client, browser, server, switch, gateway, .. } = self;
        switch.run("ip link add switch type bridge")?;
        switch.run("ip link set switch up")?;
        for (port, host, address) in
            [("host0", client, CLIENT), ("host1", browser, BROWSER), ("host2", server, SERVER)]
        {
            switch.cable(port, host, "lan")?;
            switch.run(&format!("ip link set {port} master switch"))?;
            host.run(&format!("ip address add {address}/24 dev lan"))?;
            host.run("ip route add default via 10.77.0.1")?;
        }
        switch.cable("uplink", gateway, "lan")?;
        switch.run("ip link set uplink master switch")?;
        gateway.run("ip address add 10.77.0.1/24 dev lan")?;
        Ok(())
    }

    fn connect_internet(&self) -> Result<()> {
        let Self { gateway, internet, .. } = self;
        gateway.cable("wan", internet, "wan")?;
        gateway.run("ip address add 198.18.0.1/24 dev wan")?;
        gateway.run(&format!("ip route add default via {PROVIDER}"))?;
        internet.run(&format!("ip address add {PROVIDER}/24 dev wan"))?;
        internet.run("ip route add 10.77.0.0/24 via 198.18.0.1")?;
        // The limit per receiver of ICMP errors; see UNREACHABLE for the one that stays.
        internet.sysctl("net/ipv4/icmp_ratelimit", "0")?;
        let routes: Vec<_> = (1..=223).filter_map(route_of).collect();
        internet.ip(&routes)
    }

    fn connect_mirror(&self) -> Result<()> {
        let Self { switch, sensor, .. } = self;
        switch.cable("span", sensor, MIRROR)?;
        switch.run("tc qdisc add dev uplink clsact")?;
        // u32 with an empty match: `matchall` is newer and left out of some kernels.
        let mirror = "protocol all u32 match u32 0 0 action mirred egress mirror dev span";
        for hook in ["ingress", "egress"] {
            switch.run(&format!("tc filter add dev uplink {hook} {mirror}"))?;
        }
        Ok(())
    }
}

/// What the internet does with `octet.0.0.0/8`: it answers for most of them. None for those that are in
/// use by the drawing itself.
fn route_of(octet: u8) -> Option<String> {
    const IN_USE: [u8; 3] = [10, 127, 198];
    let kind = match octet {
        octet if IN_USE.contains(&octet) => return None,
        octet if UNREACHABLE.contains(&octet) => "unreachable",
        octet if SILENT.contains(&octet) => "blackhole",
        _ => return Some(format!("route add local {octet}.0.0.0/8 dev lo")),
    };
    Some(format!("route add {kind} {octet}.0.0.0/8"))
}

/// Two namespaces on one cable with a queue per CPU, for frames that no stack of a host made.
///
/// ```text
///  sender ── out ═══ mirror ── sensor
/// ```
#[derive(Debug)]
pub struct Cable {
    /// Where frames are sent from, on interface [`Cable::OUT`].
    pub sender: Namespace,
    /// Where the sensor runs, on interface [`MIRROR`].
    pub sensor: Namespace,
}

impl Cable {
    /// The sending end.
    pub const OUT: &str = "out";

    /// Builds it; neither end ever sends a frame by itself.
    pub fn new() -> Result<Self> {
        let cable = Self { sender: Namespace::new("sender")?, sensor: Namespace::new("sensor")? };
        cable.connect()?;
        Ok(cable)
    }

    /// Lays the cable, again after [`cut`](Self::cut).
    pub fn connect(&self) -> Result<()> {
        let Self { sender, sensor } = self;
        sender.cable(Self::OUT, sensor, MIRROR)?;
        sender.run(&format!("ip link set {} arp off", Self::OUT))?;
        sensor.run(&format!("ip link set {MIRROR} arp off"))?;
        Ok(())
    }

    /// Removes both interfaces, as when a NIC is unplugged.
    pub fn cut(&self) -> Result<()> {
        self.sensor.run(&format!("ip link delete {MIRROR}")).map(drop)
    }
}
