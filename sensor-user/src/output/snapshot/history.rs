//! What a source with a place did lately, as the page draws it: new connections over ten minutes, and its
//! latest first contacts.
//!
//! Both are bounded, and kept for sources with a place only: a flood of forged addresses gets no places, so
//! it costs nothing here. The peers in it are external addresses, which the page and its API show and
//! metrics never do.

use std::{collections::VecDeque, time::Duration};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::{
    clock::Timestamp,
    interval::{Interval, SourceInterval},
    observation::{Contact, Outcome, Response, Trifecta},
};

/// How far back the page looks.
pub const PERIOD: Duration = Duration::from_mins(10);
/// Least length of a point: shorter intervals share one.
pub const STEP: Duration = Duration::from_secs(10);
/// Points in [`PERIOD`] at most.
const POINTS: usize = 60;

/// First contacts kept of one source at most.
const MOST_CONTACTS: usize = 256;
/// First contacts kept of all sources together: some 5 MB, twice that while a snapshot is replaced.
const ALL_CONTACTS: usize = 65_536;

/// One point of a source's history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its end.
    pub end: Timestamp,
    /// Its measured length in seconds.
    pub seconds: f64,
    /// New connections in it.
    pub new_connections: u64,
    /// Of these, answered by the end of their interval.
    pub answered: u64,
    /// Mean of new connections per interval as of its end.
    pub mean: Option<f64>,
    /// Sample variance of the same.
    pub variance: Option<f64>,
    /// The torrent detector's score at its end.
    pub torrent_score: f64,
}

/// The last ten minutes of a source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History(VecDeque<Point>);

impl History {
    /// Oldest first.
    #[must_use]
    pub fn points(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.0.iter()
    }

    /// New connections in all points.
    #[must_use]
    pub fn new_connections(&self) -> u64 {
        self.0.iter().map(|point| point.new_connections).sum()
    }

    /// Adds what the source did in the interval.
    pub(super) fn push(&mut self, interval: &Interval, source: &SourceInterval) {
        let mut point = Point {
            end: interval.end,
            seconds: interval.seconds,
            new_connections: source.new_connections,
            answered: source.answered,
            mean: source.mean,
            variance: source.variance,
            torrent_score: source.torrent_score,
        };
        // A percent, because lengths are measured.
        let step = STEP.as_secs_f64() * 1.01;
        if let Some(last) = self.0.pop_back_if(|last| last.seconds + point.seconds <= step) {
            point.seconds += last.seconds;
            point.new_connections += last.new_connections;
            point.answered += last.answered;
        }
        self.0.push_back(point);
        while self.0.len() > POINTS
            || self.0.front().is_some_and(|first| interval.end.since(first.end) >= PERIOD)
        {
            self.0.pop_front();
        }
    }
}

/// A first contact and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentContact {
    /// When.
    pub time: Timestamp,
    /// What the responder did so far.
    pub outcome: Option<Outcome>,
    /// Whether the peer was new.
    pub new_peer: bool,
}

/// The latest first contacts of a source, as many as fit.
#[derive(Clone, Debug, Default)]
pub struct RecentContacts {
    entries: IndexMap<Trifecta, RecentContact, RandomState>,
    /// Once it is full: where the oldest is.
    hand: usize,
}

impl RecentContacts {
    /// How many a source may keep where `sources` may have a place.
    pub(super) fn capacity(sources: usize) -> usize {
        (ALL_CONTACTS / sources.max(1)).clamp(1, MOST_CONTACTS)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Trifecta, &RecentContact)> {
        self.entries.iter()
    }

    /// Adds one; beyond `capacity` the oldest goes.
    pub(super) fn add(&mut self, contact: &Contact, capacity: usize) {
        let recent = RecentContact { time: contact.time, outcome: None, new_peer: contact.new_peer };
        self.entries.insert(contact.trifecta, recent);
        if self.entries.len() > capacity {
            // The newest, at the end, moves to where the oldest was: a ring.
            self.entries.swap_remove_index(self.hand);
            self.hand = (self.hand + 1) % capacity.max(1);
        }
    }

    /// Notes what came of one, if it is still here.
    pub(super) fn respond(&mut self, response: &Response) {
        if let Some(recent) = self.entries.get_mut(&response.trifecta) {
            recent.outcome = Some(response.outcome);
        }
    }

    /// Whether this response would change anything.
    pub(super) fn knows(&self, response: &Response) -> bool {
        self.entries.contains_key(&response.trifecta)
    }
}

impl PartialEq for RecentContacts {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

#[cfg(test)]
mod tests;
