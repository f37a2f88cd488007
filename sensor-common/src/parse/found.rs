//! What a walk found, in the form in which it leaves the walk.
//!
//! The walk is a function of its own in the kernel, so its result goes through memory. Every byte of it
//! is written: of an enum the compiler fills the bytes of the absent variant from any register, and the
//! kernel's verifier refuses to see a packet pointer taken for a number.

use crate::{
    packet::{Addresses, FlowKey, Marks, Packet},
    reason::Ignored,
};

/// A segment, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Source, then destination; of IPv4 both in the first word.
    addresses: [u64; 4],
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    /// Empty where there is no segment.
    marks: u8,
    /// The index of the reason.
    ignored: u8,
    is_ipv6: bool,
}

impl Found {
    /// Nothing, for this reason.
    #[inline(always)]
    pub const fn nothing(reason: Ignored) -> Self {
        Self {
            addresses: [0; 4],
            src_port: 0,
            dst_port: 0,
            protocol: 0,
            marks: 0,
            ignored: reason as u8,
            is_ipv6: false,
        }
    }

    /// A segment between these addresses.
    #[inline(always)]
    pub const fn segment(
        addresses: [u64; 4],
        is_ipv6: bool,
        ports: [u16; 2],
        protocol: u8,
        marks: Marks,
    ) -> Self {
        let [src_port, dst_port] = ports;
        Self { addresses, src_port, dst_port, protocol, marks: marks.0, ignored: 0, is_ipv6 }
    }

    /// The same as a packet.
    #[inline(always)]
    pub fn packet(&self) -> Result<Packet, Ignored> {
        let Self { addresses, src_port, dst_port, protocol, marks, ignored, is_ipv6 } = *self;
        if marks == 0 {
            return Err(Ignored::of_index(ignored));
        }
        let addresses = if is_ipv6 { v6(addresses) } else { v4(addresses[0]) };
        Ok(Packet { key: FlowKey { addresses, src_port, dst_port, protocol }, marks: Marks(marks) })
    }
}

#[inline(always)]
const fn v4(word: u64) -> Addresses {
    let [s0, s1, s2, s3, d0, d1, d2, d3] = word.to_ne_bytes();
    Addresses::V4 { src: [s0, s1, s2, s3], dst: [d0, d1, d2, d3] }
}

#[inline(always)]
const fn v6([src_high, src_low, dst_high, dst_low]: [u64; 4]) -> Addresses {
    Addresses::V6 { src: address(src_high, src_low), dst: address(dst_high, dst_low) }
}

#[inline(always)]
const fn address(high: u64, low: u64) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h] = high.to_ne_bytes();
    let [i, j, k, l, m, n, o, p] = low.to_ne_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}
