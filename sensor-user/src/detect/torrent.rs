//! BitTorrent-like peer discovery, named from first contacts alone.
//!
//! The one event that carries nearly all the information is a first contact of a local host with an
//! external address that it had no business with before, on a high port that hardly any other of its
//! peers uses. Every such event is weighed by what is known of it (did it answer, which network, which
//! socket, over both protocols) and added to a leaky sum, a sequential test in the manner of Page and
//! Wald. When a sum passes its threshold, conditions on the peers of the window keep out what has the
//! same rate but another shape: scans, services on one port, one operator's servers, servers.
//!
//! Three sums see three things: bursts, trickles, and conversations that were under way before the
//! sensor saw them. docs/detection.md has the formulas, the source of every number, and the limits.
//!
//! Memory: a few words for every source, and candidates (about 14 KiB) only for sources that contacted a
//! rare port in the last ten minutes, from a pool.

mod ledger;
mod peers;
mod report;
mod sockets;
mod suspect;
mod view;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use self::{
    ledger::{Ledger, Source},
    peers::Weighing,
    suspect::{Named, Suspect, Test, WINDOW},
    view::{Circumstances, Condition, View},
};
use super::{
    Detector, Facts, Firing, Usage,
    cusum::score,
    ports::{self, Service},
    roles::{Because, Recognised, Role, Roles},
    settings::{Sensitivity, Settings},
    trace::Trace,
};
use crate::{
    alert::{AlertKind, Finding},
    clock::Timestamp,
    flow::Protocol,
    interval::Interval,
    networks::Direction,
    observation::{Contact, Observation, Opening, Outcome, Response},
};

/// A source stays named while this many peers count ...
const HOLD_PEERS: u32 = 4;
/// ... within this time; without them it is over.
const HOLD: Duration = Duration::from_mins(3);

/// The detector of kind `torrent`.
#[derive(Debug)]
pub struct Torrent {
    sensitivity: Sensitivity,
    ledger: Ledger,
    outbound_udp: OutboundUdp,
    roles: Roles,
    trace: Trace,
}

/// Whether the mirror shows what comes back: UDP that any local hosts sent out since any of it was answered.
#[derive(Clone, Copy, Debug, Default)]
struct OutboundUdp {
    opened: u32,
    answered: Option<Timestamp>,
}

impl OutboundUdp {
    fn note(&mut self, response: &Response) {
        if response.outcome == Outcome::Answered && response.trifecta.protocol == Protocol::UDP {
            *self = Self { opened: 0, answered: Some(response.time) };
        }
    }

    fn is_one_way(self, now: Timestamp) -> bool {
        /// With so many unanswered, of whatever kind, it is the mirror ...
        const CERTAIN: u32 = 30;
        /// ... unless an answer came within this time: hosts ask for names and the time more often.
        const MEMORY: Duration = Duration::from_hours(1);
        self.opened >= CERTAIN && self.answered.is_none_or(|answered| now.since(answered) > MEMORY)
    }
}

impl Torrent {
    /// What every source takes in bytes.
    pub const BYTES_PER_SOURCE: usize = Ledger::BYTES_PER_SOURCE;
    /// What every suspect takes in addition.
    pub const BYTES_PER_SUSPECT: usize = Ledger::BYTES_PER_SUSPECT;

    /// What a source takes in addition that has every role.
    pub const BYTES_OF_ROLES: usize = Roles::BYTES_PER_SOURCE;

