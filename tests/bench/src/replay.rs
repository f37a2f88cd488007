//! Replay of a capture file, against other programs that read it.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use crate::{
    flows::{Random, random, tcp_frame},
    report::{Bar, Report, median},
};

/// Frames in the file: what starting a process costs is no part of a rate.
const FRAMES: usize = 1 << 22;
/// Frames in the file that tshark reads too: with this one it takes some ten seconds, and with a longer one
/// more for each frame.
const FEW_FRAMES: usize = 1 << 18;
/// Flows that they belong to.
const FLOWS: usize = 1 << 12;
/// Microseconds between two frames: 100,000 a second.
const STEP: usize = 10;

/// A pcap file of frames of 60 bytes (64 on the wire, with the check sequence that captures leave out).
fn write_capture(path: &Path, frames: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let header = [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1];
    header.iter().try_for_each(|word| file.write_all(&word.to_le_bytes()))?;
    let (mut frame, mut random_numbers) = (tcp_frame(), Random::new(4));
    let flows = random(&mut random_numbers, FLOWS);
    for n in 0..frames {
        let microseconds = n * STEP;
        let length = u32::try_from(frame.len())?;
        let seconds = u32::try_from(1_700_000_000 + microseconds / 1_000_000)?;
        for word in [seconds, u32::try_from(microseconds % 1_000_000)?, length, length] {
            file.write_all(&word.to_le_bytes())?;
        }
        let flow = flows[usize::try_from(random_numbers.next() % FLOWS as u64)?];
        frame[26..34].copy_from_slice(&flow.addresses.to_ne_bytes());
        frame[34..38].copy_from_slice(&flow.ports.to_ne_bytes());
        file.write_all(&frame)?;
    }
    file.flush().context("writing the capture")
}

/// CPU time of a command in seconds, that of its children included.
fn cpu_seconds(command: &mut Command) -> Result<f64> {
    let used = || -> Result<f64> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
    };
    let before = used()?;
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}: {said}", command.get_program().display(), output.status);
    Ok(used()? - before)
}

/// Frames a second of CPU time, ours and others'.
pub fn replay(rounds: usize, report: &mut Report) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let [all, few] = ["all.pcap", "few.pcap"].map(|name| directory.path().join(name));
    write_capture(&all, FRAMES)?;
    write_capture(&few, FEW_FRAMES)?;
    let sensor = std::env::current_exe()?.with_file_name("flow-sensor");
    let own = |capture: &Path| {
        let mut command = Command::new(&sensor);
        command.args(["replay", "--format", "json"]).arg(capture);
        cpu_seconds(&mut command)
    };
    let nfpcapd = || {
        let mut command = Command::new("nfpcapd");
        command.arg("-r").arg(&all).arg("-l").arg(directory.path());
        cpu_seconds(&mut command)
    };
    let tshark = || {
        let mut command = Command::new("tshark");
        command.args(["-n", "-q", "-z", "conv,tcp", "-r"]).arg(&few);
        cpu_seconds(&mut command)
    };
    let (mut of_all, mut of_few) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_all.push(own(&all)?);
        of_few.push(own(&few)?);
    }
    let (of_all, of_few) = (median(&of_all), median(&of_few));
    let rate = FRAMES as f64 / of_all / 1e6;
    let remark = format!("{FRAMES} frames of {FLOWS} flows, {of_all:.2} s of CPU time for the whole command");
    report.held("replay, 64-byte frames, from page cache", rate, "M frames/s", Bar::Least(15.0), remark);
    // Once is enough for what takes so much longer.
    for (name, taken, own, frames, bar) in [
        ("tshark -q -z conv,tcp", tshark(), of_few, FEW_FRAMES, 10.0),
        ("nfpcapd", nfpcapd(), of_all, FRAMES, 3.0),
    ] {
        match taken {
            Ok(taken) => report.held(
                format!("replay against {name}"),
                taken / own,
                "×",
                Bar::Least(bar),
                format!("CPU time for {frames} frames: {taken:.2} s, ours {own:.3} s"),
            ),
            Err(error) => eprintln!("left out: {error:#} (Debian: apt install tshark nfdump)"),
        }
    }
    Ok(())
}
