//! The memory of first fragments.

use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use sensor_common::{
    fragment::FirstFragment,
    parse::{Found, Piece},
};

use crate::maps::FRAGMENTS;

/// Remembers a first fragment; of a later one the ends of its flow. 0 for the first, and where they are not
/// known.
///
/// Not inlined: few frames are fragments, and the others should not carry its code, nor its key on their
/// stack.
#[inline(never)]
pub fn ends(found: &Found) -> u64 {
    // SAFETY: the helper takes nothing and only reads.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let key = found.fragment_key();
    if found.piece == Piece::First {
        // Where that fails the later ones are ignored, and counted as that.
        let _ = FRAGMENTS.insert(key, FirstFragment::new(found, now), 0);
        return 0;
    }
    match FRAGMENTS.get_ptr(key) {
        // SAFETY: an entry stays readable while the program runs. If another CPU reuses it at this moment,
        // the fragment is attributed to another flow.
        Some(first) => unsafe { *first }.ends(now),
        None => 0,
    }
}
