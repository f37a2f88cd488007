//! Reading the packet buffer: the only place that touches packet memory.

use core::{arch::asm, array, ffi::c_void, hint::assert_unchecked, ptr};

use aya_ebpf::{
    bindings::xdp_md,
    helpers::generated::{bpf_loop, bpf_xdp_get_buff_len},
    programs::XdpContext,
};
use sensor_common::{
    control::Inspection,
    frame::{Frame, Step},
};

/// The `N` bytes at `address`, in one instruction if there is one.
///
/// Packet data is not aligned, and so the compiler would read it byte by byte; the kernel allows wider
/// accesses where the machine does. They are written by hand because the compiler's own way (its feature
/// `allows-misaligned-mem-access`) misaligns accesses to the stack too, which the verifier refuses.
///
/// # Safety
///
/// The bytes must be readable.
#[inline(always)]
unsafe fn load<const N: usize>(address: usize) -> [u8; N] {
    macro_rules! load {
        ($bits:literal) => {{
            let word: u64;
            // SAFETY: reads what the caller vouches for.
            unsafe {
                asm!(
                    concat!("{word} = *(u", stringify!($bits), " *)({address} + 0)"),
                    address = in(reg) address,
                    word = lateout(reg) word,
                    options(pure, readonly, nostack, preserves_flags)
                );
            }
            // SAFETY: so many bits were read.
            unsafe { assert_unchecked(word <= u64::MAX >> (64 - $bits)) };
            let bytes = word.to_ne_bytes();
            array::from_fn(|i| bytes[i & 7])
        }};
    }
    match N {
        8 => load!(64),
        4 => load!(32),
        2 => load!(16),
        // SAFETY: as the caller vouches, and an array of bytes has no alignment.
        _ => unsafe { *(address as *const [u8; N]) },
    }
}

/// The linear part of a packet buffer.
struct Linear {
    ctx: *mut xdp_md,
    data: usize,
    data_end: usize,
}

impl Linear {
    #[inline(always)]
    fn new(ctx: *mut xdp_md) -> Self {
        // SAFETY: the kernel gave `ctx` to this program, and both are always there. Volatile, or the
        // compiler would take what was read before.
        let data = unsafe { (&raw const (*ctx).data).read_volatile() } as usize;
        // SAFETY: as above.
        let data_end = unsafe { (&raw const (*ctx).data_end).read_volatile() } as usize;
        Self { ctx, data, data_end }
    }

    #[inline(always)]
    fn anew(&self) -> Self {
        Self::new(self.ctx)
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
        // Additions that cannot overflow, so that the compiler sees which comparisons the ones before make
        // needless. Not of 1: it would compare the start instead, of which the verifier learns nothing.
        // SAFETY: pointers of the kernel are far from the end of the address space.
        let start = unsafe { self.data.unchecked_add(offset & 0x7fff) };
        // SAFETY: as above.
        let end = if N == 1 { start.wrapping_add(1) } else { unsafe { start.unchecked_add(N) } };
        if end > self.data_end {
            return None;
        }
        // SAFETY: data..data_end is the readable part of the packet, and `end` was compared with its end.
        Some(unsafe { load(start) })
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

/// Leaves a loop to the kernel, whose verifier then looks at one step for all.
#[inline(always)]
fn repeat<S: Step>(steps: &mut S, limit: u32) {
    let function: unsafe extern "C" fn(u64, *mut S) -> i64 = step::<S>;
    // SAFETY: the helper calls `step` with the pointer given, which lives until it returns.
    unsafe { bpf_loop(limit, function as *mut c_void, ptr::from_mut(steps).cast(), 0) };
}

/// A step as the helper calls it: 0 goes on, 1 ends the loop.
///
/// # Safety
///
/// `steps` must be what `repeat` was given.
unsafe extern "C" fn step<S: Step>(_: u64, steps: *mut S) -> i64 {
    // SAFETY: as the caller vouches; the loop has the only reference.
    let steps = unsafe { &mut *steps };
    i64::from(steps.step().is_break())
}

/// A frame that came in through an interface.
pub trait Received: Frame {
    /// The frame of the context that the kernel gave to this program.
    fn of(ctx: *mut xdp_md) -> Self;
}

/// A frame in one buffer.
pub struct WholeFrame(Linear);

impl Received for WholeFrame {
    #[inline(always)]
    fn of(ctx: *mut xdp_md) -> Self {
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
    fn anew(&self) -> Self {
        Self(self.0.anew())
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.0.forget_range(value)
    }

    #[inline(always)]
    fn repeat<S: Step>(steps: &mut S, limit: u32) {
        repeat(steps, limit);
    }
}

/// The first buffer of a frame that may have more: headers are read from it, the length is of all.
pub struct FirstBuffer {
    linear: Linear,
    wire_len: usize,
}

impl Received for FirstBuffer {
    #[inline(always)]
    fn of(ctx: *mut xdp_md) -> Self {
        // SAFETY: `ctx` is the context that the kernel gave to this program.
        let wire_len = unsafe { bpf_xdp_get_buff_len(ctx) } as usize;
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
    fn anew(&self) -> Self {
        Self { linear: self.linear.anew(), wire_len: self.linear.forget_range(self.wire_len) }
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.linear.forget_range(value)
    }

    #[inline(always)]
    fn repeat<S: Step>(steps: &mut S, limit: u32) {
        repeat(steps, limit);
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
            linear: Linear::new(ctx.ctx),
            captured: inspection.captured as usize,
            wire_len: inspection.wire_len as usize,
        }
    }
}

impl Frame for Inspected {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        // The kernel runs test frames of 14 bytes and more, so a shorter one comes padded. Forgotten, or the
        // verifier would tell states of the walk apart by what each comparison says about the length.
        if offset + N > self.linear.forget_range(self.captured) {
            return None;
        }
        self.linear.read(offset)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }

    #[inline(always)]
    fn anew(&self) -> Self {
        Self {
            linear: self.linear.anew(),
            captured: self.linear.forget_range(self.captured),
            wire_len: self.linear.forget_range(self.wire_len),
        }
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.linear.forget_range(value)
    }

    #[inline(always)]
    fn repeat<S: Step>(steps: &mut S, limit: u32) {
        repeat(steps, limit);
    }
}
