//! The metrics: from a snapshot to the text that Prometheus scrapes.
//!
//! There is no registry: all state is in the snapshot, so a metric family is made of it when somebody
//! asks. Every family is declared in [`family`], which the documentation, the rules and the dashboards
//! are checked against. No label carries an external address, a port, or anything a client sent.

mod agent;
pub mod family;
mod sensor;
mod sources;

use prometheus::{TextEncoder, proto::MetricFamily};

use self::family::Samples;
use super::{http::HttpStatus, process::ProcessStatus, snapshot::Snapshot};

/// What [`render`] writes. Prometheus 3 refuses a target that does not say so.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exposition of one moment.
#[derive(Clone, Copy, Debug)]
pub struct Exposition<'a> {
    /// The sensor after its last drain.
    pub snapshot: &'a Snapshot,
    /// This process; none where /proc does not tell.
    pub process: Option<&'a ProcessStatus>,
    /// The HTTP server.
    pub http: &'a HttpStatus,
}

/// The text exposition, format 0.0.4, families in the order of their names.
///
/// # Panics
///
/// Never: the encoder writes to memory, and families without a name or a sample are left out.
#[must_use]
pub fn render(exposition: &Exposition<'_>) -> String {
    let mut samples: Vec<Samples> = Vec::with_capacity(family::ALL.len());
    sensor::collect(exposition.snapshot, &mut samples);
    sources::collect(exposition.snapshot, &mut samples);
    if let Some(process) = exposition.process {
        agent::collect_process(process, &mut samples);
    }
    agent::collect_http(exposition.http, &mut samples);
    let mut families: Vec<MetricFamily> = samples.into_iter().filter_map(Samples::into_family).collect();
    families.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    let mut text = String::new();
    TextEncoder::new().encode_utf8(&families, &mut text).expect("writing to memory must succeed");
    text
}

#[cfg(test)]
mod tests;
