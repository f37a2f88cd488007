//! A thread of an output: started with a name, ended without waiting for ever.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tracing::warn;

/// How often a thread that is to end is looked at.
const POLL: Duration = Duration::from_millis(2);

/// A running thread; dropping this leaves it alone.
#[derive(Debug)]
pub(super) struct Worker {
    name: &'static str,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(super) fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { name, thread })
    }

    /// Waits for its end, for at most `deadline`; whether it has ended.
    pub(super) fn ends_within(&self, deadline: Duration) -> bool {
        let end = Instant::now() + deadline;
        while !self.thread.is_finished() && Instant::now() < end {
            thread::sleep(POLL);
        }
        self.thread.is_finished()
    }

    /// Waits for its end, for at most `deadline`, and leaves it alone after that.
    pub(super) fn finish(self, deadline: Duration) {
        if self.ends_within(deadline) && self.thread.join().is_err() {
            warn!("the thread {} panicked: its message is above", self.name);
        }
    }
}
