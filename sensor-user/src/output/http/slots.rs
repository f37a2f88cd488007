//! Who may hold a connection, and who gives way when there are too many.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::Limits;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of a request's head, or the first one.
    Head,
    /// A further request.
    Idle,
    /// The response being taken by the client.
    Response,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    phase: Phase,
    since: Instant,
    /// When it last got on, which within a response is more often.
    moved: Instant,
    give_way: Arc<Notify>,
    cut: Arc<AtomicBool>,
}

/// The connections there are.
#[derive(Debug)]
pub(super) struct Slots {
    limits: Limits,
    table: Mutex<Table>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    entries: HashMap<u64, Entry>,
}

/// Whether a connection may stay.
pub(super) enum Admission {
    /// It may.
    Granted {
        /// What it holds while it lasts.
        slot: Slot,
        /// Whether another had to give way.
        displaced: bool,
    },
    /// All are taken, and by clients that are being served.
    Refused,
}

impl Slots {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, table: Mutex::default(), emptied: Notify::new() }
    }

    pub(super) const fn limits(&self) -> Limits {
        self.limits
    }

    /// A slot for a connection from `address`, if need be that of the connection that waits longest: of the
    /// same address where that has too many, else of all.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        let mut table = self.table();
        let of_address = table.entries.values().filter(|entry| entry.address == address).count();
        let mut displaced = false;
        if of_address >= self.limits.connections_per_address {
            displaced = table.displace(|entry| entry.address == address, self.limits);
            if !displaced {
                return Admission::Refused;
            }
        } else if table.entries.len() >= self.limits.connections {
            displaced = table.displace(|_| true, self.limits);
            if !displaced {
                return Admission::Refused;
            }
        }
        let id = table.next;
        table.next += 1;
        let give_way = Arc::new(Notify::new());
        let since = Instant::now();
        let cut = Arc::new(AtomicBool::new(false));
        let entry = Entry {
            address,
            phase: Phase::Head,
            since,
            moved: since,
            give_way: Arc::clone(&give_way),
            cut: Arc::clone(&cut),
        };
        table.entries.insert(id, entry);
        let slot = Slot { slots: Arc::clone(self), id, give_way, cut };
        Admission::Granted { slot, displaced }
    }

    /// Makes the connection that waits longest give way, if any may.
    pub(super) fn displace_one(&self) {
        self.table().displace(|_| true, self.limits);
    }

    /// Waits until no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.table().entries.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn displace(&mut self, among: impl Fn(&Entry) -> bool, limits: Limits) -> bool {
        let now = Instant::now();
        let may_go = |entry: &Entry| match entry.phase {
            Phase::Head | Phase::Idle => true,
            Phase::Response => now.duration_since(entry.moved) >= limits.stall_grace,
        };
        let longest = self
            .entries
            .iter()
            .filter(|(_, entry)| among(entry) && may_go(entry))
            .min_by_key(|(id, entry)| (entry.moved, **id))
            .map(|(id, _)| *id);
        let Some(entry) = longest.and_then(|id| self.entries.remove(&id)) else { return false };
        // What is written whole may still reach its client.
        entry.cut.store(entry.phase == Phase::Response, Ordering::Relaxed);
        entry.give_way.notify_one();
        true
    }
}

/// A connection's right to exist.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    give_way: Arc<Notify>,
    cut: Arc<AtomicBool>,
}

impl Slot {
    /// What clients may cost.
    pub(super) fn limits(&self) -> Limits {
        self.slots.limits
    }

    /// There is a response that the client is to take now.
    pub(super) fn answered(&self) {
        self.step(|_| true, Phase::Response);
    }

    /// There is more of a response that goes on and on.
    pub(super) fn sends(&self) {
        self.step(|phase| phase != Phase::Response, Phase::Response);
    }

    /// The client took some of a response.
    pub(super) fn progressed(&self) {
        if let Some(entry) = self.slots.table().entries.get_mut(&self.id) {
            entry.moved = Instant::now();
        }
    }

    /// Everything written so far was handed to the kernel.
    pub(super) fn flushed(&self) {
        self.step(|phase| phase == Phase::Response, Phase::Idle);
    }

    /// The client sent something.
    pub(super) fn received(&self) {
        self.step(|phase| phase == Phase::Idle, Phase::Head);
    }

    fn step(&self, from: impl Fn(Phase) -> bool, to: Phase) {
        if let Some(entry) = self.slots.table().entries.get_mut(&self.id)
            && from(entry.phase)
        {
            entry.phase = to;
            entry.since = Instant::now();
            entry.moved = entry.since;
        }
    }

    /// What the connection waits for, and until when it may; none once it has to give way.
    pub(super) fn deadline(&self) -> Option<(Phase, Instant)> {
        let table = self.slots.table();
        let entry = table.entries.get(&self.id)?;
        let limits = self.slots.limits;
        let allowed = match entry.phase {
            Phase::Head => limits.header_deadline,
            Phase::Idle => limits.idle_deadline,
            Phase::Response => limits.write_deadline,
        };
        Some((entry.phase, entry.since + allowed))
    }

    /// The connection is to end at once, whatever its client still has to get.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Waits until another connection needs the place.
    pub(super) async fn must_give_way(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.slots.table();
        table.entries.remove(&self.id);
        if table.entries.is_empty() {
            self.slots.emptied.notify_waiters();
        }
    }
}
