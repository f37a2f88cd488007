//! What etherparse makes of a frame, and where the parser means to differ from it.
//!
//! etherparse was written by others for other ends. Where the two differ the parser is right by its own
//! definition, and [`DIFFERENCES`] says why.

use etherparse::{
    Ipv6ExtensionSlice, NetSlice, SlicedPacket, TransportSlice,
    err::{ipv6_exts::HeaderError, packet::SliceError},
};
use sensor_common::{
    packet::{Addresses, FlowKey, SCTP, TCP, UDP, UDP_LITE},
    reason::Ignored::{self, *},
};

use crate::wrap::{Built, Meaning};

/// What the parser said, tunnels being left closed.
pub type Answer = Result<FlowKey, Ignored>;

/// What etherparse makes of a frame, in the parser's words.
#[derive(Debug, PartialEq)]
pub enum Theirs {
    Says(Answer),
    /// It refuses hop-by-hop options that are not the first extension header.
    LateHopByHop,
    /// It ends at an ethertype it does not know, or at its fourth tag.
    EndsAt(u16),
    /// It ends at an IP protocol without ports.
    Carries(u8),
}
use Theirs::{Carries, EndsAt, LateHopByHop, Says};

/// A justified difference: why, and on which answers.
pub struct Difference {
    pub why: &'static str,
    applies: fn(&Answer, &Theirs) -> bool,
}

pub const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "hop-by-hop options behind another extension header are against the rules, but the hosts sent \
              them, and the flow is there to be counted",
        applies: |_, theirs| *theirs == LateHopByHop,
    },
    Difference {
        why: "etherparse does not go beyond three tags, nor into LLC, MPLS, PPPoE, MACsec and others",
        applies: |ours, theirs| matches!(theirs, EndsAt(_)) && *ours != Err(NotIp),
    },
    Difference {
        why: "etherparse ends at mobility, HIP and shim6 headers, which have the form of the others, and in \
              IPv4 at a second AH",
        applies: |_, theirs| matches!(theirs, Carries(51 | 135 | 139 | 140)),
    },
    Difference {
        why: "etherparse does not know tunnels in IP; they are not opened here, and named",
        applies: |ours, theirs| {
            matches!(theirs, Carries(4 | 41 | 47 | 97 | 115 | 137)) && *ours != Err(NotL4)
        },
    },
    Difference {
        why: "the ports of UDP stand before its length; a length that contradicts IP's hides no flow",
        applies: |ours, theirs| *theirs == Says(Err(Truncated)) && ours.is_ok_and(|key| key.protocol == UDP),
    },
    Difference {
        why: "ARP and ICMP have no ports, however much of them is missing",
        applies: |ours, theirs| *theirs == Says(Err(Truncated)) && matches!(ours, Err(NotIp | NotL4)),
    },
    Difference {
        why: "a total length shorter than its own header is a contradiction, not missing data",
        applies: |ours, theirs| *theirs == Says(Err(Truncated)) && *ours == Err(Malformed),
    },
    Difference {
        why: "a total length of 0 in a large frame was left to the network card to fill in",
        applies: |ours, theirs| {
            *theirs == Says(Err(Truncated))
                && ours.is_ok_and(|key| matches!(key.addresses, Addresses::V4 { .. }))
        },
    },
    Difference {
        why: "of a later fragment nothing is read; etherparse takes its data for extension headers",
        applies: |ours, theirs| *ours == Err(Fragment) && matches!(theirs, Says(Err(Truncated | Malformed))),
    },
];

