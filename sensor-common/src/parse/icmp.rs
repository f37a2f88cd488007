//! ICMP errors: evidence about the flow that they quote (RFC 792, RFC 4443).

use super::{Layer, link, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// Protocol number of ICMP.
pub const V4: u8 = 1;
/// Protocol number of `ICMPv6`.
pub const V6: u8 = 58;

const HEADER_LEN: usize = 8;

/// An ICMP message: goes on to the packet that it quotes, if it says that this one was not delivered.
#[inline(always)]
pub fn v4<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const UNREACHABLE: u8 = 3;
    const TOO_BIG: u8 = 4;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;
    let [kind, code] = walk.read()?;
    // "Fragmentation needed" comes as a code of "unreachable", and is not a refusal.
    let is_refusal = kind == UNREACHABLE && code != TOO_BIG;
    if !is_refusal && !matches!(kind, TIME_EXCEEDED | PARAMETER_PROBLEM) {
        return Err(Ignored::NotL4);
    }
    quote(walk, link::IPV4)
}

/// An `ICMPv6` message, likewise.
#[inline(always)]
pub fn v6<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const UNREACHABLE: u8 = 1;
    const TIME_EXCEEDED: u8 = 3;
    const PARAMETER_PROBLEM: u8 = 4;
    let [kind] = walk.read()?;
    if !matches!(kind, UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM) {
        return Err(Ignored::NotL4);
    }
    quote(walk, link::IPV6)
}

#[inline(always)]
fn quote<F: Frame>(walk: &mut Walk<'_, F>, ethertype: u16) -> Result<Layer, Ignored> {
    if walk.is_quote() {
        return Err(Ignored::NotL4);
    }
    walk.advance(HEADER_LEN)?;
    walk.enter_quote();
    Ok(Layer::EtherType(ethertype))
}
