//! When a burst is called, and when it is not.

use std::time::Duration;

use super::{Baseline, threshold};
use crate::{
    alert::{AlertKind, AlertState, Finding},
    detect::{
        Detectors,
        settings::{Sensitivity, Settings},
        synthetic::{HOST, START, Swarm, Traffic, one_port, row, run},
    },
    flow::Protocol,
    interval::{Interval, SourceInterval},
};

/// Closes one interval of ten seconds for each entry: new connections, and the statistics that the
/// interval closed with.
fn close(detectors: &mut Detectors, history: &[(u64, Option<(f64, f64)>)]) -> Vec<(usize, Finding)> {
    let rows = history.iter().map(|(new, statistics)| row(HOST, *new, *statistics));
    close_rows(detectors, rows.collect())
}

fn close_rows(detectors: &mut Detectors, rows: Vec<SourceInterval>) -> Vec<(usize, Finding)> {
    let mut all = Vec::new();
    for (number, of) in rows.into_iter().enumerate() {
        let start = START.plus(Duration::from_secs(number as u64 * 10));
        let end = start.plus(Duration::from_secs(10));
        let sources = vec![of];
        let mut findings = Vec::new();
        detectors.close_interval(
            &Interval { start, end, seconds: 10.0, sources, frames: Vec::new() },
            &mut findings,
        );
        all.extend(findings.into_iter().map(|finding| (number, finding)));
    }
    all
}

fn states(history: &[(u64, Option<(f64, f64)>)]) -> Vec<(usize, AlertState)> {
    let all = close(&mut Detectors::new(&Settings::default()), history);
    all.into_iter().map(|(number, finding)| (number, finding.state)).collect()
}

const QUIET: (u64, Option<(f64, f64)>) = (5, Some((5.0, 4.0)));

#[test]
fn a_burst_fires_in_its_interval_and_resolves_when_it_is_over() {
    let history = [QUIET, QUIET, QUIET, (500, Some((60.0, 15_000.0))), (6, None), (5, None), QUIET];
    assert_eq!(states(&history), [(3, AlertState::Firing), (5, AlertState::Resolved)]);
}

#[test]
fn a_burst_below_the_floor_is_none() {
    assert_eq!(states(&[QUIET, QUIET, QUIET, (99, None)]), []);
}

#[test]
fn a_busy_source_is_judged_by_its_own_deviation() {
    let after = |number: usize, last| {
        let mut history = vec![(450, Some((450.0, 2_500.0))); number];
        history.push((last, None));
        states(&history)
    };
    assert_eq!(after(10, 749), []);
    assert_eq!(after(10, 750), [(10, AlertState::Firing)]);
    // A variance of a few intervals is not relied on: pages of forty connections at random vary more.
    assert_eq!(after(3, 1_254), []);
    assert_eq!(after(3, 1_255), [(3, AlertState::Firing)]);
}

#[test]
fn a_gateway_that_was_busy_before_the_sensor_started_is_no_burst() {
    let busy = (1_000, Some((1_000.0, 10_000.0)));
    assert_eq!(states(&[busy, busy, busy, busy, busy]), []);
}

#[test]
fn at_the_start_only_a_large_burst_counts_that_few_answer_or_that_has_a_port_for_each_peer() {
    let unanswered = |new| SourceInterval { answered: new * 2 / 5, ..row(HOST, new, None) };
    let scattered = |new| SourceInterval { new_ports: new * 3 / 5, ..row(HOST, new, None) };
    let fires = |row| !close_rows(&mut Detectors::new(&Settings::default()), vec![row]).is_empty();
    assert!(!fires(unanswered(499)) && fires(unanswered(500)));
    assert!(!fires(scattered(499)) && fires(scattered(500)));
    assert!(!fires(row(HOST, 5_000, None)), "a resolver or a gateway");
}

#[test]
fn a_burst_called_at_the_start_is_taken_back_when_it_is_the_habit() {
    let busy = SourceInterval { answered: 0, ..row(HOST, 1_000, Some((1_000.0, 10_000.0))) };
    let all = close_rows(&mut Detectors::new(&Settings::default()), vec![busy; 5]);
    let states: Vec<_> = all.into_iter().map(|(number, finding)| (number, finding.state)).collect();
    assert_eq!(states, [(0, AlertState::Firing), (3, AlertState::Resolved)]);
}

