//! The command as a user meets it: exit codes, standard output and one-line errors.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

fn flow_sensor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flow-sensor"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

fn run(arguments: &[&str]) -> Output {
    flow_sensor(arguments).output().expect("the command must start")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output must be text")
}

/// A little-endian pcap file with `frames` ARP frames.
fn arp_capture(frames: u32) -> Vec<u8> {
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
    let mut bytes = header.map(u32::to_le_bytes).concat();
    for second in 0..frames {
        bytes.extend([second, 0, 42, 42].map(u32::to_le_bytes).concat());
        bytes.extend([0xff; 12]);
        bytes.extend([0x08, 0x06]);
        bytes.extend([0; 28]);
    }
    bytes
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> (PathBuf, String) {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a temporary file must be writable");
    let name = path.to_str().expect("a temporary path must be text").to_owned();
    (path, name)
}

#[test]
fn what_cannot_be_read_is_one_line_and_no_success() {
    let folder = TempDir::new().expect("a temporary folder must be possible");
    let (_, text_file) = file(&folder, "text.pcap", b"no capture at all");
    let (_, empty) = file(&folder, "empty.pcap", b"");
    let (_, cut) = file(&folder, "cut.pcap", &arp_capture(3)[..150]);
    let missing = folder.path().join("missing.pcap").display().to_string();
    for command in ["replay", "inspect"] {
        for (path, problem) in [
            (&text_file, "is neither pcap nor pcapng"),
            (&empty, "is empty"),
            (&cut, "ends inside frame 3, which begins at byte 140"),
            (&missing, "No such file or directory"),
        ] {
            let output = run(&[command, path]);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command} {path}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.starts_with("flow-sensor: ") && error.contains(problem), "{error}");
            assert!(error.contains(path), "{error}");
        }
    }
    let output = run(&["inspect", "--format", "json", &cut]);
    assert_eq!(text(&output.stdout).lines().count(), 2, "the frames before the cut must be shown");
    let output = run(&["replay", "--format", "json", &cut]);
    assert!(text(&output.stdout).contains("\"seen\":2"), "the results before the cut must be printed");
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let folder = TempDir::new().expect("a temporary folder must be possible");
    let (_, path) = file(&folder, "a.pcap", &arp_capture(5));
    let from_file = run(&["replay", "--format", "json", &path]);
    let mut child = flow_sensor(&["replay", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the command must start");
    let mut input = child.stdin.take().expect("standard input must be piped");
    input.write_all(&arp_capture(5)).expect("the command must read it");
    drop(input);
    let from_pipe = child.wait_with_output().expect("the command must end");
    assert!(from_file.status.success() && from_pipe.status.success());
    assert_eq!(text(&from_file.stdout), text(&from_pipe.stdout));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = TempDir::new().expect("a temporary folder must be possible");
    let (_, path) = file(&folder, "a.pcap", &arp_capture(50_000));
    let mut child = flow_sensor(&["inspect", &path])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command must start");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the command must end");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn wrong_settings_are_told_apart_from_failures() {
    let folder = TempDir::new().expect("a temporary folder must be possible");
    let (_, capture) = file(&folder, "a.pcap", &arp_capture(1));
    let (_, settings) = file(&folder, "a.yaml", b"local_networks: [10.0.0.1/8]\n");
    for arguments in [
        &["check-config", &settings][..],
        &["replay", &capture, "--config", &settings],
        &["replay", &capture, "--local-network", "10.0.0.1/8"],
    ] {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        let expected = "flow-sensor: local_networks: 10.0.0.1/8 has bits set beyond its prefix: \
                        write 10.0.0.0/8 for the network, 10.0.0.1/32 for the address\n";
        assert_eq!(error, expected, "{arguments:?}");
    }
    assert_eq!(run(&["replay", &capture, "--format", "xml"]).status.code(), Some(2));
}

#[test]
fn the_effective_configuration_is_a_configuration_file() {
    let folder = TempDir::new().expect("a temporary folder must be possible");
    let (_, settings) = file(&folder, "a.yaml", b"drain: 2s\n");
    let first = run(&["check-config", &settings]);
    assert!(first.status.success() && text(&first.stdout).contains("\ndrain: 2s\n"));
    let (_, printed) = file(&folder, "b.yaml", &first.stdout);
    let second = run(&["check-config", &printed]);
    assert_eq!(text(&first.stdout), text(&second.stdout));
}
