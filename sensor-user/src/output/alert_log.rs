//! The alert log: one JSON object a line, appended to a file by a thread of its own.
//!
//! The run loop only puts alerts into a bounded queue. If the file cannot be written (disk full, directory
//! gone), the writer tries again until it can, the queue keeps what fits, and what does not is counted.
//! The file may be rotated either way: when it was renamed, moved or deleted, a new one is begun before
//! the next line; when it was truncated in place, lines go on at its new end.

mod file;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    time::Duration,
};

use tracing::{info, warn};

use self::file::LogFile;
use super::{json, snapshot::AlertLogStatus, worker::Worker};
use crate::alert::Alert;

/// Why the alert log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AlertLogError {
    /// The file could not be opened for appending.
    #[error(
        "cannot append to the alert log {}; its directory must exist and be writable by this user, or choose \
         another file with --alert-log", path.display()
    )]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the thread of the alert log")]
    Thread(#[source] io::Error),
}

/// How patient the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Alerts that wait while the file cannot be written.
    pub queue: usize,
    /// From a failed attempt to the next.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { queue: 1024, retry: Duration::from_secs(1) }
    }
}

/// The log's end at the run loop.
#[derive(Debug)]
pub struct AlertLog {
    queue: SyncSender<Message>,
    /// Dropping it makes the writer give up waiting.
    patience: Sender<()>,
    counters: Arc<Counters>,
    writer: Worker,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    Reopen,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
}

impl Counters {
    fn status(&self) -> AlertLogStatus {
        let Self { written, dropped, errors } = self;
        AlertLogStatus {
            written: written.load(Ordering::Relaxed),
            dropped: dropped.load(Ordering::Relaxed),
            errors: errors.load(Ordering::Relaxed),
        }
    }
}

impl AlertLog {
    /// Opens `path` for appending, creating it if need be.
    pub fn open(path: &Path, patience: Patience) -> Result<Self, AlertLogError> {
        let file =
            LogFile::open(path).map_err(|source| AlertLogError::Open { path: path.to_owned(), source })?;
        let counters = Arc::new(Counters::default());
        let (queue, messages) = sync_channel(patience.queue);
        let (hold, given_up) = channel();
        let writer =
            Writer { file, messages, given_up, retry: patience.retry, counters: Arc::clone(&counters) };
        let writer = Worker::start("alert-log", move || writer.run()).map_err(AlertLogError::Thread)?;
        Ok(Self { queue, patience: hold, counters, writer })
    }

    /// Hands over an alert to be written. Never waits: an alert that finds the queue full is dropped and
    /// counted.
    pub fn append(&self, alert: &Alert) {
        let mut line = Vec::with_capacity(512);
        // Writing to memory fails only where an object cannot be written as JSON at all.
        if json::write_alert(&mut line, alert).is_err() || self.queue.try_send(Message::Line(line)).is_err() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Opens the file anew, as on SIGHUP after a rotation.
    pub fn reopen(&self) {
        match self.queue.try_send(Message::Reopen) {
            Ok(()) => {}
            // Before every line the writer looks whether the file is still there.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                info!("the alert log is busy and will be opened anew with its next line");
            }
        }
    }

    /// The counters.
    #[must_use]
    pub fn status(&self) -> AlertLogStatus {
        self.counters.status()
    }

    /// Writes what waits, for at most `deadline`, and returns the final counters.
    #[must_use]
    pub fn close(self, deadline: Duration) -> AlertLogStatus {
        let Self { queue, patience, counters, writer } = self;
        drop(queue);
        writer.ends_within(deadline);
        drop(patience);
        writer.finish(LAST_COUNT);
        counters.status()
    }
}

/// How long the writer may take to count what it gives up; longer only if the disk itself hangs.
const LAST_COUNT: Duration = Duration::from_millis(100);

/// The log's end at the file.
struct Writer {
    file: LogFile,
    messages: Receiver<Message>,
    given_up: Receiver<()>,
    retry: Duration,
    counters: Arc<Counters>,
}

impl Writer {
    fn run(mut self) {
        while let Ok(message) = self.messages.recv() {
            match message {
                Message::Line(line) => {
                    if !self.write(&line) {
                        return self.abandon();
                    }
                    self.counters.written.fetch_add(1, Ordering::Relaxed);
                }
                Message::Reopen => self.file.forget(),
            }
        }
    }

    /// Writes the line, however often it takes; false if it was told to give up before.
    fn write(&mut self, line: &[u8]) -> bool {
        let mut failed = false;
        while let Err(error) = self.file.write_line(line) {
            self.counters.errors.fetch_add(1, Ordering::Relaxed);
            if !failed {
                warn!(%error, "cannot write to the alert log {}; trying again", self.file.path().display());
            }
            failed = true;
            if self.given_up.recv_timeout(self.retry) == Err(RecvTimeoutError::Disconnected) {
                return false;
            }
        }
        if failed {
            info!("the alert log {} can be written again", self.file.path().display());
        }
        true
    }

    /// Counts the line under way and all that wait.
    fn abandon(self) {
        let waiting = self.messages.try_iter().filter(|message| matches!(message, Message::Line(_))).count();
        let lost = waiting as u64 + 1;
        self.counters.dropped.fetch_add(lost, Ordering::Relaxed);
        warn!("{lost} alert(s) could not be written to {}", self.file.path().display());
    }
}

#[cfg(test)]
mod tests;
