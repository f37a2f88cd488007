//! A thousand clients that hold connections keep neither the drain nor a scraper waiting, and neither does a
//! process that may open few files.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use sensor_tests::{
    http,
    metrics::Metrics,
    netns::Namespace,
    packet::{Segment, frame},
    process::{Process, wait_for},
    require_root,
    sender::Sender,
    sensor::{self, Sensor},
    topology::{Cable, MIRROR},
};

/// Connections that are held at a time.
const SLOW: usize = 1000;
/// How long each kind of client tries.
const SIEGE: Duration = Duration::from_secs(12);
/// From one scrape to the next.
const SCRAPE: Duration = Duration::from_millis(25);
/// By how much the slowest in a hundred scrapes may be later than without slow clients.
const DELAY: Duration = Duration::from_millis(50);
/// The drain period.
const DRAIN: f64 = 1.0;
/// How much longer than without slow clients it may be from one drain to the next, in seconds.
const LATE: f64 = 0.05;

/// What a good scraper saw.
#[derive(Debug)]
struct Seen {
    /// How long each scrape took, the shortest first.
    took: Vec<Duration>,
    /// Scrapes that failed.
    failed: usize,
    /// Drains, as the sensor counts them.
    drains: f64,
    /// By how much later than their number of periods drains came after those of the scrape before, in seconds, the
    /// earliest first. The number is the sensor's, as a scraper does not see every drain.
    late: Vec<f64>,
    /// Bytes of the last scrape.
    bytes: usize,
}

impl Seen {
    /// The value that one in a hundred scrapes exceeds.
    fn p99(&self) -> Duration {
        self.took[(self.took.len() * 99 / 100).min(self.took.len() - 1)]
    }

    /// How late the latest drain was, in seconds: minus one period if there was none.
    fn latest_drain(&self) -> f64 {
        self.late.last().copied().unwrap_or(-DRAIN)
    }

    /// Fails where drains stood still: of a siege all but the first and the last are seen.
    fn ensure_drains(&self, when: &str) -> Result<()> {
        let (drains, least) = (self.drains, SIEGE.as_secs_f64() / DRAIN - 2.0);
        ensure!(drains >= least, "{when}: only {drains} drains in {SIEGE:?}");
        Ok(())
    }

    fn say(&self, when: &str) {
        let Self { took, failed, drains, bytes, .. } = self;
        let median = took[took.len() / 2];
        eprintln!(
            "{when:<16} {} scrapes of {bytes} bytes, {failed} failed, median {median:?}, p99 {:?}, \
             longest {:?}; {drains} drains, the latest {:.1} ms late",
            took.len(),
            self.p99(),
            took.last().copied().unwrap_or_default(),
            self.latest_drain() * 1e3
        );
    }
}

/// Scrapes for as long as `task` runs.
fn scrape_during(namespace: &Namespace, task: impl FnOnce() -> Result<()>) -> Result<Seen> {
    let ended = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ended);
    let scraper = namespace.thread(move || {
        let mut seen = Seen { took: Vec::new(), failed: 0, drains: 0.0, late: Vec::new(), bytes: 0 };
        let (mut drain, mut count) = (0.0, 0.0);
        while !asked.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let Ok(answer) = http::get(sensor::ADDRESS, "/metrics").and_then(complete) else {
                seen.failed += 1;
                continue;
            };
            seen.took.push(begin.elapsed());
            seen.bytes = answer.len();
            let metrics = Metrics::parse(&answer)?;
            let end = metrics.sum("flowsensor_last_drain_timestamp_seconds", &[]);
            let drains = metrics.sum("flowsensor_drain_duration_seconds_count", &[]);
            if drain > 0.0 && end > drain {
                seen.late.push(end - drain - (drains - count) * DRAIN);
                seen.drains += drains - count;
            }
            (drain, count) = (end, drains);
            thread::sleep(SCRAPE.saturating_sub(begin.elapsed()));
        }
        seen.took.sort_unstable();
        seen.late.sort_unstable_by(f64::total_cmp);
        ensure!(!seen.took.is_empty(), "no scrape succeeded");
        Ok(seen)
    })?;
    let outcome = task();
    ended.store(true, Ordering::Relaxed);
    let seen = scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    outcome.map(|()| seen)
}

/// The body of an answer that is whole.
fn complete(answer: http::Response) -> Result<String> {
    ensure!(answer.status == 200 && answer.body.contains("# TYPE process_"), "{}", answer.status);
    Ok(answer.body)
}

/// New connections of many hosts, without end, at a rate that fills the exposition.
struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<Result<()>>>,
}

impl Traffic {
    fn start(namespace: &Namespace) -> Result<Self> {
        /// New connections in each piece, of which there are a hundred a second.
        const PIECE: u32 = 50;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = namespace.thread(move || {
            let sender = Sender::open(Cable::OUT)?;
            let mut number = 0_u32;
            while !asked.load(Ordering::Relaxed) {
                let begin = Instant::now();
                let frames: Vec<_> = (number..number + PIECE).map(opening).collect();
                sender.send(&frames)?;
                number += PIECE;
                thread::sleep(Duration::from_millis(10).saturating_sub(begin.elapsed()));
            }
            Ok(())
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("traffic must end once")?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One of 250 hosts opens a connection to somewhere.
fn opening(number: u32) -> Vec<u8> {
    let [.., host] = (number % 250 + 1).to_be_bytes();
    let [_, a, b, c] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 100, 100, host)), 40_000);
    let to = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(23 + a % 60, a, b, c)), 443);
    frame(from, to, Segment::Syn, &[])
}

