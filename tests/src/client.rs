//! Real BitTorrent clients, told to fetch from the swarm.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    netns::Namespace,
    process::Process,
    swarm::{DHT_ENTRY, write_torrent},
};

/// The port that they listen on, TCP and UDP; one of the usual ones.
const PORT: u16 = 51413;

/// A client as Debian packages it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// aria2: TCP to all peers of the tracker's answer at once, little UDP.
    Aria2,
    /// transmission-cli: uTP, that is UDP, to a dozen peers a second, most of them from the DHT.
    Transmission,
}

impl Client {
    /// The client called `name`.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "aria2" => Self::Aria2,
            "transmission" => Self::Transmission,
            _ => bail!("no client {name}: it is aria2 or transmission"),
        })
    }

    /// Starts it in `office`, with its files in `directory`. It finds peers by tracker and by DHT.
    pub fn start(self, office: &Namespace, directory: &Path) -> Result<Process> {
        let torrent = directory.join("image.torrent");
        write_torrent(&torrent)?;
        let mut command = match self {
            Self::Aria2 => aria2(directory),
            Self::Transmission => transmission(directory)?,
        };
        command.arg(&torrent).stdin(Stdio::null()).stdout(Stdio::null());
        office.spawn(&mut command)
    }
}

fn aria2(directory: &Path) -> Command {
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--quiet", "--enable-dht=true", "--enable-dht6=false", "--disable-ipv6=true"])
        // Nothing is preallocated: the content is 1 GiB of zeros.
        .args(["--file-allocation=none", "--bt-enable-lpd=false"])
        .arg(format!("--dht-entry-point={DHT_ENTRY}"))
        .arg(format!("--dht-file-path={}", directory.join("dht.dat").display()))
        .arg(format!("--listen-port={PORT}"))
        .arg(format!("--dht-listen-port={PORT}"))
        .arg(format!("--dir={}", directory.display()));
    command
}

fn transmission(directory: &Path) -> Result<Command> {
    let bootstrap = directory.join("dht.bootstrap");
    fs::write(&bootstrap, format!("{} {}\n", DHT_ENTRY.ip(), DHT_ENTRY.port()))
        .with_context(|| format!("cannot write {}", bootstrap.display()))?;
    let mut command = Command::new("transmission-cli");
    command.args(["--no-portmap", "--port", &PORT.to_string()]);
    command.arg("--config-dir").arg(directory).arg("--download-dir").arg(directory);
    command.stderr(Stdio::null());
    Ok(command)
}
