//! The plain frames that links are full of, read in a straight line: Ethernet, at most one VLAN tag,
//! IPv4 without options or IPv6 without extension headers, not a fragment, TCP or UDP to no tunnel's port.
//! And the frames that by their ethertype are not IP.

use super::{Decapsulate, ipv4, ipv6, link, transport, tunnel};
use crate::{
    frame::Frame,
    packet::{Marks, TCP, UDP},
    table::{AddressWords, Key, KeyV4, KeyV6},
};

/// A frame at first sight.
#[derive(Clone, Copy, Debug)]
pub enum Plain {
    /// A segment in IPv4.
    V4(Segment<KeyV4>),
    /// Perhaps a segment in IPv6, for [`plain_v6`] at this offset.
    V6(usize),
    /// By its ethertype nothing that may hold IP.
    Foreign,
    /// To be walked.
    Unknown,
}

/// A segment, its flow in the form in which the flow table compares it.
#[derive(Clone, Copy, Debug)]
pub struct Segment<K> {
    /// The flow.
    pub key: K,
    /// Source port, host byte order.
    pub src_port: u16,
    /// What the segment is.
    pub marks: Marks,
}

/// Looks at a frame that starts with an Ethernet header. `decapsulate` is asked only where it matters.
#[inline(always)]
pub fn plain<F: Frame>(frame: &F, decapsulate: impl Fn() -> Decapsulate) -> Plain {
    const INNER: usize = link::ETHERNET_LEN + link::TAG_LEN;
    let Some(head) = Head::before(frame, link::ETHERNET_LEN) else { return Plain::Unknown };
    if head.is_v4() {
        return plain_v4(frame, decapsulate, link::ETHERNET_LEN);
    }
    if !link::is_tag(head.ethertype()) {
        return other(frame, head.ethertype(), link::ETHERNET_LEN);
    }
    let Some(head) = Head::before(frame, INNER) else { return Plain::Unknown };
    if head.is_v4() { plain_v4(frame, decapsulate, INNER) } else { other(frame, head.ethertype(), INNER) }
}

/// An ethertype and the first two bytes of what it names, as one word.
#[derive(Clone, Copy)]
struct Head(u32);

impl Head {
    /// The one whose ethertype ends at `offset`.
    #[inline(always)]
    fn before<F: Frame>(frame: &F, offset: usize) -> Option<Self> {
        frame.read(offset - 2).map(|bytes| Self(u32::from_be_bytes(bytes)))
    }

    #[inline(always)]
    const fn ethertype(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// Whether it begins an IPv4 header without options: both in one comparison.
    #[inline(always)]
    const fn is_v4(self) -> bool {
        const VERSION_4_WITHOUT_OPTIONS: u32 = 0x45;
        self.0 >> 8 == (link::IPV4 as u32) << 8 | VERSION_4_WITHOUT_OPTIONS
    }
}

/// What is no plain IPv4 by its ethertype.
#[inline(always)]
fn other<F: Frame>(frame: &F, ethertype: u16, offset: usize) -> Plain {
    match ethertype {
        link::IPV6 => Plain::V6(offset),
        ethertype if link::is_foreign(ethertype) && frame.wire_len() >= offset => Plain::Foreign,
        _ => Plain::Unknown,
    }
}

// Headers are read in pieces that the kernel's instance reads with one instruction each, and the farthest
// piece that every plain frame must have comes first: the comparison with the end of the frame then serves
// for the nearer ones.

#[inline(always)]
fn plain_v4<F: Frame>(frame: &F, decapsulate: impl Fn() -> Decapsulate, offset: usize) -> Plain {
    v4(frame, decapsulate, offset).map_or(Plain::Unknown, Plain::V4)
}

#[inline(always)]
fn v4<F: Frame>(frame: &F, decapsulate: impl Fn() -> Decapsulate, offset: usize) -> Option<Segment<KeyV4>> {
    let start = offset + ipv4::MIN_LEN;
    let far = frame.read(start + transport::TCP_LENGTH_AND_FLAGS)?;
    let fragment = u16::from_be_bytes(frame.read(offset + 6)?);
    if fragment & (ipv4::FRAGMENT_OFFSET | ipv4::MORE_FRAGMENTS) != 0 {
        return None;
    }
    let [_, protocol] = frame.read(offset + 8)?;
    let addresses = u64::from_ne_bytes(frame.read(offset + 12)?);
    let end = offset + usize::from(u16::from_be_bytes(frame.read(offset + 2)?));
    segment(frame, decapsulate, [start, end], (protocol, far), addresses)
}

/// The segment in the IPv6 datagram at `offset`; none where it must be walked. Apart from [`plain`], so that
/// the kernel program can keep its many words out of the way of IPv4.
#[inline(always)]
pub fn plain_v6<F: Frame>(
    frame: &F,
    decapsulate: impl Fn() -> Decapsulate,
    offset: usize,
) -> Option<Segment<KeyV6>> {
    let start = offset + ipv6::LEN;
    let far = frame.read(start + transport::TCP_LENGTH_AND_FLAGS)?;
    let [version, _, _, _, len_high, len_low, protocol, _] = frame.read(offset)?;
    if version >> 4 != 6 {
        return None;
    }
    let end = start + usize::from(u16::from_be_bytes([len_high, len_low]));
    let word = |at| frame.read(offset + at).map(u64::from_ne_bytes);
    let addresses = [word(8)?, word(16)?, word(24)?, word(32)?];
    segment(frame, decapsulate, [start, end], (protocol, far), addresses)
}

/// The segment from `start` to `end`, with the two bytes that are length and flags if it is one of TCP.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the word is cut in two")]
fn segment<F: Frame, A: AddressWords>(
    frame: &F,
    decapsulate: impl Fn() -> Decapsulate,
    [start, end]: [usize; 2],
    (protocol, [length, flags]): (u8, [u8; 2]),
    addresses: A,
) -> Option<Segment<Key<A>>> {
    let ports = u32::from_be_bytes(frame.read(start)?);
    let [src_port, dst_port] = [(ports >> 16) as u16, ports as u16];
    let (header_len, marks) = match protocol {
        TCP => (transport::tcp_header_len(length), Marks::of_tcp(flags)),
        UDP if tunnel::is_port(dst_port, decapsulate()) => return None,
        UDP => (transport::UDP_LEN, Marks::OTHER),
        _ => return None,
    };
    if protocol == TCP && header_len < transport::TCP_MIN_LEN
        || start + header_len > end
        || end > frame.wire_len()
    {
        return None;
    }
    Some(Segment { key: Key::new(addresses, dst_port, protocol), src_port, marks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::CapturedFrame,
        parse::{Link, explain, find},
    };

    #[test]
    fn a_frame_of_any_ethertype_is_the_same_plain_or_walked() {
        for ethertype in 0..=u16::MAX {
            for tagged in [false, true] {
                let mut bytes = [0; 64];
                let at = if tagged { 16 } else { 12 };
                bytes[12..14].copy_from_slice(&[0x81, 0x00]);
                bytes[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
                let frame = CapturedFrame::whole(&bytes);
                let walked = explain(&frame, Link::Ethernet, Decapsulate::ALL, ());
                let plain = find(&frame, Link::Ethernet, Decapsulate::ALL);
                assert_eq!(plain, walked, "ethertype {ethertype:#06x}, tagged: {tagged}");
            }
        }
    }
}
