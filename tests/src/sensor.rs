//! A hand on the real `flow-sensor`: start it in a namespace, read its metrics, its log and its alerts,
//! stop it as an init system does.

use std::{
    env,
    ffi::OsStr,
    fs,
    fs::File,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http,
    metrics::Metrics,
    netns::Namespace,
    process::{Process, wait_for},
};

/// Where the sensor serves metrics, in its namespace.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 19810));

/// How long the sensor may take to be ready, and to stop under full load.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running sensor; killed when dropped.
pub struct Sensor<'a> {
    namespace: &'a Namespace,
    process: Process,
    directory: TempDir,
}

/// A sensor that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// All that it said on standard error.
    pub log: String,
    /// The objects of its alert log.
    pub alerts: Vec<Value>,
}

impl<'a> Sensor<'a> {
    /// Starts `flow-sensor run` with `arguments` and returns when it is ready.
    pub fn start(namespace: &'a Namespace, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let log = File::create(directory.path().join("log")).context("cannot make a log file")?;
        Self::launch(namespace, Command::new(binary()?), arguments, directory, Stdio::null(), log.into())
    }

    /// The same, for a sensor that may open so many files only.
    pub fn start_with_files(namespace: &'a Namespace, files: usize, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let log = File::create(directory.path().join("log")).context("cannot make a log file")?;
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}")).arg(binary()?);
        Self::launch(namespace, command, arguments, directory, Stdio::null(), log.into())
    }

    /// The same on this terminal, which gets what it shows and what it says.
    pub fn show(namespace: &'a Namespace, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        Self::launch(
            namespace,
            Command::new(binary()?),
            arguments,
            directory,
            Stdio::inherit(),
            Stdio::inherit(),
        )
    }

    fn launch(
        namespace: &'a Namespace,
        mut command: Command,
        arguments: &[&str],
        directory: TempDir,
        out: Stdio,
        log: Stdio,
    ) -> Result<Self> {
        command.arg("run").args(arguments).arg("--alert-log").arg(directory.path().join("alerts"));
        command.stdin(Stdio::null()).stdout(out).stderr(log);
        let process = namespace.spawn(&mut command)?;
        let mut sensor = Self { namespace, process, directory };
        let ended = wait_for("readiness", PATIENCE, || {
            // One that has ended will never be ready.
            if let Some(status) = sensor.process.ended()? {
                return Ok(Some(status));
            }
            let response = namespace.inside(|| http::get(ADDRESS, "/-/ready"))?;
            ensure!(response.status == 200, "/-/ready says {}: {}", response.status, response.body);
            Ok(None)
        })?;
        match ended {
            Some(status) => bail!("the sensor ended with {status}: {}", sensor.log()?),
            None => Ok(sensor),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Allows it to open so many files from now on; none where it has as many already.
    pub fn allow_files(&self, files: usize) -> Result<()> {
        let id = self.process.id();
        self.namespace.run(&format!("prlimit --pid {id} --nofile={files}:")).map(drop)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_some())
    }

    /// Its metrics now.
    pub fn metrics(&self) -> Result<Metrics> {
        let response = self.namespace.inside(|| http::get(ADDRESS, "/metrics"))?;
        ensure!(response.status == 200, "/metrics says {}: {}", response.status, response.body);
        Metrics::parse(&response.body)
    }

    /// What it has said on standard error so far; nothing where a terminal got it.
    pub fn log(&self) -> Result<String> {
        let path = self.directory.path().join("log");
        if path.exists() { read(&path) } else { Ok(String::new()) }
    }

    /// The objects in its alert log so far.
    pub fn alerts(&self) -> Result<Vec<Value>> {
        let path = self.directory.path().join("alerts");
        if !path.exists() {
            return Ok(Vec::new());
        }
        let text = read(&path)?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// Asks it to stop, as init systems do, and waits until it has.
    pub fn stop(mut self) -> Result<Ended> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(PATIENCE).with_context(|| self.log().unwrap_or_default())?;
        Ok(Ended { status, log: self.log()?, alerts: self.alerts()? })
    }
}

/// Runs `flow-sensor` with `arguments` in no namespace of its own and returns its standard output.
pub fn output<A: AsRef<OsStr>>(arguments: &[A]) -> Result<String> {
    let output = Command::new(binary()?).args(arguments).output().context("cannot run flow-sensor")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "flow-sensor: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The sensor built with the profile that this program was built with, up to date.
///
/// Cargo builds the programs of the package under test only. Where this is not a test (the demo), whoever
/// built it has built the sensor too.
pub fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = BINARY.get() {
        return Ok(path.clone());
    }
    let own = env::current_exe().context("cannot find this program's own file")?;
    let directory = own.ancestors().find(|path| path.join("build").is_dir() && path.join("deps").is_dir());
    let directory = directory.with_context(|| format!("{} is not in a target directory", own.display()))?;
    if own.parent() != Some(directory) {
        build(directory)?;
    }
    let path = directory.join("flow-sensor");
    ensure!(path.is_file(), "{} is missing: cargo build --package sensor-user", path.display());
    Ok(BINARY.get_or_init(|| path).clone())
}

fn build(directory: &Path) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--package", "sensor-user", "--bin", "flow-sensor"]);
    if directory.ends_with("release") {
        command.arg("--release");
    }
    // Variables of the test's own build would make cargo think that the sensor must be built again.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    let status = command.current_dir(workspace()).status().context("cannot run cargo")?;
    ensure!(status.success(), "the sensor does not build: {status}");
    Ok(())
}

/// The workspace root.
#[must_use]
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
