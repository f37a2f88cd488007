//! What the parser found, flat: the form in which it leaves the walk, and that the kernel program uses.
//!
//! Every byte of it is written. Of an enum like [`Addresses`] the compiler fills the bytes of the absent
//! variant from any register, and the kernel's verifier refuses to see a packet pointer taken for a
//! number; or it keeps the enum on the stack, of which there are 512 bytes. Nor is it ever wrapped in a
//! `Result`: an error in the place of the first byte would have the compiler handle the first address in
//! two pieces, and one that is filled in place is kept once.

use super::Segment;
use crate::{
    fragment::FragmentKey,
    frame::Frame,
    packet::{Addresses, FlowKey, Marks, Packet},
    reason::Ignored,
    table::{KeyV4, KeyV6, OverflowKey},
};

/// Which piece of an IP datagram a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// The first fragment, which has the ports.
    First,
    /// Another fragment.
    Later,
}

/// A segment, or the reason why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Source, then destination, in network byte order as read; of IPv4 both in the first word.
    addresses: [u64; 4],
    /// The number that the fragments of the datagram share; 0 if it is not fragmented.
    pub id: u32,
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// What the segment is. [`Marks::UNREACHABLE`] alone where the frame has no segment of its own: it is
    /// an ICMP error that quotes this flow.
    pub marks: Marks,
    /// The index of the reason, or [`COUNTS`].
    pub(super) ignored: u8,
    /// Whether the addresses are IPv6.
    pub is_ipv6: bool,
    /// Which piece of the datagram this is. With [`Piece::Later`] the ports are unknown.
    pub piece: Piece,
}

/// Instead of a reason: the frame counts.
const COUNTS: u8 = u8::MAX;

impl Found {
    /// Nothing, for this reason.
    #[inline(always)]
    pub(super) const fn nothing(reason: Ignored) -> Self {
        Self {
            addresses: [0; 4],
            id: 0,
            src_port: 0,
            dst_port: 0,
            protocol: 0,
            marks: Marks(0),
            ignored: reason as u8,
            is_ipv6: false,
            piece: Piece::Whole,
        }
    }

    /// A segment between these addresses.
    #[inline(always)]
    pub(super) const fn segment(
        addresses: [u64; 4],
        is_ipv6: bool,
        [src_port, dst_port]: [u16; 2],
        protocol: u8,
        marks: Marks,
    ) -> Self {
        let piece = Piece::Whole;
        Self { addresses, id: 0, src_port, dst_port, protocol, marks, ignored: COUNTS, is_ipv6, piece }
    }

    /// Ends what a walk found, with its result. [Forgotten](Frame::forget_range), or the kernel's verifier
    /// would follow each reason and each kind of header by itself.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the index of a reason has 8 bits")]
    pub(super) fn end<F: Frame>(&mut self, frame: &F, ignored: u8) {
        self.ignored = frame.forget_range(ignored.into()) as u8;
    }

    /// A plain segment in IPv4.
    #[inline(always)]
    pub(super) const fn segment_v4(Segment { key, src_port, marks }: Segment<KeyV4>) -> Self {
        let ports = [src_port, key.dst_port()];
        Self::segment([key.addresses, 0, 0, 0], false, ports, key.protocol(), marks)
    }

    /// A plain segment in IPv6.
    #[inline(always)]
    pub(super) const fn segment_v6(Segment { key, src_port, marks }: Segment<KeyV6>) -> Self {
        Self::segment(key.addresses, true, [src_port, key.dst_port()], key.protocol(), marks)
    }

    /// A fragment without ports.
    #[inline(always)]
    pub(super) const fn fragment(addresses: [u64; 4], is_ipv6: bool, protocol: u8) -> Self {
        Self { addresses, protocol, is_ipv6, ..Self::nothing(Ignored::Fragment) }
    }

    /// Makes it a piece of the datagram numbered `id`.
    #[inline(always)]
    pub(super) const fn set_piece(&mut self, piece: Piece, id: u32) {
        self.piece = piece;
        self.id = id;
    }

