//! What finds no place in its home bucket: the neighbour, then the overflow, a small kernel hash map for all
//! CPUs.

use aya_ebpf::bindings::BPF_NOEXIST;
use sensor_common::{
    packet::Marks,
    reason::Lost,
    table::{Counters, Increment, Key, OverflowKey, PROBES, Placed},
};

use crate::{
    account::{Part, bucket, place, stamp, table},
    maps::{self, Family, Totals},
};

const E2BIG: i32 = 7;

/// Counts a flow that has no place in the first `tried` buckets where it may live: of what is left, one after
/// the other.
#[inline(always)]
pub fn count<A: Family>(
    addresses: &A,
    port_and_protocol: u32,
    increment: Increment,
    part: Part,
    tried: u32,
) -> Result<(), Lost> {
    let Increment { packets, bytes, src_port, marks } = increment;
    let amount = u64::from(packets) << 32 | u64::from(bytes);
    let origin = u64::from(marks.0) << 48 | u64::from(src_port) << 32 | u64::from(port_and_protocol);
    for step in tried..PROBES {
        match probe(addresses, origin, amount, part.epoch(), step) {
            FULL => {}
            word => return outcome(word),
        }
    }
    outcome(overflow(addresses, origin, amount, part.epoch()))
}

// What follows is not inlined: few frames come here, and the others should not carry its code, nor keep on
// the stack what is looked up again here. Numbers come in registers for the same reason, and one after the
// other the functions need less stack than one in the other.

/// Instead of the index of a reason: the frame was counted.
const COUNTED: u32 = 1 << 8;
/// Instead of the index of a reason: there was no place.
const FULL: u32 = 1 << 9;

#[inline(always)]
const fn outcome(word: u32) -> Result<(), Lost> {
    if word == COUNTED { Ok(()) } else { Err(Lost::of_index(word as u8)) }
}

/// The arguments put together again. [Forgotten](maps::forget): what is verified below would be verified once
/// for each mark and each protocol.
#[inline(always)]
fn arguments<A: Family>(addresses: &A, origin: u64, amount: u64, totals: Totals) -> (Key<A>, Increment) {
    let (origin, amount) = (maps::forget(origin, totals), maps::forget(amount, totals));
    let increment = Increment {
        packets: (amount >> 32) as u32,
        bytes: amount as u32,
        src_port: (origin >> 32) as u16,
        marks: Marks((origin >> 48) as u8),
    };
    (
        Key { addresses: addresses.map(|word| maps::forget(word, totals)), port_and_protocol: origin as u32 },
        increment,
    )
}

/// Tries the bucket that is `step` after the home bucket.
#[inline(never)]
fn probe<A: Family>(addresses: &A, origin: u64, amount: u64, epoch: u64, step: u32) -> u32 {
    let part = Part::at(epoch);
    let Some(totals) = part.totals() else { return Lost::Internal as u32 };
    let (key, increment) = arguments(addresses, origin, amount, totals);
    match table(&key, increment, place(&key, part, step), totals) {
        Ok(Placed::Known | Placed::Inserted) => COUNTED,
        Ok(Placed::Full) => FULL,
        Err(reason) => reason as u32,
    }
}

/// Counts in the overflow.
#[inline(never)]
fn overflow<A: Family>(addresses: &A, origin: u64, amount: u64, epoch: u64) -> u32 {
    let part = Part::at(epoch);
    let Some(state) = part.state() else { return Lost::Internal as u32 };
    let (key, increment) = arguments(addresses, origin, amount, part.totals_of(state));
    // Nothing is removed within an epoch.
    let is_full = state.full_epoch() == epoch.wrapping_add(1);
    let Some(home) = bucket::<A>(place(&key, part, 0).bucket) else { return Lost::Internal as u32 };
    // A table full of strangers costs this much: the flow is not in the overflow, and cannot come there.
    if is_full && !home.is_spilled() {
        return Lost::MapFull as u32;
    }
    let mut key = OverflowKey::of(&key);
    key.cpu = part.cpu();
    let map = maps::overflow(part.generation());
    if let Some(counters) = map.get_ptr_mut(&key) {
        // SAFETY: the key names this CPU, which alone writes the value, and the active generation is not
        // drained.
        unsafe { (*counters).count(increment) };
        return COUNTED;
    }
    if is_full {
        return Lost::MapFull as u32;
    }
    let first = Counters::first(increment, stamp(key.protocol));
    match map.insert(&key, first, u64::from(BPF_NOEXIST)) {
        Ok(()) => {
            part.totals_of(state).with(|totals| totals.overflowed += 1);
            home.set_spilled();
            COUNTED
        }
        Err(error) if error == -E2BIG => {
            state.set_full_epoch(epoch.wrapping_add(1));
            Lost::MapFull as u32
        }
        Err(_) => Lost::MapBusy as u32,
    }
}
