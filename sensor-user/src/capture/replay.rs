//! Frames of a file in, drains out, on the capture's own clock.
//!
//! Drains are cut where the live sensor would cut them: at whole periods of the wall clock. Where the
//! capture is silent for long, the periods that no statistic can tell from each other are one drain.

mod fragments;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sensor_common::parse::{Decapsulate, Found, find_then};

use self::fragments::FirstFragments;
use super::{file::TimedFrame, merge::FlowSet};
use crate::{
    clock::Timestamp,
    config::Config,
    flow::{Drain, Flow, FlowId, FrameCounts},
};

/// Most flows of one drain; beyond, the drain is cut early. 2^20 of them take about 150 MB.
const MAX_FLOWS: usize = 1 << 20;

/// Cuts the frames of a capture into drains.
pub struct Replay {
    period: Duration,
    interval: Duration,
    /// Silence up to this long is handed on period by period.
    silence: Duration,
    max_flows: usize,
    decapsulate: Decapsulate,
    fragments: FirstFragments,
    flows: FlowSet,
    /// The drain that is being filled.
    drain: Drain,
    /// The latest time seen; none before the first frame.
    now: Option<Timestamp>,
    clamped: Clamped,
}

/// Frames whose time lay before that of a frame before them. They count as of the later time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clamped {
    /// How many.
    pub frames: u64,
    /// The largest step back.
    pub most: Duration,
}

impl Replay {
    /// A replay with the drain period of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let window = u32::try_from(config.window).unwrap_or(u32::MAX);
        Self {
            period: config.drain,
            interval: config.interval,
            silence: config.interval.saturating_mul(window),
            max_flows: MAX_FLOWS,
            decapsulate: config.decapsulate,
            fragments: FirstFragments::default(),
            flows: FlowSet::default(),
            drain: Drain {
                start: Timestamp::default(),
                end: Timestamp::default(),
                flows: Vec::new(),
                frames: vec![FrameCounts::default()],
            },
            now: None,
            clamped: Clamped::default(),
        }
    }

    /// Frames clamped since this was last asked.
    pub fn take_clamped(&mut self) -> Clamped {
        std::mem::take(&mut self.clamped)
    }

    /// The latest time seen; none before the first frame.
    #[must_use]
    pub const fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// Counts one frame, after handing the drains that its time completes to `feed`.
    pub fn push<E>(
        &mut self,
        timed: &TimedFrame<'_>,
        feed: &mut impl FnMut(&Drain) -> Result<(), E>,
    ) -> Result<(), E> {
        let time = self.advance(timed.time, feed)?;
        let counts = &mut self.drain.frames[0];
        counts.seen += 1;
        let follow = |found: &mut Found| self.fragments.follow(found, time);
        let found = find_then(&timed.frame, timed.link, self.decapsulate, follow);
        let (packets, bytes) = match found.ignored() {
            None => {
                counts.counted += 1;
                (1, timed.frame.wire_len as u64)
            }
            // An ICMP error marks the flow that it quotes, and is no frame of it.
            Some(reason) => {
                counts.ignored[reason as usize] += 1;
                (0, 0)
            }
        };
        if packets > 0 || found.is_quoted() {
            let (id, src_port) = FlowId::of(&found.flow_key());
            self.flows.add(Flow { id, src_port, packets, bytes, marks: found.marks, first_seen: time });
        }
        if self.flows.len() >= self.max_flows {
            self.cut(time, feed)?;
        }
        Ok(())
    }

    /// Hands the last drain to `feed`.
    pub fn finish<E>(&mut self, feed: &mut impl FnMut(&Drain) -> Result<(), E>) -> Result<(), E> {
        match self.now {
            Some(_) => self.cut(self.drain.end, feed),
            None => Ok(()),
        }
    }

    /// Moves the clock to `time`, but never backwards; returns where it is then.
    fn advance<E>(
        &mut self,
        time: Timestamp,
        feed: &mut impl FnMut(&Drain) -> Result<(), E>,
    ) -> Result<Timestamp, E> {
        let Some(now) = self.now else {
            self.drain.end = time.period_end(self.period);
            self.drain.start = self.drain.end.minus(self.period);
            self.now = Some(time);
            return Ok(time);
        };
        if time < now {
            self.clamped.frames += 1;
            self.clamped.most = self.clamped.most.max(now.since(time));
            return Ok(now);
        }
        self.now = Some(time);
        if time >= self.drain.end {
            self.cut(self.drain.end, feed)?;
            self.pass_silence(time.period_end(self.period).minus(self.period), feed)?;
            self.drain.end = self.drain.start.plus(self.period);
        }
        Ok(time)
    }

    /// Hands the silence from the last drain to `until` on: period by period for as long as a full
    /// window of statistics, then in one drain up to the interval in which the next frame lies.
    fn pass_silence<E>(
        &mut self,
        until: Timestamp,
        feed: &mut impl FnMut(&Drain) -> Result<(), E>,
    ) -> Result<(), E> {
        let settled = self.drain.start.plus(self.silence).period_end(self.interval);
        let resumed = until.period_end(self.interval).minus(self.interval);
        while self.drain.start < until {
            let end = match self.drain.start {
                start if start == settled && start < resumed => resumed,
                start => start.plus(self.period),
            };
            self.cut(end, feed)?;
        }
        Ok(())
    }

    /// Ends the drain that is being filled at `end` and begins the next one there.
    fn cut<E>(&mut self, end: Timestamp, feed: &mut impl FnMut(&Drain) -> Result<(), E>) -> Result<(), E> {
        let planned = std::mem::replace(&mut self.drain.end, end);
        self.drain.flows = self.flows.take();
        feed(&self.drain)?;
        self.drain.frames[0] = FrameCounts::default();
        self.drain.start = end;
        self.drain.end = planned;
        Ok(())
    }
}
