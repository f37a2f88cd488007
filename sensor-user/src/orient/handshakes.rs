//! What the flows of a drain tell together of TCP, before each is looked at: which halves of handshakes the
//! mirror shows, and which ports of conversations under way are shared as a server's is.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use sensor_common::packet::Marks;

use super::Ends;
use crate::{
    clock::Timestamp,
    flow::{Flow, Protocol},
};

/// Distinct remote ends at which a local port looks like a service in mid-stream TCP.
const SERVICE_PEERS: u32 = 3;

/// Which halves of TCP handshakes with local hosts the mirror shows.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// When the last SYN of a local host was seen.
    syn: Option<Timestamp>,
    /// When the last SYN+ACK to a local host was seen.
    syn_ack: Option<Timestamp>,
}

impl Handshakes {
    /// How long a mirror is taken to show what it has shown.
    const MEMORY: Duration = Duration::from_mins(10);

    pub fn look(&mut self, flow: &Flow, ends: Ends) {
        if flow.id.protocol != Protocol::TCP || flow.packets == 0 {
            return;
        }
        if flow.marks.has(Marks::SYN) && ends.src {
            self.syn = self.syn.max(Some(flow.first_seen));
        }
        if flow.marks.has(Marks::SYN_ACK) && ends.dst {
            self.syn_ack = self.syn_ack.max(Some(flow.first_seen));
        }
    }

    pub fn shows_syn(&self, now: Timestamp) -> bool {
        self.syn.is_some_and(|last| now.since(last) <= Self::MEMORY)
    }

    pub fn shows_syn_ack(&self, now: Timestamp) -> bool {
        self.syn_ack.is_some_and(|last| now.since(last) <= Self::MEMORY)
    }
}

/// How many ends each port of mid-stream TCP is shared by, in one drain.
#[derive(Debug, Default)]
pub struct SharedPorts(HashMap<(IpAddr, u16), u32, RandomState>);

impl SharedPorts {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a flow if it is mid-stream, for the address and port that it goes to: each is from another
    /// address.
    pub fn look(&mut self, flow: &Flow) {
        let opens = flow.marks.has(Marks::SYN.with(Marks::SYN_ACK));
        if flow.id.protocol == Protocol::TCP && flow.marks.has(Marks::SEGMENT) && !opens {
            *self.0.entry((flow.id.dst, flow.id.dst_port)).or_default() += 1;
        }
    }

    pub fn is_service(&self, address: IpAddr, port: u16) -> bool {
        self.0.get(&(address, port)).is_some_and(|&ends| ends >= SERVICE_PEERS)
    }
}
