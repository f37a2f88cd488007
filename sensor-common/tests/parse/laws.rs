//! What holds for the parser on any bytes at all, and on frames that are almost right.

use crate::frames::*;
use crate::mutate::{self, Random, mutate};
use crate::wrap::built;
use proptest::prelude::*;
use sensor_common::{
    frame::CapturedFrame,
    packet::UDP,
    parse::{Decapsulate, Found, Link, explain, find},
    reason::Ignored,
};

const FRAMES: usize = 60_000;

fn captured(bytes: &[u8], wire_len: usize, link: Link) -> Found {
    find(&CapturedFrame { bytes, wire_len }, link, Decapsulate::ALL)
}

/// Calls `law` with frames of every kind, right and wrong, and a random source.
fn for_frames(seed: u64, mut law: impl FnMut(&[u8], &mut Random)) {
    let mut random = Random::new(seed);
    for _ in 0..FRAMES {
        let mut bytes = built(&mut random).bytes;
        if random.below(3) != 0 {
            mutate(&mut bytes, &mut random);
        }
        law(&bytes, &mut random);
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        wire_len in 0_usize..70_000,
        link in 0..Link::ALL.len(),
        kinds: u64,
    ) {
        let frame = CapturedFrame { bytes: &bytes, wire_len };
        let decapsulate = Decapsulate::new(kinds, Decapsulate::DEFAULT_VXLAN_PORTS);
        let found = find(&frame, Link::ALL[link], decapsulate);
        prop_assert_eq!(found.ignored().is_none(), found.packet().is_ok());
    }
}

#[test]
fn a_shorter_capture_is_truncated_or_says_the_same() {
    for_frames(1, |bytes, random| {
        let whole = captured(bytes, bytes.len(), Link::Ethernet);
        let length = random.below(bytes.len() + 1);
        let part = captured(&bytes[..length], bytes.len(), Link::Ethernet);
        // The quote of an ICMP error may be cut off; the frame is ignored all the same.
        let same = part == whole || part.ignored() == whole.ignored() && whole.is_quoted();
        // A later fragment needs its addresses to be one.
        let truncated = part.ignored() == Some(Ignored::Truncated);
        assert!(same || truncated, "{length} of {bytes:02x?}\n{part:?}\n{whole:?}");
    });
}

#[test]
fn bytes_behind_the_ip_datagram_change_nothing() {
    let mut random = Random::new(2);
    for _ in 0..FRAMES {
        let mut packet = mutate::ip_packet(&mut random, 3);
        let ethertype = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        // The bytes behind the lengths may be wrong; the lengths themselves must be there.
        let from = if ethertype == IPV4 { 6 } else { 6.min(packet.len()) };
        if random.below(2) == 0 {
            let at = from + random.below(packet.len() - from);
            packet[at] = random.byte();
        }
        let plain = ethernet(ethertype, &packet);
        let padding: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        let padded = with(&plain, &padding);
        assert_eq!(
            captured(&plain, plain.len(), Link::Ethernet),
            captured(&padded, padded.len(), Link::Ethernet),
            "{plain:02x?} and {padding:02x?}"
        );
    }
}

#[test]
fn the_short_cut_says_what_the_walk_says() {
    let mut counted = 0;
    for_frames(3, |bytes, random| {
        let cut = bytes.len() - random.below(4) * random.below(bytes.len() / 2 + 1) / 2;
        for decapsulate in [Decapsulate::ALL, Decapsulate::NONE] {
            let frame = CapturedFrame { bytes: &bytes[..cut], wire_len: bytes.len() };
            let found = find(&frame, Link::Ethernet, decapsulate);
            let walked = explain(&frame, Link::Ethernet, decapsulate, ());
            assert_eq!(found, walked, "{cut} of {bytes:02x?}");
            counted += usize::from(found.ignored().is_none());
        }
    });
    assert!(counted > FRAMES / 4, "only {counted} frames counted: the frames are too wrong to show anything");
}

#[test]
fn a_frame_in_a_tunnel_reads_as_it_does_alone() {
    let mut random = Random::new(4);
    for _ in 0..FRAMES / 4 {
        let inner = mutate::plain_frame(&mut random);
        let alone = captured(&inner, inner.len(), Link::Ethernet);
        let outer = ipv4(UDP, &vxlan(4789, &inner));
        let twice = ipv6(47, &gre(0x20, 0x6558, &[0; 4], &ethernet(IPV4, &outer)));
        for bytes in [ethernet(IPV4, &outer), ethernet(IPV6, &twice)] {
            assert_eq!(captured(&bytes, bytes.len(), Link::Ethernet), alone, "{bytes:02x?}");
        }
    }
}
