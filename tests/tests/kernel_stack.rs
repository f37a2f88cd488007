//! The stack pages, can be reached, and leaves nothing behind.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use sensor_tests::{
    http, left_out,
    paging::ALERTMANAGER,
    process::{Process, wait_for},
    prometheus, require_root,
    sensor::{self, binary},
};

/// From the start to the page: the servers, ten seconds of quiet, and what a page takes.
const TO_PAGE: Duration = Duration::from_secs(90);

#[test]
fn the_stack_can_be_reached_and_pages_and_goes_away_when_interrupted() -> Result<()> {
    require_root()?;
    binary()?;
    let servers: [SocketAddr; 3] = [sensor::ADDRESS, prometheus::ADDRESS, ALERTMANAGER];
    for address in servers {
        // Its ports are this machine's, and somebody else may be at work there.
        if TcpListener::bind(address).is_err() {
            return left_out(&format!("the stack: {address} is taken"));
        }
    }
    let directory = tempfile::tempdir()?;
    let shown = directory.path().join("shown");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
    command.stdin(Stdio::null()).stdout(File::create(&shown)?).stderr(Stdio::null());
    let mut stack = Process::spawn(&mut command)?;
    wait_for("page", TO_PAGE, || {
        let text = fs::read_to_string(&shown)?;
        ensure!(stack.ended()?.is_none(), "it ended: {text}");
        ensure!(text.contains("page: firing FlowSensorTorrent: 10.77.0.10 opened"), "{text}");
        Ok(())
    })?;
    for address in servers {
        let response = http::get(address, "/-/ready")?;
        ensure!(response.status == 200, "{address} says {}: {}", response.status, response.body);
    }
    stack.signal(Signal::SIGINT)?;
    let status = stack.wait(Duration::from_secs(20))?;
    ensure!(status.success(), "the stack ended with {status}");
    for address in servers {
        TcpListener::bind(address).with_context(|| format!("{address} is still taken"))?;
    }
    Ok(())
}
