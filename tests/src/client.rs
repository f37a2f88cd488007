//! Real BitTorrent clients, told to fetch from the swarm.

use std::{
    fs,
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::{
    netns::Namespace,
    process::Process,
    swarm::{dht_entry, tracker, write_routing_table, write_torrent},
    topology::{CLIENT, Family},
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

/// How peers are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By tracker, DHT and what peers tell each other.
    All,
    /// By tracker and nothing else.
    Tracker,
    /// By DHT and nothing else: the torrent names no tracker.
    Dht,
}

/// How a client is told to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which client.
    pub client: Client,
    /// The protocol that tracker, DHT and peers are reached by.
    pub family: Family,
    /// How peers are found.
    pub discovery: Discovery,
    /// Whether peers that do not encrypt are turned down.
    pub encrypted: bool,
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

    /// Starts it on the host [`CLIENT`], with its files in `directory`, over IPv4 as it comes.
    pub fn start(self, host: &Namespace, directory: &Path) -> Result<Process> {
        Settings::new(self).start(host, CLIENT.into(), directory)
    }
}

impl Settings {
    /// IPv4, all that finds peers, encrypted or not: as it comes.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client, family: Family::V4, discovery: Discovery::All, encrypted: false }
    }

    /// Starts the client on `host`, whose address is `address`, with its files in `directory`.
    pub fn start(self, host: &Namespace, address: IpAddr, directory: &Path) -> Result<Process> {
        let torrent = directory.join("image.torrent");
        write_torrent(&torrent, (self.discovery != Discovery::Dht).then(|| tracker(self.family)))?;
        let mut command = match self.client {
            Client::Aria2 => self.aria2(address, directory),
            Client::Transmission => self.transmission(directory)?,
        };
        command.arg(&torrent).stdin(Stdio::null()).stdout(Stdio::null());
        host.spawn(&mut command)
    }

    fn aria2(self, address: IpAddr, directory: &Path) -> Command {
        let (dht, entry) = (self.discovery != Discovery::Tracker, dht_entry(self.family));
        let mut command = Command::new("aria2c");
        // Nothing is preallocated: the content is 1 GiB of zeros.
        command.args(["--no-conf", "--quiet", "--file-allocation=none", "--bt-enable-lpd=false"]);
        match self.family {
            Family::V4 => {
                command
                    .args(["--disable-ipv6=true", "--enable-dht6=false"])
                    .arg(format!("--enable-dht={dht}"))
                    .arg(format!("--dht-entry-point={entry}"))
                    .arg(format!("--dht-file-path={}", directory.join("dht.dat").display()));
            }
            Family::V6 => {
                command
                    .args(["--disable-ipv6=false", "--enable-dht=false"])
                    .arg(format!("--enable-dht6={dht}"))
                    .arg(format!("--dht-entry-point6={entry}"))
                    .arg(format!("--dht-listen-addr6={address}"))
                    .arg(format!("--dht-file-path6={}", directory.join("dht6.dat").display()));
            }
        }
        if self.encrypted {
            command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]);
        }
        command
            .arg(format!("--enable-peer-exchange={}", self.discovery == Discovery::All))
            .arg(format!("--listen-port={PORT}"))
            .arg(format!("--dht-listen-port={PORT}"))
            .arg(format!("--dir={}", directory.display()));
        command
    }

    fn transmission(self, directory: &Path) -> Result<Command> {
        let entry = dht_entry(self.family);
        let bootstrap = directory.join("dht.bootstrap");
        fs::write(&bootstrap, format!("{} {}\n", entry.ip(), entry.port()))
            .with_context(|| format!("cannot write {}", bootstrap.display()))?;
        // Not its first run: one that knows a single node asks another one every ten seconds for the first
        // minutes.
        write_routing_table(&directory.join("dht.dat"), self.family)?;
        let settings = json!({
            "dht-enabled": self.discovery != Discovery::Tracker,
            "pex-enabled": self.discovery == Discovery::All,
            "lpd-enabled": false,
        });
        let file = directory.join("settings.json");
        fs::write(&file, settings.to_string()).with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new("transmission-cli");
        command.args(["--no-portmap", "--port", &PORT.to_string()]);
        if self.encrypted {
            command.arg("--encryption-required");
        }
        command.arg("--config-dir").arg(directory).arg("--download-dir").arg(directory);
        command.stderr(Stdio::null());
        Ok(command)
    }
}
