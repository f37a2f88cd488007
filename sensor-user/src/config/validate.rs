//! From settings to the configuration: the one place where values are checked.

use std::{
    collections::HashSet,
    fmt::Display,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;
use jiff::SignedDuration;
use sensor_common::parse::Decapsulate;

use super::{
    AllowSettings, Capacity, CapacitySettings, Config, ConfigError, DetectSettings, MirrorAction, Notify,
    NotifySettings, Settings, SuppressSettings,
    allow::{allowances, group_settings, groups, literal},
    notify::suppressions,
};
use crate::{detect::settings::Sensitivity, networks::LocalNetworks};

const SHORTEST_DRAIN: Duration = Duration::from_millis(100);
/// The counters of a drain hold 2^32 frames of a flow, which last 288 s at 14.88 million frames a second.
const LONGEST_DRAIN: Duration = Duration::from_mins(1);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_mins(5);
const LONGEST_MEMORY: Duration = Duration::from_hours(7 * 24);
/// A variance needs two intervals; ten thousand of them are 28 hours at the default interval.
const WINDOW: RangeInclusive<u64> = 2..=10_000;
/// The kernel's limit on a name, without the terminating zero (`IFNAMSIZ`).
const LONGEST_INTERFACE_NAME: usize = 15;
const FLOWS: RangeInclusive<u64> = 1024..=16_777_216;
const REMEMBERED: RangeInclusive<u64> = 1024..=100_000_000;
const SOURCES: RangeInclusive<u64> = 1..=1_000_000;
/// Each takes 14 KiB.
const SUSPECTS: RangeInclusive<u64> = 16..=65_536;
/// Above a thousand series, a label is no longer what Prometheus is for.
const SERIES: RangeInclusive<u64> = 0..=1000;

impl TryFrom<Settings> for Config {
    type Error = ConfigError;

    /// The configuration that `settings` mean, with defaults for what they do not say.
    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let Settings {
            interfaces,
            local_networks,
            drain,
            interval,
            window,
            first_seen_memory,
            capacity,
            max_sources,
            mirror_action,
            promiscuous,
            decapsulate,
            vxlan_ports,
            listen,
            page_names,
            alert_log,
            ignored_ports,
            detect: DetectSettings { sensitivity: sensitivity_name, count, variance },
            groups: group_settings,
            allow,
            notify,
            suppress,
        } = settings;
        let default = Self::default();
        let drain = duration("drain", drain)?.unwrap_or(default.drain);
        let interval = duration("interval", interval)?.unwrap_or(default.interval);
        let memory = duration("first_seen_memory", first_seen_memory)?.unwrap_or(default.first_seen_memory);
        check_periods(drain, interval, memory)?;
        let ignored_ports = ignored_ports.unwrap_or(default.ignored_ports);
        check_distinct("ignored_ports", &ignored_ports)?;
        let groups = group_settings.map_or(Ok(default.groups), groups)?;
        Ok(Self {
            interfaces: interfaces.map_or(Ok(default.interfaces), check_interfaces)?,
            local_networks: local_networks.map_or(Ok(default.local_networks), |list| networks(&list))?,
            drain,
            interval,
            window: bounded("window", window, &WINDOW, default.window)?,
            first_seen_memory: memory,
            capacity: bounded_capacity(&capacity)?,
            max_sources: bounded("max_sources", max_sources, &SERIES, default.max_sources)?,
            mirror_action: mirror_action.map_or(Ok(default.mirror_action), |name| action(&name))?,
            promiscuous: promiscuous.unwrap_or(default.promiscuous),
            decapsulate: tunnels(decapsulate.as_deref(), vxlan_ports.as_deref())?,
            listen: listen.map_or(Ok(default.listen), |text| address(&text))?,
            page_names: page_names.map_or(Ok(default.page_names), names)?,
            alert_log: alert_log.or(default.alert_log),
            ignored_ports,
            sensitivity: sensitivity_name.map_or(Ok(default.sensitivity), |name| sensitivity(&name))?,
            literal: literal(count, variance)?,
            allow: allow.map_or(Ok(default.allow), |entries| allowances(entries, &groups))?,
            notify: Notify::try_from(notify)?,
            suppress: suppress.map_or(Ok(default.suppress), |entries| suppressions(entries, &groups))?,
            groups,
        })
    }
}

