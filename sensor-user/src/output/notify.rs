//! Posting alerts without Prometheus: to Alertmanagers, and to webhooks as JSON objects.
//!
//! The run loop only puts notices into bounded queues, one for each receiver, so that a receiver that is down
//! holds up neither the drain nor the other receivers. A thread with a runtime of its own posts them. What
//! does not fit into a queue, or cannot be delivered in time, is counted.
//!
//! Alerts that are suppressed are held back here, and posted if they still hold when the suppression ends.

mod notice;
mod post;
mod receiver;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime,
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::{
    notice::{Links, Notice},
    receiver::{Receiver, Way},
};
use super::worker::Worker;
use crate::{
    alert::{Alert, AlertKind, AlertState},
    clock::Timestamp,
    config::Notify,
    mirror::Diagnosis,
    suppress::{Suppression, suppressed},
};

/// Why notifications cannot be posted.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The thread or its runtime could not be made.
    #[error("cannot start the thread that posts alerts")]
    Thread(#[from] io::Error),
}

/// How patient posting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Notices that wait for a receiver, and alerts that are kept active at an Alertmanager.
    pub queue: usize,
    /// What one attempt may take, from connecting to the answer.
    pub deadline: Duration,
    /// From the first failed attempt to the next; doubled after each, up to `longest_backoff`. A random half
    /// of it is left out, so that several sensors do not come back at once.
    pub backoff: Duration,
    /// See `backoff`.
    pub longest_backoff: Duration,
    /// How often an Alertmanager is told that an alert still holds, as Prometheus does it.
    pub resend: Duration,
    /// Age at which a notice is given up.
    pub expiry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            queue: 1024,
            deadline: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_mins(1),
            resend: Duration::from_mins(1),
            expiry: Duration::from_mins(15),
        }
    }
}

/// What became of the notices to one receiver since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// Kind, host and port: paths of webhooks may hold secrets.
    pub name: String,
    /// Notices that the receiver took.
    pub delivered: u64,
    /// Notices that it refused for good.
    pub rejected: u64,
    /// Notices given up because they had become too old, or the sensor stopped.
    pub expired: u64,
    /// Notices for which there was no room.
    pub dropped: u64,
    /// Failed attempts.
    pub errors: u64,
    /// Whether the last attempt failed.
    pub failing: bool,
}

#[derive(Debug, Default)]
struct Counters {
    failing: AtomicBool,
    delivered: AtomicU64,
    rejected: AtomicU64,
    expired: AtomicU64,
    dropped: AtomicU64,
    errors: AtomicU64,
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}

/// A receiver's end at the run loop.
#[derive(Debug)]
struct Line {
    name: String,
    queue: mpsc::Sender<Arc<Notice>>,
    counters: Arc<Counters>,
}

/// An alert that holds.
#[derive(Debug)]
struct Holding {
    alert: Alert,
    /// Whether receivers know of it; not while it is suppressed.
    told: bool,
}

/// The end at the run loop.
#[derive(Debug)]
pub struct Notifier {
    links: Links,
    lines: Vec<Line>,
    /// Alerts that hold.
    holding: BTreeMap<(AlertKind, IpAddr), Holding>,
    /// Dropping it ends all waiting.
    patience: watch::Sender<()>,
    worker: Worker,
}

impl Notifier {
    /// Starts posting to what `notify` names; none where it names nothing. `page` is the address of this
    /// sensor's page, unless `notify` knows better.
    pub fn start(notify: &Notify, page: &str, patience: Patience) -> Result<Option<Self>, NotifyError> {
        let ways = notify.alertmanager.iter().map(|endpoint| (Way::Alertmanager, endpoint));
        let ways: Vec<_> =
            ways.chain(notify.webhook.iter().map(|endpoint| (Way::Webhook, endpoint))).collect();
        if ways.is_empty() {
            return Ok(None);
        }
        let (hold, stop) = watch::channel(());
        let mut lines = Vec::with_capacity(ways.len());
        let mut receivers = Vec::with_capacity(ways.len());
        for (way, endpoint) in ways {
            let (queue, notices) = mpsc::channel(patience.queue);
            let counters = Arc::new(Counters::default());
            let name = format!("{}@{}", way.name(), endpoint.authority());
            receivers.push(Receiver::new(
                way,
                endpoint,
                name.clone(),
                notices,
                stop.clone(),
                Arc::clone(&counters),
                patience,
            ));
            lines.push(Line { name, queue, counters });
        }
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Worker::start("notify", move || runtime.block_on(post_all(receivers)))?;
        let page = notify.page.as_deref().unwrap_or(page).to_owned();
        let links_to = Links { page, runbook: notify.runbook.clone() };
        Ok(Some(Self { links: links_to, lines, holding: BTreeMap::new(), patience: hold, worker }))
    }

