//! What the parser reads out of a frame: the flow it belongs to and what its header says.

/// IANA protocol number of TCP.
pub const TCP: u8 = 6;
/// IANA protocol number of UDP.
pub const UDP: u8 = 17;
/// IANA protocol number of SCTP.
pub const SCTP: u8 = 132;
/// IANA protocol number of UDP-Lite.
pub const UDP_LITE: u8 = 136;

/// Source and destination address in network byte order. The two families never compare equal: an
/// IPv4-mapped IPv6 address stays IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Addresses {
    /// IPv4.
    V4 {
        /// Source address.
        src: [u8; 4],
        /// Destination address.
        dst: [u8; 4],
    },
    /// IPv6.
    V6 {
        /// Source address.
        src: [u8; 16],
        /// Destination address.
        dst: [u8; 16],
    },
}

/// The five-tuple of a frame, as in the frame (not oriented). Ports are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Both addresses.
    pub addresses: Addresses,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// IANA protocol number ([`TCP`], [`UDP`], …).
    pub protocol: u8,
}

/// One frame that carries a transport segment of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The innermost flow of the frame.
    pub key: FlowKey,
    /// What the segment is, one of [`Marks`]' `SYN` to `OTHER`.
    pub marks: Marks,
}

/// What was seen on a flow in one direction, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub u8);

impl Marks {
    /// A TCP SYN without ACK: its sender initiates.
    pub const SYN: Self = Self(1);
    /// A TCP SYN with ACK: its sender responds.
    pub const SYN_ACK: Self = Self(1 << 1);
    /// A TCP segment with RST.
    pub const RST: Self = Self(1 << 2);
    /// A TCP segment with FIN and without SYN or RST.
    pub const FIN: Self = Self(1 << 3);
    /// Any other TCP segment, or a segment of a protocol without handshake.
    pub const OTHER: Self = Self(1 << 4);
    /// An ICMP error quoted this direction of the flow. Such a mark counts no frame.
    pub const UNREACHABLE: Self = Self(1 << 5);
    /// More than one source port was seen under this entry's key.
    pub const MORE_PORTS: Self = Self(1 << 6);

    /// One of these is on every segment. A flow without them is known from later fragments or ICMP errors
    /// only, which open nothing.
    pub const SEGMENT: Self = Self(Self::SYN.0 | Self::SYN_ACK.0 | Self::RST.0 | Self::FIN.0 | Self::OTHER.0);

    /// The mark of a TCP segment with these flags (byte 13 of the header, RFC 9293 section 3.1).
    #[inline(always)]
    #[must_use]
    pub const fn of_tcp(flags: u8) -> Self {
        const FIN: u8 = 0x01;
        const SYN: u8 = 0x02;
        const RST: u8 = 0x04;
        const ACK: u8 = 0x10;
        if flags & (SYN | RST | FIN) == 0 {
            Self::OTHER
        } else if flags & RST != 0 {
            Self::RST
        } else if flags & SYN != 0 {
            if flags & ACK == 0 { Self::SYN } else { Self::SYN_ACK }
        } else {
            Self::FIN
        }
    }

    /// Whether any of `other`'s bits is set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[inline(always)]
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
