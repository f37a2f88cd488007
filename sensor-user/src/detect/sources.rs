//! State by source in bounded memory: flat, swept a little at every advance, and honest about what it
//! had to forget.

use std::{mem::size_of, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::Usage;
use crate::clock::Timestamp;

/// Share of the table that one sweep looks at; all of it within this many sweeps.
const SWEEPS: usize = 64;
/// Entries compared when one has to go to make room.
const SAMPLES: usize = 8;

/// What the table asks of the state that it keeps.
pub trait Tracked: Default {
    /// When it was last of use.
    fn last_seen(&self) -> Timestamp;

    /// Whether it must stay, as while it is named.
    fn pinned(&self) -> bool;
}

/// A table of at most `capacity` sources.
#[derive(Debug)]
pub struct Sources<T> {
    entries: IndexMap<IpAddr, T, RandomState>,
    capacity: usize,
    idle: Duration,
    cursor: usize,
    /// Where the last source was found: a contact and its answer mostly follow each other.
    latest: usize,
    evicted_idle: u64,
    evicted_full: u64,
}

impl<T: Tracked> Sources<T> {
    /// An empty table whose entries may be forgotten once idle for `idle`.
    #[must_use]
    pub fn new(capacity: usize, idle: Duration) -> Self {
        Self {
            entries: IndexMap::default(),
            capacity: capacity.max(1),
            idle,
            cursor: 0,
            latest: 0,
            evicted_idle: 0,
            evicted_full: 0,
        }
    }

    /// The state of `source`, new if it has none. Second: the source that had to go for it, with its
    /// state.
    pub fn entry(&mut self, source: IpAddr) -> (&mut T, Option<(IpAddr, T)>) {
        // Borrowing the entry across the insertion is not possible, hence the index.
        if let Some(index) = self.index_of(source) {
            return (&mut self.entries[index], None);
        }
        let evicted = if self.entries.len() >= self.capacity { self.evict() } else { None };
        let (index, _) = self.entries.insert_full(source, T::default());
        (&mut self.entries[index], evicted)
    }

    /// The state of `source`, if it has any.
    #[must_use]
    pub fn get(&self, source: IpAddr) -> Option<&T> {
        self.entries.get(&source)
    }

    /// The state of `source`, if it has any.
    pub fn get_mut(&mut self, source: IpAddr) -> Option<&mut T> {
        let index = self.index_of(source)?;
        Some(&mut self.entries[index])
    }

    fn index_of(&mut self, source: IpAddr) -> Option<usize> {
        if self.entries.get_index(self.latest).is_none_or(|(latest, _)| *latest != source) {
            self.latest = self.entries.get_index_of(&source)?;
        }
        Some(self.latest)
    }

    /// Forgets what is idle as of `now` in the next part of the table.
    pub fn sweep(&mut self, now: Timestamp) {
        for _ in 0..=self.entries.len() / SWEEPS {
            let Some((_, state)) = self.entries.get_index(self.cursor) else {
                self.cursor = 0;
                return;
            };
            if !state.pinned() && now.since(state.last_seen()) > self.idle {
                self.entries.swap_remove_index(self.cursor);
                self.evicted_idle += 1;
            } else {
                self.cursor += 1;
            }
        }
    }

    /// What it holds and what it forgot.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            sources: self.entries.len(),
            bytes: self.entries.len() * Self::BYTES_PER_SOURCE,
            evicted_idle: self.evicted_idle,
            evicted_full: self.evicted_full,
        }
    }

    /// Bytes per source: the state, its address, and the hash and index that find it.
    pub const BYTES_PER_SOURCE: usize = size_of::<(usize, IpAddr, T)>() + size_of::<usize>();

    /// Of a few entries, forgets the one idle for longest. Pinned ones stay unless all are.
    fn evict(&mut self) -> Option<(IpAddr, T)> {
        let length = self.entries.len();
        let victim = (0..SAMPLES.min(length))
            .map(|step| (self.cursor + step) % length)
            .min_by_key(|index| (self.entries[*index].pinned(), self.entries[*index].last_seen()))?;
        self.cursor = (self.cursor + SAMPLES) % length;
        self.evicted_full += 1;
        self.entries.swap_remove_index(victim)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Default)]
    struct State(Timestamp, bool);

    impl Tracked for State {
        fn last_seen(&self) -> Timestamp {
            self.0
        }

        fn pinned(&self) -> bool {
            self.1
        }
    }

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_full_table_forgets_and_counts() {
        let mut table = Sources::<State>::new(100, Duration::from_mins(1));
        for number in 0..1_000 {
            table.entry(address(number)).0.0 = Timestamp::from_secs(number.into());
        }
        assert_eq!((table.usage().sources, table.usage().evicted_full), (100, 900));
    }

    #[test]
    fn a_flood_of_forged_sources_does_not_displace_a_named_one() {
        let mut table = Sources::<State>::new(100, Duration::from_mins(1));
        table.entry(address(7)).0.1 = true;
        for number in 100..10_000 {
            table.entry(address(number)).0.0 = Timestamp::from_secs(number.into());
        }
        assert!(table.get(address(7)).is_some());
    }

    #[test]
    fn idle_sources_are_forgotten_within_a_bounded_number_of_sweeps() {
        let mut table = Sources::<State>::new(100_000, Duration::from_mins(1));
        for number in 0..10_000 {
            table.entry(address(number)).0.0 = Timestamp::from_secs(u64::from(number % 2) * 1_000);
        }
        for _ in 0..2 * SWEEPS {
            table.sweep(Timestamp::from_secs(1_000));
        }
        assert_eq!((table.usage().sources, table.usage().evicted_idle), (5_000, 5_000));
        assert!(table.get(address(0)).is_none() && table.get(address(1)).is_some());
    }

    proptest! {
        /// Whatever was evicted and moved in between, a source gets its own state.
        #[test]
        fn nobody_gets_the_state_of_another(
            steps in prop::collection::vec((0u32..20, any::<bool>()), 1..300),
        ) {
            let mut table = Sources::<State>::new(8, Duration::from_secs(5));
            for (time, (number, sweep)) in (1..).zip(steps) {
                let now = Timestamp::from_secs(time);
                // The time of last use tells the sources apart: no two have the same.
                let known = table.get(address(number)).map(|state| state.0);
                let state = table.entry(address(number)).0;
                prop_assert_eq!(state.0, known.unwrap_or_default());
                state.0 = now;
                prop_assert_eq!(table.get_mut(address(number)).map(|state| state.0), Some(now));
                if sweep {
                    table.sweep(now);
                }
                prop_assert!(table.usage().sources <= 8);
            }
        }
    }
}
