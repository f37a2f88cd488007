//! The plain frames that links are full of, read in a straight line: Ethernet, at most one VLAN tag,
//! IPv4 without options or IPv6 without extension headers, not a fragment, TCP or UDP to no tunnel's port.
//! And the frames that by their ethertype are not IP.

use super::{Decapsulate, found::Found, ipv4, ipv6, link, transport, tunnel};
use crate::{
    frame::Frame,
    packet::{Marks, TCP, UDP},
    reason::Ignored,
};

/// What is in a plain frame. `None` says only that the frame must be walked.
#[inline(always)]
pub fn find<F: Frame>(frame: &F, decapsulate: Decapsulate) -> Option<Found> {
    let ethertype = u16::from_be_bytes(frame.read(12)?);
    if link::is_tag(ethertype) {
        let ethertype = u16::from_be_bytes(frame.read(link::ETHERNET_LEN + 2)?);
        return datagram(frame, decapsulate, ethertype, link::ETHERNET_LEN + link::TAG_LEN);
    }
    datagram(frame, decapsulate, ethertype, link::ETHERNET_LEN)
}

#[inline(always)]
fn datagram<F: Frame>(frame: &F, decapsulate: Decapsulate, ethertype: u16, offset: usize) -> Option<Found> {
    match ethertype {
        link::IPV4 => v4(frame, decapsulate, offset),
        link::IPV6 => v6(frame, decapsulate, offset),
        // Nothing that may hold IP: no reason to walk.
        ethertype if link::is_foreign(ethertype) && frame.wire_len() >= offset => {
            Some(Found::nothing(Ignored::NotIp))
        }
        _ => None,
    }
}

#[inline(always)]
fn v4<F: Frame>(frame: &F, decapsulate: Decapsulate, offset: usize) -> Option<Found> {
    const VERSION_4_WITHOUT_OPTIONS: u8 = 0x45;
    // In pieces that the kernel's instance reads with one instruction each.
    let [version_and_length, _, len_high, len_low] = frame.read(offset)?;
    let fragment = u16::from_be_bytes(frame.read(offset + 6)?);
    if version_and_length != VERSION_4_WITHOUT_OPTIONS
        || fragment & (ipv4::FRAGMENT_OFFSET | ipv4::MORE_FRAGMENTS) != 0
    {
        return None;
    }
    let [_, protocol] = frame.read(offset + 8)?;
    let addresses = [u64::from_ne_bytes(frame.read(offset + 12)?), 0, 0, 0];
    let end = offset + usize::from(u16::from_be_bytes([len_high, len_low]));
    segment(frame, decapsulate, [offset + ipv4::MIN_LEN, end], protocol, (addresses, false))
}

#[inline(always)]
fn v6<F: Frame>(frame: &F, decapsulate: Decapsulate, offset: usize) -> Option<Found> {
    let [version, _, _, _, len_high, len_low, protocol, _] = frame.read(offset)?;
    if version >> 4 != 6 {
        return None;
    }
    let start = offset + ipv6::LEN;
    let end = start + usize::from(u16::from_be_bytes([len_high, len_low]));
    let word = |at| frame.read(offset + at).map(u64::from_ne_bytes);
    let addresses = [word(8)?, word(16)?, word(24)?, word(32)?];
    segment(frame, decapsulate, [start, end], protocol, (addresses, true))
}

/// The segment from `start` to `end`.
#[inline(always)]
fn segment<F: Frame>(
    frame: &F,
    decapsulate: Decapsulate,
    [start, end]: [usize; 2],
    protocol: u8,
    (addresses, is_ipv6): ([u64; 4], bool),
) -> Option<Found> {
    let (header_len, marks) = match protocol {
        TCP => {
            let [length, flags] = frame.read(start + transport::TCP_LENGTH_AND_FLAGS)?;
            let header_len = transport::tcp_header_len(length);
            if header_len < transport::TCP_MIN_LEN {
                return None;
            }
            (header_len, Marks::of_tcp(flags))
        }
        UDP => (transport::UDP_LEN, Marks::OTHER),
        _ => return None,
    };
    if end > frame.wire_len() || start + header_len > end {
        return None;
    }
    let [src_high, src_low, dst_high, dst_low] = frame.read(start)?;
    let ports = [u16::from_be_bytes([src_high, src_low]), u16::from_be_bytes([dst_high, dst_low])];
    if protocol == UDP && tunnel::is_port(ports[1], decapsulate) {
        return None;
    }
    Some(Found::segment(addresses, is_ipv6, ports, protocol, marks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::CapturedFrame,
        parse::{Link, explain},
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
                if let Some(plain) = find(&frame, Decapsulate::ALL) {
                    assert_eq!(plain, walked, "ethertype {ethertype:#06x}, tagged: {tagged}");
                }
            }
        }
    }
}
