//! Frames of a file in, drains out, on the capture's own clock.
//!
//! Drains are cut where the live sensor would cut them: at whole periods of the wall clock. Where the
//! capture is silent for long, the periods that no statistic can tell from each other are one drain.

mod flows;
mod fragments;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sensor_common::{
    parse::{Decapsulate, Link, Plain, Segment, explain, plain, plain_v6},
    reason::Ignored,
};

use self::{
    flows::{Added, Flows},
    fragments::FirstFragments,
};
use super::file::TimedFrame;
use crate::{
    clock::Timestamp,
    config::Config,
    flow::{Drain, FrameCounts},
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
    flows: Flows,
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
            flows: Flows::default(),
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
    #[inline]
    pub fn push<E>(
        &mut self,
        timed: &TimedFrame<'_>,
        feed: &mut impl FnMut(&Drain) -> Result<(), E>,
    ) -> Result<(), E> {
        let time = match self.now {
            Some(now) if now <= timed.time && timed.time < self.drain.end => {
                self.now = Some(timed.time);
                timed.time
            }
            _ => self.advance(timed.time, feed)?,
        };
        self.count(timed, time);
        if self.flows.len() >= self.max_flows {
            self.cut(time, feed)?;
        }
        Ok(())
    }

    /// Counts one frame, in the way of the kernel program: plain frames in a straight line, others walked.
    #[inline]
    fn count(&mut self, timed: &TimedFrame<'_>, time: Timestamp) {
        let TimedFrame { frame, link, .. } = timed;
        let counts = &mut self.drain.frames[0];
        counts.seen += 1;
        let added = Added { packets: 1, bytes: frame.wire_len as u64, time };
        let decapsulate = || self.decapsulate;
        let first_sight = if *link == Link::Ethernet { plain(frame, decapsulate) } else { Plain::Unknown };
        match first_sight {
            Plain::V4(segment) => {
                counts.counted += 1;
                self.flows.v4.count(&segment, added);
            }
            Plain::Foreign => counts.ignored[Ignored::NotIp as usize] += 1,
            Plain::V6(offset) if let Some(segment) = plain_v6(frame, decapsulate, offset) => {
                counts.counted += 1;
                self.flows.v6.count(&segment, added);
            }
            Plain::V6(_) | Plain::Unknown => self.walk(timed, added),
        }
    }

    /// Counts a frame that is not plain.
    #[inline(never)]
    fn walk(&mut self, timed: &TimedFrame<'_>, counted: Added) {
        let mut found = explain(&timed.frame, timed.link, self.decapsulate, ());
        self.fragments.follow(&mut found, counted.time);
        let counts = &mut self.drain.frames[0];
        let added = match found.ignored() {
            None => {
                counts.counted += 1;
                counted
            }
            Some(reason) => {
                counts.ignored[reason as usize] += 1;
                // An ICMP error marks the flow that it quotes, and is no frame of it.
                if !found.is_quoted() {
                    return;
                }
                Added { packets: 0, bytes: 0, ..counted }
            }
        };
        let (src_port, marks) = (found.src_port, found.marks);
        if found.is_ipv6 {
            self.flows.v6.count(&Segment { key: found.key_v6(), src_port, marks }, added);
        } else {
            self.flows.v4.count(&Segment { key: found.key_v4(), src_port, marks }, added);
        }
    }

    /// Hands the last drain to `feed`.
    pub fn finish<E>(&mut self, feed: &mut impl FnMut(&Drain) -> Result<(), E>) -> Result<(), E> {
        match self.now {
            Some(_) => self.cut(self.drain.end, feed),
            None => Ok(()),
        }
    }

    /// Moves the clock to `time`, but never backwards; returns where it is then.
    #[inline(never)]
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
        self.flows.take_into(&mut self.drain.flows);
        feed(&self.drain)?;
        self.drain.frames[0] = FrameCounts::default();
        self.drain.start = end;
        self.drain.end = planned;
        Ok(())
    }
}
