//! A bounded memory: what was seen within a period, and what had to be forgotten early.
//!
//! Entries lie side by side in the order in which they came, found by a hash table of their positions. So a
//! flood of new keys writes memory in order, as does the search for victims, and only the table of positions,
//! a few bytes an entry, is visited at random.

use std::{
    hash::{BuildHasher as _, Hash},
    time::Duration,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::clock::Timestamp;

/// Entries that a search for a victim looks at. The oldest of a few is nearly as good a victim as the oldest
/// of all, at no cost per access; the same is known from caches that sample.
const VICTIM_SAMPLE: usize = 8;

/// Least number of places that one [`Memory::sweep`] looks at.
const MIN_SWEEP: usize = 64;

/// Keys seen within `period`, each with a value, at most `capacity` of them.
#[derive(Debug)]
pub struct Memory<K, V> {
    entries: Vec<Remembered<K, V>>,
    /// Positions in `entries`.
    index: HashTable<u32>,
    /// With a random seed: keys are chosen by strangers.
    hasher: RandomState,
    period: Duration,
    capacity: usize,
    /// Where the search for expired entries and victims goes on.
    hand: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Remembered<K, V> {
    last_seen: Timestamp,
    value: V,
    key: K,
}

/// Where an entry lies, until the next sweep, or until it is forgotten to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    const fn at(self) -> usize {
        self.0 as usize
    }
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
    /// An empty memory. A capacity of 0 is taken as 1, one that 32 bits cannot number as the largest that
    /// they can.
    #[must_use]
    pub fn new(period: Duration, capacity: usize) -> Self {
        Self {
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            period,
            capacity: capacity.clamp(1, u32::MAX as usize),
            hand: 0,
            evicted: 0,
        }
    }

    /// Where `key` is, if it was seen within the period before `now`. Does not count as seeing it.
    #[must_use]
    pub fn find(&self, key: &K, now: Timestamp) -> Option<Place> {
        let place = self.place(self.hasher.hash_one(key), key)?;
        (now.since(self.entries[place.at()].last_seen) <= self.period).then_some(place)
    }

    /// Sees what was found at `place` again.
    pub fn touch(&mut self, place: Place, now: Timestamp) -> &mut V {
        let entry = &mut self.entries[place.at()];
        entry.last_seen = now.max(entry.last_seen);
        &mut entry.value
    }

    /// The value of an entry.
    pub fn value(&mut self, place: Place) -> &mut V {
        &mut self.entries[place.at()].value
    }

    /// Sees `key` at `now`. One that was not seen within the period gets `value`; where there is no room,
    /// another is forgotten early, and counted.
    pub fn see(&mut self, key: K, now: Timestamp, value: V) -> (Place, Seen<'_, V>) {
        let hash = self.hasher.hash_one(key);
        if let Some(place) = self.place(hash, &key) {
            let Remembered { last_seen, value: known, .. } = &mut self.entries[place.at()];
            let expired = now.since(*last_seen) > self.period;
            *last_seen = now.max(*last_seen);
            if !expired {
                return (place, Seen::Known(known));
            }
            *known = value;
            return (place, Seen::New(known));
        }
        let place = self.put(Remembered { last_seen: now, value, key });
        let Self { entries, index, hasher, .. } = self;
        index.insert_unique(hash, place.0, |at| hasher.hash_one(entries[*at as usize].key));
        (place, Seen::New(&mut entries[place.at()].value))
    }

    /// Forgets some of what expired. Called regularly, it walks the whole memory in the course of `share`
    /// calls.
    pub fn sweep(&mut self, now: Timestamp, share: usize) {
        let steps = (self.entries.len() / share.max(1)).max(MIN_SWEEP);
        for _ in 0..steps {
            let Some(entry) = self.entries.get(self.hand) else {
                self.hand = 0;
                if self.entries.is_empty() {
                    return;
                }
                continue;
            };
            if now.since(entry.last_seen) > self.period {
                self.remove(self.hand);
            } else {
                self.hand += 1;
            }
        }
    }

    fn place(&self, hash: u64, key: &K) -> Option<Place> {
        self.index.find(hash, |at| self.entries[*at as usize].key == *key).copied().map(Place)
    }

    /// Puts an entry at the end, or in the place of an old one. The index does not know it yet.
    fn put(&mut self, entry: Remembered<K, V>) -> Place {
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
            return Place(position(self.entries.len() - 1));
        }
        let victim = self.victim(entry.last_seen);
        self.unlink(victim);
        self.entries[victim] = entry;
        self.evicted += 1;
        Place(position(victim))
    }

    /// The oldest of the next few entries.
    fn victim(&mut self, now: Timestamp) -> usize {
        let len = self.entries.len();
        let candidates = (0..VICTIM_SAMPLE.min(len)).map(|step| (self.hand + step) % len);
        let victim = candidates.max_by_key(|at| now.since(self.entries[*at].last_seen));
        self.hand = (self.hand + VICTIM_SAMPLE) % len;
        victim.expect("a full memory must have an entry")
    }

    /// Takes an entry out; the last takes its place.
    fn remove(&mut self, at: usize) {
        self.unlink(at);
        self.entries.swap_remove(at);
        let Some(moved) = self.entries.get(at) else { return };
        let from = position(self.entries.len());
        let hash = self.hasher.hash_one(moved.key);
        if let Some(known) = self.index.find_mut(hash, |known| *known == from) {
            *known = position(at);
        }
    }

    fn unlink(&mut self, at: usize) {
        let hash = self.hasher.hash_one(self.entries[at].key);
        if let Ok(known) = self.index.find_entry(hash, |known| *known == position(at)) {
            known.remove();
        }
    }

    /// Entries held, expired ones that were not swept yet included.
    #[must_use]
    pub const fn held(&self) -> usize {
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

    /// Memory of a full one in bytes. The table of positions has a power of two of places, with a byte of
    /// control each, of which at most 7 in 8 are taken.
    #[must_use]
    pub const fn bytes_at_capacity(&self) -> usize {
        let places = (self.capacity.saturating_mul(8) / 7 + 1).next_power_of_two();
        self.capacity.saturating_mul(size_of::<Remembered<K, V>>()).saturating_add(places.saturating_mul(5))
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("a memory has fewer than 2^32 entries")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(10);

    fn memory(capacity: usize) -> Memory<u32, ()> {
        Memory::new(PERIOD, capacity)
    }

    fn is_new(memory: &mut Memory<u32, ()>, key: u32, seconds: u64) -> bool {
        matches!(memory.see(key, Timestamp::from_secs(seconds), ()).1, Seen::New(()))
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
        assert!(
            (0..1000).all(|key| memory.find(&key, Timestamp::from_secs(115)).is_some() == (key % 2 == 1))
        );
    }
}
