//! A BitTorrent swarm in one namespace, for a real client to discover.
//!
//! A tracker, and the nodes of a DHT, name the peers. What a client meets is what it
//! meets in the wild: addresses in as many networks as there are peers, ports of all kinds, and most
//! peers gone. Some are silent, some refuse, a few are unreachable, and the live ones greet back and then
//! have nothing to give, as in a swarm without seeds, so the client goes on looking.

mod bencode;
mod dht;
mod peer;
mod seeder;
mod tracker;
mod utp;

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};

use self::{dht::Known, seeder::Seeder};
use crate::{
    netns::Namespace,
    service::Service,
    topology::{Family, LIVE6, SILENT, SILENT6, UNREACHABLE, UNREACHABLE6},
};

/// Ports on which the internet's addresses have a live peer, TCP for the swarm and UDP for the DHT.
const LIVE_PORTS: [u16; 24] = [
    6881, 6882, 6889, 51413, 49160, 16881, 8999, 21413, 42069, 62348, 35691, 27018, 13370, 55501, 60012,
    11027, 24680, 31337, 45682, 50321, 57913, 18463, 39402, 63997,
];

/// Peers in the swarm, and what share of them answers.
const PEERS: usize = 600;
const LIVE_PERCENT: u32 = 28;
/// Nodes of the DHT, and what share of them answers.
const NODES: usize = 1500;
const LIVE_NODES_PERCENT: u32 = 65;

/// A running swarm of both families with a seeder that insists on encryption.
#[derive(Debug)]
pub struct Swarm {
    _service: Service,
    _seeder: Seeder,
}

impl Swarm {
    /// Starts it in `internet`, which must answer for its addresses of both families. Needs Debian's aria2.
    pub fn start(internet: &Namespace) -> Result<Self> {
        let seeder = Seeder::start(internet)?;
        let service = Service::start(internet, || async {
            serve(Family::V4, Some(seeder::ADDRESS)).await?;
            serve(Family::V6, Some(seeder::ADDRESS)).await
        })?;
        Ok(Self { _service: service, _seeder: seeder })
    }
}

/// Starts a swarm of IPv4 in `internet`, which must answer for its addresses.
pub fn start(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || serve(Family::V4, None))
}

/// Where the tracker is asked.
#[must_use]
pub fn tracker(family: Family) -> SocketAddr {
    const PORT: u16 = 6969;
    match family {
        Family::V4 => (Ipv4Addr::new(45, 14, 233, 7), PORT).into(),
        Family::V6 => (Ipv6Addr::new(0x2a01, 0x4f8, 0, 0, 0, 0, 0, 7), PORT).into(),
    }
}

/// The DHT node that clients begin with.
#[must_use]
pub fn dht_entry(family: Family) -> SocketAddr {
    let [port, ..] = LIVE_PORTS;
    match family {
        Family::V4 => (Ipv4Addr::new(68, 105, 32, 201), port).into(),
        Family::V6 => (Ipv6Addr::new(0x2605, 0xa000, 0, 0, 0, 0, 0, 0xc9), port).into(),
    }
}

/// Writes what transmission keeps of the DHT from one run to the next: its own identity and nodes that it
/// knew.
pub fn write_routing_table(path: &Path, family: Family) -> Result<()> {
    const SAVED: usize = 16;
    // Some of them have gone since.
    let saved: Vec<_> = nodes(family).into_iter().step_by(NODES / SAVED).take(SAVED).collect();
    let mut table = b"d2:id20:an identity of chance".to_vec();
    table.truncate(b"d2:id20:".len() + 20);
    bencode::string(&mut table, if family == Family::V4 { b"nodes" } else { b"nodes6" });
    bencode::string(&mut table, &bencode::compact(&saved));
    table.push(b'e');
    fs::write(path, table).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a torrent file that names `tracker`, or none.
///
/// The content is zeros, so all its pieces have one hash and no file is needed to compute it.
pub fn write_torrent(path: &Path, tracker: Option<SocketAddr>) -> Result<()> {
    /// SHA-1 of a piece of zeros (`head -c 262144 /dev/zero | sha1sum`).
    const HASH: [u8; 20] = [
        0x2e, 0x00, 0x0f, 0xa7, 0xe8, 0x57, 0x59, 0xc7, 0xf4, 0xc2, 0x54, 0xd4, 0xd9, 0xc3, 0x3e, 0xf4, 0x81,
        0xe4, 0x59, 0xa7,
    ];
    let announce = tracker.map_or_else(String::new, |tracker| {
        let announce = format!("http://{tracker}/announce");
        format!("8:announce{}:{announce}", announce.len())
    });
    let info = format!(
        "4:infod6:lengthi{CONTENT_LENGTH}e4:name{}:{CONTENT}12:piece lengthi{PIECE_LENGTH}e6:pieces{}:",
        CONTENT.len(),
        PIECES * HASH.len()
    );
    let mut torrent = format!("d{announce}{info}").into_bytes();
    torrent.extend(HASH.repeat(PIECES));
    torrent.extend(b"ee");
    fs::write(path, torrent).with_context(|| format!("cannot write {}", path.display()))
}

/// Name, pieces and bytes of the content.
const CONTENT: &str = "image.iso";
const PIECES: usize = 4096;
const PIECE_LENGTH: usize = 262_144;
const CONTENT_LENGTH: usize = PIECES * PIECE_LENGTH;

async fn serve(family: Family, seeder: Option<SocketAddr>) -> Result<()> {
    let members = members(family);
    let known = Arc::new(Known::new(members.clone(), nodes(family)));
    let any: IpAddr = match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    };
    tracker::serve(tracker(family), Arc::new(members)).await?;
    for (index, port) in LIVE_PORTS.into_iter().enumerate() {
        // Every second one is too old for encryption.
        peer::serve(any, port, seeder.filter(|_| index % 2 == 0)).await?;
        dht::serve(any, port, Arc::clone(&known))?;
    }
    Ok(())
}

