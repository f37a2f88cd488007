//! What finds no place in its home bucket: the neighbour, then the overflow, a small kernel hash map for all CPUs.

use aya_ebpf::bindings::BPF_NOEXIST;
use sensor_common::{
    control::FrameTotals,
    reason::Lost,
    table::{Counters, Home, Increment, Key, OverflowKey, Placed},
};

use crate::{
    account::{Part, bucket, stamp, table},
    maps::{self, Family},
};

const E2BIG: i32 = 7;

/// Counts a flow whose home bucket is full.
#[inline(always)]
pub fn count<A: Family>(key: &Key<A>, increment: Increment, home: Home, part: Part) -> Result<(), Lost> {
    // A copy, because what has an address is kept on the stack from its beginning.
    let key = *key;
    let (amount, origin) = increment.to_words();
    let place = (home.slot as u64) << 32 | u64::from(home.bucket);
    let word = match neighbour(&key, amount, origin, place, part.epoch()) {
        FULL => overflow(&key, amount, origin, home.bucket, part.epoch()),
        word => word,
    };
    if word == COUNTED { Ok(()) } else { Err(Lost::of_index(word as u8)) }
}

// What follows is not inlined: few frames come here, and the others should not carry its code, nor keep on the stack
// what is looked up again here. Numbers come in registers for the same reason, and one after the other they need
// less stack than one in the other.

/// Instead of the index of a reason: the frame was counted.
const COUNTED: u32 = 1 << 8;
/// Instead of the index of a reason: there was no place.
const FULL: u32 = 1 << 9;

/// Tries the bucket after the home bucket.
#[inline(never)]
fn neighbour<A: Family>(key: &Key<A>, amount: u64, origin: u32, place: u64, epoch: u64) -> u32 {
    let part = Part::at(epoch);
    let Some(totals) = part.totals() else { return Lost::Internal as u32 };
    let (increment, place) = (increment(amount, origin, totals), maps::forget(place, totals));
    let home = Home { bucket: place as u32, slot: (place >> 32) as usize };
    let next = home.next(A::buckets() - 1);
    match table(key, increment, next, part, totals) {
        Ok(Placed::Known | Placed::Inserted) => COUNTED,
        // A table full of strangers costs this much: the flow is not in the overflow, and cannot come there.
        Ok(Placed::Full) if is_full(part) && !is_spilled::<A>(part, home.bucket) => Lost::MapFull as u32,
        Ok(Placed::Full) => FULL,
        Err(reason) => reason as u32,
    }
}

/// Whether flows at home in this bucket may be in the overflow.
#[inline(always)]
fn is_spilled<A: Family>(part: Part, home: u32) -> bool {
    bucket::<A>(part, home).is_none_or(|bucket| bucket.is_spilled())
}

#[inline(always)]
fn increment(amount: u64, origin: u32, totals: &FrameTotals) -> Increment {
    Increment::of_words(maps::forget(amount, totals), maps::forget(u64::from(origin), totals) as u32)
}

/// Counts in the overflow.
#[inline(never)]
fn overflow<A: Family>(key: &Key<A>, amount: u64, origin: u32, home: u32, epoch: u64) -> u32 {
    let part = Part::at(epoch);
    let Some(totals) = part.totals() else { return Lost::Internal as u32 };
    let increment = increment(amount, origin, totals);
    let mut key = OverflowKey::of(key);
    key.cpu = part.cpu();
    let map = maps::overflow(part.generation());
    if let Some(counters) = map.get_ptr_mut(&key) {
        // SAFETY: the key names this CPU, which alone writes the value, and the active generation is not
        // drained.
        unsafe { (*counters).count(increment) };
        return COUNTED;
    }
    if is_full(part) {
        return Lost::MapFull as u32;
    }
    let first = Counters::first(increment, stamp(key.protocol));
    let result = map.insert(&key, first, u64::from(BPF_NOEXIST));
    let Some(state) = part.state() else { return Lost::Internal as u32 };
    match result {
        Ok(()) => {
            state.totals[part.generation() as usize].overflowed += 1;
            let Some(bucket) = bucket::<A>(part, home) else { return Lost::Internal as u32 };
            bucket.set_spilled();
            COUNTED
        }
        Err(error) if error == -E2BIG => {
            state.full_epoch = epoch.wrapping_add(1);
            Lost::MapFull as u32
        }
        Err(_) => Lost::MapBusy as u32,
    }
}

/// Whether this CPU found the overflow full in this epoch.
#[inline(always)]
fn is_full(part: Part) -> bool {
    part.state().is_some_and(|state| state.full_epoch == part.epoch().wrapping_add(1))
}
