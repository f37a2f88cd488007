//! Where a walk through the headers stands: the offset, the end, and the IP header last seen.

use super::found::{Found, Piece};
use crate::{frame::Frame, packet::Marks, reason::Ignored};

/// Headers are read as far as here, so that offsets stay within the 15 bits of [`Frame::read`].
const READ_LIMIT: usize = 0x7f00;
const OFFSET_BITS: usize = 0x7fff;
const LENGTH_BITS: usize = 0xffff_ffff;

/// The datagram last entered is IPv6.
const IPV6: usize = 1;
/// It is the first fragment.
const FIRST_FRAGMENT: usize = 1 << 1;
/// The data may end before the headers say: a first fragment, a quote, a mirror that cuts.
const CUT: usize = 1 << 2;
/// This is what an ICMP error quotes.
const QUOTE: usize = 1 << 3;
const FACTS_BITS: usize = 0x0f;

/// The state of a walk. It keeps where things are, not what they are: addresses are read at the end.
///
/// All of it passes through [`Frame::forget_range`]: the verifier follows each different state of the
/// walk through all that may come, so there must be one.
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
    /// The number that the fragments of that datagram share.
    id: usize,
    facts: usize,
}

impl<'f, F: Frame> Walk<'f, F> {
    #[inline(always)]
    pub fn new(frame: &'f F) -> Self {
        let mut walk = Self { frame, offset: 0, end: 0, readable: 0, ip: 0, id: 0, facts: 0 };
        walk.set_offset(0);
        walk.set_end(frame.wire_len());
        walk.set_ip(0);
        walk.set_id(0);
        walk.set_facts(0);
        walk
    }

    /// `value` unchanged, of which the verifier knows no more than its 32 bits.
    #[inline(always)]
    pub fn forget(&self, value: usize) -> usize {
        self.frame.forget_range(value)
    }

    #[inline(always)]
    fn set_facts(&mut self, facts: usize) {
        self.facts = self.frame.forget_range(facts) & FACTS_BITS;
    }

    #[inline(always)]
    fn set_offset(&mut self, offset: usize) {
        self.offset = self.frame.forget_range(offset) & OFFSET_BITS;
    }

    #[inline(always)]
    fn set_ip(&mut self, ip: usize) {
        self.ip = self.frame.forget_range(ip) & OFFSET_BITS;
    }

    #[inline(always)]
    fn set_id(&mut self, id: u32) {
        self.id = self.frame.forget_range(id as usize) & LENGTH_BITS;
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

    /// Start of the next header in the frame.
    #[inline(always)]
    pub const fn offset(&self) -> usize {
        self.offset
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
        if end <= self.end {
            self.set_end(end);
        } else if !self.is_cut() {
            return Err(Ignored::Truncated);
        }
        self.set_ip(self.offset);
        let family = if is_ipv6 { IPV6 } else { 0 };
        self.set_facts(self.facts & !(IPV6 | FIRST_FRAGMENT) | family);
        Ok(())
    }

    #[inline(always)]
    pub const fn is_ipv6(&self) -> bool {
        self.facts & IPV6 != 0
    }

    /// Notes that the datagram is fragmented under the number `id`, and whether this is its first piece.
    #[inline(always)]
    pub fn set_fragment(&mut self, is_first: bool, id: u32) {
        self.set_id(id);
        if is_first {
            self.set_facts(self.facts | FIRST_FRAGMENT | CUT);
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "made from 32 bits")]
    const fn id(&self) -> u32 {
        self.id as u32
    }

    /// Notes that the data may end before the headers say.
    #[inline(always)]
    pub fn set_cut(&mut self) {
        self.set_facts(self.facts | CUT);
    }

    /// Whether the data may end before the headers say.
    #[inline(always)]
    pub const fn is_cut(&self) -> bool {
        self.facts & CUT != 0
    }

    /// Notes that what comes is the beginning of a packet that an ICMP error quotes.
    #[inline(always)]
    pub fn enter_quote(&mut self) {
        self.set_facts(self.facts | QUOTE | CUT);
    }

    #[inline(always)]
    pub const fn is_quote(&self) -> bool {
        self.facts & QUOTE != 0
    }

    /// Reads the segment of the datagram last entered, whose header comes next.
    #[inline(always)]
    pub fn segment(&self, protocol: u8, marks: Marks, found: &mut Found) -> Result<(), Ignored> {
        let [src_high, src_low, dst_high, dst_low] = self.read()?;
        let ports = [u16::from_be_bytes([src_high, src_low]), u16::from_be_bytes([dst_high, dst_low])];
        *found = Found::segment(self.addresses()?, self.is_ipv6(), ports, protocol, marks);
        if self.is_quote() {
            found.set_quoted();
        } else if self.facts & FIRST_FRAGMENT != 0 {
            found.set_piece(Piece::First, self.id());
        }
        Ok(())
    }

    /// Reads the later fragment that the IP header last seen belongs to.
    #[inline(always)]
    pub fn later_fragment(&self, protocol: u8, found: &mut Found) -> Result<(), Ignored> {
        *found = Found::fragment(self.addresses()?, self.is_ipv6(), protocol);
        found.set_piece(Piece::Later, self.id());
        Ok(())
    }

    /// Both addresses of the IP header last seen.
    #[inline(always)]
    fn addresses(&self) -> Result<[u64; 4], Ignored> {
        if self.is_ipv6() {
            Ok([
                self.address_word(8)?,
                self.address_word(16)?,
                self.address_word(24)?,
                self.address_word(32)?,
            ])
        } else {
            Ok([self.address_word(12)?, 0, 0, 0])
        }
    }

    /// Eight bytes of addresses at `at` in the IP header last seen.
    #[inline(always)]
    fn address_word(&self, at: usize) -> Result<u64, Ignored> {
        self.frame.read(self.ip + at).map(u64::from_ne_bytes).ok_or(Ignored::Truncated)
    }
}
