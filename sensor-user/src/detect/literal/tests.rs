//! What the literal rules name: what they say, and nothing else.

use std::time::Duration;

use super::*;
use crate::{
    detect::{
        Detectors,
        allow::{Allowance, Whom},
        settings::Settings,
        synthetic::{HOST, START, row},
    },
    interval::Interval,
};

/// What fires and ends, by interval, where `history` has trifectas and their variance.
fn states(settings: &Settings, history: &[(u64, Option<f64>)]) -> Vec<(usize, AlertKind, AlertState)> {
    let mut detectors = Detectors::new(settings);
    let mut all = Vec::new();
    for (number, (trifectas, variance)) in history.iter().enumerate() {
        let start = START.plus(Duration::from_secs(number as u64 * 10));
        let end = start.plus(Duration::from_secs(10));
        let row = SourceInterval {
            active_trifectas: *trifectas,
            trifecta_packets_variance: *variance,
            ..row(HOST, 0, None)
        };
        let interval = Interval { start, end, seconds: 10.0, sources: vec![row], frames: Vec::new() };
        let mut findings = Vec::new();
        detectors.close_interval(&interval, &mut findings);
        all.extend(findings.into_iter().map(|finding| (number, finding.kind, finding.state)));
    }
    all
}

fn with(rule: Rule) -> Settings {
    Settings { literal: vec![rule], ..Settings::default() }
}

#[test]
fn nothing_is_named_by_a_literal_rule_that_was_not_asked_for() {
    assert_eq!(states(&Settings::default(), &[(1_000_000, Some(1e9))]), []);
}

#[test]
fn the_count_names_from_its_threshold_on_until_two_intervals_below() {
    let settings = with(Rule::Count(100));
    let history = [(99, None), (100, None), (99, None), (100, None), (0, None), (0, None), (0, None)];
    let expected = [(1, AlertKind::Count, AlertState::Firing), (5, AlertKind::Count, AlertState::Resolved)];
    assert_eq!(states(&settings, &history), expected);
}

#[test]
fn the_variance_names_beyond_its_bound_where_there_are_enough_trifectas() {
    for (side, named, spared) in [(Side::Over, 2.5, 2.0), (Side::Under, 1.5, 2.0)] {
        let settings = with(Rule::Variance { side, bound: 2.0, trifectas: 10 });
        let fires = |trifectas, variance| !states(&settings, &[(trifectas, variance)]).is_empty();
        assert!(fires(10, Some(named)), "{side:?}");
        assert!(!fires(9, Some(named)), "{side:?}: too few");
        assert!(!fires(10, Some(spared)), "{side:?}: at the bound");
        assert!(!fires(10, None), "{side:?}: no variance");
    }
}

#[test]
fn an_allowed_source_is_not_named_by_a_literal_rule() {
    let source = Some(Whom::new("here", &["10.0.0.0/8".parse().expect("a network")]));
    let entry =
        Allowance { source, destination: None, ports: Vec::new(), kind: None, reason: "known".into() };
    let settings = Settings { allow: vec![entry], ..with(Rule::Count(100)) };
    assert_eq!(states(&settings, &[(500, None)]), []);
}

#[test]
fn a_source_that_is_gone_is_named_no_longer() {
    let mut detectors = Detectors::new(&with(Rule::Count(100)));
    let mut findings = Vec::new();
    for sources in [vec![row(HOST, 100, None)], Vec::new()] {
        let end = START.plus(Duration::from_secs(10));
        let interval = Interval { start: START, end, seconds: 10.0, sources, frames: Vec::new() };
        detectors.close_interval(&interval, &mut findings);
    }
    let states: Vec<_> = findings.iter().map(|finding| finding.state).collect();
    assert_eq!(states, [AlertState::Firing, AlertState::Resolved]);
    assert_eq!(
        findings[0].summary,
        "10.0.0.5 was active in 100 trifectas in 10 s; 100 and more are named: literal count"
    );
}

#[test]
fn the_score_is_one_half_at_the_threshold_and_more_beyond() {
    for (rule, value) in [
        (Rule::Count(100), (100, None)),
        (Rule::Variance { side: Side::Under, bound: 2.0, trifectas: 10 }, (10, Some(0.0))),
    ] {
        let of = SourceInterval {
            active_trifectas: value.0,
            trifecta_packets_variance: value.1,
            ..row(HOST, 0, None)
        };
        let score = rule.score(&of).expect("it is named");
        assert!((0.5..=1.0).contains(&score), "{rule:?}: {score}");
    }
}
