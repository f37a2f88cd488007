//! What the HTTP server counts of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::output::page::assets;

/// A path as metrics name it: never what a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    /// `/`.
    Root,
    /// `/metrics`.
    Metrics,
    /// `/-/healthy`.
    Healthy,
    /// `/-/ready`.
    Ready,
    /// `/events`.
    Events,
    /// `/api/sources/ADDRESS`.
    Source,
    /// A file of the page, below `/assets/`.
    Asset,
    /// Any other.
    Other,
}

impl Path {
    /// What addresses of sources are appended to.
    pub(super) const SOURCES: &str = "/api/sources/";

    /// Which path this is.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/" => Self::Root,
            "/metrics" => Self::Metrics,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/events" => Self::Events,
            _ if path.starts_with(Self::SOURCES) => Self::Source,
            _ if assets::find(path).is_some() => Self::Asset,
            _ => Self::Other,
        }
    }

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "/",
            Self::Metrics => "/metrics",
            Self::Healthy => "/-/healthy",
            Self::Ready => "/-/ready",
            Self::Events => "/events",
            Self::Source => "/api/sources",
            Self::Asset => "/assets",
            Self::Other => "other",
        }
    }
}

/// Why a connection was refused or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cut {
    /// All connections were taken and busy.
    Refused,
    /// It waited longest when another wanted its place.
    Displaced,
    /// A request's head took too long.
    HeaderDeadline,
    /// No further request came.
    IdleDeadline,
    /// The client did not take the response.
    WriteDeadline,
    /// Accepting failed.
    AcceptFailed,
}

impl Cut {
    const NAMES: [&str; 6] =
        ["refused", "displaced", "header_deadline", "idle_deadline", "write_deadline", "accept_failed"];
}

/// The server's counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpStatus {
    /// Open connections.
    pub connections: u64,
    /// Requests by path, status code.
    pub requests: Vec<(&'static str, u16, u64)>,
    /// Connections refused or cut off, by reason.
    pub cut: Vec<(&'static str, u64)>,
    /// How long the last rendering of the exposition took.
    pub render: Option<Duration>,
}

/// Counts what [`HttpStatus`] says.
#[derive(Debug, Default)]
pub(super) struct Counters {
    connections: AtomicU64,
    requests: Mutex<BTreeMap<(Path, u16), u64>>,
    cut: [AtomicU64; Cut::NAMES.len()],
    render: Mutex<Option<Duration>>,
}

impl Counters {
    pub(super) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn request(&self, path: Path, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path, code)).or_default() += 1;
    }

    pub(super) fn cut(&self, reason: Cut) {
        self.cut[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn rendered(&self, took: Duration) {
        *self.render.lock().unwrap_or_else(PoisonError::into_inner) = Some(took);
    }

    pub(super) fn status(&self) -> HttpStatus {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let cut = Cut::NAMES.iter().zip(&self.cut);
        HttpStatus {
            connections: self.connections.load(Ordering::Relaxed),
            requests: requests.iter().map(|(&(path, code), &count)| (path.name(), code, count)).collect(),
            cut: cut.map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect(),
            render: *self.render.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
