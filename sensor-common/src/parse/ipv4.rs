//! The IPv4 header (RFC 791): lengths and fragments decided, options skipped.

use super::{Layer, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// Bytes of a header without options.
pub const MIN_LEN: usize = 20;

/// Bits of the fragment field: where in the datagram this piece belongs.
pub const FRAGMENT_OFFSET: u16 = 0x1fff;
/// Bit of the fragment field: more pieces follow.
pub const MORE_FRAGMENTS: u16 = 0x2000;

/// Payload that Ethernet pads to. A length field of 0 means that the sender's network card was to fill
/// it in (segmentation offload, frames above 64 KiB); such frames are never as small as this.
const MAX_PADDED: usize = 46;

/// Reads the header and enters the datagram.
#[inline(always)]
pub fn header<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let header = walk.read::<MIN_LEN>()?;
    let [version_and_length, _, len_high, len_low, id_high, id_low, ..] = header;
    let [.., fragment_high, fragment_low, _, protocol, _, _, _, _, _, _, _, _, _, _] = header;
    let header_len = usize::from(version_and_length & 0x0f) * 4;
    if version_and_length >> 4 != 4 || header_len < MIN_LEN {
        return Err(Ignored::Malformed);
    }
    let length = datagram_len(walk, u16::from_be_bytes([len_high, len_low]));
    if length < header_len {
        return Err(Ignored::Malformed);
    }
    walk.enter_ip(false, length)?;
    walk.advance(header_len)?;
    let fragment = u16::from_be_bytes([fragment_high, fragment_low]);
    let id = u32::from(u16::from_be_bytes([id_high, id_low]));
    if fragment & FRAGMENT_OFFSET != 0 {
        walk.set_fragment(false, id);
        return Ok(Layer::LaterFragment(protocol));
    }
    if fragment & MORE_FRAGMENTS != 0 {
        walk.set_fragment(true, id);
    }
    Ok(Layer::Protocol(protocol))
}

#[inline(always)]
fn datagram_len<F: Frame>(walk: &Walk<'_, F>, total_length: u16) -> usize {
    if total_length == 0 && walk.remaining() > MAX_PADDED {
        walk.remaining()
    } else {
        usize::from(total_length)
    }
}
