//! What is said of notifications and suppressed alerts, checked.

use std::{collections::HashSet, sync::Arc};

use ipnet::IpNet;

use super::{
    ConfigError, Endpoint, Notify, NotifySettings, SuppressSettings,
    allow::{Groups, kind_of, named},
    validate::{check_distinct, invalid},
};
use crate::{clock::Timestamp, suppress::Suppression};

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
pub(super) fn suppressions(
    entries: Vec<SuppressSettings>,
    groups: &Groups,
) -> Result<Vec<Suppression>, ConfigError> {
    let mut suppressions = Vec::new();
    for entry in entries {
        suppressions.extend(suppression(entry, groups)?);
        if suppressions.len() > MOST_SUPPRESSIONS {
            let problem = format!(
                "is one too many: entries may come to {MOST_SUPPRESSIONS}, where a group counts as many as its networks"
            );
            return Err(invalid("suppress", suppressions[MOST_SUPPRESSIONS].source, problem));
        }
    }
    let mut known = HashSet::new();
    match suppressions.iter().find(|one| !known.insert((one.source, one.kind))) {
        Some(twice) => {
            Err(invalid("suppress", twice.source, "is given twice for the same kind: keep one entry"))
        }
        None => Ok(suppressions),
    }
}

/// One for each network of the source.
fn suppression(entry: SuppressSettings, groups: &Groups) -> Result<Vec<Suppression>, ConfigError> {
    let SuppressSettings { source, kind, until, reason } = entry;
    if reason.trim().is_empty() {
        let problem = "says nothing: write why, for whoever wonders later";
        return Err(invalid("suppress.reason", format!("{reason:?}"), problem));
    }
    let sources = named("suppress.source", &source, groups)?;
    let kind = kind.map(|name| kind_of("suppress.kind", &name)).transpose()?;
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
    let (until, reason): (_, Arc<str>) = (Timestamp(until), reason.into());
    let of = |source: &IpNet| Suppression { source: *source, kind, until, reason: Arc::clone(&reason) };
    Ok(sources.iter().map(of).collect())
}
