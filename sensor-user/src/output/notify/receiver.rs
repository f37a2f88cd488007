//! One receiver: what waits for it, and when it is tried again.
//!
//! A webhook gets every notice once, in order. An Alertmanager has no notion of order: it is told of all that
//! holds, at once when something changes and again every [`Patience::resend`], each time with an end a few
//! periods ahead. So an alert ends by itself where the sensor is gone, and an Alertmanager that was restarted
//! learns of it again.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

use super::{
    Counters, Patience, count,
    notice::{Notice, PostableAlert},
    post::{PostError, post},
};
use crate::{
    alert::AlertState,
    clock::{Timestamp, wall_clock},
    config::Endpoint,
    error_chain,
};

/// Resend periods that an Alertmanager waits before it takes an alert for over: as many as Prometheus has it
/// wait.
const PERIODS_AHEAD: u32 = 4;

/// How a receiver is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Alertmanager,
    Webhook,
}

impl Way {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Webhook => "webhook",
        }
    }

    fn path(self, endpoint: &Endpoint) -> String {
        match self {
            Self::Alertmanager => format!("{}/api/v2/alerts", endpoint.path.trim_end_matches('/')),
            Self::Webhook => endpoint.path.clone(),
        }
    }
}

/// Labels of a notice.
type Labels = BTreeMap<&'static str, String>;

/// A receiver and what it is to be told.
pub(super) struct Receiver {
    way: Way,
    endpoint: Endpoint,
    path: String,
    name: String,
    notices: mpsc::Receiver<Arc<Notice>>,
    stop: watch::Receiver<()>,
    counters: Arc<Counters>,
    patience: Patience,
    /// Failed attempts in a row.
    failures: u32,
}

/// What an Alertmanager is told of.
struct Told {
    notice: Arc<Notice>,
    ended: Option<Timestamp>,
    /// Notices about it that it was not told of yet.
    news: usize,
    since: Instant,
}

impl Receiver {
    pub fn new(
        way: Way,
        endpoint: &Endpoint,
        name: String,
        notices: mpsc::Receiver<Arc<Notice>>,
        stop: watch::Receiver<()>,
        counters: Arc<Counters>,
        patience: Patience,
    ) -> Self {
        let (path, endpoint) = (way.path(endpoint), endpoint.clone());
        Self { way, endpoint, path, name, notices, stop, counters, patience, failures: 0 }
    }

    /// Posts until the run loop's end of the queue is gone and all was tried.
    pub async fn run(self) {
        match self.way {
            Way::Alertmanager => self.keep_told().await,
            Way::Webhook => self.deliver_each().await,
        }
    }

    async fn deliver_each(mut self) {
        while let Some(notice) = self.notices.recv().await {
            let expires = Instant::now() + self.patience.expiry;
            loop {
                match self.attempt(notice.object.clone()).await {
                    Ok(()) => count(&self.counters.delivered, 1),
                    Err(error) if error.is_final() => count(&self.counters.rejected, 1),
                    Err(_) => {
                        let next = Instant::now() + self.backoff();
                        if next < expires && self.wait_until(next).await {
                            continue;
                        }
                        count(&self.counters.expired, 1);
                    }
                }
                break;
            }
        }
    }

    async fn keep_told(mut self) {
        let mut told: BTreeMap<Labels, Told> = BTreeMap::new();
        let mut next = None;
        loop {
            let notice = tokio::select! {
                notice = self.notices.recv() => Some(notice),
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => None,
            };
            match notice {
                Some(Some(notice)) => {
                    self.learn(&mut told, notice);
                    while let Ok(notice) = self.notices.try_recv() {
                        self.learn(&mut told, notice);
                    }
                    // After a failure the next attempt keeps its time.
                    if self.failures > 0 {
                        continue;
                    }
                }
                Some(None) => return self.tell_last(told).await,
                None => {}
            }
            self.tell(&mut told).await;
            next = match self.failures {
                0 if told.is_empty() => None,
                0 => Some(Instant::now() + self.patience.resend),
                _ => Some(Instant::now() + self.backoff()),
            };
        }
    }

