//! What the demo and the stack share: the recorded client on its place in the office, and an end on Ctrl-C.

use std::{
    net::Ipv4Addr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use etherparse::{NetSlice, SlicedPacket};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    player::Recording,
    sender::Sender,
    topology::{CLIENT, Office},
};

/// Set by SIGINT and SIGTERM.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Makes SIGINT and SIGTERM end things in their own order: ask [`keep_on`].
pub fn watch_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            STOPPED.store(true, Ordering::Relaxed);
        });
    });
    Ok(())
}

/// Whether nobody has asked for the end.
pub fn keep_on() -> bool {
    !STOPPED.load(Ordering::Relaxed)
}

/// Sleeps for `duration` or until somebody asks for the end.
pub fn sleep(duration: Duration) {
    let begin = Instant::now();
    while keep_on() && begin.elapsed() < duration {
        thread::sleep(Duration::from_millis(50));
    }
}

/// A recorded client, so that none need be installed: what it sent is sent again from its place in the
/// office, what it got from the gateway's.
pub struct RecordedClient {
    recording: Recording,
    from_client: Sender,
    from_gateway: Sender,
}

impl RecordedClient {
    /// Reads the frames of [`CLIENT`] in `capture`.
    pub fn open(capture: &Path, office: &Office) -> Result<Self> {
        let is_its = |frame: &[u8]| addresses(frame).is_some_and(|pair| pair.contains(&CLIENT));
        let recording = Recording::read(capture)?.only(is_its);
        ensure!(!recording.is_empty(), "{} has no frames of {CLIENT}", capture.display());
        Ok(Self {
            recording,
            from_client: office.client.inside(|| Sender::open("lan"))?,
            from_gateway: office.gateway.inside(|| Sender::open("lan"))?,
        })
    }

    /// Plays it until its end, or until `keep_on` says no.
    pub fn play(&self, keep_on: impl FnMut() -> bool) -> Result<()> {
        let route = |frame: &[u8]| match addresses(frame) {
            Some([CLIENT, _]) => &self.from_client,
            _ => &self.from_gateway,
        };
        self.recording.play(route, keep_on).map(drop)
    }
}

fn addresses(frame: &[u8]) -> Option<[Ipv4Addr; 2]> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Ipv4(ip)) = packet.net else { return None };
    Some([ip.header().source_addr(), ip.header().destination_addr()])
}
