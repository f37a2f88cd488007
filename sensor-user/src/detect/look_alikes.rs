//! The hosts that look most like a torrent host or a scanner and are none, and the torrent hosts that they
//! must not take along.

use std::net::IpAddr;

use crate::{
    alert::AlertKind,
    detect::synthetic::{After, HOST, Swarm, Traffic, address, both_ways, fired},
    flow::Protocol,
};

const TORRENT: &[(AlertKind, IpAddr)] = &[(AlertKind::Torrent, HOST)];

/// What a UDP server sends to `clients` clients whose requests are not mirrored.
fn replies(traffic: &mut Traffic, clients: u32) {
    for number in 0..clients {
        let (client, port) = (traffic.anywhere(), traffic.ephemeral());
        let when = 1.0 + f64::from(number) / 10.0;
        traffic.contact(when, (HOST, 34_197), (client, port), Protocol::UDP, After::Silence);
    }
}

#[test]
fn a_udp_server_of_which_only_replies_are_mirrored_is_not_named() {
    assert_eq!(fired(|traffic| replies(traffic, 300)), [], "of anybody");
    let beside_others = |traffic: &mut Traffic| {
        both_ways(traffic);
        replies(traffic, 300);
    };
    assert_eq!(fired(beside_others), [], "of this host");
    let beside_its_browsing = |traffic: &mut Traffic| {
        // That TCP is answered shows by its initiator alone.
        for number in 0..100 {
            let (server, local_port) = (traffic.anywhere(), traffic.ephemeral());
            let when = 1.0 + f64::from(number) / 4.0;
            traffic.contact(when, (HOST, local_port), (server, 443), Protocol::TCP, After::Answer);
        }
        replies(traffic, 300);
    };
    assert_eq!(fired(beside_its_browsing), [], "beside browsing");
}

#[test]
fn a_swarm_on_a_mirror_of_one_direction_is_told_from_a_server_by_tcp_or_by_usual_ports() {
    let silent = |usual: u32, tcp: u32| {
        fired(|traffic: &mut Traffic| {
            for number in 0..100 {
                let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
                let port = if traffic.chance(usual) { 6_881 } else { port };
                let protocol = if traffic.chance(tcp) { Protocol::TCP } else { Protocol::UDP };
                let when = f64::from(number) / 10.0;
                traffic.contact(when, (HOST, 8_999), (peer, port), protocol, After::Silence);
            }
        })
    };
    assert_eq!(silent(0, 0), [], "neither");
    assert_eq!(silent(10, 0), TORRENT, "usual ports");
    assert_eq!(silent(0, 4), TORRENT, "a few over TCP");
}

/// A meeting whose STUN is not seen: every partner at once, an address of each family for each, half of them
/// answering.
fn mesh(traffic: &mut Traffic, partners: u32) {
    both_ways(traffic);
    for partner in 0..partners {
        for (family, after) in [(4, After::Answer), (6, After::Silence)] {
            let peer = if family == 4 { traffic.anywhere() } else { traffic.anywhere6() };
            let port = traffic.ephemeral();
            let when = 2.0 + f64::from(partner) * 0.3;
            traffic.contact(when, (HOST, 50_123), (peer, port), Protocol::UDP, after);
        }
    }
}

#[test]
fn a_meeting_of_twelve_without_stun_is_not_named_and_a_swarm_over_udp_alone_is() {
    assert_eq!(fired(|traffic| mesh(traffic, 11)), []);
    let swarm = |peers| fired(|traffic| Swarm { peers, tcp: 0, ..Swarm::default() }.play(traffic));
    assert_eq!(swarm(30), TORRENT, "more peers than a meeting");
    assert_eq!(swarm(16), TORRENT, "peers on usual ports");
}

#[test]
fn a_turn_relay_is_not_named() {
    let relay = |traffic: &mut Traffic| {
        for number in 0..200 {
            let when = f64::from(number) / 4.0;
            let client = (traffic.anywhere(), traffic.ephemeral());
            traffic.contact(when, client, (HOST, 3_478), Protocol::UDP, After::Answer);
            // Each client has a socket of its own on the relay, through which it reaches a few partners.
            let socket = 49_152 + u16::try_from(number % 50).unwrap();
            let (partner, port) = (traffic.anywhere(), traffic.ephemeral());
            let after = if traffic.chance(70) { After::Answer } else { After::Silence };
            traffic.contact(when + 0.1, (HOST, socket), (partner, port), Protocol::UDP, after);
        }
    };
    assert_eq!(fired(relay), []);
}

#[test]
fn a_hub_of_tunnels_is_not_named_whatever_its_port() {
    for (socket, peers) in [(51_820, 200), (40_404, 200), (40_404, 20)] {
        let hub = |traffic: &mut Traffic| {
            both_ways(traffic);
            for number in 0..peers {
                let (peer, port) = (traffic.anywhere(), traffic.port(1_024));
                // All speak within the interval of a keepalive; either side may be seen first.
                let when = 1.0 + 25.0 * f64::from(number) / f64::from(peers);
                let away = traffic.chance(5);
                if away || traffic.chance(50) {
                    let after = if away { After::Silence } else { After::Answer };
                    traffic.contact(when, (HOST, socket), (peer, port), Protocol::UDP, after);
                } else {
                    traffic.contact(when, (peer, port), (HOST, socket), Protocol::UDP, After::Answer);
                }
            }
        };
        assert_eq!(fired(hub), [], "{peers} peers of port {socket}");
    }
}

