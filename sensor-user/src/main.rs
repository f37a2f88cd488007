//! The `flow-sensor` command.

use std::{
    io::{self, ErrorKind, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser as _;
use sensor_user::{
    cli::{Cli, Command},
    commands::{check_config, configuration, inspect, replay, run},
    config::{ConfigError, Settings},
    output::live_table::LogPane,
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Something could not be done.
const FAILED: u8 = 1;
/// The configuration is wrong; clap exits with the same code for the command line.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = LogPane::default();
    start_log(&log);
    match dispatch(&cli, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flow-sensor: {error:#}");
            ExitCode::from(if error.is::<ConfigError>() { WRONG_USAGE } else { FAILED })
        }
    }
}

fn dispatch(cli: &Cli, log: LogPane) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    match &cli.command {
        Command::Run(args) => run::run(&|| configuration(file, Settings::from(args)), log),
        Command::Replay(args) => {
            replay::replay(args, &configuration(file, Settings::from(&args.statistics))?)
        }
        Command::Inspect(args) => inspect::inspect(args, &configuration(file, Settings::default())?),
        Command::CheckConfig { file } => check_config::check_config(file),
    }
}

/// Logs to standard error, so that standard output holds results only.
fn start_log(log: &LogPane) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(log.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// Whether whoever read the output (`| head`) has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
