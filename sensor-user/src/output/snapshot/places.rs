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
//! Long names, many roles and alerts take more [`room`], so places may be fewer than `max_sources`: the least
//! busy sources leave, those with an alert last. A source pays for the most roles that it had since it has
//! its place, so that roles that come and go do not make others do so.
//!
//! How busy a source is: its new connections in the interval or their mean over the window, whichever is
//! more; then its bytes.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    SourcesStatus,
    history::{History, RecentContacts},
    room::{self, AlertRoom},
};
use crate::{
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
        self.new_other += new_other(source);
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
    /// Bytes that the series took at most that not every source has.
    extras: usize,
}

/// The places and who has them.
#[derive(Debug, Default)]
pub(super) struct Places {
    max: usize,
    /// Alerts that hold, by source, with a place or without.
    alerting: HashMap<IpAddr, usize>,
    /// Bytes that the series of those with a place take.
    used: usize,
    /// The same of their alerts.
    alerts: AlertRoom,
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

    /// An alert of `source` begins; [`claim`](Self::claim) gives it room.
    pub(super) fn alert_begins(&mut self, source: IpAddr) {
        *self.alerting.entry(source).or_default() += 1;
        if self.taken.contains_key(&source) {
            self.alerts.add(source, 1);
        }
    }

    /// An alert of `source` ends.
    pub(super) fn alert_ends(&mut self, source: IpAddr) {
        let Entry::Occupied(mut alerts) = self.alerting.entry(source) else { return };
        *alerts.get_mut() -= 1;
        if *alerts.get() == 0 {
            alerts.remove();
        }
        if self.taken.contains_key(&source) {
            self.alerts.remove(source, 1);
        }
    }

    /// Gives `sources` places because of alerts that began, and the alerts room. Without effect on sources
    /// for which there is none where every place belongs to a source with an alert.
    ///
    /// Once for all that begin in a drain: whoever forges thousands of sources with an alert must not have
    /// the places put in order for each.
    pub(super) fn claim(&mut self, sources: impl IntoIterator<Item = IpAddr>, now: Timestamp) {
        self.shed();
        let mut leaving = None;
        for source in sources {
            if self.taken.contains_key(&source) {
                continue;
            }
            let extras = self.extras(source, None);
            while !self.fits(Some((source, extras))) {
                let leaving = leaving.get_or_insert_with(|| self.weakest(None).into_iter());
                let Some(leaves) = leaving.next() else { return };
                self.evict(leaves);
            }
            self.take(source, extras, now);
        }
    }

    /// Makes room where those with a place outgrew it.
    fn shed(&mut self) {
        if self.fits(None) {
            return;
        }
        let mut leaving = self.weakest(None);
        let all = self.in_order(|_, _| true);
        leaving.extend(all.into_iter().filter(|source| self.alerting.contains_key(source)));
        for leaves in leaving {
            if self.fits(None) {
                return;
            }
            self.evict(leaves);
        }
    }

    /// Whether there is room for a newcomer, if any, with extras, and for the alerts of all who then have a
    /// place.
    fn fits(&self, newcomer: Option<(IpAddr, usize)>) -> bool {
        let (mut used, mut alerts) = (self.used, self.alerts);
        if let Some((source, extras)) = newcomer {
            used += room::of_source(source) + extras;
            alerts.add(source, self.alerts_of(source));
        }
        let places = self.taken.len() + usize::from(newcomer.is_some());
        places <= self.max && used + alerts.bytes() <= room::available(self.max)
    }

    /// Bytes of the series that a source has beyond those that all have: its roles, and connections that are
    /// neither TCP nor UDP.
    fn extras(&self, source: IpAddr, interval: Option<&SourceInterval>) -> usize {
        let before = self.taken.get(&source).map(|place| &place.totals).or_else(|| self.left.get(&source));
        let had_other = before.is_some_and(|totals| totals.new_other > 0);
        let has_other = had_other || interval.is_some_and(|interval| new_other(interval) > 0);
        let roles = interval.map_or(&[][..], |interval| &interval.roles);
        room::of_extras(source, roles, has_other)
    }

