//! The key of an entry that found no place in the table.

use super::{AddressWords, Counters, Key};
use crate::packet::Addresses;

/// Key of an entry in the overflow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OverflowKey {
    /// Source, then destination, in network byte order as read; of IPv4 the source in the first word and
    /// the destination in the second. Words of the size that the layout allows: bytes would be put
    /// together on the stack, one by one.
    pub addresses: [u32; 8],
    /// Destination port, host byte order.
    pub dst_port: u16,
    /// IANA protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// The CPU that counts here; no other does.
    pub cpu: u32,
}

impl OverflowKey {
    /// Of a flow; the program adds the CPU.
    #[inline(always)]
    #[must_use]
    pub fn of<A: AddressWords>(key: &Key<A>) -> Self {
        let addresses = key.addresses.to_halves();
        Self { addresses, dst_port: key.dst_port(), protocol: key.protocol(), family: A::FAMILY, cpu: 0 }
    }

    /// From the bytes of a map's key.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let word = |i: usize| u32::from_ne_bytes(core::array::from_fn(|byte| bytes[4 * i + byte]));
        Self {
            addresses: core::array::from_fn(word),
            dst_port: u16::from_ne_bytes([bytes[32], bytes[33]]),
            protocol: bytes[34],
            family: bytes[35],
            cpu: word(9),
        }
    }

    /// The addresses, by family.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        let words = self.addresses.map(u32::to_ne_bytes);
        let address = |first: usize| core::array::from_fn(|byte| words[first + byte / 4][byte % 4]);
        match self.family {
            4 => Addresses::V4 { src: words[0], dst: words[1] },
            _ => Addresses::V6 { src: address(0), dst: address(4) },
        }
    }
}

const _: () = assert!(size_of::<OverflowKey>() == 40 && size_of::<Counters>() == 24);
