//! `run`: the live sensor.

use crate::config::Config;

/// Runs until told to stop.
pub fn run(_config: &Config) -> anyhow::Result<()> {
    anyhow::bail!("the live sensor is not built into this binary: replay and inspect are")
}
