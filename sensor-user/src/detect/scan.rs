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
mod tell;
mod walk;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use self::walk::{Rule, Tally, Walk};
use super::{
    Detector, Facts, Firing, Usage,
    cusum::{Odds, score},
    ports::{self, Service},
    settings::{Sensitivity, Settings},
    sources::{Sources, Tracked},
    trace::Trace,
};
use crate::{
    alert::{AlertKind, Finding},
    clock::Timestamp,
    flow::Protocol,
    interval::Interval,
    networks::Direction,
    observation::{Contact, Observation, Opening, Outcome, Response, Trifecta},
};

/// Targets, or ports, that make a scan; a browser or a phone rarely fails at more in a row.
const TARGETS: u32 = 15;
/// Wald's error probabilities, those of Jung et al.
const FALSE_ALARM: f64 = 0.01;
const DETECTION: f64 = 0.99;
/// The leak takes one failure back in this time: slower scans are not seen.
const SLOWEST_SECONDS: f64 = 60.0;
/// A scan is over when its last contact is this old.
const HOLD_SECONDS: u32 = 180;
/// A source is forgotten when it opened nothing for this long.
const IDLE: Duration = Duration::from_mins(30);
/// Ports and targets followed by source; the one with the least suspicion makes room.
const PORTS: usize = 6;
const TARGETS_FOLLOWED: usize = 3;
/// Contacts kept by source as a sample.
const SAMPLE: usize = 5;

/// The three shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One port of many hosts.
    Horizontal,
    /// Many ports of one host.
    Vertical,
    /// Anything else that nothing answers.
    Random,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Horizontal => "horizontal",
            Self::Vertical => "vertical",
            Self::Random => "random",
        }
    }
}

/// How contacts are judged that services answer, and those that only peers would.
#[derive(Clone, Copy, Debug)]
struct Rules {
    service: Rule,
    peer: Rule,
}

impl Rules {
    fn new(sensitivity: Sensitivity) -> Self {
        let rule = |benign, suspect, most_answered| {
            let odds = Odds::new(benign, suspect);
            Rule {
                odds,
                threshold: Odds::threshold(FALSE_ALARM, DETECTION) * sensitivity.factor(),
                leak: odds.failure / SLOWEST_SECONDS,
                most_answered,
            }
        };
        // Of a service four in five answer, to a scan one in five (Jung et al.). Of the first contacts
        // of torrent hosts 28 to 68 in a hundred were answered, of random scans at most 2.
        Self { service: rule(0.8, 0.2, 0.4), peer: rule(0.25, 0.01, 0.06) }
    }

    fn of_port(&self, port: u16) -> &Rule {
        match ports::service(port) {
            None | Some(Service::Blockchain | Service::Delivery | Service::Tor | Service::Tunnel) => {
                &self.peer
            }
            Some(_) => &self.service,
        }
    }
}

/// The contacts with one port, over TCP and UDP together: a browser whose QUIC is blocked fails at one
/// and succeeds at the other.
#[derive(Clone, Copy, Debug, Default)]
struct PortWalk {
    port: u16,
    walk: Walk,
}

/// The contacts with one host.
#[derive(Clone, Copy, Debug, Default)]
struct TargetWalk {
    target: Option<IpAddr>,
    walk: Walk,
}

/// What a source is named for.
#[derive(Clone, Copy, Debug)]
struct Named {
    since: Timestamp,
    shape: Shape,
    /// Second of the last contact of a decided walk.
    last: u32,
}

/// What is kept of every source.
#[derive(Debug, Default)]
struct Source {
    last: Timestamp,
    ports: [PortWalk; PORTS],
    targets: [TargetWalk; TARGETS_FOLLOWED],
    random: Walk,
    sample: [Option<(IpAddr, u16)>; SAMPLE],
    sampled: u8,
    /// Whether anything was ever seen to come to it: its silence is no fault of the mirror.
    heard: bool,
    /// Whether it waits in the list of sources to look at.
    queued: bool,
    named: Option<Named>,
    score: f32,
}

impl Tracked for Source {
    fn last_seen(&self) -> Timestamp {
        self.last
    }

    fn pinned(&self) -> bool {
        self.named.is_some()
    }
}

impl Source {
    /// The walk of a port, in the place of the least suspicious if it has none yet.
    fn port(&mut self, port: u16) -> &mut Walk {
        let at = self.ports.iter().position(|one| one.port == port).unwrap_or_else(|| {
            let at = least_suspicious(self.ports.iter().map(|one| &one.walk));
            self.ports[at] = PortWalk { port, walk: Walk::default() };
            at
        });
        &mut self.ports[at].walk
    }

    /// The walk of a target, likewise.
    fn target(&mut self, target: IpAddr) -> &mut Walk {
        let at = self.targets.iter().position(|one| one.target == Some(target)).unwrap_or_else(|| {
            let at = least_suspicious(self.targets.iter().map(|one| &one.walk));
            self.targets[at] = TargetWalk { target: Some(target), walk: Walk::default() };
            at
        });
        &mut self.targets[at].walk
    }

