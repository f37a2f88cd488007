//! From the run loop to everyone who reads: the latest snapshot, and its exposition.
//!
//! Publishing is one pointer swap. The exposition is rendered by the first scraper that asks for it, on the
//! thread of the HTTP server, and shared by all others until the next drain: however many scrape, each
//! snapshot is rendered and compressed at most once, and never by the run loop. So are the page's events.

use std::{
    io::Write as _,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use hyper::body::Bytes;
use tokio::sync::watch;

use super::{page, snapshot::Snapshot};

/// A snapshot that was published, with its exposition once somebody asked for it.
#[derive(Debug)]
pub struct Publication {
    snapshot: Snapshot,
    at: Instant,
    text: OnceLock<Bytes>,
    gzip: OnceLock<Bytes>,
    sensor_event: OnceLock<Bytes>,
    findings_event: OnceLock<Bytes>,
}

impl Publication {
    fn new(snapshot: Snapshot) -> Self {
        let (text, gzip, sensor_event, findings_event) =
            (OnceLock::new(), OnceLock::new(), OnceLock::new(), OnceLock::new());
        Self { snapshot, at: Instant::now(), text, gzip, sensor_event, findings_event }
    }

    /// The snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How long ago it was published.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// The exposition, made by `render` if nobody asked before.
    pub fn text(&self, render: impl FnOnce(&Snapshot) -> String) -> Bytes {
        self.text.get_or_init(|| render(&self.snapshot).into()).clone()
    }

    /// The exposition compressed with gzip.
    pub fn gzip(&self, render: impl FnOnce(&Snapshot) -> String) -> Bytes {
        self.gzip.get_or_init(|| compress(&self.text(render))).clone()
    }

    /// What open pages are told after every drain.
    pub fn sensor_event(&self) -> Bytes {
        self.sensor_event.get_or_init(|| page::sensor_event(&self.snapshot).into()).clone()
    }

    /// What open pages are told when there are new findings.
    pub fn findings_event(&self) -> Bytes {
        self.findings_event.get_or_init(|| page::findings_event(&self.snapshot).into()).clone()
    }
}

/// The writing end: the run loop's.
#[derive(Debug)]
pub struct Publisher(watch::Sender<Arc<Publication>>);

/// A reading end; clones read the same.
#[derive(Clone, Debug)]
pub struct Reader(watch::Receiver<Arc<Publication>>);

/// Both ends, with the state before the first drain.
#[must_use]
pub fn channel(snapshot: Snapshot) -> (Publisher, Reader) {
    let (sender, receiver) = watch::channel(Arc::new(Publication::new(snapshot)));
    (Publisher(sender), Reader(receiver))
}

impl Publisher {
    /// Replaces what readers get.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.send_replace(Arc::new(Publication::new(snapshot)));
    }
}

impl Reader {
    /// The latest.
    #[must_use]
    pub fn latest(&self) -> Arc<Publication> {
        Arc::clone(&self.0.borrow())
    }

    /// The latest, and [`changed`](Self::changed) waits for one after it.
    pub fn take_latest(&mut self) -> Arc<Publication> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// Waits for the next; false once there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).expect("writing to memory must succeed");
    encoder.finish().expect("writing to memory must succeed").into()
}
