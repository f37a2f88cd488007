//! The parser against etherparse. Each difference that is meant must occur, so that none is listed for
//! nothing; what is not listed fails the test.

use sensor_common::{
    frame::CapturedFrame,
    parse::{Decapsulate, Link, find, parse},
};

use crate::{
    mutate::{Random, mutate, plain_frame},
    oracle::{Comparison, DIFFERENCES},
    wrap::{KINDS, built},
};

const FRAMES: usize = 150_000;

#[test]
fn the_parser_differs_from_etherparse_only_where_it_means_to() {
    let mut random = Random::new(0x5eed);
    let mut comparison = Comparison::default();
    for _ in 0..FRAMES {
        let mut bytes = plain_frame(&mut random);
        if random.below(2) == 0 {
            mutate(&mut bytes, &mut random);
        }
        let frame = CapturedFrame::whole(&bytes);
        let ours = parse(&frame, Link::Ethernet, Decapsulate::NONE).map(|packet| packet.key);
        comparison.add(&bytes, &ours);
    }
    let Comparison { flows, differences, unlisted, .. } = comparison;
    let shown = &unlisted[..unlisted.len().min(8)];
    assert!(unlisted.is_empty(), "{} unlisted differences: {shown:#?}", unlisted.len());
    for (difference, times) in DIFFERENCES.iter().zip(differences) {
        assert!(times > 0, "a difference that does not occur: {}", difference.why);
    }
    let differing: usize = differences.iter().sum();
    assert!(flows > FRAMES / 4, "only {flows} flows agreed upon");
    assert!(differing < FRAMES / 10, "{differing} differences: {differences:?}");
}

#[test]
fn whatever_is_around_a_frame_the_parser_reads_what_etherparse_reads_inside() {
    let mut random = Random::new(0x1d1d);
    let mut comparison = Comparison::default();
    let mut kinds = [0; KINDS.len()];
    for _ in 0..FRAMES {
        let built = built(&mut random);
        let found = find(&CapturedFrame::whole(&built.bytes), Link::Ethernet, Decapsulate::ALL);
        let quoted = found.is_quoted().then(|| found.flow_key());
        comparison.add_built(&built, &found.packet().map(|packet| packet.key), quoted);
        built.around.iter().for_each(|index| kinds[*index] += 1);
    }
    let Comparison { flows, too_deep, unlisted, .. } = comparison;
    assert!(
        unlisted.is_empty(),
        "{} disagreements: {:#?}",
        unlisted.len(),
        &unlisted[..unlisted.len().min(4)]
    );
    for (kind, times) in KINDS.iter().zip(kinds) {
        assert!(times > FRAMES / 200, "only {times} times {}", kind.name);
    }
    assert!(flows > FRAMES / 3, "only {flows} flows agreed upon");
    assert!(too_deep > 0, "nothing was too deep");
}
