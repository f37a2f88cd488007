//! flow-sensor: who on a mirrored network is suddenly opening connections to many new places.
//!
//! Modules in the order of the data's way: a capture yields drains, orientation turns their flows into
//! observations, sources turn those into intervals, detectors into findings; outputs show them.

#![deny(unsafe_code)]

pub mod clock;
pub mod config;
pub mod networks;

pub mod capture;

pub mod flow;

pub mod observation;
pub mod orient;

pub mod mirror;

pub mod interval;
pub mod sources;

pub mod alert;
pub mod detect;
pub mod suppress;

pub mod pipeline;

pub mod agent;

pub mod output;

pub mod cli;
pub mod commands;

/// An error and its causes in one line.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
