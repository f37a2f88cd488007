//! A real Prometheus in the sensor's namespace, and questions to it.

use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    http,
    netns::Namespace,
    paging::hasten,
    process::{Process, wait_for},
    sensor::{self, workspace},
};

/// Where it listens.
pub const ADDRESS: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 19090));
/// The name that it scrapes the sensor under.
const JOB: &str = "flowsensor";
/// How long it may take to be ready: it reads its own database first.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was scraped by hand: when, and the exposition.
pub type Scrape = (Duration, String);

/// A running server that scrapes the sensor every second; killed when dropped.
#[derive(Debug)]
pub struct Prometheus<'a> {
    namespace: &'a Namespace,
    _process: Process,
    _directory: TempDir,
}

impl<'a> Prometheus<'a> {
    /// Starts it with a database that holds the `past` as if it had been scraped so much earlier.
    pub fn start(namespace: &'a Namespace, past: &[Scrape], earlier: &[Duration]) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let data = directory.path().join("data");
        backfill(directory.path(), &data, &open_metrics(past, earlier))?;
        let config = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: {JOB}\n    static_configs: \
             [{{targets: ['{}']}}]\n",
            sensor::ADDRESS
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        Self::launch(namespace, directory)
    }

    /// Starts it with the project's own `dashboards/prometheus.yml` and rules, in a hurry: it scrapes and
    /// evaluates every second.
    pub fn alerting(namespace: &'a Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let shipped = workspace().join("dashboards");
        for name in ["prometheus.yml", "rules.yml", "alerts.yml"] {
            let path = shipped.join(name);
            let mut text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if name == "prometheus.yml" {
                text = hasten(&text, &[("_interval: 10s", "_interval: 1s")])?;
            }
            let copy = directory.path().join(name);
            fs::write(&copy, text).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        Self::launch(namespace, directory)
    }

    /// Starts it with the configuration and the database in `directory`.
    fn launch(namespace: &'a Namespace, directory: TempDir) -> Result<Self> {
        let (config, data) = (directory.path().join("prometheus.yml"), directory.path().join("data"));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.arg(format!("--web.listen-address={ADDRESS}")).arg("--log.level=error");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = namespace.spawn(&mut command)?;
        let server = Self { namespace, _process: process, _directory: directory };
        wait_for("readiness of Prometheus", PATIENCE, || {
            let response = server.namespace.inside(|| http::get(ADDRESS, "/-/ready"))?;
            ensure!(response.status == 200, "/-/ready says {}: {}", response.status, response.body);
            Ok(())
        })?;
        Ok(server)
    }

    /// The series that `query` gives over the last `range`, one point every `step`.
    pub fn query(&self, query: &str, range: Duration, step: Duration) -> Result<Vec<Value>> {
        let now = now()?;
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}",
            encode(query),
            now.saturating_sub(range).as_secs(),
            now.as_secs(),
            step.as_secs()
        );
        let mut data = self.api(&path)?;
        let result = data["result"].as_array_mut().with_context(|| format!("no series: {query}"))?;
        Ok(std::mem::take(result))
    }

    /// The series that `query` gives now.
    pub fn query_now(&self, query: &str) -> Result<Vec<Value>> {
        let mut data = self.api(&format!("/api/v1/query?query={}", encode(query)))?;
        let result = data["result"].as_array_mut().with_context(|| format!("no series: {query}"))?;
        Ok(std::mem::take(result))
    }

    /// The values of `label` among the series that `selector` gives.
    pub fn label_values(&self, selector: &str, label: &str) -> Result<Vec<Value>> {
        let data = self.api(&format!("/api/v1/label/{label}/values?match[]={}", encode(selector)))?;
        Ok(data.as_array().cloned().unwrap_or_default())
    }

    fn api(&self, path: &str) -> Result<Value> {
        let response = self.namespace.inside(|| http::get(ADDRESS, path))?;
        let mut answer: Value = serde_json::from_str(&response.body)
            .with_context(|| format!("{path}: {}: {}", response.status, response.body))?;
        ensure!(answer["status"] == "success", "{path}: {}", answer["error"]);
        Ok(answer["data"].take())
    }
}

/// Time since the UNIX epoch.
#[expect(clippy::disallowed_methods, reason = "Prometheus is asked by the wall clock")]
pub fn now() -> Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")
}

/// The counters of `scrapes` in the text format of `OpenMetrics`, moved back by each of `earlier`.
fn open_metrics(scrapes: &[Scrape], earlier: &[Duration]) -> String {
    let mut text = String::new();
    for family in ["flowsensor_source_new_connections", "flowsensor_source_bytes"] {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "# TYPE {family} counter");
        let total = format!("{family}_total{{");
        for (by, (at, exposition)) in earlier.iter().flat_map(|by| scrapes.iter().map(move |one| (by, one))) {
            for sample in exposition.lines().filter_map(|line| line.strip_prefix(&total)) {
                let Some((labels, value)) = sample.rsplit_once("} ") else { continue };
                let time = at.saturating_sub(*by).as_secs_f64();
                let target = format!("job=\"{JOB}\",instance=\"{}\"", sensor::ADDRESS);
                let _ = writeln!(text, "{total}{target},{labels}}} {value} {time:.3}");
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn backfill(directory: &Path, data: &Path, text: &str) -> Result<()> {
    let file = directory.join("past");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new("promtool");
    command.args(["tsdb", "create-blocks-from", "openmetrics"]).arg(&file).arg(data);
    let output = command.output().context("cannot run promtool (cargo xtask setup)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "promtool: {}: {said}", output.status);
    Ok(())
}

/// `text` as a value in a URL's query.
fn encode(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
