//! A bounded memory: what was seen within a period, and what had to be forgotten early.

use std::{hash::Hash, time::Duration};

use foldhash::fast::RandomState;
use indexmap::{IndexMap, map::Entry};

use crate::clock::Timestamp;

/// Entries that a search for a victim looks at. The oldest of a few is nearly as good a victim as the oldest of
/// all, at no cost per access; the same is known from caches that sample.
const VICTIM_SAMPLE: usize = 8;

/// Least number of entries that one [`Memory::sweep`] looks at.
const MIN_SWEEP: usize = 64;

/// Keys seen within `period`, each with a value, at most `capacity` of them.
#[derive(Debug)]
pub struct Memory<K, V> {
    entries: IndexMap<K, Remembered<V>, RandomState>,
    period: Duration,
    capacity: usize,
    /// Where the search for expired entries and victims goes on.
    hand: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Remembered<V> {
    last_seen: Timestamp,
    value: V,
}

/// What [`Memory::see`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a, V> {
    /// Seen within the period; its value.
    Known(&'a mut V),
    /// Not seen within the period: the value that was put there now.
    New(&'a mut V),
}

impl<K: Hash + Eq + Copy, V: Copy> Memory<K, V> {
    /// An empty memory. A capacity of 0 is taken as 1.
    #[must_use]
    pub fn new(period: Duration, capacity: usize) -> Self {
        Self { entries: IndexMap::default(), period, capacity: capacity.max(1), hand: 0, evicted: 0 }
    }

    /// The value of `key`, if it was seen within the period before `now`. Does not count as seeing it.
    pub fn get(&mut self, key: &K, now: Timestamp) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        (now.since(entry.last_seen) <= self.period).then_some(&mut entry.value)
    }

    /// Sees `key` at `now`. One that was not seen within the period gets `value`; where there is no room,
    /// another is forgotten early, and counted.
    pub fn see(&mut self, key: K, now: Timestamp, value: V) -> Seen<'_, V> {
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            self.evict(now);
        }
        match self.entries.entry(key) {
            Entry::Occupied(entry) => {
                let Remembered { last_seen, value: known } = entry.into_mut();
                let expired = now.since(*last_seen) > self.period;
                *last_seen = now.max(*last_seen);
                if expired {
                    *known = value;
                    Seen::New(known)
                } else {
                    Seen::Known(known)
                }
            }
            Entry::Vacant(entry) => Seen::New(&mut entry.insert(Remembered { last_seen: now, value }).value),
        }
    }

    /// Forgets some of what expired. Called regularly, it walks the whole memory in the course of `share` calls.
    pub fn sweep(&mut self, now: Timestamp, share: usize) {
        let steps = (self.entries.len() / share.max(1)).max(MIN_SWEEP);
        for _ in 0..steps {
            let Some((_, entry)) = self.entries.get_index(self.hand) else {
                self.hand = 0;
                if self.entries.is_empty() {
                    return;
                }
                continue;
            };
            if now.since(entry.last_seen) > self.period {
                self.entries.swap_remove_index(self.hand);
            } else {
                self.hand += 1;
            }
        }
    }

    fn evict(&mut self, now: Timestamp) {
        let len = self.entries.len();
        let candidates = (0..VICTIM_SAMPLE.min(len)).map(|step| (self.hand + step) % len);
        let age = |&index: &usize| self.entries.get_index(index).map(|(_, entry)| now.since(entry.last_seen));
        if let Some(victim) = candidates.max_by_key(age) {
            self.entries.swap_remove_index(victim);
            self.evicted += 1;
        }
        self.hand = (self.hand + VICTIM_SAMPLE) % len;
    }

    /// Entries held, expired ones that were not swept yet included.
    #[must_use]
    pub fn held(&self) -> usize {
        self.entries.len()
    }

    /// Entries at most.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Entries forgotten before their time, since the start.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Memory per entry in bytes, hash table included (at its usual load).
    #[must_use]
    pub const fn bytes_per_entry() -> usize {
        // IndexMap keeps the hash beside key and value, and a position in a hash table with a byte of control
        // and at most 7/8 load, which doubling leaves at 0.65 on average.
        size_of::<K>() + size_of::<Remembered<V>>() + 8 + 14
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn memory(capacity: usize) -> Memory<u32, ()> {
        Memory::new(PERIOD, capacity)
    }

    fn is_new(memory: &mut Memory<u32, ()>, key: u32, seconds: u64) -> bool {
        matches!(memory.see(key, Timestamp::from_secs(seconds), ()), Seen::New(()))
    }

    #[test]
    fn a_key_is_new_again_after_a_silent_period() {
        let mut memory = memory(10);
        assert!(is_new(&mut memory, 1, 100));
        assert!(!is_new(&mut memory, 1, 110));
        assert!(!is_new(&mut memory, 1, 120), "seeing it must renew it");
        assert!(is_new(&mut memory, 1, 131));
    }

    #[test]
    fn time_that_stands_still_or_runs_back_keeps_a_key_known() {
        let mut memory = memory(10);
        assert!(is_new(&mut memory, 1, 100));
        assert!(!is_new(&mut memory, 1, 50));
        assert!(!is_new(&mut memory, 1, 110), "the later time must be kept");
    }

    #[test]
    fn a_full_memory_forgets_old_keys_and_counts_them() {
        let mut memory = memory(VICTIM_SAMPLE);
        for key in 0..u32::try_from(VICTIM_SAMPLE).expect("the sample must be small") {
            assert!(is_new(&mut memory, key, 100 + u64::from(key)));
        }
        assert_eq!(memory.evicted(), 0);
        assert!(is_new(&mut memory, 99, 109));
        assert_eq!((memory.held(), memory.evicted()), (VICTIM_SAMPLE, 1));
        assert!(is_new(&mut memory, 0, 109), "the oldest had to go");
        assert!(!is_new(&mut memory, 7, 109));
    }

    #[test]
    fn sweeping_forgets_what_expired_and_nothing_else() {
        let mut memory = memory(1000);
        for key in 0..1000 {
            is_new(&mut memory, key, if key % 2 == 0 { 100 } else { 108 });
        }
        for _ in 0..4 {
            memory.sweep(Timestamp::from_secs(115), 2);
        }
        assert_eq!((memory.held(), memory.evicted()), (500, 0));
        assert!((0..1000).all(|key| memory.get(&key, Timestamp::from_secs(115)).is_some() == (key % 2 == 1)));
    }
}
