//! Reading the packet buffer: the only place that touches packet memory.

use aya_ebpf::{helpers::generated::bpf_xdp_get_buff_len, programs::XdpContext};
use sensor_common::{control::Inspection, frame::Frame};

/// The bytes at `offset` in the linear part of a frame, if they lie before its end.
///
/// The offset is cut to 16 bits: the verifier adds only a bounded number to a packet pointer, and no
/// header begins further inside.
#[inline(always)]
fn read<const N: usize>(data: usize, data_end: usize, offset: usize) -> Option<[u8; N]> {
    let start = data + (offset & 0xffff);
    if start + N > data_end {
        return None;
    }
    // SAFETY: data..data_end is the readable part of the packet, `start + N` was compared with its end,
    // and an array of bytes has no alignment.
    Some(unsafe { *(start as *const [u8; N]) })
}

/// A frame in one buffer.
pub struct WholeFrame {
    data: usize,
    data_end: usize,
}

impl WholeFrame {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        Self { data: ctx.data(), data_end: ctx.data_end() }
    }
}

impl Frame for WholeFrame {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        read(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.data_end - self.data
    }
}

/// The first buffer of a frame that may have more: headers are read from it, the length is of all.
pub struct FirstBuffer {
    data: usize,
    data_end: usize,
    wire_len: usize,
}

impl FirstBuffer {
    #[inline(always)]
    pub fn new(ctx: &XdpContext) -> Self {
        // SAFETY: `ctx` is the context that the kernel gave to this program.
        let wire_len = unsafe { bpf_xdp_get_buff_len(ctx.ctx) } as usize;
        Self { data: ctx.data(), data_end: ctx.data_end(), wire_len }
    }
}

impl Frame for FirstBuffer {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        read(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }
}

/// A frame out of a capture file: the file says how much of it was captured and how long it was.
pub struct Inspected {
    data: usize,
    data_end: usize,
    captured: usize,
    wire_len: usize,
}

impl Inspected {
    #[inline(always)]
    pub fn new(ctx: &XdpContext, inspection: &Inspection) -> Self {
        Self {
            data: ctx.data(),
            data_end: ctx.data_end(),
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
        read(self.data, self.data_end, offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }
}
