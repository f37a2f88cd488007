//! The one packet parser, generic over [`Frame`]: XDP runs it on the packet buffer, replay on a slice.
//!
//! Most frames are plain: Ethernet, at most one tag, IP without options, TCP or UDP. `plain` reads
//! those in a straight line. Everything else is walked header by header in one loop of a bounded number
//! of steps; on plain frames both give the same answer.
//!
//! Lengths are checked against the frame on the wire, bytes are read from what was captured. Nothing
//! beyond an IP datagram's own length is looked at: it is padding or a trailer. Of a tunnel the flow
//! inside counts.

mod decapsulate;
mod found;
mod headers;
mod icmp;
mod ipv4;
mod ipv6;
mod link;
mod plain;
mod trace;
mod transport;
mod tunnel;
mod walk;

use crate::{frame::Frame, packet::Packet, reason::Ignored};
pub use decapsulate::Decapsulate;
pub use found::{Found, Piece};
use headers::Headers;
pub use plain::{Plain, Segment, plain, plain_v6};
pub use trace::{Layer, Trace};
use walk::Walk;

/// Headers that are walked in one frame, all kinds together: enough for three tags, eight extension
/// headers and two tunnels at once, and small enough for the verifier.
pub const MAX_HEADERS: u32 = 24;

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
    let plain = if link == Link::Ethernet { plain(frame, || decapsulate) } else { Plain::Unknown };
    let plain = match plain {
        Plain::V4(segment) => Some(Found::segment_v4(segment)),
        Plain::V6(offset) => plain_v6(frame, || decapsulate, offset).map(Found::segment_v6),
        Plain::Foreign => Some(Found::nothing(Ignored::NotIp)),
        Plain::Unknown => None,
    };
    plain.unwrap_or_else(|| explain(frame, link, decapsulate, ()))
}

/// The same without the short cut for plain frames, telling `trace` each header on the way.
#[inline(always)]
pub fn explain<F: Frame>(frame: &F, link: Link, decapsulate: Decapsulate, trace: impl Trace) -> Found {
    let mut found = Found::nothing(Ignored::NotIp);
    let ignored = walk(&frame.anew(), link, &decapsulate, trace, &mut found);
    found.end(frame, ignored);
    found
}

/// Reads a frame header by header; the result is why it is ignored, and belongs to `found`. Not inlined:
/// few frames come here, and the others should not carry its code.
///
/// It has a result because the verifier looks at the register for it whether there is one or not, and
/// refuses the pointer that the compiler otherwise leaves there.
#[inline(never)]
fn walk<F: Frame>(
    frame: &F,
    link: Link,
    decapsulate: &Decapsulate,
    trace: impl Trace,
    found: &mut Found,
) -> u8 {
    let mut headers = Headers::new(Walk::new(frame), link, *decapsulate, trace);
    F::repeat(&mut headers, MAX_HEADERS);
    let end = headers.end(found);
    // Whatever a quote holds, the frame that quotes is none of a flow.
    let end = if headers.walk.is_quote() { Err(Ignored::NotL4) } else { end };
    match end {
        Ok(()) => found.ignored,
        Err(reason) => reason as u8,
    }
}
