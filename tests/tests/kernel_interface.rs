//! A mirror port that goes away and comes back, and the metrics in between.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    http,
    packet::{Segment, frame},
    process::wait_for,
    require_root,
    sender::Sender,
    sensor::{ADDRESS, Sensor},
    topology::{Cable, MIRROR},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn send(cable: &Cable, frames: u16) -> Result<u64> {
    let frames: Vec<_> = (0..frames)
        .map(|port| {
            Ok(frame("10.0.0.5:4000".parse()?, format!("203.0.113.9:{port}").parse()?, Segment::Syn, &[]))
        })
        .collect::<Result<_>>()?;
    Ok(cable.sender.inside(|| Sender::open(Cable::OUT)?.send(&frames))?.frames)
}

fn until_counted(sensor: &Sensor<'_>, frames: u64) -> Result<()> {
    wait_for("drain", PATIENCE, || {
        let counted = sensor.metrics()?.count("flowsensor_frames_total", &[("outcome", "counted")])?;
        ensure!(counted == frames, "{counted} frames counted of {frames}");
        Ok(())
    })
}

#[test]
fn an_interface_that_is_removed_is_said_and_picked_up_again() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR])?;
    let attached = |expected: f64| {
        wait_for("change of the interface", PATIENCE, || {
            let found = sensor.metrics()?.sum("flowsensor_interface_attached", &[("interface", MIRROR)]);
            ensure!(found.total_cmp(&expected).is_eq(), "flowsensor_interface_attached is {found}");
            Ok(())
        })
    };
    let before = send(&cable, 500)?;
    until_counted(&sensor, before)?;
    attached(1.0)?;
    cable.cut()?;
    attached(0.0)?;
    ensure!(sensor.log()?.contains("interface mirror is gone"), "the log must say it: {}", sensor.log()?);
    let modes = sensor.metrics()?.series("flowsensor_xdp_mode", &[]).count();
    ensure!(modes == 0, "{modes} modes of an interface that is not there");
    cable.connect()?;
    attached(1.0)?;
    ensure!(sensor.log()?.contains("interface mirror is back"), "the log must say it: {}", sensor.log()?);
    let after = send(&cable, 700)?;
    until_counted(&sensor, before + after)?;
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    Ok(())
}

#[test]
fn nothing_stays_attached_when_the_sensor_stops() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR])?;
    let link = cable.sensor.run("ip -details link show mirror")?;
    ensure!(link.contains("prog/xdp") && link.contains("promiscuity 1"), "{link}");
    sensor.stop()?;
    let link = cable.sensor.run("ip -details link show mirror")?;
    ensure!(!link.contains("xdp") && link.contains("promiscuity 0"), "{link}");
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong_with_a_live_scrape() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let sensor =
        Sensor::start(&cable.sensor, &["--interface", MIRROR, "--interval", "1s", "--drain", "500ms"])?;
    send(&cable, 500)?;
    wait_for("series of a source", PATIENCE, || {
        let series = sensor.metrics()?.series("flowsensor_source_new_connections", &[]).count();
        ensure!(series > 0, "no source has series");
        Ok(())
    })?;
    let text = cable.sensor.inside(|| http::get(ADDRESS, "/metrics"))?.body;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().context("cannot run promtool (cargo xtask setup)")?;
    promtool.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && said.is_empty(), "promtool: {}: {said}", output.status);
    Ok(())
}
