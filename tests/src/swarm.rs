//! A BitTorrent swarm in one namespace, for a real client to discover.
//!
//! A tracker and as many DHT nodes as there are live peers name the others. What a client meets is what it
//! meets in the wild: addresses in as many networks as there are peers, ports of all kinds, and most
//! peers gone. Some are silent, some refuse, a few are unreachable, and the live ones greet back and then
//! have nothing to give, as in a swarm without seeds, so the client goes on looking.

mod bencode;
mod dht;
mod peer;
mod tracker;
mod utp;

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{
    netns::Namespace,
    service::Service,
    topology::{SILENT, UNREACHABLE},
};

/// Where the tracker is asked.
pub const TRACKER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(45, 14, 233, 7), 6969);
/// The DHT node that clients begin with.
pub const DHT_ENTRY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(68, 105, 32, 201), LIVE_PORTS[0]);

/// Ports on which the internet's addresses have a live peer, TCP for the swarm and UDP for the DHT.
const LIVE_PORTS: [u16; 24] = [
    6881, 6882, 6889, 51413, 49160, 16881, 8999, 21413, 42069, 62348, 35691, 27018, 13370, 55501, 60012,
    11027, 24680, 31337, 45682, 50321, 57913, 18463, 39402, 63997,
];

/// Peers in the swarm, and what share of them answers.
const PEERS: usize = 600;
const LIVE_PERCENT: u32 = 28;

/// Starts the swarm in `internet`, which must answer for its addresses.
pub fn start(internet: &Namespace) -> Result<Service> {
    Service::start(internet, || serve(Arc::new(members())))
}

/// Writes a torrent file that names the swarm's tracker.
///
/// The content is zeros, so all its pieces have one hash and no file is needed to compute it.
pub fn write_torrent(path: &Path) -> Result<()> {
    const PIECE_LENGTH: usize = 262_144;
    const PIECES: usize = 4096;
    /// SHA-1 of a piece of zeros (`head -c 262144 /dev/zero | sha1sum`).
    const HASH: [u8; 20] = [
        0x2e, 0x00, 0x0f, 0xa7, 0xe8, 0x57, 0x59, 0xc7, 0xf4, 0xc2, 0x54, 0xd4, 0xd9, 0xc3, 0x3e, 0xf4, 0x81,
        0xe4, 0x59, 0xa7,
    ];
    let announce = format!("http://{TRACKER}/announce");
    let mut torrent = format!(
        "d8:announce{}:{announce}4:infod6:lengthi{}e4:name9:image.iso12:piece lengthi{PIECE_LENGTH}e6:pieces{}:",
        announce.len(),
        PIECES * PIECE_LENGTH,
        PIECES * HASH.len()
    )
    .into_bytes();
    torrent.extend(HASH.repeat(PIECES));
    torrent.extend(b"ee");
    fs::write(path, torrent).with_context(|| format!("cannot write {}", path.display()))
}

async fn serve(members: Arc<Vec<SocketAddrV4>>) -> Result<()> {
    tracker::serve(TRACKER, Arc::clone(&members)).await?;
    for port in LIVE_PORTS {
        peer::serve(port).await?;
        dht::serve(port, Arc::clone(&members))?;
    }
    Ok(())
}

/// The peers of the swarm, the same in every run: dead ones anywhere, live ones where the internet answers
/// and on a port that is served.
fn members() -> Vec<SocketAddrV4> {
    let mut random = Random(0x5eed);
    let mut members = BTreeSet::new();
    while members.len() < PEERS {
        let live = random.next() % 100 < LIVE_PERCENT;
        let address = Ipv4Addr::from_bits(random.next());
        if usable(address, live) {
            let port = if live { random.pick(&LIVE_PORTS) } else { dead_port(&mut random) };
            members.insert(SocketAddrV4::new(address, port));
        }
    }
    members.into_iter().collect()
}

fn usable(address: Ipv4Addr, live: bool) -> bool {
    let [first, ..] = address.octets();
    let own = [10, 127, 172, 192, 198].contains(&first);
    let dead = SILENT.contains(&first) || UNREACHABLE.contains(&first);
    (1..=223).contains(&first) && !own && !(live && dead)
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

    #[test]
    fn the_swarm_is_spread_and_mostly_dead_as_in_the_wild() {
        let members = members();
        let networks: BTreeSet<_> = members.iter().map(|peer| peer.ip().octets()[..2].to_vec()).collect();
        assert!(
            networks.len() * 100 >= members.len() * 95,
            "{} networks of {}",
            networks.len(),
            members.len()
        );
        let ports: BTreeSet<_> = members.iter().map(SocketAddrV4::port).collect();
        assert!(ports.len() * 2 >= members.len(), "{} ports of {}", ports.len(), members.len());
        let live =
            members.iter().filter(|peer| usable(*peer.ip(), true) && LIVE_PORTS.contains(&peer.port()));
        let percent = live.count() * 100 / members.len();
        assert!((10..=40).contains(&percent), "{percent} % are live");
    }
}
