//! What the parser makes of each kind of header, case by case.

use crate::frames::*;
use sensor_common::{
    fragment::{FirstFragment, MEMORY},
    frame::CapturedFrame,
    packet::{FlowKey, Marks, Packet, SCTP, TCP, UDP, UDP_LITE},
    parse::{Decapsulate, Found, Link, Piece, explain, find},
    reason::Ignored::{self, *},
};

fn found(link: Link, bytes: &[u8]) -> Found {
    find(&CapturedFrame::whole(bytes), link, Decapsulate::ALL)
}

/// Checks a table of cases: a name, a frame on Ethernet, and the flow or the reason expected.
#[track_caller]
fn check(cases: Vec<(&str, Vec<u8>, Result<FlowKey, Ignored>)>) {
    for (name, bytes, expected) in cases {
        let packet = found(Link::Ethernet, &bytes).packet();
        assert_eq!(packet.map(|packet| packet.key), expected, "{name}: {bytes:02x?}");
    }
}

#[test]
fn every_transport_with_ports_counts_on_every_link_and_family() {
    for link in Link::ALL {
        for protocol in [TCP, UDP, SCTP, UDP_LITE] {
            let v4 = on_link(link, IPV4, &ipv4(protocol, &segment(protocol)));
            let v6 = on_link(link, IPV6, &ipv6(protocol, &segment(protocol)));
            assert_eq!(found(link, &v4).packet().unwrap().key, key4(protocol), "{link:?}");
            assert_eq!(found(link, &v6).packet().unwrap().key, key6(protocol), "{link:?}");
        }
    }
}

#[test]
fn link_layers_are_peeled_off() {
    let ip = ipv4(TCP, &tcp(SYN));
    let tagged = |kinds: &[u16]| {
        let (first, rest) = kinds.split_first().unwrap();
        let inside =
            rest.iter().rev().fold((IPV4, ip.clone()), |(kind, inside), &outer| (outer, tag(kind, &inside)));
        ethernet(*first, &tag(inside.0, &inside.1))
    };
    let snap = |organization: [u8; 3]| {
        with(&[0xaa, 0xaa, 3, organization[0], organization[1], organization[2], 8, 0], &ip)
    };
    let backbone = ethernet(0x88e7, &with(&[0, 0, 0, 9], &ethernet(IPV4, &ip)));
    let counted = Ok(key4(TCP));
    check(vec![
        ("one tag", tagged(&[0x8100]), counted),
        ("three tags of all kinds", tagged(&[0x88a8, 0x9100, 0x8100]), counted),
        ("six tags", tagged(&[0x8100; 6]), counted),
        ("endless tags", tagged(&[0x8100; 40]), Err(TooDeep)),
        ("SNAP", ethernet(u16::try_from(ip.len() + 8).unwrap(), &snap([0; 3])), counted),
        ("SNAP of the bridge tunnel", ethernet(60, &snap([0, 0, 0xf8])), counted),
        ("SNAP of Cisco", ethernet(60, &snap([0, 0, 0x0c])), Err(NotIp)),
        ("IP in LLC", ethernet(60, &with(&[6, 6, 3], &ip)), counted),
        ("spanning tree", ethernet(38, &[0x42, 0x42, 3, 0, 0]), Err(NotIp)),
        ("ARP", ethernet(0x0806, &[0; 28]), Err(NotIp)),
        ("PPPoE with IPv4", ethernet(0x8864, &with(&[0x11, 0, 0, 1, 0, 42, 0, 0x21], &ip)), counted),
        (
            "PPPoE with link control",
            ethernet(0x8864, &with(&[0x11, 0, 0, 1, 0, 42, 0xc0, 0x21], &ip)),
            Err(NotIp),
        ),
        (
            "PPPoE of version 2",
            ethernet(0x8864, &with(&[0x21, 0, 0, 1, 0, 42, 0, 0x21], &ip)),
            Err(Malformed),
        ),
        ("PPPoE discovery", ethernet(0x8863, &[0; 20]), Err(NotIp)),
        ("three labels", ethernet(0x8847, &with(&[0, 1, 0, 64, 0, 1, 2, 64, 0, 1, 3, 64], &ip)), counted),
        ("pseudowire", ethernet(0x8847, &with(&[0, 1, 1, 64, 0, 0, 0, 0], &ethernet(IPV4, &ip))), counted),
        ("encrypted MACsec", ethernet(0x88e5, &with(&[0x2c; 14], &ip)), Err(UnsupportedEncapsulation)),
        ("signed MACsec", ethernet(0x88e5, &with(&[0, 0, 0, 0, 0, 1, 8, 0], &ip)), counted),
        (
            "signed MACsec with channel",
            ethernet(0x88e5, &with(&[0x20, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 0], &ip)),
            counted,
        ),
        ("provider backbone", backbone, counted),
        ("network service header", ethernet(0x894f, &[0; 40]), Err(UnsupportedEncapsulation)),
    ]);
}