fn theirs(bytes: &[u8]) -> Theirs {
    let sliced = match SlicedPacket::from_ethernet(bytes) {
        Ok(sliced) => sliced,
        Err(SliceError::Len(_)) => return Says(Err(Truncated)),
        Err(SliceError::Ipv6Exts(HeaderError::HopByHopNotAtStart)) => return LateHopByHop,
        Err(SliceError::Macsec(_)) => return EndsAt(0x88e5),
        Err(_) => return Says(Err(Malformed)),
    };
    let (addresses, payload, is_later) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            (Addresses::V4 { src, dst }, ip.payload(), ip.header().fragments_offset().value() != 0)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let (src, dst) = (ip.header().source(), ip.header().destination());
            let is_later = ip.extensions().clone().into_iter().any(|extension| {
                matches!(extension, Ipv6ExtensionSlice::Fragment(header) if header.fragment_offset().value() != 0)
            });
            (Addresses::V6 { src, dst }, ip.payload(), is_later)
        }
        Some(NetSlice::Arp(_)) => return Says(Err(NotIp)),
        None => return EndsAt(sliced.payload_ether_type().map_or(0, |ethertype| ethertype.0)),
    };
    if is_later {
        return Says(Err(Fragment));
    }
    let key = |protocol, src_port, dst_port| FlowKey { addresses, src_port, dst_port, protocol };
    match (&sliced.transport, payload.ip_number.0) {
        (Some(TransportSlice::Tcp(tcp)), _) => Says(Ok(key(TCP, tcp.source_port(), tcp.destination_port()))),
        (Some(TransportSlice::Udp(udp)), _) => Says(Ok(key(UDP, udp.source_port(), udp.destination_port()))),
        (None, protocol @ (TCP | UDP | SCTP | UDP_LITE)) => Says(
            ports(protocol, payload.fragmented, payload.payload).map(|[src, dst]| key(protocol, src, dst)),
        ),
        (_, protocol) => Carries(protocol),
    }
}

/// The ports where etherparse leaves them to its caller: in first fragments, and in what it does not know.
fn ports(protocol: u8, is_fragment: bool, payload: &[u8]) -> Result<[u16; 2], Ignored> {
    let least = match protocol {
        _ if is_fragment => 4,
        SCTP => 12,
        _ => 8,
    };
    if payload.len() < least {
        return Err(Truncated);
    }
    if protocol == TCP && payload.len() > 13 && payload[12] >> 4 < 5 {
        return Err(Malformed);
    }
    let word = |at| u16::from_be_bytes([payload[at], payload[at + 1]]);
    Ok([word(0), word(2)])
}

/// Whether both say the same without further ado.
fn agree(ours: &Answer, theirs: &Theirs) -> bool {
    match theirs {
        Says(answer) => ours == answer,
        EndsAt(_) => *ours == Err(NotIp),
        Carries(_) => *ours == Err(NotL4),
        LateHopByHop => false,
    }
}

/// The parser's answers on many frames, held against etherparse.
#[derive(Default)]
pub struct Comparison {
    /// Frames in which both see the same flow.
    pub flows: usize,
    /// How often each of [`DIFFERENCES`] occurred.
    pub differences: [usize; DIFFERENCES.len()],
    /// Frames with more headers than are walked, in which both need not agree.
    pub too_deep: usize,
    /// Differences that are not listed.
    pub unlisted: Vec<String>,
}

impl Comparison {
    /// Compares the parser's answer for an Ethernet frame, all of which was captured.
    pub fn add(&mut self, bytes: &[u8], ours: &Answer) {
        let theirs = theirs(bytes);
        if agree(ours, &theirs) {
            self.flows += usize::from(ours.is_ok());
        } else if let Some(which) = DIFFERENCES.iter().position(|it| (it.applies)(ours, &theirs)) {
            self.differences[which] += 1;
        } else {
            self.unlisted.push(format!("ours {ours:?}, theirs {theirs:?}: {bytes:02x?}"));
        }
    }

    /// Compares the answer for a frame, all of which was captured, with what was built into it: etherparse
    /// reads the plain frame inside. `quoted` is the flow that the frame quotes.
    pub fn add_built(&mut self, built: &Built, ours: &Answer, quoted: Option<FlowKey>) {
        let Built { inside, meaning, .. } = built;
        match (meaning, ours, quoted) {
            (_, Err(TooDeep), _) if built.may_be_too_deep() => self.too_deep += 1,
            (Meaning::Inside, _, None) => self.add(inside, ours),
            (Meaning::Ignored(reason), Err(answer), _) if reason == answer => {}
            (Meaning::Quote, Err(NotL4), Some(key)) => self.add(inside, &Ok(key)),
            (Meaning::Quote, Err(NotL4), None) if !matches!(theirs(inside), Says(Ok(_))) => {}
            // The walk ended within the quote; the frame that quotes is none of a flow all the same.
            (Meaning::Quote, Err(NotL4), None) if built.may_be_too_deep() => self.too_deep += 1,
            _ => self.unlisted.push(format!("{ours:?}, quoted {quoted:?}, of {built:02x?}")),
        }
    }
}
