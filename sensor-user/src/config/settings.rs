//! Settings as they are written: in the file, on the command line, and by `check-config`.
//!
//! All three use the same keys and the same text forms; [`Config`](super::Config) is what they mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What was said; what was not is none. A later saying [overrides](Self::overridden_by) an earlier one.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Names of network interfaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// CIDRs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_networks: Option<Vec<String>>,
    /// A duration with its unit, as `1s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<String>,
    /// A duration with its unit, as `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
    /// Intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// A duration with its unit, as `1h`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_memory: Option<String>,
    /// Bounds of what is remembered.
    #[serde(skip_serializing_if = "CapacitySettings::is_silent")]
    pub capacity: CapacitySettings,
    /// Sources with series of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sources: Option<u64>,
    /// `auto`, `pass` or `drop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror_action: Option<String>,
    /// Whether to switch the interfaces to promiscuous mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<bool>,
    /// Names of tunnels, as in `Decapsulate::KINDS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decapsulate: Option<Vec<String>>,
    /// Ports of VXLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vxlan_ports: Option<Vec<u16>>,
    /// Address and port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Names of hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_names: Option<Vec<String>>,
    /// Path of a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_log: Option<PathBuf>,
    /// Ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignored_ports: Option<Vec<u16>>,
    /// The detectors.
    #[serde(skip_serializing_if = "DetectSettings::is_silent")]
    pub detect: DetectSettings,
    /// CIDRs by the name of a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeMap<String, Vec<String>>>,
    /// Contacts that are no evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<AllowSettings>>,
    /// Where alerts are posted to.
    #[serde(skip_serializing_if = "NotifySettings::is_silent")]
    pub notify: NotifySettings,
    /// Alerts that are not posted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Vec<SuppressSettings>>,
}

/// What was said of [`Notify`](super::Notify).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifySettings {
    /// URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<Vec<String>>,
    /// URLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Vec<String>>,
    /// A URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// A URL or a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
}

/// One entry of `allow`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowSettings {
    /// An address, a CIDR or the name of a group; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The same, of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Ports of the other end; none for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<u16>>,
    /// A kind of alert; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Why.
    pub reason: String,
}

/// One entry of `suppress`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SuppressSettings {
    /// An address, a CIDR or the name of a group.
    pub source: String,
    /// A kind of alert; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A time in the form of RFC 3339.
    pub until: String,
    /// Why.
    pub reason: String,
}

/// What was said of the detectors.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectSettings {
    /// `low`, `normal` or `high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<String>,
    /// Active trifectas in an interval; none leaves the rule off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Bounds of the variance of frames per trifecta; none leaves the rule off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variance: Option<VarianceSettings>,
}

/// What was said of the literal rule on the variance: one of the two bounds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct VarianceSettings {
    /// Named above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<f64>,
    /// Named below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<f64>,
    /// Sources with fewer trifectas are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trifectas: Option<u64>,
}

/// What was said of [`Capacity`](super::Capacity), in entries.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CapacitySettings {
    /// IPv4 flows of the kernel's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4_flows: Option<u64>,
    /// IPv6 flows of the kernel's table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6_flows: Option<u64>,
    /// Trifectas of the first-seen memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trifectas: Option<u64>,
    /// Pairs of the peer memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<u64>,
    /// Local sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<u64>,
    /// Local sources with candidate peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspects: Option<u64>,
}

