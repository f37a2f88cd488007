//! The path to a decision, contact by contact: what `--why` shows.
//!
//! A detector records steps about one source only when told to; otherwise one comparison is all it costs.

use std::{fmt, net::IpAddr};

use crate::{clock::Timestamp, flow::Protocol};

/// One thing that moved the evidence about a source, or was looked at and left it alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When.
    pub time: Timestamp,
    /// The external address it is about; none for a decision.
    pub peer: Option<(IpAddr, u16, Protocol)>,
    /// What happened, and which rule spoke.
    pub what: String,
    /// What it added to the fast sum.
    pub weight: f64,
    /// The fast sum after it.
    pub sum: f64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {:>+6.2} = {:>6.2}  ", self.time, self.weight, self.sum)?;
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

    /// Records a step.
    pub fn record(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// What was recorded since the last call.
    pub fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }
}
