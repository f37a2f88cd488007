//! `inspect`: for every frame of a capture its flow, or why it has none.

mod line;
#[cfg(test)]
mod tests;
mod walk;

use std::io::{self, BufWriter, Write};

use sensor_common::{
    packet::Packet,
    parse::{Decapsulate, parse},
    reason::Ignored,
};

use self::{line::Line, walk::Walk};
use crate::{
    capture::{
        file::{CaptureFile, TimedFrame},
        live::inspector::Inspector,
    },
    cli::{EngineChoice, InspectArgs, OutputFormat},
    config::Config,
};

/// An instance of the parser.
pub trait Engine {
    /// Reads one frame; fails where the engine itself cannot be reached.
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>>;
}

/// The parser in this process, which opens these tunnels.
pub struct UserEngine(pub Decapsulate);

impl Engine for UserEngine {
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>> {
        Ok(parse(&timed.frame, timed.link, self.0))
    }
}

/// The parser in the kernel.
impl Engine for Inspector {
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>> {
        Ok(self.inspect(&timed.frame, timed.link)?)
    }
}

/// How frames are shown.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// For whom.
    pub format: OutputFormat,
    /// Whether the headers of each frame are shown, as they are walked where these tunnels are opened.
    pub explain: Option<Decapsulate>,
}

/// Inspects the file and prints a line per frame on standard output.
pub fn inspect(args: &InspectArgs, config: &Config) -> anyhow::Result<()> {
    let mut engine: Box<dyn Engine> = match args.engine {
        EngineChoice::User => Box::new(UserEngine(config.decapsulate)),
        EngineChoice::Xdp => Box::new(Inspector::load(config.decapsulate)?),
    };
    let file = CaptureFile::open(&args.file)?;
    let view = View { format: args.format, explain: args.explain.then_some(config.decapsulate) };
    inspect_file(file, engine.as_mut(), view, BufWriter::new(io::stdout().lock()))
}

/// Inspects every frame of `file` with `engine`. The lines of the frames before an error are written.
pub fn inspect_file(
    mut file: CaptureFile,
    engine: &mut dyn Engine,
    view: View,
    mut out: impl Write,
) -> anyhow::Result<()> {
    let outcome = write_frames(&mut file, engine, view, &mut out);
    out.flush()?;
    outcome
}

fn write_frames(
    file: &mut CaptureFile,
    engine: &mut dyn Engine,
    view: View,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut number = 0;
    while let Some(timed) = file.next_frame()? {
        number += 1;
        let walk = view.explain.map(|decapsulate| Walk::of(&timed, decapsulate));
        let line = Line::of(number, &engine.read(&timed)?, walk);
        match view.format {
            OutputFormat::Json => line.write_json(out)?,
            OutputFormat::Table => line.write_rows(out)?,
        }
    }
    Ok(())
}
