//! What series cost in the exposition, in bytes: the limit of `max_sources` is one on what a scrape brings.
//!
//! The name of a source is in each of its series, and an IPv6 address written out has 39 characters where an
//! IPv4 address has at most 15. So `max_sources` buys that many IPv4 addresses with a role each, and fewer
//! longer names or sources with more roles; and the series of alerts are paid for by the least busy sources.
//! What the exposition then costs at most is tested where it is rendered.

use std::net::IpAddr;

use crate::detect::roles::Recognised;

/// Alerts whose numbers are told: a pager wants those of new ones.
pub const WITH_EVIDENCE: usize = 20;

/// Series that every source can have.
const SERIES: usize = 15;
/// Their text without the name of the source: names, labels, values of a busy month.
const SERIES_TEXT: usize = 913;
/// Text of the counter of connections that are neither TCP nor UDP, without the name of the source.
const OTHER_TEXT: usize = 71;
/// Text of a role without its name and that of the source.
const ROLE_TEXT: usize = 44;
/// The longest name of a role.
const LONGEST_ROLE: usize = "fixed_port_peer".len();
/// Series of an alert beside its numbers: that it holds, and that it is suppressed.
const ALERT_SERIES: usize = 2;
const ALERT_TEXT: usize = 56;
/// Numbers of an alert.
const NUMBERS: usize = 7;
const NUMBER_TEXT: usize = 78;
/// The longest IPv4 address.
const IPV4: usize = "255.255.255.255".len();
/// What one of `max_sources` buys.
const PLACE: usize = SERIES_TEXT + SERIES * IPV4 + ROLE_TEXT + LONGEST_ROLE + IPV4;
/// For alerts, before a source has to leave for them.
const ALERTS: usize = 4_000;
/// More than the characters of any address.
const NAMES: usize = 48;

/// Bytes that the series of `places` sources and of alerts may take.
pub const fn available(places: usize) -> usize {
    places * PLACE + ALERTS
}

/// Bytes that the series of a source take that every source can have.
pub fn of_source(source: IpAddr) -> usize {
    SERIES_TEXT + SERIES * name(source)
}

/// Bytes that further series of a source take: one for each role, and for connections that are neither TCP
/// nor UDP.
pub fn of_extras(source: IpAddr, roles: &[Recognised], has_other: bool) -> usize {
    let name = name(source);
    let of_roles: usize = roles.iter().map(|it| ROLE_TEXT + it.role.name().len() + name).sum();
    of_roles + if has_other { OTHER_TEXT + name } else { 0 }
}

/// What the series of the alerts of those with a place take: known after each change without looking at all
/// alerts.
#[derive(Clone, Copy, Debug)]
pub struct AlertRoom {
    /// Alerts by the length of their source's name.
    alerts: [usize; NAMES],
}

impl Default for AlertRoom {
    fn default() -> Self {
        Self { alerts: [0; NAMES] }
    }
}

impl AlertRoom {
    /// So many more alerts of `source`.
    pub fn add(&mut self, source: IpAddr, alerts: usize) {
        self.alerts[name(source)] += alerts;
    }

    /// So many fewer.
    pub fn remove(&mut self, source: IpAddr, alerts: usize) {
        self.alerts[name(source)] -= alerts;
    }

    /// Bytes that they take; which alerts are told with numbers may change, so it is those with the longest
    /// names.
    pub fn bytes(&self) -> usize {
        let mut with_evidence = WITH_EVIDENCE;
        let by_name = self.alerts.iter().enumerate().rev().map(|(name, &alerts)| {
            let told = alerts.min(with_evidence);
            with_evidence -= told;
            alerts * ALERT_SERIES * (ALERT_TEXT + name) + told * NUMBERS * (NUMBER_TEXT + name)
        });
        by_name.sum()
    }
}

/// Characters of a source's name.
fn name(source: IpAddr) -> usize {
    source.to_string().len()
}
