//! Which sources have metric series of their own.
//!
//! At most `max_sources` do; the rest is summed in `source="other"`. Counters must never decrease and
//! nothing may be counted twice, so a source's counters begin at zero when it first gets a place, and what
//! it did without one stays in `other` for good: the growth of all series together is the growth of all
//! traffic. A source that loses its place disappears, what it had does not fall back into `other`; if it
//! gets a place again, its counters go on where they stopped, as a scraper that missed the gap expects.
//!
//! Who gets a place, decided when an interval is complete (an alert takes one at once):
//! - While places are free, every source with traffic gets one.
//! - A source with an alert takes the place of the least busy one without.
//! - Any other takes the place of the least busy source without an alert only if it is more than
//!   [`MARGIN`] times as busy and that one had [`MIN_STAY`] to show itself. So however many addresses a
//!   flood forges, the places change hands at most once per [`MIN_STAY`], and hosts that were busy before
//!   keep theirs.
//! - A source without traffic for [`IDLE_LEAVE`], or that the statistics have forgotten, leaves.
//!
//! Long names and alerts take more [`room`], so places may be fewer than `max_sources`.
//!
//! How busy a source is: its new connections in the interval or their mean over the window, whichever is
//! more; then its bytes.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    SourcesStatus,
    history::{History, RecentContacts},
    room,
};
use crate::{
    alert::AlertKind,
    clock::Timestamp,
    interval::{Interval, SourceInterval},
    observation::{Observation, Opening},
};

/// How long a source keeps its place whoever else is busy, unless an alert needs it.
pub const MIN_STAY: Duration = Duration::from_mins(5);
/// A source without traffic for so long loses its place.
pub const IDLE_LEAVE: Duration = Duration::from_mins(10);
/// How much busier than the least busy source another must be to take its place.
const MARGIN: f64 = 2.0;

/// What sources did since they have (or share) their series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceTotals {
    /// New TCP connections.
    pub new_tcp: u64,
    /// New UDP conversations.
    pub new_udp: u64,
    /// New conversations over other transports.
    pub new_other: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Frames sent.
    pub packets_out: u64,
    /// Frames received.
    pub packets_in: u64,
}

impl SourceTotals {
    fn add(&mut self, source: &SourceInterval) {
        self.new_tcp += source.new_tcp;
        self.new_udp += source.new_udp;
        self.new_other += source.new_connections.saturating_sub(source.new_tcp + source.new_udp);
        self.bytes_out += source.bytes_out;
        self.bytes_in += source.bytes_in;
        self.packets_out += source.packets_out;
        self.packets_in += source.packets_in;
    }
}

/// A source with series of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnSource {
    /// The local address.
    pub source: IpAddr,
    /// Since it has its place.
    pub totals: SourceTotals,
    /// The last complete interval; none if an alert gave it a place since then.
    pub interval: Option<SourceInterval>,
    /// The last ten minutes, as far as it had its place.
    pub history: Arc<History>,
    /// Its latest first contacts since it has its place.
    pub recent: Arc<RecentContacts>,
}

/// The sources without series of their own, together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OtherSources {
    /// Since the start, each source for as long as it had no place.
    pub totals: SourceTotals,
    /// Sources in the last complete interval.
    pub sources: u64,
    /// Their new connections in the last complete interval.
    pub new_connections: u64,
    /// Of these, unanswered.
    pub unanswered: u64,
    /// Sum of their means: the mean of their sum.
    pub mean: f64,
    /// Sum of their active trifectas.
    pub active_trifectas: u64,
    /// Sum of their new peers.
    pub new_peers: u64,
    /// Sum of their distinct new responder ports.
    pub new_ports: u64,
}

impl OtherSources {
    fn add(&mut self, source: &SourceInterval) {
        self.totals.add(source);
        self.sources += 1;
        self.new_connections += source.new_connections;
        self.unanswered += source.new_connections.saturating_sub(source.answered);
        self.mean += source.mean.unwrap_or(0.0);
        self.active_trifectas += source.active_trifectas;
        self.new_peers += source.new_peers;
        self.new_ports += source.new_ports;
    }
}

/// A taken place.
#[derive(Debug)]
struct Place {
    totals: SourceTotals,
    interval: Option<SourceInterval>,
    history: Arc<History>,
    recent: Arc<RecentContacts>,
    since: Timestamp,
    last_active: Timestamp,
}

