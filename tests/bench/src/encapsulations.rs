//! What a frame costs by what is around the flow in it.

use anyhow::{Result, ensure};
use sensor_common::{
    frame::CapturedFrame,
    packet::{TCP, UDP},
    parse::{Decapsulate, Link, parse},
};

use crate::{
    headers::{
        ACK, IPV4, IPV6, SYN, authentication, ethernet, extension, geneve, gre, gtp, ipv4, ipv4_with, ipv6,
        tag, tcp, vxlan, with,
    },
    kernel::{Baseline, Driver, Sensor},
    report::{Report, median},
};

/// Frames of one measurement: some milliseconds.
const FRAMES: u32 = 1 << 17;

const MPLS: u16 = 0x8847;

/// A frame that counts, by what is in it.
type Case = (&'static str, Vec<u8>);

/// The whole program with every tunnel opened, on one known flow in each encapsulation.
pub fn encapsulations(rounds: usize, report: &mut Report) -> Result<()> {
    let driver = Driver::load(1, 1, 1)?;
    let mut sensor = Sensor::load(1 << 10)?;
    let (counted, ignored) = (counted(), ignored());
    for (name, bytes) in &counted {
        let parsed = parse(&CapturedFrame::whole(bytes), Link::Ethernet, Decapsulate::ALL);
        ensure!(parsed.is_ok_and(|packet| packet.key.protocol == TCP), "{name}: read as {parsed:?}");
    }
    let cases: Vec<&Case> = counted.iter().chain(&ignored).collect();
    let mut costs = vec![Vec::new(); cases.len()];
    for round in 0..=rounds {
        for ((_, bytes), costs) in cases.iter().zip(&mut costs) {
            let empty = driver.run_alone(Baseline::Empty, bytes, FRAMES)?;
            let cost = sensor.run_alone(bytes, FRAMES)? - empty;
            // The first round touches everything for the first time.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    for ((name, _), costs) in cases.iter().zip(&costs) {
        report.noted(*name, median(costs), "ns", "the whole program, net of an empty one");
    }
    Ok(())
}

fn in_ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(IPV4, &ipv4(protocol, payload))
}

fn tagged(number: usize, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let tags = (0..number).fold((ethertype, payload.to_vec()), |(inside, payload), place| {
        (if place == 0 { 0x8100 } else { 0x88a8 }, tag(inside, &payload))
    });
    ethernet(tags.0, &tags.1)
}

/// In IPv6, behind so many extension headers.
fn extended(number: usize) -> Vec<u8> {
    let (next, payload) =
        (0..number).fold((TCP, tcp(ACK)), |(next, payload), _| (60, extension(next, 0, &payload)));
    ethernet(IPV6, &ipv6(next, &payload))
}

/// Frames of one TCP connection.
fn counted() -> Vec<Case> {
    let (ip, ip6) = (ipv4(TCP, &tcp(ACK)), ipv6(TCP, &tcp(ACK)));
    let plain = ethernet(IPV4, &ip);
    let erspan =
        |version: u16, header: &[u8]| in_ipv4(47, &gre(0x10, version, &[0; 4], &with(header, &plain)));
    let in_length = |llc: &[u8]| ethernet(60, &with(llc, &ip));
    vec![
        ("IPv4", plain.clone()),
        ("IPv6", ethernet(IPV6, &ip6)),
        ("IPv4 with options", ethernet(IPV4, &ipv4_with(TCP, &[1; 4], 0, &tcp(ACK)))),
        ("IPv4 with AH", in_ipv4(51, &authentication(TCP, 3, &tcp(ACK)))),
        ("IPv6, 2 extension headers", extended(2)),
        ("IPv6, 8 extension headers", extended(8)),
        ("first fragment", ethernet(IPV4, &ipv4_with(TCP, &[], 0x2000, &tcp(ACK)))),
        ("one VLAN tag", tagged(1, IPV4, &ip)),
        ("two VLAN tags", tagged(2, IPV4, &ip)),
        ("three VLAN tags", tagged(3, IPV4, &ip)),
        ("802.2 SNAP", in_length(&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0])),
        ("PPPoE", ethernet(0x8864, &with(&[0x11, 0, 0, 1, 0, 42, 0, 0x21], &ip))),
        ("two MPLS labels", ethernet(MPLS, &with(&[0, 1, 0, 64, 0, 1, 1, 64], &ip))),
        ("MACsec that signs", ethernet(0x88e5, &with(&[0, 0, 0, 0, 0, 1, 8, 0], &ip))),
        ("IPv4 in IPv4", in_ipv4(4, &ip)),
        ("IPv6 in IPv4", in_ipv4(41, &ip6)),
        ("IPv4 in IPv6", ethernet(IPV6, &ipv6(4, &ip))),
        ("GRE", in_ipv4(47, &gre(0, IPV4, &[], &ip))),
        ("NVGRE", in_ipv4(47, &gre(0x20, 0x6558, &[0; 4], &plain))),
        ("ERSPAN I", in_ipv4(47, &gre(0, 0x88be, &[], &plain))),
        ("ERSPAN II", erspan(0x88be, &[0x10, 0, 0, 0, 0, 0, 0, 0])),
        ("ERSPAN III", erspan(0x22eb, &[0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ("VXLAN", in_ipv4(UDP, &vxlan(4789, &plain))),
        ("VXLAN in VXLAN", in_ipv4(UDP, &vxlan(4789, &in_ipv4(UDP, &vxlan(4789, &plain))))),
        ("GENEVE", in_ipv4(UDP, &geneve(0, 0x6558, &plain))),
        ("GENEVE with options", in_ipv4(UDP, &geneve(7, 0x6558, &plain))),
        ("GTP-U", in_ipv4(UDP, &gtp(0, &[], &ip))),
        ("GTP-U with an extension", in_ipv4(UDP, &gtp(4, &[0, 0, 0, 0x85, 1, 0, 0, 0], &ip))),
    ]
}

/// Frames of no flow.
fn ignored() -> Vec<Case> {
    let quote = with(&[3, 3, 0, 0, 0, 0, 0, 0], &ipv4(TCP, &tcp(SYN)));
    vec![
        ("ARP", ethernet(0x0806, &[0; 46])),
        ("ping", in_ipv4(1, &[8; 40])),
        ("ICMP error, the flow that it quotes marked", in_ipv4(1, &quote)),
    ]
}
