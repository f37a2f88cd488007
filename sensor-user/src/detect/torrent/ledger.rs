//! Who is followed: a few words for every source, and a place in a pool for every suspect. Few sources
//! need candidates, and each needs much memory, so that only those have them.

use std::{net::IpAddr, time::Duration};

use super::{
    peers::Peers,
    suspect::{Suspect, WINDOW},
};
use crate::{
    clock::Timestamp,
    detect::{
        Usage,
        decay::DecayingRate,
        roles::Habits,
        settings::Settings,
        sources::{Sources, Tracked},
    },
};

/// A source is forgotten when it opened nothing for this long.
const IDLE: Duration = Duration::from_mins(10);
/// How long a UDP socket that spoke to a STUN server is taken for a call's.
const STUN_MEMORY_SECONDS: u32 = 300;
/// Rate of other new peers, per second, at which a source counts as one more host.
const BUSY_RATE: f64 = 10.0;
/// The most hosts that a source counts as in addition to the first.
const BUSY_MOST: f64 = 20.0;
/// Suspects compared when one has to go to make room.
const SAMPLES: usize = 16;

/// What is kept of every source.
#[derive(Debug, Default)]
pub struct Source {
    /// Last contact.
    pub last: Timestamp,
    /// New peers on service ports and popular ports.
    pub other: DecayingRate,
    /// What else it does.
    pub habits: Habits,
    /// The local ports that last spoke to STUN, and when (seconds since the epoch).
    stun: [(u16, u32); 2],
    /// When it last served STUN or TURN: a relay contacts its clients' partners from many sockets.
    relay: Option<u32>,
    suspect: Option<Place>,
}

impl Tracked for Source {
    fn last_seen(&self) -> Timestamp {
        self.last
    }

    fn pinned(&self) -> bool {
        self.suspect.is_some()
    }
}

impl Source {
    /// Whether a UDP port spoke to STUN of late.
    #[must_use]
    pub fn did_stun(&self, port: u16, second: u32) -> bool {
        self.stun.iter().any(|(from, at)| *from == port && second.saturating_sub(*at) <= STUN_MEMORY_SECONDS)
    }

    /// Whether it served STUN of late.
    #[must_use]
    pub fn relays(&self, second: u32) -> bool {
        self.relay.is_some_and(|at| second.saturating_sub(at) <= STUN_MEMORY_SECONDS)
    }

    /// Notes that it serves STUN.
    pub const fn note_relay(&mut self, second: u32) {
        self.relay = Some(second);
    }

    /// Whether any did.
    #[must_use]
    pub fn calls(&self, second: u32) -> bool {
        self.stun.iter().any(|(port, _)| *port != 0 && self.did_stun(*port, second))
    }

    /// Notes that a UDP port speaks to STUN.
    pub fn note_stun(&mut self, port: u16, second: u32) {
        if self.stun[0].0 != port {
            self.stun[1] = self.stun[0];
        }
        self.stun[0] = (port, second);
    }

    /// As how many hosts it counts: 1, and one more for every [`BUSY_RATE`] of other new peers.
    #[must_use]
    pub fn busy(&self, now: Timestamp) -> f64 {
        1.0 + (self.other.per_second(now, WINDOW) / BUSY_RATE).min(BUSY_MOST)
    }
}

/// A place in the pool.
type Place = u32;

/// All sources and all suspects.
#[derive(Debug)]
pub struct Ledger {
    sources: Sources<Source>,
    /// Memory is taken as needed and kept for the next.
    pool: Vec<Suspect>,
    free: Vec<Place>,
    capacity: usize,
    cursor: usize,
    evicted: u64,
    /// Named sources that were forgotten for want of room.
    orphans: Vec<IpAddr>,
}

impl Ledger {
    /// What every source takes in bytes.
    pub const BYTES_PER_SOURCE: usize = Sources::<Source>::BYTES_PER_SOURCE;
    /// What every suspect takes in addition.
    pub const BYTES_PER_SUSPECT: usize = size_of::<Suspect>() + Peers::BYTES;

