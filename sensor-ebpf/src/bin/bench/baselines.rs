//! The programs to compare with: nothing, the parser alone, the least that a table of this kind can cost, and
//! the kernel's own per-CPU hash maps.

use core::arch::asm;

use aya_ebpf::{
    bindings::{BPF_NOEXIST, xdp_action},
    helpers::generated::bpf_ktime_get_coarse_ns,
    macros::{map, xdp},
    maps::{Array, LruPerCpuHashMap, PerCpuHashMap},
    programs::XdpContext,
};
use sensor_common::{
    frame::Frame,
    parse::{Decapsulate, Found, Link, find},
    table::{BucketV4, Counters, HashSecret, Home, Increment, KeyV4, STAMP_NANOSECONDS},
};

use crate::frame::{Received as _, WholeFrame};

/// `BPF_F_MMAPABLE` of linux/bpf.h: the same kind of memory as the sensor's table has.
const MAPPED: u32 = 1 << 10;

/// Any odd numbers serve; these are the first digits of pi.
const SECRET: HashSecret = HashSecret::new([0x3141_5926_5358_9793, 0x2384_6264_3383_2795, 1, 1, 1]);

#[map]
static FLOOR: Array<BucketV4> = Array::with_max_entries(1, MAPPED);
#[map]
static KERNEL_HASH: PerCpuHashMap<[u32; 3], Counters> = PerCpuHashMap::with_max_entries(1, 0);
#[map]
static KERNEL_LRU: LruPerCpuHashMap<[u32; 3], Counters> = LruPerCpuHashMap::with_max_entries(1, 0);

/// Logarithm of the buckets of [`FLOOR`].
#[unsafe(no_mangle)]
static FLOOR_BITS: u32 = 0;

/// Does nothing: what it costs is the driver.
#[xdp]
pub fn empty(_: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Only parses.
#[xdp]
pub fn parse_only(ctx: XdpContext) -> u32 {
    let found = parse(&WholeFrame::of(ctx.ctx));
    let KeyV4 { addresses, port_and_protocol } = found.key_v4();
    // The result must look used, or the compiler leaves the parser out.
    keep(addresses);
    keep(u64::from(port_and_protocol));
    keep(u64::from(found.src_port) + u64::from(found.marks.0));
    keep(u64::from(found.ignored().is_some()));
    xdp_action::XDP_DROP
}

/// Parses and counts in one random slot, whosever it is.
#[xdp]
pub fn floor(ctx: XdpContext) -> u32 {
    let frame = WholeFrame::of(ctx.ctx);
    let found = parse(&frame);
    // SAFETY: a reference is valid to read.
    let bits = unsafe { core::ptr::read_volatile(&raw const FLOOR_BITS) };
    let hash = found.key_v4().hash(|word| SECRET.0[word]);
    let home = Home::of(hash, (1 << bits) - 1);
    let Some(bucket) = FLOOR.get_ptr_mut(home.bucket) else { return xdp_action::XDP_ABORTED };
    // SAFETY: one program at a time uses the map.
    let bucket = unsafe { &mut *bucket };
    if let Some(slot) = bucket.0.get_mut(home.slot) {
        slot.count(increment(&found, frame.wire_len()));
    }
    xdp_action::XDP_DROP
}

/// Counts in a `BPF_MAP_TYPE_PERCPU_HASH`.
#[xdp]
pub fn percpu_hash(ctx: XdpContext) -> u32 {
    let frame = WholeFrame::of(ctx.ctx);
    let found = parse(&frame);
    let (key, increment) = (key(&found), increment(&found, frame.wire_len()));
    if let Some(counters) = KERNEL_HASH.get_ptr_mut(key) {
        // SAFETY: this CPU's value.
        unsafe { (*counters).count(increment) };
    } else {
        let _ = KERNEL_HASH.insert(key, Counters::first(increment, stamp()), u64::from(BPF_NOEXIST));
    }
    xdp_action::XDP_DROP
}

/// Counts in a `BPF_MAP_TYPE_LRU_PERCPU_HASH`.
#[xdp]
pub fn lru_percpu_hash(ctx: XdpContext) -> u32 {
    let frame = WholeFrame::of(ctx.ctx);
    let found = parse(&frame);
    let (key, increment) = (key(&found), increment(&found, frame.wire_len()));
    if let Some(counters) = KERNEL_LRU.get_ptr_mut(key) {
        // SAFETY: this CPU's value.
        unsafe { (*counters).count(increment) };
    } else {
        let _ = KERNEL_LRU.insert(key, Counters::first(increment, stamp()), u64::from(BPF_NOEXIST));
    }
    xdp_action::XDP_DROP
}

/// The sensor's parser, told to open no tunnels.
#[inline(always)]
fn parse(frame: &WholeFrame) -> Found {
    find(frame, Link::Ethernet, Decapsulate::of_words([0; 2]))
}

#[inline(always)]
fn key(found: &Found) -> [u32; 3] {
    let KeyV4 { addresses, port_and_protocol } = found.key_v4();
    [addresses as u32, (addresses >> 32) as u32, port_and_protocol]
}

#[inline(always)]
fn increment(found: &Found, wire_len: usize) -> Increment {
    Increment { packets: 1, bytes: wire_len as u32, src_port: found.src_port, marks: found.marks }
}

#[inline(always)]
fn stamp() -> u64 {
    // SAFETY: the helper takes nothing and only reads.
    unsafe { bpf_ktime_get_coarse_ns() / STAMP_NANOSECONDS }
}

#[inline(always)]
fn keep(value: u64) {
    // SAFETY: a register moved to itself. (Without any instruction the debug information would be refused.)
    unsafe { asm!("{0} = {0}", in(reg) value, options(nomem, nostack, preserves_flags)) };
}
