//! Frames for the sender, by what they mean to the sensor.

use std::net::{IpAddr, SocketAddr};

use etherparse::{Icmpv4Type, Icmpv6Type, PacketBuilder, PacketBuilderStep, icmpv4, icmpv6};

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// TCP, opening a conversation.
    Syn,
    /// TCP, accepting one.
    SynAck,
    /// TCP, in the middle of one.
    Ack,
    /// TCP, refusing one.
    Rst,
    /// UDP.
    Datagram,
}

/// An Ethernet frame from `src` to `dst`, which must be of one address family, with `payload` behind the
/// transport header.
///
/// # Panics
/// Where the families differ or the payload is longer than a packet can be.
#[must_use]
pub fn frame(src: SocketAddr, dst: SocketAddr, segment: Segment, payload: &[u8]) -> Vec<u8> {
    const TTL: u8 = 64;
    const WINDOW: u16 = 64240;
    const SEQUENCE: u32 = 1000;
    const ACKNOWLEDGED: u32 = 2000;
    // Locally administered addresses, which no maker was given.
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let network = match (src.ip(), dst.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), TTL),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), TTL),
        (from, to) => panic!("{from} and {to} must be of one family"),
    };
    let (from, to) = (src.port(), dst.port());
    let tcp = |network: PacketBuilderStep<_>| network.tcp(from, to, SEQUENCE, WINDOW);
    let mut bytes = Vec::new();
    let written = match segment {
        Segment::Syn => tcp(network).syn().write(&mut bytes, payload),
        Segment::SynAck => tcp(network).syn().ack(ACKNOWLEDGED).write(&mut bytes, payload),
        Segment::Ack => tcp(network).ack(ACKNOWLEDGED).write(&mut bytes, payload),
        Segment::Rst => tcp(network).rst().ack(ACKNOWLEDGED).write(&mut bytes, payload),
        Segment::Datagram => network.udp(from, to).write(&mut bytes, payload),
    };
    written.expect("a payload shorter than an IP packet must fit");
    bytes
}

/// The Ethernet frame in which a router says that the port that `frame` went to is closed. `frame` is one of
/// [`frame`]'s, from `src`.
///
/// # Panics
/// Where `router` and `src` are of different families, or `frame` holds no packet.
#[must_use]
pub fn unreachable(router: IpAddr, src: IpAddr, frame: &[u8]) -> Vec<u8> {
    const TTL: u8 = 64;
    const ETHERNET_LEN: usize = 14;
    let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 1]);
    let mut bytes = Vec::new();
    let quote = &frame[ETHERNET_LEN..];
    let written = match (router, src) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link
            .ipv4(from.octets(), to.octets(), TTL)
            .icmpv4(Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port))
            .write(&mut bytes, quote),
        (IpAddr::V6(from), IpAddr::V6(to)) => link
            .ipv6(from.octets(), to.octets(), TTL)
            .icmpv6(Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port))
            .write(&mut bytes, quote),
        (from, to) => panic!("{from} and {to} must be of one family"),
    };
    written.expect("a quote shorter than an IP packet must fit");
    bytes
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use sensor_common::packet::Marks;

    use super::*;

    type Outcome = Result<(), Box<dyn Error>>;

    #[test]
    fn frames_mean_to_etherparse_what_they_were_built_for() -> Outcome {
        let pairs = [("10.0.0.5:4000", "203.0.113.9:6881"), ("[fd00::5]:4000", "[2001:db8::9]:6881")];
        let segments = [
            (Segment::Syn, Some(Marks::SYN)),
            (Segment::SynAck, Some(Marks::SYN_ACK)),
            (Segment::Ack, Some(Marks::OTHER)),
            (Segment::Rst, Some(Marks::RST)),
            (Segment::Datagram, None),
        ];
        for (src, dst) in pairs {
            for (segment, marks) in segments {
                let bytes = frame(src.parse()?, dst.parse()?, segment, b"payload");
                let headers = etherparse::PacketHeaders::from_ethernet_slice(&bytes)?;
                let transport = headers.transport.ok_or("no transport")?;
                let found = transport.clone().tcp().map(|tcp| {
                    let flags = [tcp.fin, tcp.syn, tcp.rst, tcp.psh, tcp.ack];
                    Marks::of_tcp((0..).zip(flags).map(|(bit, set)| u8::from(set) << bit).sum())
                });
                assert_eq!(found, marks, "{segment:?} from {src} to {dst}");
                assert_eq!(headers.payload.slice(), b"payload", "{segment:?} from {src} to {dst}");
            }
        }
        Ok(())
    }
}
