//! Tunnels: what is inside counts, not the conversation between the ends of the tunnel.

use super::{Decapsulate, Layer, Link, link, transport::UDP_LEN, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// Protocol number of IPv4 inside IP (RFC 2003, RFC 2473).
pub const IPV4: u8 = 4;
/// Protocol number of IPv6 inside IP (RFC 4213, RFC 2473).
pub const IPV6: u8 = 41;
/// Protocol number of GRE.
pub const GRE: u8 = 47;
/// Protocol number of an Ethernet frame in IP (RFC 3378), which is not read.
pub const ETHER_IP: u8 = 97;
/// Protocol number of `L2TPv3` (RFC 3931), which is not read: only the ends know the size of its cookie.
pub const L2TP: u8 = 115;
/// Protocol number of MPLS in IP (RFC 4023).
pub const MPLS: u8 = 137;

const GENEVE_PORT: u16 = 6081;
const GTP_PORT: u16 = 2152;

const TRANSPARENT_ETHERNET: u16 = 0x6558;
const ERSPAN_1_OR_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;

/// Whether a datagram to this UDP port may carry a tunnel that is to be opened.
#[inline(always)]
pub const fn is_port(port: u16, decapsulate: Decapsulate) -> bool {
    decapsulate.is_vxlan_port(port)
        || port == GENEVE_PORT && decapsulate.opens(Decapsulate::GENEVE)
        || port == GTP_PORT && decapsulate.opens(Decapsulate::GTP)
}

/// IP in IP.
#[inline(always)]
pub const fn ip(ethertype: u16, decapsulate: Decapsulate) -> Result<Layer, Ignored> {
    if decapsulate.opens(Decapsulate::IP) {
        Ok(Layer::EtherType(ethertype))
    } else {
        Err(Ignored::UnsupportedEncapsulation)
    }
}

/// GRE (RFC 2784) with key and sequence number (RFC 2890), NVGRE (RFC 7637), and ERSPAN in it.
#[inline(always)]
pub fn gre<F: Frame>(walk: &mut Walk<'_, F>, decapsulate: Decapsulate) -> Result<Layer, Ignored> {
    const ROUTING: u8 = 0x40;
    const SEQUENCE: u8 = 0x10;
    const VERSION: u8 = 0x07;
    let [flags, version, high, low] = walk.read()?;
    if version & VERSION != 0 || flags & ROUTING != 0 {
        return Err(Ignored::UnsupportedEncapsulation);
    }
    // Checksum (bit 7), key (5) and sequence number (4) are a word each. Added up without branches: eight
    // ways through here would be eight ways on.
    let options = (flags >> 7 & 1) + (flags >> 5 & 1) + (flags >> 4 & 1);
    walk.advance(4 + usize::from(options) * 4)?;
    let protocol = u16::from_be_bytes([high, low]);
    let is_mirror = matches!(protocol, ERSPAN_1_OR_2 | ERSPAN_3);
    if !decapsulate.opens(if is_mirror { Decapsulate::ERSPAN } else { Decapsulate::GRE }) {
        return Err(Ignored::UnsupportedEncapsulation);
    }
    match protocol {
        TRANSPARENT_ETHERNET => Ok(Layer::Link(Link::Ethernet)),
        // Only type II is numbered; type I has no header of its own.
        ERSPAN_1_OR_2 if flags & SEQUENCE == 0 => Ok(Layer::Link(Link::Ethernet)),
        ERSPAN_1_OR_2 => erspan_2(walk),
        ERSPAN_3 => erspan_3(walk),
        ethertype => Ok(Layer::EtherType(ethertype)),
    }
}

/// Bit of the third byte of an ERSPAN header: the switch cut the frame.
const ERSPAN_CUT: u8 = 0x04;

#[inline(always)]
fn erspan_2<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LEN: usize = 8;
    let [_, _, bits, ..] = walk.read::<LEN>()?;
    walk.advance(LEN)?;
    if bits & ERSPAN_CUT != 0 {
        walk.set_cut();
    }
    Ok(Layer::Link(Link::Ethernet))
}

#[inline(always)]
fn erspan_3<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LEN: usize = 12;
    const PLATFORM_HEADER_LEN: usize = 8;
    const PLATFORM_HEADER: u8 = 0x01;
    const FRAME_TYPE: u8 = 0x7c;
    const ETHERNET: u8 = 0;
    const IP: u8 = 2 << 2;
    let [_, _, bits, _, _, _, _, _, _, _, frame_type, last] = walk.read::<LEN>()?;
    walk.advance(LEN + usize::from(last & PLATFORM_HEADER) * PLATFORM_HEADER_LEN)?;
    if bits & ERSPAN_CUT != 0 {
        walk.set_cut();
    }
    match frame_type & FRAME_TYPE {
        ETHERNET => Ok(Layer::Link(Link::Ethernet)),
        IP => Ok(Layer::Link(Link::RawIp)),
        _ => Err(Ignored::UnsupportedEncapsulation),
    }
}

