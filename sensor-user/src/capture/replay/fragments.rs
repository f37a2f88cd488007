//! The memory of first fragments, as the kernel keeps it: the same size, the same time.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use sensor_common::{
    fragment::{CAPACITY, FirstFragment, FragmentKey},
    parse::{Found, Piece},
};

use crate::clock::Timestamp;

/// First fragments by what the later ones of the same datagram share with them.
#[derive(Default)]
pub struct FirstFragments {
    known: HashMap<FragmentKey, FirstFragment, RandomState>,
    /// The keys of `known` in the order in which they came.
    order: VecDeque<FragmentKey>,
}

impl FirstFragments {
    /// Remembers a first fragment; gives a later one the ends of its flow, if these are known.
    pub fn follow(&mut self, found: &mut Found, now: Timestamp) {
        match found.piece {
            Piece::Whole => {}
            Piece::First => self.remember(found.fragment_key(), FirstFragment::new(found, now.0)),
            Piece::Later => {
                if let Some(first) = self.known.get(&found.fragment_key()) {
                    found.attribute(first.ends(now.0));
                }
            }
        }
    }

    fn remember(&mut self, key: FragmentKey, first: FirstFragment) {
        if self.known.insert(key, first).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > CAPACITY as usize
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