#[test]
fn an_ipfs_node_most_of_whose_peers_keep_the_default_port_is_not_named() {
    let node = |traffic: &mut Traffic| {
        both_ways(traffic);
        for number in 0..300 {
            let peer = traffic.anywhere();
            let port = if traffic.chance(80) { 4_001 } else { traffic.port(1_024) };
            let after = if traffic.chance(50) { After::Answer } else { After::Silence };
            let protocol = if traffic.chance(50) { Protocol::TCP } else { Protocol::UDP };
            let when = 1.0 + f64::from(number) / 10.0;
            traffic.contact(when, (HOST, 4_001), (peer, port), protocol, after);
        }
    };
    let all = fired(node);
    assert_eq!(all, [], "one in five peers elsewhere");
}

/// Beside silence of hosts that are not mirrored, a host that is heard and whose contacts are not answered
/// still scans.
#[test]
fn a_random_scan_over_udp_is_named_once_anything_comes_to_its_host() {
    let scan = |heard: bool| {
        fired(|traffic: &mut Traffic| {
            both_ways(traffic);
            if heard {
                let server = address("9.9.9.9");
                traffic.contact(0.5, (HOST, 40_001), (server, 53), Protocol::UDP, After::Answer);
            }
            for number in 0..200 {
                let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
                let when = 1.0 + f64::from(number) / 20.0;
                traffic.contact(when, (HOST, 40_000), (peer, port), Protocol::UDP, After::Silence);
            }
        })
    };
    assert_eq!(scan(true), [(AlertKind::Scan, HOST)]);
    assert_eq!(scan(false), [], "it may be a server whose clients are not mirrored");
}

/// The price of evasion over UDP, as the documentation states it; what TCP adds gives the host away.
#[test]
fn what_evades_over_udp_costs_the_evader_his_tcp() {
    let swarm = Swarm { peers: 200, tcp: 0, ..Swarm::default() };
    let from = |traffic: &mut Traffic, socket: u16, tcp: u32, per_second: f64| {
        both_ways(traffic);
        for number in 0..swarm.peers {
            let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
            let after = if traffic.chance(40) { After::Answer } else { After::Silence };
            let over_tcp = traffic.chance(tcp);
            let (protocol, local_port) =
                if over_tcp { (Protocol::TCP, traffic.ephemeral()) } else { (Protocol::UDP, socket) };
            let when = 5.0 + f64::from(number) / per_second;
            traffic.contact(when, (HOST, local_port), (peer, port), protocol, after);
        }
    };
    assert_eq!(fired(|traffic| from(traffic, 8_999, 0, 10.0)), TORRENT, "an ordinary socket");
    assert_eq!(fired(|traffic| from(traffic, 53, 0, 10.0)), [], "a privileged one");
    assert_eq!(fired(|traffic| from(traffic, 53, 40, 10.0)), TORRENT, "a privileged one, and TCP");
    let relay = |traffic: &mut Traffic, tcp| {
        let client = (traffic.anywhere(), 40_000);
        traffic.contact(1.0, client, (HOST, 3_478), Protocol::UDP, After::Answer);
        from(traffic, 8_999, tcp, 10.0);
    };
    assert_eq!(fired(|traffic| relay(traffic, 0)), [], "a host that serves STUN");
    assert_eq!(fired(|traffic| relay(traffic, 40)), TORRENT, "one that serves STUN, and TCP");
    let caller = |traffic: &mut Traffic, per_second| {
        let stun = (address("198.51.100.7"), 3_478);
        traffic.contact(1.0, (HOST, 8_999), stun, Protocol::UDP, After::Answer);
        from(traffic, 8_999, 0, per_second);
    };
    assert_eq!(fired(|traffic| caller(traffic, 1.0)), TORRENT, "a socket that spoke to STUN");
}

#[test]
fn what_evades_by_number_over_udp_is_fewer_than_a_meeting() {
    let few = |peers: u32, usual: bool| {
        fired(|traffic: &mut Traffic| {
            both_ways(traffic);
            for number in 0..peers {
                let (peer, port) = (traffic.anywhere(), u16::try_from(20_000 + number).unwrap());
                let port = if usual && number == 0 { 6_881 } else { port };
                let after = if number % 5 < 2 { After::Answer } else { After::Silence };
                let when = 2.0 + f64::from(number) / 10.0;
                traffic.contact(when, (HOST, 8_999), (peer, port), Protocol::UDP, after);
            }
        })
    };
    assert_eq!(few(23, false), []);
    assert_eq!(few(24, false), TORRENT);
    assert_eq!(few(23, true), TORRENT);
}

/// Only answers are there: a peer is first seen when it answers, and those that are silent are never seen.
#[test]
fn a_swarm_on_a_mirror_of_what_comes_in_is_not_seen() {
    let answers = |traffic: &mut Traffic| {
        for number in 0..100 {
            let (peer, port) = (traffic.anywhere(), traffic.port(10_000));
            let protocol = if traffic.chance(40) { Protocol::TCP } else { Protocol::UDP };
            let local_port = if protocol == Protocol::TCP { traffic.ephemeral() } else { 8_999 };
            let when = 2.0 + f64::from(number) / 10.0;
            traffic.contact(when, (HOST, local_port), (peer, port), protocol, After::Answer);
        }
    };
    assert_eq!(fired(answers), []);
}

#[test]
fn a_dht_whose_nodes_all_answer_is_named_by_its_usual_ports_and_a_service_is_not() {
    let walk = |usual: u32| {
        fired(|traffic: &mut Traffic| {
            for number in 0..40 {
                let (peer, port) = (traffic.anywhere(), u16::try_from(20_000 + number).unwrap());
                let port = if number < usual { 6_881 } else { port };
                let when = 2.0 + f64::from(number) / 4.0;
                traffic.contact(when, (HOST, 8_999), (peer, port), Protocol::UDP, After::Answer);
            }
        })
    };
    assert_eq!(walk(2), TORRENT);
    assert_eq!(walk(1), []);
}
