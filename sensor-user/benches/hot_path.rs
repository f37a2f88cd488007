//! What is behind the drain, step by step, on one core: `cargo bench -p sensor-user --bench hot_path`.
//!
//! Each case is a stream of drains of a second each, as a capture hands them on, in CPU time of the thread:
//! what others do on the machine counts only as far as they take its caches. The streams are made while no
//! clock runs. Figures are for each first contact, or each flow where nothing is new.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use sensor_common::packet::Marks;
use sensor_user::{
    capture::merge::FlowSet,
    clock::Timestamp,
    config::Config,
    detect::{Detectors, settings::Settings},
    flow::{Drain, Flow, FlowId, FrameCounts, Protocol},
    networks::Direction,
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
    orient::{Activity, Orientation, Oriented, OutcomeChange},
    pipeline::Pipeline,
    sources::Sources,
};

/// Who opens connections to what.
#[derive(Clone, Copy)]
struct Traffic {
    name: &'static str,
    sources: u32,
    /// First contacts of one drain.
    contacts: u32,
    /// Of a hundred, those to a rare port.
    rare: u32,
    answered: bool,
}

const BROWSING: Traffic = Traffic {
    name: "100,000 sources browsing",
    sources: 100_000,
    contacts: 500_000,
    rare: 0,
    answered: true,
};

const TRAFFIC: [Traffic; 4] = [
    Traffic { name: "20,000 sources browsing", sources: 20_000, ..BROWSING },
    BROWSING,
    Traffic { name: "100,000 sources, one contact in ten to a rare port", rare: 10, ..BROWSING },
    Traffic { name: "one source scanning at random", sources: 1, rare: 100, answered: false, ..BROWSING },
];

/// What the agent is asked to bear for 15 % of a core: 100,000 new trifectas a second.
const LOADS: [Traffic; 2] = [
    Traffic {
        name: "1,000 sources scanning at random",
        sources: 1_000,
        contacts: 100_000,
        rare: 100,
        answered: false,
    },
    Traffic { contacts: 100_000, ..BROWSING },
];

/// A sequence that looks random (Knuth's multiplier).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).expect("32 bits are left")
    }
}

/// Drains of one kind of traffic, one after the other.
struct Stream {
    traffic: Traffic,
    random: Random,
    second: u64,
}

impl Stream {
    fn new(traffic: Traffic) -> Self {
        Self { traffic, random: Random(1), second: 1_700_000_000 }
    }

    fn next(&mut self) -> Drain {
        let Traffic { sources, contacts, rare, answered, .. } = self.traffic;
        let (start, random) = (Timestamp::from_secs(self.second), &mut self.random);
        self.second += 1;
        let mut flows = Vec::with_capacity(contacts as usize * 2);
        for number in 0..contacts {
            let after = u64::from(number) * 999_000_000 / u64::from(contacts);
            let src = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + random.next() % sources));
            let dst = IpAddr::from(Ipv4Addr::from_bits(0x2000_0000 + random.next() % 0x5000_0000));
            let port = if random.next() % 100 < rare {
                10_000 + u16::try_from(random.next() % 50_000).expect("it fits")
            } else {
                443
            };
            let flow = |src, dst, from, to, marks, after| Flow {
                id: FlowId { src, dst, dst_port: to, protocol: Protocol::TCP },
                src_port: from,
                packets: 1,
                bytes: 60,
                marks,
                first_seen: start.plus(Duration::from_nanos(after)),
            };
            flows.push(flow(src, dst, 40_000, port, Marks::SYN, after));
            if answered {
                flows.push(flow(dst, src, port, 40_000, Marks::SYN_ACK, after + 500_000));
            }
        }
        let seen = flows.len() as u64;
        let frames = vec![FrameCounts { seen, counted: seen, ..FrameCounts::default() }];
        Drain { start, end: Timestamp::from_secs(self.second), flows, frames }
    }

    /// The last drain once more, a second later.
    fn again(&mut self, drain: &mut Drain) {
        let second = Duration::from_secs(1);
        self.second += 1;
        (drain.start, drain.end) = (drain.start.plus(second), drain.end.plus(second));
        drain.flows.iter_mut().for_each(|flow| flow.first_seen = flow.first_seen.plus(second));
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.capacity.sources = 100_000;
    config
}

/// How long this thread has run.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map(Duration::from)
        .expect("Linux must tell the time on CPU")
}

