//! What is printed for the frames of small captures.

use std::io::Cursor;

use super::*;
use crate::capture::file::builder::{Order, PcapBuilder, arp, udp, unreachable, vxlan};

fn inspected(capture: &PcapBuilder, format: OutputFormat) -> (String, Result<(), String>) {
    viewed(capture, View { format, explain: None })
}

fn viewed(capture: &PcapBuilder, view: View) -> (String, Result<(), String>) {
    let file = CaptureFile::from_reader("it", Cursor::new(capture.bytes.clone())).unwrap();
    let mut out = Vec::new();
    let outcome = inspect_file(file, &mut UserEngine(Decapsulate::ALL), view, &mut out);
    (String::from_utf8(out).unwrap(), outcome.map_err(|error| error.to_string()))
}

fn capture() -> PcapBuilder {
    let mut capture = PcapBuilder::new(Order::Little, false, 1);
    capture.frame(0, &udp("10.0.0.5:51413", "203.0.113.9:6881")).frame(0, &arp());
    capture
}

#[test]
fn every_frame_is_one_line_of_json() {
    let expected = concat!(
        r#"{"frame":1,"key":{"src":"10.0.0.5","dst":"203.0.113.9","src_port":51413,"dst_port":6881,"protocol":"udp"}}"#,
        "\n",
        r#"{"frame":2,"ignored":"not_ip"}"#,
        "\n",
    );
    assert_eq!(inspected(&capture(), OutputFormat::Json), (expected.to_owned(), Ok(())));
}

#[test]
fn every_frame_is_one_row_of_the_table() {
    let expected =
        "        1  udp     10.0.0.5 port 51413 > 203.0.113.9 port 6881\n        2  ignored not_ip\n";
    assert_eq!(inspected(&capture(), OutputFormat::Table), (expected.to_owned(), Ok(())));
}

#[test]
fn the_frames_before_the_cut_are_shown() {
    let mut capture = capture();
    capture.bytes.pop();
    let (out, outcome) = inspected(&capture, OutputFormat::Table);
    assert_eq!(out.lines().count(), 1);
    assert!(outcome.unwrap_err().starts_with("it ends inside frame 2"));
}

/// A flow in a tunnel, an ICMP error about it, and no IP.
fn explained(format: OutputFormat) -> String {
    let flow = udp("10.0.0.5:51413", "203.0.113.9:6881");
    let mut capture = PcapBuilder::new(Order::Little, false, 1);
    capture.frame(0, &vxlan(&flow)).frame(0, &unreachable(&flow)).frame(0, &arp());
    let (out, outcome) = viewed(&capture, View { format, explain: Some(Decapsulate::ALL) });
    assert_eq!(outcome, Ok(()));
    out
}

#[test]
fn explaining_shows_each_header_and_what_was_decided_at_the_last() {
    let expected = "        1  udp     10.0.0.5 port 51413 > 203.0.113.9 port 6881
               0  Ethernet
              14  IPv4
              34  UDP
              50  Ethernet
              64  IPv4
              84  UDP: counts
        2  ignored not_l4
               0  Ethernet
              14  IPv4
              34  ICMP
              42  IPv4
              62  UDP: marks as unreachable: udp     10.0.0.5 port 51413 > 203.0.113.9 port 6881
        3  ignored not_ip
               0  Ethernet
              14  ARP: ignored: neither IPv4 nor IPv6
";
    assert_eq!(explained(OutputFormat::Table), expected);
}

#[test]
fn explaining_in_json_adds_the_walk_to_each_line() {
    let lines: Vec<serde_json::Value> =
        explained(OutputFormat::Json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let walk = |line: &serde_json::Value| -> Vec<(String, u64, String)> {
        let headers = line["walk"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        headers
            .map(|it| (text(&it["layer"]), it["offset"].as_u64().unwrap(), text(&it["decision"])))
            .collect()
    };
    let last = |line| walk(line).pop().unwrap();
    assert_eq!(walk(&lines[0]).len(), 6);
    assert_eq!(walk(&lines[0])[0], ("Ethernet".to_owned(), 0, "next".to_owned()));
    assert_eq!(last(&lines[0]), ("UDP".to_owned(), 84, "counts".to_owned()));
    assert_eq!(last(&lines[1]), ("UDP".to_owned(), 62, "marks".to_owned()));
    assert_eq!(last(&lines[2]), ("ARP".to_owned(), 14, "ignored".to_owned()));
    assert_eq!(lines[1]["quoted"], lines[0]["key"]);
    assert_eq!((&lines[0]["quoted"], &lines[1]["ignored"]), (&serde_json::Value::Null, &"not_l4".into()));
}
