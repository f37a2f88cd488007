//! Plays a capture onto a cable, with the capture's own timing or as fast as it goes.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use sensor_user::{capture::file::CaptureFile, clock::Timestamp};

use crate::sender::{Sender, Sent};

/// A capture in memory.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    frames: Vec<(Timestamp, Vec<u8>)>,
}

impl Recording {
    /// Reads a capture of Ethernet frames. What was cut off is filled with zeros, so that the frames are as
    /// long as they were: a length in a header that goes beyond the frame would be damage.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = CaptureFile::open(path)?;
        let mut frames = Vec::new();
        while let Some(frame) = file.next_frame()? {
            let mut bytes = frame.frame.bytes.to_vec();
            bytes.resize(frame.frame.wire_len, 0);
            frames.push((frame.time, bytes));
        }
        Ok(Self { frames })
    }

    /// Number of frames.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// From the first frame to the last.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match &self.frames[..] {
            [first, .., last] => last.0.since(first.0),
            _ => Duration::ZERO,
        }
    }

    /// Only the frames that `wanted` says yes to, each with its own time.
    #[must_use]
    pub fn only(mut self, wanted: impl Fn(&[u8]) -> bool) -> Self {
        self.frames.retain(|(_, bytes)| wanted(bytes));
        self
    }

    /// Sends every frame at once.
    pub fn rush(&self, sender: &Sender) -> Result<Sent> {
        let frames: Vec<_> = self.frames.iter().map(|(_, bytes)| bytes).collect();
        sender.send(&frames)
    }

    /// Sends every frame as long after the first as it was recorded, through the sender that `route` gives
    /// for it, until `keep_on` says no.
    pub fn play<'s>(
        &self,
        route: impl Fn(&[u8]) -> &'s Sender,
        mut keep_on: impl FnMut() -> bool,
    ) -> Result<Sent> {
        let mut sent = Sent::default();
        let Some((start, _)) = self.frames.first() else { return Ok(sent) };
        let begin = Instant::now();
        for (time, bytes) in &self.frames {
            if !wait_until(begin + time.since(*start), &mut keep_on) {
                break;
            }
            sent.add(route(bytes).send(&[bytes]).context("playing a capture")?);
        }
        Ok(sent)
    }
}

/// Sleeps until `time`; false where `keep_on` said no before.
fn wait_until(time: Instant, mut keep_on: impl FnMut() -> bool) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    loop {
        let left = time.saturating_duration_since(Instant::now());
        if !keep_on() {
            return false;
        }
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(STEP));
    }
}
