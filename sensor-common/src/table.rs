//! The flow table: layout in shared memory and the operation on one bucket.
//!
//! A table is an array of buckets in a memory-mapped array map, divided by CPU and generation. A flow
//! lives in its home bucket or in the next one; what finds no place there goes to a small kernel hash
//! map (the *overflow*). A slot is free while its stamp is 0; nothing is removed inside a generation,
//! so the first free slot ends a search. Each CPU writes only its own part, and only of the active
//! generation, so no atomics or locks are needed.
//!
//! A bitmap beside the table tells the buckets in use, so that a drain costs what is live, not what
//! is reserved.
//!
//! Entries are directional: the source port is not part of the key, the first one is kept.

use crate::{
    control::GENERATIONS,
    packet::{Addresses, FlowKey, Marks},
};

/// Map of [`BucketV4`].
pub const FLOWS_V4: &str = "FLOWS_V4";
/// Map of [`BucketV6`].
pub const FLOWS_V6: &str = "FLOWS_V6";
/// Map of bitmap words, one bit per bucket of [`FLOWS_V4`].
pub const USED_V4: &str = "USED_V4";
/// Map of bitmap words, one bit per bucket of [`FLOWS_V6`].
pub const USED_V6: &str = "USED_V6";
/// The overflow of each generation: hash maps of [`OverflowKey`] to [`Counters`]. The key names the CPU, so that each
/// entry has one writer, and costs the same on a machine with many CPUs.
pub const OVERFLOW: [&str; GENERATIONS] = ["OVERFLOW_0", "OVERFLOW_1"];

/// Slots in a bucket: two cache lines of IPv4, four of IPv6.
pub const SLOTS: usize = 4;
/// Buckets that a flow may live in, beginning with its home.
pub const PROBES: u32 = 2;
/// Buckets that share one word of the bitmap.
pub const BUCKETS_PER_WORD: u32 = u64::BITS;

/// What is counted for one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames in the low 32 bits. 2^32 frames at 14.88 M/s last 288 s, the longest allowed drain is shorter.
    pub packets: u64,
    /// Bytes on the wire in the low 48 bits, the first source port in the high 16.
    pub bytes_and_port: u64,
    /// First-seen stamp in units of [`STAMP_NANOSECONDS`] in the high 56 bits, [`Marks`] in the low 8;
    /// 0 marks a free slot.
    pub stamp_and_marks: u64,
}

/// Unit of first-seen stamps in nanoseconds of `CLOCK_MONOTONIC`; 56 bits of it last 18 years of uptime.
pub const STAMP_NANOSECONDS: u64 = 8;
const BYTES_BITS: u32 = 48;
const MARKS_BITS: u32 = 8;

impl Counters {
    /// The first frame of an entry.
    #[inline(always)]
    #[must_use]
    pub const fn first(increment: Increment, stamp: u64) -> Self {
        Self {
            packets: increment.packets as u64,
            bytes_and_port: first_bytes(increment),
            stamp_and_marks: first_stamp(increment, stamp),
        }
    }

    /// One more frame.
    #[inline(always)]
    pub fn count(&mut self, increment: Increment) {
        self.packets += u64::from(increment.packets);
        self.stamp_and_marks |= more_marks(increment, self.bytes_and_port);
        self.bytes_and_port = self.bytes_and_port.wrapping_add(u64::from(increment.bytes));
    }

    /// From the bytes of a map's value.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let word = |at: usize| u64::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
        Self { packets: word(0), bytes_and_port: word(8), stamp_and_marks: word(16) }
    }

    /// Whether nothing was counted here.
    #[inline(always)]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.stamp_and_marks == 0
    }

    /// Frames.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes on the wire.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes_and_port & ((1 << BYTES_BITS) - 1)
    }

    /// Source port of the first frame, host byte order.
    #[must_use]
    pub const fn first_src_port(&self) -> u16 {
        (self.bytes_and_port >> BYTES_BITS) as u16
    }

    /// What was seen.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub const fn marks(&self) -> Marks {
        Marks(self.stamp_and_marks as u8)
    }

    /// When the first frame was seen, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn first_seen_ns(&self) -> u64 {
        (self.stamp_and_marks >> MARKS_BITS) * STAMP_NANOSECONDS
    }
}

