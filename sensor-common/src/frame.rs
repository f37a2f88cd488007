//! Access to the bytes of one frame, so that XDP and user space run the same parser.

use core::ops::ControlFlow;

/// The bytes of one frame as far as they were captured, and its length on the wire.
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` where the capture ends before them.
    ///
    /// An implementation may cut `offset` to its low 15 bits: the parser reads nothing beyond.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Length of the frame on the wire in bytes, which a snap length does not shorten.
    fn wire_len(&self) -> usize;

    /// The same frame, looked at anew: what the kernel's verifier has learnt about the pointers of this
    /// one would make it verify the same code once for each way there.
    #[must_use]
    fn anew(&self) -> Self
    where
        Self: Sized;

    /// `value`, which is below 2^32, unchanged.
    ///
    /// The parser passes offsets and ends through here, so that the kernel's instance can hide from the
    /// compiler and from the verifier what they were made of. If the verifier knows only how many bits
    /// they have, every way to a header looks the same to it; otherwise it follows each sum of header
    /// lengths by itself, and they are millions.
    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        value
    }

    /// Takes up to `limit` steps, until one of them breaks.
    ///
    /// The kernel's instance leaves the loop to the kernel, whose verifier then looks at one step instead
    /// of at every step after every other.
    #[inline(always)]
    fn repeat<S: Step>(steps: &mut S, limit: u32) {
        for _ in 0..limit {
            if steps.step().is_break() {
                return;
            }
        }
    }
}

/// One turn of a loop, for [`Frame::repeat`].
pub trait Step {
    /// Takes the step; breaks if it was the last one.
    fn step(&mut self) -> ControlFlow<()>;
}

/// A captured frame in memory: its bytes and the length it had on the wire.
#[derive(Clone, Copy, Debug)]
pub struct CapturedFrame<'a> {
    /// The bytes that were kept.
    pub bytes: &'a [u8],
    /// Length on the wire in bytes; at least `bytes.len()` in a sane capture.
    pub wire_len: usize,
}

impl<'a> CapturedFrame<'a> {
    /// A frame of which every byte was kept.
    #[must_use]
    pub const fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, wire_len: bytes.len() }
    }
}

impl Frame for CapturedFrame<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let bytes = self.bytes.get(offset..)?.first_chunk::<N>()?;
        Some(*bytes)
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }

    #[inline(always)]
    fn anew(&self) -> Self {
        *self
    }
}
