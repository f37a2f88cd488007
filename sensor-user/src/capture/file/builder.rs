//! Writes captures of every format for tests, right and wrong ones.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub const BOTH: [Self; 2] = [Self::Little, Self::Big];

    pub fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn i64(self, value: i64) -> [u8; 8] {
        if self == Self::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A pcap file.
pub struct PcapBuilder {
    order: Order,
    nanoseconds: bool,
    pub bytes: Vec<u8>,
}

impl PcapBuilder {
    pub fn new(order: Order, nanoseconds: bool, link_type: u32) -> Self {
        let magic = if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut bytes = order.u32(magic).to_vec();
        bytes.extend(order.u16(2));
        bytes.extend(order.u16(4));
        for word in [0, 0, 65_535, link_type] {
            bytes.extend(order.u32(word));
        }
        Self { order, nanoseconds, bytes }
    }

    /// A frame of which every byte was kept.
    pub fn frame(&mut self, nanoseconds: u64, frame: &[u8]) -> &mut Self {
        self.cut_frame(nanoseconds, frame, u32::try_from(frame.len()).unwrap())
    }

    /// A frame that was `wire_len` long.
    pub fn cut_frame(&mut self, nanoseconds: u64, frame: &[u8], wire_len: u32) -> &mut Self {
        let unit = if self.nanoseconds { 1 } else { 1000 };
        let seconds = u32::try_from(nanoseconds / 1_000_000_000).unwrap();
        let fraction = u32::try_from(nanoseconds % 1_000_000_000 / unit).unwrap();
        for word in [seconds, fraction, u32::try_from(frame.len()).unwrap(), wire_len] {
            self.bytes.extend(self.order.u32(word));
        }
        self.bytes.extend(frame);
        self
    }
}

/// A pcapng file.
pub struct PcapNgBuilder {
    order: Order,
    pub bytes: Vec<u8>,
}

pub const IF_TSRESOL: u16 = 9;
pub const IF_TSOFFSET: u16 = 14;

impl PcapNgBuilder {
    pub fn new(order: Order) -> Self {
        let mut builder = Self { order, bytes: Vec::new() };
        builder.section(order);
        builder
    }

    /// Begins a section.
    pub fn section(&mut self, order: Order) -> &mut Self {
        self.order = order;
        let mut body = order.u32(0x1a2b_3c4d).to_vec();
        body.extend(order.u16(1));
        body.extend(order.u16(0));
        body.extend(order.i64(-1));
        self.block(0x0a0d_0d0a, &body)
    }

    pub fn interface(&mut self, link_type: u16, snap_length: u32, options: &[(u16, &[u8])]) -> &mut Self {
        let mut body = self.order.u16(link_type).to_vec();
        body.extend([0; 2]);
        body.extend(self.order.u32(snap_length));
        for (code, value) in options {
            body.extend(self.order.u16(*code));
            body.extend(self.order.u16(u16::try_from(value.len()).unwrap()));
            pad(&mut body, value);
        }
        self.block(1, &body)
    }

    pub fn enhanced(&mut self, interface: u32, units: u64, frame: &[u8], options: &[u8]) -> &mut Self {
        let length = u32::try_from(frame.len()).unwrap();
        let [high, low] = halves(units);
        let mut body = Vec::new();
        for word in [interface, high, low, length, length] {
            body.extend(self.order.u32(word));
        }
        pad(&mut body, frame);
        body.extend(options);
        self.block(6, &body)
    }

    pub fn simple(&mut self, wire_len: u32, kept: &[u8]) -> &mut Self {
        let mut body = self.order.u32(wire_len).to_vec();
        pad(&mut body, kept);
        self.block(3, &body)
    }

    pub fn obsolete(&mut self, interface: u16, units: u64, frame: &[u8]) -> &mut Self {
        let length = u32::try_from(frame.len()).unwrap();
        let [high, low] = halves(units);
        let mut body = self.order.u16(interface).to_vec();
        body.extend(self.order.u16(0));
        for word in [high, low, length, length] {
            body.extend(self.order.u32(word));
        }
        pad(&mut body, frame);
        self.block(2, &body)
    }

    pub fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let length = u32::try_from(body.len() + 12).unwrap();
        self.bytes.extend(self.order.u32(kind));
        self.bytes.extend(self.order.u32(length));
        self.bytes.extend(body);
        self.bytes.extend(self.order.u32(length));
        self
    }
}

