//! What the admin allows: contacts that are no evidence for the detectors.
//!
//! An allowed contact happens as far as statistics, the page and the metrics are concerned. The detectors are
//! not told of it, so that nothing follows from it: neither an alert nor a score. What entries kept from the
//! detectors is counted, because an entry that is too wide blinds the sensor without a word. An alert that is
//! right and known, and should only not be posted for a while, is for [`suppress`](crate::suppress).

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::{
    alert::AlertKind,
    flow::Protocol,
    networks::{AddressSet, Direction},
    observation::{Contact, Observation, Opening, Outcome},
};

/// Addresses as they were named: one, a network, or a group of networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whom {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// What it means.
    addresses: Arc<AddressSet>,
}

impl Whom {
    /// The addresses of `networks`, under this name.
    #[must_use]
    pub fn new(name: &str, networks: &[IpNet]) -> Self {
        Self { name: name.into(), addresses: Arc::new(AddressSet::new(networks)) }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(address)
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

/// An observation that is no evidence, for some kinds or for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Who talks with whom.
    pub ends: Ends,
    /// The reason of the first entry that says so, by kind.
    reasons: [Option<Arc<str>>; AlertKind::ALL.len()],
}

impl Allowed {
    /// Whether it is no evidence for `kind`.
    #[must_use]
    pub const fn is_for(&self, kind: AlertKind) -> bool {
        self.reasons[kind as usize].is_some()
    }

    /// Why it is no evidence for `kind`, if it is none.
    #[must_use]
    pub fn reason(&self, kind: AlertKind) -> Option<&str> {
        self.reasons[kind as usize].as_deref()
    }

    fn add(&mut self, allowance: &Allowance) {
        for kind in AlertKind::ALL.into_iter().filter(|kind| allowance.kind.is_none_or(|of| of == *kind)) {
            self.reasons[kind as usize].get_or_insert_with(|| Arc::clone(&allowance.reason));
        }
    }
}

/// Who talks with whom, seen from the local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The local end.
    pub source: IpAddr,
    /// The other end.
    pub destination: IpAddr,
    /// The port of the other end.
    pub port: u16,
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

/// What of one source's interval is no evidence for a fan-out: the part of its row that entries by
/// destination or port cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// New connections.
    pub connections: u64,
    /// Of these, over TCP.
    pub tcp: u64,
    /// Of these, over UDP.
    pub udp: u64,
    /// Of these, answered.
    pub answered: u64,
    /// New peers.
    pub peers: u64,
    /// Distinct ports.
    pub ports: HashSet<u16, RandomState>,
}

impl Apart {
    fn count(&mut self, contact: &Contact) {
        self.connections += 1;
        match contact.trifecta.protocol {
            Protocol::TCP => self.tcp += 1,
            Protocol::UDP => self.udp += 1,
            _ => {}
        }
        self.peers += u64::from(contact.new_peer);
        self.ports.insert(contact.trifecta.port);
    }
}

/// All entries, and what they did.
#[derive(Debug, Default)]
pub struct Allow {
    entries: Vec<AllowanceUse>,
    /// What of the interval under way is no evidence for a fan-out, by source.
    apart: HashMap<IpAddr, Apart, RandomState>,
    capacity: usize,
    /// Connections that should have been set apart when there was no room.
    mixed: u64,
}

impl Allow {
    /// What every source takes in bytes at most, its ports aside: in a table of which at least 7 in 16 places
    /// are taken.
    pub const BYTES_PER_SOURCE: usize = (size_of::<(IpAddr, Apart)>() + 1) * 16 / 7;

    /// The entries of the configuration; contacts are kept apart for at most `capacity` sources an interval.
    #[must_use]
    pub fn new(entries: &[Allowance], capacity: usize) -> Self {
        let entries =
            entries.iter().map(|one| AllowanceUse { allowance: Arc::new(one.clone()), contacts: 0 });
        Self { entries: entries.collect(), apart: HashMap::default(), capacity, mixed: 0 }
    }

    /// Replaces the entries; one that stays, which its reason tells, counts on. What the detectors were told
    /// is not unsaid, and what they were not told they do not learn.
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

    /// Whether and for which kinds an observation is no evidence. A contact counts for every entry that
    /// covers it.
    pub fn take(&mut self, observation: &Observation) -> Option<Allowed> {
        let ends = Ends::of(observation)?;
        let is_contact = matches!(observation, Observation::Contact(_));
        let mut allowed = Allowed { ends, reasons: Default::default() };
        let (mut any, mut elsewhere) = (false, false);
        for AllowanceUse { allowance, contacts } in &mut self.entries {
            if !allowance.covers(&ends) {
                continue;
            }
            *contacts += u64::from(is_contact);
            allowed.add(allowance);
            any = true;
            elsewhere |= !allowance.is_of_sources();
        }
        if elsewhere && allowed.is_for(AlertKind::Fanout) {
            self.set_apart(ends.source, observation);
        }
        any.then_some(allowed)
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

    /// What `source` did in the interval under way that is no evidence for a fan-out, if it did any of it.
    #[must_use]
    pub fn apart(&self, source: IpAddr) -> Option<&Apart> {
        self.apart.get(&source)
    }

    /// Connections that stayed evidence for a fan-out, for want of room to set them apart, ever.
    #[must_use]
    pub const fn mixed(&self) -> u64 {
        self.mixed
    }

    /// Bytes of what is set apart.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let ports: usize = self.apart.values().map(|apart| apart.ports.capacity() * size_of::<u16>()).sum();
        self.apart.len() * size_of::<(IpAddr, Apart)>() + ports
    }

    /// Begins the next interval.
    pub fn close_interval(&mut self) {
        self.apart.clear();
    }

    /// The entries with what they kept from the detectors.
    #[must_use]
    pub fn entries(&self) -> &[AllowanceUse] {
        &self.entries
    }

    fn set_apart(&mut self, source: IpAddr, observation: &Observation) {
        match observation {
            Observation::Contact(contact) if contact.opening == Opening::New => {
                if self.apart.len() < self.capacity || self.apart.contains_key(&source) {
                    self.apart.entry(source).or_default().count(contact);
                } else {
                    self.mixed += 1;
                }
            }
            Observation::Response(response) if response.outcome == Outcome::Answered => {
                if let Some(apart) = self.apart.get_mut(&source) {
                    apart.answered = (apart.answered + 1).min(apart.connections);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
