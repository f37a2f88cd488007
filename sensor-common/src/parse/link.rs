//! Link layers and VLAN tags: up to the ethertype that names what is inside.

use super::{Layer, Link, ipv4, ipv6, tunnel, walk::Walk};
use crate::{frame::Frame, reason::Ignored};

/// ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Ethertype of MPLS; it has a second one for multicast.
pub const MPLS: u16 = 0x8847;
/// Ethertype of MPLS for multicast, or with an upstream label.
const MPLS_MULTICAST: u16 = 0x8848;
/// Ethertype of a `PPPoE` session.
const PPPOE: u16 = 0x8864;
/// Ethertype of `MACsec`.
const MACSEC: u16 = 0x88e5;
/// Ethertype of the service tag of a provider backbone bridge.
const BACKBONE_TAG: u16 = 0x88e7;

/// Encapsulations that are not read.
const NETWORK_SERVICE: u16 = 0x894f; // RFC 8300
const TRILL: u16 = 0x22f3; // RFC 6325

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

/// What an ethertype names.
#[inline(always)]
pub fn payload<F: Frame>(walk: &mut Walk<'_, F>, ethertype: u16) -> Result<Layer, Ignored> {
    match ethertype {
        IPV4 => ipv4::header(walk),
        IPV6 => ipv6::header(walk),
        MPLS | MPLS_MULTICAST => tunnel::mpls(walk),
        PPPOE => pppoe(walk),
        MACSEC => macsec(walk),
        BACKBONE_TAG => backbone_tag(walk),
        NETWORK_SERVICE | TRILL => Err(Ignored::UnsupportedEncapsulation),
        ethertype if is_tag(ethertype) => tag(walk),
        ethertype if ethertype <= MAX_LENGTH => llc(walk),
        _ => Err(Ignored::NotIp),
    }
}

/// Whether nothing under this ethertype can be IP, which [`payload`] would find as well.
#[inline(always)]
pub const fn is_foreign(ethertype: u16) -> bool {
    let known = matches!(
        ethertype,
        IPV4 | IPV6 | MPLS | MPLS_MULTICAST | PPPOE | MACSEC | BACKBONE_TAG | NETWORK_SERVICE | TRILL
    );
    !known && !is_tag(ethertype) && ethertype > MAX_LENGTH
}

/// The name of what an ethertype names, of those that are known here.
pub const fn name(ethertype: u16) -> Option<&'static str> {
    Some(match ethertype {
        IPV4 => "IPv4",
        IPV6 => "IPv6",
        0x0806 => "ARP",
        0x88cc => "LLDP",
        MPLS | MPLS_MULTICAST => "MPLS label",
        PPPOE => "PPPoE session",
        MACSEC => "MACsec",
        BACKBONE_TAG => "802.1ah tag",
        NETWORK_SERVICE => "network service header",
        TRILL => "TRILL",
        CUSTOMER_TAG => "802.1Q tag",
        SERVICE_TAG => "802.1ad tag",
        OLD_SERVICE_TAG => "VLAN tag (0x9100)",
        ethertype if ethertype <= MAX_LENGTH => "802.2 LLC",
        _ => return None,
    })
}

/// A VLAN tag: two bytes of tag, then the ethertype of what is inside.
#[inline(always)]
fn tag<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
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

/// The largest length of an 802.3 frame; anything above is an ethertype.
const MAX_LENGTH: u16 = 0x05ff;

/// LLC (IEEE 802.2), which holds IP by itself or in a SNAP header.
#[inline(always)]
fn llc<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LLC_LEN: usize = 3;
    const SNAP_LEN: usize = 5;
    const SNAP: [u8; LLC_LEN] = [0xaa, 0xaa, 0x03];
    const IP: [u8; LLC_LEN] = [0x06, 0x06, 0x03];
    let access_points = walk.read()?;
    walk.advance(LLC_LEN)?;
    match access_points {
        IP => Ok(Layer::EtherType(IPV4)),
        SNAP => {
            let [organization @ .., high, low] = walk.read::<SNAP_LEN>()?;
            walk.advance(SNAP_LEN)?;
            // RFC 1042, and the bridge tunnel of IEEE 802.1H. Others number protocols of their own.
            match organization {
                [0, 0, 0 | 0xf8] => Ok(ethertype(high, low)),
                _ => Err(Ignored::NotIp),
            }
        }
        _ => Err(Ignored::NotIp),
    }
}

/// A `PPPoE` session (RFC 2516): six bytes, then the PPP protocol.
#[inline(always)]
fn pppoe<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LEN: usize = 8;
    const VERSION_AND_TYPE: u8 = 0x11;
    let [version_and_type, code, _, _, _, _, high, low] = walk.read::<LEN>()?;
    if version_and_type != VERSION_AND_TYPE || code != 0 {
        return Err(Ignored::Malformed);
    }
    walk.advance(LEN)?;
    match u16::from_be_bytes([high, low]) {
        0x0021 => Ok(Layer::EtherType(IPV4)),
        0x0057 => Ok(Layer::EtherType(IPV6)),
        0x0281 => Ok(Layer::EtherType(MPLS)),
        _ => Err(Ignored::NotIp),
    }
}

/// `MACsec` (IEEE 802.1AE), readable where it only signs.
#[inline(always)]
fn macsec<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    const LEN: usize = 6;
    const CHANNEL_LEN: usize = 8;
    const ENCRYPTED_OR_CHANGED: u8 = 0x0c;
    const HAS_CHANNEL: u8 = 0x20;
    let [control, ..] = walk.read::<LEN>()?;
    if control & ENCRYPTED_OR_CHANGED != 0 {
        return Err(Ignored::UnsupportedEncapsulation);
    }
    walk.advance(LEN + usize::from(control & HAS_CHANNEL) / usize::from(HAS_CHANNEL) * CHANNEL_LEN)?;
    let [high, low] = walk.read()?;
    walk.advance(2)?;
    Ok(ethertype(high, low))
}

/// The service tag of a provider backbone bridge (IEEE 802.1ah): four bytes, then an Ethernet frame.
#[inline(always)]
fn backbone_tag<F: Frame>(walk: &mut Walk<'_, F>) -> Result<Layer, Ignored> {
    walk.advance(TAG_LEN)?;
    Ok(Layer::Link(Link::Ethernet))
}
