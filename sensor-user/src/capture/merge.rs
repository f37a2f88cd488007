//! The flows of one drain while it is put together: each flow once, whatever CPU, interface or frame it
//! came from.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::flow::{Flow, FlowId};

/// A set of flows by identity. Keeps its memory from drain to drain.
#[derive(Default)]
pub struct FlowSet {
    flows: Vec<Flow>,
    /// Indexes into `flows`. The hasher has a random seed: identities are chosen by strangers.
    index: HashTable<u32>,
    hasher: RandomState,
}

impl FlowSet {
    /// Adds a flow, or its counts where it is there already.
    ///
    /// # Panics
    /// Beyond 2^32 flows.
    pub fn add(&mut self, flow: Flow) {
        let Self { flows, index, hasher } = self;
        let hash = |id: &FlowId| hasher.hash_one(id);
        let entry = index.entry(
            hash(&flow.id),
            |&position| flows[position as usize].id == flow.id,
            |&position| hash(&flows[position as usize].id),
        );
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => flows[*entry.get() as usize].merge(&flow),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let position = u32::try_from(flows.len()).expect("one drain must hold fewer than 2^32 flows");
                entry.insert(position);
                flows.push(flow);
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Number of flows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.flows.len()
    }

    /// Takes the flows out, leaving the set empty.
    #[must_use]
    pub fn take(&mut self) -> Vec<Flow> {
        self.index.clear();
        let capacity = self.flows.len();
        std::mem::replace(&mut self.flows, Vec::with_capacity(capacity))
    }
}
