//! The command line: what can be said there, and nothing of what it means.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{
    alert::AlertKind,
    config::{CapacitySettings, DetectSettings, Settings},
};

/// Who on a mirrored network is suddenly opening connections to many new places.
#[derive(Debug, Parser)]
#[command(name = "flow-sensor", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file (YAML); the command line overrides it.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
RUST_LOG sets what is logged on standard error, such as RUST_LOG=debug.
Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch mirror ports: the live sensor.
    Run(RunArgs),
    /// Run capture files through the same pipeline, on the capture's own clock; needs no privilege.
    Replay(ReplayArgs),
    /// Show for every frame of a capture file its flow, or why it has none.
    Inspect(InspectArgs),
    /// Validate a configuration file and print the configuration in effect.
    CheckConfig {
        /// The configuration file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// What the live sensor can be told.
#[derive(Args, Debug, Default)]
pub struct RunArgs {
    /// Interface to capture on, a mirror port; repeat for several.
    #[arg(long, value_name = "INTERFACE")]
    pub interface: Vec<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the text would become this command's help")]
    pub statistics: StatisticsArgs,
    /// Address and port of the metrics and the page [default: 127.0.0.1:19810].
    #[arg(long, alias = "web.listen-address", value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// File to append alerts to, as JSON lines.
    #[arg(long, value_name = "FILE")]
    pub alert_log: Option<PathBuf>,
    /// What happens to the mirrored frames after counting: auto, pass or drop [default: auto].
    #[arg(long, value_name = "ACTION")]
    pub mirror_action: Option<String>,
    /// Leave the interfaces out of promiscuous mode.
    #[arg(long)]
    pub no_promiscuous: bool,
    /// IPv4 flows per interface and drain that the kernel's table holds [default: 131072].
    #[arg(long, value_name = "FLOWS")]
    pub ipv4_flows: Option<u64>,
    /// IPv6 flows per interface and drain that the kernel's table holds [default: 32768].
    #[arg(long, value_name = "FLOWS")]
    pub ipv6_flows: Option<u64>,
}

/// What governs the statistics, live and in replay.
#[derive(Args, Debug, Default)]
pub struct StatisticsArgs {
    /// A network that you answer for, such as 10.0.0.0/8; repeat for several [default: the private ones].
    #[arg(long, value_name = "CIDR")]
    pub local_network: Vec<String>,
    /// How often flows are collected, such as 1s [default: 1s].
    #[arg(long, value_name = "DURATION")]
    pub drain: Option<String>,
    /// Period of the statistics, a multiple of --drain, such as 10s [default: 10s].
    #[arg(long, value_name = "DURATION")]
    pub interval: Option<String>,
    /// Intervals behind mean and variance [default: 30].
    #[arg(long, value_name = "INTERVALS")]
    pub window: Option<u64>,
    /// How readily sources are named: low, normal or high [default: normal].
    #[arg(long, value_name = "LEVEL")]
    pub sensitivity: Option<String>,
}

/// What replay can be told.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Capture files (pcap or pcapng) in the order of their time; - is standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Also print, contact by contact, what spoke for and against naming this local host, and how each
    /// detector decided.
    #[arg(long, value_name = "HOST")]
    pub why: Option<IpAddr>,
    /// Of these, only the steps of one detector.
    #[arg(long, value_enum, requires = "why")]
    pub kind: Option<TracedKind>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the text would become this command's help")]
    pub statistics: StatisticsArgs,
}

/// What inspect can be told.
#[derive(Args, Debug)]
pub struct InspectArgs {
    /// Capture file (pcap or pcapng); - is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    pub format: OutputFormat,
    /// Also show the headers of each frame: what was read where, and what was decided at the last one.
    #[arg(long)]
    pub explain: bool,
    /// What reads the frames: this process, or the program in the kernel (needs privilege).
    #[arg(long, value_enum, default_value_t)]
    pub engine: EngineChoice,
}

/// The detectors that decide contact by contact or interval by interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TracedKind {
    /// BitTorrent-like peer discovery.
    Torrent,
    /// Scans.
    Scan,
    /// Unexplained bursts.
    Fanout,
}

impl From<TracedKind> for AlertKind {
    fn from(kind: TracedKind) -> Self {
        match kind {
            TracedKind::Torrent => Self::Torrent,
            TracedKind::Scan => Self::Scan,
            TracedKind::Fanout => Self::Fanout,
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs: one JSON object a line.
    Json,
}

/// Which instance of the parser reads the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EngineChoice {
    /// The one in this process.
    #[default]
    User,
    /// The one in the XDP program.
    Xdp,
}

impl From<&StatisticsArgs> for Settings {
    fn from(args: &StatisticsArgs) -> Self {
        let StatisticsArgs { local_network, drain, interval, window, sensitivity } = args;
        Self {
            local_networks: said(local_network),
            drain: drain.clone(),
            interval: interval.clone(),
            window: *window,
            detect: DetectSettings { sensitivity: sensitivity.clone(), ..DetectSettings::default() },
            ..Self::default()
        }
    }
}

impl From<&RunArgs> for Settings {
    fn from(args: &RunArgs) -> Self {
        let RunArgs {
            interface,
            statistics,
            listen,
            alert_log,
            mirror_action,
            no_promiscuous,
            ipv4_flows,
            ipv6_flows,
        } = args;
        Self {
            interfaces: said(interface),
            listen: listen.clone(),
            alert_log: alert_log.clone(),
            mirror_action: mirror_action.clone(),
            promiscuous: no_promiscuous.then_some(false),
            capacity: CapacitySettings {
                ipv4_flows: *ipv4_flows,
                ipv6_flows: *ipv6_flows,
                ..CapacitySettings::default()
            },
            ..Self::from(statistics)
        }
    }
}

/// A repeatable option, none where it was not given.
fn said(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_exporter_name_of_listen_is_understood() {
        let cli = Cli::parse_from(["flow-sensor", "run", "--web.listen-address", ":9000"]);
        let Command::Run(args) = cli.command else { panic!("{cli:?} must be run") };
        assert_eq!(Settings::from(&args).listen.as_deref(), Some(":9000"));
    }

    #[test]
    fn what_is_not_said_on_the_command_line_overrides_nothing() {
        let cli = Cli::parse_from(["flow-sensor", "run", "--config", "x"]);
        let Command::Run(args) = cli.command else { panic!("{cli:?} must be run") };
        assert_eq!(Settings::from(&args), Settings::default());
    }

    #[test]
    fn interfaces_and_networks_are_repeatable() {
        let cli = Cli::parse_from([
            "flow-sensor",
            "run",
            "--interface=a",
            "--interface=b",
            "--local-network=10.0.0.0/8",
            "--local-network=fd00::/8",
        ]);
        let Command::Run(args) = cli.command else { panic!("{cli:?} must be run") };
        let settings = Settings::from(&args);
        assert_eq!(settings.interfaces, said(&["a".to_owned(), "b".to_owned()]));
        assert_eq!(settings.local_networks, said(&["10.0.0.0/8".to_owned(), "fd00::/8".to_owned()]));
    }
}