    fn contact(&mut self, trifecta: &Trifecta, second: u32, silence_speaks: bool, rules: &Rules) {
        let port = trifecta.port;
        self.port(port).contact(second, rules.of_port(port));
        self.target(trifecta.responder).contact(second, &rules.service);
        if ports::service(port).is_none() && silence_speaks {
            self.random.contact(second, &rules.peer);
        }
        self.sample[usize::from(self.sampled) % SAMPLE] = Some((trifecta.responder, port));
        self.sampled = self.sampled.wrapping_add(1);
    }

    fn outcome(&mut self, trifecta: &Trifecta, second: u32, outcome: Outcome, rules: &Rules) {
        let port = trifecta.port;
        if let Some(one) = self.ports.iter_mut().find(|one| one.port == port) {
            one.walk.outcome(second, outcome, rules.of_port(port));
        }
        if let Some(one) = self.targets.iter_mut().find(|one| one.target == Some(trifecta.responder)) {
            one.walk.outcome(second, outcome, &rules.service);
        }
        if ports::service(port).is_none() {
            self.random.outcome(second, outcome, &rules.peer);
        }
    }

    /// Moves all walks to `second`; whether any may still change by itself.
    fn settle(&mut self, second: u32, rules: &Rules) -> bool {
        let mut open = false;
        for one in &mut self.ports {
            one.walk.settle(second, rules.of_port(one.port));
            open |= !one.walk.is_empty();
        }
        for one in &mut self.targets {
            one.walk.settle(second, &rules.service);
            open |= !one.walk.is_empty();
        }
        self.random.settle(second, &rules.peer);
        open | !self.random.is_empty()
    }

    /// Every walk as of now, with what its contacts have in common.
    fn verdicts(&self, rules: &Rules) -> impl Iterator<Item = Verdict> {
        let verdict = |shape, walk: &Walk, rule: &Rule, port, target| Verdict {
            shape,
            tally: walk.tally(rule),
            onset: walk.onset,
            last: walk.last,
            rule: *rule,
            port,
            target,
        };
        let ports = self.ports.iter().map(move |one| {
            verdict(Shape::Horizontal, &one.walk, rules.of_port(one.port), Some(one.port), None)
        });
        let targets = self
            .targets
            .iter()
            .map(move |one| verdict(Shape::Vertical, &one.walk, &rules.service, None, one.target));
        let random = verdict(Shape::Random, &self.random, &rules.peer, None, None);
        ports.chain(targets).chain([random])
    }
}

fn least_suspicious<'a>(walks: impl Iterator<Item = &'a Walk>) -> usize {
    let least =
        walks.enumerate().min_by(|(_, a), (_, b)| a.sum().total_cmp(&b.sum()).then(a.last.cmp(&b.last)));
    least.map_or(0, |(at, _)| at)
}

/// One walk as it stands.
#[derive(Clone, Copy, Debug)]
struct Verdict {
    shape: Shape,
    tally: Tally,
    onset: u32,
    last: u32,
    rule: Rule,
    port: Option<u16>,
    target: Option<IpAddr>,
}

impl Verdict {
    /// The shapes that say what the contacts have in common go before the one that does not.
    fn weight(&self) -> (bool, u32) {
        (self.shape != Shape::Random, self.tally.decided())
    }

    /// Whether it is decided. A torrent host explains by itself that most do not answer, so that it takes
    /// next to no answers at all to be called a scanner as well.
    fn is_scan(&self, targets: u32, torrent: bool, rules: &Rules) -> bool {
        let most = if torrent { rules.peer.most_answered } else { self.rule.most_answered };
        self.tally.is_scan(targets, &Rule { most_answered: most, ..self.rule })
            && !(torrent && self.shape == Shape::Random)
    }

    /// 0 to 1; below one half as long as there are too few targets.
    fn score(&self, targets: u32) -> f64 {
        let enough = (f64::from(self.tally.decided()) / f64::from(targets)).min(1.0);
        score(self.tally.sum, self.rule.threshold) * enough
    }
}

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
        // Where the mirror shows no answers, or nothing that comes to this host, UDP to many peers is as silent as a
        // scan, and what a server sends to its clients looks like it.
        let silence_speaks = contact.trifecta.protocol != Protocol::UDP
            || (state.heard && self.mirror.answers_udp(contact.time));
        state.contact(&contact.trifecta, seconds(contact.time), silence_speaks, &self.rules);
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
            state.outcome(&response.trifecta, seconds(response.time), response.outcome, &self.rules);
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
        let open = source.settle(seconds(now), &self.rules);
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
                if seconds(now).saturating_sub(last) > HOLD_SECONDS {
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

#[expect(clippy::cast_possible_truncation, reason = "seconds fit until 2106")]
const fn seconds(time: Timestamp) -> u32 {
    (time.0 / 1_000_000_000) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "a score has few digits")]
const fn single(value: f64) -> f32 {
    value as f32
}
