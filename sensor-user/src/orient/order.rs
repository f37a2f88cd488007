//! The order in which the flows of a drain are handled.

use std::time::Duration;

use sensor_common::packet::Marks;

use super::{Ends, WELL_KNOWN};
use crate::flow::{Flow, Protocol};

/// How far apart request and answer are trusted to be in the order of their stamps, where a well-known port
/// says otherwise: CPUs handle received frames in batches, which takes up to some hundred microseconds.
pub const SERVICE_BIAS: Duration = Duration::from_millis(1);

/// When a flow is handled.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    time: u64,
    /// Of the flow in its drain.
    pub position: u32,
    /// Which ends of it are local.
    pub ends: Ends,
}

impl Turn {
    /// Of the flow at `position` in its drain.
    pub fn of(flow: &Flow, position: u32, ends: Ends) -> Self {
        Self { time: sort_key(flow), position, ends }
    }

    /// What comes first has less of it; no two flows of a drain have the same.
    pub const fn key(&self) -> (u64, u32) {
        (self.time, self.position)
    }
}

/// Flows are handled in the order of their first frames. Those that can be understood only when the opening
/// of their conversation is known come after: answers to SYNs, and last TCP without handshake and ICMP
/// errors.
fn sort_key(flow: &Flow) -> u64 {
    /// Above every time until the year 2116.
    const AFTER: u64 = 1 << 62;
    const LAST: u64 = 1 << 63;
    let time = flow.first_seen;
    if flow.packets == 0 {
        return time.0 | LAST;
    }
    if flow.id.protocol == Protocol::TCP {
        return match (flow.marks.has(Marks::SYN), flow.marks.has(Marks::SYN_ACK)) {
            (true, _) => time.0,
            (false, true) => time.0 | AFTER,
            (false, false) => time.0 | LAST,
        };
    }
    match (flow.src_port < WELL_KNOWN, flow.id.dst_port < WELL_KNOWN) {
        (true, false) => time.plus(SERVICE_BIAS).0,
        (false, true) => time.minus(SERVICE_BIAS).0,
        _ => time.0,
    }
}
