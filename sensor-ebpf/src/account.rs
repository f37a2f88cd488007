//! Counting a frame: known flow, new flow, overflow, or lost under a reason.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns},
    maps::Array,
};
use sensor_common::{
    control::{CpuState, FrameTotals},
    packet::{Marks, TCP},
    parse::Found,
    reason::{Ignored, Lost},
    table::{
        BUCKETS_PER_WORD, Counters, Home, Increment, OverflowKey, PROBES, Placed, SLOTS, STAMP_NANOSECONDS,
        Slot, SlotV4, SlotV6, place,
    },
};

use crate::maps;

const E2BIG: i32 = 7;

/// What became of a frame.
#[derive(Clone, Copy)]
pub enum Outcome {
    Counted,
    Ignored(Ignored),
    Lost(Lost),
}

/// Accounts one frame, in which `find` finds what there is.
///
/// It is called in here, after the lookups: what it finds would have to be kept on the stack across them.
#[inline(always)]
pub fn account(find: impl FnOnce() -> Found, wire_len: usize) -> Outcome {
    let cpu = maps::cpu();
    let generation = maps::generation_of(maps::epoch());
    // The map has an element for every possible CPU.
    let Some(state) = maps::cpu_state(cpu) else { return Outcome::Lost(Lost::Internal) };
    let totals = &mut state.totals[generation as usize];
    totals.seen += 1;
    let found = find();
    let ignored = found.ignored();
    // The counters are always there; `get_mut` because an index would leave a panic in the program.
    if let Some(reason) = ignored {
        if let Some(counter) = totals.ignored.get_mut(reason as usize) {
            *counter += 1;
        }
        if !found.is_quoted() {
            return Outcome::Ignored(reason);
        }
    }
    // An ICMP error marks the flow that it quotes, and is no frame of it.
    let (packets, bytes) = if ignored.is_none() { (1, wire_len as u32) } else { (0, 0) };
    let increment = Increment { packets, bytes, src_port: found.src_port, marks: found.marks };
    match (count(&found, increment, Part { cpu, generation }, totals), ignored) {
        (Ok(()), None) => Outcome::Counted,
        (Ok(()), Some(reason)) => Outcome::Ignored(reason),
        (Err(_), Some(reason)) => {
            totals.marks_lost += 1;
            Outcome::Ignored(reason)
        }
        (Err(reason), None) => {
            if let Some(counter) = totals.lost.get_mut(reason as usize) {
                *counter += 1;
            }
            Outcome::Lost(reason)
        }
    }
}

/// The part of the flow table that this frame belongs to.
#[derive(Clone, Copy)]
struct Part {
    cpu: u32,
    generation: u32,
}

impl Part {
    #[inline(always)]
    fn index(self) -> u32 {
        self.cpu * 2 + self.generation
    }
}

#[inline(always)]
fn count(found: &Found, increment: Increment, part: Part, totals: &mut FrameTotals) -> Result<(), Lost> {
    let Found { protocol, is_ipv6, .. } = *found;
    let (placed, inserted) = if is_ipv6 {
        let (key, bits) = (found.key_v6(), maps::bucket_bits_v6());
        let placed =
            table::<SlotV6, _>(&maps::FLOWS_V6, &maps::USED_V6, bits, part, &key, increment, protocol)?;
        (placed, &mut totals.inserted_v6)
    } else {
        let (key, bits) = (found.key_v4(), maps::bucket_bits_v4());
        let placed =
            table::<SlotV4, _>(&maps::FLOWS_V4, &maps::USED_V4, bits, part, &key, increment, protocol)?;
        (placed, &mut totals.inserted_v4)
    };
    match placed {
        Placed::Known => return Ok(()),
        Placed::Inserted => {
            *inserted += 1;
            return Ok(());
        }
        Placed::Full => {}
    }
    let Increment { packets, bytes, src_port, marks } = increment;
    let amount = u64::from(packets) << 32 | u64::from(bytes);
    let origin = u32::from(src_port) << 8 | u32::from(marks.0);
    match overflow(&mut found.overflow_key(), amount, origin, part.generation) {
        OVERFLOW_KNOWN => Ok(()),
        OVERFLOW_INSERTED => {
            totals.overflowed += 1;
            Ok(())
        }
        OVERFLOW_FULL => Err(Lost::MapFull),
        _ => Err(Lost::MapBusy),
    }
}