    /// How many suspects it follows at most.
    #[must_use]
    pub const fn suspects(&self) -> usize {
        self.ledger.capacity()
    }

    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            sensitivity: settings.sensitivity,
            ledger: Ledger::new(settings),
            outbound_udp: OutboundUdp::default(),
            roles: Roles::default(),
            trace: Trace::default(),
        }
    }

    /// The steps about a source.
    pub const fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// An outbound conversation whose opening was seen.
    fn opened(&mut self, contact: &Contact) {
        let (now, trifecta) = (contact.time, contact.trifecta);
        let udp = trifecta.protocol == Protocol::UDP;
        let (second, local_port) = (now.seconds(), contact.initiator_port);
        self.outbound_udp.opened = self.outbound_udp.opened.saturating_add(u32::from(udp));
        let source = self.ledger.source(trifecta.initiator);
        source.last = now;
        // What comes from a port of STUN is what a relay answers.
        if udp && ports::service(local_port) == Some(Service::Call) {
            source.note_relay(second);
        }
        // What a privileged UDP port sends is an answer whose question was not seen; what a relay sends is
        // its service.
        let served = udp && (local_port < 1024 || source.relays(second));
        let service = ports::service(trifecta.port).or(served.then_some(Service::Other));
        // A client of a server may well come from a port of STUN.
        if service == Some(Service::Call) && udp && !served {
            source.note_stun(local_port, second);
        }
        if let Some(service) = service {
            if contact.new_peer {
                source.other.count(now, WINDOW);
                source.habits.count(service, second);
                self.popular_beside_rare(contact, udp);
            }
            return;
        }
        let damped = udp && (source.did_stun(local_port, second) || ports::service(local_port).is_some());
        if contact.new_peer {
            let Some(suspect) = self.ledger.accuse(trifecta.initiator) else { return };
            if suspect.new_peer(contact, damped, &mut self.trace) == Weighing::Popular {
                self.ledger.source(trifecta.initiator).habits.count_popular(trifecta.port, second);
            }
        } else if let Some(suspect) = self.ledger.suspect(trifecta.initiator) {
            suspect.known_peer(contact, &mut self.trace);
        }
    }

    /// A service's port contacted from a socket that also contacts rare ports is one of its ports.
    fn popular_beside_rare(&mut self, contact: &Contact, udp: bool) {
        if let Some(suspect) = self.ledger.suspect(contact.trifecta.initiator).filter(|_| udp)
            && suspect.sockets.get(contact.initiator_port).is_some_and(|socket| socket.contacted > 0)
        {
            suspect.note_popular(contact.time);
        }
    }

    /// A TCP conversation under way: which end opened it is an estimate that is not relied on.
    fn standing(&mut self, contact: &Contact) {
        let trifecta = contact.trifecta;
        let (source, peer, local_port, port) = match contact.direction {
            Direction::Outbound => {
                (trifecta.initiator, trifecta.responder, contact.initiator_port, trifecta.port)
            }
            Direction::Inbound => {
                (trifecta.responder, trifecta.initiator, trifecta.port, contact.initiator_port)
            }
            Direction::Internal | Direction::Transit => return,
        };
        if !ports::is_host(peer) {
            return;
        }
        let second = contact.time.seconds();
        let state = self.ledger.source(source);
        state.last = contact.time;
        if ports::service(local_port).or(ports::service(port)).is_some() {
            state.habits.count_standing(second);
            return;
        }
        if let Some(suspect) = self.ledger.accuse(source) {
            suspect.standing(contact, peer, (local_port, port), &mut self.trace);
        }
    }

    fn contact(&mut self, contact: &Contact) {
        let trifecta = &contact.trifecta;
        let transport = matches!(trifecta.protocol, Protocol::TCP | Protocol::UDP);
        match (contact.direction, contact.opening) {
            (Direction::Outbound, Opening::New) if transport && ports::is_host(trifecta.responder) => {
                self.opened(contact);
            }
            (Direction::Inbound, Opening::New) if trifecta.protocol == Protocol::UDP => {
                if let Some(suspect) = self.ledger.suspect(trifecta.responder) {
                    suspect.sockets.used(trifecta.port, contact.time).note_client();
                }
            }
            (_, Opening::MidStream) if trifecta.protocol == Protocol::TCP => self.standing(contact),
            (Direction::Internal, Opening::New) if ports::service(trifecta.port).is_some() => {
                let source = self.ledger.source(trifecta.initiator);
                source.last = contact.time;
                source.habits.count_polled(contact.time.seconds());
            }
            _ => {}
        }
    }

    fn response(&mut self, response: &Response) {
        if response.direction != Direction::Outbound {
            self.served(response);
            return;
        }
        let (initiator, peer, port) =
            (response.trifecta.initiator, response.trifecta.responder, response.trifecta.port);
        self.outbound_udp.note(response);
        if let Some(suspect) = self.ledger.suspect(initiator) {
            suspect.outcome(response.time, peer, port, response.outcome, &mut self.trace);
        }
    }

    /// Learns of the mirror what an allowed observation shows, and nothing of its source.
    pub fn overhear(&mut self, observation: &Observation) {
        if let Observation::Response(response) = observation
            && response.direction == Direction::Outbound
        {
            self.outbound_udp.note(response);
        }
    }

    /// A local host answered a client.
    fn served(&mut self, response: &Response) {
        let Response { time, trifecta, direction, outcome, .. } = *response;
        if direction == Direction::Transit || outcome != Outcome::Answered {
            return;
        }
        let server = self.ledger.source(trifecta.responder);
        server.last = time;
        server.habits.count_client(trifecta.port, time.seconds());
        if ports::service(trifecta.port) == Some(Service::Call) {
            server.note_relay(time.seconds());
        }
        if direction == Direction::Internal && ports::service(trifecta.port).is_some() {
            let client = self.ledger.source(trifecta.initiator);
            client.habits.count_polled_answer(time.seconds());
        }
    }

    /// The roles of a source as of the last interval.
    #[must_use]
    pub fn roles(&self, source: IpAddr) -> &[Recognised] {
        self.roles.of(source)
    }
}

impl Detector for Torrent {
    fn kind(&self) -> AlertKind {
        AlertKind::Torrent
    }

    fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Contact(contact) => self.contact(contact),
            Observation::Response(response) => self.response(response),
        }
    }

    fn advance(&mut self, now: Timestamp, firing: &Firing, findings: &mut Vec<Finding>) {
        findings.extend(self.ledger.take_orphans().map(|source| report::forgotten(source, now)));
        let Self { sensitivity, ledger, outbound_udp, roles, trace } = self;
        ledger.each_suspect(|suspect, source| {
            suspect.settle(now, trace);
            suspect.busy = source.busy(now);
            let around = Circumstances {
                sensitivity: *sensitivity,
                rare_share: suspect.rare_share(now),
                one_way: outbound_udp.is_one_way(now),
                socket: suspect.sockets.busiest().map_or((0, 0), |socket| (socket.clients, socket.contacted)),
                scanner: firing.is(suspect.source, AlertKind::Scan),
            };
            decide(suspect, source, around, now, roles, findings, trace);
            !suspect.is_stale(now)
        });
        ledger.sweep(now);
    }

    fn close_interval(&mut self, interval: &Interval, facts: &Facts<'_>, _: &mut Vec<Finding>) {
        let Self { ledger, roles, .. } = self;
        let found = interval.sources.iter().filter_map(|of| {
            let scanner = facts.firing.is(of.source, AlertKind::Scan);
            Some((of.source, roles_of(ledger.known(of.source)?, scanner, interval.end)))
        });
        roles.recognise(found, interval.end);
    }

    fn score(&self, source: IpAddr) -> f64 {
        self.ledger.peek(source).map_or(0.0, |suspect| suspect.score)
    }

    fn usage(&self) -> Usage {
        let usage = self.ledger.usage();
        Usage { bytes: usage.bytes + self.roles.bytes(), ..usage }
    }
}

/// Names a suspect, or ceases to, or leaves it as it is.
fn decide(
    suspect: &mut Suspect,
    source: &Source,
    around: Circumstances,
    now: Timestamp,
    roles: &Roles,
    findings: &mut Vec<Finding>,
    trace: &mut Trace,
) {
    let factor = around.sensitivity.factor() * suspect.busy;
    let sums = Test::ALL.map(|test| suspect.sums[test as usize].cusum.value());
    let highest = Test::ALL.map(|test| score(sums[test as usize], test.threshold() * factor));
    let highest = highest.into_iter().fold(0.0, f64::max);
    if let Some(named) = suspect.named {
        let held = View::of(&suspect.peers, now.minus(HOLD), now, |_| true);
        suspect.score = highest.max(0.5);
        if held.peers < HOLD_PEERS && now.since(named.since) >= HOLD {
            findings.push(report::resolved(suspect, named, &held, now));
            suspect.acquit();
            suspect.score = 0.0;
        }
        return;
    }
    // What the sums still hold when nothing happens any more is no news: it had its decision.
    let Some(latest) = suspect.undecided else {
        suspect.score = highest.min(0.49);
        return;
    };
    if now.since(latest) >= view::RIPE {
        suspect.undecided = None;
    }
    suspect.barred = None;
    let mut verdict = None;
    for test in Test::ALL {
        let threshold = test.threshold() * factor;
        if sums[test as usize] < threshold {
            continue;
        }
        let (view, conditions) = look(suspect, source, test, around, now);
        match conditions.iter().find(|condition| !condition.met) {
            None => {
                verdict = Some((test, threshold, view, conditions));
                break;
            }
            Some(failed) => suspect.barred = suspect.barred.or(Some(failed.name)),
        }
    }
    // Below one half as long as a condition bars it: the score and the alert never contradict.
    suspect.score = if verdict.is_some() { highest } else { highest.min(0.49) };
    if trace.wants(suspect.source) && (verdict.is_some() || suspect.barred.is_some()) {
        trace.record(report::decision(suspect, verdict.as_ref().map(|(test, ..)| *test), now));
    }
    if let Some((test, threshold, view, conditions)) = verdict {
        suspect.named = Some(Named { since: now, test });
        let roles = roles.since(suspect.source, roles_of(source, around.scanner, now), now);
        findings.push(report::named(suspect, &roles, test, threshold, &view, &conditions, now));
    }
}

/// What a source is. A scan of one port looks like peers on one port, and is none.
fn roles_of(source: &Source, scanner: bool, now: Timestamp) -> Vec<(Role, Because)> {
    let mut roles = source.habits.roles(now.seconds(), source.calls(now.seconds()));
    roles.retain(|(role, _)| *role != Role::FixedPortPeer || !scanner);
    roles
}

fn look(
    suspect: &Suspect,
    source: &Source,
    test: Test,
    mut around: Circumstances,
    now: Timestamp,
) -> (View, Vec<Condition>) {
    let since = now.minus(test.window());
    if test == Test::Standing {
        let view = View::of(&suspect.peers, since, now, view::standing);
        let services = f64::from(source.habits.standing());
        around.rare_share = f64::from(view.peers) / (f64::from(view.peers) + services).max(1.0);
        return (view, view::standing_conditions(&view, &around));
    }
    let view = View::of(&suspect.peers, since, now, view::opened);
    (view, view::conditions(&view, &around))
}
