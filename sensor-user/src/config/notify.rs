//! What is said of notifications and suppressed alerts, checked.

use std::collections::HashSet;

use ipnet::IpNet;

use super::{
    ConfigError, Endpoint, Notify, NotifySettings, SuppressSettings,
    validate::{check_distinct, invalid, network},
};
use crate::{alert::AlertKind, clock::Timestamp, suppress::Suppression};

/// Entries of `suppress`: each is a metric series.
const MOST_SUPPRESSIONS: usize = 200;

impl TryFrom<NotifySettings> for Notify {
    type Error = ConfigError;

    fn try_from(settings: NotifySettings) -> Result<Self, ConfigError> {
        let NotifySettings { alertmanager, webhook, page, runbook } = settings;
        Ok(Self {
            alertmanager: endpoints("notify.alertmanager", &alertmanager.unwrap_or_default())?,
            webhook: endpoints("notify.webhook", &webhook.unwrap_or_default())?,
            page,
            runbook: runbook.unwrap_or_else(|| Self::default().runbook),
        })
    }
}

impl From<&Notify> for NotifySettings {
    fn from(notify: &Notify) -> Self {
        let Notify { alertmanager, webhook, page, runbook } = notify;
        let text = |endpoints: &[Endpoint]| Some(endpoints.iter().map(Endpoint::to_string).collect());
        Self {
            alertmanager: text(alertmanager),
            webhook: text(webhook),
            page: page.clone(),
            runbook: Some(runbook.clone()),
        }
    }
}

fn endpoints(key: &'static str, urls: &[String]) -> Result<Vec<Endpoint>, ConfigError> {
    let endpoints = urls.iter().map(|url| Endpoint::parse(key, url)).collect::<Result<Vec<_>, _>>()?;
    check_distinct(key, &endpoints)?;
    Ok(endpoints)
}

impl From<&Suppression> for SuppressSettings {
    fn from(suppression: &Suppression) -> Self {
        let Suppression { source, kind, until, reason } = suppression;
        Self {
            source: source.to_string(),
            kind: kind.map(|kind| kind.name().to_owned()),
            until: until.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// The entries of `suppress`.
pub(super) fn suppressions(entries: Vec<SuppressSettings>) -> Result<Vec<Suppression>, ConfigError> {
    if entries.len() > MOST_SUPPRESSIONS {
        let problem =
            format!("entries are too many: write {MOST_SUPPRESSIONS} at most, with networks as sources");
        return Err(invalid("suppress", entries.len(), problem));
    }
    let suppressions = entries.into_iter().map(suppression).collect::<Result<Vec<_>, _>>()?;
    let mut known = HashSet::new();
    match suppressions.iter().find(|one| !known.insert((one.source, one.kind))) {
        Some(twice) => {
            Err(invalid("suppress", twice.source, "is given twice for the same kind: keep one entry"))
        }
        None => Ok(suppressions),
    }
}

fn suppression(entry: SuppressSettings) -> Result<Suppression, ConfigError> {
    let SuppressSettings { source, kind, until, reason } = entry;
    if reason.trim().is_empty() {
        let problem = "says nothing: write why, for whoever wonders later";
        return Err(invalid("suppress.reason", format!("{reason:?}"), problem));
    }
    let source = match source.parse() {
        Ok(address) => IpNet::new_assert(address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => network("suppress.source", &source)?,
    };
    let kind = kind.map(|name| kind_of(&name)).transpose()?;
    let until = until
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|time| u64::try_from(time.as_nanosecond()).ok())
        .ok_or_else(|| {
            invalid(
                "suppress.until",
                format!("{until:?}"),
                "is no time: write one such as 2027-01-31T18:00:00Z",
            )
        })?;
    Ok(Suppression { source, kind, until: Timestamp(until), reason: reason.into() })
}

fn kind_of(name: &str) -> Result<AlertKind, ConfigError> {
    let known = AlertKind::ALL.into_iter().find(|kind| kind.name() == name);
    let problem = "is none: choose torrent, scan or fanout, or leave it out for all";
    known.ok_or_else(|| invalid("suppress.kind", format!("{name:?}"), problem))
}
