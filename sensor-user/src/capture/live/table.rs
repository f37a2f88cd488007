//! The agent's side of the flow table: its size, and reading a generation that stands still.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError},
};
use sensor_common::{
    control::{CPU_STATE, CpuState, EPOCH_WORD, FrameTotals, GENERATIONS},
    packet::FlowKey,
    table::{
        AddressWords, BUCKETS_PER_WORD, Bucket, BucketV4, BucketV6, Counters, FLOWS_V4, FLOWS_V6, OVERFLOW,
        OverflowKey, SLOTS, USED_V4, USED_V6,
    },
};

use super::mapped::{MappedArray, Shared};
use crate::config::Capacity;

/// Entries of the overflow, for every generation. A flow comes there when the two buckets it may live in
/// are full, which at half load meets one flow in 250.
const OVERFLOW_SHARE: u32 = 32;

/// Kernel memory of an entry of the overflow, which is preallocated: 48 bytes of header, key and value
/// (kernel/bpf/hashtab.c, struct `htab_elem`), and a list head of 16 for each, up to a power of two.
const OVERFLOW_ENTRY: u64 = 48 + size_of::<OverflowKey>() as u64 + size_of::<Counters>() as u64 + 2 * 16;

/// Memory per flow that a table of this capacity takes at most, overflow, bitmap and both generations
/// included.
const BYTES_V4: u64 = 256;
/// The same for IPv6.
const BYTES_V6: u64 = 2 * BYTES_V4;

/// How large the table of one interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSize {
    /// Possible CPUs; each has a part of its own in each generation.
    pub cpus: u32,
    /// Logarithm of the IPv4 buckets per CPU and generation.
    pub bucket_bits_v4: u32,
    /// Logarithm of the IPv6 buckets per CPU and generation.
    pub bucket_bits_v6: u32,
    /// Entries of the overflow of one generation that are there for IPv4.
    pub overflow_v4: u32,
    /// The same for IPv6; both share one map.
    pub overflow_v6: u32,
}

impl TableSize {
    /// Room for `capacity` on `cpus` CPUs: as much as fits into 256 bytes per IPv4 and 512 per IPv6 flow.
    /// That is a quarter to half of the slots in use where the flows are spread evenly, and room for twice
    /// the fair share of flows on one CPU. Never less than the smallest table, which a bitmap word sets.
    #[must_use]
    pub fn new(capacity: &Capacity, cpus: u32) -> Self {
        let overflow = |flows: u32| flows.div_ceil(OVERFLOW_SHARE);
        let bits = |flows: u32, bytes: u64, bucket: usize| {
            let overflow = GENERATIONS as u64 * u64::from(overflow(flows)) * OVERFLOW_ENTRY;
            // A handful of flows is less than one entry of the overflow.
            let table = (u64::from(flows) * bytes).saturating_sub(overflow);
            // 64 buckets share a word of the bitmap, so one takes an eighth of a byte more.
            let buckets = table * 8 / (GENERATIONS as u64 * u64::from(cpus) * (bucket as u64 * 8 + 1));
            buckets.max(u64::from(BUCKETS_PER_WORD)).ilog2()
        };
        Self {
            cpus,
            bucket_bits_v4: bits(capacity.ipv4_flows, BYTES_V4, size_of::<BucketV4>()),
            bucket_bits_v6: bits(capacity.ipv6_flows, BYTES_V6, size_of::<BucketV6>()),
            overflow_v4: overflow(capacity.ipv4_flows),
            overflow_v6: overflow(capacity.ipv6_flows),
        }
    }

    fn parts(&self) -> usize {
        self.cpus as usize * GENERATIONS
    }

    /// Elements of a map with `2^bits` buckets per part.
    #[must_use]
    pub fn buckets(&self, bits: u32) -> u32 {
        (self.cpus * 2) << bits
    }

    /// Elements of the bitmap beside it.
    #[must_use]
    pub fn words(&self, bits: u32) -> u32 {
        self.buckets(bits) / BUCKETS_PER_WORD
    }

    /// Slots of one generation, all CPUs and both families together.
    #[must_use]
    pub fn slots(&self) -> u64 {
        let buckets = self.buckets(self.bucket_bits_v4) + self.buckets(self.bucket_bits_v6);
        u64::from(buckets) / GENERATIONS as u64 * SLOTS as u64
    }

    /// Entries of the overflow of one generation.
    #[must_use]
    pub const fn overflow(&self) -> u32 {
        self.overflow_v4.saturating_add(self.overflow_v6)
    }