/// What a UDP datagram to a tunnel's port carries; `None` where it is none of that tunnel's packets, so
/// that the datagram itself counts.
#[inline(always)]
pub fn udp<F: Frame>(walk: &mut Walk<'_, F>, decapsulate: Decapsulate) -> Result<Option<Layer>, Ignored> {
    let [_, _, high, low] = walk.read()?;
    let port = u16::from_be_bytes([high, low]);
    if !is_port(port, decapsulate) {
        return Ok(None);
    }
    // All three have a fixed part of eight bytes; a datagram without is none of theirs.
    if walk.lacks(UDP_LEN + 8) {
        return Ok(None);
    }
    let [_, _, _, _, _, _, _, _, first, second, third, fourth, ..] = walk.read::<{ UDP_LEN + 8 }>()?;
    match port {
        GENEVE_PORT if decapsulate.opens(Decapsulate::GENEVE) => {
            geneve(walk, first, u16::from_be_bytes([third, fourth]))
        }
        GTP_PORT if decapsulate.opens(Decapsulate::GTP) => gtp(walk, first, second),
        _ => vxlan(walk, first),
    }
}

/// VXLAN (RFC 7348): eight bytes, of which one bit is always set.
#[inline(always)]
fn vxlan<F: Frame>(walk: &mut Walk<'_, F>, flags: u8) -> Result<Option<Layer>, Ignored> {
    const HAS_NETWORK: u8 = 0x08;
    if flags & HAS_NETWORK == 0 {
        return Ok(None);
    }
    walk.advance(UDP_LEN + 8)?;
    Ok(Some(Layer::Link(Link::Ethernet)))
}

/// GENEVE (RFC 8926): eight bytes, options in units of four, and the protocol as an ethertype.
#[inline(always)]
fn geneve<F: Frame>(
    walk: &mut Walk<'_, F>,
    version_and_options: u8,
    protocol: u16,
) -> Result<Option<Layer>, Ignored> {
    if version_and_options >> 6 != 0 {
        return Ok(None);
    }
    walk.advance(UDP_LEN + 8 + usize::from(version_and_options & 0x3f) * 4)?;
    Ok(Some(match protocol {
        TRANSPARENT_ETHERNET => Layer::Link(Link::Ethernet),
        ethertype => Layer::EtherType(ethertype),
    }))
}

/// GTP-U version 1 (3GPP TS 29.281): eight bytes, four more if any option is used.
#[inline(always)]
fn gtp<F: Frame>(walk: &mut Walk<'_, F>, flags: u8, message: u8) -> Result<Option<Layer>, Ignored> {
    const VERSION_AND_TYPE: u8 = 0xf0;
    const VERSION_1_GTP: u8 = 0x30;
    const USER_DATA: u8 = 0xff;
    const OPTIONS: u8 = 0x07;
    const EXTENSION: u8 = 0x04;
    if flags & VERSION_AND_TYPE != VERSION_1_GTP || message != USER_DATA {
        return Ok(None);
    }
    walk.advance(UDP_LEN + 8)?;
    if flags & OPTIONS == 0 {
        return Ok(Some(Layer::Link(Link::RawIp)));
    }
    let [_, _, _, next] = walk.read()?;
    walk.advance(4)?;
    Ok(Some(gtp_next(if flags & EXTENSION == 0 { 0 } else { next })))
}

#[inline(always)]
const fn gtp_next(next: u8) -> Layer {
    if next == 0 { Layer::Link(Link::RawIp) } else { Layer::GtpExtension }
}

/// An extension of GTP-U: length in units of four bytes first, type of the next one last.
#[inline(always)]
pub fn gtp_extension<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [length] = walk.read()?;
    if length == 0 {
        return Err(Ignored::Malformed);
    }
    walk.advance(usize::from(length) * 4 - 1)?;
    let [next] = walk.read()?;
    walk.advance(1)?;
    Ok(gtp_next(next))
}

/// MPLS labels (RFC 3032): the last one is marked, and what follows shows by its first half byte
/// (RFC 4385, RFC 4928).
#[inline(always)]
pub fn mpls<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LABEL_LEN: usize = 4;
    const CONTROL_WORD_LEN: usize = 4;
    const LAST: u8 = 0x01;
    let [_, _, bits, _] = walk.read::<LABEL_LEN>()?;
    walk.advance(LABEL_LEN)?;
    if bits & LAST == 0 {
        return Ok(Layer::EtherType(link::MPLS));
    }
    let [first] = walk.read()?;
    match first >> 4 {
        4 => Ok(Layer::EtherType(link::IPV4)),
        6 => Ok(Layer::EtherType(link::IPV6)),
        0 => {
            walk.advance(CONTROL_WORD_LEN)?;
            Ok(Layer::Link(Link::Ethernet))
        }
        // The channel that supervises a pseudowire.
        1 => Err(Ignored::NotIp),
        _ => Ok(Layer::Link(Link::Ethernet)),
    }
}
