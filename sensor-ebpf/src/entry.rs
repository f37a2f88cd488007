//! The entry points.

use aya_ebpf::{
    bindings::{xdp_action, xdp_md},
    macros::xdp,
    programs::XdpContext,
};
use aya_log_ebpf::debug;
use sensor_common::{
    parse::{Link, Piece, Plain, explain, find, plain, plain_v6},
    reason::{Ignored, Lost},
};

use crate::{
    account::{self, Outcome, Part},
    fragments,
    frame::{FirstBuffer, Inspected, Received, WholeFrame},
    maps,
};

/// Counts a frame that lies in one buffer.
#[xdp]
pub fn sensor(ctx: XdpContext) -> u32 {
    run::<WholeFrame>(&ctx)
}

/// Counts a frame that may lie in several buffers; its headers are in the first.
#[xdp(frags)]
pub fn sensor_frags(ctx: XdpContext) -> u32 {
    run::<FirstBuffer>(&ctx)
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
fn run<F: Received>(ctx: &XdpContext) -> u32 {
    match count::<F>(ctx.ctx) {
        Outcome::Counted => {}
        // Off unless asked for at load; the verifier then removes it, and it costs nothing.
        Outcome::Ignored(reason) => debug!(ctx, "a frame ignored: {}", reason.name()),
        Outcome::Lost(reason) => debug!(ctx, "a frame lost: {}", reason.name()),
    }
    maps::verdict()
}

/// Counts a frame. Plain ones of IPv4 go through here in a straight line, from registers. What is rarer has
/// functions and stacks of its own.
#[inline(always)]
fn count<F: Received>(ctx: *mut xdp_md) -> Outcome {
    let Some((part, state)) = Part::now() else { return Outcome::Lost(Lost::Internal) };
    let totals = part.totals_of(state);
    totals.with(|totals| totals.seen += 1);
    // After the lookups: the pointers into it would have to be kept on the stack across them.
    let frame = F::of(ctx);
    let word = match plain(&frame, maps::decapsulate) {
        Plain::V4(segment) => return account::segment(&segment, frame.wire_len(), part, totals),
        Plain::Foreign => return account::ignore(Ignored::NotIp, totals),
        Plain::V6(offset) => v6::<F>(ctx, offset, part.epoch()),
        Plain::Unknown => NOT_PLAIN,
    };
    Outcome::of_word(if word == NOT_PLAIN { walk::<F>(ctx, part.epoch()) } else { word })
}

/// Instead of an outcome: the frame must be walked.
const NOT_PLAIN: u32 = u32::MAX;

/// Counts a plain frame of IPv6.
#[inline(never)]
fn v6<F: Received>(ctx: *mut xdp_md, offset: usize, epoch: u64) -> u32 {
    let part = Part::at(epoch);
    let Some(totals) = part.totals() else { return Outcome::Lost(Lost::Internal).to_word() };
    let frame = F::of(ctx);
    match plain_v6(&frame, maps::decapsulate, offset) {
        Some(segment) => account::segment(&segment, frame.wire_len(), part, totals).to_word(),
        None => NOT_PLAIN,
    }
}

/// Counts a frame that must be walked.
#[inline(never)]
fn walk<F: Received>(ctx: *mut xdp_md, epoch: u64) -> u32 {
    let frame = F::of(ctx);
    let mut found = explain(&frame, Link::Ethernet, maps::decapsulate(), ());
    if found.piece != Piece::Whole {
        let ends = fragments::ends(&found);
        found.attribute(ends);
    }
    account::found(&found, frame.wire_len(), epoch)
}
