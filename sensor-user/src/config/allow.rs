//! What is said of groups, of what is allowed, and of the literal rules, checked.

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    ops::RangeInclusive,
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    AllowSettings, Config, ConfigError, DetectSettings, VarianceSettings,
    validate::{bounded, check_distinct, invalid, network},
};
use crate::{
    alert::AlertKind,
    detect::{
        allow::{Allowance, Whom},
        literal::{Rule, Side},
    },
};

/// Entries of `allow`: each is asked about every contact.
const MOST_ALLOWANCES: usize = 200;
/// Networks of one group ...
const MOST_NETWORKS: usize = 1_000;
/// ... and of all groups.
const MOST_GROUPED: usize = 10_000;
/// A literal rule on fewer trifectas names everybody.
const TRIFECTAS: RangeInclusive<u64> = 2..=1_000_000;
/// Below, a variance is one of few conversations.
const LEAST_TRIFECTAS: u64 = 10;

/// Networks by the name of their group.
pub(super) type Groups = BTreeMap<String, Vec<IpNet>>;

/// The groups of `groups`.
pub(super) fn groups(settings: BTreeMap<String, Vec<String>>) -> Result<Groups, ConfigError> {
    const KEY: &str = "groups";
    let group = |(name, networks): (String, Vec<String>)| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if name.is_empty() || !name.chars().all(letters) {
            let problem = "cannot be the name of a group: use letters, digits, - and _";
            return Err(invalid(KEY, format!("{name:?}"), problem));
        }
        if networks.is_empty() {
            return Err(invalid(KEY, name, "names no network: name at least one, or leave the group out"));
        }
        if networks.len() > MOST_NETWORKS {
            let problem = format!("names {} networks: {MOST_NETWORKS} at most, so join them", networks.len());
            return Err(invalid(KEY, name, problem));
        }
        let networks = networks.iter().map(|text| one_network(KEY, text)).collect::<Result<Vec<_>, _>>()?;
        check_distinct(KEY, &networks)?;
        Ok((name, networks))
    };
    let all: usize = settings.values().map(Vec::len).sum();
    if all > MOST_GROUPED {
        let problem = format!("networks are too many: name {MOST_GROUPED} at most in all groups together");
        return Err(invalid(KEY, all, problem));
    }
    settings.into_iter().map(group).collect()
}

/// The groups as they are written.
pub(super) fn group_settings(groups: &Groups) -> BTreeMap<String, Vec<String>> {
    let text = |networks: &[IpNet]| networks.iter().map(IpNet::to_string).collect();
    groups.iter().map(|(name, networks)| (name.clone(), text(networks))).collect()
}

/// The networks that `text` names: an address, a network, or a group.
pub(super) fn named<'a>(
    key: &'static str,
    text: &str,
    groups: &'a Groups,
) -> Result<Cow<'a, [IpNet]>, ConfigError> {
    if let Some(networks) = groups.get(text) {
        return Ok(Cow::Borrowed(networks));
    }
    if !text.contains(['.', ':', '/']) {
        let known: Vec<&str> = groups.keys().map(String::as_str).collect();
        let problem = match known.as_slice() {
            [] => "is neither an address nor a network, and there are no groups".to_owned(),
            known => {
                format!("is neither an address nor a network nor one of the groups {}", known.join(", "))
            }
        };
        return Err(invalid(key, format!("{text:?}"), problem));
    }
    Ok(Cow::Owned(vec![one_network(key, text)?]))
}

/// Whom `text` names. An address and a network are called as they are commonly written.
fn whom(key: &'static str, text: &str, groups: &Groups) -> Result<Whom, ConfigError> {
    Ok(match named(key, text, groups)? {
        Cow::Borrowed(networks) => Whom::new(text, networks),
        Cow::Owned(networks) => Whom::new(&networks[0].to_string(), &networks),
    })
}

/// A network, or an address by itself.
fn one_network(key: &'static str, text: &str) -> Result<IpNet, ConfigError> {
    text.parse::<IpAddr>().map_or_else(|_| network(key, text), |address| Ok(IpNet::from(address)))
}

/// The kind of alerts with this name.
pub(super) fn kind_of(key: &'static str, name: &str) -> Result<AlertKind, ConfigError> {
    let known = AlertKind::ALL.into_iter().find(|kind| kind.name() == name);
    let names = AlertKind::ALL.map(AlertKind::name).join(", ");
    let problem = format!("is none: choose from {names}, or leave it out for all");
    known.ok_or_else(|| invalid(key, format!("{name:?}"), problem))
}