fn halves(units: u64) -> [u32; 2] {
    [u32::try_from(units >> 32).unwrap(), u32::try_from(units & 0xffff_ffff).unwrap()]
}

fn pad(body: &mut Vec<u8>, value: &[u8]) {
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

/// An Ethernet frame with a UDP datagram of eight bytes.
pub fn udp(src: &str, dst: &str) -> Vec<u8> {
    let [src, dst] = [src, dst].map(|end| end.parse::<SocketAddrV4>().unwrap());
    let mut datagram = Vec::new();
    for word in [src.port(), dst.port(), 8, 0] {
        datagram.extend(word.to_be_bytes());
    }
    packet(*src.ip(), *dst.ip(), 17, &datagram)
}

/// An Ethernet frame with a TCP segment with these flags.
pub fn tcp(src: &str, dst: &str, flags: u8) -> Vec<u8> {
    let [src, dst] = [src, dst].map(|end| end.parse::<SocketAddrV4>().unwrap());
    let mut segment = Vec::new();
    segment.extend(src.port().to_be_bytes());
    segment.extend(dst.port().to_be_bytes());
    segment.extend([0; 8]);
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet(*src.ip(), *dst.ip(), 6, &segment)
}

/// An Ethernet frame in which a router says that the packet in `frame`, itself of Ethernet, did not arrive.
pub fn unreachable(frame: &[u8]) -> Vec<u8> {
    const PORT_UNREACHABLE: [u8; 8] = [3, 3, 0, 0, 0, 0, 0, 0];
    let quoted = &frame[14..];
    let sender = Ipv4Addr::new(quoted[12], quoted[13], quoted[14], quoted[15]);
    packet(Ipv4Addr::new(198, 51, 100, 1), sender, 1, &[&PORT_UNREACHABLE, quoted].concat())
}

/// An Ethernet frame with another one in VXLAN.
pub fn vxlan(frame: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(16 + frame.len()).unwrap().to_be_bytes();
    let headers = [0xc0, 0x00, 0x12, 0xb5, high, low, 0, 0, 0x08, 0, 0, 0, 0, 0, 7, 0];
    let ends = [[198, 51, 100, 2], [198, 51, 100, 3]].map(Ipv4Addr::from);
    packet(ends[0], ends[1], 17, &[&headers, frame].concat())
}

/// Two Ethernet frames with the first and the last fragment of the UDP datagram with this number.
pub fn fragments(src: &str, dst: &str, id: u16) -> [Vec<u8>; 2] {
    const MORE: u8 = 0x20;
    let mut first = udp(src, dst);
    let mut last = first.clone();
    for frame in [&mut first, &mut last] {
        frame[18..20].copy_from_slice(&id.to_be_bytes());
    }
    first[20] = MORE;
    // Eight bytes behind the first fragment's eight.
    last[21] = 1;
    [first, last]
}

/// An Ethernet frame with an IPv4 packet.
fn packet(src: Ipv4Addr, dst: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00]);
    frame.extend([0x45, 0, high, low, 0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend(src.octets());
    frame.extend(dst.octets());
    frame.extend(payload);
    frame
}

/// An Ethernet frame with an ARP request, which no flow has.
pub fn arp() -> Vec<u8> {
    let mut frame = vec![0xff; 12];
    frame.extend([0x08, 0x06]);
    frame.extend([0; 28]);
    frame
}
