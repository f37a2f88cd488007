//! Server-sent events: the page's news, for as long as the page is open.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame};

use super::slots::Slot;
use crate::{
    alert::Alert,
    clock::Timestamp,
    output::{
        publish::{Publication, Reader},
        snapshot::Snapshot,
    },
};

/// How long a browser waits before it asks again, in the form of the stream.
const RETRY: &str = "retry: 2000\n\n";

/// Streams under way.
#[derive(Debug, Default)]
pub(super) struct Streams(Arc<AtomicUsize>);

/// The right to one stream; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Ticket(Arc<AtomicUsize>);

impl Streams {
    /// One more, unless there are `limit`.
    pub(super) fn admit(&self, limit: usize) -> Option<Ticket> {
        let more = |open| (open < limit).then_some(open + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Ticket(Arc::clone(&self.0)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Reader, Arc<Publication>)>> + Send>>;

/// A body that goes on until the client leaves or the sensor ends.
pub(super) struct Events {
    next: Next,
    told: Option<Told>,
    slot: Arc<Slot>,
    _ticket: Ticket,
}

/// What decides whether findings are news.
#[derive(Clone, Debug)]
struct Told {
    interval: Option<Timestamp>,
    active: usize,
    latest: Option<Arc<Alert>>,
}

impl Told {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            interval: snapshot.interval.as_ref().map(|interval| interval.end),
            active: snapshot.alerts.active.len(),
            latest: snapshot.alerts.recent.first().cloned(),
        }
    }

    fn is_news_after(&self, before: &Self) -> bool {
        let same_alert = match (&self.latest, &before.latest) {
            (Some(now), Some(before)) => Arc::ptr_eq(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        !same_alert || self.interval != before.interval || self.active != before.active
    }
}

impl Events {
    /// The state as it is, then what changes.
    pub(super) fn new(mut reader: Reader, slot: Arc<Slot>, ticket: Ticket) -> Self {
        let latest = reader.take_latest();
        let next = Box::pin(std::future::ready(Some((reader, latest))));
        Self { next, told: None, slot, _ticket: ticket }
    }

    fn tell(&mut self, publication: &Publication) -> Bytes {
        let now = Told::of(publication.snapshot());
        let mut text = Vec::new();
        if self.told.is_none() {
            text.extend_from_slice(RETRY.as_bytes());
        }
        text.extend_from_slice(&publication.sensor_event());
        if self.told.as_ref().is_none_or(|before| now.is_news_after(before)) {
            text.extend_from_slice(&publication.findings_event());
        }
        self.told = Some(now);
        text.into()
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some((mut reader, publication)) = ready!(self.next.as_mut().poll(context)) else {
            // Asked again after its end, it ends again.
            self.next = Box::pin(std::future::ready(None));
            return Poll::Ready(None);
        };
        let bytes = self.tell(&publication);
        self.next = Box::pin(async move {
            // A client that is slow to read misses what came meanwhile and gets the latest.
            let more = reader.changed().await;
            let latest = reader.take_latest();
            more.then_some((reader, latest))
        });
        self.slot.sends();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}