/// One frame's worth of counting: what an update adds to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Increment {
    /// 1 for a frame, 0 for a mark that counts no frame.
    pub packets: u32,
    /// Bytes on the wire.
    pub bytes: u32,
    /// Source port, host byte order.
    pub src_port: u16,
    /// What the frame is.
    pub marks: Marks,
}

/// An IPv4 entry: half a cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotV4 {
    /// Source in the low, destination in the high half, each in network byte order as read.
    pub addresses: u64,
    /// Destination port, and the protocol from bit 16.
    pub port_and_protocol: u32,
    /// Frames.
    pub packets: u32,
    /// As in [`Counters`].
    pub bytes_and_port: u64,
    /// As in [`Counters`].
    pub stamp_and_marks: u64,
}

/// An IPv6 entry: one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotV6 {
    /// Source, then destination, in network byte order as read.
    pub addresses: [u64; 4],
    /// As in [`Counters`].
    pub bytes_and_port: u64,
    /// As in [`Counters`].
    pub stamp_and_marks: u64,
    /// Destination port, and the protocol from bit 16.
    pub port_and_protocol: u32,
    /// Frames.
    pub packets: u32,
    /// Explicit padding to a cache line.
    pub reserved: u64,
}

/// Four IPv4 entries: two cache lines.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV4(pub [SlotV4; SLOTS]);

/// Four IPv6 entries: four cache lines.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct BucketV6(pub [SlotV6; SLOTS]);

const _: () = assert!(size_of::<SlotV4>() == 32 && size_of::<BucketV4>() == 128);
const _: () = assert!(size_of::<SlotV6>() == 64 && size_of::<BucketV6>() == 256);

/// Key of an entry in the overflow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OverflowKey {
    /// Source, then destination, in network byte order as read; of IPv4 the source in the first word and
    /// the destination in the second. Words of the size that the layout allows: bytes would be put
    /// together on the stack, one by one.
    pub addresses: [u32; 8],
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// The CPU that counts here; no other does.
    pub cpu: u32,
}

impl OverflowKey {
    /// From the bytes of a map's key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let word = |i: usize| u32::from_ne_bytes(core::array::from_fn(|byte| bytes[4 * i + byte]));
        Self {
            addresses: core::array::from_fn(word),
            dst_port: u16::from_ne_bytes([bytes[32], bytes[33]]),
            protocol: bytes[34],
            family: bytes[35],
            cpu: word(9),
        }
    }

    /// The addresses, by family.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let words = self.addresses.map(u32::to_ne_bytes);
        let address = |first: usize| core::array::from_fn(|byte| words[first + byte / 4][byte % 4]);
        match self.family {
            4 => Addresses::V4 { src: words[0], dst: words[1] },
            _ => Addresses::V6 { src: address(0), dst: address(4) },
        }
    }
}

const _: () = assert!(size_of::<OverflowKey>() == 40 && size_of::<Counters>() == 24);

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

/// Folds the high half into the low one, so that the next multiplication spreads all bits.
#[inline(always)]
const fn fold(x: u64) -> u64 {
    x ^ (x >> 32)
}

/// An entry of the flow table: what [`BucketV4`] and [`BucketV6`] share.
pub trait Slot: Copy + Default {
    /// Identity of an entry, in the form in which it is compared.
    type Key: Copy;

    /// Hash of a key; the high bits are good. `secret` yields one of [`HashSecret`]'s words, so that the
    /// program loads no more of them than it needs.
    fn hash(key: &Self::Key, secret: impl Fn(usize) -> u64) -> u64;
    /// Whether this used slot holds `key`.
    fn holds(&self, key: &Self::Key) -> bool;
    /// Whether nothing was put here in this generation.
    fn is_free(&self) -> bool;
    /// Puts a new entry here.
    fn occupy(&mut self, key: &Self::Key, increment: Increment, stamp: u64);
    /// Counts one more frame.
    fn count(&mut self, increment: Increment);
    /// The counters, in their common form.
    fn counters(&self) -> Counters;
    /// The identity, as a flow key with the first source port.
    fn flow_key(&self) -> FlowKey;
}

/// Identity of an IPv4 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyV4 {
    /// As in [`SlotV4`].
    pub addresses: u64,
    /// As in [`SlotV4`].
    pub port_and_protocol: u32,
}

