//! An office, its gateway, the internet and a sensor on the switch's mirror port.
//!
//! ```text
//!  client   10.77.0.10 ─┐ host10
//!  browser  10.77.0.20 ─┤ host20  switch    uplink     lan      gateway      wan
//!  server   10.77.0.30 ─┘ host30 (a bridge) ──────────── 10.77.0.1  198.18.0.1 ── internet 198.18.0.2
//!                                    │ span                                       and any other address
//!                                    │ tc mirred: what enters and what leaves `uplink`
//!                                 mirror
//!                                  sensor
//! ```
//!
//! The internet answers for nearly every address on earth, so a swarm can have as many
//! networks as a real one. Some prefixes are unreachable (an ICMP error says so) or silent, as hosts that
//! are gone are.
//!
//! [`Office::dual_stack`] is the same with IPv6 beside IPv4: every host has `2001:db8:77::NUMBER` beside
//! `10.77.0.NUMBER`, and the internet answers for the addresses of three registries. [`Office::host`] plugs
//! in more hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
/// The office's IPv6 network. It is a global one, as a provider gives them, so a sensor must be told of it.
pub const NETWORK6: &str = "2001:db8:77::/64";

/// First octets that the internet says are unreachable: `OCTET.0.0.0/8`. As any router it limits these
/// errors: five to a host at once, then one a second.
pub const UNREACHABLE: [u8; 6] = [11, 29, 53, 109, 141, 193];
/// First octets from which nothing ever comes back.
pub const SILENT: [u8; 24] = [
    21, 25, 33, 37, 49, 59, 67, 73, 81, 85, 93, 99, 113, 119, 131, 137, 149, 153, 163, 173, 181, 187, 201,
    211,
];

/// First sixteen bits of the IPv6 prefixes of length 12 that the internet answers for.
pub const LIVE6: [u16; 3] = [0x2400, 0x2600, 0x2a00];
/// The same of one whose addresses the internet says are unreachable.
pub const UNREACHABLE6: u16 = 0x2c00;
/// The same of one from which nothing ever comes back.
pub const SILENT6: u16 = 0x2800;

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// The address of the office's host `number`.
#[must_use]
pub fn address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, number).into(),
        Family::V6 => network6(number).into(),
    }
}

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
    dual_stack: bool,
}

impl Office {
    /// Builds it, ready for traffic, without IPv6.
    pub fn new() -> Result<Self> {
        Self::build(false)
    }

    /// Builds it with IPv6.
    pub fn dual_stack() -> Result<Self> {
        Self::build(true)
    }

    /// Plugs in one more host, with the address that [`address`] gives for `number`.
    pub fn host(&self, name: &'static str, number: u8) -> Result<Namespace> {
        let host = Namespace::new(name)?;
        self.plug_in(&host, number)?;
        Ok(host)
    }

    fn build(dual_stack: bool) -> Result<Self> {
        let office = Self {
            dual_stack,
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
        switch.cable("uplink", gateway, "lan")?;
        switch.run("ip link set uplink master switch")?;
        gateway.run("ip address add 10.77.0.1/24 dev lan")?;
        if self.dual_stack {
            gateway.enable_ipv6()?;
            gateway.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            gateway.run(&format!("ip address add {}/64 dev lan nodad", network6(1)))?;
        }
        for (host, address) in [(client, CLIENT), (browser, BROWSER), (server, SERVER)] {
            let [.., number] = address.octets();
            self.plug_in(host, number)?;
        }
        Ok(())
    }

    fn plug_in(&self, host: &Namespace, number: u8) -> Result<()> {
        let (switch, port) = (&self.switch, format!("host{number}"));
        switch.cable(&port, host, "lan")?;
        switch.run(&format!("ip link set {port} master switch"))?;
        host.run(&format!("ip address add {}/24 dev lan", address(Family::V4, number)))?;
        host.run("ip route add default via 10.77.0.1")?;
        if self.dual_stack {
            host.enable_ipv6()?;
            host.run(&format!("ip address add {}/64 dev lan nodad", network6(number)))?;
            host.run(&format!("ip route add default via {}", network6(1)))?;
        }
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
        internet.ip(&routes)?;
        if self.dual_stack { self.connect_internet6() } else { Ok(()) }
    }

    fn connect_internet6(&self) -> Result<()> {
        let Self { gateway, internet, .. } = self;
        let [ours, theirs] = [1, 2].map(|number| Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, number));
        internet.enable_ipv6()?;
        // A service on all addresses is one on those of its own family, and answers from whichever was asked.
        internet.sysctl("net/ipv6/bindv6only", "1")?;
        internet.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        internet.sysctl("net/ipv6/icmp/ratelimit", "0")?;
        gateway.run(&format!("ip address add {ours}/64 dev wan nodad"))?;
        internet.run(&format!("ip address add {theirs}/64 dev wan nodad"))?;
        gateway.run(&format!("ip route add default via {theirs}"))?;
        internet.run(&format!("ip route add {NETWORK6} via {ours}"))?;
        let live = LIVE6.iter().map(|prefix| format!("route add local {prefix:x}::/12 dev lo"));
        let dead = [("unreachable", UNREACHABLE6), ("blackhole", SILENT6)];
        let dead = dead.iter().map(|(kind, prefix)| format!("route add {kind} {prefix:x}::/12"));
        internet.ip(&live.chain(dead).collect::<Vec<_>>())
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

fn network6(number: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, number.into())
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
