//! What the admin allows: contacts that are no evidence for the detectors.
//!
//! An allowed contact happens as far as statistics, the page and the metrics are concerned. The detectors are not
//! told of it, so that nothing follows from it: neither an alert nor a score. What entries kept from the detectors is
//! counted, because an entry that is too wide blinds the sensor without a word. An alert that is right and known, and
//! should only not be posted for a while, is for [`suppress`](crate::suppress).

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::{
    alert::AlertKind,
    networks::Direction,
    observation::{Observation, Opening},
};

/// Addresses as they were named: one, a network, or a group of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whom {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// What it means.
    pub networks: Arc<[IpNet]>,
}

impl Whom {
    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// One entry of the configuration: contacts for which all that is said here is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The local end; none for any.
    pub source: Option<Whom>,
    /// The other end; none for any.
    pub destination: Option<Whom>,
    /// Ports of the other end; empty for any.
    pub ports: Vec<u16>,
    /// The detector that is not told; none for all.
    pub kind: Option<AlertKind>,
    /// Why, for whoever wonders later; tells entries apart in metrics.
    pub reason: Arc<str>,
}

impl Allowance {
    /// Whether it speaks of sources as a whole, whatever they contact.
    #[must_use]
    pub fn is_of_sources(&self) -> bool {
        self.destination.is_none() && self.ports.is_empty()
    }

    fn covers(&self, ends: &Ends) -> bool {
        (self.ports.is_empty() || self.ports.contains(&ends.port))
            && self.source.as_ref().is_none_or(|whom| whom.contains(ends.source))
            && self.destination.as_ref().is_none_or(|whom| whom.contains(ends.destination))
    }
}

/// The kinds of alerts that something is no evidence for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Whether `kind` is among them.
    #[must_use]
    pub const fn contains(self, kind: AlertKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether there are any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.0 != 0
    }

    fn add(&mut self, kind: Option<AlertKind>) {
        self.0 |= kind.map_or(u8::MAX, |kind| 1 << kind as u8);
    }
}

/// Who talks with whom, seen from the local end.
struct Ends {
    source: IpAddr,
    destination: IpAddr,
    port: u16,
}

impl Ends {
    /// Of what a detector could learn of a local host; none where a stranger opened the conversation.
    fn of(observation: &Observation) -> Option<Self> {
        let (trifecta, direction, initiator_port, opening) = match observation {
            Observation::Contact(contact) => {
                (&contact.trifecta, contact.direction, contact.initiator_port, contact.opening)
            }
            Observation::Response(response) => {
                (&response.trifecta, response.direction, response.initiator_port, Opening::New)
            }
        };
        match (direction, opening) {
            (Direction::Outbound | Direction::Internal, _) => Some(Self {
                source: trifecta.initiator,
                destination: trifecta.responder,
                port: trifecta.port,
            }),
            // Who opened it is an estimate.
            (Direction::Inbound, Opening::MidStream) => Some(Self {
                source: trifecta.responder,
                destination: trifecta.initiator,
                port: initiator_port,
            }),
            (Direction::Inbound, Opening::New) | (Direction::Transit, _) => None,
        }
    }
}

/// What one entry kept from the detectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceUse {
    /// The entry.
    pub allowance: Arc<Allowance>,
    /// First contacts that it covered, since the start.
    pub contacts: u64,
}

/// All entries, and what they did.
#[derive(Debug, Default)]
pub struct Allow {
    entries: Vec<AllowanceUse>,
    /// New connections of the interval under way that are no evidence for a fan-out, by source.
    unseen: HashMap<IpAddr, u64, RandomState>,
    capacity: usize,
}

impl Allow {
    /// The entries of the configuration; contacts are kept apart for at most `capacity` sources an interval.
    #[must_use]
    pub fn new(entries: &[Allowance], capacity: usize) -> Self {
        let entries =
            entries.iter().map(|one| AllowanceUse { allowance: Arc::new(one.clone()), contacts: 0 });
        Self { entries: entries.collect(), unseen: HashMap::default(), capacity }
    }

    /// Replaces the entries; one that stays, which its reason tells, counts on. What the detectors were told is not
    /// unsaid, and what they were not told they do not learn.
    pub fn replace(&mut self, entries: &[Allowance]) {
        let before = std::mem::take(&mut self.entries);
        self.entries = Self::new(entries, self.capacity).entries;
        for AllowanceUse { allowance, contacts } in &mut self.entries {
            let same = before.iter().find(|old| old.allowance.reason == allowance.reason);
            *contacts = same.map_or(0, |old| old.contacts);
        }
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// For which kinds an observation is no evidence, and the reason of the first entry that says so. A contact counts
    /// for every entry that covers it.
    pub fn take(&mut self, observation: &Observation) -> (Kinds, Option<Arc<str>>) {
        let (mut kinds, mut reason) = (Kinds::default(), None);
        let Some(ends) = Ends::of(observation) else { return (kinds, reason) };
        let contact = matches!(observation, Observation::Contact(_));
        let mut elsewhere = false;
        for AllowanceUse { allowance, contacts } in &mut self.entries {
            if !allowance.covers(&ends) {
                continue;
            }
            *contacts += u64::from(contact);
            kinds.add(allowance.kind);
            elsewhere |= !allowance.is_of_sources();
            reason = reason.or_else(|| Some(Arc::clone(&allowance.reason)));
        }
        if elsewhere && kinds.contains(AlertKind::Fanout) && is_new(observation) {
            self.set_apart(ends.source);
        }
        (kinds, reason)
    }

    /// Whether `source` as a whole is allowed for `kind`.
    #[must_use]
    pub fn of_source(&self, source: IpAddr, kind: AlertKind) -> bool {
        self.entries.iter().any(|AllowanceUse { allowance, .. }| {
            allowance.is_of_sources()
                && allowance.kind.is_none_or(|of| of == kind)
                && allowance.source.as_ref().is_some_and(|whom| whom.contains(source))
        })
    }

    /// New connections of `source` in the interval under way that are no evidence for a fan-out.
    #[must_use]
    pub fn unseen(&self, source: IpAddr) -> u64 {
        self.unseen.get(&source).copied().unwrap_or(0)
    }

    /// Begins the next interval.
    pub fn close_interval(&mut self) {
        self.unseen.clear();
    }

    /// The entries with what they kept from the detectors.
    #[must_use]
    pub fn entries(&self) -> &[AllowanceUse] {
        &self.entries
    }

    fn set_apart(&mut self, source: IpAddr) {
        if self.unseen.len() < self.capacity || self.unseen.contains_key(&source) {
            *self.unseen.entry(source).or_default() += 1;
        }
    }
}

fn is_new(observation: &Observation) -> bool {
    matches!(observation, Observation::Contact(contact) if contact.opening == Opening::New)
}

#[cfg(test)]
mod tests;
