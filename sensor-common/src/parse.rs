//! The one packet parser, generic over [`Frame`]: XDP runs it on the packet buffer, replay on a slice.
//!
//! Most frames are plain: Ethernet, at most one tag, IP without options, TCP or UDP. `plain` reads
//! those in a straight line. Everything else is walked header by header in one loop that the kernel's
//! verifier can bound; on plain frames both give the same answer.
//!
//! Lengths are checked against the frame on the wire, bytes are read from what was captured. Nothing
//! beyond an IP datagram's own length is looked at: it is padding or a trailer.

mod found;
mod ipv4;
mod ipv6;
mod link;
mod plain;
mod transport;
mod walk;

use crate::{
    frame::Frame,
    packet::{Packet, SCTP, TCP, UDP, UDP_LITE},
    reason::Ignored,
};
pub use found::Found;
use walk::Walk;

/// Headers that are walked in one frame, all kinds together: enough for three tags, eight extension
/// headers and two tunnels at once, and small enough for the verifier.
pub const MAX_HEADERS: usize = 32;

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

impl Link {
    /// Every kind, in the order of its index.
    pub const ALL: [Self; 4] = [Self::Ethernet, Self::LinuxSll, Self::LinuxSll2, Self::RawIp];
}

/// What the bytes that come next are, as the header before them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    Link(Link),
    EtherType(u16),
    Protocol(u8),
}

/// Reads the innermost flow of a frame.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, link: Link) -> Result<Packet, Ignored> {
    find(frame, link).packet()
}

/// [`parse`] for the kernel: the same answer in a form without variants.
#[inline(always)]
pub fn find<F: Frame>(frame: &F, link: Link) -> Found {
    let plain = if link == Link::Ethernet { plain::find(frame) } else { None };
    plain.unwrap_or_else(|| {
        let mut found = Found::nothing(Ignored::NotIp);
        walk(frame, link, &mut found);
        found
    })
}

/// Reads a frame header by header. Not inlined: few frames come here, and the others should not carry
/// its code.
#[inline(never)]
fn walk<F: Frame>(frame: &F, link: Link, found: &mut Found) {
    *found = match headers(frame, link) {
        Ok(segment) => segment,
        Err(reason) => Found::nothing(reason),
    };
}

#[inline(always)]
fn headers<F: Frame>(frame: &F, link: Link) -> Result<Found, Ignored> {
    let mut walk = Walk::new(frame);
    let mut layer = Layer::Link(link);
    for _ in 0..MAX_HEADERS {
        layer = match layer {
            Layer::Link(link) => link::header(&mut walk, link)?,
            Layer::EtherType(ethertype) => match ethertype {
                link::IPV4 => ipv4::header(&mut walk)?,
                link::IPV6 => ipv6::header(&mut walk)?,
                tag if link::is_tag(tag) => link::tag(&mut walk)?,
                _ => return Err(Ignored::NotIp),
            },
            Layer::Protocol(protocol) => match protocol {
                TCP | UDP | SCTP | UDP_LITE => return transport::segment(&walk, protocol),
                ipv6::FRAGMENT if walk.is_ipv6() => ipv6::fragment(&mut walk)?,
                ipv6::AUTHENTICATION => ipv6::authentication(&mut walk)?,
                protocol if walk.is_ipv6() && ipv6::is_extension(protocol) => ipv6::extension(&mut walk)?,
                _ => return Err(Ignored::NotL4),
            },
        }
    }
    Err(Ignored::TooDeep)
}
