//! State by address: dense, found by a small table of positions.
//!
//! A look compares addresses only, which lie side by side: of 100,000 sources they and the positions take
//! less than 3 MB and stay in the cache, however large the states are. A state is touched only where it is
//! wanted.

use std::{hash::BuildHasher as _, net::IpAddr};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// States of addresses. Positions are dense; one stays valid until something is removed.
#[derive(Debug)]
pub struct ByAddress<T> {
    addresses: Vec<IpAddr>,
    states: Vec<T>,
    /// Positions. The hasher has a random seed: addresses are chosen by strangers.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Where the last address was found: what belongs to one source mostly comes together.
    latest: usize,
}

impl<T> Default for ByAddress<T> {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            states: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            latest: 0,
        }
    }
}

impl<T> ByAddress<T> {
    /// What finds a state takes, in bytes per address: the address itself, and a position and a byte of
    /// control at a load of no less than 7/16.
    pub const BYTES_TO_FIND: usize = size_of::<IpAddr>() + 5 * 16 / 7;

    /// How many addresses have a state.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.states.len()
    }

    /// Whether none has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.states.is_empty()
    }

    /// Where the state of `address` is, if it has one.
    pub fn find(&mut self, address: IpAddr) -> Option<usize> {
        if self.addresses.get(self.latest) != Some(&address) {
            self.latest = self.look(address)?;
        }
        Some(self.latest)
    }

    /// The state of `address`, if it has one.
    #[must_use]
    pub fn get(&self, address: IpAddr) -> Option<&T> {
        self.look(address).map(|at| &self.states[at])
    }

    /// Address and state at a position.
    #[must_use]
    pub fn at(&self, at: usize) -> Option<(IpAddr, &T)> {
        Some((*self.addresses.get(at)?, self.states.get(at)?))
    }

    /// The state at a position that was found.
    ///
    /// # Panics
    /// If there is none.
    pub fn state(&mut self, at: usize) -> &mut T {
        &mut self.states[at]
    }

    /// Gives an address that has none a state; returns its position.
    ///
    /// # Panics
    /// Beyond 2^32 addresses.
    pub fn insert(&mut self, address: IpAddr, state: T) -> usize {
        let at = self.states.len();
        self.addresses.push(address);
        self.states.push(state);
        let Self { addresses, index, hasher, .. } = self;
        index.insert_unique(hasher.hash_one(address), position(at), |at| {
            hasher.hash_one(addresses[*at as usize])
        });
        self.latest = at;
        at
    }

    /// Takes the state at a position out; the last one moves there.
    ///
    /// # Panics
    /// If there is none.
    pub fn swap_remove(&mut self, at: usize) -> (IpAddr, T) {
        let hash = self.hasher.hash_one(self.addresses[at]);
        if let Ok(known) = self.index.find_entry(hash, |known| *known == position(at)) {
            known.remove();
        }
        let removed = (self.addresses.swap_remove(at), self.states.swap_remove(at));
        if let Some(moved) = self.addresses.get(at) {
            let (hash, from) = (self.hasher.hash_one(moved), position(self.addresses.len()));
            if let Some(known) = self.index.find_mut(hash, |known| *known == from) {
                *known = position(at);
            }
        }
        removed
    }

    /// Shows every state, and takes out those of which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(IpAddr, &mut T) -> bool) {
        let mut at = 0;
        while at < self.states.len() {
            if keep(self.addresses[at], &mut self.states[at]) {
                at += 1;
            } else {
                self.swap_remove(at);
            }
        }
    }

    fn look(&self, address: IpAddr) -> Option<usize> {
        let hash = self.hasher.hash_one(address);
        let found = self.index.find(hash, |at| self.addresses[*at as usize] == address);
        found.map(|at| *at as usize)
    }
}

fn position(at: usize) -> u32 {
    u32::try_from(at).expect("fewer than 2^32 addresses have a state")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Put(u32, u64),
        Remove(usize),
        KeepOdd,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u32..40, any::<u64>()).prop_map(|(number, state)| Step::Put(number, state)),
            2 => (0usize..40).prop_map(Step::Remove),
            1 => Just(Step::KeepOdd),
        ]
    }

    proptest! {
        /// Whatever was removed and moved in between, it holds what an ordinary map holds.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec(step(), 0..300)) {
            let mut table = ByAddress::default();
            let mut truth = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, state) => {
                        let address = IpAddr::from(Ipv4Addr::from_bits(number));
                        let at = table.find(address).unwrap_or_else(|| table.insert(address, 0));
                        *table.state(at) = state;
                        truth.insert(address, state);
                    }
                    Step::Remove(at) if at < table.len() => {
                        let (address, state) = table.swap_remove(at);
                        prop_assert_eq!(truth.remove(&address), Some(state));
                    }
                    Step::Remove(_) => {}
                    Step::KeepOdd => {
                        table.retain(|_, state| *state % 2 == 1);
                        truth.retain(|_, state| *state % 2 == 1);
                    }
                }
                prop_assert_eq!(table.len(), truth.len());
                for number in 0..40 {
                    let address = IpAddr::from(Ipv4Addr::from_bits(number));
                    prop_assert_eq!(table.get(address), truth.get(&address));
                    let found = table.find(address).and_then(|at| table.at(at)).map(|(found, _)| found);
                    prop_assert_eq!(found, truth.contains_key(&address).then_some(address));
                }
            }
        }
    }
}