/// Counts in the memory-mapped table: the home bucket, then its neighbour.
#[inline(always)]
fn table<S: Slot, B: AsSlots<S>>(
    flows: &'static Array<B>,
    used: &'static Array<u64>,
    bucket_bits: u32,
    part: Part,
    key: &S::Key,
    increment: Increment,
    protocol: u8,
) -> Result<Placed, Lost> {
    let mask = (1 << bucket_bits) - 1;
    let home = Home::of(S::hash(key, maps::hash_secret), mask);
    for probe in 0..PROBES {
        let bucket = (home.bucket + probe) & mask;
        let Some(slots) = flows.get_ptr_mut((part.index() << bucket_bits) | bucket) else {
            return Err(Lost::Internal);
        };
        // SAFETY: the element belongs to this CPU, whose programs do not interrupt each other, and to the
        // active generation, which the agent does not touch.
        let slots = unsafe { &mut *slots }.slots();
        match place(slots, home.slot, key, increment, || stamp(protocol)) {
            Placed::Full => {}
            Placed::Known => return Ok(Placed::Known),
            Placed::Inserted => {
                mark_used(used, bucket_bits, part, bucket)?;
                return Ok(Placed::Inserted);
            }
        }
    }
    Ok(Placed::Full)
}

/// Tells the drain that a bucket is in use.
#[inline(always)]
fn mark_used(used: &'static Array<u64>, bucket_bits: u32, part: Part, bucket: u32) -> Result<(), Lost> {
    let words_bits = bucket_bits - BUCKETS_PER_WORD.ilog2();
    let index = (part.index() << words_bits) | (bucket / BUCKETS_PER_WORD);
    let Some(word) = used.get_ptr_mut(index) else { return Err(Lost::Internal) };
    // SAFETY: as for the bucket; words are not shared between parts.
    unsafe { *word |= 1 << (bucket % BUCKETS_PER_WORD) };
    Ok(())
}

/// The time of an insert.
///
/// TCP is oriented by its flags, so the coarse clock (a tick, 1 to 4 ms) serves, at a tenth of the cost.
/// What has no handshake is oriented by who spoke first, so it gets the precise clock.
#[inline(always)]
fn stamp(protocol: u8) -> u64 {
    let nanoseconds = if protocol == TCP {
        // SAFETY: the helper takes nothing and only reads.
        unsafe { bpf_ktime_get_coarse_ns() }
    } else {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    };
    nanoseconds / STAMP_NANOSECONDS
}

const OVERFLOW_KNOWN: u32 = 0;
const OVERFLOW_INSERTED: u32 = 1;
const OVERFLOW_FULL: u32 = 2;
const OVERFLOW_BUSY: u32 = 3;

/// Counts in the overflow. Not inlined: few frames come here, and the rest should not carry its code, nor keep on
/// the stack what is looked up again here. The increment comes in registers for the same reason: frames and bytes
/// in the halves of `amount`, port and marks in `origin`.
#[inline(never)]
fn overflow(key: &mut OverflowKey, amount: u64, origin: u32, generation: u32) -> u32 {
    let increment = Increment {
        packets: (amount >> 32) as u32,
        bytes: amount as u32,
        src_port: (origin >> 8) as u16,
        marks: Marks(origin as u8),
    };
    key.cpu = maps::cpu();
    let map = maps::overflow(generation);
    if let Some(counters) = map.get_ptr_mut(&*key) {
        // SAFETY: the key names this CPU, which alone writes the value, and the active generation is not
        // drained.
        unsafe { (*counters).count(increment) };
        return OVERFLOW_KNOWN;
    }
    let epoch = maps::epoch();
    let Some(CpuState { full_epoch, .. }) = maps::cpu_state(key.cpu) else { return OVERFLOW_BUSY };
    // The epoch may have changed since the frame chose its generation; then this says nothing of it.
    let current = maps::generation_of(epoch) == generation;
    if current && *full_epoch == epoch.wrapping_add(1) {
        return OVERFLOW_FULL;
    }
    let first = Counters::first(increment, stamp(key.protocol));
    match map.insert(&*key, first, u64::from(BPF_NOEXIST)) {
        Ok(()) => OVERFLOW_INSERTED,
        Err(error) if error == -E2BIG => {
            if current {
                *full_epoch = epoch.wrapping_add(1);
            }
            OVERFLOW_FULL
        }
        Err(_) => OVERFLOW_BUSY,
    }
}

/// A bucket as its slots.
pub trait AsSlots<S> {
    /// The slots.
    fn slots(&mut self) -> &mut [S; SLOTS];
}

impl AsSlots<SlotV4> for sensor_common::table::BucketV4 {
    #[inline(always)]
    fn slots(&mut self) -> &mut [SlotV4; SLOTS] {
        &mut self.0
    }
}

impl AsSlots<SlotV6> for sensor_common::table::BucketV6 {
    #[inline(always)]
    fn slots(&mut self) -> &mut [SlotV6; SLOTS] {
        &mut self.0
    }
}
