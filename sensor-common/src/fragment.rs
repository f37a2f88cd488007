//! Which flow the later fragments of a datagram belong to: their first one had the ports.
//!
//! First fragments are remembered for a while, in a table of bounded size that all CPUs share: fragments of
//! one datagram may arrive on different ones. It is a memory, not a count. Where it has forgotten a first
//! fragment, or never saw it, the later ones are ignored as fragments.

use crate::parse::Found;

/// Map of [`FragmentKey`] to [`FirstFragment`].
pub const FRAGMENTS: &str = "FRAGMENTS";

/// First fragments that are remembered at once; beyond, old ones are forgotten.
pub const CAPACITY: u32 = 4096;

/// How long a first fragment is remembered, in nanoseconds: as long as Linux waits for the rest.
pub const MEMORY: u64 = 30 * 1_000_000_000;

/// What all fragments of a datagram have in common.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    /// Source, then destination, in network byte order as read; of IPv4 both in the first word.
    pub addresses: [u64; 4],
    /// The number of the datagram.
    pub id: u32,
    /// IANA protocol number; 0 for IPv6, which numbers the datagrams of all protocols together.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Explicit padding.
    pub reserved: [u8; 2],
}

/// What a first fragment said, and when.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstFragment {
    /// Destination port, source port from bit 16, protocol from bit 32; so it is never 0.
    ends: u64,
    /// Nanoseconds.
    seen: u64,
}

impl FirstFragment {
    /// Of a first fragment that was seen `now`, in nanoseconds of any clock.
    #[inline(always)]
    #[must_use]
    pub const fn new(found: &Found, now: u64) -> Self {
        let Found { src_port, dst_port, protocol, .. } = *found;
        Self { ends: dst_port as u64 | (src_port as u64) << 16 | (protocol as u64) << 32, seen: now }
    }

    /// What [`Found::attribute`] takes, or 0 where the first fragment is too old to be of the same datagram.
    #[inline(always)]
    #[must_use]
    pub const fn ends(&self, now: u64) -> u64 {
        if now.saturating_sub(self.seen) > MEMORY { 0 } else { self.ends }
    }
}

const _: () = assert!(size_of::<FragmentKey>() == 40 && size_of::<FirstFragment>() == 16);
