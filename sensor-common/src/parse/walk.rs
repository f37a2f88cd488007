//! Where a walk through the headers stands: the offset, the end, and the IP header last seen.

use super::found::Found;
use crate::{frame::Frame, packet::Marks, reason::Ignored};

/// Headers are read as far as here, so that offsets stay within the 15 bits of [`Frame::read`].
const READ_LIMIT: usize = 0x7f00;
const OFFSET_BITS: usize = 0x7fff;
const LENGTH_BITS: usize = 0xffff_ffff;

/// The state of a walk. It keeps where things are, not what they are: addresses are read at the end.
pub struct Walk<'f, F> {
    frame: &'f F,
    /// Start of the next header.
    offset: usize,
    /// End of the data that the next header belongs to, on the wire.
    end: usize,
    /// The same, at most [`READ_LIMIT`].
    readable: usize,
    /// Start of the IP header last seen.
    ip: usize,
    is_ipv6: bool,
    /// Whether the datagram goes on in later fragments.
    is_first_fragment: bool,
}

impl<'f, F: Frame> Walk<'f, F> {
    #[inline(always)]
    pub fn new(frame: &'f F) -> Self {
        let mut walk =
            Self { frame, offset: 0, end: 0, readable: 0, ip: 0, is_ipv6: false, is_first_fragment: false };
        walk.set_offset(0);
        walk.set_end(frame.wire_len());
        walk
    }

    #[inline(always)]
    fn set_offset(&mut self, offset: usize) {
        self.offset = self.frame.forget_range(offset) & OFFSET_BITS;
    }

    #[inline(always)]
    fn set_end(&mut self, end: usize) {
        self.end = self.frame.forget_range(end) & LENGTH_BITS;
        self.readable = self.frame.forget_range(end.min(READ_LIMIT)) & LENGTH_BITS;
    }

    /// The first `N` bytes of the next header, all of which it must have.
    #[inline(always)]
    pub fn read<const N: usize>(&self) -> Result<[u8; N], Ignored> {
        if self.offset + N > self.readable {
            return Err(Ignored::Truncated);
        }
        self.frame.read(self.offset).ok_or(Ignored::Truncated)
    }

    /// Whether the data that the next header belongs to ends before `length` bytes of it.
    #[inline(always)]
    pub const fn lacks(&self, length: usize) -> bool {
        self.offset + length > self.end
    }

    /// Bytes from the start of the next header to the end of the data that it belongs to.
    #[inline(always)]
    pub const fn remaining(&self) -> usize {
        self.end - self.offset
    }

    /// Goes past a header of `length` bytes.
    #[inline(always)]
    pub fn advance(&mut self, length: usize) -> Result<(), Ignored> {
        let offset = self.offset + length;
        if offset > self.readable {
            return Err(Ignored::Truncated);
        }
        self.set_offset(offset);
        Ok(())
    }

    /// Enters an IP datagram that starts here and says it is `length` bytes long.
    #[inline(always)]
    pub fn enter_ip(&mut self, is_ipv6: bool, length: usize) -> Result<(), Ignored> {
        let end = self.offset + length;
        if end > self.end {
            return Err(Ignored::Truncated);
        }
        self.set_end(end);
        self.ip = self.offset;
        self.is_ipv6 = is_ipv6;
        self.is_first_fragment = false;
        Ok(())
    }

    #[inline(always)]
    pub const fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    #[inline(always)]
    pub const fn set_first_fragment(&mut self) {
        self.is_first_fragment = true;
    }

    #[inline(always)]
    pub const fn is_first_fragment(&self) -> bool {
        self.is_first_fragment
    }

    /// The segment of the datagram last entered.
    #[inline(always)]
    pub fn segment(&self, protocol: u8, marks: Marks) -> Result<Found, Ignored> {
        let [src_high, src_low, dst_high, dst_low] = self.read()?;
        let ports = [u16::from_be_bytes([src_high, src_low]), u16::from_be_bytes([dst_high, dst_low])];
        let addresses = if self.is_ipv6 {
            [self.address_word(8)?, self.address_word(16)?, self.address_word(24)?, self.address_word(32)?]
        } else {
            [self.address_word(12)?, 0, 0, 0]
        };
        Ok(Found::segment(addresses, self.is_ipv6, ports, protocol, marks))
    }

    /// Eight bytes of addresses at `at` in the IP header last seen.
    #[inline(always)]
    fn address_word(&self, at: usize) -> Result<u64, Ignored> {
        self.frame.read(self.ip + at).map(u64::from_ne_bytes).ok_or(Ignored::Truncated)
    }
}
