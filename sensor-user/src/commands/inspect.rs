//! `inspect`: for every frame of a capture its flow, or why it has none.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
};

use sensor_common::{
    packet::Packet,
    parse::{Decapsulate, parse},
    reason::Ignored,
};
use serde::Serialize;

use crate::{
    capture::{
        file::{CaptureFile, TimedFrame},
        live::inspector::Inspector,
    },
    cli::{EngineChoice, InspectArgs, OutputFormat},
    flow::FlowId,
};

/// An instance of the parser.
pub trait Engine {
    /// Reads one frame; fails where the engine itself cannot be reached.
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>>;
}

/// The parser in this process.
pub struct UserEngine;

impl Engine for UserEngine {
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>> {
        Ok(parse(&timed.frame, timed.link, Decapsulate::ALL))
    }
}

/// The parser in the kernel.
impl Engine for Inspector {
    fn read(&mut self, timed: &TimedFrame<'_>) -> anyhow::Result<Result<Packet, Ignored>> {
        Ok(self.inspect(&timed.frame, timed.link)?)
    }
}

/// Inspects the file and prints a line per frame on standard output.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let mut engine: Box<dyn Engine> = match args.engine {
        EngineChoice::User => Box::new(UserEngine),
        EngineChoice::Xdp => Box::new(Inspector::load()?),
    };
    let file = CaptureFile::open(&args.file)?;
    inspect_file(file, engine.as_mut(), args.format, BufWriter::new(io::stdout().lock()))
}

/// Inspects every frame of `file` with `engine`. The lines of the frames before an error are written.
pub fn inspect_file(
    mut file: CaptureFile,
    engine: &mut dyn Engine,
    format: OutputFormat,
    mut out: impl Write,
) -> anyhow::Result<()> {
    let outcome = write_frames(&mut file, engine, format, &mut out);
    out.flush()?;
    outcome
}

fn write_frames(
    file: &mut CaptureFile,
    engine: &mut dyn Engine,
    format: OutputFormat,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut number = 0;
    while let Some(timed) = file.next_frame()? {
        number += 1;
        let result = engine.read(&timed)?;
        match format {
            OutputFormat::Json => {
                serde_json::to_writer(&mut *out, &Line::of(number, &result)).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            OutputFormat::Table => write_row(out, number, &result)?,
        }
    }
    Ok(())
}

fn write_row(out: &mut impl Write, number: u64, result: &Result<Packet, Ignored>) -> io::Result<()> {
    match result {
        Ok(packet) => {
            let Key { src, dst, src_port, dst_port, protocol } = Key::of(packet);
            writeln!(out, "{number:>9}  {protocol:<7} {src} port {src_port} > {dst} port {dst_port}")
        }
        Err(reason) => writeln!(out, "{number:>9}  ignored {}", reason.name()),
    }
}

/// A line of `--format json`.
#[derive(Serialize)]
struct Line {
    frame: u64,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Key(Key),
    Ignored(&'static str),
}

/// The innermost flow of a frame, as in the frame.
#[derive(Serialize)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    src_port: u16,
    dst_port: u16,
    protocol: String,
}

impl Line {
    fn of(frame: u64, result: &Result<Packet, Ignored>) -> Self {
        let outcome = match result {
            Ok(packet) => Outcome::Key(Key::of(packet)),
            Err(reason) => Outcome::Ignored(reason.name()),
        };
        Self { frame, outcome }
    }
}

impl Key {
    fn of(packet: &Packet) -> Self {
        let (FlowId { src, dst, dst_port, protocol }, src_port) = FlowId::of(&packet.key);
        Self { src, dst, src_port, dst_port, protocol: protocol.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::capture::file::builder::{Order, PcapBuilder, arp, udp};

    fn inspected(capture: &PcapBuilder, format: OutputFormat) -> (String, Result<(), String>) {
        let file = CaptureFile::from_reader("it", Cursor::new(capture.bytes.clone())).unwrap();
        let mut out = Vec::new();
        let outcome = inspect_file(file, &mut UserEngine, format, &mut out);
        (String::from_utf8(out).unwrap(), outcome.map_err(|error| error.to_string()))
    }

    fn capture() -> PcapBuilder {
        let mut capture = PcapBuilder::new(Order::Little, false, 1);
        capture.frame(0, &udp("10.0.0.5:51413", "203.0.113.9:6881")).frame(0, &arp());
        capture
    }

    #[test]
    fn every_frame_is_one_line_of_json() {
        let expected = concat!(
            r#"{"frame":1,"key":{"src":"10.0.0.5","dst":"203.0.113.9","src_port":51413,"dst_port":6881,"protocol":"udp"}}"#,
            "\n",
            r#"{"frame":2,"ignored":"not_ip"}"#,
            "\n",
        );
        assert_eq!(inspected(&capture(), OutputFormat::Json), (expected.to_owned(), Ok(())));
    }

    #[test]
    fn every_frame_is_one_row_of_the_table() {
        let expected =
            "        1  udp     10.0.0.5 port 51413 > 203.0.113.9 port 6881\n        2  ignored not_ip\n";
        assert_eq!(inspected(&capture(), OutputFormat::Table), (expected.to_owned(), Ok(())));
    }

    #[test]
    fn the_frames_before_the_cut_are_shown() {
        let mut capture = capture();
        capture.bytes.pop();
        let (out, outcome) = inspected(&capture, OutputFormat::Table);
        assert_eq!(out.lines().count(), 1);
        assert!(outcome.unwrap_err().starts_with("it ends inside frame 2"));
    }
}