impl KeyV4 {
    /// From addresses as read, host-order destination port and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn new(src: [u8; 4], dst: [u8; 4], dst_port: u16, protocol: u8) -> Self {
        let addresses = u32::from_ne_bytes(src) as u64 | (u32::from_ne_bytes(dst) as u64) << 32;
        Self::of_words(addresses, dst_port, protocol)
    }

    /// From both addresses as one word in the order of the frame.
    #[inline(always)]
    #[must_use]
    pub const fn of_words(addresses: u64, dst_port: u16, protocol: u8) -> Self {
        Self { addresses, port_and_protocol: dst_port as u32 | (protocol as u32) << 16 }
    }
}

/// Identity of an IPv6 entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyV6 {
    /// As in [`SlotV6`].
    pub addresses: [u64; 4],
    /// As in [`SlotV6`].
    pub port_and_protocol: u32,
}

#[inline(always)]
const fn halves(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
}

#[inline(always)]
fn whole(halves: [u64; 2]) -> [u8; 16] {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&halves[0].to_ne_bytes());
    address[8..].copy_from_slice(&halves[1].to_ne_bytes());
    address
}

impl KeyV6 {
    /// From addresses as read, host-order destination port and protocol.
    #[inline(always)]
    #[must_use]
    pub const fn new(src: [u8; 16], dst: [u8; 16], dst_port: u16, protocol: u8) -> Self {
        let [s0, s1] = halves(src);
        let [d0, d1] = halves(dst);
        Self::of_words([s0, s1, d0, d1], dst_port, protocol)
    }

