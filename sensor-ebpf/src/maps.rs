//! The maps and load-time constants. Sizes here are the smallest; the agent sets the real ones at load.

use core::ptr;

use aya_ebpf::{
    helpers::generated::bpf_get_smp_processor_id,
    macros::map,
    maps::{Array, HashMap, LruHashMap},
};
use sensor_common::{
    control::{CpuState, FrameTotals, GENERATIONS, Inspection},
    fragment::{self, FirstFragment, FragmentKey},
    parse::Decapsulate,
    table::{AddressWords, Bucket, BucketV4, BucketV6, Counters, OverflowKey},
};

/// `BPF_F_MMAPABLE` of linux/bpf.h: the agent reads and clears these maps as memory.
const MAPPED: u32 = 1 << 10;

#[map]
static CPU_STATE: Array<CpuState> = Array::with_max_entries(1, MAPPED);
#[map]
static FLOWS_V4: Array<BucketV4> = Array::with_max_entries(1, MAPPED);
#[map]
static FLOWS_V6: Array<BucketV6> = Array::with_max_entries(1, MAPPED);
#[map]
static USED_V4: Array<u64> = Array::with_max_entries(1, MAPPED);
#[map]
static USED_V6: Array<u64> = Array::with_max_entries(1, MAPPED);
#[map]
static OVERFLOW_0: HashMap<OverflowKey, Counters> = HashMap::with_max_entries(1, 0);
#[map]
static OVERFLOW_1: HashMap<OverflowKey, Counters> = HashMap::with_max_entries(1, 0);
/// The least recently used are forgotten: that loses no count, only whose a fragment was.
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FirstFragment> =
    LruHashMap::with_max_entries(fragment::CAPACITY, 0);
#[map]
static INSPECTION: Array<Inspection> = Array::with_max_entries(1, MAPPED);

/// The one verdict, an `xdp_action`.
#[unsafe(no_mangle)]
static VERDICT: u32 = aya_ebpf::bindings::xdp_action::XDP_PASS;
/// IPv4 buckets per CPU and generation, a power of two.
#[unsafe(no_mangle)]
static BUCKETS_V4: u32 = 64;
/// IPv6 buckets per CPU and generation, a power of two.
#[unsafe(no_mangle)]
static BUCKETS_V6: u32 = 64;
/// The secret of the keyed hash.
#[unsafe(no_mangle)]
static HASH_SECRET: [u64; 5] = [1; 5];

/// The tunnels to open, as words of [`Decapsulate`].
#[unsafe(no_mangle)]
static DECAPSULATE: [u64; 2] = Decapsulate::ALL.to_words();

/// Reads a load-time constant, whose value here is not the one at run time.
#[inline(always)]
fn constant<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid to read.
    unsafe { ptr::read_volatile(ptr::from_ref(value)) }
}

#[inline(always)]
pub fn verdict() -> u32 {
    constant(&VERDICT)
}

#[inline(always)]
pub fn decapsulate() -> Decapsulate {
    Decapsulate::of_words([constant(&DECAPSULATE[0]), constant(&DECAPSULATE[1])])
}

#[inline(always)]
pub fn hash_secret(word: usize) -> u64 {
    constant(&HASH_SECRET[word])
}

/// An address family, and the maps of its part of the flow table.
pub trait Family: AddressWords {
    /// The buckets.
    fn flows() -> &'static Array<Bucket<Self>>;
    /// The bitmap of those in use.
    fn used() -> &'static Array<u64>;
    /// The buckets per CPU and generation, a power of two.
    fn buckets() -> u32;
    /// Where new entries are counted.
    fn inserted(totals: &mut FrameTotals) -> &mut u64;
}

impl Family for u64 {
    #[inline(always)]
    fn flows() -> &'static Array<BucketV4> {
        &FLOWS_V4
    }

    #[inline(always)]
    fn used() -> &'static Array<u64> {
        &USED_V4
    }

    #[inline(always)]
    fn buckets() -> u32 {
        constant(&BUCKETS_V4)
    }

    #[inline(always)]
    fn inserted(totals: &mut FrameTotals) -> &mut u64 {
        &mut totals.inserted_v4
    }
}

