//! The maps that steer and account the program, beside the flow table: names and layouts.

use crate::{
    packet::{Addresses, FlowKey, Marks, Packet},
    parse::Link,
    reason::{Ignored, Lost},
};

/// Map of one [`Control`], written by the agent through a mapping, read by the program once a frame.
pub const CONTROL: &str = "CONTROL";
/// Map of one [`CpuState`] per possible CPU, written by the program on that CPU only.
pub const CPU_STATE: &str = "CPU_STATE";

/// Map of one [`Inspection`].
pub const INSPECTION: &str = "INSPECTION";

/// Generations of the flow table: one that the program fills, one that the agent reads.
pub const GENERATIONS: usize = 2;

/// What the agent tells the running program.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    /// The generation to count into, 0 or 1.
    pub generation: u32,
    /// Explicit padding to the 8-byte granularity of array maps.
    pub reserved: u32,
}

/// Frame counters of one CPU in one generation. Cumulative since the program was loaded, never reset:
/// they stand still while their generation is inactive, which is when the agent reads them.
///
/// The frames that were counted are not among them: they are the sum of the packets in the flow
/// table. So `seen = counted + ignored + lost` compares two independent counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTotals {
    /// Frames that entered the program.
    pub seen: u64,
    /// Frames ignored, by [`Ignored`].
    pub ignored: [u64; Ignored::ALL.len()],
    /// Frames lost, by [`Lost`].
    pub lost: [u64; Lost::ALL.len()],
    /// IPv4 entries ever made in this generation of the table.
    pub inserted_v4: u64,
    /// IPv6 entries ever made in this generation of the table.
    pub inserted_v6: u64,
    /// Entries ever made in this generation of the overflow table by this CPU.
    pub overflowed: u64,
    /// ICMP errors whose quoted flow found no room: evidence lost, but no frame.
    pub marks_lost: u64,
}

impl FrameTotals {
    /// The growth since `earlier`, field by field.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let Self { seen, ignored, lost, inserted_v4, inserted_v6, overflowed, marks_lost } = self;
        Self {
            seen: seen.wrapping_sub(earlier.seen),
            ignored: core::array::from_fn(|i| ignored[i].wrapping_sub(earlier.ignored[i])),
            lost: core::array::from_fn(|i| lost[i].wrapping_sub(earlier.lost[i])),
            inserted_v4: inserted_v4.wrapping_sub(earlier.inserted_v4),
            inserted_v6: inserted_v6.wrapping_sub(earlier.inserted_v6),
            overflowed: overflowed.wrapping_sub(earlier.overflowed),
            marks_lost: marks_lost.wrapping_sub(earlier.marks_lost),
        }
    }

    /// Adds `other`, field by field.
    pub fn add(&mut self, other: &Self) {
        let Self { seen, ignored, lost, inserted_v4, inserted_v6, overflowed, marks_lost } = other;
        self.seen += seen;
        for (total, more) in self.ignored.iter_mut().zip(ignored) {
            *total += more;
        }
        for (total, more) in self.lost.iter_mut().zip(lost) {
            *total += more;
        }
        self.inserted_v4 += inserted_v4;
        self.inserted_v6 += inserted_v6;
        self.overflowed += overflowed;
        self.marks_lost += marks_lost;
    }
}

/// Everything one CPU keeps outside the flow table, in cache lines of its own.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuState {
    /// Frame counters, one set per generation.
    pub totals: [FrameTotals; GENERATIONS],
}

/// One frame put to the kernel's instance of the parser: the question, and then the answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Bytes of the frame that were captured.
    pub captured: u32,
    /// Length on the wire in bytes.
    pub wire_len: u32,
    /// 0 where the frame has a flow, else 1 and the index of an [`Ignored`].
    pub ignored: u32,
    /// Source port, host byte order.
    pub src_port: u16,
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// Source address, IPv4 in the first four bytes.
    pub src: [u8; 16],
    /// Destination address, IPv4 in the first four bytes.
    pub dst: [u8; 16],
    /// 4 or 6.
    pub family: u8,
    /// IANA protocol number.
    pub protocol: u8,
    /// [`Marks`].
    pub marks: u8,
    /// What the frame starts with: index into [`Link::ALL`].
    pub link: u8,
    /// Explicit padding.
    pub reserved: [u8; 4],
}

impl Inspection {
    /// The question about a frame of which `captured` of `wire_len` bytes are there.
    #[must_use]
    pub fn question(captured: u32, wire_len: u32, link: Link) -> Self {
        Self { captured, wire_len, link: link as u8, ..Self::default() }
    }

    /// The answer.
    #[inline(always)]
    #[must_use]
    pub fn of(parsed: Result<Packet, Ignored>) -> Self {
        let mut answer = Self::default();
        match parsed {
            Err(reason) => answer.ignored = 1 + reason as u32,
            Ok(Packet { key: FlowKey { addresses, src_port, dst_port, protocol }, marks }) => {
                answer.src_port = src_port;
                answer.dst_port = dst_port;
                answer.protocol = protocol;
                answer.marks = marks.0;
                match addresses {
                    Addresses::V4 { src, dst } => {
                        answer.family = 4;
                        answer.src[..4].copy_from_slice(&src);
                        answer.dst[..4].copy_from_slice(&dst);
                    }
                    Addresses::V6 { src, dst } => {
                        answer.family = 6;
                        answer.src = src;
                        answer.dst = dst;
                    }
                }
            }
        }
        answer
    }

    /// What the parser said, read back from the answer.
    ///
    /// # Panics
    /// Where this is not an answer of [`Inspection::of`].
    pub fn parsed(&self) -> Result<Packet, Ignored> {
        if let Some(reason) = self.ignored.checked_sub(1) {
            return Err(Ignored::ALL[reason as usize]);
        }
        let v4 = |[a, b, c, d, ..]: [u8; 16]| [a, b, c, d];
        let addresses = match self.family {
            4 => Addresses::V4 { src: v4(self.src), dst: v4(self.dst) },
            _ => Addresses::V6 { src: self.src, dst: self.dst },
        };
        let Self { src_port, dst_port, protocol, .. } = *self;
        Ok(Packet { key: FlowKey { addresses, src_port, dst_port, protocol }, marks: Marks(self.marks) })
    }
}

const _: () = assert!(size_of::<Inspection>() == 56);
const _: () = assert!(size_of::<FrameTotals>() == 128);
const _: () = assert!(size_of::<CpuState>() == 256);
const _: () = assert!(size_of::<Control>() == 8);
