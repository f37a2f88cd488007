//! What a run of the comparison covered, so that its reader sees it: what was built around the frames, and
//! which headers were walked.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, ensure};
use sensor_common::{
    frame::CapturedFrame,
    parse::{Decapsulate, Layer, Link, explain},
    reason::Ignored,
};

use crate::wrap::{Built, KINDS};

/// Counts of frames.
#[derive(Default)]
pub struct Tally {
    frames: usize,
    flows: usize,
    as_built: usize,
    reasons: [usize; Ignored::ALL.len()],
    kinds: [Counts; KINDS.len()],
    /// Frames in which a header of this name was walked.
    headers: BTreeMap<String, usize>,
}

/// Frames with a kind of encapsulation in them.
#[derive(Clone, Copy, Default)]
struct Counts {
    /// All of them.
    frames: usize,
    /// Neither damaged nor cut, so that it is known what must be read.
    as_built: usize,
}

impl Tally {
    /// Adds a frame, which was captured and read as this on this link.
    pub fn add(&mut self, built: &Built, frame: &CapturedFrame<'_>, link: Link, reason: Option<Ignored>) {
        self.frames += 1;
        match reason {
            None => self.flows += 1,
            Some(reason) => self.reasons[reason as usize] += 1,
        }
        let is_as_built = link == Link::Ethernet && frame.bytes == built.bytes;
        self.as_built += usize::from(is_as_built);
        for (index, Counts { frames, as_built }) in self.kinds.iter_mut().enumerate() {
            let is_there = built.around.contains(&index);
            *frames += usize::from(is_there);
            *as_built += usize::from(is_there && is_as_built);
        }
        for name in headers(frame, link) {
            *self.headers.entry(name).or_default() += 1;
        }
    }

    /// Whether the frames were right and wrong enough to show anything.
    pub fn check(&self) -> Result<()> {
        let Self { frames, flows, reasons, kinds, .. } = self;
        ensure!(
            *flows > frames / 6,
            "only {flows} flows of {frames}: the frames are too wrong to show anything"
        );
        for (reason, times) in Ignored::ALL.into_iter().zip(reasons) {
            ensure!(*times > 0 || reason == Ignored::Filtered, "no frame was ignored as {}", reason.name());
        }
        for (kind, counts) in KINDS.iter().zip(kinds) {
            ensure!(
                counts.as_built > frames / 1000,
                "only {} frames as built with {}",
                counts.as_built,
                kind.name
            );
        }
        for name in ["TCP", "UDP", "SCTP", "UDP-Lite", "IPv4 with options", "AH", "IPv6 fragment header"] {
            ensure!(self.headers.contains_key(name), "no frame with {name}");
        }
        Ok(())
    }
}

/// The names of the headers in a frame, each once.
fn headers(frame: &CapturedFrame<'_>, link: Link) -> Vec<String> {
    let mut names = Vec::new();
    explain(frame, link, Decapsulate::ALL, |layer: Layer, offset: usize| {
        names.push(match layer {
            // What only damage makes of a number would be a long list.
            Layer::EtherType(_) if layer.to_string().starts_with("ethertype") => return,
            Layer::Protocol(_) if layer.to_string().starts_with("IP protocol") => return,
            Layer::LaterFragment(_) => "later fragment".to_owned(),
            Layer::EtherType(0x0800) if frame.bytes.get(offset).is_some_and(|first| first & 0x0f > 5) => {
                "IPv4 with options".to_owned()
            }
            _ => layer.to_string(),
        });
    });
    names.sort_unstable();
    names.dedup();
    names
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, flows, as_built, reasons, kinds, headers } = self;
        writeln!(f, "{frames:>9}  frames agreed upon by kernel and user space, of which")?;
        writeln!(f, "{as_built:>9}  as built, held against what etherparse reads in the innermost frame")?;
        writeln!(f, "{flows:>9}  flows")?;
        for (reason, times) in Ignored::ALL.into_iter().zip(reasons) {
            writeln!(f, "{times:>9}  ignored {}", reason.name())?;
        }
        writeln!(f, "   frames   as built  with, among others, this around the innermost frame")?;
        for (kind, Counts { frames, as_built }) in KINDS.iter().zip(kinds) {
            writeln!(f, "{frames:>9}  {as_built:>9}  {}", kind.name)?;
        }
        writeln!(f, "   frames  in which this was walked")?;
        headers.iter().try_for_each(|(name, frames)| writeln!(f, "{frames:>9}  {name}"))
    }
}