impl Family for [u64; 4] {
    #[inline(always)]
    fn flows() -> &'static Array<BucketV6> {
        &FLOWS_V6
    }

    #[inline(always)]
    fn used() -> &'static Array<u64> {
        &USED_V6
    }

    #[inline(always)]
    fn buckets() -> u32 {
        constant(&BUCKETS_V6)
    }

    #[inline(always)]
    fn inserted(totals: &mut FrameTotals) -> &mut u64 {
        &mut totals.inserted_v6
    }
}

/// The CPU this runs on, as index of everything that is per CPU.
#[inline(always)]
pub fn cpu() -> u32 {
    // SAFETY: the helper takes nothing and only reads.
    unsafe { bpf_get_smp_processor_id() }
}

/// The generation that an epoch counts into.
#[inline(always)]
pub const fn generation_of(epoch: u64) -> u32 {
    epoch as u32 & (GENERATIONS as u32 - 1)
}

/// The state of one CPU. Functions that call each other out of line hold it at the same time, so it lends no
/// reference for longer than one change.
#[derive(Clone, Copy)]
pub struct State(*mut CpuState);

/// The state of this CPU.
#[inline(always)]
pub fn cpu_state(cpu: u32) -> Option<State> {
    CPU_STATE.get_ptr_mut(cpu).map(State)
}

impl State {
    /// The epoch, read once a frame: the agent may change it at any time, and either epoch is a right answer.
    #[inline(always)]
    pub fn epoch(self) -> u64 {
        // SAFETY: the element is valid to read; the word is aligned and read in one piece.
        unsafe { ptr::read_volatile(&raw const (*self.0).epoch) }
    }

    /// The epoch in which the overflow was found full, plus 1.
    #[inline(always)]
    pub fn full_epoch(self) -> u64 {
        // SAFETY: programs on one CPU do not interrupt each other (softirq), and no other CPU uses this
        // element.
        unsafe { (*self.0).full_epoch }
    }

    /// Sets [`full_epoch`](Self::full_epoch).
    #[inline(always)]
    pub fn set_full_epoch(self, epoch: u64) {
        // SAFETY: as above.
        unsafe { (*self.0).full_epoch = epoch }
    }

    /// The counters of a generation, 0 or 1.
    #[inline(always)]
    pub fn totals(self, generation: u32) -> Totals {
        // SAFETY: the field lies in the element, and a generation in the field.
        let totals = unsafe { (&raw mut (*self.0).totals).cast::<FrameTotals>() };
        Totals(totals.wrapping_add(generation as usize))
    }
}

/// The frame counters of one CPU and generation.
#[derive(Clone, Copy)]
pub struct Totals(*mut FrameTotals);

impl Totals {
    /// Changes them. `change` must call nothing that is not inlined.
    #[inline(always)]
    pub fn with<R>(self, change: impl FnOnce(&mut FrameTotals) -> R) -> R {
        // SAFETY: as for `full_epoch`: nothing else on this CPU runs, and the reference ends with the
        // closure.
        change(unsafe { &mut *self.0 })
    }
}

/// `value` unchanged, of which the verifier knows no more than its 64 bits. Where it knows a constant, such
/// as a mark, it verifies all that follows once for each.
#[inline(always)]
pub fn forget(value: u64, totals: Totals) -> u64 {
    // 0, as so many frames are never seen.
    value.wrapping_add(totals.with(|totals| totals.seen) >> 63)
}

/// The overflow of a generation.
#[inline(always)]
pub fn overflow(generation: u32) -> &'static HashMap<OverflowKey, Counters> {
    if generation == 0 { &OVERFLOW_0 } else { &OVERFLOW_1 }
}

/// What `inspect` is asked, and where it answers.
#[inline(always)]
pub fn inspection() -> Option<&'static mut Inspection> {
    let inspection = INSPECTION.get_ptr_mut(0)?;
    // SAFETY: the agent runs one inspection at a time and waits for it.
    Some(unsafe { &mut *inspection })
}