    /// Makes it what an ICMP error quotes; the walk knows why such a frame is ignored.
    #[inline(always)]
    pub(super) const fn set_quoted(&mut self) {
        self.marks = Marks::UNREACHABLE;
    }

    /// The reason why the frame does not count.
    #[inline(always)]
    #[must_use]
    pub const fn ignored(&self) -> Option<Ignored> {
        if self.ignored == COUNTS { None } else { Some(Ignored::of_index(self.ignored)) }
    }

    /// The same as the index of the reason, for the kernel program: of the reasons by name its verifier would
    /// follow each by itself.
    #[inline(always)]
    #[must_use]
    pub const fn ignored_index(&self) -> Option<u8> {
        if self.ignored == COUNTS { None } else { Some(self.ignored) }
    }

    /// Whether the frame is an ICMP error that quotes the flow.
    #[inline(always)]
    #[must_use]
    pub const fn is_quoted(&self) -> bool {
        self.marks.has(Marks::UNREACHABLE)
    }

    /// What this fragment has in common with the others of its datagram.
    #[inline(always)]
    #[must_use]
    pub const fn fragment_key(&self) -> FragmentKey {
        let Self { addresses, id, protocol, is_ipv6, .. } = *self;
        let (protocol, family) = if is_ipv6 { (0, 6) } else { (protocol, 4) };
        FragmentKey { addresses, id, protocol, family, reserved: [0; 2] }
    }

    /// Makes this later fragment a frame of the flow with these
    /// [`ends`](crate::fragment::FirstFragment::ends), if there are any. It is no segment, so it opens
    /// nothing.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the word is cut in pieces")]
    pub const fn attribute(&mut self, ends: u64) {
        if ends != 0 {
            self.dst_port = ends as u16;
            self.src_port = (ends >> 16) as u16;
            self.protocol = (ends >> 32) as u8;
            self.ignored = COUNTS;
        }
    }

    /// The addresses of an IPv4 segment, as the flow table has them.
    #[inline(always)]
    #[must_use]
    pub const fn addresses_v4(&self) -> &u64 {
        &self.addresses[0]
    }

    /// The addresses of an IPv6 segment, as the flow table has them.
    #[inline(always)]
    #[must_use]
    pub const fn addresses_v6(&self) -> &[u64; 4] {
        &self.addresses
    }

    /// What else the flow table tells flows by.
    #[inline(always)]
    #[must_use]
    pub const fn port_and_protocol(&self) -> u32 {
        self.key_v4().port_and_protocol
    }

    /// The key of an IPv4 segment in the flow table.
    #[inline(always)]
    #[must_use]
    pub const fn key_v4(&self) -> KeyV4 {
        KeyV4::new(self.addresses[0], self.dst_port, self.protocol)
    }

    /// The key of an IPv6 segment in the flow table.
    #[inline(always)]
    #[must_use]
    pub const fn key_v6(&self) -> KeyV6 {
        KeyV6::new(self.addresses, self.dst_port, self.protocol)
    }

    /// The key of a segment in the flow table's overflow; the program adds the CPU.
    #[inline(always)]
    #[must_use]
    pub fn overflow_key(&self) -> OverflowKey {
        if self.is_ipv6 { OverflowKey::of(&self.key_v6()) } else { OverflowKey::of(&self.key_v4()) }
    }

    /// The same as a packet.
    #[inline(always)]
    pub const fn packet(&self) -> Result<Packet, Ignored> {
        if let Some(reason) = self.ignored() {
            return Err(reason);
        }
        Ok(Packet { key: self.flow_key(), marks: self.marks })
    }

    /// The flow of a segment or of a quote.
    #[inline(always)]
    #[must_use]
    pub const fn flow_key(&self) -> FlowKey {
        let Self { addresses, src_port, dst_port, protocol, is_ipv6, .. } = *self;
        let addresses = if is_ipv6 { v6(addresses) } else { v4(addresses[0]) };
        FlowKey { addresses, src_port, dst_port, protocol }
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
