//! The live agent: drains the mirror ports on time, feeds the pipeline and hands what comes of it to the
//! outputs.
//!
//! One thread does all of it in turn, so nothing here needs a lock. Outputs get finished values and cannot
//! hold it up.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use crate::{
    alert::{Alert, AlertState},
    capture::live::{Live, LiveError},
    clock::Timestamp,
    config::{Config, Reloadable},
    flow::Drain,
    mirror::Diagnosis,
    orient::MemoryUse,
    output::{
        alert_log::AlertLog,
        notify::Notifier,
        publish::Publisher,
        snapshot::{InterfaceReading, InterfaceStatus, SnapshotBuilder},
    },
    pipeline::{Pipeline, Report},
};

/// How often the fill of the flow tables is looked at between drains.
const PRESSURE_CHECK: Duration = Duration::from_millis(50);

/// Fill of a flow table's fullest part at which a drain comes early. Half: the other half lasts while this
/// thread wakes up, flips and waits for the kernel, some 50 to 100 ms.
const EARLY_DRAIN: f64 = 0.5;

/// How long the alert log may take to write what waits when the agent ends.
const LOG_STOP: Duration = Duration::from_secs(2);

/// How long posting may take when the agent ends.
const NOTIFY_STOP: Duration = Duration::from_secs(2);

/// What the agent is told while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Open the alert log anew.
    ReopenLog,
    /// Take from a new configuration what can be taken while running.
    Reconfigure(Reloadable),
    /// A new configuration could not be used.
    KeepConfiguration,
    /// Detach, drain once more, hand everything on, end.
    Stop,
}

/// Why the agent waited no longer.
enum Wake {
    Due,
    Pressure,
    Stop,
}

/// The agent's parts.
pub struct Agent {
    live: Live,
    period: Duration,
    pipeline: Pipeline,
    builder: SnapshotBuilder,
    publisher: Publisher,
    alert_log: Option<AlertLog>,
    notifier: Option<Notifier>,
    tracked: usize,
    /// What was said of the mirror in the log.
    diagnoses: Vec<Diagnosis>,
}

impl Agent {
    /// An agent on ports that are attached.
    #[must_use]
    pub fn new(
        config: &Config,
        live: Live,
        mut builder: SnapshotBuilder,
        publisher: Publisher,
        alert_log: Option<AlertLog>,
        notifier: Option<Notifier>,
    ) -> Self {
        let (mut pipeline, tracked) = (Pipeline::new(config), config.capacity.sources);
        if let Some(mtu) = live.largest_mtu() {
            pipeline.set_mtu(mtu);
        }
        tracing::info!(
            "memory: {} trifectas, {} peers, {} sources of {} bytes each and {} suspects, {:.0} MiB when full",
            config.capacity.trifectas,
            config.capacity.peers,
            config.capacity.sources,
            pipeline.bytes_per_source(),
            config.capacity.suspects,
            pipeline.bytes_at_capacity() as f64 / f64::from(1 << 20),
        );
        builder.suppressions(&config.suppress);
        builder.config_taken(live.now());
        Self {
            live,
            period: config.drain,
            pipeline,
            builder,
            publisher,
            alert_log,
            notifier,
            tracked,
            diagnoses: Vec::new(),
        }
    }

    /// Drains until told to stop.
    pub fn run(mut self, orders: &Receiver<Order>) -> Result<(), LiveError> {
        let mut due = self.live.now().period_end(self.period);
        loop {
            let wake = self.wait(due, orders);
            if matches!(wake, Wake::Stop) {
                return self.stop();
            }
            let drain = self.live.drain()?;
            self.take(&drain);
            let now = self.live.now();
            if now >= due.plus(self.period) {
                self.builder.drain_overrun();
                tracing::warn!("draining is behind: due at {due}, done at {now}");
            }
            if matches!(wake, Wake::Due) {
                due = now.period_end(self.period);
            }
        }
    }

