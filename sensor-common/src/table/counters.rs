//! What is counted for one flow, and the words in which that is kept.

use crate::packet::Marks;

/// What is counted for one entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames in the low 32 bits. 2^32 frames at 14.88 M/s last 288 s, the longest allowed drain is shorter.
    pub packets: u64,
    /// Bytes on the wire in the low 48 bits, the first source port in the high 16.
    pub bytes_and_port: u64,
    /// First-seen stamp in units of [`STAMP_NANOSECONDS`] in the high 56 bits, [`Marks`] in the low 8.
    pub stamp_and_marks: u64,
}

/// Unit of first-seen stamps in nanoseconds of `CLOCK_MONOTONIC`; 56 bits of it last 18 years of uptime.
pub const STAMP_NANOSECONDS: u64 = 8;
const BYTES_BITS: u32 = 48;
const MARKS_BITS: u32 = 8;

impl Counters {
    /// The first frame of an entry.
    #[inline(always)]
    #[must_use]
    pub const fn first(increment: Increment, stamp: u64) -> Self {
        Self {
            packets: increment.packets as u64,
            bytes_and_port: first_bytes(increment),
            stamp_and_marks: first_stamp(increment, stamp),
        }
    }

    /// One more frame.
    #[inline(always)]
    pub fn count(&mut self, increment: Increment) {
        self.packets += u64::from(increment.packets);
        self.stamp_and_marks |= more_marks(increment, self.bytes_and_port);
        self.bytes_and_port = self.bytes_and_port.wrapping_add(u64::from(increment.bytes));
    }

    /// From the bytes of a map's value.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 24]) -> Self {
        let word = |at: usize| u64::from_ne_bytes(core::array::from_fn(|i| bytes[at + i]));
        Self { packets: word(0), bytes_and_port: word(8), stamp_and_marks: word(16) }
    }

    /// Frames.
    #[must_use]
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes on the wire.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes_and_port & ((1 << BYTES_BITS) - 1)
    }

    /// Source port of the first frame, host byte order.
    #[must_use]
    pub const fn first_src_port(&self) -> u16 {
        (self.bytes_and_port >> BYTES_BITS) as u16
    }

    /// What was seen.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
    pub const fn marks(&self) -> Marks {
        Marks(self.stamp_and_marks as u8)
    }

    /// When the first frame was seen, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn first_seen_ns(&self) -> u64 {
        (self.stamp_and_marks >> MARKS_BITS) * STAMP_NANOSECONDS
    }
}

/// One frame's worth of counting: what an update adds to an entry.
#[derive(Clone, Copy, Debug)]
pub struct Increment {
    /// 1 for a frame, 0 for a mark that counts no frame.
    pub packets: u32,
    /// Bytes on the wire.
    pub bytes: u32,
    /// Source port, host byte order.
    pub src_port: u16,
    /// What the frame is.
    pub marks: Marks,
}

/// The bytes of a first frame, with its source port.
#[inline(always)]
pub(super) const fn first_bytes(increment: Increment) -> u64 {
    increment.bytes as u64 | (increment.src_port as u64) << BYTES_BITS
}

/// The stamp of a first frame, with its marks.
#[inline(always)]
pub(super) const fn first_stamp(increment: Increment, stamp: u64) -> u64 {
    stamp << MARKS_BITS | increment.marks.0 as u64
}

/// The marks that `increment` adds to an entry with these words.
#[inline(always)]
pub(super) const fn more_marks(increment: Increment, bytes_and_port: u64) -> u64 {
    let marks = if (bytes_and_port >> BYTES_BITS) as u16 == increment.src_port {
        increment.marks
    } else {
        increment.marks.with(Marks::MORE_PORTS)
    };
    marks.0 as u64
}
