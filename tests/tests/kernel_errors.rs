//! What cannot work is refused in one line that names the thing and the remedy, and leaves nothing behind.

use std::{
    net::TcpListener,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    netns::Namespace,
    process::wait_for,
    require_root,
    sensor::{ADDRESS, Sensor, binary},
    topology::{Cable, MIRROR},
};

/// A command line that must be refused, and what the refusal must name: the thing and the remedy.
struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    says: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case { name: "no interface given", arguments: &[], says: &["no mirror port", "--interface"] },
    Case { name: "missing interface", arguments: &["--interface", "eth7"], says: &["\"eth7\"", "mirror"] },
    Case {
        name: "listen address of another host",
        arguments: &["--interface", MIRROR, "--listen", "203.0.113.1:19810"],
        says: &["203.0.113.1:19810", "--listen"],
    },
    Case {
        name: "no listen address",
        arguments: &["--interface", MIRROR, "--listen", "19810/tcp"],
        says: &["19810/tcp", "listen"],
    },
    Case {
        name: "alert log in a directory that is not there",
        arguments: &["--interface", MIRROR, "--alert-log", "/nonexistent/alerts"],
        says: &["/nonexistent/alerts", "directory must exist"],
    },
    Case {
        name: "wrong prefix",
        arguments: &["--interface", MIRROR, "--local-network", "10.0.0.0/33"],
        says: &["10.0.0.0/33", "local_network"],
    },
    Case {
        name: "interval that is no multiple of the drain",
        arguments: &["--interface", MIRROR, "--interval", "10s", "--drain", "3s"],
        says: &["10s", "multiple of drain"],
    },
];

#[test]
fn what_cannot_work_is_refused_in_one_line() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    for Case { name, arguments, says } in CASES {
        let mut command = Command::new(binary()?);
        refused(&cable.sensor, command.arg("run").args(arguments), says).context(name)?;
        nothing_is_attached(&cable.sensor).context(name)?;
    }
    Ok(())
}

#[test]
fn without_privilege_the_capabilities_are_named() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]).arg(binary()?);
    refused(
        &cable.sensor,
        command.args(["run", "--interface", MIRROR]),
        &["permission", "CAP_BPF", "CAP_NET_ADMIN"],
    )?;
    nothing_is_attached(&cable.sensor)
}

#[test]
fn a_port_that_is_taken_is_named_before_anything_is_attached() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let _holder = cable.sensor.inside(|| Ok(TcpListener::bind(ADDRESS)?))?;
    let mut command = Command::new(binary()?);
    refused(&cable.sensor, command.args(["run", "--interface", MIRROR]), &["19810", "taken", "--listen"])?;
    nothing_is_attached(&cable.sensor)
}

#[test]
fn the_xdp_program_of_another_is_left_alone() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let first = Sensor::start(&cable.sensor, &["--interface", MIRROR])?;
    let program = cable.sensor.run("ip -details link show mirror")?;
    let mut command = Command::new(binary()?);
    command.args(["run", "--interface", MIRROR, "--listen", "127.0.0.1:19811"]);
    refused(
        &cable.sensor,
        &mut command,
        &["mirror already runs another XDP program", "ip link set dev mirror xdp off"],
    )?;
    ensure!(cable.sensor.run("ip -details link show mirror")? == program, "the first program must stay");
    ensure!(first.stop()?.status.success(), "the first sensor must end well");
    Ok(())
}

#[test]
fn a_driver_without_native_xdp_is_watched_in_generic_mode_and_it_is_said() -> Result<()> {
    require_root()?;
    let namespace = Namespace::new("sensor")?;
    let sensor = Sensor::start(&namespace, &["--interface", "lo"])?;
    wait_for("mode of lo", Duration::from_secs(5), || {
        let labels = [("interface", "lo"), ("mode", "generic")];
        let modes = sensor.metrics()?.series("flowsensor_xdp_mode", &labels).count();
        ensure!(modes == 1, "flowsensor_xdp_mode does not say generic");
        Ok(())
    })?;
    let ended = sensor.stop()?;
    ensure!(ended.log.contains("lo: native XDP was refused"), "the log must say it: {}", ended.log);
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.log);
    Ok(())
}

/// Runs `command`, which must fail with one last line that holds everything in `says`.
fn refused(namespace: &Namespace, command: &mut Command, says: &[&str]) -> Result<()> {
    let Output { status, stderr, .. } = namespace.inside(|| Ok(command.output()?))?;
    let stderr = String::from_utf8_lossy(&stderr);
    ensure!(matches!(status.code(), Some(1 | 2)), "it must fail, not end with {status}: {stderr}");
    // Log lines begin with their time; the error is the only line of its own.
    let errors: Vec<_> = stderr.lines().filter(|line| !line.starts_with("20")).collect();
    let [error] = errors[..] else { anyhow::bail!("not one line: {stderr}") };
    for part in says {
        ensure!(error.contains(part), "it does not name {part:?}: {error}");
    }
    Ok(())
}

fn nothing_is_attached(namespace: &Namespace) -> Result<()> {
    let link = namespace.run("ip -details link show mirror")?;
    ensure!(!link.contains("xdp") && link.contains("promiscuity 0"), "something stayed: {link}");
    Ok(())
}