/// Starts so many clients of the kind that `options` say, and lets them try.
fn besiege(namespace: &Namespace, options: &[&str]) -> Result<()> {
    let mut command = Command::new("slowhttptest");
    let url = format!("http://{}/metrics", sensor::ADDRESS);
    let (clients, seconds) = (SLOW.to_string(), SIEGE.as_secs().to_string());
    command.args(options).args(["-c", &clients, "-r", &clients, "-l", &seconds, "-u", &url]);
    let mut process: Process = namespace.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    // It ends by itself where the server has closed every connection.
    let begin = Instant::now();
    while begin.elapsed() < SIEGE {
        if process.ended()?.is_some() {
            process = namespace.spawn(&mut command)?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Connections that were cut off, and requests that were refused.
fn turned_away(sensor: &Sensor<'_>) -> Result<f64> {
    let metrics = sensor.metrics()?;
    let requests = |code| metrics.sum("flowsensor_http_requests_total", code);
    let refused = requests(&[]) - requests(&[("code", "200")]);
    Ok(metrics.sum("flowsensor_http_connections_cut_total", &[]) + refused)
}

#[test]
fn a_thousand_slow_clients_delay_neither_the_drain_nor_a_scraper() -> Result<()> {
    require_root()?;
    let cable = Cable::new()?;
    let sensor = Sensor::start(&cable.sensor, &["--interface", MIRROR, "--interval", "2s"])?;
    let traffic = Traffic::start(&cable.sender)?;
    wait_for("a full exposition", Duration::from_secs(30), || {
        let tracked = sensor.metrics()?.sum("flowsensor_sources_tracked", &[]);
        ensure!(tracked >= 200.0, "{tracked} sources");
        Ok(())
    })?;
    let alone = scrape_during(&cable.sensor, || {
        thread::sleep(SIEGE);
        Ok(())
    })?;
    alone.say("no slow clients");
    alone.ensure_drains("no slow clients")?;
    let kinds: [(&str, &[&str]); 3] = [
        ("slow heads", &["-H", "-i", "2", "-x", "24"]),
        ("slow bodies", &["-B", "-i", "2", "-s", "8192"]),
        ("slow readers", &["-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3"]),
    ];
    for (name, options) in kinds {
        let before = turned_away(&sensor)?;
        let seen = scrape_during(&cable.sensor, || besiege(&cable.sensor, options))?;
        seen.say(name);
        let clients = turned_away(&sensor)? - before;
        ensure!(clients >= SLOW as f64, "{name}: only {clients} clients were turned away");
        ensure!(seen.failed == 0, "{name}: {} scrapes failed", seen.failed);
        ensure!(seen.p99() <= alone.p99() + DELAY, "{name}: p99 {:?} after {:?}", seen.p99(), alone.p99());
        seen.ensure_drains(name)?;
        let (late, usual) = (seen.latest_drain(), alone.latest_drain());
        ensure!(late <= usual + LATE, "{name}: a drain was {late} s late, else {usual} s");
    }
    let metrics = sensor.metrics()?;
    ensure!(metrics.sum("flowsensor_drain_overruns_total", &[]) == 0.0, "drains were behind");
    ensure!(metrics.sum("flowsensor_frames_total", &[("outcome", "lost")]) == 0.0, "frames were lost");
    traffic.end()?;
    ensure!(sensor.stop()?.status.success(), "the sensor must end well");
    Ok(())
}

#[test]
fn a_sensor_that_may_open_few_files_is_neither_stopped_by_slow_clients_nor_kept_busy() -> Result<()> {
    /// As a careless `ulimit -n` has it.
    const FILES: usize = 64;
    /// CPU time that it may take meanwhile, in seconds: a loop that spins takes all there is.
    const MOST: f64 = 0.25;
    require_root()?;
    let cable = Cable::new()?;
    let mut sensor = Sensor::start_with_files(&cable.sensor, FILES, &["--interface", MIRROR])?;
    let metrics = sensor.metrics()?;
    let (open, before) =
        (metrics.count("process_open_fds", &[])?, metrics.sum("process_cpu_seconds_total", &[]));
    // One more than it has: it can accept, and then no longer.
    for files in [FILES, usize::try_from(open)? + 1] {
        sensor.allow_files(files)?;
        let seen = scrape_during(&cable.sensor, || besiege(&cable.sensor, &["-H", "-i", "2"]))?;
        seen.say(&format!("{files} files"));
        ensure!(files < FILES || seen.failed == 0, "{} scrapes failed", seen.failed);
    }
    sensor.allow_files(FILES)?;
    let metrics = wait_for("answer", Duration::from_secs(10), || sensor.metrics())?;
    let failed = metrics.sum("flowsensor_http_connections_cut_total", &[("reason", "accept_failed")]);
    ensure!(failed > 0.0, "there were files enough: that proves nothing");
    let share = (metrics.sum("process_cpu_seconds_total", &[]) - before) / (2.0 * SIEGE.as_secs_f64());
    eprintln!("{failed} times no file to accept with; {:.1} % of a CPU", share * 100.0);
    ensure!(share < MOST, "{share} of a CPU");
    ensure!(metrics.sum("flowsensor_drain_overruns_total", &[]) == 0.0, "drains were behind");
    let told = sensor.log()?.matches("cannot accept HTTP connections").count();
    ensure!(told == 1, "said {told} times: {}", sensor.log()?);
    ensure!(!sensor.has_ended()? && sensor.stop()?.status.success(), "the sensor must go on, and end well");
    Ok(())
}
