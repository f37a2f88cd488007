//! Where in the list of a drain's flows each flow is: the flow table of user space.
//!
//! It counts by the rules of the kernel's table ([`sensor_common::table`]) without its bounds.

use std::collections::{HashMap, hash_map::Entry};

use foldhash::fast::RandomState;
use sensor_common::{
    packet::{Addresses, FlowKey, Marks, Packet},
    table::{KeyV4, KeyV6},
};

use crate::{
    clock::Timestamp,
    flow::{Flow, FlowId},
};

/// Positions by key. The hash is seeded at start, so that no capture can be made to collide.
#[derive(Default)]
pub(super) struct FlowIndex {
    ipv4: HashMap<(u64, u32), usize, RandomState>,
    ipv6: HashMap<([u64; 4], u32), usize, RandomState>,
}

impl FlowIndex {
    /// Counts a frame of `wire_len` bytes in `flows`, which this is the index of.
    pub(super) fn count(&mut self, flows: &mut Vec<Flow>, packet: &Packet, wire_len: u64, time: Timestamp) {
        let FlowKey { addresses, src_port, dst_port, protocol } = packet.key;
        let next = flows.len();
        let position = match addresses {
            Addresses::V4 { src, dst } => {
                let KeyV4 { addresses, port_and_protocol } = KeyV4::new(src, dst, dst_port, protocol);
                position(self.ipv4.entry((addresses, port_and_protocol)), next)
            }
            Addresses::V6 { src, dst } => {
                let KeyV6 { addresses, port_and_protocol } = KeyV6::new(src, dst, dst_port, protocol);
                position(self.ipv6.entry((addresses, port_and_protocol)), next)
            }
        };
        let Some(flow) = flows.get_mut(position) else {
            let (id, src_port) = FlowId::of(&packet.key);
            flows.push(Flow {
                id,
                src_port,
                packets: 1,
                bytes: wire_len,
                marks: packet.marks,
                first_seen: time,
            });
            return;
        };
        flow.packets += 1;
        flow.bytes += wire_len;
        flow.marks = flow.marks.with(packet.marks);
        if flow.src_port != src_port {
            flow.marks = flow.marks.with(Marks::MORE_PORTS);
        }
    }

    /// Forgets every flow.
    pub(super) fn clear(&mut self) {
        self.ipv4.clear();
        self.ipv6.clear();
    }
}

/// Position of a flow, which is `next` for a new one.
fn position<K>(entry: Entry<'_, K, usize>, next: usize) -> usize {
    match entry {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(free) => *free.insert(next),
    }
}
