//! The effective configuration: defaults, the file, the command line, validated once at the edge.

mod allow;
mod endpoint;
mod notify;
mod settings;
#[cfg(test)]
mod tests;
mod validate;

pub use endpoint::Endpoint;
pub use settings::{
    AllowSettings, CapacitySettings, DetectSettings, NotifySettings, Settings, SuppressSettings,
    VarianceSettings,
};

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use sensor_common::parse::Decapsulate;

use crate::{
    detect::{allow::Allowance, literal::Rule, settings::Sensitivity},
    networks::LocalNetworks,
    suppress::Suppression,
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {file}")]
    Read {
        /// Path as given.
        file: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not YAML, or has a key that does not exist, or a value of the wrong kind.
    #[error("configuration file {file}: {problem}")]
    Syntax {
        /// Path as given.
        file: String,
        /// What the reader found, with line and column.
        problem: String,
    },
    /// A value is out of bounds or cannot be read.
    #[error("{key}: {value} {problem}")]
    Invalid {
        /// Name in the configuration file.
        key: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Everything the sensor can be told. Names are those of the configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Network interfaces to capture on; the mirror ports.
    pub interfaces: Vec<String>,
    /// The networks the admin answers for.
    pub local_networks: LocalNetworks,
    /// How often the kernel's table is emptied.
    pub drain: Duration,
    /// Period of the statistics, a multiple of `drain`.
    pub interval: Duration,
    /// Intervals behind mean and variance.
    pub window: usize,
    /// How long a silent trifecta is remembered.
    pub first_seen_memory: Duration,
    /// Bounds of what is remembered.
    pub capacity: Capacity,
    /// Sources with metric series of their own; the rest is summed in `source="other"`.
    pub max_sources: usize,
    /// What happens to the mirrored frames after counting.
    pub mirror_action: MirrorAction,
    /// Whether to switch the interfaces to promiscuous mode while running.
    pub promiscuous: bool,
    /// The tunnels that are opened, so that the flow inside counts.
    pub decapsulate: Decapsulate,
    /// Where metrics and the page are served.
    pub listen: SocketAddr,
    /// Names under which the page is served, beside addresses and this machine's own.
    pub page_names: Vec<String>,
    /// File that alerts are appended to as JSON lines; none writes them to the log only.
    pub alert_log: Option<PathBuf>,
    /// Responder ports left out of the literal statistics: active trifectas and the variance of their frames.
    /// The search that these statistics come from left out 80 and 443.
    pub ignored_ports: Vec<u16>,
    /// How much evidence an alert needs.
    pub sensitivity: Sensitivity,
    /// The literal rules that are on.
    pub literal: Vec<Rule>,
    /// Networks by the name of their group.
    pub groups: BTreeMap<String, Vec<IpNet>>,
    /// Contacts that are no evidence.
    pub allow: Vec<Allowance>,
    /// Where alerts are posted to.
    pub notify: Notify,
    /// Alerts that are not posted.
    pub suppress: Vec<Suppression>,
}

/// Where alerts are posted to, and what is said there of this sensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// Alertmanagers, by the URL under which they serve `/api/v2`.
    pub alertmanager: Vec<Endpoint>,
    /// Receivers of one JSON object for each alert that begins or ends.
    pub webhook: Vec<Endpoint>,
    /// URL of this sensor's page as whoever reads an alert can reach it; none takes the address that it
    /// listens on.
    pub page: Option<String>,
    /// What links to the runbook begin with.
    pub runbook: String,
}

impl Default for Notify {
    fn default() -> Self {
        let runbook = "docs/runbook.md".to_owned();
        Self { alertmanager: Vec::new(), webhook: Vec::new(), page: None, runbook }
    }
}

/// Bounds on memory, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// IPv4 flows per interface and drain that the kernel's table holds without overflowing.
    pub ipv4_flows: u32,
    /// The same for IPv6.
    pub ipv6_flows: u32,
    /// Trifectas in the first-seen memory.
    pub trifectas: usize,
    /// Pairs of local and external address in the peer memory.
    pub peers: usize,
    /// Local sources with statistics.
    pub sources: usize,
    /// Of these, those with open evidence for a torrent, of whom candidate peers are kept.
    pub suspects: usize,
}

/// What the XDP program returns for every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorAction {
    /// Drop where the interface has no address, no route and no master, else pass.
    Auto,
    /// Hand every frame to the host's own stack.
    Pass,
    /// Drop every frame after counting.
    Drop,
}

impl MirrorAction {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Pass, Self::Drop];

    /// The name in the configuration and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

/// What can be replaced while the sensor runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloadable {
    /// See [`Config::groups`]: what the two below may name.
    pub groups: BTreeMap<String, Vec<IpNet>>,
    /// See [`Config::allow`].
    pub allow: Vec<Allowance>,
    /// See [`Config::suppress`].
    pub suppress: Vec<Suppression>,
}

impl Reloadable {
    /// Its names in the configuration file.
    const KEYS: [&str; 3] = ["groups", "allow", "suppress"];

    /// That of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let Config { groups, allow, suppress, .. } = config;
        Self { groups: groups.clone(), allow: allow.clone(), suppress: suppress.clone() }
    }

    /// Puts it into `config`.
    pub fn put_into(self, config: &mut Config) {
        let Self { groups, allow, suppress } = self;
        (config.groups, config.allow, config.suppress) = (groups, allow, suppress);
    }
}

impl Config {
    /// Names of settings that differ in `other` and take effect on a new start only.
    #[must_use]
    pub fn settings_for_restart(&self, other: &Self) -> Vec<String> {
        let changed = Settings::from(self).differences(&Settings::from(other));
        let is_reloadable = |key: &str| Reloadable::KEYS.iter().any(|own| key.split('.').next() == Some(own));
        changed.into_iter().filter(|key| !is_reloadable(key)).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            local_networks: LocalNetworks::default(),
            drain: Duration::from_secs(1),
            interval: Duration::from_secs(10),
            window: 30,
            first_seen_memory: Duration::from_hours(1),
            capacity: Capacity::default(),
            max_sources: 200,
            mirror_action: MirrorAction::Auto,
            promiscuous: true,
            decapsulate: Decapsulate::ALL,
            listen: SocketAddr::from(([127, 0, 0, 1], 19810)),
            page_names: Vec::new(),
            alert_log: None,
            ignored_ports: Vec::new(),
            sensitivity: Sensitivity::Normal,
            literal: Vec::new(),
            groups: BTreeMap::new(),
            allow: Vec::new(),
            notify: Notify::default(),
            suppress: Vec::new(),
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            ipv4_flows: 140_000,
            ipv6_flows: 35_000,
            trifectas: 1_000_000,
            peers: 1_000_000,
            sources: 20_000,
            suspects: 2_048,
        }
    }
}
