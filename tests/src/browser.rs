//! A headless Chromium in a namespace, driven by the `WebDriver` protocol (W3C, 2018).

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    http,
    netns::Namespace,
    process::{Process, wait_for},
};

/// Where chromedriver listens, in the namespace.
const DRIVER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 19515));
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser with one page; it ends when this is dropped.
#[derive(Debug)]
pub struct Browser<'a> {
    namespace: &'a Namespace,
    /// Path of the session.
    session: String,
    _driver: Process,
    _profile: TempDir,
}

impl<'a> Browser<'a> {
    /// Starts it, with a profile of its own and nothing that would ask the internet.
    pub fn start(namespace: &'a Namespace) -> Result<Self> {
        let profile = tempfile::tempdir().context("cannot make a temporary directory")?;
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", DRIVER.port())).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = namespace.spawn(&mut command)?;
        wait_for("chromedriver", PATIENCE, || namespace.inside(|| http::ask(DRIVER, "GET", "/status", "")))?;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = namespace.inside(|| http::ask(DRIVER, "POST", "/session", &wanted.to_string()))?;
        let answer: Value = serde_json::from_str(&answer.body).context("chromedriver must speak JSON")?;
        let id = answer["value"]["sessionId"].as_str().with_context(|| format!("no browser: {answer}"))?;
        Ok(Self { namespace, session: format!("/session/{id}"), _driver: driver, _profile: profile })
    }

    /// Opens a page.
    pub fn open(&self, url: &str) -> Result<()> {
        self.command("url", &json!({ "url": url })).map(drop)
    }

    /// What the body of a JavaScript function returns in the page.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until the script returns true.
    pub fn wait_for(&self, what: &str, at_most: Duration, script: &str) -> Result<()> {
        wait_for(what, at_most, || {
            let text = self.run("return document.body.innerText")?;
            ensure!(self.run(script)? == true, "the page says: {text}");
            Ok(())
        })
    }

    /// What the console got since the last call, the browser's own pages left out.
    pub fn console(&self) -> Result<Vec<String>> {
        let entries = self.command("se/log", &json!({ "type": "browser" }))?;
        let entries = entries.as_array().context("the log must be a list")?;
        let of_page =
            |entry: &&Value| !entry["message"].as_str().unwrap_or_default().starts_with("chrome://");
        let said = |entry: &Value| format!("{}: {}", entry["level"], entry["message"]);
        Ok(entries.iter().filter(of_page).map(said).collect())
    }

    /// Makes the page as wide as this, in CSS pixels, and its reader prefer `scheme`, light or dark.
    pub fn resize(&self, width: u32, scheme: &str) -> Result<()> {
        let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.emulate("Emulation.setDeviceMetricsOverride", &size)?;
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.emulate("Emulation.setEmulatedMedia", &features)
    }

    /// The page as a PNG image.
    pub fn picture(&self) -> Result<Vec<u8>> {
        let parameters = json!({ "captureBeyondViewport": true });
        let command = json!({ "cmd": "Page.captureScreenshot", "params": parameters });
        let answer = self.command("goog/cdp/execute", &command)?;
        from_base64(answer["data"].as_str().context("a picture must have data")?)
    }

    fn emulate(&self, name: &str, parameters: &Value) -> Result<()> {
        self.command("goog/cdp/execute", &json!({ "cmd": name, "params": parameters })).map(drop)
    }

    fn command(&self, name: &str, body: &Value) -> Result<Value> {
        let path = format!("{}/{name}", self.session);
        let response = self.namespace.inside(|| http::ask(DRIVER, "POST", &path, &body.to_string()))?;
        let mut answer: Value =
            serde_json::from_str(&response.body).context("chromedriver must speak JSON")?;
        ensure!(response.status == 200, "{name}: {}", answer["value"]["message"]);
        Ok(answer["value"].take())
    }
}

/// Bytes from text (RFC 4648, section 4).
fn from_base64(text: &str) -> Result<Vec<u8>> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).context("not Base64")?;
        bits = bits << 6 | u32::try_from(value)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(bytes)
}

impl Drop for Browser<'_> {
    fn drop(&mut self) {
        // Without this the browser would outlive its driver, which is killed next.
        let _ = self.namespace.inside(|| http::ask(DRIVER, "DELETE", &self.session, ""));
    }
}
