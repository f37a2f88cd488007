//! The witness: another tool, on another port of the switch, with the same clock. What tests claim about time
//! is measured against it.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use etherparse::{LaxNetSlice, LaxSlicedPacket, TransportSlice};
use nix::sys::signal::Signal;
use sensor_user::{capture::file::CaptureFile, clock::Timestamp};

use crate::{netns::Namespace, process::Process};

/// Ethernet, IPv6, TCP with options, and the beginning of what peers say to each other.
const SNAP_LENGTH: &str = "160";
/// What an unencrypted conversation between peers begins with (BEP 3).
const GREETING: &[u8] = b"\x13BitTorrent protocol";
/// What a DHT question begins with (BEP 5).
const DHT_QUERY: &[u8] = b"d1:ad2:id20:";

/// Debian's tcpdump at work on the switch's uplink.
#[derive(Debug)]
pub struct Witness {
    process: Process,
    file: PathBuf,
}

/// What one host did, in the order of the frames.
#[derive(Clone, Debug, Default)]
pub struct Deeds {
    /// External addresses that it spoke to first, with the time of the first frame.
    pub peers: Vec<(IpAddr, Timestamp)>,
    /// Frames in which it greeted a peer for everybody to read.
    pub greetings: usize,
    /// DHT questions that it asked.
    pub dht_queries: usize,
    known: HashSet<IpAddr>,
}

impl Deeds {
    /// When it first spoke to its tenth external address.
    pub fn tenth_peer(&self) -> Result<Timestamp> {
        const TENTH: usize = 10;
        let tenth = self.peers.get(TENTH - 1);
        Ok(tenth.with_context(|| format!("it spoke to {} peers only", self.peers.len()))?.1)
    }

    /// Whether it spoke to `address`.
    #[must_use]
    pub fn knows(&self, address: IpAddr) -> bool {
        self.known.contains(&address)
    }
}

impl Witness {
    /// Starts in `switch`, with `file` to write to.
    pub fn start(switch: &Namespace, file: &Path) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command.args(["-q", "-i", "uplink", "-s", SNAP_LENGTH, "--immediate-mode", "-U", "-Z", "root", "-w"]);
        command.arg(file).stderr(Stdio::null());
        let process = switch.spawn(&mut command)?;
        Ok(Self { process, file: file.to_owned() })
    }

    /// Ends it and returns what the hosts that `is_local` says yes to did.
    pub fn testify(mut self, is_local: impl Fn(IpAddr) -> bool) -> Result<HashMap<IpAddr, Deeds>> {
        self.process.signal(Signal::SIGINT)?;
        let status = self.process.wait(Duration::from_secs(10))?;
        ensure!(status.success(), "tcpdump ended with {status}");
        let mut file = CaptureFile::open(&self.file)?;
        let mut hosts = HashMap::<_, Deeds>::new();
        while let Some(frame) = file.next_frame()? {
            // What is no packet of IP is nobody's deed.
            let Ok(packet) = LaxSlicedPacket::from_ethernet(frame.frame.bytes) else { continue };
            let Some([from, to]) = addresses(&packet) else { continue };
            if is_local(from) && !is_local(to) && !to.is_multicast() {
                count(hosts.entry(from).or_default(), &packet, to, frame.time);
            }
        }
        Ok(hosts)
    }
}

fn addresses(packet: &LaxSlicedPacket<'_>) -> Option<[IpAddr; 2]> {
    match packet.net.as_ref()? {
        LaxNetSlice::Ipv4(ip) => {
            Some([ip.header().source_addr().into(), ip.header().destination_addr().into()])
        }
        LaxNetSlice::Ipv6(ip) => {
            Some([ip.header().source_addr().into(), ip.header().destination_addr().into()])
        }
        LaxNetSlice::Arp(_) => None,
    }
}

fn count(host: &mut Deeds, packet: &LaxSlicedPacket<'_>, to: IpAddr, time: Timestamp) {
    let (opens, payload) = match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => (tcp.syn() && !tcp.ack(), tcp.payload()),
        Some(TransportSlice::Udp(udp)) => (true, udp.payload()),
        _ => return,
    };
    if opens && host.known.insert(to) {
        host.peers.push((to, time));
    }
    host.dht_queries += usize::from(payload.starts_with(DHT_QUERY));
    host.greetings += usize::from(payload.windows(GREETING.len()).any(|bytes| bytes == GREETING));
}
