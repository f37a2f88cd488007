//! Link layers and VLAN tags: up to the ethertype that names what is inside.

use super::{Layer, Link, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

const CUSTOMER_TAG: u16 = 0x8100; // IEEE 802.1Q
const SERVICE_TAG: u16 = 0x88a8; // IEEE 802.1ad
const OLD_SERVICE_TAG: u16 = 0x9100; // stacked tags before 802.1ad, still sold

/// Bytes of an Ethernet header.
pub const ETHERNET_LEN: usize = 14;
/// Bytes of a VLAN tag.
pub const TAG_LEN: usize = 4;
const SLL_LEN: usize = 16;
const SLL2_LEN: usize = 20;

/// `ARPHRD_NETLINK`: the protocol field is a netlink family, not an ethertype.
const NETLINK: u16 = 824;

/// Whether this ethertype announces a VLAN tag.
#[inline(always)]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, CUSTOMER_TAG | SERVICE_TAG | OLD_SERVICE_TAG)
}

/// The header that a frame starts with.
#[inline(always)]
pub fn header<F: Frame>(walk: &mut Walk<'_, F>, link: Link) -> Result<Layer, Ignored> {
    match link {
        Link::Ethernet => ethernet(walk),
        Link::LinuxSll => cooked(walk),
        Link::LinuxSll2 => cooked2(walk),
        Link::RawIp => by_version(walk),
    }
}

#[inline(always)]
fn ethernet<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [.., high, low] = walk.read::<ETHERNET_LEN>()?;
    walk.advance(ETHERNET_LEN)?;
    Ok(ethertype(high, low))
}

/// A VLAN tag: two bytes of tag, then the ethertype of what is inside.
#[inline(always)]
pub fn tag<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [_, _, high, low] = walk.read::<TAG_LEN>()?;
    walk.advance(TAG_LEN)?;
    Ok(ethertype(high, low))
}

/// Linux cooked header: packet type, device type, address length, address, protocol.
#[inline(always)]
fn cooked<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [_, _, device_high, device_low, .., high, low] = walk.read::<SLL_LEN>()?;
    walk.advance(SLL_LEN)?;
    cooked_payload(u16::from_be_bytes([device_high, device_low]), ethertype(high, low))
}

/// Linux cooked header v2: protocol, reserved, interface, device type, and the address.
#[inline(always)]
fn cooked2<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [high, low, _, _, _, _, _, _, device_high, device_low, ..] = walk.read::<SLL2_LEN>()?;
    walk.advance(SLL2_LEN)?;
    cooked_payload(u16::from_be_bytes([device_high, device_low]), ethertype(high, low))
}

#[inline(always)]
const fn cooked_payload(device_type: u16, payload: Layer) -> Result<Layer, Ignored> {
    match device_type {
        NETLINK => Err(Ignored::NotIp),
        _ => Ok(payload),
    }
}

#[inline(always)]
const fn ethertype(high: u8, low: u8) -> Layer {
    Layer::EtherType(u16::from_be_bytes([high, low]))
}

/// An IP header without anything before it: its version says which.
#[inline(always)]
fn by_version<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    let [first] = walk.read()?;
    match first >> 4 {
        4 => Ok(Layer::EtherType(IPV4)),
        6 => Ok(Layer::EtherType(IPV6)),
        _ => Err(Ignored::NotIp),
    }
}
