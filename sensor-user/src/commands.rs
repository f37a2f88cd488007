//! What the commands do: they tie captures, the pipeline and outputs together.

pub mod check_config;
pub mod inspect;
pub mod replay;
pub mod run;

use std::path::Path;

use crate::config::{Config, ConfigError, Settings};

/// The configuration that the file (if any) and the command line give together.
pub fn configuration(file: Option<&Path>, command_line: Settings) -> Result<Config, ConfigError> {
    let settings = file.map_or(Ok(Settings::default()), Settings::read)?;
    Config::try_from(settings.overridden_by(command_line))
}