    /// Memory of all of it in bytes, as the kernel accounts it, map headers left out.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_v4() + self.family(self.bucket_bits_v6, size_of::<BucketV6>(), self.overflow_v6)
    }

    /// The part of it that is there for IPv4.
    #[must_use]
    pub fn bytes_v4(&self) -> u64 {
        self.family(self.bucket_bits_v4, size_of::<BucketV4>(), self.overflow_v4)
    }

    fn family(&self, bits: u32, bucket: usize, overflow: u32) -> u64 {
        u64::from(self.buckets(bits)) * bucket as u64
            + u64::from(self.words(bits)) * 8
            + GENERATIONS as u64 * u64::from(overflow) * OVERFLOW_ENTRY
    }
}

/// One entry as a drain finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The flow, with its first source port.
    pub key: FlowKey,
    /// What was counted.
    pub counters: Counters,
}

/// One address family: its buckets and the bitmap of those in use.
struct Family<A: AddressWords> {
    buckets: MappedArray<Bucket<A>>,
    used: MappedArray<u64>,
    bits: u32,
}

impl<A: AddressWords> Family<A>
where
    Bucket<A>: Shared,
{
    fn drain(&mut self, part: usize, mut each: impl FnMut(Entry)) {
        let buckets = 1usize << self.bits;
        let words = buckets / BUCKETS_PER_WORD as usize;
        let part_buckets = self.buckets.quiescent(part * buckets..(part + 1) * buckets);
        let part_words = self.used.quiescent(part * words..(part + 1) * words);
        for (word, group) in
            part_words.iter_mut().zip(part_buckets.chunks_exact_mut(BUCKETS_PER_WORD as usize))
        {
            let mut bits = std::mem::take(word);
            while bits != 0 {
                let bucket = &mut group[bits.trailing_zeros() as usize];
                bits &= bits - 1;
                for slot in bucket.0.iter().filter(|slot| !slot.is_free()) {
                    each(Entry { key: slot.flow_key(), counters: slot.counters() });
                }
                *bucket = Bucket::default();
            }
        }
    }
}

/// The maps of one interface's program, mapped.
pub struct FlowTable {
    size: TableSize,
    /// How often the generations were switched.
    epoch: u32,
    cpu_state: MappedArray<CpuState>,
    v4: Family<u64>,
    v6: Family<[u64; 4]>,
    overflow: [HashMap<MapData, [u8; size_of::<OverflowKey>()], [u8; size_of::<Counters>()]>; GENERATIONS],
    /// The totals of each CPU as of the last drain of each generation.
    drained: [Vec<FrameTotals>; GENERATIONS],
}