/// The alerts that hold, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Alerting {
    alerts: Vec<(AlertKind, IpAddr)>,
    sources: BTreeSet<IpAddr>,
}

impl Alerting {
    pub(super) fn of(alerts: impl Iterator<Item = (AlertKind, IpAddr)>) -> Self {
        let alerts: Vec<_> = alerts.collect();
        let sources = alerts.iter().map(|(_, source)| *source).collect();
        Self { alerts, sources }
    }

    fn contains(&self, source: &IpAddr) -> bool {
        self.sources.contains(source)
    }
}

/// The places and who has them.
#[derive(Debug, Default)]
pub(super) struct Places {
    max: usize,
    /// Bytes that the series of those with a place take.
    used: usize,
    taken: HashMap<IpAddr, Place>,
    /// What sources had that lost their place, for as long as the statistics know them.
    left: HashMap<IpAddr, SourceTotals>,
    other: OtherSources,
    evicted: u64,
}

impl Places {
    /// None taken, out of `max`.
    pub(super) fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// Gives `source` a place because of an alert, and the alert room; `alerting` are those that hold, this included.
    /// Without effect where every place belongs to a source with an alert.
    pub(super) fn claim(&mut self, source: IpAddr, alerting: &Alerting, now: Timestamp) {
        let has_place = self.taken.contains_key(&source);
        let newcomer = (!has_place).then_some(source);
        let mut leaving = Vec::new();
        if !self.fits(newcomer, alerting) {
            leaving = self.weakest(alerting, None);
        }
        let mut leaving = leaving.into_iter();
        while !self.fits(newcomer, alerting) {
            let Some(leaves) = leaving.next() else { return };
            self.evict(leaves);
        }
        if !has_place {
            self.take(source, now);
        }
    }

    /// Whether there is room for `newcomer`, if any, and for the alerts of all who then have a place.
    fn fits(&self, newcomer: Option<IpAddr>, alerting: &Alerting) -> bool {
        let has_place = |source: &IpAddr| self.taken.contains_key(source) || newcomer == Some(*source);
        let alerts = alerting.alerts.iter().copied().filter(|(_, source)| has_place(source));
        let bytes = self.used + newcomer.map_or(0, room::of_source) + room::of_alerts(alerts);
        self.taken.len() + usize::from(newcomer.is_some()) <= self.max && bytes <= room::available(self.max)
    }

    /// Counts a complete interval and decides who has a place.
    pub(super) fn close(&mut self, interval: &Interval, alerting: &Alerting) {
        self.dismiss(interval, alerting);
        self.admit(interval, alerting);
        self.other = OtherSources { totals: self.other.totals, ..OtherSources::default() };
        for source in &interval.sources {
            if let Some(place) = self.taken.get_mut(&source.source) {
                place.totals.add(source);
                place.interval = Some(source.clone());
                Arc::make_mut(&mut place.history).push(interval, source);
            } else {
                self.other.add(source);
            }
        }
    }

    /// Notes whom sources with a place contacted, and what came of it.
    ///
    /// Snapshots share what is kept: it is copied when a source does something, not for every snapshot.
    pub(super) fn observe(&mut self, observation: &Observation) {
        let trifecta = match observation {
            Observation::Contact(contact) => contact.trifecta,
            Observation::Response(response) => response.trifecta,
        };
        let Some(place) = self.taken.get_mut(&trifecta.initiator) else { return };
        match observation {
            Observation::Contact(contact) if contact.opening == Opening::New => {
                Arc::make_mut(&mut place.recent).add(contact, RecentContacts::capacity(self.max));
            }
            Observation::Response(response) if place.recent.knows(response) => {
                Arc::make_mut(&mut place.recent).respond(response);
            }
            Observation::Contact(_) | Observation::Response(_) => {}
        }
    }

    pub(super) fn status(&self) -> SourcesStatus {
        let mut own: Vec<OwnSource> = self
            .taken
            .iter()
            .map(|(&source, place)| {
                let Place { totals, interval, history, recent, since: _, last_active: _ } = place;
                OwnSource {
                    source,
                    totals: *totals,
                    interval: interval.clone(),
                    history: Arc::clone(history),
                    recent: Arc::clone(recent),
                }
            })
            .collect();
        own.sort_unstable_by_key(|own| own.source);
        SourcesStatus { own, other: self.other, places: self.max, evicted: self.evicted }
    }

