//! Values that tests of outputs are built from.

use std::{net::IpAddr, sync::Arc, time::Duration};

use sensor_common::reason::{Ignored, Lost};
use serde_json::json;

use super::snapshot::{Build, InterfaceReading, Snapshot, SnapshotBuilder};
use crate::{
    alert::{Alert, AlertKind, AlertState, Finding},
    capture::live::program::XdpMode,
    clock::Timestamp,
    detect::roles::{Because, Recognised, Role},
    flow::{Drain, FrameCounts},
    interval::{Interval, SourceInterval},
    orient::MemoryUse,
};

/// When everything in tests begins.
pub const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Length of an interval.
pub const INTERVAL: Duration = Duration::from_secs(10);

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A builder for one interface, `mirror0`.
pub fn builder(max_sources: usize) -> SnapshotBuilder {
    let build = Build { version: "1.2.3", revision: "abcdef0" };
    SnapshotBuilder::new(build, &["mirror0".to_owned()], max_sources)
}

/// A source that opened `new` connections, all TCP, all unanswered, 100 bytes and a frame each.
pub fn source(address: IpAddr, new: u64) -> SourceInterval {
    SourceInterval {
        source: address,
        new_connections: new,
        new_tcp: new,
        new_udp: 0,
        new_peers: new,
        new_ports: new.min(7),
        answered: 0,
        refused: 0,
        unreachable: 0,
        mid_stream: 0,
        active_trifectas: new,
        trifecta_packets_variance: None,
        mean: None,
        variance: None,
        bytes_out: new * 100,
        bytes_in: 0,
        packets_out: new,
        packets_in: 0,
        torrent_score: 0.0,
        roles: Vec::new(),
    }
}

/// The interval with this number, counted from [`START`].
pub fn interval(number: u32, mut sources: Vec<SourceInterval>) -> Arc<Interval> {
    sources.sort_by(|a, b| b.new_connections.cmp(&a.new_connections).then(a.source.cmp(&b.source)));
    let start = START.plus(INTERVAL * number);
    let end = start.plus(INTERVAL);
    Arc::new(Interval { start, end, seconds: 10.0, sources, frames: vec![frames()] })
}

/// 1000 frames: 900 counted, 90 ignored, 10 lost.
pub fn frames() -> FrameCounts {
    let mut frames = FrameCounts { seen: 1000, counted: 900, ..FrameCounts::default() };
    frames.ignored[Ignored::NotIp as usize] = 90;
    frames.lost[Lost::MapFull as usize] = 10;
    frames
}

/// The drain with this number, of one second.
pub fn drain(number: u64) -> Drain {
    let start = START.plus(Duration::from_secs(number));
    let end = start.plus(Duration::from_secs(1));
    Drain { start, end, flows: Vec::new(), frames: vec![frames()] }
}

pub fn alert(kind: AlertKind, source: IpAddr, state: AlertState) -> Alert {
    let finding = Finding {
        time: START.plus(INTERVAL),
        kind,
        source,
        state,
        score: 0.97,
        evidence: json!({ "new_connections": 214 }),
        summary: format!("{source} opened 214 new connections in 10 s"),
    };
    Alert { finding, coverage: 0.99, suppressed: None }
}

/// A sensor at work: one drain, one interval with a busy and a quiet source, one torrent alert.
pub fn snapshot() -> Snapshot {
    let mut builder = builder(200);
    builder.interface(
        0,
        InterfaceReading {
            link_up: true,
            mode: Some(XdpMode::Native),
            table_entries: 230,
            table_capacity: 131_072,
            marks_lost: 3,
        },
    );
    builder.drain_took(0, Duration::from_millis(12));
    builder.drain(&drain(0));
    let mut busy = source(address("10.0.0.5"), 214);
    busy.new_tcp = 80;
    busy.new_udp = 134;
    busy.answered = 83;
    busy.mean = Some(7.133_333_333);
    busy.variance = Some(1_522.257_47);
    busy.trifecta_packets_variance = Some(0.5);
    busy.torrent_score = 0.97;
    busy.roles = vec![Recognised { role: Role::Call, since: START, because: Because::Stun }];
    let mut quiet = source(address("10.0.0.7"), 0);
    quiet.packets_in = 3;
    quiet.bytes_in = 180;
    builder.interval(interval(0, vec![busy, quiet]));
    builder.alert(&alert(AlertKind::Torrent, address("10.0.0.5"), AlertState::Firing));
    builder.memories(vec![MemoryUse { name: "trifectas", entries: 230, capacity: 1_000_000, evicted: 0 }]);
    builder.snapshot()
}
