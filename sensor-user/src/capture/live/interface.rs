//! What the host says of an interface: whether frames may be dropped there, what the NIC does to them, how
//! many it missed.

use std::{fs, net::IpAddr, path::PathBuf};

use nix::{ifaddrs::getifaddrs, net::if_::if_nametoindex};

use super::sys::Offloads;
use crate::config::MirrorAction;

/// Index of an interface, if there is one of that name.
#[must_use]
pub fn index_of(name: &str) -> Option<u32> {
    if_nametoindex(name).ok()
}

/// Names of the interfaces of this host, for messages.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<String> =
        getifaddrs().into_iter().flatten().map(|address| address.interface_name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What happens to frames after counting, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether they are dropped.
    pub drop: bool,
    /// The reason in words.
    pub why: String,
}

impl Verdict {
    /// Decides for an interface.
    ///
    /// Frames of strangers must not climb this host's own stack, and dropping on a port that carries
    /// management traffic would cut the admin off. So `auto` drops only where nothing shows that the host
    /// itself uses the interface. Link-local IPv6 addresses and routes do not count: every interface that is
    /// up gets them by itself.
    #[must_use]
    pub fn decide(action: MirrorAction, interface: &str) -> Self {
        let (drop, why) = match action {
            MirrorAction::Drop => (true, "mirror_action is drop".to_owned()),
            MirrorAction::Pass => (false, "mirror_action is pass".to_owned()),
            MirrorAction::Auto => match use_by_host(interface) {
                Some(used) => (false, format!("the host uses the interface: {used}")),
                None => (true, "the interface has no address, no route and no master".to_owned()),
            },
        };
        Self { drop, why }
    }
}

fn use_by_host(interface: &str) -> Option<String> {
    if let Ok(master) = fs::read_link(sysfs(interface, "master")) {
        return Some(format!("master {}", master.file_name().unwrap_or_default().display()));
    }
    for address in getifaddrs().into_iter().flatten().filter(|address| address.interface_name == interface) {
        let Some(storage) = address.address else { continue };
        let ip = storage.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        let ip = ip.or_else(|| storage.as_sockaddr_in6().map(|v6| v6.ip().into()));
        if let Some(ip) = ip.filter(|ip| !is_link_local(*ip)) {
            return Some(format!("address {ip}"));
        }
    }
    let route_v4 = read_lines("route").find(|line| line.split_whitespace().next() == Some(interface));
    if route_v4.is_some() {
        return Some("an IPv4 route".to_owned());
    }
    let route_v6 = read_lines("ipv6_route").find(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Destination first, interface last; fe80::/10 and ff00::/8 come with the interface.
        fields.last() == Some(&interface)
            && fields.first().is_some_and(|to| !to.starts_with("fe8") && !to.starts_with("ff"))
    });
    route_v6.map(|_| "an IPv6 route".to_owned())
}

const fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn read_lines(table: &str) -> impl Iterator<Item = String> {
    // Of this thread: network namespaces are per thread, /proc/net is the main thread's.
    let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}

fn sysfs(interface: &str, file: &str) -> PathBuf {
    PathBuf::from("/sys/class/net").join(interface).join(file)
}

/// Frames that the NIC or its driver had no buffer for, since the interface exists; none where the driver or
/// `/sys` does not say.
///
/// `rx_dropped` is left out: drivers count frames that XDP dropped there.
#[must_use]
pub fn missed_frames(interface: &str) -> Option<u64> {
    let counters = ["rx_missed_errors", "rx_fifo_errors"];
    let values = counters.map(|counter| {
        let text = fs::read_to_string(sysfs(interface, "statistics").join(counter)).ok()?;
        text.trim().parse::<u64>().ok()
    });
    values.into_iter().flatten().reduce(Ord::max)
}

/// Whether the kernel reports real-time preemption, which lets softirqs of one CPU interleave.
#[must_use]
pub fn is_realtime_kernel() -> bool {
    fs::read_to_string("/sys/kernel/realtime").is_ok_and(|text| text.trim() == "1")
}

/// What the NIC does to frames before the program sees them, as advice: one line each, with its remedy.
#[must_use]
pub fn offload_advice(interface: &str, native: bool) -> Vec<String> {
    let Ok(offloads) = Offloads::of(interface) else { return Vec::new() };
    let mut lines = Vec::new();
    let mut advise = |what: &str, feature: &str| {
        lines.push(format!("{interface}: {what}; mend with: ethtool -K {interface} {feature} off"));
    };
    if offloads.vlan_stripping {
        advise("the NIC takes VLAN tags out, so tagged frames count four bytes less", "rxvlan");
    }
    if offloads.large_receive {
        advise("the NIC merges TCP segments, so frames are undercounted", "lro");
    }
    if offloads.generic_receive && !native {
        advise("the kernel merges TCP segments before generic XDP, so frames are undercounted", "gro");
    }
    lines
}

/// The MTU of an interface in bytes, where `/sys` says.
#[must_use]
pub fn mtu(interface: &str) -> Option<u32> {
    fs::read_to_string(sysfs(interface, "mtu")).ok()?.trim().parse().ok()
}

/// Whether an interface has a carrier, as far as `/sys` says.
#[must_use]
pub fn has_carrier(interface: &str) -> bool {
    fs::read_to_string(sysfs(interface, "carrier")).map_or(true, |text| text.trim() == "1")
}
