//! The one packet parser, generic over [`Frame`]: XDP runs it on the packet buffer, replay on a slice.

use crate::{
    frame::Frame,
    packet::{Addresses, FlowKey, Marks, Packet, TCP, UDP},
    reason::Ignored,
};

/// What a frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// An Ethernet header (pcap `LINKTYPE_ETHERNET`).
    Ethernet,
    /// Linux cooked capture (pcap `LINKTYPE_LINUX_SLL`).
    LinuxSll,
    /// Linux cooked capture v2 (pcap `LINKTYPE_LINUX_SLL2`).
    LinuxSll2,
    /// An IPv4 or IPv6 header (pcap `LINKTYPE_RAW`).
    RawIp,
}

/// Reads the innermost flow of a frame.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, _link: Link) -> Result<Packet, Ignored> {
    let mut ethertype = u16::from_be_bytes(frame.read::<2>(12).ok_or(Ignored::Truncated)?);
    let mut offset = 14usize;
    for _ in 0..2 {
        if ethertype == 0x8100 || ethertype == 0x88a8 {
            ethertype = u16::from_be_bytes(frame.read::<2>(offset + 2).ok_or(Ignored::Truncated)?);
            offset += 4;
        }
    }
    if ethertype != 0x0800 {
        return Err(Ignored::NotIp);
    }
    let h = frame.read::<20>(offset).ok_or(Ignored::Truncated)?;
    let ihl = (h[0] & 15) as usize * 4;
    if h[0] >> 4 != 4 || ihl < 20 {
        return Err(Ignored::Malformed);
    }
    let addresses = Addresses::V4 { src: [h[12], h[13], h[14], h[15]], dst: [h[16], h[17], h[18], h[19]] };
    let protocol = h[9];
    offset += ihl;
    let marks = match protocol {
        TCP => Marks::of_tcp(frame.read::<1>(offset + 13).ok_or(Ignored::Truncated)?[0]),
        UDP => Marks::OTHER,
        _ => return Err(Ignored::NotL4),
    };
    let p = frame.read::<4>(offset).ok_or(Ignored::Truncated)?;
    let key = FlowKey {
        addresses,
        src_port: u16::from_be_bytes([p[0], p[1]]),
        dst_port: u16::from_be_bytes([p[2], p[3]]),
        protocol,
    };
    Ok(Packet { key, marks })
}