#[test]
fn the_deviation_is_never_taken_for_less_than_that_of_a_poisson_process() {
    let steady = Baseline { mean: Some(400.0), variance: Some(0.0) };
    assert!((threshold(&steady, 10.0, Sensitivity::Normal, 10) - 520.0).abs() < 1e-9);
}

#[test]
fn what_a_torrent_explains_is_no_burst_and_ends_one() {
    let mut detectors = Detectors::new(&Settings::default());
    let mut traffic = Traffic::new(1);
    Swarm { from: 45.0, ..Swarm::default() }.play(&mut traffic);
    let before = close(&mut detectors, &[QUIET, QUIET, QUIET, (500, None)]);
    assert_eq!(before.len(), 1);
    run(&mut detectors, &traffic.finish(), 1);
    assert!(detectors.firing().is(HOST, AlertKind::Torrent));
    let after = close(&mut detectors, &[(500, None), (500, None)]);
    assert_eq!(after.len(), 1, "{after:?}");
    assert_eq!(after[0].1.state, AlertState::Resolved);
    assert_eq!(after[0].1.evidence["reason"], "explained by another alert");
}

#[test]
fn the_sentence_has_the_numbers() {
    let all = close(&mut Detectors::new(&Settings::default()), &[QUIET, QUIET, QUIET, (500, None)]);
    assert_eq!(
        all[0].1.summary,
        "10.0.0.5 opened 500 new connections in 10 s to 500 new peers on 1 ports, 0 % unanswered; its mean is \
         5.0 with deviation 2.0, the threshold 100: unexplained burst"
    );
}

#[test]
fn the_trace_has_every_interval_with_its_threshold_and_what_was_made_of_it() {
    let mut detectors = Detectors::new(&Settings::default());
    detectors.trace(HOST, None);
    close(&mut detectors, &[QUIET, (500, Some((5.0, 4.0))), QUIET, (99, Some((24.0, 16.0))), (500, None)]);
    let told: Vec<String> = detectors.take_steps().into_iter().map(|step| step.what).collect();
    assert_eq!(
        told,
        [
            "5 new connections, threshold 500; it has no baseline yet: no burst",
            "500 new connections, threshold 500; it has no baseline yet: no burst without a baseline: answered, and not \
             scattered",
            "5 new connections, threshold 500; it has no baseline yet: no burst",
            "99 new connections, threshold 100; its mean is 5.0 with deviation 2.0: no burst",
            "500 new connections, threshold 210; its mean is 24.0 with deviation 4.0: a burst",
        ]
    );
}

#[test]
fn a_burst_has_its_latest_contacts_as_a_sample() {
    let mut traffic = Traffic::new(1);
    one_port(&mut traffic, 8_883, Protocol::TCP, 20, 95);
    let mut detectors = Detectors::new(&Settings::default());
    run(&mut detectors, &traffic.finish(), 1);
    let all = close(&mut detectors, &[QUIET, QUIET, QUIET, (500, None)]);
    let sample = all[0].1.evidence["sample"].as_array().expect("a list");
    assert_eq!(sample.len(), 5);
    assert!(sample.iter().all(|one| one["port"] == 8_883 && one["peer"].is_string()), "{sample:?}");
}

/// Sixty users who each open a page of forty connections once a minute, from the first interval on.
#[test]
fn a_gateway_of_sixty_users_is_no_burst_from_a_cold_start_on() {
    for seed in 0..20 {
        let (mut traffic, mut counts) = (Traffic::new(seed), Vec::<f64>::new());
        let rows = (0..30).map(|_| {
            let pages = (0..60).filter(|_| traffic.chance(17)).count() as u64;
            let new = pages * 40;
            counts.push(new as f64);
            let n = counts.len() as f64;
            let mean = counts.iter().sum::<f64>() / n;
            let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / (n - 1.0);
            let ports = SourceInterval { new_ports: 6, ..row(HOST, new, None) };
            SourceInterval { mean: Some(mean), variance: (n > 1.0).then_some(variance), ..ports }
        });
        let all = close_rows(&mut Detectors::new(&Settings::default()), rows.collect());
        assert!(all.is_empty(), "seed {seed}: {}", all[0].1.summary);
    }
}