#[test]
fn ipv4_is_held_to_its_lengths() {
    let options = |length: usize| ethernet(IPV4, &ipv4_with(TCP, &vec![1; length], 0, &tcp(SYN)));
    let set = |offset: usize, value: &[u8]| {
        let mut frame = options(0);
        frame[14 + offset..14 + offset + value.len()].copy_from_slice(value);
        frame
    };
    let mut offloaded = set(2, &[0, 0]);
    offloaded.resize(200, 0);
    check(vec![
        ("4 bytes of options", options(4), Ok(key4(TCP))),
        ("40 bytes of options", options(40), Ok(key4(TCP))),
        ("header length below 20", set(0, &[0x44]), Err(Malformed)),
        ("header length beyond the datagram", set(0, &[0x4f]), Err(Malformed)),
        ("version 6 under the ethertype of 4", set(0, &[0x65]), Err(Malformed)),
        ("total length below the header", set(2, &[0, 19]), Err(Malformed)),
        ("total length beyond the wire", set(2, &[0, 41]), Err(Truncated)),
        ("total length that cuts TCP", set(2, &[0, 39]), Err(Truncated)),
        ("total length left to the network card", offloaded, Ok(key4(TCP))),
        ("no total length in a small frame", set(2, &[0, 0]), Err(Malformed)),
        ("padding", with(&options(0), &[0; 6]), Ok(key4(TCP))),
        ("AH", ethernet(IPV4, &ipv4(51, &authentication(TCP, 3, &tcp(SYN)))), Ok(key4(TCP))),
        (
            "AH shorter than its fixed part",
            ethernet(IPV4, &ipv4(51, &[TCP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            Err(Malformed),
        ),
        ("ESP", ethernet(IPV4, &ipv4(50, &[0; 40])), Err(NotL4)),
        ("IGMP", ethernet(IPV4, &ipv4(2, &[0; 8])), Err(NotL4)),
        ("ping", ethernet(IPV4, &ipv4(1, &[8; 16])), Err(NotL4)),
    ]);
}

#[test]
fn ipv6_extension_headers_are_walked() {
    let chain = |length: usize| {
        let kinds = [0, 43, 60, 135, 139, 140];
        let (mut next, mut packet) = (TCP, tcp(SYN));
        for kind in kinds.iter().cycle().take(length) {
            packet = extension(next, 1, &packet);
            next = *kind;
        }
        ethernet(IPV6, &ipv6(next, &packet))
    };
    let mut jumbo = ethernet(IPV6, &ipv6(TCP, &tcp(SYN)));
    jumbo[18..20].fill(0);
    let counted = Ok(key6(TCP));
    check(vec![
        ("two extension headers", chain(2), counted),
        ("eight extension headers", chain(8), counted),
        ("forty extension headers", chain(40), Err(TooDeep)),
        (
            "AH, whose length counts in fours",
            ethernet(IPV6, &ipv6(51, &authentication(TCP, 5, &tcp(SYN)))),
            counted,
        ),
        ("ESP", ethernet(IPV6, &ipv6(50, &[0; 40])), Err(NotL4)),
        ("no next header", ethernet(IPV6, &ipv6(59, &tcp(SYN))), Err(NotL4)),
        (
            "extension header beyond the datagram",
            ethernet(IPV6, &ipv6(0, &extension(TCP, 0, &[])[..4])),
            Err(Truncated),
        ),
        (
            "extension header that claims too much",
            ethernet(IPV6, &ipv6(0, &[6, 9, 0, 0, 0, 0, 0, 0])),
            Err(Truncated),
        ),
        ("length left open", jumbo, counted),
        (
            "hop-by-hop options under IPv4",
            ethernet(IPV4, &ipv4(0, &extension(TCP, 0, &tcp(SYN)))),
            Err(NotL4),
        ),
    ]);
}

#[test]
fn fragments_count_once_and_know_their_datagram() {
    const MORE_V4: u16 = 0x2000;
    let v4 =
        |field, payload: &[u8]| found(Link::Ethernet, &ethernet(IPV4, &ipv4_with(UDP, &[], field, payload)));
    let v6 = |field, payload: &[u8]| {
        found(Link::Ethernet, &ethernet(IPV6, &ipv6(44, &fragment(UDP, field, payload))))
    };
    let whole = udp(&[0; 64]);
    for (first, later, id, key) in [
        (v4(MORE_V4, &whole[..32]), v4(4, &whole[32..]), 0x1234, key4(UDP)),
        (v6(1, &whole[..32]), v6(32, &whole[32..]), 0xdead_beef, key6(UDP)),
    ] {
        assert_eq!(first.packet().unwrap().key, key);
        assert_eq!((first.piece, first.id), (Piece::First, id));
        assert_eq!(later.packet(), Err(Fragment));
        assert_eq!((later.piece, later.id, later.protocol), (Piece::Later, id, UDP));
        assert_eq!(later.flow_key().addresses, key.addresses);
    }
    assert_eq!(v6(0, &whole).piece, Piece::Whole, "a fragment header without fragmentation");
    assert_eq!(v6(0, &whole).packet().unwrap().key, key6(UDP));
}

#[test]
fn a_first_fragment_too_short_for_flags_counts_as_mid_stream() {
    let frame = ethernet(IPV4, &ipv4_with(TCP, &[], 0x2000, &tcp(SYN)[..8]));
    let packet = found(Link::Ethernet, &frame).packet().unwrap();
    assert_eq!((packet.key, packet.marks), (key4(TCP), Marks::OTHER));
    let frame = ethernet(IPV4, &ipv4(TCP, &tcp(SYN)[..8]));
    assert_eq!(found(Link::Ethernet, &frame).packet(), Err(Truncated), "a whole datagram has no excuse");
}

#[test]
fn tcp_flags_become_marks() {
    for (flags, marks) in [
        (SYN, Marks::SYN),
        (SYN | ACK, Marks::SYN_ACK),
        (0x04, Marks::RST),
        (0x14, Marks::RST),
        (0x11, Marks::FIN),
        (ACK, Marks::OTHER),
        (0x18, Marks::OTHER),
    ] {
        for options in [0, 4] {
            let frame = ethernet(IPV4, &ipv4_with(TCP, &vec![1; options], 0, &tcp(flags)));
            assert_eq!(found(Link::Ethernet, &frame).marks, marks, "{flags:#04x}");
        }
    }
    for (length, expected) in [(0x40, Malformed), (0x60, Truncated)] {
        let mut frame = ethernet(IPV4, &ipv4(TCP, &tcp(SYN)));
        frame[14 + 20 + 12] = length;
        assert_eq!(found(Link::Ethernet, &frame).packet(), Err(expected), "{length:#04x}");
    }
}

#[test]
fn the_flow_inside_a_tunnel_counts() {
    let ip = ipv4(TCP, &tcp(SYN));
    let inner = ethernet(IPV4, &ip);
    let outer = |protocol, payload: &[u8]| ethernet(IPV4, &ipv4(protocol, payload));
    let counted = Ok(key4(TCP));
    let mut erspan_3 = vec![0x20; 12];
    (erspan_3[10], erspan_3[11]) = (0, 0);
    let mut with_platform = [erspan_3.as_slice(), &[0; 8]].concat();
    with_platform[11] = 1;
    let mut of_ip = erspan_3.clone();
    of_ip[10] = 2 << 2;
    check(vec![
        ("GRE", outer(47, &gre(0, IPV4, &[], &ip)), counted),
        ("GRE with all options", outer(47, &gre(0xb0, IPV4, &[0; 12], &ip)), counted),
        ("GRE with routing", outer(47, &gre(0x40, IPV4, &[0; 4], &ip)), Err(UnsupportedEncapsulation)),
        ("GRE with IPv6", outer(47, &gre(0, IPV6, &[], &ipv6(UDP, &udp(b"")))), Ok(key6(UDP))),
        ("GRE with MPLS", outer(47, &gre(0, 0x8847, &[], &with(&[0, 1, 1, 64], &ip))), counted),
        ("NVGRE", outer(47, &gre(0x20, 0x6558, &[0; 4], &inner)), counted),
        ("ERSPAN I", outer(47, &gre(0, 0x88be, &[], &inner)), counted),
        (
            "ERSPAN II",
            outer(47, &gre(0x10, 0x88be, &[0; 4], &with(&[0x10, 0, 0, 0, 0, 0, 0, 0], &inner))),
            counted,
        ),
        ("ERSPAN III", outer(47, &gre(0x10, 0x22eb, &[0; 4], &with(&erspan_3, &inner))), counted),
        (
            "ERSPAN III with platform header",
            outer(47, &gre(0x10, 0x22eb, &[0; 4], &with(&with_platform, &inner))),
            counted,
        ),
        ("ERSPAN III of IP", outer(47, &gre(0x10, 0x22eb, &[0; 4], &with(&of_ip, &ip))), counted),
        ("VXLAN", outer(UDP, &vxlan(4789, &inner)), counted),
        ("VXLAN on Linux' port", outer(UDP, &vxlan(8472, &inner)), counted),
        ("GENEVE", outer(UDP, &geneve(0, 0x6558, &inner)), counted),
        ("GENEVE with options and IP", outer(UDP, &geneve(63, IPV4, &ip)), counted),
        ("IPv4 in IPv4", outer(4, &ip), counted),
        ("IPv6 in IPv4", outer(41, &ipv6(TCP, &tcp(SYN))), Ok(key6(TCP))),
        ("IPv4 in IPv6", ethernet(IPV6, &ipv6(4, &ip)), counted),
        ("IPv6 in IPv6", ethernet(IPV6, &ipv6(41, &ipv6(TCP, &tcp(SYN)))), Ok(key6(TCP))),
        ("MPLS in IP", outer(137, &with(&[0, 1, 1, 64], &ip)), counted),
        ("GTP-U", outer(UDP, &gtp(0, &[], &ip)), counted),
        ("GTP-U with sequence", outer(UDP, &gtp(2, &[0, 1, 0, 0x85], &ip)), counted),
        (
            "GTP-U with two extensions",
            outer(UDP, &gtp(4, &[0, 0, 0, 0x85, 1, 0, 0, 0xc0, 2, 0, 0, 0, 0, 0, 0, 0], &ip)),
            counted,
        ),
        (
            "GTP-U with an empty extension",
            outer(UDP, &gtp(4, &[0, 0, 0, 0x85, 0, 0, 0, 0], &ip)),
            Err(Malformed),
        ),
        ("L2TPv3", outer(115, &[0; 40]), Err(UnsupportedEncapsulation)),
        ("VXLAN with ARP", outer(UDP, &vxlan(4789, &ethernet(0x0806, &[0; 28]))), Err(NotIp)),
        (
            "two tunnels with everything between",
            {
                let tagged = ethernet(0x8100, &tag(IPV6, &ipv6(60, &extension(4, 3, &ip))));
                ethernet(0x88a8, &tag(0x8100, &tag(IPV4, &ipv4(UDP, &vxlan(4789, &tagged)))))
            },
            counted,
        ),
        (
            "four tunnels",
            outer(
                UDP,
                &vxlan(4789, &outer(47, &gre(0, IPV4, &[], &ipv4(4, &ipv4(UDP, &geneve(1, IPV4, &ip)))))),
            ),
            counted,
        ),
        (
            "thirty tunnels",
            ethernet(IPV4, &(0..30).fold(ip.clone(), |inside, _| ipv4(4, &inside))),
            Err(TooDeep),
        ),
    ]);
}

#[test]
fn what_only_looks_like_a_tunnel_is_its_own_flow() {
    let to = |port| FlowKey { dst_port: port, ..key4(UDP) };
    let datagram = |port, payload: &[u8]| ethernet(IPV4, &ipv4(UDP, &udp_to(port, payload)));
    check(vec![
        ("no VXLAN flag", datagram(4789, &[0; 64]), Ok(to(4789))),
        ("empty datagram to VXLAN's port", datagram(4789, &[]), Ok(to(4789))),
        ("GENEVE of version 1", datagram(6081, &[0x40; 64]), Ok(to(6081))),
        ("GTP echo", datagram(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(to(2152))),
        ("GTP prime", datagram(2152, &[0x0e, 0xff, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(to(2152))),
    ]);
}

#[test]
fn only_the_chosen_tunnels_are_opened() {
    let ip = ipv4(TCP, &tcp(SYN));
    let inner = ethernet(IPV4, &ip);
    let to = |port| Ok(FlowKey { dst_port: port, ..key4(UDP) });
    let closed = Err(UnsupportedEncapsulation);
    for (name, kind, packet, otherwise) in [
        ("gre", Decapsulate::GRE, ipv4(47, &gre(0, IPV4, &[], &ip)), closed),
        ("erspan", Decapsulate::ERSPAN, ipv4(47, &gre(0, 0x88be, &[], &inner)), closed),
        ("vxlan", Decapsulate::VXLAN, ipv4(UDP, &vxlan(4789, &inner)), to(4789)),
        ("geneve", Decapsulate::GENEVE, ipv4(UDP, &geneve(0, IPV4, &ip)), to(6081)),
        ("ipip", Decapsulate::IP, ipv4(4, &ip), closed),
        ("gtp-u", Decapsulate::GTP, ipv4(UDP, &gtp(0, &[], &ip)), to(2152)),
    ] {
        assert!(Decapsulate::KINDS.contains(&(name, kind)));
        let bytes = ethernet(IPV4, &packet);
        let key = |kinds| {
            let decapsulate = Decapsulate::new(kinds, Decapsulate::DEFAULT_VXLAN_PORTS);
            find(&CapturedFrame::whole(&bytes), Link::Ethernet, decapsulate).packet().map(|packet| packet.key)
        };
        assert_eq!(key(kind), Ok(key4(TCP)), "{name} alone");
        assert_eq!(key(!kind), otherwise, "all but {name}");
        assert_eq!(key(0), otherwise, "nothing, {name} least");
    }
}

#[test]
fn a_mirror_may_cut_what_it_sends() {
    let mut long = ipv4(TCP, &with(&tcp(SYN), &[0; 1000]));
    long.truncate(60);
    let frame = |cut: u8| {
        let header = [0x10, 0, cut, 0, 0, 0, 0, 0];
        ethernet(IPV4, &ipv4(47, &gre(0x10, 0x88be, &[0; 4], &with(&header, &ethernet(IPV4, &long)))))
    };
    assert_eq!(found(Link::Ethernet, &frame(0x04)).packet().unwrap().key, key4(TCP), "the switch says so");
    assert_eq!(found(Link::Ethernet, &frame(0)).packet(), Err(Truncated), "the switch does not say so");
}

#[test]
fn the_first_fragment_of_a_tunnel_shows_the_flow_inside() {
    let tunnel = vxlan(4789, &ethernet(IPV4, &ipv4(TCP, &with(&tcp(ACK), &[0; 1400]))));
    let frame = ethernet(IPV4, &ipv4_with(UDP, &[], 0x2000, &tunnel[..800]));
    assert_eq!(found(Link::Ethernet, &frame).packet().unwrap().key, key4(TCP));
}

#[test]
fn icmp_errors_are_evidence_about_the_flow_they_quote() {
    let quote4 =
        |kind, code, quoted: &[u8]| ethernet(IPV4, &ipv4(1, &with(&[kind, code, 0, 0, 0, 0, 0, 0], quoted)));
    let quote6 = |kind, quoted: &[u8]| ethernet(IPV6, &ipv6(58, &with(&[kind, 0, 0, 0, 0, 0, 0, 0], quoted)));
    let mut long = ipv4(TCP, &with(&tcp(SYN), &[0; 500]));
    long.truncate(28);
    let datagram = ipv4(UDP, &udp(b"question"));
    let datagram6 = ipv6(UDP, &udp(b"question"));
    for (name, frame, quoted) in [
        ("port unreachable", quote4(3, 3, &datagram), Some(key4(UDP))),
        ("eight bytes of TCP", quote4(3, 1, &long), Some(key4(TCP))),
        ("time exceeded", quote4(11, 0, &datagram), Some(key4(UDP))),
        ("fragmentation needed", quote4(3, 4, &datagram), None),
        ("echo reply", quote4(0, 0, &datagram), None),
        ("quote of an ICMP error", quote4(3, 3, &ipv4(1, &with(&[3, 3, 0, 0, 0, 0, 0, 0], &datagram))), None),
        ("quote without ports", quote4(3, 3, &datagram[..22]), None),
        ("quote of a later fragment", quote4(3, 3, &ipv4_with(UDP, &[], 7, &[0; 8])), None),
        ("quote of a tunnel", quote4(3, 3, &ipv4(47, &gre(0, IPV4, &[], &datagram))), None),
        ("unreachable, IPv6", quote6(1, &datagram6), Some(key6(UDP))),
        ("packet too big, IPv6", quote6(2, &datagram6), None),
        ("IPv4 quoted by ICMPv6", quote6(1, &datagram), None),
    ] {
        let found = found(Link::Ethernet, &frame);
        assert_eq!(found.packet(), Err(NotL4), "{name}");
        assert_eq!(found.is_quoted().then(|| found.flow_key()), quoted, "{name}");
    }
}

#[test]
fn a_capture_that_keeps_only_headers_is_enough() {
    let frame = ethernet(IPV4, &ipv4(TCP, &with(&tcp(SYN), &[0; 1400])));
    let cut = |length| {
        let frame = CapturedFrame { bytes: &frame[..length], wire_len: frame.len() };
        find(&frame, Link::Ethernet, Decapsulate::ALL).packet().map(|packet| packet.key)
    };
    assert_eq!(cut(14 + 20 + 14), Ok(key4(TCP)), "as far as the flags");
    assert_eq!(cut(14 + 20 + 13), Err(Truncated), "without the flags");
}

#[test]
fn a_trace_names_every_header_and_its_place() {
    let inner = ethernet(IPV4, &ipv4(TCP, &tcp(SYN)));
    let frame = ethernet(0x8100, &tag(IPV4, &ipv4(UDP, &vxlan(4789, &inner))));
    let mut steps = Vec::new();
    let found = explain(&CapturedFrame::whole(&frame), Link::Ethernet, Decapsulate::ALL, |layer, offset| {
        steps.push(format!("{offset} {layer}"));
    });
    assert_eq!(found.flow_key(), key4(TCP));
    let expected = ["0 Ethernet", "14 802.1Q tag", "18 IPv4", "38 UDP", "54 Ethernet", "68 IPv4", "88 TCP"];
    assert_eq!(steps, expected);
}

#[test]
fn the_fragments_of_a_datagram_share_a_key_and_those_of_others_do_not() {
    let options = extension(UDP, 0, &udp(b"data"));
    let pairs = [
        [
            ethernet(IPV4, &ipv4_with(UDP, &[], 0x2000, &udp(b"data"))),
            ethernet(IPV4, &ipv4_with(UDP, &[], 2, b"more")),
        ],
        // The fragment header names what comes next in the first fragment, here not yet the transport.
        [
            ethernet(IPV6, &ipv6(44, &fragment(60, 1, &options))),
            ethernet(IPV6, &ipv6(44, &fragment(60, 3 << 3, b"more"))),
        ],
    ];
    let pairs = pairs.map(|pair| pair.map(|bytes| found(Link::Ethernet, &bytes)));
    for [first, later] in pairs {
        assert_eq!((first.piece, later.piece), (Piece::First, Piece::Later));
        assert_eq!(first.fragment_key(), later.fragment_key());
        let remembered = FirstFragment::new(&first, 5);
        let attributed = |after| {
            let mut found = later;
            found.attribute(remembered.ends(5 + after));
            found
        };
        let packet = Packet { key: first.flow_key(), marks: Marks(0) };
        assert_eq!(attributed(MEMORY).packet(), Ok(packet));
        assert_eq!(attributed(MEMORY + 1), later);
    }
    let [[v4, _], [v6, _]] = pairs;
    assert_ne!(v4.fragment_key(), v6.fragment_key());
    let other = found(Link::Ethernet, &ethernet(IPV4, &ipv4_with(TCP, &[], 2, b"more")));
    assert_ne!(v4.fragment_key(), other.fragment_key(), "another protocol counts its datagrams by itself");
}