impl From<&Config> for Settings {
    /// Everything, said explicitly.
    fn from(config: &Config) -> Self {
        let Capacity { ipv4_flows, ipv6_flows, trifectas, peers, sources, suspects } = config.capacity;
        Self {
            interfaces: Some(config.interfaces.clone()),
            local_networks: Some(config.local_networks.iter().map(IpNet::to_string).collect()),
            drain: Some(duration_text(config.drain)),
            interval: Some(duration_text(config.interval)),
            window: Some(config.window as u64),
            first_seen_memory: Some(duration_text(config.first_seen_memory)),
            capacity: CapacitySettings {
                ipv4_flows: Some(ipv4_flows.into()),
                ipv6_flows: Some(ipv6_flows.into()),
                trifectas: Some(trifectas as u64),
                peers: Some(peers as u64),
                sources: Some(sources as u64),
                suspects: Some(suspects as u64),
            },
            max_sources: Some(config.max_sources as u64),
            mirror_action: Some(config.mirror_action.name().to_owned()),
            promiscuous: Some(config.promiscuous),
            decapsulate: Some(tunnel_names(config.decapsulate)),
            vxlan_ports: config
                .decapsulate
                .opens(Decapsulate::VXLAN)
                .then(|| config.decapsulate.vxlan_ports().collect()),
            listen: Some(config.listen.to_string()),
            page_names: Some(config.page_names.clone()),
            alert_log: config.alert_log.clone(),
            ignored_ports: Some(config.ignored_ports.clone()),
            detect: DetectSettings::from(config),
            groups: Some(group_settings(&config.groups)),
            allow: Some(config.allow.iter().map(AllowSettings::from).collect()),
            notify: NotifySettings::from(&config.notify),
            suppress: Some(config.suppress.iter().map(SuppressSettings::from).collect()),
        }
    }
}

pub(super) fn invalid(key: &'static str, value: impl Display, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { key, value: value.to_string(), problem: problem.into() }
}

fn duration(key: &'static str, text: Option<String>) -> Result<Option<Duration>, ConfigError> {
    let Some(text) = text else { return Ok(None) };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    let problem = "is not a duration: write a number and its unit, such as 500ms, 10s or 1h";
    parsed.map(Some).ok_or_else(|| invalid(key, format!("{text:?}"), problem))
}

fn duration_text(duration: Duration) -> String {
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |signed| format!("{signed:#}"))
}

fn check_periods(drain: Duration, interval: Duration, memory: Duration) -> Result<(), ConfigError> {
    check_range("interval", interval, SHORTEST_INTERVAL..=LONGEST_INTERVAL)?;
    check_range("drain", drain, SHORTEST_DRAIN..=LONGEST_DRAIN.min(interval))?;
    if !interval.as_nanos().is_multiple_of(drain.as_nanos()) {
        let problem = format!("is not a multiple of drain ({}): choose one that is", duration_text(drain));
        return Err(invalid("interval", duration_text(interval), problem));
    }
    check_range("first_seen_memory", memory, interval..=LONGEST_MEMORY)
}

fn check_range(
    key: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let [least, most] = [range.start(), range.end()].map(|bound| duration_text(*bound));
    Err(invalid(key, duration_text(value), format!("is out of range: choose between {least} and {most}")))
}

pub(super) fn bounded<T: TryFrom<u64>>(
    key: &'static str,
    value: Option<u64>,
    range: &RangeInclusive<u64>,
    default: T,
) -> Result<T, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    let fitting = range.contains(&value).then(|| T::try_from(value).ok()).flatten();
    let [least, most] = [range.start(), range.end()];
    fitting.ok_or_else(|| invalid(key, value, format!("is out of range: choose between {least} and {most}")))
}

fn bounded_capacity(settings: &CapacitySettings) -> Result<Capacity, ConfigError> {
    let CapacitySettings { ipv4_flows, ipv6_flows, trifectas, peers, sources, suspects } = *settings;
    let default = Capacity::default();
    Ok(Capacity {
        ipv4_flows: bounded("capacity.ipv4_flows", ipv4_flows, &FLOWS, default.ipv4_flows)?,
        ipv6_flows: bounded("capacity.ipv6_flows", ipv6_flows, &FLOWS, default.ipv6_flows)?,
        trifectas: bounded("capacity.trifectas", trifectas, &REMEMBERED, default.trifectas)?,
        peers: bounded("capacity.peers", peers, &REMEMBERED, default.peers)?,
        sources: bounded("capacity.sources", sources, &SOURCES, default.sources)?,
        suspects: bounded("capacity.suspects", suspects, &SUSPECTS, default.suspects)?,
    })
}

pub(super) fn check_distinct<T: Display + Eq + Hash>(
    key: &'static str,
    values: &[T],
) -> Result<(), ConfigError> {
    let mut known = HashSet::new();
    match values.iter().find(|value| !known.insert(*value)) {
        Some(twice) => Err(invalid(key, twice, "is given twice: remove one")),
        None => Ok(()),
    }
}

fn check_interfaces(names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    for name in &names {
        let valid = (1..=LONGEST_INTERFACE_NAME).contains(&name.len())
            && !name.contains(|letter: char| letter == '/' || letter == ':' || letter.is_whitespace())
            && !matches!(name.as_str(), "." | "..");
        if !valid {
            let problem = "cannot be the name of an interface: `ip link` lists those that exist";
            return Err(invalid("interfaces", format!("{name:?}"), problem));
        }
    }
    check_distinct("interfaces", &names)?;
    Ok(names)
}

fn networks(list: &[String]) -> Result<LocalNetworks, ConfigError> {
    const KEY: &str = "local_networks";
    if list.is_empty() {
        return Err(invalid(KEY, "[]", "names no network: name at least one, or leave the key out"));
    }
    let networks = list.iter().map(|text| network(KEY, text)).collect::<Result<Vec<_>, _>>()?;
    check_distinct(KEY, &networks)?;
    Ok(LocalNetworks::new(&networks))
}

