//! The IPv6 header (RFC 8200) and its extension headers.

use super::{Layer, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// Bytes of the fixed header.
pub const LEN: usize = 40;

/// Protocol number of the fragment header.
pub const FRAGMENT: u8 = 44;
/// Protocol number of the authentication header, which IPv4 carries too.
pub const AUTHENTICATION: u8 = 51;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

const FRAGMENT_LEN: usize = 8;

/// Whether this is an extension header in the common form: next header, length in units of 8 bytes
/// beyond the first 8. ESP (50) is not: what is behind it is encrypted.
#[inline(always)]
pub const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6)
}

/// Reads the fixed header and enters the datagram.
#[inline(always)]
pub fn header<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [version, _, _, _, len_high, len_low, next] = walk.read::<7>()?;
    if version >> 4 != 6 {
        return Err(Ignored::Malformed);
    }
    let length = match u16::from_be_bytes([len_high, len_low]) {
        // A jumbogram (RFC 2675) or a length that the network card was to fill in. Padding of an empty
        // packet cannot be taken for data: at most 6 bytes of it follow, no transport is that short.
        0 => walk.remaining().max(LEN),
        payload => LEN + usize::from(payload),
    };
    walk.enter_ip(true, length)?;
    walk.advance(LEN)?;
    Ok(Layer::Protocol(next))
}

/// An extension header in the common form.
#[inline(always)]
pub fn extension<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [next, length] = walk.read()?;
    walk.advance((usize::from(length) + 1) * 8)?;
    Ok(Layer::Protocol(next))
}

/// The authentication header, whose length counts units of 4 bytes beyond the first 8 (RFC 4302).
#[inline(always)]
pub fn authentication<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [next, length] = walk.read()?;
    // The fixed part alone is 12 bytes.
    if length == 0 {
        return Err(Ignored::Malformed);
    }
    walk.advance((usize::from(length) + 2) * 4)?;
    Ok(Layer::Protocol(next))
}

/// The fragment header. One with neither an offset nor more to come is a whole datagram (RFC 6946).
#[inline(always)]
pub fn fragment<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const MORE_FRAGMENTS: u16 = 1;
    const RESERVED: u16 = 0b110;
    let [next, _, high, low, a, b, c, d] = walk.read::<FRAGMENT_LEN>()?;
    walk.advance(FRAGMENT_LEN)?;
    let (field, id) = (u16::from_be_bytes([high, low]), u32::from_be_bytes([a, b, c, d]));
    if field & !(MORE_FRAGMENTS | RESERVED) != 0 {
        walk.set_fragment(false, id);
        return Ok(Layer::LaterFragment(next));
    }
    if field & MORE_FRAGMENTS != 0 {
        walk.set_fragment(true, id);
    }
    Ok(Layer::Protocol(next))
}
