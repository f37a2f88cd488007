//! Flows counted in the parser's form are those that merging flows of one frame each yields.

use proptest::prelude::*;
use sensor_common::packet::{Addresses, TCP, UDP};

use super::*;
use crate::capture::merge::FlowSet;

/// One frame's worth: few values of each part of a key, so that flows meet.
type Frame = (bool, [u8; 2], u16, bool, u16, u8, u16);

fn frame() -> impl Strategy<Value = Frame> {
    (any::<bool>(), [0_u8..3, 0..3], 0_u16..3, any::<bool>(), 0_u16..2, 0_u8..128, 0_u16..1500)
}

/// The addresses of a frame in both forms: the bytes that tell them apart are the first and the last ones.
fn addresses(is_ipv6: bool, [src, dst]: [u8; 2]) -> Addresses {
    if is_ipv6 {
        let end = |address: u8| std::array::from_fn(|at| if at % 15 == 0 { address } else { 7 });
        Addresses::V6 { src: end(src), dst: end(dst) }
    } else {
        Addresses::V4 { src: [src, 0, 0, dst], dst: [dst, 0, 0, src] }
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().unwrap())
}

fn add(flows: &mut Flows, key: &FlowKey, marks: Marks, added: Added) {
    let FlowKey { addresses, src_port, dst_port, protocol } = *key;
    match addresses {
        Addresses::V4 { src, dst } => {
            let key = Key::new(word(&[src, dst].concat()), dst_port, protocol);
            flows.v4.count(&Segment { key, src_port, marks }, added);
        }
        Addresses::V6 { src, dst } => {
            let words = [&src[..8], &src[8..], &dst[..8], &dst[8..]].map(word);
            flows.v6.count(&Segment { key: Key::new(words, dst_port, protocol), src_port, marks }, added);
        }
    }
}

/// Flows of IPv4 first, as [`Flows`] hands them out.
fn by_family(mut flows: Vec<Flow>) -> Vec<Flow> {
    flows.sort_by_key(|flow| flow.id.src.is_ipv6());
    flows
}

proptest! {
    #[test]
    fn flows_are_those_of_the_merge_in_the_order_of_their_first_frames(
        drains in proptest::collection::vec(proptest::collection::vec(frame(), 0..200), 1..4),
    ) {
        let (mut flows, mut taken) = (Flows::default(), Vec::new());
        for drain in drains {
            let mut merged = FlowSet::default();
            for (time, (is_ipv6, ends, dst_port, is_tcp, src_port, marks, length)) in (0..).zip(drain) {
                let protocol = if is_tcp { TCP } else { UDP };
                let key = FlowKey { addresses: addresses(is_ipv6, ends), src_port, dst_port, protocol };
                let marks = Marks(marks);
                // An ICMP error's mark now and then.
                let packets = u64::from(length > 0);
                let (time, bytes) = (Timestamp(time), u64::from(length));
                add(&mut flows, &key, marks, Added { packets, bytes, time });
                let (id, src_port) = FlowId::of(&key);
                merged.add(Flow { id, src_port, packets, bytes, marks, first_seen: time });
            }
            prop_assert_eq!(flows.len(), merged.len());
            flows.take_into(&mut taken);
            prop_assert_eq!(&taken, &by_family(merged.take()));
            prop_assert_eq!(flows.len(), 0);
        }
    }
}

#[test]
fn many_flows_are_told_apart_while_the_table_grows() {
    let mut flows = Flows::default();
    let key = |n: u32| FlowKey {
        addresses: Addresses::V4 { src: n.to_be_bytes(), dst: [0; 4] },
        src_port: 1,
        dst_port: 2,
        protocol: UDP,
    };
    for round in 0..3 {
        for n in 0..50_000 {
            add(&mut flows, &key(n), Marks::OTHER, Added { packets: 1, bytes: 60, time: Timestamp(round) });
        }
    }
    let mut taken = Vec::new();
    flows.take_into(&mut taken);
    assert_eq!(taken.len(), 50_000);
    assert!(taken.iter().all(|flow| (flow.packets, flow.bytes, flow.first_seen) == (3, 180, Timestamp(0))));
}
