//! The way from an alert to a page: a real Alertmanager with the project's configuration, and who is paged.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    http,
    netns::Namespace,
    process::{Process, wait_for},
    sensor::workspace,
    service::{Service, detach},
};

/// Where Alertmanager listens; `dashboards/prometheus.yml` has it there.
pub const ALERTMANAGER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9093));
/// Where the pager listens; `dashboards/alertmanager.yml` has it there.
pub const PAGER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9099));
/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than any page.
const LONGEST_BODY: usize = 1 << 20;

/// A running Alertmanager; killed when dropped.
#[derive(Debug)]
pub struct Alertmanager {
    _process: Process,
    _directory: TempDir,
}

impl Alertmanager {
    /// Starts it with `dashboards/alertmanager.yml`; what waits there for more alerts waits a second here.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let shipped = workspace().join("dashboards/alertmanager.yml");
        let text =
            fs::read_to_string(&shipped).with_context(|| format!("cannot read {}", shipped.display()))?;
        let text = hasten(
            &text,
            &[("group_wait: 5s", "group_wait: 1s"), ("group_interval: 1m", "group_interval: 1s")],
        )?;
        let config = directory.path().join("alertmanager.yml");
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={ALERTMANAGER}"));
        command.args(["--cluster.listen-address=", "--log.level=error"]);
        // It says every few seconds that there is no mail server.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = namespace.spawn(&mut command)?;
        wait_for("readiness of Alertmanager", PATIENCE, || {
            let response = namespace.inside(|| http::get(ALERTMANAGER, "/-/ready"))?;
            ensure!(response.status == 200, "/-/ready says {}: {}", response.status, response.body);
            Ok(())
        })?;
        Ok(Self { _process: process, _directory: directory })
    }
}

/// `text` with each pair's first part replaced by its second; all of them must be there.
pub fn hasten(text: &str, pairs: &[(&str, &str)]) -> Result<String> {
    let mut text = text.to_owned();
    for (slow, fast) in pairs {
        ensure!(text.contains(slow), "there is no {slow:?} to replace");
        text = text.replace(slow, fast);
    }
    Ok(text)
}

/// What was posted to a pager: the path, and the object.
type Page = (String, Value);

/// A server that takes whatever is posted to it.
pub struct Pager {
    pages: Arc<Mutex<Vec<Page>>>,
    _service: Service,
}

impl Pager {
    /// Listens at [`PAGER`] and tells `hear` of each page as well.
    pub fn start(namespace: &Namespace, hear: impl Fn(&str, &Value) + Send + Sync + 'static) -> Result<Self> {
        let pages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&pages);
        let take = Arc::new(move |path: String, page: Value| {
            hear(&path, &page);
            kept.lock().unwrap_or_else(PoisonError::into_inner).push((path, page));
        });
        let service = Service::start(namespace, move || async move {
            let listener =
                TcpListener::bind(PAGER).await.with_context(|| format!("cannot listen on {PAGER}"))?;
            detach(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let take = Arc::clone(&take);
                    detach(async move {
                        let (path, page) = answer(stream).await?;
                        take(path, page);
                        anyhow::Ok(())
                    });
                }
            });
            Ok(())
        })?;
        Ok(Self { pages, _service: service })
    }

    /// What was posted to `path` so far.
    #[must_use]
    pub fn pages(&self, path: &str) -> Vec<Value> {
        let pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.iter().filter(|(to, _)| to == path).map(|(_, page)| page.clone()).collect()
    }
}

/// Reads a request, says that it was taken, and closes the connection.
async fn answer(stream: TcpStream) -> Result<Page> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let path = line.split(' ').nth(1).context("no request")?.to_owned();
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        ensure!(stream.read_line(&mut line).await? > 0, "the request ends in its head");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    ensure!(length <= LONGEST_BODY, "{length} bytes are no page");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
    stream.shutdown().await?;
    Ok((path, serde_json::from_slice(&body).context("a page must be JSON")?))
}
