//! What series cost in the exposition, in bytes: the limit of `max_sources` is one on what a scrape brings.
//!
//! The name of a source is in each of its series, and an IPv6 address written out has 39 characters where an
//! IPv4 address has at most 15. So `max_sources` buys that many IPv4 addresses, and fewer longer names; and the
//! series of alerts are paid for by the least busy sources. What the exposition then costs at most is tested
//! where it is rendered.

use std::net::IpAddr;

use crate::alert::AlertKind;

/// Alerts whose numbers are told: a pager wants those of new ones.
pub const WITH_EVIDENCE: usize = 20;

/// Series of a source.
const SERIES: usize = 17;
/// Their text without the name of the source: names, labels, values of a busy month.
const SERIES_TEXT: usize = 965;
/// Series of an alert beside its numbers: that it holds, and that it is suppressed.
const ALERT_SERIES: usize = 2;
const ALERT_TEXT: usize = 56;
/// Numbers of an alert.
const NUMBERS: usize = 7;
const NUMBER_TEXT: usize = 78;
/// What one of `max_sources` buys: the longest IPv4 address.
const PLACE: usize = SERIES_TEXT + SERIES * "255.255.255.255".len();
/// For alerts, before a source has to leave for them.
const ALERTS: usize = 4_000;

/// Bytes that the series of `places` sources and of alerts may take.
pub const fn available(places: usize) -> usize {
    places * PLACE + ALERTS
}

/// Bytes that a source's series take.
pub fn of_source(source: IpAddr) -> usize {
    SERIES_TEXT + SERIES * name(source)
}

/// Bytes that the series of these alerts take.
pub fn of_alerts(alerts: impl Iterator<Item = (AlertKind, IpAddr)>) -> usize {
    let mut names: Vec<usize> = alerts.map(|(_, source)| name(source)).collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    let series: usize = names.iter().map(|name| ALERT_SERIES * (ALERT_TEXT + name)).sum();
    let numbers: usize = names.iter().take(WITH_EVIDENCE).map(|name| NUMBERS * (NUMBER_TEXT + name)).sum();
    series + numbers
}

/// Characters of a source's name.
fn name(source: IpAddr) -> usize {
    source.to_string().len()
}
