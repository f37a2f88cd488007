//! What snapshots accumulate, and who gets series of its own.

use std::{collections::HashMap, net::IpAddr, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::{
    alert::AlertState,
    output::fixture::{INTERVAL, address, alert, builder, drain, frames, interval, source},
};

fn host(number: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
}

fn own(snapshot: &Snapshot) -> Vec<IpAddr> {
    snapshot.sources.own.iter().map(|own| own.source).collect()
}

/// Intervals in [`MIN_STAY`].
fn stay() -> u32 {
    u32::try_from(MIN_STAY.as_secs() / INTERVAL.as_secs()).unwrap()
}

#[test]
fn frames_add_up_over_drains_and_coverage_is_that_of_the_last_interval() {
    let mut builder = builder(10);
    builder.drain(&drain(0));
    builder.drain(&drain(1));
    assert_eq!(builder.snapshot().interfaces[0].coverage, None);
    builder.interval(interval(0, Vec::new()));
    let snapshot = builder.snapshot();
    let interface = &snapshot.interfaces[0];
    assert_eq!(interface.frames.seen, 2 * frames().seen);
    assert_eq!(interface.frames.unaccounted(), 0);
    assert!((interface.frames_per_second - 1000.0).abs() < 1e-9);
    assert_eq!(interface.coverage, Some(0.99));
    assert_eq!((snapshot.drains.done, snapshot.time), (2, drain(1).end));
}

#[test]
fn a_sensor_is_ready_once_it_drained_and_every_interface_is_attached() {
    let mut builder = builder(10);
    assert!(!builder.snapshot().ready());
    builder.drain(&drain(0));
    assert!(!builder.snapshot().ready(), "not attached");
    builder.interface(0, InterfaceReading { mode: Some(XdpMode::Generic), ..InterfaceReading::default() });
    assert!(builder.snapshot().ready());
}

#[test]
fn drains_are_counted_in_the_buckets_they_fit() {
    let mut histogram = DurationHistogram::default();
    for milliseconds in [1, 2, 5, 3000] {
        histogram.observe(std::time::Duration::from_millis(milliseconds));
    }
    let counts: Vec<u64> = histogram.buckets().map(|(_, count)| count).collect();
    assert_eq!(counts, [0, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
    assert_eq!((histogram.count(), histogram.sum()), (4, std::time::Duration::from_millis(3008)));
}

#[test]
fn the_busiest_get_series_of_their_own_and_the_rest_is_summed() {
    let mut builder = builder(2);
    builder.interval(interval(0, (1..=4).map(|n| source(host(n), u64::from(n))).collect()));
    let sources = builder.snapshot().sources;
    assert_eq!(sources.own.iter().map(|own| own.source).collect::<Vec<_>>(), [host(3), host(4)]);
    assert_eq!((sources.other.sources, sources.other.new_connections, sources.other.unanswered), (2, 3, 3));
    assert_eq!((sources.other.totals.new_tcp, sources.other.totals.bytes_out), (3, 300));
    assert_eq!(sources.evicted, 0);
}

#[test]
fn a_source_without_traffic_gets_no_place() {
    let mut builder = builder(2);
    builder.interval(interval(0, vec![source(host(1), 0)]));
    assert!(own(&builder.snapshot()).is_empty());
}

#[test]
fn a_flood_of_new_addresses_does_not_displace_who_came_just_before() {
    let mut builder = builder(1);
    builder.interval(interval(0, vec![source(host(1), 1)]));
    for number in 1..stay() {
        builder.interval(interval(number, vec![source(host(1), 1), source(host(100 + number), 50)]));
        assert_eq!(own(&builder.snapshot()), [host(1)], "interval {number}");
    }
    builder.interval(interval(stay(), vec![source(host(1), 1), source(host(999), 50)]));
    let snapshot = builder.snapshot();
    assert_eq!(own(&snapshot), [host(999)]);
    assert_eq!(snapshot.sources.evicted, 1);
}

#[test]
fn who_is_about_as_busy_displaces_nobody() {
    let mut builder = builder(1);
    for number in 0..3 * stay() {
        builder.interval(interval(
            number,
            vec![source(host(1), 10), source(host(2), 15 + u64::from(number % 5))],
        ));
        let expected = if number == 0 { own(&builder.snapshot()) } else { vec![host(2)] };
        assert_eq!(own(&builder.snapshot()), expected);
    }
}

#[test]
fn an_alert_takes_a_place_at_once_and_keeps_it() {
    let mut builder = builder(2);
    builder.interval(interval(0, vec![source(host(1), 5), source(host(2), 9)]));
    builder.alert(&alert(AlertKind::Torrent, host(3), AlertState::Firing));
    assert_eq!(own(&builder.snapshot()), [host(2), host(3)], "the least busy made room");
    for number in 1..3 * stay() {
        builder.interval(interval(number, vec![source(host(2), 9), source(host(4), 500)]));
        assert!(own(&builder.snapshot()).contains(&host(3)), "interval {number}");
    }
    builder.alert(&alert(AlertKind::Torrent, host(3), AlertState::Resolved));
    builder.interval(interval(3 * stay(), vec![source(host(2), 9)]));
    assert!(!own(&builder.snapshot()).contains(&host(3)), "forgotten by the statistics");
}

#[test]
fn more_alerts_than_places_leave_the_rest_in_other() {
    let mut builder = builder(1);
    builder.alert(&alert(AlertKind::Scan, host(1), AlertState::Firing));
    builder.alert(&alert(AlertKind::Scan, host(2), AlertState::Firing));
    let snapshot = builder.snapshot();
    assert_eq!(own(&snapshot), [host(1)]);
    assert_eq!(snapshot.alerts.active.len(), 2);
}

#[test]
fn an_idle_source_leaves_and_goes_on_where_it_stopped() {
    let mut builder = builder(10);
    builder.interval(interval(0, vec![source(host(1), 7)]));
    let leave = u32::try_from(IDLE_LEAVE.as_secs() / INTERVAL.as_secs()).unwrap();
    for number in 1..leave {
        builder.interval(interval(number, vec![source(host(1), 0)]));
        assert_eq!(own(&builder.snapshot()), [host(1)], "interval {number}");
    }
    builder.interval(interval(leave, vec![source(host(1), 0)]));
    assert!(own(&builder.snapshot()).is_empty());
    builder.interval(interval(leave + 1, vec![source(host(1), 2)]));
    let snapshot = builder.snapshot();
    assert_eq!(snapshot.sources.own[0].totals.new_tcp, 9);
    assert_eq!(snapshot.sources.evicted, 0, "nobody took its place");
}

#[test]
fn without_places_everything_is_other() {
    let mut builder = builder(0);
    builder.interval(interval(0, vec![source(host(1), 7)]));
    builder.alert(&alert(AlertKind::Scan, host(1), AlertState::Firing));
    let sources = builder.snapshot().sources;
    assert!(sources.own.is_empty());
    assert_eq!(sources.other.totals.new_tcp, 7);
}

#[test]
fn recent_alerts_are_the_newest_first_and_bounded() {
    let mut builder = builder(10);
    for number in 0..300 {
        builder.alert(&alert(AlertKind::Fanout, host(number), AlertState::Firing));
        builder.alert(&alert(AlertKind::Fanout, host(number), AlertState::Resolved));
    }
    let alerts = builder.snapshot().alerts;
    assert_eq!(alerts.recent.len(), 100);
    assert_eq!(alerts.recent[0].finding.source, host(299));
    assert_eq!((alerts.fired.iter().sum::<u64>(), alerts.active.len()), (300, 0));
}

#[test]
fn a_source_is_alerting_until_its_last_alert_is_over() {
    let mut builder = builder(1);
    let victim = address("10.0.0.5");
    builder.alert(&alert(AlertKind::Torrent, victim, AlertState::Firing));
    builder.alert(&alert(AlertKind::Scan, victim, AlertState::Firing));
    builder.alert(&alert(AlertKind::Scan, victim, AlertState::Resolved));
    builder.interval(interval(0, vec![source(host(9), 100)]));
    assert_eq!(own(&builder.snapshot()), [victim]);
}

#[test]
fn alerts_in_numbers_cost_time_in_proportion_to_their_number() {
    let took = |alerts: u32| {
        let firing = |n| alert(AlertKind::Scan, host(1000 + n), AlertState::Firing);
        let firing: Vec<_> = (0..alerts).map(firing).collect();
        let mut builder = builder(1000);
        builder.interval(interval(0, (0..1000).map(|n| source(host(n), 9)).collect()));
        let begin = Instant::now();
        builder.alerts(&firing);
        let took = begin.elapsed();
        let alerting = own(&builder.snapshot()).into_iter().filter(|source| *source >= host(1000));
        assert!(alerting.count() > 500, "the first of them take places");
        took
    };
    let least = |alerts| (0..3).map(|_| took(alerts)).min().unwrap();
    let (few, many) = (least(2_000), least(20_000));
    // In proportion it is 10 times as long, with the square 100 times.
    assert!(many < few * 40, "2,000 alerts in {few:?}, 20,000 in {many:?}");
}

#[test]
fn an_alert_that_ends_in_the_drain_it_began_in_takes_no_place() {
    let mut builder = builder(1);
    builder.interval(interval(0, vec![source(host(1), 5)]));
    let of_two = |state| alert(AlertKind::Scan, host(2), state);
    builder.alerts(&[of_two(AlertState::Firing), of_two(AlertState::Resolved)]);
    assert_eq!(own(&builder.snapshot()), [host(1)]);
}

#[test]
fn a_new_configuration_suppresses_alerts_that_hold_already() {
    let mut builder = builder(10);
    builder.drain(&drain(0));
    builder.alert(&alert(AlertKind::Torrent, host(1), AlertState::Firing));
    builder.alert(&alert(AlertKind::Torrent, host(2), AlertState::Firing));
    let until = drain(60).end;
    let source = ipnet::IpNet::from(host(2));
    builder.suppressions(&[Suppression { source, kind: None, until, reason: "a guest".into() }]);
    let marked = |snapshot: &Snapshot, now| {
        let active = snapshot.alerts.active.iter();
        active
            .filter(|alert| alert.suppressed_at(now).is_some())
            .map(|alert| alert.source)
            .collect::<Vec<_>>()
    };
    let snapshot = builder.snapshot();
    assert_eq!(marked(&snapshot, snapshot.time), [host(2)]);
    assert!(marked(&snapshot, until).is_empty(), "it ends by itself");
    builder.suppressions(&[]);
    let snapshot = builder.snapshot();
    assert!(marked(&snapshot, snapshot.time).is_empty());
}

#[test]
fn a_configuration_that_is_refused_leaves_the_time_of_the_one_in_effect() {
    let mut builder = builder(10);
    builder.config_taken(drain(0).end);
    builder.config_refused();
    assert_eq!(builder.snapshot().config, ConfigStatus { successful: false, taken: drain(0).end });
    builder.config_taken(drain(9).end);
    assert_eq!(builder.snapshot().config, ConfigStatus { successful: true, taken: drain(9).end });
}

/// What one interval does: new connections of every host, and hosts whose alert changes.
fn step() -> impl Strategy<Value = (Vec<u64>, Vec<(u32, bool)>)> {
    let new = prop_oneof![Just(0), 0..50_u64];
    (prop::collection::vec(new, 12), prop::collection::vec((0..12_u32, any::<bool>()), 0..2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn series_are_bounded_never_decrease_and_count_everything_once(
        steps in prop::collection::vec(step(), 1..120),
        max in 0..5_usize,
    ) {
        let mut builder = builder(max);
        let (mut total, mut seen) = (0, HashMap::new());
        for (number, (new, alerts)) in (0..).zip(steps) {
            for (host_number, firing) in alerts {
                let state = if firing { AlertState::Firing } else { AlertState::Resolved };
                builder.alert(&alert(AlertKind::Scan, host(host_number), state));
            }
            total += new.iter().sum::<u64>();
            let sources = (0..).zip(new).map(|(n, new)| source(host(n), new)).collect();
            builder.interval(interval(number, sources));
            let sources = builder.snapshot().sources;
            prop_assert!(sources.own.len() <= max);
            // What a scraper remembers of every series it has ever seen.
            let own = sources.own.iter().map(|own| (Some(own.source), own.totals.new_tcp));
            for (series, count) in own.chain([(None, sources.other.totals.new_tcp)]) {
                let before = seen.insert(series, count).unwrap_or(0);
                prop_assert!(count >= before, "{series:?} fell from {before} to {count}");
            }
            prop_assert_eq!(seen.values().sum::<u64>(), total);
        }
    }
}
