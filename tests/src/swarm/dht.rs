//! DHT nodes (BEP 5, and BEP 32 for IPv6): one socket per port stands for the nodes on that port of every
//! address, and answers from the address that was asked. Real clients speak uTP on the same port, and so do
//! these.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;

use super::{
    Random, bencode,
    bencode::{Value, compact_one},
    utp,
};
use crate::{datagram::Anywhere, service::detach};

/// Nodes in an answer, and in a bucket of a routing table, as BEP 5 has it.
const NODES: usize = 8;
/// Peers in an answer to `get_peers`.
const VALUES: usize = 20;
/// So many nodes next to a torrent's hash have been told of its peers.
const TOLD: usize = 20;

/// Identity of a node, or the hash of a torrent.
type Id = [u8; 20];

/// Whom the nodes tell of.
#[derive(Debug)]
pub struct Known {
    peers: Vec<SocketAddr>,
    nodes: Vec<(Id, SocketAddr)>,
}

impl Known {
    /// A torrent's peers, and all nodes of the DHT.
    pub fn new(peers: Vec<SocketAddr>, nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { peers, nodes: nodes.into_iter().map(|node| (identity(node), node)).collect() }
    }

    /// The nodes next to `target` of those that `own` knows: a few at every distance from itself, as Kademlia
    /// has it, so that a search takes several steps and each brings it nearer.
    fn nearest(&self, own: &Id, target: &Id) -> Vec<&(Id, SocketAddr)> {
        let mut buckets = [0; 8 * size_of::<Id>() + 1];
        let mut table: Vec<_> = self
            .nodes
            .iter()
            .filter(|(node, _)| {
                let bucket = &mut buckets[common_bits(own, node)];
                *bucket += 1;
                *bucket <= NODES
            })
            .collect();
        table.sort_unstable_by_key(|(node, _)| distance(node, target));
        table.truncate(NODES);
        table
    }

    /// Whether the node `own` has been told of the peers of `target`.
    fn was_told(&self, own: &Id, target: &Id) -> bool {
        let nearer = self.nodes.iter().filter(|(node, _)| distance(node, target) < distance(own, target));
        nearer.count() < TOLD
    }
}

/// Binds to `port` of every address of a family and serves from then on.
pub fn serve(any: IpAddr, port: u16, known: Arc<Known>) -> Result<()> {
    let socket = Anywhere::bind(any, port)?;
    let mut asked = usize::from(port);
    detach(socket.serve(move |query| {
        asked += 1;
        let own = identity((query.asked, port).into());
        answer(&query.text, &own, &known, asked).or_else(|| utp::answer(&query.text).map(Vec::from))
    }));
    Ok(())
}

fn answer(query: &[u8], own: &Id, known: &Known, asked: usize) -> Option<Vec<u8>> {
    let value = Value::read(query)?;
    let transaction = value.get(b"t")?.bytes()?;
    let method = value.get(b"q")?.bytes()?;
    let arguments = value.get(b"a")?;
    let target = arguments.get(b"target").or_else(|| arguments.get(b"info_hash")).and_then(Value::bytes);
    let mut text = b"d1:rd2:id".to_vec();
    bencode::string(&mut text, own);
    if let Some(target) = target.and_then(|target| target.first_chunk()) {
        let nodes = known.nearest(own, target);
        let v4 = nodes.iter().all(|(_, address)| address.is_ipv4());
        bencode::string(&mut text, if v4 { b"nodes" } else { b"nodes6" });
        let nodes = nodes.iter().flat_map(|(id, address)| [&id[..], &compact_one(*address)].concat());
        bencode::string(&mut text, &nodes.collect::<Vec<_>>());
        if method == b"get_peers" {
            text.extend(b"5:token4:okay");
            if known.was_told(own, target) {
                text.extend(b"6:valuesl");
                // Others every time.
                let peers = known.peers.iter().cycle().skip(asked * VALUES % known.peers.len());
                peers.take(VALUES).for_each(|peer| bencode::string(&mut text, &compact_one(*peer)));
                text.push(b'e');
            }
        }
    }
    text.extend(b"e1:t");
    bencode::string(&mut text, transaction);
    text.extend(b"1:y1:re");
    Some(text)
}

/// The identity of the node at `address`, by chance but always the same: FNV-1a over the address seeds the
/// rest.
fn identity(address: SocketAddr) -> Id {
    let seed = compact_one(address)
        .into_iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut random = Random(seed | 1);
    std::array::from_fn(|_| {
        let [byte, ..] = random.next().to_be_bytes();
        byte
    })
}

/// Kademlia's distance, larger for farther.
fn distance(a: &Id, b: &Id) -> Id {
    std::array::from_fn(|index| a[index] ^ b[index])
}

/// How many bits at their beginning two identities have in common.
fn common_bits(a: &Id, b: &Id) -> usize {
    let distance = distance(a, b);
    let bytes = distance.iter().take_while(|byte| **byte == 0).count();
    8 * bytes + distance.get(bytes).map_or(0, |byte| byte.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_search_comes_nearer_by_steps_and_ends_at_nodes_that_know_peers() {
        let addresses = (1..=1500_u32).map(|n| (Ipv4Addr::from_bits(n << 16), 6881).into());
        let peers = vec![(Ipv4Addr::LOCALHOST, 1).into()];
        let known = Known::new(peers, addresses);
        let target: Id = *b"mnopqrstuvwxyz123456";
        let mut at = *known.nodes.iter().map(|(id, _)| id).max_by_key(|id| distance(id, &target)).unwrap();
        let mut steps = 0;
        while !known.was_told(&at, &target) {
            let next = known.nearest(&at, &target)[0].0;
            assert!(distance(&next, &target) < distance(&at, &target), "step {steps} leads away");
            at = next;
            steps += 1;
        }
        assert!((2..=8).contains(&steps), "{steps} steps");
    }
}
