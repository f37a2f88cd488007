//! Alerts that the admin does not want to be told of: known scanners, wanted clients.
//!
//! A suppressed alert is still found, counted, logged and shown, with a mark; it is only not posted.
//! What should not become an alert in the first place is for [`allow`](crate::detect::allow).

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::{alert::AlertKind, clock::Timestamp};

/// One entry of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// The sources, a network or one address.
    pub source: IpNet,
    /// Of which kind; none for all.
    pub kind: Option<AlertKind>,
    /// When it ends.
    pub until: Timestamp,
    /// Why, for whoever wonders later.
    pub reason: Arc<str>,
}

impl Suppression {
    /// Whether alerts of this kind for `source` are meant.
    fn covers(&self, kind: AlertKind, source: IpAddr) -> bool {
        self.kind.is_none_or(|own| own == kind) && self.source.contains(&source)
    }
}

/// That and why an alert is suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// When that ends, even while the alert holds.
    pub until: Timestamp,
    /// Why.
    pub reason: Arc<str>,
}

/// Whether one of `suppressions` covers an alert of this kind for `source` at the time `now`; of several the
/// one that lasts longest.
#[must_use]
pub fn suppressed(
    suppressions: &[Suppression],
    kind: AlertKind,
    source: IpAddr,
    now: Timestamp,
) -> Option<Suppressed> {
    let covering = suppressions.iter().filter(|one| one.covers(kind, source) && now < one.until);
    let longest = covering.max_by_key(|one| one.until)?;
    Some(Suppressed { until: longest.until, reason: Arc::clone(&longest.reason) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_suppressed_by_network_kind_and_time() {
        let entry = |source: &str, kind, until, reason: &str| Suppression {
            source: source.parse().unwrap(),
            kind,
            until: Timestamp::from_secs(until),
            reason: reason.into(),
        };
        let list = [
            entry("10.1.0.0/16", Some(AlertKind::Scan), 100, "scanners"),
            entry("10.1.0.9/32", None, 50, "a guest"),
        ];
        let reason = |kind, source: &str, second| {
            let by = suppressed(&list, kind, source.parse().unwrap(), Timestamp::from_secs(second));
            by.map(|by| by.reason.to_string())
        };
        assert_eq!(reason(AlertKind::Scan, "10.1.2.3", 99), Some("scanners".to_owned()));
        assert_eq!(reason(AlertKind::Scan, "10.1.2.3", 100), None, "it has ended");
        assert_eq!(reason(AlertKind::Torrent, "10.1.2.3", 1), None, "another kind");
        assert_eq!(reason(AlertKind::Scan, "10.2.2.3", 1), None, "another network");
        assert_eq!(reason(AlertKind::Torrent, "10.1.0.9", 1), Some("a guest".to_owned()), "any kind");
        assert_eq!(reason(AlertKind::Scan, "10.1.0.9", 1), Some("scanners".to_owned()), "the longest");
    }
}