    /// Takes the places of sources that are idle or forgotten.
    fn dismiss(&mut self, interval: &Interval, alerting: &Alerting) {
        let known: HashSet<IpAddr> = interval.sources.iter().map(|source| source.source).collect();
        self.left.retain(|source, _| known.contains(source));
        for source in interval.sources.iter().filter(|source| is_active(source)) {
            if let Some(place) = self.taken.get_mut(&source.source) {
                place.last_active = interval.end;
            }
        }
        let Self { taken, left, used, .. } = self;
        taken.retain(|source, place| {
            let (known, idle) = (known.contains(source), interval.end.since(place.last_active) >= IDLE_LEAVE);
            let stays = alerting.contains(source) || known && !idle;
            if !stays {
                *used -= room::of_source(*source);
                if known {
                    left.insert(*source, place.totals);
                }
            }
            stays
        });
    }

    /// Gives places to sources that have none.
    fn admit(&mut self, interval: &Interval, alerting: &Alerting) {
        let now = interval.end;
        let mut candidates: Vec<&SourceInterval> = interval
            .sources
            .iter()
            .filter(|source| is_active(source) && !self.taken.contains_key(&source.source))
            .collect();
        candidates.sort_unstable_by(|a, b| {
            let by_alert = alerting.contains(&b.source).cmp(&alerting.contains(&a.source));
            by_alert.then_with(|| by_business(b, a))
        });
        let mut leaving = self.weakest(alerting, Some(now)).into_iter();
        for candidate in candidates {
            if alerting.contains(&candidate.source) {
                self.claim(candidate.source, alerting, now);
                continue;
            }
            while !self.fits(Some(candidate.source), alerting) {
                let Some(leaves) = leaving.find(|source| self.taken.contains_key(source)) else { return };
                let weakest = self.taken[&leaves].interval.as_ref().map_or(0.0, business);
                if business(candidate) <= MARGIN * weakest.max(1.0) {
                    return;
                }
                self.evict(leaves);
            }
            self.take(candidate.source, now);
        }
    }

    /// Sources without an alert, the least busy first; with `now`, only those that had [`MIN_STAY`].
    fn weakest(&self, alerting: &Alerting, now: Option<Timestamp>) -> Vec<IpAddr> {
        let mut weakest: Vec<(&IpAddr, &Place)> = self
            .taken
            .iter()
            .filter(|(source, _)| !alerting.contains(source))
            .filter(|(_, place)| now.is_none_or(|now| now.since(place.since) >= MIN_STAY))
            .collect();
        weakest.sort_unstable_by(|(a, left), (b, right)| {
            let by_business = match (&left.interval, &right.interval) {
                (Some(left), Some(right)) => by_business(left, right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            };
            by_business.then_with(|| a.cmp(b))
        });
        weakest.into_iter().map(|(source, _)| *source).collect()
    }

    fn take(&mut self, source: IpAddr, now: Timestamp) {
        let totals = self.left.remove(&source).unwrap_or_default();
        let (history, recent) = (Arc::default(), Arc::default());
        let place = Place { totals, interval: None, history, recent, since: now, last_active: now };
        self.taken.insert(source, place);
        self.used += room::of_source(source);
    }

    fn evict(&mut self, source: IpAddr) {
        if let Some(place) = self.taken.remove(&source) {
            self.left.insert(source, place.totals);
            self.used -= room::of_source(source);
            self.evicted += 1;
        }
    }
}

fn is_active(source: &SourceInterval) -> bool {
    source.packets_out + source.packets_in + source.new_connections > 0
}

fn business(source: &SourceInterval) -> f64 {
    (source.new_connections as f64).max(source.mean.unwrap_or(0.0))
}

/// The less busy first; equals by address, so that the choice does not depend on chance.
fn by_business(a: &SourceInterval, b: &SourceInterval) -> Ordering {
    business(a)
        .total_cmp(&business(b))
        .then_with(|| (a.bytes_out + a.bytes_in).cmp(&(b.bytes_out + b.bytes_in)))
        .then_with(|| b.source.cmp(&a.source))
}
