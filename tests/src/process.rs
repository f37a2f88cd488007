//! Processes that end with the handle that started them.

use std::{
    process::{Child, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How often an exit is looked for.
const POLL: Duration = Duration::from_millis(10);

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `command`.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot run {name} (cargo xtask setup)"))?;
        Ok(Self { name, child })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into().context("a process id must fit into pid_t")?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    /// Waits for its end.
    pub fn wait(&mut self, at_most: Duration) -> Result<ExitStatus> {
        let begin = Instant::now();
        while begin.elapsed() < at_most {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
        bail!("{} did not end within {at_most:?}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended and been waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` gives something, or gives up with what it said last.
pub fn wait_for<T>(what: &str, at_most: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let begin = Instant::now();
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(error) if begin.elapsed() >= at_most => {
                return Err(error.context(format!("no {what} within {at_most:?}")));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
