//! Scans: one port of many hosts, many ports of one host, or ports and hosts at random.
//!
//! The threshold random walk of Jung et al. (*Fast portscan detection using sequential hypothesis
//! testing*, IEEE S&P 2004), kept not once by source but by what the contacts have in common: by port,
//! by target, and over all ports that are no service. The first two compare with a client of services
//! (four of five answer), the third with a torrent host (one of four answers), because torrents are the
//! classic false alarm of scan detectors. A first contact of a trifecta is by definition another host on
//! the same port, or another port of the same host, so that plain counts are counts of distinct targets.
//!
//! What is not a scan: UDP from a service's port (answers whose questions were not seen), the ports of
//! traceroute, groups and broadcast, and UDP services of clients where no UDP answer was ever seen (a
//! mirror of one direction).

mod report;
mod source;
mod tell;
mod walk;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use self::source::{Named, Rules, Source, Verdict};
use super::{
    Detector, Facts, Firing, Usage,
    ports::{self, Service},
    settings::Settings,
    sources::Sources,
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

/// Targets, or ports, that make a scan; a browser or a phone rarely fails at more in a row.
const TARGETS: u32 = 15;
/// A scan is over when its last contact is this old.
const HOLD_SECONDS: u32 = 180;
/// A source is forgotten when it opened nothing for this long.
const IDLE: Duration = Duration::from_mins(30);

/// The detector of kind `scan`.
#[derive(Debug)]
pub struct Scan {
    targets: u32,
    rules: Rules,
    sources: Sources<Source>,
    /// Sources with something open or suspicious.
    queue: IndexSet<IpAddr, RandomState>,
    orphans: Vec<IpAddr>,
    mirror: Mirror,
    trace: Trace,
}

/// What the mirror has shown to come back, for whomever.
#[derive(Clone, Copy, Debug, Default)]
struct Mirror {
    /// A TCP initiator went on, or its responder was seen: there are hosts that are answered.
    tcp_answered: bool,
    /// When UDP was last answered.
    udp_answered: Option<Timestamp>,
    /// RST or ICMP from a responder, which only the responder's direction shows.
    refused: bool,
}

impl Mirror {
    fn note(&mut self, response: &Response) {
        let answered = response.outcome == Outcome::Answered;
        let udp = response.trifecta.protocol == Protocol::UDP;
        if answered && udp {
            self.udp_answered = Some(response.time);
        }
        self.tcp_answered |= answered && !udp;
        self.refused |= !answered;
    }

    /// Whether UDP was answered of late: a mirror may lose a direction.
    fn answers_udp(self, now: Timestamp) -> bool {
        /// Hosts ask for names and the time more often.
        const MEMORY: Duration = Duration::from_hours(1);
        self.udp_answered.is_some_and(|answered| now.since(answered) <= MEMORY)
    }

    /// Whether silence of a UDP service that clients use means that it did not answer. It does not where
    /// TCP is answered and UDP never is: there the direction is missing. Where nothing at all is answered
    /// it is the hosts that are missing.
    fn shows_silence_of_clients(self, now: Timestamp) -> bool {
        self.answers_udp(now) || !self.tcp_answered
    }

    /// Whether both directions are there, so that TCP frames that nobody answers belong to no conversation.
    const fn is_two_way(self) -> bool {
        self.udp_answered.is_some() || self.refused
    }
}

impl Scan {
    /// What every source takes in bytes.
    pub const BYTES_PER_SOURCE: usize = Sources::<Source>::BYTES_PER_SOURCE;

    /// A detector that has seen nothing.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            targets: settings.sensitivity.scale(TARGETS),
            rules: Rules::new(settings.sensitivity),
            sources: Sources::new(settings.sources, IDLE),
            queue: IndexSet::default(),
            orphans: Vec::new(),
            mirror: Mirror::default(),
            trace: Trace::default(),
        }
    }

    fn contact(&mut self, contact: &Contact) {
        if contact.direction == Direction::Inbound {
            // Only what is followed is heard: a stranger must not fill the table.
            if let Some(state) = self.sources.get_mut(contact.trifecta.responder) {
                state.heard |= contact.opening == Opening::New;
            }
            return;
        }
        let source = contact.trifecta.initiator;
        if let Some(reason) = self.no_evidence(contact) {
            if self.trace.wants(source) {
                self.trace.record(tell::no_evidence(contact, reason));
            }
            return;
        }
        let (state, evicted) = self.sources.entry(source);
        if let Some((address, evicted)) = evicted {
            if evicted.queued {
                self.queue.swap_remove(&address);
            }
            if evicted.named.is_some() {
                self.orphans.push(address);
            }
        }
        state.last = contact.time;
        // Where the mirror shows no answers, or nothing that comes to this host, UDP to many peers is as
        // silent as a scan, and what a server sends to its clients looks like it.
        let silence_speaks = contact.trifecta.protocol != Protocol::UDP
            || (state.heard && self.mirror.answers_udp(contact.time));
        state.contact(&contact.trifecta, contact.time.seconds(), silence_speaks, &self.rules);
        if self.trace.wants(source) {
            self.trace.record(tell::contact(contact, state, &self.rules));
        }
        if !state.queued {
            state.queued = true;
            self.queue.insert(source);
        }
    }

    /// Why a contact is no evidence, if it is none.
    fn no_evidence(&self, contact: &Contact) -> Option<&'static str> {
        let trifecta = &contact.trifecta;
        if !contact.direction.from_local() || !ports::is_host(trifecta.responder) {
            return Some("not from a local host to one host");
        }
        if contact.opening == Opening::MidStream {
            // A conversation goes on in both directions; FIN, NULL, Xmas and ACK probes belong to none. From
            // a service's port it is a server, whose clients may come another way.
            if ports::service(contact.initiator_port).is_some() {
                return Some("under way, from a service's port");
            }
            return (!self.mirror.is_two_way())
                .then_some("under way, and the mirror has not shown both directions");
        }
        if trifecta.protocol != Protocol::UDP {
            return None;
        }
        let service = ports::service(trifecta.port);
        if ports::service(contact.initiator_port).is_some() && service.is_none() {
            return Some("UDP from a service's port: an answer whose question was not seen");
        }
        if service.is_some()
            && contact.initiator_port == trifecta.port
            && !self.mirror.answers_udp(contact.time)
        {
            return Some("UDP between one service's port, of whose answers the mirror shows none");
        }
        if service == Some(Service::Traceroute) {
            return Some("a port of traceroute");
        }
        let client = matches!(service, Some(Service::Web | Service::Names | Service::Time | Service::Call));
        (client && !self.mirror.shows_silence_of_clients(contact.time))
            .then_some("UDP to a service, of whose answers the mirror shows none")
    }

    fn response(&mut self, response: &Response) {
        self.mirror.note(response);
        let source = response.trifecta.initiator;
        if let Some(state) = self.sources.get_mut(source) {
            let before =
                self.trace.wants(source).then(|| tell::standing(state, &response.trifecta, &self.rules));
            // TCP is answered where its initiator goes on, of which the responder need not be seen.
            state.heard |=
                response.trifecta.protocol == Protocol::UDP || response.outcome != Outcome::Answered;
            state.outcome(&response.trifecta, response.time.seconds(), response.outcome, &self.rules);
            if let Some(before) = before {
                self.trace.record(tell::response(response, before, state, &self.rules));
            }
        }
    }

    /// The steps about a source.
    pub const fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// The latest contacts of a source, as far as they were evidence.
    pub fn latest(&self, source: IpAddr) -> impl Iterator<Item = (IpAddr, u16)> + '_ {
        self.sources.get(source).into_iter().flat_map(|state| state.sample.iter().flatten().copied())
    }

    /// Learns of the mirror what an allowed observation shows, and nothing of its source.
    pub fn overhear(&mut self, observation: &Observation) {
        if let Observation::Response(response) = observation {
            self.mirror.note(response);
        }
    }

    /// Looks at one source; whether it has to be looked at again.
    fn judge(
        &mut self,
        address: IpAddr,
        now: Timestamp,
        firing: &Firing,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let Some(source) = self.sources.get_mut(address) else {
            return false;
        };
        let before = self.trace.wants(address).then(|| source.verdicts(&self.rules).collect::<Vec<_>>());
        let open = source.settle(now.seconds(), &self.rules);
        if let Some(before) = before {
            tell::silence(&mut self.trace, &before, source.verdicts(&self.rules), now);
        }
        let torrent = firing.is(address, AlertKind::Torrent);
        let (mut verdict, mut last, mut highest) = (None::<Verdict>, 0, 0.0_f64);
        for one in source.verdicts(&self.rules) {
            highest = highest.max(one.score(self.targets));
            if one.is_scan(self.targets, torrent, &self.rules) {
                last = last.max(one.last);
                verdict = verdict.filter(|best| best.weight() > one.weight()).or(Some(one));
            }
        }
        let score =
            if verdict.is_some() || source.named.is_some() { highest.max(0.5) } else { highest.min(0.49) };
        source.score = single(score);
        if self.trace.wants(address) && source.named.is_none() {
            let verdicts = source.verdicts(&self.rules);
            tell::decision(
                &mut self.trace,
                verdicts,
                verdict.as_ref(),
                (self.targets, torrent, &self.rules),
                now,
            );
        }
        match (source.named, verdict) {
            (None, Some(verdict)) => {
                source.named = Some(Named { since: now, shape: verdict.shape, last });
                findings.push(report::named(address, &verdict, &source.sample, self.targets, score, now));
            }
            (Some(named), _) => {
                let last = named.last.max(last);
                source.named = Some(Named { last, ..named });
                if now.seconds().saturating_sub(last) > HOLD_SECONDS {
                    *source = Source { last: source.last, heard: source.heard, ..Source::default() };
                    findings.push(report::resolved(address, named.since, named.shape, now));
                }
            }
            (None, None) => {}
        }
        source.queued = open || source.named.is_some();
        source.queued
    }
}

impl Detector for Scan {
    fn kind(&self) -> AlertKind {
        AlertKind::Scan
    }

    fn observe(&mut self, observation: &Observation) {
        match observation {
            Observation::Contact(contact) => self.contact(contact),
            Observation::Response(response) => self.response(response),
        }
    }

    fn advance(&mut self, now: Timestamp, firing: &Firing, findings: &mut Vec<Finding>) {
        findings.extend(self.orphans.drain(..).map(|source| report::forgotten(source, now)));
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|source| self.judge(*source, now, firing, findings));
        self.queue = queue;
        self.sources.sweep(now);
    }

    fn close_interval(&mut self, _: &Interval, _: &Facts<'_>, _: &mut Vec<Finding>) {}

    fn score(&self, source: IpAddr) -> f64 {
        self.sources.get(source).map_or(0.0, |source| source.score.into())
    }

    fn usage(&self) -> Usage {
        self.sources.usage()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a score has few digits")]
const fn single(value: f64) -> f32 {
    value as f32
}
