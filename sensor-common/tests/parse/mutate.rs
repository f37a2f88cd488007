//! Random plain frames, which have no tunnels, and small damages to frames. From a seed, so that a failure
//! comes again.

use sensor_common::packet::{SCTP, TCP, UDP, UDP_LITE};

use crate::frames::*;

/// A small random source (`SplitMix64`).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("the bound is a usize")
    }

    pub fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }
}

fn transport(random: &mut Random) -> (u8, Vec<u8>) {
    let length = random.below(30);
    let data = random.bytes(length);
    let src = random.word();
    // What goes to a tunnel's port may be a tunnel, and is not plain.
    let dst = match random.word() {
        2152 | 4789 | 6081 | 8472 => DST_PORT,
        port => port,
    };
    match random.below(8) {
        0..3 => {
            let flags = random.byte();
            let header = [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0];
            (TCP, with(&with(&ports(src, dst), &header), &data))
        }
        3..5 => (UDP, udp_to(dst, &data)),
        5 => (random.pick(&[SCTP, UDP_LITE]), with(&ports(src, dst), &[0, 8, 0, 0, 0, 0, 0, 0])),
        6 => (random.pick(&[1, 58]), with(&[8, 0, 0, 0, 0, 0, 0, 0], &data)),
        _ => (random.pick(&[2, 50, 59, 89, 255]), with(&[0; 12], &data)),
    }
}

/// An IP packet without tunnels; one in `fragments` is a fragment, and 0 stands for none.
pub fn ip_packet(random: &mut Random, fragments: usize) -> Vec<u8> {
    let (mut protocol, mut payload) = transport(random);
    let is_fragment = fragments != 0 && random.below(fragments) == 0;
    let field = random.pick(&[0, 1, 2, 185]);
    if random.below(2) == 0 {
        if random.below(8) == 0 {
            payload = authentication(protocol, 3, &payload);
            protocol = 51;
        }
        let options = vec![1; random.pick(&[0, 0, 0, 4, 8, 40])];
        let more = random.pick(&[0, 0x2000]);
        return ipv4_with(protocol, &options, if is_fragment { field | more } else { 0x4000 }, &payload);
    }
    if is_fragment {
        payload = fragment(protocol, field << 3 | random.pick(&[0, 1]), &payload);
        protocol = 44;
    }
    for _ in 0..random.pick(&[0, 0, 0, 1, 2, 5]) {
        let kind = random.pick(&[43, 60, 51, 60, 135]);
        payload = if kind == 51 {
            authentication(protocol, random.pick(&[0, 3, 5]), &payload)
        } else {
            extension(protocol, random.pick(&[0, 1, 3]), &payload)
        };
        protocol = kind;
    }
    if random.below(6) == 0 {
        payload = extension(protocol, 0, &payload);
        protocol = 0;
    }
    ipv6(protocol, &payload)
}

/// An Ethernet frame with tags and IP, or ARP; no tunnels.
pub fn plain_frame(random: &mut Random) -> Vec<u8> {
    let (mut ethertype, mut payload) = (0x0806, with(&[0, 1, 8, 0, 6, 4, 0, 1], &[0; 20]));
    if random.below(12) != 0 {
        payload = ip_packet(random, 6);
        ethertype = if payload[0] >> 4 == 4 { IPV4 } else { IPV6 };
    }
    for _ in 0..random.pick(&[0, 0, 1, 2, 3]) {
        payload = tag(ethertype, &payload);
        ethertype = random.pick(&[0x8100, 0x88a8, 0x9100]);
    }
    ethernet(ethertype, &payload)
}

/// Damages a frame: bits, bytes, length; mostly among its headers.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(64) };
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.byte(),
            2 => bytes[at] = random.pick(&[0, 1, 4, 6, 17, 41, 44, 47, 51, 58, 60, 0x45, 0x46, 0x60, 0xff]),
            3 => bytes.truncate(at),
            4 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.byte()),
        }
    }
}
