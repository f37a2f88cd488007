//! Any bytes as a frame: the parser answers, its short cut agrees with its walk, and a shorter capture is
//! truncated or says the same.
//!
//! Start it with the frames in `seeds/parse`. The first five bytes choose the link, the tunnels, the length
//! on the wire and where the capture ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sensor_common::{
    frame::CapturedFrame,
    parse::{Decapsulate, Found, Link, explain, find},
    reason::Ignored,
};

fuzz_target!(|data: &[u8]| {
    let Some((&[link, kinds, more_high, more_low, cut], bytes)) = data.split_first_chunk() else { return };
    let link = Link::ALL[usize::from(link) % Link::ALL.len()];
    let decapsulate = Decapsulate::new(u64::from(kinds), Decapsulate::DEFAULT_VXLAN_PORTS);
    let wire_len = bytes.len() + usize::from(u16::from_be_bytes([more_high, more_low]));
    let look = |length: usize| -> Found {
        let frame = CapturedFrame { bytes: &bytes[..length], wire_len };
        let found = find(&frame, link, decapsulate);
        assert_eq!(found, explain(&frame, link, decapsulate, ()), "the short cut and the walk");
        found
    };
    let whole = look(bytes.len());
    let part = look(bytes.len() * usize::from(cut) / 256);
    assert!(
        part == whole
            || part.ignored() == Some(Ignored::Truncated)
            || whole.is_quoted() && part.ignored() == whole.ignored(),
        "a shorter capture: {part:?}, the whole: {whole:?}"
    );
});
