//! What the kernel program and the agent must agree on: the one packet parser, the reasons for
//! ignoring or losing a frame, and the layout of the flow table in shared memory.
//!
//! Modules in the order a frame meets them. Nothing here allocates, reads a clock or knows aya.
#![cfg_attr(not(test), no_std)]

pub mod frame;
pub mod parse;

pub mod packet;

pub mod fragment;

pub mod reason;

pub mod table;

pub mod control;

#[cfg(feature = "bench")]
pub mod bench;