/// The peers of the swarm, the same in every run: dead ones anywhere, live ones where the internet answers
/// and on a port that is served.
fn members(family: Family) -> Vec<SocketAddr> {
    draw(family, 0x5eed, PEERS, LIVE_PERCENT)
}

/// The nodes of the DHT, members of other swarms. Nodes tell only of those that answered of late, so most
/// live.
fn nodes(family: Family) -> Vec<SocketAddr> {
    draw(family, 0xd47, NODES, LIVE_NODES_PERCENT)
}

/// `count` addresses with ports, the same for the same `seed`.
fn draw(family: Family, seed: u32, count: usize, live_percent: u32) -> Vec<SocketAddr> {
    let mut random = Random(seed);
    let mut drawn = BTreeSet::new();
    while drawn.len() < count {
        let live = random.next() % 100 < live_percent;
        let address = match family {
            Family::V4 => Ipv4Addr::from_bits(random.next()).into(),
            Family::V6 => home6(&mut random).into(),
        };
        if usable(address, live) {
            let port = if live { random.pick(&LIVE_PORTS) } else { dead_port(&mut random) };
            drawn.insert(SocketAddr::new(address, port));
        }
    }
    drawn.into_iter().collect()
}

/// An IPv6 address as providers give them to homes: a network of one of the registries, and a host that its
/// own system has chosen.
fn home6(random: &mut Random) -> Ipv6Addr {
    const REGISTRIES: [u16; 8] =
        [LIVE6[0], LIVE6[1], LIVE6[2], LIVE6[0], LIVE6[1], LIVE6[2], SILENT6, UNREACHABLE6];
    let [a, b, c, d] = std::array::from_fn(|_| random.next());
    let prefix = u32::from(random.pick(&REGISTRIES)) << 16 | a & 0x000f_ffff;
    Ipv6Addr::from_bits(u128::from(prefix) << 96 | u128::from(b) << 64 | u128::from(c) << 32 | u128::from(d))
}

/// Whether `address` can be a peer's, of a live one or of any.
fn usable(address: IpAddr, live: bool) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            let own = [10, 127, 172, 192, 198].contains(&first);
            let dead = SILENT.contains(&first) || UNREACHABLE.contains(&first);
            (1..=223).contains(&first) && !own && !(live && dead)
        }
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            !(live && [SILENT6, UNREACHABLE6].contains(&(first & 0xfff0)))
        }
    }
}

/// A port as users' routers give it, that nobody listens on.
fn dead_port(random: &mut Random) -> u16 {
    loop {
        let [high, low, ..] = random.next().to_be_bytes();
        let port = u16::from_be_bytes([high, low]);
        if port >= 1024 && !LIVE_PORTS.contains(&port) {
            return port;
        }
    }
}

/// A small generator with a fixed seed (Marsaglia, "Xorshift RNGs", 2003): the swarm must be the same in
/// every run, whatever the version of any crate.
#[derive(Clone, Debug)]
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The network as the sensor tells them apart: /16 of IPv4, /32 of IPv6.
    fn network(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(address) => address.octets()[..2].to_vec(),
            IpAddr::V6(address) => address.octets()[..4].to_vec(),
        }
    }

    fn is_live(address: &SocketAddr) -> bool {
        usable(address.ip(), true) && LIVE_PORTS.contains(&address.port())
    }

    #[test]
    fn the_swarm_is_spread_and_mostly_dead_as_in_the_wild() {
        for family in [Family::V4, Family::V6] {
            let members = members(family);
            let networks: BTreeSet<_> = members.iter().map(|peer| network(peer.ip())).collect();
            assert!(
                networks.len() * 100 >= members.len() * 95,
                "{family:?}: {} networks of {}",
                networks.len(),
                members.len()
            );
            let ports: BTreeSet<_> = members.iter().map(SocketAddr::port).collect();
            assert!(ports.len() * 2 >= members.len(), "{family:?}: {} ports", ports.len());
            let percent = |of: &[SocketAddr]| of.iter().filter(|peer| is_live(peer)).count() * 100 / of.len();
            let (of_members, of_nodes) = (percent(&members), percent(&nodes(family)));
            assert!((10..=40).contains(&of_members), "{family:?}: {of_members} % of the members live");
            assert!((50..=70).contains(&of_nodes), "{family:?}: {of_nodes} % of the nodes live");
        }
    }
}