    /// Notes what a notice says.
    fn learn(&self, told: &mut BTreeMap<Labels, Told>, notice: Arc<Notice>) {
        let ended = (notice.state == AlertState::Resolved).then_some(notice.time);
        if let Some(known) = told.get_mut(&notice.labels) {
            known.news += 1;
            known.ended = ended;
            known.since = Instant::now();
            // The numbers of an alert are those of its beginning.
            if ended.is_none() {
                known.notice = notice;
            }
        } else if told.len() < self.patience.queue {
            let labels = notice.labels.clone();
            told.insert(labels, Told { notice, ended, news: 1, since: Instant::now() });
        } else {
            count(&self.counters.dropped, 1);
        }
    }

    /// Tells all that holds or has just ended.
    async fn tell(&mut self, told: &mut BTreeMap<Labels, Told>) {
        if told.is_empty() {
            self.failures = 0;
            return;
        }
        let until = wall_clock().plus(self.patience.resend * PERIODS_AHEAD);
        let alerts: Vec<_> = told
            .values()
            .map(|told| PostableAlert::of(&told.notice, told.notice.time, told.ended.unwrap_or(until)))
            .collect();
        let body = serde_json::to_vec(&alerts).unwrap_or_default();
        match self.attempt(body).await {
            Ok(()) => settle(told, &self.counters.delivered),
            Err(error) if error.is_final() => {
                self.failures = 0;
                settle(told, &self.counters.rejected);
            }
            // It takes what ended for over by itself.
            Err(_) => {
                let expiry = self.patience.expiry;
                let old = |told: &Told| told.ended.is_some() && told.since.elapsed() >= expiry;
                let expired = told.extract_if(.., |_, told| old(told)).map(|(_, told)| told.news).sum();
                count(&self.counters.expired, expired);
            }
        }
    }

    async fn tell_last(mut self, mut told: BTreeMap<Labels, Told>) {
        if told.values().any(|told| told.news > 0) {
            self.tell(&mut told).await;
        }
        count(&self.counters.expired, told.values().map(|told| told.news).sum());
    }

    /// Posts once; counts and logs a failure, the first of a row as a warning.
    async fn attempt(&mut self, body: Vec<u8>) -> Result<(), PostError> {
        let outcome = post(&self.endpoint, &self.path, body, self.patience.deadline).await;
        match &outcome {
            Ok(()) => {
                self.counters.failing.store(false, Ordering::Relaxed);
                if std::mem::take(&mut self.failures) > 0 {
                    info!("alerts can be posted to {} again", self.name);
                }
            }
            Err(error) => {
                count(&self.counters.errors, 1);
                self.counters.failing.store(true, Ordering::Relaxed);
                if self.failures == 0 {
                    let what = if error.is_final() { "not tried again" } else { "trying again" };
                    warn!("cannot post alerts to {}: {}; {what}", self.name, error_chain(error));
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
        outcome
    }

    /// How long to wait after the latest failure: between half of the backoff and all of it.
    fn backoff(&self) -> Duration {
        let Patience { backoff, longest_backoff, .. } = self.patience;
        let doublings = self.failures.saturating_sub(1).min(31);
        let whole = backoff.saturating_mul(1 << doublings).min(longest_backoff);
        // Keyed at random, so this is a random number.
        let random = RandomState::new().build_hasher().finish();
        whole / 2 + (whole / 2).mul_f64(random as f64 / u64::MAX as f64)
    }

    /// Waits; false where the sensor stops before.
    async fn wait_until(&mut self, time: Instant) -> bool {
        tokio::select! {
            () = sleep_until(time) => true,
            _ = self.stop.changed() => false,
        }
    }
}

/// Counts the news as settled and forgets what has ended.
fn settle(told: &mut BTreeMap<Labels, Told>, outcome: &AtomicU64) {
    for told in told.values_mut() {
        count(outcome, std::mem::take(&mut told.news));
    }
    told.retain(|_, told| told.ended.is_none());
}
