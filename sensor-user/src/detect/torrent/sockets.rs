//! The UDP sockets of one suspect. DHT (BEP 5) and uTP (BEP 29) speak from one local port to all peers,
//! as servers do to all clients.

use crate::clock::Timestamp;

/// Sockets remembered; the longest unused makes room.
const SOCKETS: usize = 8;

/// One local UDP port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// The port; 0 for a free place.
    pub port: u16,
    /// New peers contacted from it.
    pub contacted: u16,
    /// External addresses that contacted it.
    pub clients: u16,
    /// Last use.
    last: Timestamp,
}

impl Socket {
    /// Notes a new peer contacted from it, and says how many there were before.
    pub const fn note_contacted(&mut self) -> u16 {
        let before = self.contacted;
        self.contacted = self.contacted.saturating_add(1);
        before
    }

    /// Notes an external address that contacted it.
    pub const fn note_client(&mut self) {
        self.clients = self.clients.saturating_add(1);
    }
}

/// The sockets used last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets([Socket; SOCKETS]);

impl Sockets {
    /// The socket of a local port, in use now.
    pub fn used(&mut self, port: u16, now: Timestamp) -> &mut Socket {
        let found = self.0.iter().position(|socket| socket.port == port);
        let at = found.unwrap_or_else(|| {
            let (oldest, _) =
                self.0.iter().enumerate().min_by_key(|(_, socket)| socket.last).expect("there are sockets");
            self.0[oldest] = Socket { port, ..Socket::default() };
            oldest
        });
        self.0[at].last = now;
        &mut self.0[at]
    }

    /// The socket of a local port, if remembered.
    #[must_use]
    pub fn get(&self, port: u16) -> Option<&Socket> {
        self.0.iter().find(|socket| socket.port == port && port != 0)
    }

    /// The socket that contacted the most new peers, if any did.
    #[must_use]
    pub fn busiest(&self) -> Option<&Socket> {
        self.0.iter().filter(|socket| socket.contacted > 0).max_by_key(|socket| socket.contacted)
    }
}