impl Settings {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let file = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { file: file.clone(), source })?;
        // An empty document is null, which is no map.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(&text, options)
            .map_err(|error| ConfigError::Syntax { file, problem: problem(&text, &error) })
    }

    /// These settings, with those of `later` where it says something.
    #[must_use]
    pub fn overridden_by(self, later: Self) -> Self {
        let Self {
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
            detect,
            groups,
            allow,
            notify,
            suppress,
        } = later;
        Self {
            interfaces: interfaces.or(self.interfaces),
            local_networks: local_networks.or(self.local_networks),
            drain: drain.or(self.drain),
            interval: interval.or(self.interval),
            window: window.or(self.window),
            first_seen_memory: first_seen_memory.or(self.first_seen_memory),
            capacity: self.capacity.overridden_by(&capacity),
            max_sources: max_sources.or(self.max_sources),
            mirror_action: mirror_action.or(self.mirror_action),
            promiscuous: promiscuous.or(self.promiscuous),
            decapsulate: decapsulate.or(self.decapsulate),
            vxlan_ports: vxlan_ports.or(self.vxlan_ports),
            listen: listen.or(self.listen),
            page_names: page_names.or(self.page_names),
            alert_log: alert_log.or(self.alert_log),
            ignored_ports: ignored_ports.or(self.ignored_ports),
            detect: self.detect.overridden_by(detect),
            groups: groups.or(self.groups),
            allow: allow.or(self.allow),
            notify: self.notify.overridden_by(notify),
            suppress: suppress.or(self.suppress),
        }
    }

    /// The keys that say something else in `other`, those of sections with the section's name before a dot.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let flat = |settings: &Self| {
            let mut flat = BTreeMap::new();
            // Settings have string keys only and serialise to memory.
            flatten(String::new(), serde_json::to_value(settings).unwrap_or_default(), &mut flat);
            flat
        };
        let (own, others) = (flat(self), flat(other));
        let keys: BTreeSet<&String> = own.keys().chain(others.keys()).collect();
        keys.into_iter().filter(|key| own.get(*key) != others.get(*key)).cloned().collect()
    }

    /// The settings as a configuration file.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        serde_saphyr::to_string(self)
    }
}

impl DetectSettings {
    fn overridden_by(self, later: Self) -> Self {
        let Self { sensitivity, count, variance } = later;
        Self {
            sensitivity: sensitivity.or(self.sensitivity),
            count: count.or(self.count),
            variance: variance.or(self.variance),
        }
    }

    fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

impl NotifySettings {
    fn overridden_by(self, later: Self) -> Self {
        let Self { alertmanager, webhook, page, runbook } = later;
        Self {
            alertmanager: alertmanager.or(self.alertmanager),
            webhook: webhook.or(self.webhook),
            page: page.or(self.page),
            runbook: runbook.or(self.runbook),
        }
    }

    fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

impl CapacitySettings {
    fn overridden_by(&self, later: &Self) -> Self {
        let Self { ipv4_flows, ipv6_flows, trifectas, peers, sources, suspects } = later;
        Self {
            ipv4_flows: ipv4_flows.or(self.ipv4_flows),
            ipv6_flows: ipv6_flows.or(self.ipv6_flows),
            trifectas: trifectas.or(self.trifectas),
            peers: peers.or(self.peers),
            sources: sources.or(self.sources),
            suspects: suspects.or(self.suspects),
        }
    }

    fn is_silent(&self) -> bool {
        *self == Self::default()
    }
}

/// Puts `value` into `flat`, the values of a section each under its own name.
fn flatten(name: String, value: serde_json::Value, flat: &mut BTreeMap<String, serde_json::Value>) {
    match value {
        serde_json::Value::Object(section) => {
            for (key, value) in section {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(name, value, flat);
            }
        }
        value => {
            flat.insert(name, value);
        }
    }
}

/// Characters of a line that are quoted.
const QUOTED: usize = 80;

/// One line that quotes the place: the reader's message alone names no key.
fn problem(text: &str, error: &serde_saphyr::Error) -> String {
    let message = match error.without_snippet() {
        serde_saphyr::Error::InvalidScalar { ty: "boolean", .. } => "neither true nor false".to_owned(),
        serde_saphyr::Error::InvalidScalar { ty, .. } => format!("the value does not fit the type {ty}"),
        other => other.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
    match line.and_then(|number| Some((number, text.lines().nth(number.checked_sub(1)?)?))) {
        Some((number, quoted)) => {
            let quoted: String = quoted.trim().chars().take(QUOTED).flat_map(char::escape_debug).collect();
            format!("line {number} (`{quoted}`): {message}")
        }
        None => message,
    }
}
