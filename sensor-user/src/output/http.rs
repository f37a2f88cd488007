//! The HTTP server, on a thread of its own with a runtime of its own: whatever clients do, the drain does
//! not wait for it.
//!
//! Routes, all for GET and HEAD only:
//! - `/` the live page, with its files below `/assets/`,
//! - `/events` what it shows, as server-sent events,
//! - `/api/sources/ADDRESS` one source in detail, as JSON,
//! - `/metrics` the exposition of the last drain,
//! - `/-/healthy` 200 while drains come, 503 when they stopped,
//! - `/-/ready` 200 once frames are counted on every interface, else 503.
//!
//! What clients can cost is bounded by [`Limits`]. When all connections are taken, a newcomer takes the
//! place of the one that has been waiting longest (for a request to come, or for the client to read): so
//! clients that open connections to hold them cannot keep out a scraper that knows what it wants.

mod back_off;
mod connection;
mod events;
mod hosts;
mod routes;
mod slots;
mod status;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::socket::{self, Backlog, sockopt::SndBuf};
use tokio::{net::TcpStream, sync::watch};
use tracing::{debug, warn};

pub use hosts::Hosts;
pub use routes::Routes;
pub use status::{HttpStatus, Path};

use self::{
    back_off::BackOff,
    slots::{Admission, Slots},
    status::Cut,
};
use super::worker::Worker;

/// What clients may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections at a time from one address.
    pub connections_per_address: usize,
    /// Of these, open pages, each with a stream of events.
    pub streams: usize,
    /// Requests on one connection; the last is answered with `Connection: close`.
    pub requests_per_connection: u32,
    /// From the accept, or the first byte of a further request, to the end of its head.
    pub header_deadline: Duration,
    /// From a response's end to the next request.
    pub idle_deadline: Duration,
    /// For the client to take a response.
    pub write_deadline: Duration,
    /// How long a client that does not read on keeps its connection while others want one.
    pub stall_grace: Duration,
    /// Bytes of a response that the kernel holds for a client.
    pub send_buffer: usize,
    /// Bytes of a request's head; hyper allows no less than 8192.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            connections_per_address: 64,
            streams: 12,
            requests_per_connection: 100,
            header_deadline: Duration::from_secs(5),
            idle_deadline: Duration::from_mins(1),
            write_deadline: Duration::from_secs(10),
            stall_grace: Duration::from_millis(10),
            send_buffer: 1 << 16,
            head_bytes: 8192,
            header_fields: 64,
        }
    }
}

impl Limits {
    /// Of the files that a process may open, the share that connections may take.
    const SHARE: u64 = 4;
    /// So that there is room for a scraper and a page.
    const LEAST: usize = 4;

    /// These limits where the process may open at most `files` at a time: the rest is for the sensor itself.
    #[must_use]
    pub fn within(self, files: Option<u64>) -> Self {
        let share =
            files.map_or(usize::MAX, |files| usize::try_from(files / Self::SHARE).unwrap_or(usize::MAX));
        let connections = self.connections.min(share.max(Self::LEAST));
        Self {
            connections,
            connections_per_address: self.connections_per_address.min(connections),
            streams: self.streams.min(connections / 2),
            ..self
        }
    }
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else listens there.
    #[error("cannot listen on {address}: the port is taken; stop what listens there (`ss -ltnp 'sport = :{}'` names it) or choose another with --listen", address.port())]
    PortTaken {
        /// Where.
        address: SocketAddr,
    },
    /// The port is privileged.
    #[error(
        "cannot listen on {address}: not permitted; choose a port above 1023 with --listen, or grant CAP_NET_BIND_SERVICE"
    )]
    NotPermitted {
        /// Where.
        address: SocketAddr,
    },
    /// The address belongs to no interface.
    #[error(
        "cannot listen on {address}: no interface of this host has that address; choose one that `ip address` shows, or 0.0.0.0 or [::] for all, with --listen"
    )]
    NoSuchAddress {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}; choose another address with --listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("cannot start the thread of the HTTP server")]
    Thread(#[source] io::Error),
}

impl HttpError {
    fn listening(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { address },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address },
            _ => Self::Listen { address, source },
        }
    }
}

/// The running server; dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    worker: Worker,
}

impl Server {
    /// Listens on `address` and serves `routes` from now on.
    pub fn start(address: SocketAddr, routes: Routes, limits: Limits) -> Result<Self, HttpError> {
        let listening = |source| HttpError::listening(address, source);
        let listener = TcpListener::bind(address).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        prepare(&listener, limits).map_err(|error| listening(error.into()))?;
        let address = listener.local_addr().map_err(listening)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Thread)?;
        let (stop, stopped) = watch::channel(false);
        let worker =
            Worker::start("http", move || runtime.block_on(serve(listener, routes, limits, stopped)))
                .map_err(HttpError::Thread)?;
        Ok(Self { address, stop, worker })
    }

    /// Where it listens: the port that the kernel chose where none was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, lets responses under way finish, and cuts off what is left after `deadline`.
    pub fn stop(self, deadline: Duration) {
        // Nobody listens any more if the thread has ended.
        let _ = self.stop.send(true);
        self.worker.finish(deadline);
    }
}

/// What the standard library does not set, for `listener` and for what it accepts.
fn prepare(listener: &TcpListener, limits: Limits) -> nix::Result<()> {
    // The default queue is so short that a thousand clients at once would make the kernel drop a scraper's
    // first packet, which costs it a second or more.
    socket::listen(listener, Backlog::MAXCONN)?;
    // Without this the kernel takes up to 4 MiB for each client that does not read, and the time to copy
    // them.
    socket::setsockopt(listener, SndBuf, &limits.send_buffer)
}

/// Accepts until told to stop, then waits for connections to end.
async fn serve(listener: TcpListener, routes: Routes, limits: Limits, mut stop: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "cannot serve HTTP"),
    };
    let routes = Arc::new(routes);
    let slots = Arc::new(Slots::new(limits));
    let mut back_off = BackOff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                back_off.reset();
                admit(stream, peer, &routes, &slots, &stop);
                // It may be asked and answered before another wants its place.
                tokio::task::yield_now().await;
            }
            Err(error) if is_of_one_connection(&error) => {
                debug!(%error, "a connection ended before it began");
            }
            Err(error) => {
                routes.counters().cut(Cut::AcceptFailed);
                // Most likely out of file descriptors: one is freed at once.
                slots.displace_one();
                tokio::time::sleep(back_off.after(&error, Instant::now())).await;
            }
        }
    }
    drop(listener);
    slots.emptied().await;
}

/// Gives the connection a slot and serves it, or refuses it.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    routes: &Arc<Routes>,
    slots: &Arc<Slots>,
    stop: &watch::Receiver<bool>,
) {
    let counters = routes.counters();
    match slots.admit(peer.ip()) {
        Admission::Refused => {
            counters.cut(Cut::Refused);
            tokio::spawn(connection::refuse(stream));
        }
        Admission::Granted { slot, displaced } => {
            if displaced {
                counters.cut(Cut::Displaced);
            }
            tokio::spawn(connection::serve(stream, slot, Arc::clone(routes), slots.limits(), stop.clone()));
        }
    }
}

/// Whether accepting failed for the connection that was to be accepted, and not for all.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests;
