//! What can be told to the detectors: one knob, bounds of memory, what is allowed, and the literal rules.

use super::{allow::Allowance, literal::Rule};

/// Everything the detectors can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How much evidence an alert needs.
    pub sensitivity: Sensitivity,
    /// Local sources that each detector keeps state of; the longest idle one is forgotten first.
    pub sources: usize,
    /// Sources with open evidence for a torrent, each with about 14 KiB of candidate peers; the one with
    /// the least evidence is forgotten first.
    pub suspects: usize,
    /// Contacts that are no evidence.
    pub allow: Vec<Allowance>,
    /// The literal rules that are on.
    pub literal: Vec<Rule>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::Normal,
            sources: 20_000,
            suspects: 2_048,
            allow: Vec::new(),
            literal: Vec::new(),
        }
    }
}

/// One knob over all thresholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sensitivity {
    /// Twice the evidence of `Normal`: for networks where a false page costs more than a late one.
    Low,
    /// The thresholds of the documentation.
    #[default]
    Normal,
    /// Seven tenths of the evidence of `Normal`: finds small swarms and short scans, and now and then
    /// calls a group call a swarm.
    High,
}

impl Sensitivity {
    /// Every setting.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// What every threshold on an amount of evidence is multiplied by.
    #[must_use]
    pub const fn factor(self) -> f64 {
        match self {
            Self::Low => 2.0,
            Self::Normal => 1.0,
            Self::High => 0.7,
        }
    }

    /// `count` at this sensitivity, rounded up.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small positive counts")]
    pub fn scale(self, count: u32) -> u32 {
        (f64::from(count) * self.factor()).ceil() as u32
    }
}
