//! The entry points.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use aya_log_ebpf::debug;
use sensor_common::{
    frame::Frame,
    parse::{Link, Piece, find, find_then},
};

use crate::{
    account::{Outcome, account},
    fragments,
    frame::{FirstBuffer, Inspected, WholeFrame},
    maps,
};

/// Counts a frame that lies in one buffer.
#[xdp]
pub fn sensor(ctx: XdpContext) -> u32 {
    run(&ctx, &WholeFrame::new(&ctx))
}

/// Counts a frame that may lie in several buffers; its headers are in the first.
#[xdp(frags)]
pub fn sensor_frags(ctx: XdpContext) -> u32 {
    run(&ctx, &FirstBuffer::new(&ctx))
}

/// Reports what the parser makes of a frame.
#[xdp]
pub fn inspect(ctx: XdpContext) -> u32 {
    let Some(inspection) = maps::inspection() else { return xdp_action::XDP_ABORTED };
    let frame = Inspected::new(&ctx, inspection);
    let link = Link::ALL.get(inspection.link as usize).copied().unwrap_or(Link::Ethernet);
    let found = find(&frame, link, maps::decapsulate());
    inspection.answer(&found);
    xdp_action::XDP_DROP
}

#[inline(always)]
fn run<F: Frame>(ctx: &XdpContext, frame: &F) -> u32 {
    let wire_len = frame.wire_len();
    let find = || {
        find_then(frame, Link::Ethernet, maps::decapsulate(), |found| {
            if found.piece != Piece::Whole {
                found.attribute(fragments::ends(found));
            }
        })
    };
    let outcome = account(find, wire_len);
    // Off unless asked for at load; the verifier then removes it, and it costs nothing.
    match outcome {
        Outcome::Counted => {}
        Outcome::Ignored(reason) => debug!(ctx, "frame of {} bytes ignored: {}", wire_len, reason.name()),
        Outcome::Lost(reason) => debug!(ctx, "frame of {} bytes lost: {}", wire_len, reason.name()),
    }
    maps::verdict()
}
