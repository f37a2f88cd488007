//! Counting a frame: known flow, new flow, overflow, or lost under a reason.

use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use sensor_common::{
    packet::TCP,
    parse::{Found, Segment},
    reason::{Ignored, Lost},
    table::{BUCKETS_PER_WORD, Bucket, Home, Increment, Key, Placed, STAMP_NANOSECONDS},
};

use crate::{
    elsewhere,
    maps::{self, Family, State, Totals},
};

/// What became of a frame.
#[derive(Clone, Copy)]
pub enum Outcome {
    Counted,
    Ignored(Ignored),
    Lost(Lost),
}

impl Outcome {
    const LOST: u32 = 1 << 8;
    const IGNORED: u32 = 1 << 9;

    /// The same as a number.
    #[inline(always)]
    pub const fn to_word(self) -> u32 {
        match self {
            Self::Counted => 0,
            Self::Ignored(reason) => Self::IGNORED | reason as u32,
            Self::Lost(reason) => Self::LOST | reason as u32,
        }
    }

    /// From [`to_word`](Self::to_word).
    #[inline(always)]
    pub const fn of_word(word: u32) -> Self {
        if word & Self::IGNORED != 0 {
            Self::Ignored(Ignored::of_index(word as u8))
        } else if word & Self::LOST != 0 {
            Self::Lost(Lost::of_index(word as u8))
        } else {
            Self::Counted
        }
    }
}

/// Where a frame is counted: on its CPU, in the generation that was active when it came.
#[derive(Clone, Copy)]
pub struct Part {
    cpu: u32,
    epoch: u64,
}

impl Part {
    /// Of the frame at hand, with the state of its CPU; the map has one for every possible CPU.
    #[inline(always)]
    pub fn now() -> Option<(Self, State)> {
        let cpu = maps::cpu();
        let state = maps::cpu_state(cpu)?;
        Some((Self { cpu, epoch: state.epoch() }, state))
    }

    /// Of a frame that came in this epoch.
    #[inline(always)]
    pub fn at(epoch: u64) -> Self {
        Self { cpu: maps::cpu(), epoch }
    }

    #[inline(always)]
    pub const fn epoch(self) -> u64 {
        self.epoch
    }

    #[inline(always)]
    pub const fn cpu(self) -> u32 {
        self.cpu
    }

    #[inline(always)]
    pub const fn generation(self) -> u32 {
        maps::generation_of(self.epoch)
    }

    #[inline(always)]
    const fn index(self) -> u32 {
        self.cpu * 2 + self.generation()
    }

    /// The state of this CPU.
    #[inline(always)]
    pub fn state(self) -> Option<State> {
        maps::cpu_state(self.cpu)
    }

    /// The counters of this part.
    #[inline(always)]
    pub fn totals(self) -> Option<Totals> {
        Some(self.totals_of(self.state()?))
    }

    /// The counters of this part in the state of its CPU.
    #[inline(always)]
    pub fn totals_of(self, state: State) -> Totals {
        state.totals(self.generation())
    }
}

/// Counts a frame that is ignored.
#[inline(always)]
pub fn ignore(reason: Ignored, totals: Totals) -> Outcome {
    ignore_index(reason as u8, totals);
    Outcome::Ignored(reason)
}

#[inline(always)]
fn ignore_index(reason: u8, totals: Totals) {
    // The counter is always there; `get_mut` because an index would leave a panic in the program.
    totals.with(|totals| totals.ignored.get_mut(usize::from(reason)).map(|counter| *counter += 1));
}

/// Counts a frame of a flow.
#[inline(always)]
pub fn segment<A: Family>(segment: &Segment<Key<A>>, wire_len: usize, part: Part, totals: Totals) -> Outcome {
    let Segment { key, src_port, marks } = *segment;
    let increment = Increment { packets: 1, bytes: wire_len as u32, src_port, marks };
    match count(&key, increment, part, totals) {
        Ok(()) => Outcome::Counted,
        Err(reason) => lose(reason, totals),
    }
}

