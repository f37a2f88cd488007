//! Observations source by source: a large drain touches many sources, and in the order of time nearly
//! every observation would wait for the memory of another one's state.

use std::{hash::BuildHasher as _, net::IpAddr};

use foldhash::fast::RandomState;

use crate::{networks::Direction, observation::Observation};

/// Groups; a few sources each, so that their state fits in the cache.
const GROUPS: usize = 4_096;
/// Below, a drain's sources fit in the cache anyway.
const WORTH_GROUPING: usize = 8 * GROUPS;

/// Observations fetched at once: more than a core keeps requests to memory under way.
const BLOCK: usize = 32;

/// Orders by source what comes in the order of time.
#[derive(Debug, Default)]
pub struct Grouping {
    hasher: RandomState,
    groups: Vec<u16>,
    order: Vec<u32>,
    block: Vec<Observation>,
}

impl Grouping {
    /// Hands on every observation, those of one source in their order.
    pub fn each(&mut self, observations: &[Observation], mut observe: impl FnMut(&Observation)) {
        if observations.len() < WORTH_GROUPING {
            observations.iter().for_each(observe);
            return;
        }
        for part in observations.chunks(u32::MAX as usize) {
            self.sort(part);
            // Scattered over the drain, each would be waited for by itself; copied together, they come
            // together.
            for positions in self.order.chunks(BLOCK) {
                self.block.clear();
                self.block.extend(positions.iter().map(|position| part[*position as usize]));
                self.block.iter().for_each(&mut observe);
            }
        }
    }

    /// A counting sort by group, which keeps the order within each.
    fn sort(&mut self, observations: &[Observation]) {
        let Self { hasher, groups, order, .. } = self;
        groups.clear();
        groups.extend(observations.iter().map(|observation| group(hasher, observation)));
        let mut next = [0_u32; GROUPS];
        for group in groups.iter() {
            next[usize::from(*group)] += 1;
        }
        let mut before = 0;
        for count in &mut next {
            before += std::mem::replace(count, before);
        }
        order.clear();
        order.resize(observations.len(), 0);
        for (position, group) in (0..).zip(groups.iter()) {
            let place = &mut next[usize::from(*group)];
            order[*place as usize] = position;
            *place += 1;
        }
    }
}

fn group(hasher: &RandomState, observation: &Observation) -> u16 {
    let bits = hasher.hash_one(source(observation)) % GROUPS as u64;
    u16::try_from(bits).expect("groups are few")
}

/// Whose state an observation moves: the local end.
fn source(observation: &Observation) -> IpAddr {
    let (trifecta, direction) = match observation {
        Observation::Contact(contact) => (&contact.trifecta, contact.direction),
        Observation::Response(response) => (&response.trifecta, response.direction),
    };
    if direction == Direction::Inbound { trifecta.responder } else { trifecta.initiator }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::synthetic::{Traffic, browser};

    #[test]
    fn every_observation_comes_once_and_in_order_within_its_source() {
        let mut traffic = Traffic::new(1);
        for host in 0..100 {
            browser(&mut traffic, IpAddr::from([10, 0, 1, host]), 40, 10);
        }
        let observations = traffic.finish();
        assert!(observations.len() >= WORTH_GROUPING, "{} are not grouped", observations.len());
        let mut seen = Vec::new();
        Grouping::default().each(&observations, |observation| seen.push(*observation));
        assert_ne!(seen, observations, "nothing was grouped");
        // Stable sorts by source agree exactly if nothing was lost, doubled or reordered within a source.
        let mut expected = observations;
        expected.sort_by_key(source);
        seen.sort_by_key(source);
        assert!(seen == expected);
    }
}
