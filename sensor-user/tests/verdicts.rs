//! The verdicts on the committed captures of real clients, and on the labelled public ones where they lie
//! beside the workspace. `cargo xtask evaluate` says more; this fails when a verdict changes.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::IpAddr,
    path::{Path, PathBuf},
};

use sensor_user::{
    alert::{Alert, AlertKind, AlertState},
    capture::{file::CaptureFile, replay::Replay},
    config::Config,
    error_chain,
    flow::Drain,
    pipeline::Pipeline,
};

fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Every alert that a capture gives.
fn alerts(path: &Path) -> Vec<Alert> {
    let config = Config::default();
    let mut file = CaptureFile::open(path).unwrap_or_else(|error| panic!("{}", error_chain(&error)));
    let (mut replay, mut pipeline, mut all) = (Replay::new(&config), Pipeline::new(&config), Vec::new());
    let mut feed = |drain: &Drain| {
        all.extend(pipeline.feed(drain).alerts);
        Ok::<_, Infallible>(())
    };
    while let Some(frame) = file.next_frame().unwrap_or_else(|error| panic!("{}", error_chain(&error))) {
        let Ok(()) = replay.push(&frame, &mut feed);
    }
    let Ok(()) = replay.finish(&mut feed);
    all.extend(pipeline.finish().alerts);
    all
}

/// Who is named as `kind` in a capture.
fn named(kind: AlertKind, alerts: &[Alert]) -> BTreeSet<IpAddr> {
    let findings = alerts.iter().map(|alert| &alert.finding);
    findings
        .filter(|finding| finding.kind == kind && finding.state == AlertState::Firing)
        .map(|finding| finding.source)
        .collect()
}

#[test]
fn a_real_client_is_one_torrent_alert_and_the_browser_beside_it_none() {
    for name in ["aria2", "transmission"] {
        let all = alerts(&beside(&format!("tests/data/{name}.pcap")));
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        let finding = &all[0].finding;
        assert_eq!((finding.kind, finding.state), (AlertKind::Torrent, AlertState::Firing), "{name}");
        assert_eq!(finding.source, "10.77.0.10".parse::<IpAddr>().unwrap(), "{name}");
        assert!(finding.summary.ends_with("BitTorrent-like peer discovery"), "{name}: {}", finding.summary);
    }
}

#[test]
fn public_captures_are_judged_as_they_are_labelled() {
    let folder = beside("../shared/captures");
    let Ok(labels) = std::fs::read_to_string(folder.join("labels.csv")) else {
        eprintln!("left out: there is no {}", folder.display());
        return;
    };
    let mut judged = 0;
    for line in labels.lines().skip(1) {
        let mut fields = line.split(',');
        let (Some(file), Some(label), Some(hosts)) = (fields.next(), fields.next(), fields.next()) else {
            panic!("{line}: three fields are missing");
        };
        let all = alerts(&folder.join(file));
        let torrents = named(AlertKind::Torrent, &all);
        match label {
            "torrent" => {
                assert_eq!(torrents, BTreeSet::from([hosts.parse().expect(file)]), "{file}");
                assert!(named(AlertKind::Scan, &all).is_empty(), "{file}");
            }
            "benign" => assert!(all.is_empty(), "{file}: {all:?}"),
            "scan" | "malware" | "torrent-small" => assert!(torrents.is_empty(), "{file}: {all:?}"),
            "other-p2p" => {}
            other => panic!("{file}: {other} is no label"),
        }
        judged += 1;
    }
    assert!(judged > 0, "labels.csv must name captures");
}
