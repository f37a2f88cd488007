//! A real client that has the content and speaks with nobody who does not encrypt: aria2.
//!
//! It finds nobody itself; live peers hand on to it whoever wants encryption.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{CONTENT, CONTENT_LENGTH, write_torrent};
use crate::{
    netns::Namespace,
    process::{Process, wait_for},
};

/// Where it listens.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 6999));

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// The running client, with its files.
#[derive(Debug)]
pub struct Seeder {
    _process: Process,
    _directory: TempDir,
}

impl Seeder {
    /// Starts it in `internet` and returns when it listens.
    pub fn start(internet: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let torrent = directory.path().join("image.torrent");
        write_torrent(&torrent, None)?;
        // Zeros that take no room.
        let content = File::create(directory.path().join(CONTENT)).context("cannot make the content")?;
        content.set_len(CONTENT_LENGTH as u64).context("cannot make the content")?;
        let mut command = Command::new("aria2c");
        command
            .args([
                "--no-conf",
                "--quiet",
                "--enable-dht=false",
                "--enable-dht6=false",
                "--bt-enable-lpd=false",
            ])
            .args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4", "--disable-ipv6=true"])
            .args(["--bt-seed-unverified=true", "--seed-ratio=0", "--max-upload-limit=64K"])
            .args(["--enable-peer-exchange=false", "--bt-max-peers=0"])
            .arg(format!("--listen-port={}", ADDRESS.port()))
            .arg(format!("--dir={}", directory.path().display()))
            .arg(&torrent)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let process = internet.spawn(&mut command)?;
        wait_for("seeder", PATIENCE, || {
            internet.inside(|| TcpStream::connect(ADDRESS).map(drop).context("it does not listen"))
        })?;
        Ok(Self { _process: process, _directory: directory })
    }
}
