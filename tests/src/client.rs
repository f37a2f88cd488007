//! A real BitTorrent client, aria2, told to fetch from the swarm.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Result;

use crate::{
    netns::Namespace,
    process::Process,
    swarm::{DHT_ENTRY, write_torrent},
};

/// The port that it listens on, TCP and UDP; one of the usual ones.
pub const PORT: u16 = 51413;

/// Starts aria2 in `office`, with its files in `directory`. It finds peers by tracker and by DHT.
pub fn start(office: &Namespace, directory: &Path) -> Result<Process> {
    let torrent = directory.join("image.torrent");
    write_torrent(&torrent)?;
    let mut command = Command::new("aria2c");
    command
        .args(["--no-conf", "--quiet", "--enable-dht=true", "--enable-dht6=false", "--disable-ipv6=true"])
        // Nothing is preallocated: the content is 1 GiB of zeros.
        .args(["--file-allocation=none", "--bt-enable-lpd=false", "--check-integrity=false"])
        .arg(format!("--dht-entry-point={DHT_ENTRY}"))
        .arg(format!("--dht-file-path={}", directory.join("dht.dat").display()))
        .arg(format!("--listen-port={PORT}"))
        .arg(format!("--dht-listen-port={PORT}"))
        .arg(format!("--dir={}", directory.display()))
        .arg(&torrent)
        .stdin(Stdio::null());
    office.spawn(&mut command)
}
