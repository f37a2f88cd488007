//! Records the committed captures: real clients discovering peers, an office at work, and scans, as the
//! mirror port of the office shows them.
//!
//! `cargo run --release -p sensor-tests --bin record SCENE FILE [SECONDS]`, as root; without arguments it
//! names the scenes. Needs Debian's tcpdump and what runs in the scene.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use sensor_tests::{
    benign::Load,
    browsing,
    client::{Client, Discovery, Settings},
    process::Process,
    require_root,
    swarm::Swarm,
    topology::{Family, MIRROR, Office, address},
};
use sensor_user::capture::file::CaptureFile;

/// Ethernet, IPv6 and TCP with the options of a SYN; hardly any data.
const SNAP_LENGTH: &str = "94";
/// How long somebody browses before the client or the scan is started.
const BEFORE: Duration = Duration::from_secs(8);
/// So many frames of each conversation are kept, both directions together: who opened it and what became of
/// it is in the first few. Of an office at work only the opening, or half a minute of it would be a megabyte.
const KEPT: u32 = 6;
const KEPT_OF_OFFICE: u32 = 2;
/// The number of the client's host.
const CLIENT: u8 = 10;

/// What happens in a capture.
#[derive(Clone, Copy)]
enum Scene {
    /// A client, beside somebody who browses.
    Client(Settings),
    /// The load of `benign`.
    Benign,
    /// nmap over many hosts, and over many ports of one host, beside somebody who browses.
    Scan,
}

/// The scenes, by name.
const SCENES: [(&str, Scene); 8] = [
    ("aria2", Scene::Client(Settings::new(Client::Aria2))),
    ("transmission", Scene::Client(Settings::new(Client::Transmission))),
    ("aria2-dht", Scene::Client(Settings { discovery: Discovery::Dht, ..Settings::new(Client::Aria2) })),
    ("aria2-encrypted", Scene::Client(Settings { encrypted: true, ..Settings::new(Client::Aria2) })),
    (
        "transmission-ipv6",
        Scene::Client(Settings { family: Family::V6, ..Settings::new(Client::Transmission) }),
    ),
    (
        "transmission-tracker-encrypted",
        Scene::Client(Settings {
            discovery: Discovery::Tracker,
            encrypted: true,
            ..Settings::new(Client::Transmission)
        }),
    ),
    ("benign", Scene::Benign),
    ("scan", Scene::Scan),
];

fn main() -> Result<()> {
    require_root()?;
    let mut arguments = env::args_os().skip(1);
    let names = SCENES.map(|(name, _)| name).join(", ");
    let usage = || format!("usage: record SCENE FILE [SECONDS]; the scenes are {names}");
    let name = arguments.next().with_context(usage)?;
    let file = PathBuf::from(arguments.next().with_context(usage)?);
    let seconds = arguments.next().map_or(Ok(40), |text| text.to_string_lossy().parse());
    let seconds = Duration::from_secs(seconds.context("SECONDS must be a number")?);
    let Some((_, scene)) = SCENES.into_iter().find(|(known, _)| name == *known) else { bail!(usage()) };

    let office = Office::dual_stack()?;
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let whole = directory.path().join("whole.pcap");
    let mut tcpdump = Command::new("tcpdump");
    tcpdump.args(["-i", MIRROR, "-s", SNAP_LENGTH, "--immediate-mode", "-Z", "root", "-w"]).arg(&whole);
    let mut tcpdump = office.sensor.spawn(&mut tcpdump)?;
    play(scene, &office, directory.path(), seconds)?;
    tcpdump.signal(Signal::SIGINT)?;
    let status = tcpdump.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "tcpdump: {status}");
    let kept = if matches!(scene, Scene::Benign) { KEPT_OF_OFFICE } else { KEPT };
    thin(&whole, &file, kept)
}

/// Plays the scene for `seconds`.
fn play(scene: Scene, office: &Office, directory: &Path, seconds: Duration) -> Result<()> {
    if let Scene::Benign = scene {
        let _load = Load::start(office)?;
        thread::sleep(seconds);
        return Ok(());
    }
    let _web = browsing::serve(&office.internet)?;
    let _reader = browsing::browse(&office.browser)?;
    let rest = seconds.saturating_sub(BEFORE);
    if let Scene::Client(settings) = scene {
        let _swarm = Swarm::start(&office.internet)?;
        thread::sleep(BEFORE);
        let _client = settings.start(&office.client, address(settings.family, CLIENT), directory)?;
        thread::sleep(rest);
    } else {
        thread::sleep(BEFORE);
        let _many_hosts = nmap(&office.client, &["-p", "22", "5.9.7.0/26", "25.1.1.0/27"])?;
        let _many_ports = nmap(&office.server, &["-p", "1-100", "88.12.13.14"])?;
        thread::sleep(rest);
    }
    Ok(())
}

/// Starts Debian's nmap with twenty probes a second.
fn nmap(host: &sensor_tests::netns::Namespace, targets: &[&str]) -> Result<Process> {
    let mut command = Command::new("nmap");
    command.args(["-n", "-Pn", "-sS", "--max-rate", "20", "--max-retries", "1"]).args(targets);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    host.spawn(&mut command).context("Debian's nmap is needed")
}

/// Copies the first `most` frames of each conversation of the capture `from` to `to`.
fn thin(from: &Path, to: &Path, most: u32) -> Result<()> {
    /// Lengths of a capture's head and of a frame's, and where in the latter the captured length is.
    const HEAD: usize = 24;
    const FRAME_HEAD: usize = 16;
    const LENGTH: usize = 8;
    let whole = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut kept = whole.get(..HEAD).context("not a capture")?.to_vec();
    let mut offset = HEAD;
    let mut seen = HashMap::<_, u32>::new();
    let mut file = CaptureFile::open(from)?;
    while let Some(frame) = file.next_frame()? {
        let length = whole.get(offset + LENGTH..).and_then(|rest| rest.first_chunk()).context("cut off")?;
        let next = offset + FRAME_HEAD + usize::try_from(u32::from_le_bytes(*length))?;
        let conversation = conversation(frame.frame.bytes);
        let count = seen.entry(conversation.clone()).or_default();
        *count += 1;
        // What belongs to no conversation is kept.
        if conversation.is_none() || *count <= most {
            kept.extend(whole.get(offset..next).context("cut off")?);
        }
        offset = next;
    }
    fs::write(to, kept).with_context(|| format!("cannot write {}", to.display()))
}

/// The two ends of the conversation that a frame belongs to, in order, and its protocol.
fn conversation(frame: &[u8]) -> Option<([Vec<u8>; 2], u8)> {
    let packet = etherparse::LaxSlicedPacket::from_ethernet(frame).ok()?;
    let (from, to) = match packet.net? {
        etherparse::LaxNetSlice::Ipv4(ip) => {
            (ip.header().source().to_vec(), ip.header().destination().to_vec())
        }
        etherparse::LaxNetSlice::Ipv6(ip) => {
            (ip.header().source().to_vec(), ip.header().destination().to_vec())
        }
        etherparse::LaxNetSlice::Arp(_) => return None,
    };
    let (source, destination, protocol) = match packet.transport? {
        etherparse::TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), 6),
        etherparse::TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), 17),
        _ => return None,
    };
    let end = |address: Vec<u8>, port: u16| [&address[..], &port.to_be_bytes()].concat();
    let mut ends = [end(from, source), end(to, destination)];
    ends.sort_unstable();
    Some((ends, protocol))
}
