//! `cargo xtask evaluate`: the detectors on labelled captures.
//!
//! Every capture of the folder goes through `flow-sensor replay`, the same way that an admin would run it.
//! The unit that is judged is one local host in one capture. What is printed: a confusion table by
//! detector, the time to detection, false alarms by host-hour, and the margins of the torrent score; a
//! plot of the scores is written beside the build. A regression of the detectors shows here.

mod labels;
mod plot;
mod replay;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::{labels::Label, replay::Host};
use crate::exec::{cargo, exec, root, target};

/// What to measure.
#[derive(Args)]
pub struct Options {
    /// Folder of captures with a labels.csv (columns file, label, hosts, and networks where not all local
    /// ones are private) [default: tests/data].
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Sensitivity to measure at: low, normal or high.
    #[arg(long, default_value = "normal")]
    pub sensitivity: String,
    /// End with an error if a torrent host is missed, a scan is missed, or anything else is called a torrent.
    #[arg(long)]
    pub check: bool,
}

/// One local host in one capture, with what is known and what was said of it.
pub struct Judged {
    pub file: String,
    pub label: Label,
    pub host: Host,
}

/// Replays, compares, prints.
pub fn run(options: &Options) -> Result<()> {
    let directory = options.directory.clone().unwrap_or_else(|| root().join("tests/data"));
    let sensor = build()?;
    let labels = labels::read(&directory.join("labels.csv"))?;
    let mut judged = Vec::new();
    let mut unreadable = Vec::new();
    for row in &labels {
        let file = directory.join(&row.file);
        let mut arguments = vec!["--sensitivity".to_owned(), options.sensitivity.clone()];
        for network in &row.networks {
            arguments.extend(["--local-network".to_owned(), network.clone()]);
        }
        let outcome = replay::hosts(&sensor, &file, &arguments)
            .with_context(|| format!("cannot evaluate {}", file.display()))?;
        if let Some(problem) = outcome.problem {
            unreadable.push(format!("{}: {problem}", row.file));
        }
        for mut host in outcome.hosts {
            let label = row.label_of(&host.address);
            if label == Label::Torrent {
                host.peers = replay::peers(&sensor, &file, &arguments, &host.address)?;
            }
            judged.push(Judged { file: row.file.clone(), label, host });
        }
    }
    let failures = report::print(&judged, &unreadable);
    let picture = target().join("evaluate.svg");
    std::fs::write(&picture, plot::svg(&judged))
        .with_context(|| format!("cannot write {}", picture.display()))?;
    println!("\nScores by label: {}", picture.display());
    if options.check && failures > 0 {
        bail!("{failures} hosts are judged wrongly, see above");
    }
    Ok(())
}

/// The sensor, without its kernel program: replay needs none.
fn build() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--locked", "--package", "sensor-user", "--bin", "flow-sensor"]);
    exec(command.env("SENSOR_EBPF_SKIP", "1"))?;
    Ok(target().join("debug/flow-sensor"))
}
