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

const CONTACTS: u32 = 2_500_000;
const DRAINS: u32 = 5;

fn main() {
    for (name, sources, rare, answered) in [
        ("20,000 sources browsing", 20_000, 0, true),
        ("100,000 sources browsing", 100_000, 0, true),
        ("100,000 sources, one contact in ten to a rare port", 100_000, 10, true),
        ("one source scanning at random", 1, 100, false),
    ] {
        let drains = stream(sources, rare, answered);
        let observations: usize = drains.iter().map(Vec::len).sum();
        let settings = Settings { sources: 100_000, ..Settings::default() };
        let mut detectors = Detectors::new(&settings);
        let mut findings = Vec::new();
        let mut begin = time_on_cpu();
        for (second, drain) in (1..).zip(&drains) {
            detectors.observe(drain);
            detectors.advance(Timestamp::from_secs(1_700_000_000 + second), &mut findings);
            // The first drain fills the tables, which happens once.
            if second == 1 {
                begin = time_on_cpu();
            }
        }
        let seconds = time_on_cpu().saturating_sub(begin).as_secs_f64();
        let contacts = f64::from(CONTACTS - CONTACTS / DRAINS);
        let millions = contacts / seconds / 1e6;
        let each = seconds * 1e9 / contacts;
        println!("{name}: {millions:.1} M first contacts/s, {each:.0} ns each ({observations} observations)");
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

/// First contacts, of which `rare` in a hundred go to rare ports, each of another trifecta.
fn stream(sources: u32, rare: u32, answered: bool) -> Vec<Vec<Observation>> {
    let mut random = 1_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(random >> 32).expect("32 bits are left")
    };
    let per_drain = CONTACTS / DRAINS;
    (0..DRAINS)
        .map(|drain| {
            let mut observations = Vec::new();
            for number in 0..per_drain {
                let nanoseconds = u64::from(number) * 1_000_000_000 / u64::from(per_drain);
                let time = Timestamp::from_secs(1_700_000_000 + u64::from(drain))
                    .plus(Duration::from_nanos(nanoseconds));
                let initiator = IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + next() % sources));
                let responder = IpAddr::from(Ipv4Addr::from_bits(0x2000_0000 + next() % 0x5000_0000));
                let port = if next() % 100 < rare {
                    10_000 + u16::try_from(next() % 50_000).expect("it fits")
                } else {
                    443
                };
                let trifecta = Trifecta { initiator, responder, port, protocol: Protocol::TCP };
                let (direction, initiator_port) = (Direction::Outbound, 40_000);
                let opening = Opening::New;
                observations.push(Observation::Contact(Contact {
                    time,
                    trifecta,
                    initiator_port,
                    direction,
                    opening,
                    new_peer: true,
                }));
                if answered {
                    let outcome = Outcome::Answered;
                    observations.push(Observation::Response(Response {
                        time,
                        trifecta,
                        initiator_port,
                        direction,
                        outcome,
                    }));
                }
            }
            observations
        })
        .collect()
}
