//! What is said of one frame.

use std::{
    fmt,
    io::{self, Write},
    net::IpAddr,
};

use sensor_common::{
    packet::{FlowKey, Packet},
    reason::Ignored,
};
use serde::Serialize;

use super::walk::Walk;
use crate::flow::FlowId;

/// A line of `--format json`, or the rows of a frame in the table.
#[derive(Serialize)]
pub struct Line {
    frame: u64,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(flatten)]
    walk: Option<Walk>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Key(Key),
    Ignored(&'static str),
}

/// A flow as in the frame, not oriented.
#[derive(Serialize)]
pub struct Key {
    src: IpAddr,
    dst: IpAddr,
    src_port: u16,
    dst_port: u16,
    protocol: String,
}

impl Line {
    /// What is said of the frame with this number.
    pub fn of(frame: u64, result: &Result<Packet, Ignored>, walk: Option<Walk>) -> Self {
        let outcome = match result {
            Ok(packet) => Outcome::Key(Key::of(&packet.key)),
            Err(reason) => Outcome::Ignored(reason.name()),
        };
        Self { frame, outcome, walk }
    }

    /// Writes it as one line of JSON.
    pub fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Writes it as a row, and a row for each header walked.
    pub fn write_rows(&self, out: &mut impl Write) -> io::Result<()> {
        let number = self.frame;
        match &self.outcome {
            Outcome::Key(key) => writeln!(out, "{number:>9}  {key}")?,
            Outcome::Ignored(reason) => writeln!(out, "{number:>9}  ignored {reason}")?,
        }
        self.walk.as_ref().map_or(Ok(()), |walk| walk.write_rows(out))
    }
}

impl Key {
    /// The flow with this key.
    pub fn of(key: &FlowKey) -> Self {
        let (FlowId { src, dst, dst_port, protocol }, src_port) = FlowId::of(key);
        Self { src, dst, src_port, dst_port, protocol: protocol.to_string() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { src, dst, src_port, dst_port, protocol } = self;
        write!(f, "{protocol:<7} {src} port {src_port} > {dst} port {dst_port}")
    }
}
