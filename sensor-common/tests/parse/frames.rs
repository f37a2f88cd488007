//! Frames for tests: each function puts one header before a payload, innermost first.

use sensor_common::{
    packet::{Addresses, FlowKey, SCTP, TCP, UDP, UDP_LITE},
    parse::Link,
};

pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;

pub const SRC4: [u8; 4] = [10, 0, 0, 5];
pub const DST4: [u8; 4] = [203, 0, 113, 9];
pub const SRC6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
pub const DST6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
pub const SRC_PORT: u16 = 51413;
pub const DST_PORT: u16 = 6881;

pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

pub fn with(header: &[u8], payload: &[u8]) -> Vec<u8> {
    [header, payload].concat()
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2];
    frame.extend(ethertype.to_be_bytes());
    with(&frame, payload)
}

/// The inside of a VLAN tag: number and ethertype.
pub fn tag(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ethertype.to_be_bytes();
    with(&[0x20, 42, high, low], payload)
}

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(protocol, &[], 0, payload)
}

/// `fragment` is the flags and the offset as in the header; `options` are a multiple of four bytes.
pub fn ipv4_with(protocol: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let [len_high, len_low] = u16::try_from(header_len + payload.len()).unwrap().to_be_bytes();
    let [fragment_high, fragment_low] = fragment.to_be_bytes();
    let version = 0x40 | u8::try_from(header_len / 4).unwrap();
    let mut header =
        vec![version, 0, len_high, len_low, 0x12, 0x34, fragment_high, fragment_low, 64, protocol, 0, 0];
    header.extend(SRC4);
    header.extend(DST4);
    header.extend(options);
    with(&header, payload)
}

pub fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [len_high, len_low] = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, len_high, len_low, protocol, 64];
    header.extend(SRC6);
    header.extend(DST6);
    with(&header, payload)
}

/// An IPv6 extension header of `8 * (1 + more)` bytes.
pub fn extension(next: u8, more: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 * (1 + usize::from(more))];
    header[0] = next;
    header[1] = more;
    with(&header, payload)
}

/// The IPv6 fragment header; `field` is offset and flag as in the header.
pub fn fragment(next: u8, field: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = field.to_be_bytes();
    with(&[next, 0, high, low, 0xde, 0xad, 0xbe, 0xef], payload)
}

/// The authentication header with `words` words of signature.
pub fn authentication(next: u8, words: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 12 + 4 * usize::from(words)];
    header[0] = next;
    header[1] = 1 + words;
    with(&header, payload)
}

pub fn ports(src: u16, dst: u16) -> Vec<u8> {
    [src.to_be_bytes(), dst.to_be_bytes()].concat()
}

pub fn tcp(flags: u8) -> Vec<u8> {
    with(&ports(SRC_PORT, DST_PORT), &[0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0])
}

pub fn udp(payload: &[u8]) -> Vec<u8> {
    udp_to(DST_PORT, payload)
}

pub fn udp_to(port: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    with(&with(&ports(SRC_PORT, port), &[high, low, 0, 0]), payload)
}

pub fn sctp() -> Vec<u8> {
    with(&ports(SRC_PORT, DST_PORT), &[0; 8])
}

/// A transport segment of this protocol.
pub fn segment(protocol: u8) -> Vec<u8> {
    match protocol {
        TCP => tcp(SYN),
        UDP | UDP_LITE => udp(b"payload"),
        SCTP => sctp(),
        _ => vec![0; 32],
    }
}

pub fn key4(protocol: u8) -> FlowKey {
    let addresses = Addresses::V4 { src: SRC4, dst: DST4 };
    FlowKey { addresses, src_port: SRC_PORT, dst_port: DST_PORT, protocol }
}

pub fn key6(protocol: u8) -> FlowKey {
    let addresses = Addresses::V6 { src: SRC6, dst: DST6 };
    FlowKey { addresses, src_port: SRC_PORT, dst_port: DST_PORT, protocol }
}

pub fn gre(flags: u8, protocol: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let [high, low] = protocol.to_be_bytes();
    with(&with(&[flags, 0, high, low], options), payload)
}

pub fn vxlan(port: u16, payload: &[u8]) -> Vec<u8> {
    udp_to(port, &with(&[0x08, 0, 0, 0, 0, 0, 7, 0], payload))
}

/// GENEVE with `words` words of options.
pub fn geneve(words: u8, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = protocol.to_be_bytes();
    let header = with(&[words, 0, high, low, 0, 0, 7, 0], &vec![0xaa; 4 * usize::from(words)]);
    udp_to(6081, &with(&header, payload))
}

/// GTP-U of user data with these flags and this rest of the header.
pub fn gtp(flags: u8, rest: &[u8], payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(rest.len() + payload.len()).unwrap().to_be_bytes();
    let header = with(&[0x30 | flags, 0xff, high, low, 0, 0, 0, 7], rest);
    udp_to(2152, &with(&header, payload))
}

/// Every link with the plain way to put IPv4 or IPv6 on it.
pub fn on_link(link: Link, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ethertype.to_be_bytes();
    match link {
        Link::Ethernet => ethernet(ethertype, payload),
        Link::LinuxSll => with(&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, high, low], payload),
        Link::LinuxSll2 => with(&[high, low, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0], payload),
        Link::RawIp => payload.to_vec(),
    }
}