/// The entries of `allow`.
pub(super) fn allowances(
    entries: Vec<AllowSettings>,
    groups: &Groups,
) -> Result<Vec<Allowance>, ConfigError> {
    if entries.len() > MOST_ALLOWANCES {
        let problem = format!(
            "entries are too many: write {MOST_ALLOWANCES} at most, with networks, groups and lists of ports"
        );
        return Err(invalid("allow", entries.len(), problem));
    }
    let allowances =
        entries.into_iter().map(|entry| allowance(entry, groups)).collect::<Result<Vec<_>, _>>()?;
    let mut known = HashSet::new();
    match allowances.iter().find(|one| !known.insert(Arc::clone(&one.reason))) {
        Some(twice) => Err(invalid(
            "allow.reason",
            format!("{:?}", twice.reason),
            "is given twice: it tells entries apart in metrics",
        )),
        None => Ok(allowances),
    }
}

fn allowance(entry: AllowSettings, groups: &Groups) -> Result<Allowance, ConfigError> {
    let AllowSettings { source, destination, ports, kind, reason } = entry;
    if reason.trim().is_empty() {
        let problem = "says nothing: write why, for whoever wonders later";
        return Err(invalid("allow.reason", format!("{reason:?}"), problem));
    }
    let ports = match ports {
        Some(ports) if ports.is_empty() => {
            return Err(invalid(
                "allow.ports",
                "[]",
                "names no port: name at least one, or leave the key out",
            ));
        }
        ports => ports.unwrap_or_default(),
    };
    check_distinct("allow.ports", &ports)?;
    let whom = |key, text: Option<String>| text.map(|text| whom(key, &text, groups)).transpose();
    let allowance = Allowance {
        source: whom("allow.source", source)?,
        destination: whom("allow.destination", destination)?,
        ports,
        kind: kind.map(|name| kind_of("allow.kind", &name)).transpose()?,
        reason: reason.into(),
    };
    let refuse = |problem: &str| Err(invalid("allow", format!("{:?}", allowance.reason), problem));
    if allowance.is_of_sources() && allowance.source.is_none() {
        return refuse("allows everything: name a source, a destination or ports");
    }
    let literal = matches!(allowance.kind, Some(AlertKind::Count | AlertKind::Variance));
    if literal && !allowance.is_of_sources() {
        return refuse(
            "has a destination or ports, of which literal rules know nothing: name sources only, or use ignored_ports",
        );
    }
    Ok(allowance)
}

impl From<&Allowance> for AllowSettings {
    fn from(allowance: &Allowance) -> Self {
        let Allowance { source, destination, ports, kind, reason } = allowance;
        let name = |whom: &Option<Whom>| whom.as_ref().map(|whom| whom.name.to_string());
        Self {
            source: name(source),
            destination: name(destination),
            ports: (!ports.is_empty()).then(|| ports.clone()),
            kind: kind.map(|kind| kind.name().to_owned()),
            reason: reason.to_string(),
        }
    }
}

/// The literal rules that are on.
pub(super) fn literal(
    count: Option<u64>,
    variance: Option<VarianceSettings>,
) -> Result<Vec<Rule>, ConfigError> {
    const COUNT: &str = "detect.count";
    let count = count.map(|threshold| bounded(COUNT, Some(threshold), &TRIFECTAS, threshold)).transpose()?;
    Ok(count.map(Rule::Count).into_iter().chain(variance.map(variance_rule).transpose()?).collect())
}

fn variance_rule(settings: VarianceSettings) -> Result<Rule, ConfigError> {
    const KEY: &str = "detect.variance";
    let VarianceSettings { over, under, trifectas } = settings;
    let (side, bound) = match (over, under) {
        (Some(bound), None) => (Side::Over, bound),
        (None, Some(bound)) => (Side::Under, bound),
        _ => return Err(invalid(KEY, "its bound", "is not one: give either over or under")),
    };
    if !bound.is_finite() || bound <= 0.0 {
        return Err(invalid(KEY, bound, "is no bound of a variance: choose a number above 0"));
    }
    let trifectas = bounded("detect.variance.trifectas", trifectas, &TRIFECTAS, LEAST_TRIFECTAS)?;
    Ok(Rule::Variance { side, bound, trifectas })
}

impl From<&Config> for DetectSettings {
    fn from(config: &Config) -> Self {
        let mut settings =
            Self { sensitivity: Some(config.sensitivity.name().to_owned()), ..Self::default() };
        for rule in &config.literal {
            match *rule {
                Rule::Count(threshold) => settings.count = Some(threshold),
                Rule::Variance { side, bound, trifectas } => {
                    let [over, under] = [Side::Over, Side::Under].map(|one| (one == side).then_some(bound));
                    settings.variance = Some(VarianceSettings { over, under, trifectas: Some(trifectas) });
                }
            }
        }
        settings
    }
}
