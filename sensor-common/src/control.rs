//! The maps that steer and account the program, beside the flow table: names and layouts.

use crate::{
    packet::{FlowKey, Marks, Packet},
    parse::{Found, Link},
    reason::{Ignored, Lost},
    table::OverflowKey,
};

/// Map of one [`CpuState`] per possible CPU, written by the program on that CPU only, but for the epoch.
pub const CPU_STATE: &str = "CPU_STATE";

/// Map of one [`Inspection`].
pub const INSPECTION: &str = "INSPECTION";

/// Generations of the flow table: one that the program fills, one that the agent reads.
pub const GENERATIONS: usize = 2;

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
    /// How often the generations were switched. Its lowest bit is the generation to count into. The agent
    /// writes it, on every CPU the same, and the program reads it once a frame: it is here because the rest
    /// is too.
    pub epoch: u64,
    /// The epoch in which this CPU found the overflow full, plus 1; 0 for none. Nothing is removed within an
    /// epoch, so the overflow stays full, and trying again would cost more than all else.
    pub full_epoch: u64,
}

/// The place of [`CpuState::epoch`] among the words of the state.
pub const EPOCH_WORD: usize = core::mem::offset_of!(CpuState, epoch) / size_of::<u64>();

/// One frame put to the kernel's instance of the parser: the question, and then the answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Bytes of the frame that were captured.
    pub captured: u32,
    /// Length on the wire in bytes.
    pub wire_len: u32,
    /// The flow, but for its source port; no CPU.
    pub key: OverflowKey,
    /// Source port, host byte order.
    pub src_port: u16,
    /// [`Marks`].
    pub marks: u8,
    /// What the frame starts with: index into [`Link::ALL`].
    pub link: u8,
    /// 0 where the frame has a flow, else 1 and the index of an [`Ignored`].
    pub ignored: u32,
}

impl Inspection {
    /// The question about a frame of which `captured` of `wire_len` bytes are there.
    #[must_use]
    pub fn question(captured: u32, wire_len: u32, link: Link) -> Self {
        Self { captured, wire_len, link: link as u8, ..Self::default() }
    }

    /// Puts the answer in the place of the question.
    #[inline(always)]
    pub fn answer(&mut self, found: &Found) {
        self.key = found.overflow_key();
        self.src_port = found.src_port;
        self.marks = found.marks.0;
        self.ignored = match found.ignored() {
            None => 0,
            Some(reason) => 1 + reason as u32,
        };
    }

    /// What the parser said, read back from the answer.
    ///
    /// # Panics
    /// Where this is not an answer of [`Inspection::answer`].
    pub fn parsed(&self) -> Result<Packet, Ignored> {
        if let Some(reason) = self.ignored.checked_sub(1) {
            return Err(Ignored::ALL[reason as usize]);
        }
        Ok(Packet { key: self.flow_key(), marks: Marks(self.marks) })
    }

    /// The flow that the frame quotes, if it is an ICMP error.
    #[must_use]
    pub fn quoted(&self) -> Option<FlowKey> {
        Marks(self.marks).has(Marks::UNREACHABLE).then(|| self.flow_key())
    }

    fn flow_key(&self) -> FlowKey {
        let Self { src_port, key: OverflowKey { dst_port, protocol, .. }, .. } = *self;
        FlowKey { addresses: self.key.addresses(), src_port, dst_port, protocol }
    }
}

const _: () = assert!(size_of::<Inspection>() == 56);
const _: () = assert!(size_of::<FrameTotals>() == 128);
