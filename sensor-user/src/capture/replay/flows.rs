//! The flows of the drain that is being filled, kept in the form in which the parser finds them.
//!
//! A frame costs one hash of a few words and one entry of 40 bytes (IPv4); flows as the pipeline sees them
//! are made once for each drain. They come out by family, IPv4 first, each in the order in which they came
//! in, so that a replay repeats exactly.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use sensor_common::{
    packet::{FlowKey, Marks},
    parse::Segment,
    table::{AddressWords, HashSecret, Key},
};

use crate::{
    clock::Timestamp,
    flow::{Flow, FlowId},
};

/// The flows of both families, each once.
#[derive(Default)]
pub struct Flows {
    /// IPv4.
    pub v4: Family<u64>,
    /// IPv6.
    pub v6: Family<[u64; 4]>,
}

impl Flows {
    /// Number of flows.
    pub const fn len(&self) -> usize {
        self.v4.entries.len() + self.v6.entries.len()
    }

    /// Takes the flows out, in place of what was in `flows`. Both keep their memory.
    pub fn take_into(&mut self, flows: &mut Vec<Flow>) {
        flows.clear();
        self.v4.move_to(flows);
        self.v6.move_to(flows);
    }
}

/// The flows of one address family.
pub struct Family<A> {
    entries: Vec<Entry<A>>,
    /// Indexes into `entries`.
    index: HashTable<u32>,
    /// Random: identities are chosen by strangers.
    secret: HashSecret,
}

/// A flow: of IPv4 40 bytes.
struct Entry<A> {
    addresses: A,
    /// As in [`Key`].
    port_and_protocol: u32,
    src_port: u16,
    marks: Marks,
    packets: u64,
    bytes: u64,
    first_seen: Timestamp,
}

const _: () = assert!(size_of::<Entry<u64>>() == 40 && size_of::<Entry<[u64; 4]>>() == 64);

/// What one frame adds to its flow.
#[derive(Clone, Copy)]
pub struct Added {
    /// 1, or 0 for a mark that counts no frame.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// When; not before what was added before.
    pub time: Timestamp,
}

impl<A> Default for Family<A> {
    fn default() -> Self {
        let random = RandomState::default();
        let secret = HashSecret::new([0, 1, 2, 3, 4].map(|word: u64| random.hash_one(word)));
        Self { entries: Vec::new(), index: HashTable::new(), secret }
    }
}

impl<A: AddressWords> Family<A> {
    /// Counts a frame.
    #[inline]
    pub fn count(&mut self, segment: &Segment<Key<A>>, added: Added) {
        let Self { entries, index, secret } = self;
        let Segment { key, src_port, marks } = *segment;
        let found = index.find(hash(&key, secret), |&position| entries[position as usize].holds(&key));
        match found {
            Some(&position) => entries[position as usize].count(src_port, marks, added),
            None => self.insert(Entry::new(segment, added)),
        }
    }

    #[cold]
    fn insert(&mut self, entry: Entry<A>) {
        let Self { entries, index, secret } = self;
        let position = u32::try_from(entries.len()).expect("one drain must hold fewer than 2^32 flows");
        let rehash = |&position: &u32| hash(&entries[position as usize].key(), secret);
        index.insert_unique(hash(&entry.key(), secret), position, rehash);
        entries.push(entry);
    }

    fn move_to(&mut self, flows: &mut Vec<Flow>) {
        self.index.clear();
        flows.extend(self.entries.drain(..).map(|entry| entry.flow()));
    }
}

/// The table takes a position from the low bits of a hash and a tag from the highest seven; the key's own
/// hash is best in its high half.
#[inline]
fn hash<A: AddressWords>(key: &Key<A>, secret: &HashSecret) -> u64 {
    key.hash(|word| secret.0[word]).rotate_left(u32::BITS)
}

impl<A: AddressWords> Entry<A> {
    fn new(segment: &Segment<Key<A>>, added: Added) -> Self {
        let Segment { key: Key { addresses, port_and_protocol }, src_port, marks } = *segment;
        let Added { packets, bytes, time } = added;
        Self { addresses, port_and_protocol, src_port, marks, packets, bytes, first_seen: time }
    }

    const fn key(&self) -> Key<A> {
        Key { addresses: self.addresses, port_and_protocol: self.port_and_protocol }
    }

    #[inline]
    fn holds(&self, key: &Key<A>) -> bool {
        self.addresses.are(&key.addresses) && self.port_and_protocol == key.port_and_protocol
    }

    #[inline]
    fn count(&mut self, src_port: u16, marks: Marks, added: Added) {
        let more_ports = if self.src_port == src_port { Marks::default() } else { Marks::MORE_PORTS };
        self.marks = self.marks.with(marks).with(more_ports);
        self.packets += added.packets;
        self.bytes += added.bytes;
    }

    fn flow(&self) -> Flow {
        let Self { addresses, src_port, marks, packets, bytes, first_seen, .. } = *self;
        let (dst_port, protocol) = (self.key().dst_port(), self.key().protocol());
        let key = FlowKey { addresses: addresses.to_addresses(), src_port, dst_port, protocol };
        let (id, src_port) = FlowId::of(&key);
        Flow { id, src_port, packets, bytes, marks, first_seen }
    }
}
