//! Mixed benign load: an office at work, with everything that opens many connections and is no torrent
//! client.
//!
//! Each actor is a host of the office with an address of its own, so that whoever is named wrongly is known
//! at once. Where Debian has a program for it, that is what runs (curl, unbound's resolver, fping, nftables
//! for the address translation); the rest are sockets programs. The far side is the internet of `topology`.

mod calls;
mod crowd;
mod downloads;
mod mail;
mod monitoring;
mod names;
mod quic;
mod router;
mod talk;
mod time;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    browsing,
    netns::Namespace,
    process::Process,
    service::{Service, detach},
    topology::Office,
};

/// An actor: the number of its host in the office, what it does, and how many connections a minute it opens
/// at least.
#[derive(Clone, Copy, Debug)]
pub struct Actor {
    /// The host is `10.77.0.NUMBER`.
    pub number: u8,
    /// What it does.
    pub name: &'static str,
    /// New connections a minute by which one sees that it was at work; a server opens none.
    pub least: u32,
}

/// Everybody.
pub const ACTORS: [Actor; 12] = [
    Actor { number: 20, name: "somebody who browses", least: 20 },
    Actor { number: 30, name: "server with many clients", least: 0 },
    Actor { number: 50, name: "crawler (curl, 24 at a time)", least: 40 },
    Actor { number: 51, name: "browser with QUIC", least: 20 },
    Actor { number: 52, name: "recursive resolver (unbound)", least: 40 },
    Actor { number: 53, name: "mail server (curl)", least: 10 },
    Actor { number: 54, name: "time client", least: 5 },
    Actor { number: 55, name: "monitoring (fping, TCP checks)", least: 40 },
    Actor { number: 56, name: "gateway that translates (nftables) for three", least: 60 },
    Actor { number: 57, name: "calls and meetings (STUN)", least: 4 },
    Actor { number: 58, name: "updates and backups (curl)", least: 5 },
    Actor { number: 59, name: "chat, push, mail, a game lobby", least: 5 },
];

/// The load; it ends when this is dropped.
#[derive(Debug)]
pub struct Load {
    _repeats: Vec<Repeat>,
    _services: Vec<Service>,
    _namespaces: Vec<Namespace>,
}

impl Load {
    /// Starts everybody in `office`.
    pub fn start(office: &Office) -> Result<Self> {
        let (internet, host) = (&office.internet, |number| office.host("actor", number));
        let (crawler, quic, resolver, mailer) = (host(50)?, host(51)?, host(52)?, host(53)?);
        let (time, monitor, router, caller) = (host(54)?, host(55)?, host(56)?, host(57)?);
        let (updates, talker) = (host(58)?, host(59)?);
        let mut services = vec![
            browsing::serve(internet)?,
            quic::serve(internet)?,
            names::serve(internet)?,
            mail::serve(internet)?,
            time::serve(internet)?,
            calls::serve(internet)?,
            talk::serve(internet)?,
            downloads::serve(internet)?,
        ];
        let (site, checks) = monitoring::site(office)?;
        services.push(checks);
        let (mut users, behind) = router::start(&router)?;
        services.append(&mut users);
        services.extend([
            browsing::browse(&office.browser)?,
            quic::browse(&quic)?,
            time::poll(&time)?,
            calls::call(&caller)?,
            talk::talk(&talker)?,
            downloads::back_up(&updates)?,
            monitoring::check(&monitor)?,
            crowd::serve(&office.server)?,
            crowd::visit(internet)?,
        ]);
        let mut repeats = vec![
            downloads::crawl(&crawler)?,
            downloads::update(&updates)?,
            names::resolve(&resolver)?,
            mail::deliver(&mailer)?,
            monitoring::ping(&monitor)?,
        ];
        repeats.extend(behind.iter().map(downloads::read_news).collect::<Result<Vec<_>>>()?);
        let mut namespaces =
            vec![crawler, quic, resolver, mailer, time, monitor, router, caller, updates, talker, site];
        namespaces.extend(behind);
        Ok(Self { _repeats: repeats, _services: services, _namespaces: namespaces })
    }
}

/// A program that is run again and again in a namespace, until this is dropped.
#[derive(Debug)]
struct Repeat {
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<Result<()>>>,
}

impl Repeat {
    /// Runs what `command` gives for the round, with a pause of `pause` between the runs.
    fn start(
        namespace: &Namespace,
        pause: Duration,
        mut command: impl FnMut(u32) -> Command + Send + 'static,
    ) -> Result<Self> {
        /// A run that hangs is given up.
        const PATIENCE: Duration = Duration::from_secs(20);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = namespace.thread(move || {
            for round in 0.. {
                let mut command = command(round);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                let mut process = Process::spawn(&mut command)?;
                let begin = Instant::now();
                while process.ended()?.is_none() && begin.elapsed() < PATIENCE {
                    if stopped.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    sleep(Duration::from_millis(50));
                }
                drop(process);
                let begin = Instant::now();
                while begin.elapsed() < pause && !stopped.load(Ordering::Relaxed) {
                    sleep(Duration::from_millis(50));
                }
            }
            Ok(())
        })?;
        Ok(Self { stop, worker: Some(worker) })
    }
}

impl Drop for Repeat {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whether its program could be run shows in the connections that the actor opened.
        let _ = self.worker.take().map(JoinHandle::join);
    }
}

/// Numbers that look like chance and are the same in every run (the finalizer of `SplitMix64`, Steele et al.
/// 2014).
fn chance(round: u32, salt: u32) -> u32 {
    let mut mixed = (u64::from(round) << 32 | u64::from(salt)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((mixed ^ mixed >> 31) >> 32).unwrap_or_default()
}

/// An address of somebody's home, at which the internet answers.
fn home(round: u32, salt: u32) -> Ipv4Addr {
    /// First octets that nobody else uses and that are not dead.
    const FIRST: [u8; 8] = [62, 77, 82, 89, 94, 176, 188, 217];
    let [a, b, c, d] = chance(round, salt).to_be_bytes();
    Ipv4Addr::new(FIRST[usize::from(a) % FIRST.len()], b, c, d.clamp(1, 254))
}

/// Serves TCP on `port` of every address: what comes in goes back, after `greeting`.
async fn echo(port: u16, greeting: &'static [u8]) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .await
        .with_context(|| format!("cannot bind to TCP port {port}"))?;
    detach(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            detach(async move {
                stream.write_all(greeting).await?;
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    Ok(())
}

/// One short conversation over TCP.
async fn exchange(server: impl Into<SocketAddr>, bytes: usize) -> Result<()> {
    let mut stream = TcpStream::connect(server.into()).await?;
    stream.write_all(&vec![b'q'; bytes]).await?;
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).await?;
    ensure!(length > 0, "no answer");
    Ok(())
}

/// All IPv4 addresses.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