    /// Nobody.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            sources: Sources::new(settings.sources, IDLE),
            pool: Vec::new(),
            free: Vec::new(),
            capacity: settings.suspects.max(1),
            cursor: 0,
            evicted: 0,
            orphans: Vec::new(),
        }
    }

    /// A source, new if not known.
    pub fn source(&mut self, address: IpAddr) -> &mut Source {
        let (source, evicted) = self.sources.entry(address);
        if let Some((address, Source { suspect: Some(place), .. })) = evicted {
            if self.pool[place as usize].named.is_some() {
                self.orphans.push(address);
            }
            self.free.push(place);
        }
        source
    }

    /// A source, if it is known, only to look at.
    #[must_use]
    pub fn known(&self, address: IpAddr) -> Option<&Source> {
        self.sources.get(address)
    }

    /// The suspect of a source, if it is one.
    pub fn suspect(&mut self, address: IpAddr) -> Option<&mut Suspect> {
        let place = self.sources.get_mut(address)?.suspect?;
        Some(&mut self.pool[place as usize])
    }

    /// The same, only to look at.
    #[must_use]
    pub fn peek(&self, address: IpAddr) -> Option<&Suspect> {
        let place = self.sources.get(address)?.suspect?;
        Some(&self.pool[place as usize])
    }

    /// The suspect of a source, new if it is none yet. None if there is no room because all are named.
    pub fn accuse(&mut self, address: IpAddr) -> Option<&mut Suspect> {
        let known = self.source(address).suspect;
        let place = if let Some(place) = known {
            place
        } else {
            let place = self.take(address)?;
            self.source(address).suspect = Some(place);
            place
        };
        Some(&mut self.pool[place as usize])
    }

    /// Shows every suspect with its source to `judge`, which says whether it stays one.
    pub fn each_suspect(&mut self, mut judge: impl FnMut(&mut Suspect, &Source) -> bool) {
        for (place, suspect) in (0..).zip(&mut self.pool) {
            let Some(source) = self.sources.get_mut(suspect.source) else {
                continue;
            };
            // A place that is free still carries the address of its last owner.
            if source.suspect == Some(place) && !judge(suspect, source) {
                source.suspect = None;
                self.free.push(place);
            }
        }
    }

    /// Forgets a part of what is idle.
    pub fn sweep(&mut self, now: Timestamp) {
        self.sources.sweep(now);
    }

    /// Named sources that were forgotten since the last call.
    pub fn take_orphans(&mut self) -> impl Iterator<Item = IpAddr> + '_ {
        self.orphans.drain(..)
    }

    /// How many suspects it has room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// What it holds and what it forgot.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let sources = self.sources.usage();
        let bytes = sources.bytes + self.pool.len() * Self::BYTES_PER_SUSPECT;
        Usage { bytes, evicted_full: sources.evicted_full + self.evicted, ..sources }
    }

    fn take(&mut self, address: IpAddr) -> Option<Place> {
        if let Some(place) = self.free.pop() {
            self.pool[place as usize].recycle(address);
            return Some(place);
        }
        if self.pool.len() < self.capacity {
            self.pool.push(Suspect::new(address));
            return Place::try_from(self.pool.len() - 1).ok();
        }
        let at = self.least_suspicious()?;
        if let Some(source) = self.sources.get_mut(self.pool[at].source) {
            source.suspect = None;
        }
        self.pool[at].recycle(address);
        self.evicted += 1;
        Place::try_from(at).ok()
    }

    /// Of a few suspects, the one with the least evidence that is not named.
    fn least_suspicious(&mut self) -> Option<usize> {
        let length = self.pool.len();
        let from = self.cursor;
        self.cursor = (from + SAMPLES) % length;
        let weight = |at: &usize| (self.pool[*at].sums[0].cusum.value(), self.pool[*at].last);
        (0..SAMPLES.min(length))
            .map(|step| (from + step) % length)
            .filter(|at| self.pool[*at].named.is_none())
            .min_by(|a, b| {
                let ((sum_a, last_a), (sum_b, last_b)) = (weight(a), weight(b));
                sum_a.total_cmp(&sum_b).then(last_a.cmp(&last_b))
            })
    }
}
