//! Records the capture that the demo plays: a real client discovering peers, beside somebody browsing, as
//! the mirror port of the office shows them.
//!
//! `cargo run --release -p sensor-tests --bin record CLIENT FILE [SECONDS]`, as root; CLIENT is
//! aria2 or transmission (Debian's transmission-cli). Needs Debian's tcpdump.

use std::{env, path::PathBuf, process::Command, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sensor_tests::{
    browsing,
    client::Client,
    require_root, swarm,
    topology::{MIRROR, Office},
};

/// Ethernet, IPv4 and TCP with the options of a SYN; hardly any data.
const SNAP_LENGTH: &str = "74";
/// How long somebody browses before the client is started.
const BEFORE: Duration = Duration::from_secs(8);

fn main() -> Result<()> {
    require_root()?;
    let mut arguments = env::args_os().skip(1);
    let usage = "usage: record CLIENT FILE [SECONDS]";
    let client = Client::named(&arguments.next().context(usage)?.to_string_lossy())?;
    let file = PathBuf::from(arguments.next().context(usage)?);
    let seconds = arguments.next().map_or(Ok(40), |text| text.to_string_lossy().parse());
    let seconds = Duration::from_secs(seconds.context("SECONDS must be a number")?);

    let office = Office::new()?;
    let _web = browsing::serve(&office.internet)?;
    let _swarm = swarm::start(&office.internet)?;
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-i", MIRROR, "-s", SNAP_LENGTH, "--immediate-mode", "-Z", "root", "-w"]).arg(&file);
    let mut tcpdump = office.sensor.spawn(&mut tcpdump)?;
    let _reader = browsing::browse(&office.browser)?;
    thread::sleep(BEFORE);
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let _client = client.start(&office.client, directory.path())?;
    thread::sleep(seconds.saturating_sub(BEFORE));
    tcpdump.signal(Signal::SIGINT)?;
    let status = tcpdump.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "tcpdump: {status}");
    Ok(())
}
