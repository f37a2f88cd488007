//! A slot of the table: an entry of one address family, compared and counted in whole words.

use core::fmt::Debug;

use super::{
    Counters, Increment,
    counters::{first_bytes, first_stamp, more_marks},
};
use crate::packet::{Addresses, FlowKey};

/// Source and destination of one family as words: the families differ in nothing else.
pub trait AddressWords: Copy + Default + 'static {
    /// Fills a slot up to a power of two.
    type Padding: Copy + Default + Debug;

    /// 4 or 6.
    const FAMILY: u8;

    /// The same with `change` made to each word.
    #[must_use]
    fn map(&self, change: impl Fn(u64) -> u64) -> Self;
    /// Whether both are the same.
    fn are(&self, other: &Self) -> bool;
    /// Hash of all words and of `rest`; its high half is good. `secret` yields one of
    /// [`HashSecret`](super::HashSecret)'s words, so that the program loads no more of them than it needs.
    fn hash(&self, rest: u32, secret: impl Fn(usize) -> u64) -> u64;
    /// The same in words of half the size, 0 where there are none.
    fn to_halves(&self) -> [u32; 8];
    /// The same as bytes.
    fn to_addresses(&self) -> Addresses;
}

/// Identity of an entry, in the form in which it is compared.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key<A> {
    /// In network byte order as read: of IPv4 one word with source and destination, of IPv6 two and two.
    pub addresses: A,
    /// Destination port in host byte order, and the protocol from bit 16. Every segment has a protocol other
    /// than 0.
    pub port_and_protocol: u32,
}

/// Identity of an IPv4 entry.
pub type KeyV4 = Key<u64>;
/// Identity of an IPv6 entry.
pub type KeyV6 = Key<[u64; 4]>;

impl<A: AddressWords> Key<A> {
    /// Of a segment to this port, in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn new(addresses: A, dst_port: u16, protocol: u8) -> Self {
        Self { addresses, port_and_protocol: dst_port as u32 | (protocol as u32) << 16 }
    }

    /// Hash of the key; its high half is good.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, secret: impl Fn(usize) -> u64) -> u64 {
        self.addresses.hash(self.port_and_protocol, secret)
    }

    /// Destination port, host byte order.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub const fn dst_port(&self) -> u16 {
        self.port_and_protocol as u16
    }

    /// IANA protocol number.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub const fn protocol(&self) -> u8 {
        (self.port_and_protocol >> 16) as u8
    }
}

/// An entry: half a cache line of IPv4, a whole one of IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot<A: AddressWords> {
    addresses: A,
    /// As in [`Key`]; 0 marks a free slot.
    port_and_protocol: u32,
    packets: u32,
    /// As in [`Counters`].
    bytes_and_port: u64,
    /// As in [`Counters`].
    stamp_and_marks: u64,
    padding: A::Padding,
}

/// An IPv4 entry.
pub type SlotV4 = Slot<u64>;
/// An IPv6 entry.
pub type SlotV6 = Slot<[u64; 4]>;

const _: () = assert!(size_of::<SlotV4>() == 32 && size_of::<SlotV6>() == 64);

impl<A: AddressWords> Slot<A> {
    /// Whether this slot holds `key`.
    #[inline(always)]
    pub fn holds(&self, key: &Key<A>) -> bool {
        self.addresses.are(&key.addresses) && self.port_and_protocol == key.port_and_protocol
    }

    /// Whether nothing was put here in this generation.
    #[inline(always)]
    pub const fn is_free(&self) -> bool {
        self.port_and_protocol == 0
    }

    /// Puts a new entry here.
    #[inline(always)]
    pub fn occupy(&mut self, key: &Key<A>, increment: Increment, stamp: u64) {
        self.addresses = key.addresses;
        self.port_and_protocol = key.port_and_protocol;
        self.packets = increment.packets;
        self.bytes_and_port = first_bytes(increment);
        self.stamp_and_marks = first_stamp(increment, stamp);
    }

    /// Notes that a flow at home in this slot's bucket is in the overflow.
    #[inline(always)]
    pub const fn set_spilled(&mut self) {
        self.stamp_and_marks |= SPILLED;
    }

    /// Whether that was noted.
    #[inline(always)]
    pub const fn is_spilled(&self) -> bool {
        self.stamp_and_marks & SPILLED != 0
    }

