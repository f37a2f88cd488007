//! What the parser found, flat: the form in which it leaves the walk, and that the kernel program uses.
//!
//! Every byte of it is written. Of an enum like [`Addresses`] the compiler fills the bytes of the absent
//! variant from any register, and the kernel's verifier refuses to see a packet pointer taken for a
//! number; or it keeps the enum on the stack, of which there are 512 bytes.

use crate::{
    packet::{Addresses, FlowKey, Marks, Packet},
    reason::Ignored,
    table::{KeyV4, KeyV6, OverflowKey},
};

/// A segment, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Source, then destination, in network byte order as read; of IPv4 both in the first word.
    addresses: [u64; 4],
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// What the segment is; empty where there is none.
    pub marks: Marks,
    /// The index of the reason.
    ignored: u8,
    /// Whether the addresses are IPv6.
    pub is_ipv6: bool,
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
            marks: Marks(0),
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
        Self { addresses, src_port, dst_port, protocol, marks, ignored: 0, is_ipv6 }
    }

    /// The reason why there is no segment.
    #[inline(always)]
    #[must_use]
    pub const fn ignored(&self) -> Option<Ignored> {
        if self.marks.0 == 0 { Some(Ignored::of_index(self.ignored)) } else { None }
    }

    /// The key of an IPv4 segment in the flow table.
    #[inline(always)]
    #[must_use]
    pub const fn key_v4(&self) -> KeyV4 {
        KeyV4::of_words(self.addresses[0], self.dst_port, self.protocol)
    }

    /// The key of an IPv6 segment in the flow table.
    #[inline(always)]
    #[must_use]
    pub const fn key_v6(&self) -> KeyV6 {
        KeyV6::of_words(self.addresses, self.dst_port, self.protocol)
    }

    /// The key of a segment in the flow table's overflow.
    #[inline(always)]
    #[must_use]
    pub const fn overflow_key(&self) -> OverflowKey {
        let Self { addresses: [first, second, third, fourth], dst_port, protocol, is_ipv6, .. } = *self;
        if is_ipv6 {
            let [src, dst] = [address(first, second), address(third, fourth)];
            OverflowKey { src, dst, dst_port, protocol, family: 6 }
        } else {
            let [a, b, c, d, e, f, g, h] = first.to_ne_bytes();
            let src = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let dst = [e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            OverflowKey { src, dst, dst_port, protocol, family: 4 }
        }
    }

    /// The same as a packet.
    #[inline(always)]
    pub const fn packet(&self) -> Result<Packet, Ignored> {
        if let Some(reason) = self.ignored() {
            return Err(reason);
        }
        let Self { addresses, src_port, dst_port, protocol, marks, ignored: _, is_ipv6 } = *self;
        let addresses = if is_ipv6 { v6(addresses) } else { v4(addresses[0]) };
        Ok(Packet { key: FlowKey { addresses, src_port, dst_port, protocol }, marks })
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
