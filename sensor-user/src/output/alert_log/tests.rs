//! The alert log on real files, full devices and rotations.

use std::{fs, os::unix::fs::symlink, thread, time::Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    alert::{AlertKind, AlertState},
    output::fixture::{address, alert},
};

/// Far longer than any write here takes: only a hanging test meets it.
const PATIENCE: Duration = Duration::from_secs(10);
const QUICK: Patience = Patience { queue: 4, retry: Duration::from_millis(5) };

fn torrent(host: u8) -> Alert {
    alert(AlertKind::Torrent, address(&format!("10.0.0.{host}")), AlertState::Firing)
}

/// The sources of the alerts in a log, in order.
fn sources(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let source = |line: &str| match serde_json::from_str::<Value>(line).unwrap() {
        Value::Object(object) => object["source"].as_str().unwrap().to_owned(),
        other => panic!("{other} is no alert"),
    };
    text.lines().map(source).collect()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alerts.jsonl");
    (directory, path)
}

#[test]
fn alerts_are_appended_in_order_to_what_is_there() {
    let (_directory, path) = directory();
    for host in [5, 6] {
        let log = AlertLog::open(&path, QUICK).unwrap();
        log.append(&torrent(host));
        let status = log.close(PATIENCE);
        assert_eq!(status, AlertLogStatus { written: 1, dropped: 0, errors: 0 });
    }
    assert_eq!(sources(&path), ["10.0.0.5", "10.0.0.6"]);
}

#[test]
fn a_directory_that_does_not_exist_is_named_with_the_remedy() {
    let (directory, _) = directory();
    let path = directory.path().join("missing/alerts.jsonl");
    let error = AlertLog::open(&path, QUICK).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("missing/alerts.jsonl") && message.contains("--alert-log"), "{message}");
}

#[test]
fn a_log_that_was_renamed_away_is_begun_anew() {
    let (directory, path) = directory();
    let rotated = directory.path().join("alerts.jsonl.1");
    let log = AlertLog::open(&path, QUICK).unwrap();
    log.append(&torrent(5));
    eventually("the first line must be written", || log.status().written == 1);
    fs::rename(&path, &rotated).unwrap();
    log.append(&torrent(6));
    assert_eq!(log.close(PATIENCE).written, 2);
    assert_eq!((sources(&rotated), sources(&path)), (vec!["10.0.0.5".into()], vec!["10.0.0.6".into()]));
}

#[test]
fn a_log_that_was_truncated_goes_on_at_its_new_end() {
    let (_directory, path) = directory();
    let log = AlertLog::open(&path, QUICK).unwrap();
    log.append(&torrent(5));
    eventually("the first line must be written", || log.status().written == 1);
    fs::write(&path, "").unwrap();
    log.append(&torrent(6));
    assert_eq!(log.close(PATIENCE).written, 2);
    assert_eq!(sources(&path), ["10.0.0.6"]);
}

#[test]
fn reopening_follows_the_name_and_loses_nothing() {
    let (_directory, path) = directory();
    let log = AlertLog::open(&path, QUICK).unwrap();
    log.append(&torrent(5));
    log.reopen();
    log.append(&torrent(6));
    assert_eq!(log.close(PATIENCE).written, 2);
    assert_eq!(sources(&path), ["10.0.0.5", "10.0.0.6"]);
}

#[test]
fn a_line_that_a_crash_cut_short_does_not_spoil_the_next() {
    let (_directory, path) = directory();
    fs::write(&path, r#"{"type":"alert","sour"#).unwrap();
    let log = AlertLog::open(&path, QUICK).unwrap();
    log.append(&torrent(5));
    assert_eq!(log.close(PATIENCE).written, 1);
    let text = fs::read_to_string(&path).unwrap();
    assert!(serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).is_ok(), "{text}");
}

#[test]
fn a_full_disk_delays_alerts_and_drops_only_what_the_queue_cannot_hold() {
    let (directory, path) = directory();
    symlink("/dev/full", &path).unwrap();
    let log = AlertLog::open(&path, QUICK).unwrap();
    log.append(&torrent(1));
    eventually("the writer must fail", || log.status().errors > 0);
    // One line is being tried, four wait.
    for host in 2..=7 {
        log.append(&torrent(host));
    }
    assert_eq!(log.status(), AlertLogStatus { dropped: 2, written: 0, errors: log.status().errors });
    let space = directory.path().join("space");
    symlink(&space, directory.path().join("new")).unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    let status = log.close(PATIENCE);
    assert_eq!((status.written, status.dropped), (5, 2));
    assert_eq!(sources(&space), ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
}

#[test]
fn stopping_does_not_wait_for_a_disk_that_stays_full() {
    let log = AlertLog::open(Path::new("/dev/full"), QUICK).unwrap();
    for host in 1..=3 {
        log.append(&torrent(host));
    }
    eventually("the writer must fail", || log.status().errors > 0);
    let begin = Instant::now();
    let status = log.close(Duration::from_millis(20));
    assert!(begin.elapsed() < PATIENCE);
    assert_eq!((status.written, status.dropped), (0, 3));
}

#[test]
fn only_owner_and_group_may_read_who_talked_to_whom() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_directory, path) = directory();
    let log = AlertLog::open(&path, QUICK).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
    let _ = log.close(PATIENCE);
}
