//! Runs the program under test on one flow after the other.

use core::arch::asm;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, PerCpuArray, ProgramArray},
    programs::XdpContext,
};
use sensor_common::bench::{Cursor, FrameFlow};

/// `BPF_F_MMAPABLE` of linux/bpf.h.
const MAPPED: u32 = 1 << 10;

/// Where the addresses are in an Ethernet frame with IPv4; the ports follow.
const ADDRESSES: usize = 26;

#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
static FLOWS: Array<FrameFlow> = Array::with_max_entries(1, MAPPED);
#[map]
static CURSOR: PerCpuArray<Cursor> = PerCpuArray::with_max_entries(1, 0);

/// Puts the next flow into the frame and runs the program under test on it.
#[xdp]
pub fn driver(ctx: XdpContext) -> u32 {
    next(&ctx);
    // Reached only where there is no program to call.
    xdp_action::XDP_ABORTED
}

#[inline(always)]
fn next(ctx: &XdpContext) -> Option<()> {
    let cursor = CURSOR.get_ptr_mut(0)?;
    // SAFETY: this CPU's element, which no other program uses.
    let cursor = unsafe { &mut *cursor };
    let position = cursor.position;
    let next = position.wrapping_add(1);
    cursor.position = if next >= cursor.flows { 0 } else { next };
    let flow = FLOWS.get_ptr(position)?;
    // SAFETY: the list is written only while no program runs.
    let FrameFlow { addresses, ports, reserved: _ } = unsafe { *flow };
    let (data, data_end) = (ctx.data(), ctx.data_end());
    if data + ADDRESSES + 12 > data_end {
        return None;
    }
    // In one piece each: the program under test reads them back at once, and a processor cannot forward
    // several small stores to one large load.
    // SAFETY: the comparison above keeps both stores inside the frame.
    unsafe {
        asm!(
            "*(u64 *)({data} + 26) = {addresses}",
            "*(u32 *)({data} + 34) = {ports}",
            data = in(reg) data,
            addresses = in(reg) addresses,
            ports = in(reg) u64::from(ports),
            options(nostack, preserves_flags)
        );
    }
    // SAFETY: the array holds XDP programs.
    let _ = unsafe { UNDER_TEST.tail_call(ctx, 0) };
    None
}
