//! Access to the bytes of one frame, so that XDP and user space run the same parser.

/// The bytes of one frame as far as they were captured, and its length on the wire.
pub trait Frame {
    /// The `N` bytes at `offset`, or `None` where the capture ends before them.
    ///
    /// The XDP instance bounds `offset` to 16 bits for the verifier; no header starts beyond.
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// Length of the frame on the wire in bytes, which a snap length does not shorten.
    fn wire_len(&self) -> usize;
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
}
