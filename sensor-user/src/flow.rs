//! The one type in which all captures meet: the flows of one drain.
//!
//! Nothing downstream knows whether they came from a mirror port, a file or a firewall's log.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sensor_common::{
    packet::{self, Addresses, FlowKey, Marks},
    reason::{Ignored, Lost},
};

use crate::clock::Timestamp;

/// A transport protocol by its IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self(packet::TCP);
    /// UDP.
    pub const UDP: Self = Self(packet::UDP);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            packet::TCP => f.write_str("tcp"),
            packet::UDP => f.write_str("udp"),
            132 => f.write_str("sctp"),
            136 => f.write_str("udplite"),
            number => write!(f, "{number}"),
        }
    }
}

/// Identity of a directional flow: all frames from one address to a port of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// Port of the receiver.
    pub dst_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl Hash for FlowId {
    /// Feeds whole words: replay does this for every frame, and the derived form feeds every field and
    /// every enum's tag on its own.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { src, dst, dst_port, protocol } = *self;
        state.write_u32(u32::from(dst_port) | u32::from(protocol.0) << 16);
        Pair(src, dst).hash(state);
    }
}

/// Two addresses, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(pub IpAddr, pub IpAddr);

impl Hash for Pair {
    /// In whole words.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Self(IpAddr::V4(first), IpAddr::V4(second)) => {
                state.write_u64(u64::from(first.to_bits()) << 32 | u64::from(second.to_bits()));
            }
            Self(first, second) => [first, second].into_iter().for_each(|address| match address {
                IpAddr::V4(address) => state.write_u32(address.to_bits()),
                IpAddr::V6(address) => state.write_u128(address.to_bits()),
            }),
        }
    }
}

impl FlowId {
    /// The identity in `key`, and its source port.
    #[must_use]
    pub fn of(key: &FlowKey) -> (Self, u16) {
        let (src, dst) = match key.addresses {
            Addresses::V4 { src, dst } => (Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into()),
            Addresses::V6 { src, dst } => (Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into()),
        };
        (Self { src, dst, dst_port: key.dst_port, protocol: Protocol(key.protocol) }, key.src_port)
    }
}

/// One directional flow as counted in one drain, merged over CPUs and interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Sender, receiver and port.
    pub id: FlowId,
    /// Source port of the first frame.
    pub src_port: u16,
    /// Frames; 0 where only an ICMP error spoke of the flow.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// What was seen; none of [`Marks::SEGMENT`] where only later fragments or ICMP errors were.
    pub marks: Marks,
    /// When the first frame of this drain was seen.
    pub first_seen: Timestamp,
}

impl Flow {
    /// Adds the counts of the same flow seen elsewhere (another CPU or interface).
    pub fn merge(&mut self, other: &Self) {
        let Self { id: _, src_port, packets, bytes, marks, first_seen } = other;
        self.marks = self.marks.with(*marks);
        if self.src_port != *src_port {
            self.marks = self.marks.with(Marks::MORE_PORTS);
        }
        self.packets += packets;
        self.bytes += bytes;
        if *first_seen < self.first_seen {
            self.first_seen = *first_seen;
            self.src_port = *src_port;
        }
    }
}

/// What became of the frames of one interface (or file) in one drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCounts {
    /// Frames that arrived.
    pub seen: u64,
    /// Frames counted in flows.
    pub counted: u64,
    /// Frames ignored, by [`Ignored`].
    pub ignored: [u64; Ignored::ALL.len()],
    /// Frames that arrived and could not be counted, by [`Lost`].
    pub lost: [u64; Lost::ALL.len()],
    /// Frames lost before the program saw them (the NIC's own counters); not part of `seen`.
    pub nic_missed: u64,
}

impl FrameCounts {
    /// Adds `other`, field by field.
    pub fn add(&mut self, other: &Self) {
        let Self { seen, counted, ignored, lost, nic_missed } = other;
        self.seen += seen;
        self.counted += counted;
        for (total, more) in self.ignored.iter_mut().zip(ignored) {
            *total += more;
        }
        for (total, more) in self.lost.iter_mut().zip(lost) {
            *total += more;
        }
        self.nic_missed += nic_missed;
    }

    /// Frames lost for any reason.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum::<u64>() + self.nic_missed
    }

    /// Frames on the wire as far as anything counted them: those seen and those the NIC missed.
    #[must_use]
    pub fn on_wire(&self) -> u64 {
        self.seen + self.nic_missed
    }

    /// 1 - lost / on the wire; 1 where there was nothing to lose.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        match self.on_wire() {
            0 => 1.0,
            total => 1.0 - self.lost() as f64 / total as f64,
        }
    }

    /// Frames that no outcome accounts for; anything but 0 is a defect of the sensor.
    #[must_use]
    pub fn unaccounted(&self) -> i128 {
        let accounted = self.counted + self.ignored.iter().sum::<u64>() + self.lost.iter().sum::<u64>();
        i128::from(self.seen) - i128::from(accounted)
    }
}

/// Everything one drain brought. One without flows may be much longer than the drain period: it stands
/// for a long silence, and begins and ends with intervals.
#[derive(Clone, Debug)]
pub struct Drain {
    /// When the drained period began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// The flows, each [`FlowId`] once, in no order.
    pub flows: Vec<Flow>,
    /// Frame counts by interface, in the order of the configuration (one entry for a file).
    pub frames: Vec<FrameCounts>,
}
