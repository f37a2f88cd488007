//! Why a frame was not counted. Every frame is counted, ignored or lost; the latter two carry one of
//! these names, in metrics, in reports and in `inspect`.

/// The frame has no flow that is counted. Not a loss: the sensor looked and decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
// As wide as the first word of what the parser finds: a narrower one beside it in a `Result` makes LLVM split
// that word and store its rest at an odd address of the stack, which the kernel's verifier refuses.
#[repr(u64)]
pub enum Ignored {
    /// Neither IPv4 nor IPv6 (ARP, LLDP, spanning tree, …).
    NotIp,
    /// IP without a transport that has ports (ICMP, IGMP, OSPF, …).
    NotL4,
    /// A later fragment: its ports are in the first one.
    Fragment,
    /// A header ends beyond the frame, or the IP length says more than was on the wire.
    Truncated,
    /// A header contradicts itself (version, header length, lengths).
    Malformed,
    /// More tags, extension headers or tunnels than are walked.
    TooDeep,
    /// A tunnel or link layer that is not read.
    UnsupportedEncapsulation,
    /// Excluded by configuration.
    Filtered,
}

impl Ignored {
    /// Every reason, in the order of its index.
    pub const ALL: [Self; 8] = [
        Self::NotIp,
        Self::NotL4,
        Self::Fragment,
        Self::Truncated,
        Self::Malformed,
        Self::TooDeep,
        Self::UnsupportedEncapsulation,
        Self::Filtered,
    ];

    /// The reason with this index; an index that none has is that of a header that makes no sense.
    #[inline(always)]
    #[must_use]
    pub const fn of_index(index: u8) -> Self {
        match index {
            0 => Self::NotIp,
            1 => Self::NotL4,
            2 => Self::Fragment,
            3 => Self::Truncated,
            5 => Self::TooDeep,
            6 => Self::UnsupportedEncapsulation,
            7 => Self::Filtered,
            _ => Self::Malformed,
        }
    }

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "not_ip",
            Self::NotL4 => "not_l4",
            Self::Fragment => "fragment",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::TooDeep => "too_deep",
            Self::UnsupportedEncapsulation => "unsupported_encapsulation",
            Self::Filtered => "filtered",
        }
    }

    /// What the name means, for a person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotIp => "neither IPv4 nor IPv6",
            Self::NotL4 => "no transport with ports",
            Self::Fragment => "a later fragment, whose ports are in the first one",
            Self::Truncated => "the frame ends before the header does, or before its length says",
            Self::Malformed => "the header contradicts itself",
            Self::TooDeep => "more headers than are walked",
            Self::UnsupportedEncapsulation => "a tunnel or link layer that is not read",
            Self::Filtered => "excluded by configuration",
        }
    }
}

/// The frame belonged to a flow and could not be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Lost {
    /// The flow table and its overflow had no room for a new flow.
    MapFull,
    /// The overflow table refused for another reason than being full (busy, out of memory).
    MapBusy,
    /// A state the program must not be in (no memory of its CPU); reported, never hidden.
    Internal,
}

impl Lost {
    /// Every reason, in the order of its index.
    pub const ALL: [Self; 3] = [Self::MapFull, Self::MapBusy, Self::Internal];

    /// The reason with this index; an index that none has is internal.
    #[inline(always)]
    #[must_use]
    pub const fn of_index(index: u8) -> Self {
        match index {
            0 => Self::MapFull,
            1 => Self::MapBusy,
            _ => Self::Internal,
        }
    }

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MapFull => "map_full",
            Self::MapBusy => "map_busy",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_in_the_order_of_their_index() {
        for (index, reason) in Ignored::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
            assert_eq!(Ignored::of_index(reason as u8), reason);
        }
        for (index, reason) in Lost::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.name());
            assert_eq!(Lost::of_index(reason as u8), reason);
        }
    }
}
