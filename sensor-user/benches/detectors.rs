//! How many first contacts a second the detectors take on one core: `cargo bench -p sensor-user --bench detectors`.
//!
//! Each case is a stream of first contacts (and what answers them) of many sources, in drains of a
//! second, as the pipeline would hand it on. The streams are made before the clock starts.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sensor_user::{
    alert::AlertKind,
    clock::Timestamp,
    detect::{Detectors, settings::Settings},
    flow::Protocol,
    networks::Direction,
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
};

/// First contacts of one drain.
const CONTACTS: u32 = 2_000_000;
/// Drains that are timed, after one that fills the tables.
const DRAINS: u32 = 3;

fn main() {
    for (name, sources, rare, answered) in [
        ("20,000 sources browsing", 20_000, 0, true),
        ("100,000 sources browsing", 100_000, 0, true),
        ("100,000 sources, one contact in ten to a rare port", 100_000, 10, true),
        ("one source scanning at random", 1, 100, false),
    ] {
        let settings = Settings { sources: 100_000, ..Settings::default() };
        let mut detectors = Detectors::new(&settings);
        let mut random = Random(1);
        let mut findings = Vec::new();
        let mut time = Duration::ZERO;
        for second in 0..=DRAINS {
            let start = Timestamp::from_secs(1_700_000_000 + u64::from(second));
            let observations = drain(&mut random, start, sources, rare, answered);
            let begin = time_on_cpu();
            detectors.observe(&observations);
            detectors.advance(start.plus(Duration::from_secs(1)), &mut findings);
            if second > 0 {
                time += time_on_cpu().saturating_sub(begin);
            }
        }
        let each = time.as_secs_f64() / f64::from(DRAINS * CONTACTS);
        println!("{name}: {:.1} M first contacts/s, {:.0} ns each", 1e-6 / each, 1e9 * each);
        for (kind, usage) in detectors.usage() {
            if kind != AlertKind::Fanout {
                let megabytes = usage.bytes as f64 / 1e6;
                println!("    {}: {} sources, {megabytes:.1} MB", kind.name(), usage.sources);
            }
        }
    }
}

/// How long this thread has run: what other processes take of the machine does not count.
fn time_on_cpu() -> Duration {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux must tell the time on CPU");
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.expect("it must be a number"))
}

/// A sequence that looks random (Knuth's multiplier).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).expect("32 bits are left")
    }
}

/// First contacts of one second, of which `rare` in a hundred go to rare ports, each of another trifecta.
fn drain(random: &mut Random, start: Timestamp, sources: u32, rare: u32, answered: bool) -> Vec<Observation> {
    let mut observations = Vec::new();
    for number in 0..CONTACTS {
        let time = start.plus(Duration::from_nanos(u64::from(number) * 1_000_000_000 / u64::from(CONTACTS)));
        let initiator = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + random.next() % sources));
        let responder = IpAddr::from(Ipv4Addr::from_bits(0x2000_0000 + random.next() % 0x5000_0000));
        let port = if random.next() % 100 < rare {
            10_000 + u16::try_from(random.next() % 50_000).expect("it fits")
        } else {
            443
        };
        let trifecta = Trifecta { initiator, responder, port, protocol: Protocol::TCP };
        let (direction, initiator_port) = (Direction::Outbound, 40_000);
        let (opening, new_peer) = (Opening::New, true);
        let contact = Contact { time, trifecta, initiator_port, direction, opening, new_peer };
        observations.push(Observation::Contact(contact));
        if answered {
            let outcome = Outcome::Answered;
            let response = Response { time, trifecta, initiator_port, direction, outcome };
            observations.push(Observation::Response(response));
        }
    }
    observations
}
