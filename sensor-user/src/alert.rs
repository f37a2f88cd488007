//! Alerts: what detectors find, and what the log, the page and the pager get.

use std::net::IpAddr;

use crate::{clock::Timestamp, suppress::Suppressed};

/// What an alert says of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// BitTorrent-like peer discovery.
    Torrent,
    /// One port of many hosts, or many ports of one.
    Scan,
    /// A burst of new connections that nothing above explains.
    Fanout,
    /// The literal rule: too many active trifectas. Off unless configured.
    Count,
    /// The literal rule: a variance of frames per trifecta out of bounds. Off unless configured.
    Variance,
}

impl AlertKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Torrent, Self::Scan, Self::Fanout, Self::Count, Self::Variance];

    /// The name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Torrent => "torrent",
            Self::Scan => "scan",
            Self::Fanout => "fanout",
            Self::Count => "count",
            Self::Variance => "variance",
        }
    }

    /// How urgent it is: `critical` pages, `info` is for dashboards and hunting.
    #[must_use]
    pub const fn severity(self) -> &'static str {
        match self {
            Self::Torrent | Self::Scan => "critical",
            Self::Fanout | Self::Count | Self::Variance => "info",
        }
    }
}

/// Whether an alert begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertState {
    /// It begins.
    Firing,
    /// It is over.
    Resolved,
}

impl AlertState {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What a detector concluded, at the moment it began or ceased to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// When it was decided.
    pub time: Timestamp,
    /// What.
    pub kind: AlertKind,
    /// Of which local address.
    pub source: IpAddr,
    /// Begins or ends.
    pub state: AlertState,
    /// How sure, 0 to 1.
    pub score: f64,
    /// The numbers behind it, a JSON object that the detector defines and documents.
    pub evidence: serde_json::Value,
    /// One plain sentence with the numbers in it.
    pub summary: String,
}

/// A finding with the share of frames that it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// What was found.
    pub finding: Finding,
    /// Coverage of the drains it rests on, 0 to 1.
    pub coverage: f64,
    /// That it is not to be posted, and why.
    pub suppressed: Option<Suppressed>,
}