    /// Counts one more frame.
    #[inline(always)]
    pub fn count(&mut self, increment: Increment) {
        self.packets = self.packets.wrapping_add(increment.packets);
        self.stamp_and_marks |= more_marks(increment, self.bytes_and_port);
        self.bytes_and_port = self.bytes_and_port.wrapping_add(u64::from(increment.bytes));
    }

    /// The counters, in their common form.
    pub fn counters(&self) -> Counters {
        let Self { packets, bytes_and_port, stamp_and_marks, .. } = *self;
        Counters { packets: u64::from(packets), bytes_and_port, stamp_and_marks: stamp_and_marks & !SPILLED }
    }

    /// The identity, as a flow key with the first source port.
    pub fn flow_key(&self) -> FlowKey {
        let Self { addresses, port_and_protocol, .. } = *self;
        let key = Key { addresses, port_and_protocol };
        FlowKey {
            addresses: addresses.to_addresses(),
            src_port: self.counters().first_src_port(),
            dst_port: key.dst_port(),
            protocol: key.protocol(),
        }
    }
}

/// Bit of [`Counters::stamp_and_marks`] that no mark has. It speaks of the bucket, not of the entry.
const SPILLED: u64 = 1 << 7;

/// Folds the high half into the low one, so that the next multiplication spreads all bits.
#[inline(always)]
const fn fold(x: u64) -> u64 {
    x ^ (x >> 32)
}

impl AddressWords for u64 {
    type Padding = ();

    const FAMILY: u8 = 4;

    #[inline(always)]
    fn map(&self, change: impl Fn(u64) -> u64) -> Self {
        change(*self)
    }

    #[inline(always)]
    fn are(&self, other: &Self) -> bool {
        self == other
    }

    #[inline(always)]
    fn hash(&self, rest: u32, secret: impl Fn(usize) -> u64) -> u64 {
        let x = fold(self.wrapping_mul(secret(0)));
        x.wrapping_add(Self::from(rest)).wrapping_mul(secret(1))
    }

    #[inline(always)]
    fn to_halves(&self) -> [u32; 8] {
        let [src, dst] = halves(*self);
        [src, dst, 0, 0, 0, 0, 0, 0]
    }

    fn to_addresses(&self) -> Addresses {
        let [s0, s1, s2, s3, d0, d1, d2, d3] = self.to_ne_bytes();
        Addresses::V4 { src: [s0, s1, s2, s3], dst: [d0, d1, d2, d3] }
    }
}

impl AddressWords for [u64; 4] {
    type Padding = u64;

    const FAMILY: u8 = 6;

    #[inline(always)]
    fn map(&self, change: impl Fn(u64) -> u64) -> Self {
        let [a, b, c, d] = *self;
        [change(a), change(b), change(c), change(d)]
    }

    /// The interface identifiers, which tell most, first.
    #[inline(always)]
    fn are(&self, other: &Self) -> bool {
        self[3] == other[3] && self[2] == other[2] && self[1] == other[1] && self[0] == other[0]
    }

    #[inline(always)]
    fn hash(&self, rest: u32, secret: impl Fn(usize) -> u64) -> u64 {
        let [s0, s1, d0, d1] = *self;
        let x = fold(s0.wrapping_mul(secret(0)));
        let x = fold(x.wrapping_add(s1).wrapping_mul(secret(1)));
        let x = fold(x.wrapping_add(d0).wrapping_mul(secret(2)));
        let x = fold(x.wrapping_add(d1).wrapping_mul(secret(3)));
        x.wrapping_add(u64::from(rest)).wrapping_mul(secret(4))
    }

    #[inline(always)]
    fn to_halves(&self) -> [u32; 8] {
        let [[a, b], [c, d], [e, f], [g, h]] =
            [halves(self[0]), halves(self[1]), halves(self[2]), halves(self[3])];
        [a, b, c, d, e, f, g, h]
    }

    fn to_addresses(&self) -> Addresses {
        let [src, dst] = [[self[0], self[1]], [self[2], self[3]]].map(|words| {
            let mut address = [0; 16];
            address[..8].copy_from_slice(&words[0].to_ne_bytes());
            address[8..].copy_from_slice(&words[1].to_ne_bytes());
            address
        });
        Addresses::V6 { src, dst }
    }
}

/// The halves of a word in the order of memory.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the word is cut in two")]
const fn halves(word: u64) -> [u32; 2] {
    if cfg!(target_endian = "little") {
        [word as u32, (word >> 32) as u32]
    } else {
        [(word >> 32) as u32, word as u32]
    }
}
