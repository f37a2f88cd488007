//! The numbers of an alert that fit into metrics.
//!
//! An alert fires within seconds, before the first interval of its source is complete, and a pager sends
//! what it is told first: so the page must carry the alert's own numbers. Lists, names and addresses of
//! the evidence are for the alert log.

use crate::alert::{Alert, AlertKind};

/// Where the numbers of each kind are in its evidence.
const fn pointers(kind: AlertKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        AlertKind::Torrent => &[
            ("new_connections", "/new_connections"),
            ("seconds", "/window_seconds"),
            ("peers", "/peers"),
            ("ports", "/ports"),
            ("answered_ratio", "/answers/answered_share"),
        ],
        AlertKind::Scan => &[
            ("targets", "/decided"),
            ("seconds", "/window_seconds"),
            ("port", "/port"),
            ("answered_ratio", "/answered_share"),
        ],
        AlertKind::Fanout => &[
            ("new_connections", "/new_connections"),
            ("seconds", "/seconds"),
            ("mean", "/mean"),
            ("peers", "/new_peers"),
            ("ports", "/new_ports"),
        ],
        AlertKind::Count => {
            &[("trifectas", "/active_trifectas"), ("seconds", "/seconds"), ("threshold", "/threshold")]
        }
        AlertKind::Variance => &[
            ("trifectas", "/active_trifectas"),
            ("variance", "/trifecta_packets_variance"),
            ("seconds", "/seconds"),
            ("threshold", "/threshold"),
        ],
    }
}

/// The numbers of `alert` by name: `score`, `coverage`, and those of its kind that the detector gave.
pub(super) fn numbers(alert: &Alert) -> Vec<(&'static str, f64)> {
    let Alert { finding, coverage, suppressed: _ } = alert;
    let of_kind = pointers(finding.kind).iter();
    let of_kind =
        of_kind.filter_map(|(name, pointer)| Some((*name, finding.evidence.pointer(pointer)?.as_f64()?)));
    [("score", finding.score), ("coverage", *coverage)].into_iter().chain(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        net::{IpAddr, Ipv4Addr},
        time::Duration,
    };

    use sensor_common::packet::Marks;

    use super::*;
    use crate::{
        alert::AlertState,
        config::Config,
        detect::literal::{Rule, Side},
        flow::{Drain, Flow, FlowId, FrameCounts, Protocol},
        output::fixture::START,
        pipeline::Pipeline,
    };

    /// The first alert of a kind where a host is `quiet` for so many seconds and then makes `per_second`
    /// openings, of which UDP ones are answered every third time.
    fn found(
        kind: AlertKind,
        (quiet, per_second): (u32, u32),
        target: impl Fn(u32) -> (Ipv4Addr, u16),
        protocol: Protocol,
    ) -> Alert {
        let literal = vec![Rule::Count(100), Rule::Variance { side: Side::Under, bound: 9.0, trifectas: 10 }];
        let mut pipeline = Pipeline::new(&Config { literal, ..Config::default() });
        for second in 0..60_u32 {
            let start = START.plus(Duration::from_secs(second.into()));
            let flow = |number: u32| {
                let (dst, dst_port) = target(second * per_second + number);
                let id = FlowId { src: IpAddr::from([10, 0, 0, 5]), dst: dst.into(), dst_port, protocol };
                let marks = if protocol == Protocol::TCP { Marks::SYN } else { Marks::OTHER };
                let first_seen = start.plus(Duration::from_millis(number.into()));
                Flow { id, src_port: 51_413, packets: 1, bytes: 90, marks, first_seen }
            };
            let answer = |opening: &Flow| {
                let FlowId { src, dst, dst_port, protocol } = opening.id;
                let id = FlowId { src: dst, dst: src, dst_port: opening.src_port, protocol };
                let first_seen = opening.first_seen.plus(Duration::from_millis(40));
                Flow { id, src_port: dst_port, first_seen, ..*opening }
            };
            // A quiet host is there from the beginning, so that bursts have a baseline.
            let openings = if second < quiet { 0 } else { per_second };
            let mut flows: Vec<Flow> = (0..openings).map(flow).collect();
            if protocol == Protocol::UDP {
                flows.extend(flows.clone().iter().step_by(3).map(answer));
            }
            let seen = flows.len() as u64;
            let frames = vec![FrameCounts { seen, counted: seen, ..FrameCounts::default() }];
            let end = start.plus(Duration::from_secs(1));
            let report = pipeline.feed(&Drain { start, end, flows, frames });
            let alert = report
                .alerts
                .into_iter()
                .find(|alert| alert.finding.kind == kind && alert.finding.state == AlertState::Firing);
            if let Some(alert) = alert {
                return alert;
            }
        }
        panic!("no {} within a minute", kind.name());
    }

    fn names(alert: &Alert) -> BTreeSet<&'static str> {
        numbers(alert).into_iter().map(|(name, _)| name).collect()
    }

    fn all_names(kind: AlertKind) -> BTreeSet<&'static str> {
        pointers(kind).iter().map(|(name, _)| *name).chain(["score", "coverage"]).collect()
    }

    /// Scattered over the addresses that are not local.
    fn scattered(number: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x1700_0000 + number.wrapping_mul(2_654_435_761) % 0x4000_0000)
    }

    #[test]
    fn a_torrent_alert_has_all_its_numbers() {
        let port = |number: u32| u16::try_from(10_000 + number * 37 % 50_000).unwrap();
        let alert =
            found(AlertKind::Torrent, (0, 20), |number| (scattered(number), port(number)), Protocol::UDP);
        assert_eq!(names(&alert), all_names(AlertKind::Torrent), "{:#}", alert.finding.evidence);
    }

    #[test]
    fn a_scan_alert_has_all_its_numbers() {
        let alert = found(
            AlertKind::Scan,
            (0, 50),
            |number| (Ipv4Addr::from(0x2d00_0000 + number), 445),
            Protocol::TCP,
        );
        assert_eq!(names(&alert), all_names(AlertKind::Scan), "{:#}", alert.finding.evidence);
    }

    #[test]
    fn a_burst_has_all_its_numbers() {
        let alert = found(AlertKind::Fanout, (40, 50), |number| (scattered(number), 8_883), Protocol::UDP);
        assert_eq!(names(&alert), all_names(AlertKind::Fanout), "{:#}", alert.finding.evidence);
    }

    #[test]
    fn the_literal_rules_have_all_their_numbers() {
        for kind in [AlertKind::Count, AlertKind::Variance] {
            let alert = found(kind, (0, 50), |number| (scattered(number), 443), Protocol::UDP);
            assert_eq!(names(&alert), all_names(kind), "{:#}", alert.finding.evidence);
        }
    }
}
