//! The parser against etherparse. Each difference that is meant must occur, so that none is listed for
//! nothing; what is not listed fails the test.

use sensor_common::{
    frame::CapturedFrame,
    parse::{Decapsulate, Link, parse},
};

use crate::{
    mutate::{Random, mutate, plain_frame},
    oracle::{Comparison, DIFFERENCES},
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
    let Comparison { flows, differences, unlisted } = comparison;
    let shown = &unlisted[..unlisted.len().min(8)];
    assert!(unlisted.is_empty(), "{} unlisted differences: {shown:#?}", unlisted.len());
    for (difference, times) in DIFFERENCES.iter().zip(differences) {
        assert!(times > 0, "a difference that does not occur: {}", difference.why);
    }
    let differing: usize = differences.iter().sum();
    assert!(flows > FRAMES / 4, "only {flows} flows agreed upon");
    assert!(differing < FRAMES / 10, "{differing} differences: {differences:?}");
}