/// Counts what a walk found; the [`Outcome`] is a word. Not inlined, so that its stack is not that of the
/// walk too.
#[inline(never)]
pub fn found(found: &Found, wire_len: usize, epoch: u64) -> u32 {
    let part = Part::at(epoch);
    let Some(totals) = part.totals() else { return Outcome::Lost(Lost::Internal).to_word() };
    let ignored = found.ignored_index();
    if let Some(reason) = ignored {
        ignore_index(reason, totals);
        if !found.is_quoted() {
            return Outcome::IGNORED | u32::from(reason);
        }
    }
    // An ICMP error marks the flow that it quotes, and is no frame of it.
    let (packets, bytes) = if ignored.is_none() { (1, wire_len as u32) } else { (0, 0) };
    let increment = Increment { packets, bytes, src_port: found.src_port, marks: found.marks };
    let ports = found.port_and_protocol();
    let result = if found.is_ipv6 {
        elsewhere::count(found.addresses_v6(), ports, increment, part, 0)
    } else {
        elsewhere::count(found.addresses_v4(), ports, increment, part, 0)
    };
    match (result, ignored) {
        (Ok(()), None) => Outcome::Counted.to_word(),
        (Err(reason), None) => lose(reason, totals).to_word(),
        (result, Some(reason)) => {
            totals.with(|totals| totals.marks_lost += u64::from(result.is_err()));
            Outcome::IGNORED | u32::from(reason)
        }
    }
}

#[inline(always)]
fn lose(reason: Lost, totals: Totals) -> Outcome {
    totals.with(|totals| totals.lost.get_mut(reason as usize).map(|counter| *counter += 1));
    Outcome::Lost(reason)
}

/// Counts in the memory-mapped table: the home bucket, and from there on out of line.
#[inline(always)]
fn count<A: Family>(key: &Key<A>, increment: Increment, part: Part, totals: Totals) -> Result<(), Lost> {
    match table(key, increment, place(key, part, 0), totals)? {
        Placed::Known | Placed::Inserted => Ok(()),
        Placed::Full => {
            // A copy, because what has an address is kept on the stack from its beginning.
            let Key { addresses, port_and_protocol } = *key;
            elsewhere::count(&addresses, port_and_protocol, increment, part, 1)
        }
    }
}

/// A bucket, counted through all parts, and the slot to begin at.
#[derive(Clone, Copy)]
pub struct Place {
    pub bucket: u32,
    slot: usize,
}

/// The bucket that is `step` after the home bucket of a flow.
#[inline(always)]
pub fn place<A: Family>(key: &Key<A>, part: Part, step: u32) -> Place {
    let buckets = A::buckets();
    let Home { bucket, slot } = Home::of(key.hash(maps::hash_secret), buckets - 1).after(step, buckets - 1);
    Place { bucket: part.index() * buckets + bucket, slot }
}

/// Counts in one bucket.
#[inline(always)]
pub fn table<A: Family>(
    key: &Key<A>,
    increment: Increment,
    place: Place,
    totals: Totals,
) -> Result<Placed, Lost> {
    let bucket = bucket(place.bucket).ok_or(Lost::Internal)?;
    let placed = bucket.count(place.slot, key, increment, || stamp(key.protocol()));
    if placed == Placed::Inserted {
        totals.with(|totals| *A::inserted(totals) += 1);
        mark_used::<A>(place.bucket)?;
    }
    Ok(placed)
}

/// A bucket of the part of the frame at hand.
#[inline(always)]
pub fn bucket<A: Family>(index: u32) -> Option<&'static mut Bucket<A>> {
    let bucket = A::flows().get_ptr_mut(index)?;
    // SAFETY: the element belongs to this CPU, whose programs do not interrupt each other, and to the
    // active generation, which the agent does not touch; the caller has one bucket at a time.
    Some(unsafe { &mut *bucket })
}

/// Tells the drain that a bucket is in use.
#[inline(always)]
fn mark_used<A: Family>(bucket: u32) -> Result<(), Lost> {
    let word = A::used().get_ptr_mut(bucket / BUCKETS_PER_WORD).ok_or(Lost::Internal)?;
    // SAFETY: as for the bucket; a part begins with a word.
    unsafe { *word |= 1 << (bucket % BUCKETS_PER_WORD) };
    Ok(())
}

/// The time of an insert.
///
/// TCP is oriented by its flags, so the coarse clock (a tick, 1 to 4 ms) serves, at a tenth of the cost.
/// What has no handshake is oriented by who spoke first, so it gets the precise clock.
#[inline(always)]
pub fn stamp(protocol: u8) -> u64 {
    let nanoseconds = if protocol == TCP {
        // SAFETY: the helper takes nothing and only reads.
        unsafe { bpf_ktime_get_coarse_ns() }
    } else {
        // SAFETY: as above.
        unsafe { bpf_ktime_get_ns() }
    };
    nanoseconds / STAMP_NANOSECONDS
}
