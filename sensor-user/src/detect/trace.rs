//! The path to a decision, contact by contact: what `--why` shows.
//!
//! A detector records steps about one source only when told to; otherwise one comparison is all it costs.

use std::{fmt, net::IpAddr};

use crate::{alert::AlertKind, clock::Timestamp, flow::Protocol};

/// One thing that moved the evidence about a source, or was looked at and left it alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub time: Timestamp,
    /// Which detector speaks.
    pub kind: AlertKind,
    /// The external address it is about; none for a decision.
    pub peer: Option<(IpAddr, u16, Protocol)>,
    /// What happened, and which rule spoke.
    pub what: String,
    /// What it added to the sum that it is about: of `torrent` the fast sum, of `scan` the walk that is
    /// named, of `fanout` the new connections of an interval.
    pub weight: f64,
    /// That sum after it.
    pub sum: f64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, kind, weight, sum, .. } = self;
        write!(f, "{time}  {:<8}  {weight:>+6.2} = {sum:>6.2}  ", kind.name())?;
        match self.peer {
            Some((peer @ IpAddr::V6(_), port, protocol)) => write!(f, "{protocol} [{peer}]:{port}  ")?,
            Some((peer, port, protocol)) => write!(f, "{protocol} {peer}:{port}  ")?,
            None => {}
        }
        f.write_str(&self.what)
    }
}

/// Where the steps about one source go.
#[derive(Debug, Default)]
pub struct Trace {
    source: Option<IpAddr>,
    decision: String,
    steps: Vec<Step>,
}

impl Trace {
    /// Follows `source` from now on.
    pub fn follow(&mut self, source: IpAddr) {
        self.source = Some(source);
    }

    /// Whether steps about `source` are wanted.
    #[must_use]
    pub fn wants(&self, source: IpAddr) -> bool {
        self.source == Some(source)
    }

    /// Records a decision, unless it is the one before.
    pub fn decide(&mut self, step: Step) {
        if self.decision != step.what {
            self.decision.clone_from(&step.what);
            self.record(step);
        }
    }

    /// Records a step.
    pub fn record(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// What was recorded since the last call.
    pub fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }
}
