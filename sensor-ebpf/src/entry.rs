//! The entry points.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use sensor_common::{
    control::Inspection,
    frame::Frame,
    parse::{Link, find, parse},
};

use crate::{
    account::account,
    frame::{FirstBuffer, Inspected, WholeFrame},
    maps,
};

/// Counts a frame that lies in one buffer.
#[xdp]
pub fn sensor(ctx: XdpContext) -> u32 {
    run(&WholeFrame::new(&ctx))
}

/// Counts a frame that may lie in several buffers; its headers are in the first.
#[xdp(frags)]
pub fn sensor_frags(ctx: XdpContext) -> u32 {
    run(&FirstBuffer::new(&ctx))
}

/// Reports what the parser makes of a frame.
#[xdp]
pub fn inspect(ctx: XdpContext) -> u32 {
    let Some(inspection) = maps::inspection() else { return xdp_action::XDP_ABORTED };
    let frame = Inspected::new(&ctx, inspection);
    let link = Link::ALL.get(inspection.link as usize).copied().unwrap_or(Link::Ethernet);
    *inspection = Inspection::of(parse(&frame, link));
    xdp_action::XDP_DROP
}

#[inline(always)]
fn run<F: Frame>(frame: &F) -> u32 {
    account(&find(frame, Link::Ethernet), frame.wire_len());
    maps::verdict()
}