pub(super) fn network(key: &'static str, text: &str) -> Result<IpNet, ConfigError> {
    let Ok(network) = text.parse::<IpNet>() else {
        let problem = match text.parse::<IpAddr>() {
            Ok(address) => {
                format!("has no prefix length: write {} for this one address", IpNet::from(address))
            }
            Err(_) => "is not a network: write an address and a prefix length, such as 10.0.0.0/8".to_owned(),
        };
        return Err(invalid(key, format!("{text:?}"), problem));
    };
    match network.trunc() {
        trimmed if trimmed == network => Ok(network),
        trimmed => {
            let address = IpNet::from(network.addr());
            let problem = format!(
                "has bits set beyond its prefix: write {trimmed} for the network, {address} for the address"
            );
            Err(invalid(key, text, problem))
        }
    }
}

fn action(name: &str) -> Result<MirrorAction, ConfigError> {
    let known = MirrorAction::ALL.into_iter().find(|action| action.name() == name);
    known.ok_or_else(|| invalid("mirror_action", format!("{name:?}"), "is none: choose auto, pass or drop"))
}

fn sensitivity(name: &str) -> Result<Sensitivity, ConfigError> {
    let known = Sensitivity::ALL.into_iter().find(|sensitivity| sensitivity.name() == name);
    let problem = "is none: choose low, normal or high";
    known.ok_or_else(|| invalid("detect.sensitivity", format!("{name:?}"), problem))
}

/// The tunnels with these names, all of them where nothing is said; VXLAN on these ports.
fn tunnels(names: Option<&[String]>, ports: Option<&[u16]>) -> Result<Decapsulate, ConfigError> {
    const PORTS: &str = "vxlan_ports";
    let mut kinds = 0;
    match names {
        Some(names) => {
            check_distinct("decapsulate", names)?;
            for name in names {
                kinds |= tunnel(name)?;
            }
        }
        None => kinds = Decapsulate::KINDS.iter().fold(0, |kinds, (_, kind)| kinds | kind),
    }
    let Some(ports) = ports else { return Ok(Decapsulate::new(kinds, Decapsulate::DEFAULT_VXLAN_PORTS)) };
    let refuse = |problem: String| Err(invalid(PORTS, format!("{ports:?}"), problem));
    if kinds & Decapsulate::VXLAN == 0 {
        return refuse(
            "means nothing while vxlan is not opened: add vxlan to decapsulate, or leave this out".into(),
        );
    }
    let mut places = [0; Decapsulate::MAX_VXLAN_PORTS];
    match places.get_mut(..ports.len()) {
        Some(places) if !ports.is_empty() => places.copy_from_slice(ports),
        _ => return refuse(format!("is not 1 to {} ports: name those that VXLAN uses", places.len())),
    }
    if ports.contains(&0) {
        return refuse("names port 0, which no datagram has: name those that VXLAN uses".into());
    }
    check_distinct(PORTS, ports)?;
    Ok(Decapsulate::new(kinds, places))
}

fn tunnel(name: &str) -> Result<u64, ConfigError> {
    let known = Decapsulate::KINDS.into_iter().find(|(known, _)| *known == name);
    let names = Decapsulate::KINDS.map(|(known, _)| known).join(", ");
    let problem = format!("is no tunnel that can be opened: choose from {names}");
    known.map(|(_, kind)| kind).ok_or_else(|| invalid("decapsulate", format!("{name:?}"), problem))
}

fn tunnel_names(decapsulate: Decapsulate) -> Vec<String> {
    let opened = Decapsulate::KINDS.into_iter().filter(|(_, kind)| decapsulate.opens(*kind));
    opened.map(|(name, _)| name.to_owned()).collect()
}

/// Names of hosts, without ports, as they are compared.
fn names(list: Vec<String>) -> Result<Vec<String>, ConfigError> {
    const KEY: &str = "page_names";
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_letter);
    let name = |given: String| {
        // A browser may send the dot that ends a full name.
        let name = given.strip_suffix('.').unwrap_or(&given).to_ascii_lowercase();
        if name.split('.').all(is_label) {
            return Ok(name);
        }
        let problem = "is no name of a host: write one without scheme and port, such as sensor.example.org";
        Err(invalid(KEY, format!("{given:?}"), problem))
    };
    let names = list.into_iter().map(name).collect::<Result<Vec<_>, _>>()?;
    check_distinct(KEY, &names)?;
    Ok(names)
}

/// An address and a port; `:PORT` means all addresses, as exporters have it.
fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let everywhere = text.strip_prefix(':').and_then(|port| port.parse().ok());
    let parsed = match everywhere {
        Some(port) => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
        None => text.parse().ok(),
    };
    let problem =
        "is no address to listen on: write one with its port, such as 127.0.0.1:19810 or [::1]:19810";
    parsed.ok_or_else(|| invalid("listen", format!("{text:?}"), problem))
}