    /// Hands over an alert that began or ended. Never waits.
    pub fn alert(&mut self, alert: &Alert) {
        let key = (alert.finding.kind, alert.finding.source);
        match alert.finding.state {
            AlertState::Firing => {
                let told = alert.suppressed.is_none();
                if told {
                    self.send(Notice::of_alert(alert, &self.links));
                }
                self.holding.insert(key, Holding { alert: alert.clone(), told });
            }
            AlertState::Resolved => {
                // Nobody hears of the end whose beginning was held back.
                if self.holding.remove(&key).is_none_or(|holding| holding.told) {
                    self.send(Notice::of_alert(alert, &self.links));
                }
            }
        }
    }

    /// Hands over a problem of the mirror that began or ended; `interface` where it is about one.
    pub fn mirror(&self, diagnosis: &Diagnosis, interface: Option<&str>, state: AlertState, now: Timestamp) {
        self.send(Notice::of_mirror(diagnosis, interface, state, now, &self.links));
    }

    /// Posts the alerts that still hold when their suppression has ended.
    pub fn advance(&mut self, now: Timestamp) {
        let ended =
            |alert: &Alert| alert.suppressed.as_ref().is_none_or(|suppressed| suppressed.until <= now);
        let mut notices = Vec::new();
        for Holding { alert, told } in self.holding.values_mut() {
            if !*told && ended(alert) {
                alert.suppressed = None;
                *told = true;
                notices.push(Notice::of_alert(alert, &self.links));
            }
        }
        for notice in notices {
            self.send(notice);
        }
    }

    /// Replaces what is suppressed: for receivers an alert that holds ends when it becomes so, and begins
    /// when it is no longer.
    pub fn suppress(&mut self, suppressions: &[Suppression], now: Timestamp) {
        let mut notices = Vec::new();
        for (&(kind, source), Holding { alert, told }) in &mut self.holding {
            alert.suppressed = suppressed(suppressions, kind, source, now);
            if alert.suppressed.is_some() && *told {
                *told = false;
                let mut end = alert.clone();
                (end.finding.state, end.finding.time) = (AlertState::Resolved, now);
                notices.push(Notice::of_alert(&end, &self.links));
            }
        }
        for notice in notices {
            self.send(notice);
        }
        self.advance(now);
    }

    /// The counters of each receiver.
    #[must_use]
    pub fn status(&self) -> Vec<ReceiverStatus> {
        status(&self.lines)
    }

    /// Tries once more to deliver what waits, for at most `deadline`, and returns the final counters.
    #[must_use]
    pub fn close(self, deadline: Duration) -> Vec<ReceiverStatus> {
        let Self { mut lines, patience, worker, .. } = self;
        let counters: Vec<Line> = lines
            .iter_mut()
            .map(|line| Line {
                name: std::mem::take(&mut line.name),
                // A queue without an end: only the counters are still wanted.
                queue: mpsc::channel(1).0,
                counters: Arc::clone(&line.counters),
            })
            .collect();
        drop((lines, patience));
        worker.finish(deadline);
        status(&counters)
    }

    fn send(&self, notice: Notice) {
        let notice = Arc::new(notice);
        for line in &self.lines {
            if line.queue.try_send(Arc::clone(&notice)).is_err() {
                count(&line.counters.dropped, 1);
            }
        }
    }
}

/// By name; what two URLs of one host and port did is added up, so that each name is there once.
fn status(lines: &[Line]) -> Vec<ReceiverStatus> {
    let mut by_name: BTreeMap<&str, ReceiverStatus> = BTreeMap::new();
    for Line { name, counters, queue: _ } in lines {
        let Counters { delivered, rejected, expired, dropped, errors, failing } = counters.as_ref();
        let sum = by_name.entry(name).or_default();
        sum.name.clone_from(name);
        sum.delivered += delivered.load(Ordering::Relaxed);
        sum.rejected += rejected.load(Ordering::Relaxed);
        sum.expired += expired.load(Ordering::Relaxed);
        sum.dropped += dropped.load(Ordering::Relaxed);
        sum.errors += errors.load(Ordering::Relaxed);
        sum.failing |= failing.load(Ordering::Relaxed);
    }
    by_name.into_values().collect()
}

async fn post_all(receivers: Vec<Receiver>) {
    let mut tasks: JoinSet<()> = receivers.into_iter().map(Receiver::run).collect();
    while tasks.join_next().await.is_some() {}
}