    /// From both addresses as words in the order of the frame.
    #[inline(always)]
    #[must_use]
    pub const fn of_words(addresses: [u64; 4], dst_port: u16, protocol: u8) -> Self {
        Self { addresses, port_and_protocol: dst_port as u32 | (protocol as u32) << 16 }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
const fn dst_port(port_and_protocol: u32) -> u16 {
    port_and_protocol as u16
}

#[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
const fn protocol(port_and_protocol: u32) -> u8 {
    (port_and_protocol >> 16) as u8
}

#[inline(always)]
const fn first_bytes(increment: Increment) -> u64 {
    increment.bytes as u64 | (increment.src_port as u64) << BYTES_BITS
}

#[inline(always)]
const fn first_stamp(increment: Increment, stamp: u64) -> u64 {
    stamp << MARKS_BITS | increment.marks.0 as u64
}

/// The marks that `increment` adds to an entry with these words.
#[inline(always)]
const fn more_marks(increment: Increment, bytes_and_port: u64) -> u64 {
    let marks = if (bytes_and_port >> BYTES_BITS) as u16 == increment.src_port {
        increment.marks
    } else {
        increment.marks.with(Marks::MORE_PORTS)
    };
    marks.0 as u64
}

impl Slot for SlotV4 {
    type Key = KeyV4;

    #[inline(always)]
    fn hash(key: &KeyV4, secret: impl Fn(usize) -> u64) -> u64 {
        let x = fold(key.addresses.wrapping_mul(secret(0)));
        fold(x.wrapping_add(u64::from(key.port_and_protocol)).wrapping_mul(secret(1)))
    }

    #[inline(always)]
    fn holds(&self, key: &KeyV4) -> bool {
        self.addresses == key.addresses && self.port_and_protocol == key.port_and_protocol
    }

    #[inline(always)]
    fn is_free(&self) -> bool {
        self.stamp_and_marks == 0
    }

    #[inline(always)]
    fn occupy(&mut self, key: &KeyV4, increment: Increment, stamp: u64) {
        self.addresses = key.addresses;
        self.port_and_protocol = key.port_and_protocol;
        self.packets = increment.packets;
        self.bytes_and_port = first_bytes(increment);
        self.stamp_and_marks = first_stamp(increment, stamp);
    }

    #[inline(always)]
    fn count(&mut self, increment: Increment) {
        self.packets = self.packets.wrapping_add(increment.packets);
        self.stamp_and_marks |= more_marks(increment, self.bytes_and_port);
        self.bytes_and_port = self.bytes_and_port.wrapping_add(u64::from(increment.bytes));
    }

    fn counters(&self) -> Counters {
        let Self { addresses: _, port_and_protocol: _, packets, bytes_and_port, stamp_and_marks } = *self;
        Counters { packets: u64::from(packets), bytes_and_port, stamp_and_marks }
    }

    fn flow_key(&self) -> FlowKey {
        let [s0, s1, s2, s3, d0, d1, d2, d3] = self.addresses.to_ne_bytes();
        #[cfg(target_endian = "big")]
        compile_error!("the halves of SlotV4::addresses are in little-endian order");
        FlowKey {
            addresses: Addresses::V4 { src: [s0, s1, s2, s3], dst: [d0, d1, d2, d3] },
            src_port: self.counters().first_src_port(),
            dst_port: dst_port(self.port_and_protocol),
            protocol: protocol(self.port_and_protocol),
        }
    }
}

impl Slot for SlotV6 {
    type Key = KeyV6;

    #[inline(always)]
    fn hash(key: &KeyV6, secret: impl Fn(usize) -> u64) -> u64 {
        let [s0, s1, d0, d1] = key.addresses;
        let x = fold(s0.wrapping_mul(secret(0)));
        let x = fold(x.wrapping_add(s1).wrapping_mul(secret(1)));
        let x = fold(x.wrapping_add(d0).wrapping_mul(secret(2)));
        let x = fold(x.wrapping_add(d1).wrapping_mul(secret(3)));
        fold(x.wrapping_add(u64::from(key.port_and_protocol)).wrapping_mul(secret(4)))
    }

    #[inline(always)]
    fn holds(&self, key: &KeyV6) -> bool {
        self.addresses[3] == key.addresses[3]
            && self.addresses[2] == key.addresses[2]
            && self.addresses[1] == key.addresses[1]
            && self.addresses[0] == key.addresses[0]
            && self.port_and_protocol == key.port_and_protocol
    }

    #[inline(always)]
    fn is_free(&self) -> bool {
        self.stamp_and_marks == 0
    }

    #[inline(always)]
    fn occupy(&mut self, key: &KeyV6, increment: Increment, stamp: u64) {
        self.addresses = key.addresses;
        self.port_and_protocol = key.port_and_protocol;
        self.packets = increment.packets;
        self.bytes_and_port = first_bytes(increment);
        self.stamp_and_marks = first_stamp(increment, stamp);
    }

    #[inline(always)]
    fn count(&mut self, increment: Increment) {
        self.packets = self.packets.wrapping_add(increment.packets);
        self.stamp_and_marks |= more_marks(increment, self.bytes_and_port);
        self.bytes_and_port = self.bytes_and_port.wrapping_add(u64::from(increment.bytes));
    }

    fn counters(&self) -> Counters {
        let Self {
            addresses: _,
            bytes_and_port,
            stamp_and_marks,
            port_and_protocol: _,
            packets,
            reserved: _,
        } = *self;
        Counters { packets: u64::from(packets), bytes_and_port, stamp_and_marks }
    }

    fn flow_key(&self) -> FlowKey {
        let [s0, s1, d0, d1] = self.addresses;
        FlowKey {
            addresses: Addresses::V6 { src: whole([s0, s1]), dst: whole([d0, d1]) },
            src_port: self.counters().first_src_port(),
            dst_port: dst_port(self.port_and_protocol),
            protocol: protocol(self.port_and_protocol),
        }
    }
}

/// Counts a frame in a bucket, searching from the slot that the hash chose.
#[inline(always)]
pub fn place<S: Slot>(
    slots: &mut [S; SLOTS],
    first: usize,
    key: &S::Key,
    increment: Increment,
    stamp: impl Fn() -> u64,
) -> Placed {
    for step in 0..SLOTS {
        let slot = &mut slots[(first + step) & (SLOTS - 1)];
        if slot.is_free() {
            slot.occupy(key, increment, stamp());
            return Placed::Inserted;
        }
        if slot.holds(key) {
            slot.count(increment);
            return Placed::Known;
        }
    }
    Placed::Full
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
    #[expect(clippy::cast_possible_truncation, reason = "what the mask leaves is wanted")]
    pub const fn of(hash: u64, mask: u32) -> Self {
        Self { bucket: (hash >> 30) as u32 & mask, slot: (hash >> 62) as usize & (SLOTS - 1) }
    }
}