    /// Waits until a drain is due, or needed early, or the agent is to stop.
    fn wait(&mut self, due: Timestamp, orders: &Receiver<Order>) -> Wake {
        loop {
            let left = due.since(self.live.now());
            if left.is_zero() {
                return Wake::Due;
            }
            match orders.recv_timeout(left.min(PRESSURE_CHECK)) {
                Ok(Order::ReopenLog) => self.alert_log.iter().for_each(AlertLog::reopen),
                Ok(Order::Reconfigure(config)) => self.reconfigure(&config),
                Ok(Order::KeepConfiguration) => self.builder.config_refused(),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
                Err(RecvTimeoutError::Timeout) if self.live.pressure() >= EARLY_DRAIN => {
                    return Wake::Pressure;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn reconfigure(&mut self, config: &Reloadable) {
        let Reloadable { groups: _, allow: _, suppress } = config;
        let now = self.live.now();
        self.pipeline.reconfigure(config);
        self.builder.suppressions(suppress);
        self.builder.config_taken(now);
        if let Some(notifier) = &mut self.notifier {
            notifier.suppress(suppress, now);
        }
    }

    fn stop(self) -> Result<(), LiveError> {
        let Self { live, mut pipeline, mut builder, publisher, alert_log, mut notifier, .. } = self;
        let drain = live.close()?;
        builder.drain(&drain);
        let mut report = pipeline.feed(&drain);
        let last = pipeline.finish();
        report.intervals.extend(last.intervals);
        report.alerts.extend(last.alerts);
        hand_on(report, &mut builder, alert_log.as_ref(), notifier.as_mut());
        if let Some(notifier) = notifier {
            builder.notifications(notifier.close(NOTIFY_STOP));
        }
        if let Some(log) = alert_log {
            builder.alert_log(log.close(LOG_STOP));
        }
        let snapshot = builder.snapshot();
        snapshot.interfaces.iter().for_each(log_totals);
        publisher.publish(snapshot);
        Ok(())
    }

    fn take(&mut self, drain: &Drain) {
        let drained = Instant::now();
        self.builder.drain(drain);
        for (index, status) in self.live.status().into_iter().enumerate() {
            self.builder.drain_took(index, status.took);
            self.builder.interface(
                index,
                InterfaceReading {
                    link_up: status.link_up,
                    mode: status.mode,
                    table_entries: status.entries,
                    table_capacity: status.slots,
                    marks_lost: status.marks_lost,
                },
            );
        }
        let report = self.pipeline.feed(drain);
        hand_on(report, &mut self.builder, self.alert_log.as_ref(), self.notifier.as_mut());
        self.builder.observe(self.pipeline.observations());
        self.builder.mirror(self.pipeline.diagnoses());
        self.builder.allowances(self.pipeline.allowances());
        self.tell_mirror(drain.end);
        if let Some(notifier) = &mut self.notifier {
            notifier.advance(drain.end);
            self.builder.notifications(notifier.status());
        }
        if let Some(log) = &self.alert_log {
            self.builder.alert_log(log.status());
        }
        self.builder.memories(self.memories());
        self.publisher.publish(self.builder.snapshot());
        self.builder.pipeline_took(drained.elapsed());
    }

    /// Says what has become wrong with the mirror, and what is right again.
    fn tell_mirror(&mut self, end: Timestamp) {
        let now = self.pipeline.diagnoses();
        let is_same = |a: &Diagnosis, b: &Diagnosis| a.problem == b.problem && a.interface == b.interface;
        let names = self.live.names();
        let name = |diagnosis: &Diagnosis| {
            let interface = diagnosis.interface.and_then(|index| names.get(index));
            interface.copied()
        };
        let prefix =
            |diagnosis: &Diagnosis| name(diagnosis).map_or(String::new(), |name| format!("{name}: "));
        let notify = |diagnosis: &Diagnosis, state| {
            if let Some(notifier) = &self.notifier {
                notifier.mirror(diagnosis, name(diagnosis), state, end);
            }
        };
        for new in now.iter().filter(|new| !self.diagnoses.iter().any(|old| is_same(old, new))) {
            tracing::warn!("{}the mirror is wrong ({}): {new}", prefix(new), new.problem.name());
            notify(new, AlertState::Firing);
        }
        for old in self.diagnoses.iter().filter(|old| !now.iter().any(|new| is_same(old, new))) {
            let problem = old.problem.name();
            tracing::info!("{}the mirror is well again ({problem})", prefix(old));
            notify(old, AlertState::Resolved);
        }
        now.clone_into(&mut self.diagnoses);
    }

    fn memories(&self) -> Vec<MemoryUse> {
        let (entries, evicted) = self.pipeline.source_use();
        let sources = MemoryUse { name: "sources", entries, capacity: self.tracked, evicted };
        self.pipeline.memory_use().into_iter().chain([sources]).collect()
    }
}

/// Hands a report to the outputs.
fn hand_on(
    report: Report,
    builder: &mut SnapshotBuilder,
    alert_log: Option<&AlertLog>,
    mut notifier: Option<&mut Notifier>,
) {
    let Report { intervals, alerts, steps: _ } = report;
    for alert in &alerts {
        log(alert);
        if let Some(alert_log) = alert_log {
            alert_log.append(alert);
        }
        if let Some(notifier) = &mut notifier {
            notifier.alert(alert);
        }
    }
    builder.alerts(&alerts);
    for interval in intervals {
        builder.interval(Arc::new(interval));
    }
}

/// The last word on an interface: nobody can scrape the metrics of a sensor that has stopped.
fn log_totals(interface: &InterfaceStatus) {
    let InterfaceStatus { name, frames, .. } = interface;
    let ignored: u64 = frames.ignored.iter().sum();
    tracing::info!(
        "{name}: {} frames seen, {} counted, {ignored} ignored, {} lost",
        frames.on_wire(),
        frames.counted,
        frames.lost()
    );
}

fn log(alert: &Alert) {
    let finding = &alert.finding;
    let (kind, source, summary) = (finding.kind.name(), finding.source, &finding.summary);
    match finding.state {
        AlertState::Firing if alert.suppressed.is_some() => {
            tracing::info!("{kind} alert for {source}, which is suppressed: {summary}");
        }
        AlertState::Firing => tracing::warn!("{kind} alert for {source}: {summary}"),
        AlertState::Resolved => tracing::info!("{kind} alert for {source} is over: {summary}"),
    }
}
