//! The one packet parser, generic over [`Frame`]: XDP runs it on the packet buffer, replay on a slice.
//!
//! Most frames are plain: Ethernet, at most one tag, IP without options, TCP or UDP. `plain` reads
//! those in a straight line. Everything else is walked header by header in one loop that the kernel's
//! verifier can bound; on plain frames both give the same answer.
//!
//! Lengths are checked against the frame on the wire, bytes are read from what was captured. Nothing
//! beyond an IP datagram's own length is looked at: it is padding or a trailer. Of a tunnel the flow
//! inside counts.

mod decapsulate;
mod found;
mod icmp;
mod ipv4;
mod ipv6;
mod link;
mod plain;
mod trace;
mod transport;
mod tunnel;
mod walk;

use crate::{
    frame::Frame,
    packet::{Packet, SCTP, TCP, UDP, UDP_LITE},
    reason::Ignored,
};
pub use decapsulate::Decapsulate;
pub use found::{Found, Piece};
pub use trace::{Layer, Trace};
use walk::Walk;

/// Headers that are walked in one frame, all kinds together: enough for three tags, eight extension
/// headers and two tunnels at once, and small enough for the verifier.
pub const MAX_HEADERS: usize = 24;

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
    /// Every link, in the order of its index.
    pub const ALL: [Self; 4] = [Self::Ethernet, Self::LinuxSll, Self::LinuxSll2, Self::RawIp];
}

/// Reads the innermost flow of a frame.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, link: Link, decapsulate: Decapsulate) -> Result<Packet, Ignored> {
    find(frame, link, decapsulate).packet()
}

/// [`parse`] with all that was found, in a form without variants; the kernel program's way.
#[inline(always)]
pub fn find<F: Frame>(frame: &F, link: Link, decapsulate: Decapsulate) -> Found {
    let plain = if link == Link::Ethernet { plain::find(frame, decapsulate) } else { None };
    plain.unwrap_or_else(|| explain(frame, link, decapsulate, &mut ()))
}

/// The same without the short cut for plain frames, telling `trace` each header on the way.
#[inline(always)]
pub fn explain<F: Frame>(frame: &F, link: Link, decapsulate: Decapsulate, trace: &mut impl Trace) -> Found {
    let mut found = Found::nothing(Ignored::NotIp);
    walk(&frame.anew(), link, &decapsulate, trace, &mut found);
    found
}

/// Reads a frame header by header. Not inlined: few frames come here, and the others should not carry
/// its code.
#[inline(never)]
fn walk<F: Frame>(
    frame: &F,
    link: Link,
    decapsulate: &Decapsulate,
    trace: &mut impl Trace,
    found: &mut Found,
) {
    let mut walk = Walk::new(frame);
    *found = match headers(&mut walk, link, *decapsulate, trace) {
        Ok(found) => found,
        // Whatever is wrong with a quote, the frame that quotes is none of a flow.
        Err(_) if walk.is_quote() => Found::nothing(Ignored::NotL4),
        Err(reason) => Found::nothing(reason),
    };
}

#[inline(always)]
fn headers<F: Frame>(
    walk: &mut Walk<'_, F>,
    link: Link,
    decapsulate: Decapsulate,
    trace: &mut impl Trace,
) -> Result<Found, Ignored> {
    let mut next = Layer::Link(link);
    for _ in 0..MAX_HEADERS {
        let layer = walk.forget(next);
        trace.header(layer, walk.offset());
        next = match layer {
            Layer::Link(link) => link::header(walk, link)?,
            Layer::EtherType(ethertype) => link::payload(walk, ethertype)?,
            Layer::GtpExtension => tunnel::gtp_extension(walk)?,
            Layer::LaterFragment(protocol) => {
                return if walk.is_quote() { Err(Ignored::NotL4) } else { walk.later_fragment(protocol) };
            }
            Layer::Protocol(UDP) if !walk.is_quote() => match tunnel::udp(walk, decapsulate)? {
                Some(inside) => inside,
                None => return transport::segment(walk, UDP),
            },
            Layer::Protocol(protocol @ (TCP | UDP | SCTP | UDP_LITE)) => {
                return transport::segment(walk, protocol);
            }
            Layer::Protocol(protocol) => ip_payload(walk, protocol, decapsulate)?,
        }
    }
    Err(Ignored::TooDeep)
}

/// What IP carries other than a transport with ports.
#[inline(always)]
fn ip_payload<F: Frame>(
    walk: &mut Walk<'_, F>,
    protocol: u8,
    decapsulate: Decapsulate,
) -> Result<Layer, Ignored> {
    match protocol {
        ipv6::AUTHENTICATION => ipv6::authentication(walk),
        ipv6::FRAGMENT if walk.is_ipv6() => ipv6::fragment(walk),
        protocol if ipv6::is_extension(protocol) && walk.is_ipv6() => ipv6::extension(walk),
        icmp::V4 if !walk.is_ipv6() => icmp::v4(walk),
        icmp::V6 if walk.is_ipv6() => icmp::v6(walk),
        _ if walk.is_quote() => Err(Ignored::NotL4),
        tunnel::IPV4 => tunnel::ip(link::IPV4, decapsulate),
        tunnel::IPV6 => tunnel::ip(link::IPV6, decapsulate),
        tunnel::GRE => tunnel::gre(walk, decapsulate),
        tunnel::MPLS => Ok(Layer::EtherType(link::MPLS)),
        tunnel::ETHER_IP | tunnel::L2TP => Err(Ignored::UnsupportedEncapsulation),
        _ => Err(Ignored::NotL4),
    }
}
