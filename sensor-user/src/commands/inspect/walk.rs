//! `--explain`: the way through the headers of a frame, and what was decided at its end.

use std::io::{self, Write};

use sensor_common::{
    parse::{Decapsulate, Layer, explain},
    reason::Ignored,
};
use serde::Serialize;

use super::line::Key;
use crate::capture::file::TimedFrame;

/// The headers of a frame in the order in which they are read, outermost first.
#[derive(Serialize)]
pub struct Walk {
    #[serde(rename = "walk")]
    headers: Vec<Header>,
    /// The flow that an ICMP error speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted: Option<Key>,
    #[serde(skip)]
    ignored: Option<Ignored>,
}

#[derive(Serialize)]
struct Header {
    layer: String,
    /// Where it begins in the frame, in bytes.
    offset: usize,
    decision: Decision,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Decision {
    /// It says what comes next.
    Next,
    /// It has the ports: the frame counts.
    Counts,
    /// It has the ports of the flow that the ICMP error quotes: that flow is marked.
    Marks,
    /// The walk ends here without a flow.
    Ignored,
}

impl Walk {
    /// Walks through a frame where these tunnels are opened.
    pub fn of(timed: &TimedFrame<'_>, decapsulate: Decapsulate) -> Self {
        let mut headers = Vec::new();
        let found = explain(&timed.frame, timed.link, decapsulate, |layer: Layer, offset| {
            headers.push(Header { layer: layer.to_string(), offset, decision: Decision::Next });
        });
        let ignored = found.ignored();
        if let Some(last) = headers.last_mut() {
            last.decision = match ignored {
                None => Decision::Counts,
                Some(_) if found.is_quoted() => Decision::Marks,
                Some(_) => Decision::Ignored,
            };
        }
        Self { headers, quoted: found.is_quoted().then(|| Key::of(&found.flow_key())), ignored }
    }

    /// Writes a row for each header.
    pub fn write_rows(&self, out: &mut impl Write) -> io::Result<()> {
        for Header { layer, offset, decision } in &self.headers {
            write!(out, "{:>9}  {offset:>5}  {layer}", "")?;
            match (decision, self.ignored, &self.quoted) {
                (Decision::Next, ..) => writeln!(out)?,
                (Decision::Marks, _, Some(key)) => writeln!(out, ": marks as unreachable: {key}")?,
                (Decision::Ignored, Some(reason), _) => writeln!(out, ": ignored: {}", reason.meaning())?,
                _ => writeln!(out, ": counts")?,
            }
        }
        Ok(())
    }
}
