//! Following a walk from outside, so that a person can see why a frame is ignored.

use core::fmt;

use super::{Link, link};

/// What the bytes that come next are, as the header before them says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// What the frame starts with, or a frame in a tunnel.
    Link(Link),
    /// Named by an ethertype, or by a length in its place.
    EtherType(u16),
    /// Named by an IP protocol number.
    Protocol(u8),
    /// An extension header of GTP-U.
    GtpExtension,
    /// The data of a fragment that is not the first, of this protocol.
    LaterFragment(u8),
}

impl Layer {
    /// The bits of a word.
    pub(super) const WORD_BITS: usize = 0x0007_ffff;

    /// The same as a number.
    #[inline(always)]
    pub(super) const fn to_word(self) -> usize {
        let (kind, value) = match self {
            Self::EtherType(number) => (0, number),
            Self::Protocol(number) => (1, number as u16),
            Self::Link(link) => (2, link as u16),
            Self::GtpExtension => (3, 0),
            Self::LaterFragment(number) => (4, number as u16),
        };
        value as usize | kind << u16::BITS
    }

    /// From [`to_word`](Self::to_word).
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the value is cut out of the word")]
    pub(super) const fn of_word(word: usize) -> Self {
        match word >> u16::BITS {
            0 => Self::EtherType(word as u16),
            1 => Self::Protocol(word as u8),
            2 => Self::Link(match word as u16 {
                0 => Link::Ethernet,
                1 => Link::LinuxSll,
                2 => Link::LinuxSll2,
                _ => Link::RawIp,
            }),
            3 => Self::GtpExtension,
            _ => Self::LaterFragment(word as u8),
        }
    }
}

/// Is told each header of a walk, before it is read. `()` does not listen, and costs nothing.
pub trait Trace {
    /// A header of this kind starts at `offset` in the frame.
    fn header(&mut self, layer: Layer, offset: usize);
}

impl Trace for () {
    #[inline(always)]
    fn header(&mut self, _: Layer, _: usize) {}
}

impl<T: FnMut(Layer, usize)> Trace for T {
    fn header(&mut self, layer: Layer, offset: usize) {
        self(layer, offset);
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(Link::Ethernet) => f.write_str("Ethernet"),
            Self::Link(Link::LinuxSll) => f.write_str("Linux cooked"),
            Self::Link(Link::LinuxSll2) => f.write_str("Linux cooked v2"),
            Self::Link(Link::RawIp) => f.write_str("IP by its version"),
            Self::EtherType(number) => match link::name(*number) {
                Some(name) => f.write_str(name),
                None => write!(f, "ethertype {number:#06x}"),
            },
            Self::Protocol(number) => match protocol_name(*number) {
                Some(name) => f.write_str(name),
                None => write!(f, "IP protocol {number}"),
            },
            Self::GtpExtension => f.write_str("GTP-U extension"),
            Self::LaterFragment(number) => write!(f, "later fragment of IP protocol {number}"),
        }
    }
}

const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        0 => "IPv6 hop-by-hop options",
        1 => "ICMP",
        4 => "IPv4 in IP",
        6 => "TCP",
        17 => "UDP",
        41 => "IPv6 in IP",
        43 => "IPv6 routing header",
        44 => "IPv6 fragment header",
        47 => "GRE",
        50 => "ESP",
        51 => "AH",
        58 => "ICMPv6",
        59 => "no next header",
        60 => "IPv6 destination options",
        132 => "SCTP",
        136 => "UDP-Lite",
        137 => "MPLS in IP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_survives_its_word() {
        let numbers = (0..=u16::MAX).map(Layer::EtherType);
        let protocols =
            (0..=u8::MAX).flat_map(|number| [Layer::Protocol(number), Layer::LaterFragment(number)]);
        let links = [Link::Ethernet, Link::LinuxSll, Link::LinuxSll2, Link::RawIp].map(Layer::Link);
        for layer in numbers.chain(protocols).chain(links).chain([Layer::GtpExtension]) {
            assert_eq!(Layer::of_word(layer.to_word() & Layer::WORD_BITS), layer);
        }
    }
}
