//! `check-config`: validates a file and prints the configuration in effect, itself a valid file.

use std::{
    io::{self, Write},
    path::Path,
};

use crate::config::{Config, Settings};

/// Prints the configuration that `file` gives.
pub fn check_config(file: &Path) -> anyhow::Result<()> {
    let config = Config::try_from(Settings::read(file)?)?;
    io::stdout().write_all(Settings::from(&config).to_yaml()?.as_bytes())?;
    Ok(())
}
