//! Several files as one stream, and files that stop short.

use std::io::Cursor;

use super::*;
use crate::capture::file::builder::{Order, PcapBuilder, arp, udp};

const SECOND: u64 = 1_000_000_000;

fn file(bytes: &[u8]) -> CaptureFile {
    CaptureFile::from_reader("it", Cursor::new(bytes.to_vec())).expect("the header must be whole")
}

/// A capture of `frames` datagrams, one a second from `start` on, and one frame without a flow.
fn capture(start: u64, frames: u64) -> Vec<u8> {
    let mut capture = PcapBuilder::new(Order::Little, false, 1);
    capture.frame(start * SECOND, &arp());
    for n in 0..frames {
        capture.frame((start + n) * SECOND, &udp("10.0.0.1:1", "192.0.2.1:2"));
    }
    capture.bytes
}

fn replayed(files: &[&[u8]]) -> (String, Totals, Vec<String>) {
    let mut out = Vec::new();
    let progress = ProgressBar::hidden();
    let mut session = Session::new(&Config::default(), Box::new(JsonLines::new(&mut out)));
    let mut failures = Vec::new();
    for bytes in files {
        failures.extend(session.file(file(bytes), &progress).unwrap().map(|error| error.to_string()));
    }
    let totals = session.finish().unwrap();
    (String::from_utf8(out).unwrap(), totals, failures)
}

#[test]
fn several_files_are_one_stream() {
    let (out, totals, failures) = replayed(&[&capture(100, 3), &capture(200, 4)]);
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!((totals.frames.seen, totals.frames.counted, totals.frames.unaccounted()), (9, 7, 0));
    let last = out.lines().last().expect("there must be a summary");
    assert!(last.starts_with(r#"{"type":"summary","frames":{"seen":9,"counted":7,"#), "{last}");
}

#[test]
fn a_file_that_starts_before_the_one_before_it_ended_still_counts() {
    let (_, totals, failures) = replayed(&[&capture(200, 3), &capture(100, 4)]);
    assert_eq!((totals.frames.seen, totals.frames.unaccounted(), failures.len()), (9, 0, 0));
}

#[test]
fn what_comes_before_and_after_a_cut_is_used() {
    let cut = capture(100, 3);
    let (_, totals, failures) = replayed(&[&cut[..cut.len() - 1], &capture(200, 4)]);
    assert_eq!(totals.frames.seen, 3 + 5);
    let [failure] = &failures[..] else { panic!("{failures:?} must be one failure") };
    assert!(failure.starts_with("it ends inside frame 4"), "{failure}");
}

#[test]
fn years_between_two_files_are_few_intervals() {
    let years = 20 * 365 * 86_400;
    let (out, totals, _) = replayed(&[&capture(1000, 30), &capture(1000 + years, 30)]);
    assert_eq!(totals.frames.seen, 62);
    // 3 busy intervals, a full window of 30 and what is left of the last one, the years, 3 busy intervals.
    assert!((37..=39).contains(&totals.intervals), "{out}");
    assert_eq!(out.lines().count() as u64, totals.intervals + 1);
}

#[test]
fn what_a_source_opened_is_in_the_interval_of_the_capture() {
    let mut capture = PcapBuilder::new(Order::Big, true, 1);
    for port in 1..=5 {
        capture.frame(12 * SECOND + port, &udp("10.0.0.1:999", &format!("192.0.2.1:{port}")));
    }
    let (out, ..) = replayed(&[&capture.bytes]);
    let first: serde_json::Value = serde_json::from_str(out.lines().next().expect("a line")).unwrap();
    assert_eq!(first["time"], "1970-01-01T00:00:12.000Z");
    assert_eq!(first["sources"][0]["source"], "10.0.0.1");
    assert_eq!(first["sources"][0]["new_connections"], 5);
    assert_eq!(first["sources"][0]["new_ports"], 5);
}
