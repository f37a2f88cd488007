//! Reading the packet buffer: the only place that touches packet memory.

use core::arch::asm;

use aya_ebpf::{helpers::generated::bpf_xdp_get_buff_len, programs::XdpContext};
use sensor_common::{control::Inspection, frame::Frame};

/// The linear part of a packet buffer.
struct Linear {
    data: usize,
    data_end: usize,
}

impl Linear {
    #[inline(always)]
    fn new(ctx: &XdpContext) -> Self {
        Self { data: ctx.data(), data_end: ctx.data_end() }
    }

    #[inline(always)]
    fn len(&self) -> usize {
        self.data_end - self.data
    }

    /// The bytes at `offset`, if they lie before the end.
    ///
    /// The offset is cut to 15 bits: the verifier accepts an access only where it knows that the offset
    /// and the length together stay below 64 KiB. No header begins further inside.
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.data + (offset & 0x7fff);
        if start + N > self.data_end {
            return None;
        }
        // SAFETY: data..data_end is the readable part of the packet, `start + N` was compared with its
        // end, and an array of bytes has no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }

    /// `value` plus a zero that the verifier takes for any number of 32 bits.
    ///
    /// The length of the buffer is below 2^32, so its high half is 0; but of the difference of two packet
    /// pointers the verifier knows nothing, and it is a new unknown each time.
    #[inline(always)]
    fn forget_range(&self, mut value: usize) -> usize {
        // SAFETY: arithmetic on registers.
        unsafe {
            asm!(
                "{zero} -= {data}",
                "{zero} >>= 32",
                "{value} += {zero}",
                data = in(reg) self.data,
                zero = inout(reg) self.data_end => _,
                value = inout(reg) value,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        value
    }
}

/// A frame in one buffer.
pub struct WholeFrame(Linear);

impl WholeFrame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self(Linear::new(ctx))
    }
}

impl Frame for WholeFrame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.read(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.0.forget_range(value)
    }
}

/// The first buffer of a frame that may have more: headers are read from it, the length is of all.
pub struct FirstBuffer {
    linear: Linear,
    wire_len: usize,
}

impl FirstBuffer {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        // SAFETY: `ctx` is the context that the kernel gave to this program.
        let wire_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize;
        Self { linear: Linear::new(ctx), wire_len }
    }
}

impl Frame for FirstBuffer {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.linear.read(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.linear.forget_range(value)
    }
}

/// A frame out of a capture file: the file says how much of it was captured and how long it was.
pub struct Inspected {
    linear: Linear,
    captured: usize,
    wire_len: usize,
}

impl Inspected {
    #[inline(always)]
    pub fn new(ctx: &XdpContext, inspection: &Inspection) -> Self {
        Self {
            linear: Linear::new(ctx),
            captured: inspection.captured as usize,
            wire_len: inspection.wire_len as usize,
        }
    }
}

impl Frame for Inspected {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // The kernel runs test frames of 14 bytes and more, so a shorter one comes padded.
        if offset + N > self.captured {
            return None;
        }
        self.linear.read(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.linear.forget_range(value)
    }
}
