//! What orientation makes of the flows: who opened what to whom, and what came back.
//!
//! Detectors and statistics see only these, in the order of their time within a drain.

use std::{
    hash::{Hash, Hasher},
    net::IpAddr,
};

use crate::{
    clock::Timestamp,
    flow::{Pair, Protocol},
    networks::Direction,
};

/// The unit that is counted: who opened a conversation to which port of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trifecta {
    /// Who opened it.
    pub initiator: IpAddr,
    /// To whom.
    pub responder: IpAddr,
    /// The responder's port.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

impl Hash for Trifecta {
    /// In whole words: it is looked up for every flow.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { initiator, responder, port, protocol } = *self;
        state.write_u32(u32::from(port) | u32::from(protocol.0) << 16);
        Pair(initiator, responder).hash(state);
    }
}

/// How a trifecta came to be seen for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Its opening was seen: SYN, SYN+ACK, or the first datagram. This is a new connection.
    New,
    /// TCP frames without their handshake (the sensor started late, or the mirror is partial). Who
    /// initiated is an estimate; never a new connection.
    MidStream,
}

/// A trifecta seen for the first time in `first_seen_memory`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contact {
    /// First frame of it.
    pub time: Timestamp,
    /// Who, whom, where.
    pub trifecta: Trifecta,
    /// The initiator's port of the first frame.
    pub initiator_port: u16,
    /// Seen from the local networks.
    pub direction: Direction,
    /// Whether the opening was seen.
    pub opening: Opening,
    /// Whether the external end is one that the local end had not contacted, nor been contacted by,
    /// for ten minutes. Always false for internal and transit conversations.
    pub new_peer: bool,
}

/// What the responder did, reported once per trifecta and outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It sent at least one frame that is not a bare RST.
    Answered,
    /// It sent RST and nothing else so far.
    Refused,
    /// An ICMP error quoted the conversation, and nothing else came so far.
    Unreachable,
}

/// An outcome of a trifecta that was reported as [`Contact`] before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// When the responder's frame was seen.
    pub time: Timestamp,
    /// Of which trifecta.
    pub trifecta: Trifecta,
    /// The initiator's port of the trifecta's first frame.
    pub initiator_port: u16,
    /// Seen from the local networks.
    pub direction: Direction,
    /// What came.
    pub outcome: Outcome,
}

/// One thing learned from a drain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// A first sight.
    Contact(Contact),
    /// An answer to one.
    Response(Response),
}

impl Observation {
    /// When it happened.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Contact(contact) => contact.time,
            Self::Response(response) => response.time,
        }
    }
}