    /// Counts a complete interval and decides who has a place.
    pub(super) fn close(&mut self, interval: &Interval) {
        self.dismiss(interval);
        self.charge(interval);
        self.shed();
        self.admit(interval);
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
                let Place { totals, interval, history, recent, since: _, last_active: _, extras: _ } = place;
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
    fn dismiss(&mut self, interval: &Interval) {
        let known: HashSet<IpAddr> = interval.sources.iter().map(|source| source.source).collect();
        self.left.retain(|source, _| known.contains(source));
        for source in interval.sources.iter().filter(|source| is_active(source)) {
            if let Some(place) = self.taken.get_mut(&source.source) {
                place.last_active = interval.end;
            }
        }
        let Self { taken, left, used, alerting, .. } = self;
        taken.retain(|source, place| {
            let (known, idle) = (known.contains(source), interval.end.since(place.last_active) >= IDLE_LEAVE);
            let stays = alerting.contains_key(source) || known && !idle;
            if !stays {
                *used -= room::of_source(*source) + place.extras;
                if known {
                    left.insert(*source, place.totals);
                }
            }
            stays
        });
    }

    /// Lets those with a place pay for what the interval gave them.
    fn charge(&mut self, interval: &Interval) {
        for source in &interval.sources {
            let extras = self.extras(source.source, Some(source));
            if let Some(place) = self.taken.get_mut(&source.source) {
                let more = extras.saturating_sub(place.extras);
                place.extras += more;
                self.used += more;
            }
        }
    }

    /// Gives places to sources that have none.
    fn admit(&mut self, interval: &Interval) {
        let now = interval.end;
        let mut candidates: Vec<&SourceInterval> = interval
            .sources
            .iter()
            .filter(|source| is_active(source) && !self.taken.contains_key(&source.source))
            .collect();
        candidates.sort_unstable_by(|a, b| by_business(b, a));
        let (alerting, others): (Vec<&SourceInterval>, Vec<_>) =
            candidates.into_iter().partition(|source| self.alerting.contains_key(&source.source));
        self.claim(alerting.iter().map(|source| source.source), now);
        self.charge(interval);
        self.shed();
        let mut leaving = self.weakest(Some(now)).into_iter();
        for candidate in others {
            let extras = self.extras(candidate.source, Some(candidate));
            while !self.fits(Some((candidate.source, extras))) {
                let Some(leaves) = leaving.next() else { return };
                let weakest = self.taken[&leaves].interval.as_ref().map_or(0.0, business);
                if business(candidate) <= MARGIN * weakest.max(1.0) {
                    return;
                }
                self.evict(leaves);
            }
            self.take(candidate.source, extras, now);
        }
    }

    /// Sources without an alert, the least busy first; with `now`, only those that had [`MIN_STAY`].
    fn weakest(&self, now: Option<Timestamp>) -> Vec<IpAddr> {
        self.in_order(|source, place| {
            !self.alerting.contains_key(source) && now.is_none_or(|now| now.since(place.since) >= MIN_STAY)
        })
    }

    /// Some of the sources with a place, the least busy first.
    fn in_order(&self, which: impl Fn(&IpAddr, &Place) -> bool) -> Vec<IpAddr> {
        let mut places: Vec<(&IpAddr, &Place)> =
            self.taken.iter().filter(|(source, place)| which(source, place)).collect();
        places.sort_unstable_by(|(a, left), (b, right)| {
            let by_business = match (&left.interval, &right.interval) {
                (Some(left), Some(right)) => by_business(left, right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            };
            by_business.then_with(|| a.cmp(b))
        });
        places.into_iter().map(|(source, _)| *source).collect()
    }

    fn take(&mut self, source: IpAddr, extras: usize, now: Timestamp) {
        let totals = self.left.remove(&source).unwrap_or_default();
        let (history, recent) = (Arc::default(), Arc::default());
        let place = Place { totals, interval: None, history, recent, since: now, last_active: now, extras };
        self.taken.insert(source, place);
        self.used += room::of_source(source) + extras;
        self.alerts.add(source, self.alerts_of(source));
    }

    fn evict(&mut self, source: IpAddr) {
        if let Some(place) = self.taken.remove(&source) {
            self.left.insert(source, place.totals);
            self.used -= room::of_source(source) + place.extras;
            self.alerts.remove(source, self.alerts_of(source));
            self.evicted += 1;
        }
    }

    /// Alerts of a source that hold.
    fn alerts_of(&self, source: IpAddr) -> usize {
        self.alerting.get(&source).copied().unwrap_or_default()
    }
}

const fn new_other(source: &SourceInterval) -> u64 {
    source.new_connections.saturating_sub(source.new_tcp + source.new_udp)
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
