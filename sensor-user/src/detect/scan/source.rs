//! What is kept of every source: its walks, by port, by target and at random, and what they come to.

use std::net::IpAddr;

use super::walk::{Rule, Tally, Walk};
use crate::{
    clock::Timestamp,
    detect::{
        cusum::{Odds, score},
        ports::{self, Service},
        settings::Sensitivity,
        sources::Tracked,
    },
    observation::{Outcome, Trifecta},
};

/// Wald's error probabilities, those of Jung et al.
const FALSE_ALARM: f64 = 0.01;
const DETECTION: f64 = 0.99;
/// The leak takes one failure back in this time: slower scans are not seen.
const SLOWEST_SECONDS: f64 = 60.0;
/// Ports and targets followed by source; the one with the least suspicion makes room.
const PORTS: usize = 6;
const TARGETS_FOLLOWED: usize = 3;
/// Contacts kept by source as a sample.
pub const SAMPLE: usize = 5;

/// The three shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One port of many hosts.
    Horizontal,
    /// Many ports of one host.
    Vertical,
    /// Anything else that nothing answers.
    Random,
}

impl Shape {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Horizontal => "horizontal",
            Self::Vertical => "vertical",
            Self::Random => "random",
        }
    }
}

/// How contacts are judged that services answer, and those that only peers would.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub service: Rule,
    pub peer: Rule,
}

impl Rules {
    pub fn new(sensitivity: Sensitivity) -> Self {
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

    pub fn of_port(&self, port: u16) -> &Rule {
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
pub struct PortWalk {
    pub port: u16,
    pub walk: Walk,
}

/// The contacts with one host.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetWalk {
    pub target: Option<IpAddr>,
    pub walk: Walk,
}

/// What a source is named for.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    pub since: Timestamp,
    pub shape: Shape,
    /// Second of the last contact of a decided walk.
    pub last: u32,
}

/// What is kept of every source.
#[derive(Debug, Default)]
pub struct Source {
    pub last: Timestamp,
    pub ports: [PortWalk; PORTS],
    pub targets: [TargetWalk; TARGETS_FOLLOWED],
    pub random: Walk,
    pub sample: [Option<(IpAddr, u16)>; SAMPLE],
    pub sampled: u8,
    /// Whether anything was ever seen to come to it: its silence is no fault of the mirror.
    pub heard: bool,
    /// Whether it waits in the list of sources to look at.
    pub queued: bool,
    pub named: Option<Named>,
    pub score: f32,
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

    pub fn contact(&mut self, trifecta: &Trifecta, second: u32, silence_speaks: bool, rules: &Rules) {
        let port = trifecta.port;
        self.port(port).contact(second, rules.of_port(port));
        self.target(trifecta.responder).contact(second, &rules.service);
        if ports::service(port).is_none() && silence_speaks {
            self.random.contact(second, &rules.peer);
        }
        self.sample[usize::from(self.sampled) % SAMPLE] = Some((trifecta.responder, port));
        self.sampled = self.sampled.wrapping_add(1);
    }

    pub fn outcome(&mut self, trifecta: &Trifecta, second: u32, outcome: Outcome, rules: &Rules) {
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
    pub fn settle(&mut self, second: u32, rules: &Rules) -> bool {
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
    pub fn verdicts(&self, rules: &Rules) -> impl Iterator<Item = Verdict> {
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
pub struct Verdict {
    pub shape: Shape,
    pub tally: Tally,
    pub onset: u32,
    pub last: u32,
    pub rule: Rule,
    pub port: Option<u16>,
    pub target: Option<IpAddr>,
}

impl Verdict {
    /// The shapes that say what the contacts have in common go before the one that does not.
    pub fn weight(&self) -> (bool, u32) {
        (self.shape != Shape::Random, self.tally.decided())
    }

    /// Whether it is decided. A torrent host explains by itself that most do not answer, so that it takes
    /// next to no answers at all to be called a scanner as well.
    pub fn is_scan(&self, targets: u32, torrent: bool, rules: &Rules) -> bool {
        let most = if torrent { rules.peer.most_answered } else { self.rule.most_answered };
        self.tally.is_scan(targets, &Rule { most_answered: most, ..self.rule })
            && !(torrent && self.shape == Shape::Random)
    }

    /// 0 to 1; below one half as long as there are too few targets.
    pub fn score(&self, targets: u32) -> f64 {
        let enough = (f64::from(self.tally.decided()) / f64::from(targets)).min(1.0);
        score(self.tally.sum, self.rule.threshold) * enough
    }
}