/// Why the maps could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The object has no such map: agent and object do not belong together.
    #[error("the eBPF object has no map {0}: rebuild agent and object together")]
    Missing(&'static str),
    /// A map could not be mapped.
    #[error("mapping {map} ({bytes} bytes) into memory failed")]
    Map {
        /// Which.
        map: &'static str,
        /// Its size.
        bytes: usize,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A map has another type or shape than expected.
    #[error("map {map} is not as expected")]
    Shape {
        /// Which.
        map: &'static str,
        /// How.
        #[source]
        error: MapError,
    },
    /// A map operation failed while draining.
    #[error("reading the overflow of the flow table failed")]
    Overflow(#[source] MapError),
}

impl FlowTable {
    /// Takes the maps of a loaded object over.
    pub fn take(ebpf: &mut Ebpf, size: TableSize) -> Result<Self, TableError> {
        let overflow = |ebpf: &mut Ebpf, name: &'static str| {
            let map = ebpf.take_map(name).ok_or(TableError::Missing(name))?;
            HashMap::try_from(map).map_err(|error| TableError::Shape { map: name, error })
        };
        Ok(Self {
            size,
            epoch: 0,
            cpu_state: map(ebpf, CPU_STATE, size.cpus)?,
            v4: Family {
                buckets: map(ebpf, FLOWS_V4, size.buckets(size.bucket_bits_v4))?,
                used: map(ebpf, USED_V4, size.words(size.bucket_bits_v4))?,
                bits: size.bucket_bits_v4,
            },
            v6: Family {
                buckets: map(ebpf, FLOWS_V6, size.buckets(size.bucket_bits_v6))?,
                used: map(ebpf, USED_V6, size.words(size.bucket_bits_v6))?,
                bits: size.bucket_bits_v6,
            },
            overflow: [overflow(ebpf, OVERFLOW[0])?, overflow(ebpf, OVERFLOW[1])?],
            drained: std::array::from_fn(|_| vec![FrameTotals::default(); size.cpus as usize]),
        })
    }

    /// Lets the program count into the other generation; returns the one that it leaves. Programs that are
    /// running may still write to it until they end.
    pub fn flip(&mut self) -> usize {
        let left = generation_of(self.epoch);
        self.epoch = self.epoch.wrapping_add(1);
        for cpu in 0..self.cpu_state.len() {
            self.cpu_state.write_word(cpu, EPOCH_WORD, self.epoch.into());
        }
        left
    }

    /// Reads and empties a generation that no program uses any more. Returns what became of its frames.
    pub fn drain(
        &mut self,
        generation: usize,
        mut each: impl FnMut(Entry),
    ) -> Result<FrameTotals, TableError> {
        for cpu in 0..self.size.cpus as usize {
            let part = cpu * GENERATIONS + generation;
            debug_assert!(part < self.size.parts());
            self.v4.drain(part, &mut each);
            self.v6.drain(part, &mut each);
        }
        let mut new = FrameTotals::default();
        for (cpu, drained) in self.drained[generation].iter_mut().enumerate() {
            let totals = self.cpu_state.read(cpu).totals[generation];
            new.add(&totals.since(drained));
            *drained = totals;
        }
        if new.overflowed > 0 {
            self.drain_overflow(generation, each)?;
        }
        Ok(new)
    }

    fn drain_overflow(&mut self, generation: usize, mut each: impl FnMut(Entry)) -> Result<(), TableError> {
        let map = &mut self.overflow[generation];
        let keys: Vec<_> = map.keys().collect::<Result<_, _>>().map_err(TableError::Overflow)?;
        for bytes in keys {
            let counters = Counters::from_bytes(&map.get(&bytes, 0).map_err(TableError::Overflow)?);
            each(Entry { key: flow_key(&OverflowKey::from_bytes(&bytes), &counters), counters });
            map.remove(&bytes).map_err(TableError::Overflow)?;
        }
        Ok(())
    }

    /// How full the fullest part of the active generation is, 0 to 1: of one CPU and one family.
    #[must_use]
    pub fn pressure(&self) -> f64 {
        let active = generation_of(self.epoch);
        let slots = |bits: u32| (SLOTS << bits) as f64;
        let parts = (0..self.cpu_state.len()).map(|cpu| {
            let totals = self.cpu_state.read(cpu).totals[active].since(&self.drained[active][cpu]);
            let v4 = totals.inserted_v4 as f64 / slots(self.size.bucket_bits_v4);
            v4.max(totals.inserted_v6 as f64 / slots(self.size.bucket_bits_v6))
        });
        parts.fold(0.0, f64::max)
    }

    /// Size of the table.
    #[must_use]
    pub const fn size(&self) -> &TableSize {
        &self.size
    }
}

const fn generation_of(epoch: u32) -> usize {
    epoch as usize % GENERATIONS
}

fn flow_key(key: &OverflowKey, counters: &Counters) -> FlowKey {
    FlowKey {
        addresses: key.addresses(),
        src_port: counters.first_src_port(),
        dst_port: key.dst_port,
        protocol: key.protocol,
    }
}

pub(super) fn map<T: Shared>(
    ebpf: &Ebpf,
    name: &'static str,
    len: u32,
) -> Result<MappedArray<T>, TableError> {
    let Some(Map::Array(data)) = ebpf.map(name) else { return Err(TableError::Missing(name)) };
    MappedArray::map(data.fd().as_fd().as_raw_fd(), len as usize).map_err(|error| TableError::Map {
        map: name,
        bytes: len as usize * size_of::<T>(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_costs_at_most_256_bytes_whatever_the_number_of_cpus() {
        for cpus in [1, 2, 3, 8, 64, 128, 1024] {
            for ipv4_flows in [1 << 17, 140_000, 1 << 20, 5_000_000] {
                let capacity = Capacity { ipv4_flows, ..Capacity::default() };
                let bytes = TableSize::new(&capacity, cpus).bytes_v4();
                // A word of the bitmap on every CPU is the least.
                let least = u64::from(cpus) * 2 * 64 * size_of::<BucketV4>() as u64;
                assert!(
                    bytes <= u64::from(ipv4_flows) * BYTES_V4 || least * 2 > bytes,
                    "{cpus} CPUs, {ipv4_flows}: {bytes}"
                );
            }
        }
    }

    #[test]
    fn a_full_capacity_leaves_half_of_the_slots_free() {
        for cpus in [1, 2, 16] {
            let capacity = Capacity::default();
            let size = TableSize::new(&capacity, cpus);
            let slots = u64::from(size.buckets(size.bucket_bits_v4)) / GENERATIONS as u64 * SLOTS as u64;
            assert!(slots >= 2 * u64::from(capacity.ipv4_flows) * 9 / 10, "{cpus} CPUs: {slots} slots");
        }
    }
}
