//! The flow table: layout in shared memory and the operation on one bucket.
//!
//! A table is an array of buckets in a memory-mapped array map, divided by CPU and generation. A flow
//! lives in its home bucket or in the next one; what finds no place there goes to a small kernel hash
//! map (the *overflow*). A slot is free while it names no protocol; nothing is removed inside a generation,
//! so the first free slot ends a search. Each CPU writes only its own part, and only of the active
//! generation, so no atomics or locks are needed.
//!
//! A bitmap beside the table tells the buckets in use, so that a drain costs what is live, not what
//! is reserved.
//!
//! Entries are directional: the source port is not part of the key, the first one is kept.

mod counters;
mod overflow;
mod slot;

use crate::control::GENERATIONS;
pub use counters::{Counters, Increment, STAMP_NANOSECONDS};
pub use overflow::OverflowKey;
pub use slot::{AddressWords, Key, KeyV4, KeyV6, Slot, SlotV4, SlotV6};

/// Map of [`BucketV4`].
pub const FLOWS_V4: &str = "FLOWS_V4";
/// Map of [`BucketV6`].
pub const FLOWS_V6: &str = "FLOWS_V6";
/// Map of bitmap words, one bit per bucket of [`FLOWS_V4`].
pub const USED_V4: &str = "USED_V4";
/// Map of bitmap words, one bit per bucket of [`FLOWS_V6`].
pub const USED_V6: &str = "USED_V6";
/// The overflow of each generation: hash maps of [`OverflowKey`] to [`Counters`]. The key names the CPU, so
/// that each entry has one writer, and costs the same on a machine with many CPUs.
pub const OVERFLOW: [&str; GENERATIONS] = ["OVERFLOW_0", "OVERFLOW_1"];

/// Slots in a bucket: two cache lines of IPv4, four of IPv6.
pub const SLOTS: usize = 4;
/// Buckets that a flow may live in, beginning with its home.
pub const PROBES: u32 = 2;
/// Buckets that share one word of the bitmap.
pub const BUCKETS_PER_WORD: u32 = u64::BITS;

/// Slots side by side: two cache lines of IPv4, four of IPv6.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket<A: AddressWords>(pub [Slot<A>; SLOTS]);

impl<A: AddressWords> Bucket<A> {
    /// Counts a frame, searching from the slot that the hash chose.
    #[inline(always)]
    pub fn count(
        &mut self,
        first: usize,
        key: &Key<A>,
        increment: Increment,
        stamp: impl Fn() -> u64,
    ) -> Placed {
        for step in 0..SLOTS {
            // The second slot to look at is in the cache line of the first.
            let slot = &mut self.0[(first ^ step) & (SLOTS - 1)];
            // A free slot holds no key, so the flow that is there is found by one comparison.
            if slot.holds(key) {
                slot.count(increment);
                return Placed::Known;
            }
            if slot.is_free() {
                slot.occupy(key, increment, stamp());
                return Placed::Inserted;
            }
        }
        Placed::Full
    }

    /// Whether a flow at home in this bucket may be in the overflow.
    #[inline(always)]
    #[must_use]
    pub const fn is_spilled(&self) -> bool {
        self.0[0].is_spilled()
    }

    /// Notes that a flow at home in this bucket, which is full, is in the overflow.
    #[inline(always)]
    pub const fn set_spilled(&mut self) {
        self.0[0].set_spilled();
    }
}

/// Four IPv4 entries.
pub type BucketV4 = Bucket<u64>;
/// Four IPv6 entries.
pub type BucketV6 = Bucket<[u64; 4]>;

const _: () = assert!(size_of::<BucketV4>() == 128 && size_of::<BucketV6>() == 256);

/// What became of an update in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The flow was there.
    Known,
    /// The flow was put into a free slot.
    Inserted,
    /// The bucket is full of other flows.
    Full,
}

/// Secret multipliers of the keyed hash, drawn at load.
///
/// Multiply-shift with secret odd multipliers is universal on the high bits (Dietzfelbinger et al., "A
/// Reliable Randomized Algorithm for the Closest-Pair Problem", 1997): without them nobody can choose
/// keys that collide.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashSecret(pub [u64; 5]);

impl HashSecret {
    /// A secret from random words; multipliers are made odd.
    #[must_use]
    pub const fn new(random: [u64; 5]) -> Self {
        let [a, b, c, d, e] = random;
        Self([a | 1, b | 1, c | 1, d | 1, e | 1])
    }
}

/// Where a flow lives in the part of the table that belongs to one CPU and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Home bucket inside the part.
    pub bucket: u32,
    /// First slot to look at.
    pub slot: usize,
}

impl Home {
    /// `mask` is the number of buckets in the part, a power of two, less one.
    ///
    /// Both come from the high bits, where the multiplication leaves its entropy.
    #[inline(always)]
    #[must_use]
    pub const fn of(hash: u64, mask: u32) -> Self {
        Self { bucket: (hash >> 32) as u32 & mask, slot: (hash >> 62) as usize & (SLOTS - 1) }
    }

    /// The bucket `step` further, for what finds no place before.
    #[inline(always)]
    #[must_use]
    pub const fn after(self, step: u32, mask: u32) -> Self {
        Self { bucket: (self.bucket + step) & mask, slot: self.slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Addresses, Marks, TCP};

    const FRAME: Increment = Increment { packets: 1, bytes: 60, src_port: 4000, marks: Marks::OTHER };

    fn key(address: u64) -> KeyV4 {
        Key::new(address, 443, TCP)
    }

    #[test]
    fn a_bucket_takes_as_many_flows_as_it_has_slots_and_finds_each_again() {
        for first in 0..SLOTS {
            let mut bucket = BucketV4::default();
            let flows: Vec<u64> = (0..SLOTS as u64).collect();
            for &flow in &flows {
                assert_eq!(bucket.count(first, &key(flow), FRAME, || 1), Placed::Inserted);
            }
            for &flow in &flows {
                assert_eq!(bucket.count(first, &key(flow), FRAME, || 2), Placed::Known);
            }
            assert_eq!(bucket.count(first, &key(4), FRAME, || 3), Placed::Full);
            let mut found: Vec<u64> = bucket
                .0
                .iter()
                .map(|slot| {
                    assert_eq!((slot.counters().packets(), slot.counters().bytes()), (2, 120));
                    match slot.flow_key().addresses {
                        Addresses::V4 { src: [a, ..], .. } => u64::from(a),
                        Addresses::V6 { .. } => panic!("an IPv4 slot with IPv6 addresses"),
                    }
                })
                .collect();
            found.sort_unstable();
            assert_eq!(found, flows);
        }
    }

    #[test]
    fn flows_that_differ_in_port_or_protocol_only_are_two() {
        let mut bucket = BucketV6::default();
        let addresses = [1, 2, 3, 4];
        for (port, protocol) in [(443, 6), (444, 6), (443, 17)] {
            let key = Key::new(addresses, port, protocol);
            assert_eq!(bucket.count(0, &key, FRAME, || 1), Placed::Inserted);
        }
    }

    #[test]
    fn that_a_flow_is_in_the_overflow_is_no_mark_of_another() {
        let mut bucket = BucketV4::default();
        for flow in 0..SLOTS as u64 {
            bucket.count(0, &key(flow), FRAME, || 1);
        }
        let before = bucket.0.map(|slot| slot.counters());
        assert!(!bucket.is_spilled());
        bucket.set_spilled();
        assert!(bucket.is_spilled());
        assert_eq!(bucket.0.map(|slot| slot.counters()), before);
    }
}
