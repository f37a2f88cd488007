//! Flows and the frame they are written into.

use std::collections::HashSet;

use sensor_common::{
    bench::FrameFlow,
    table::{HashSecret, Home, KeyV4},
};

/// A generator of numbers that look random, the same on every run (Steele, Lea and Flood, "Fast splittable
/// pseudorandom number generators", 2014).
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// Brings `items` into a random order.
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is below the length")]
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, (self.next() % (last as u64 + 1)) as usize);
        }
    }
}

/// The destination port of all flows: they differ in their addresses.
const PORT: u16 = 443;

/// A flow between two addresses that are given as one word in the order of the frame.
const fn flow(addresses: u64, src_port: u16) -> FrameFlow {
    let [a, b] = src_port.to_be_bytes();
    let [c, d] = PORT.to_be_bytes();
    FrameFlow { addresses, ports: u32::from_ne_bytes([a, b, c, d]), reserved: 0 }
}

/// So many distinct flows with random addresses.
#[expect(clippy::cast_possible_truncation, reason = "any port serves")]
pub fn random(random: &mut Random, count: usize) -> Vec<FrameFlow> {
    let mut seen = HashSet::with_capacity(count);
    std::iter::repeat_with(|| random.next())
        .filter(|addresses| seen.insert(*addresses))
        .map(|addresses| flow(addresses, addresses as u16 | 1))
        .take(count)
        .collect()
}

/// So many distinct flows that one who knew the secret to be `HashSecret::new([0; 5])` would choose: all of
/// them at home in one bucket of a table with `2^bucket_bits`.
pub fn colliding(count: usize, bucket_bits: u32) -> Vec<FrameFlow> {
    let secret = HashSecret::new([0; 5]);
    let home = |addresses: u64| {
        let key = KeyV4::new(addresses, PORT, sensor_common::packet::TCP);
        Home::of(key.hash(|word| secret.0[word]), (1 << bucket_bits) - 1)
    };
    // With multipliers of 1 the high half of the hash is the destination (in memory order), and the two bits
    // below it the highest of source xor destination. What varies: the rest of both.
    let wanted = home(0);
    let step = 1_u64 << (32 + bucket_bits);
    let destinations = (0..).map(move |n: u64| n.wrapping_mul(step)).take(64);
    let sources = 0..1_u64 << 29;
    let pairs = sources.flat_map(move |source| destinations.clone().map(move |to| to | source << 1));
    pairs
        .filter(move |addresses| home(*addresses) == wanted)
        .map(|addresses| flow(addresses, 1024))
        .take(count)
        .collect()
}

/// The smallest Ethernet frame, less its check sequence as XDP sees it: IPv4, TCP with ACK. The flow is
/// written in by the driver.
pub fn tcp_frame() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    frame[16..18].copy_from_slice(&46_u16.to_be_bytes());
    frame[22] = 64;
    frame[23] = sensor_common::packet::TCP;
    frame[46] = 5 << 4;
    frame[47] = 0x10;
    frame
}

/// A frame of the same size that is not IP.
pub fn arp_frame() -> [u8; 60] {
    let mut frame = [0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_flows_are_distinct_and_many() {
        let flows = colliding(100_000, 15);
        assert_eq!(flows.len(), 100_000);
        let distinct: HashSet<_> = flows.iter().map(|flow| flow.addresses).collect();
        assert_eq!(distinct.len(), flows.len());
    }
}