fn timed<T>(task: impl FnOnce() -> T) -> Duration {
    let begin = cpu_time();
    black_box(task());
    cpu_time().saturating_sub(begin)
}

/// Measures `task`, which is given the next drain and says how long it took; the first two fill the tables.
fn measure(
    criterion: &mut Criterion,
    group: &str,
    traffic: Traffic,
    mut task: impl FnMut(Drain) -> Duration,
) {
    let mut stream = Stream::new(traffic);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(traffic.contacts.into())).sampling_mode(SamplingMode::Flat);
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(2));
    let mut warm = false;
    group.bench_function(BenchmarkId::from_parameter(traffic.name), |bencher| {
        bencher.iter_custom(|rounds| {
            if !std::mem::replace(&mut warm, true) {
                task(stream.next());
                task(stream.next());
            }
            (0..rounds).map(|_| task(stream.next())).sum()
        });
    });
    group.finish();
}

/// Flows of a drain put together.
fn merge(criterion: &mut Criterion) {
    let mut set = FlowSet::default();
    measure(criterion, "merge", LOADS[0], |drain| {
        timed(|| {
            drain.flows.iter().for_each(|flow| set.add(*flow));
            set.take()
        })
    });
}

fn orient(criterion: &mut Criterion) {
    for traffic in LOADS {
        let mut orientation = Orientation::new(&config());
        measure(criterion, "orientation, first contacts", traffic, |drain| {
            timed(|| black_box(orientation.orient(&drain)).observations.len())
        });
    }
    let (mut orientation, mut known) = (Orientation::new(&config()), None);
    let mut stream = Stream::new(LOADS[1]);
    measure(criterion, "orientation, known trifectas with answers", LOADS[1], |_| {
        let drain = known.get_or_insert_with(|| stream.next());
        stream.again(drain);
        timed(|| black_box(orientation.orient(drain)).observations.len())
    });
}

/// What orientation would make of a drain of this benchmark.
fn oriented(drain: &Drain) -> Oriented {
    let mut oriented = Oriented::default();
    for flow in &drain.flows {
        let FlowId { src, dst, dst_port, protocol } = flow.id;
        let (time, direction) = (flow.first_seen, Direction::Outbound);
        if flow.marks.has(Marks::SYN) {
            let trifecta = Trifecta { initiator: src, responder: dst, port: dst_port, protocol };
            let (initiator_port, opening, new_peer) = (flow.src_port, Opening::New, true);
            let contact = Contact { time, trifecta, initiator_port, direction, opening, new_peer };
            oriented.observations.push(Observation::Contact(contact));
            let activity = Activity { source: src, port: dst_port, before: 0, packets: 1, first: true };
            oriented.activities.push(activity);
        } else {
            let trifecta = Trifecta { initiator: dst, responder: src, port: flow.src_port, protocol };
            let (initiator_port, outcome) = (dst_port, Outcome::Answered);
            let response = Response { time, trifecta, initiator_port, direction, outcome };
            oriented.observations.push(Observation::Response(response));
            oriented.outcomes.push(OutcomeChange { source: dst, before: None, after: outcome });
        }
    }
    oriented.observations.sort_by_key(Observation::time);
    oriented
}

/// Statistics and detectors, by themselves and together.
fn judge(criterion: &mut Criterion) {
    for (name, with) in [
        ("statistics", (true, false)),
        ("detectors", (false, true)),
        ("statistics and detectors", (true, true)),
    ] {
        for traffic in TRAFFIC {
            let config = config();
            let settings = Settings { sources: config.capacity.sources, ..Settings::default() };
            let (mut sources, mut detectors) = (Sources::new(&config), Detectors::new(&settings));
            let mut findings = Vec::new();
            measure(criterion, name, traffic, |drain| {
                let oriented = oriented(&drain);
                let mut took = Duration::ZERO;
                if with.0 {
                    took += timed(|| sources.observe(&drain, &oriented));
                }
                if with.1 {
                    took += timed(|| {
                        detectors.observe(&oriented.observations);
                        detectors.advance(drain.end, &mut findings);
                    });
                }
                took
            });
        }
    }
}

/// All of it.
fn pipeline(criterion: &mut Criterion) {
    for traffic in LOADS {
        let mut pipeline = Pipeline::new(&config());
        measure(criterion, "pipeline", traffic, |drain| timed(|| pipeline.feed(&drain)));
    }
}

criterion_group!(hot_path, merge, orient, judge, pipeline);
criterion_main!(hot_path);
