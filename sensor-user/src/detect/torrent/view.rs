//! What the candidates of a window have in common, and the conditions that an alert must meet.

use super::peers::{Answer, CANDIDATES, Candidate, Peers, Weighing};
use crate::{
    clock::Timestamp,
    detect::{ports, settings::Sensitivity},
    flow::Protocol,
};

/// A contact this old has had its chance of a first answer: few round trips on the Internet take longer.
pub const RIPE: std::time::Duration = std::time::Duration::from_millis(500);

/// Standard deviations of the bound on the share of answers: nine in ten, one-sided.
const CONFIDENCE: f64 = 1.28;

/// UDP alone, to no port that is usual with BitTorrent, is also what calls and games look like: a dozen
/// partners, each with an address of both families, and no more.
const CALL_PARTNERS: u32 = 24;

/// So many peers on ports usual with BitTorrent, and one in so many, are no chance: of thirty on ports at
/// random two are in one case of twenty thousand, of a hundred four in fewer still.
const USUAL: (u32, u32) = (2, 25);

/// With so many peers tried over TCP, UDP is not alone.
const OTHER_THAN_UDP: f64 = 2.0;

/// So many contacts must have had it before answers are judged.
const DUE: u32 = 5;

/// The candidates that count in one window, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Peers.
    pub peers: u32,
    /// Trifectas with them.
    pub trifectas: u32,
    /// Distinct ports of them.
    pub ports: u32,
    /// Distinct networks of them.
    pub networks: u32,
    /// Peers first contacted over UDP.
    pub udp: u32,
    /// Peers tried over both TCP and UDP.
    pub both_protocols: u32,
    /// Peers on ports that are usual with BitTorrent.
    pub usual: u32,
    /// Peers contacted half a second or more ago.
    pub ripe: u32,
    /// Of the ripe ones, those that answered.
    pub answered: u32,
    /// Of the ripe ones, those first contacted over TCP, and those of them that answered.
    pub tcp: (u32, u32),
    /// Of the ripe ones, those that refused.
    pub refused: u32,
    /// Of the ripe ones, those that an ICMP error spoke of.
    pub unreachable: u32,
    /// First contact of the oldest.
    pub since: Timestamp,
}

impl View {
    /// Of all candidates that are `wanted` and not older than `since`.
    pub fn of(peers: &Peers, since: Timestamp, now: Timestamp, wanted: impl Fn(&Candidate) -> bool) -> Self {
        let mut view = Self { since: now, ..Self::default() };
        let (mut ports, mut networks) = ([0u16; CANDIDATES], [0u64; CANDIDATES]);
        for candidate in peers.iter().filter(|one| one.counts() && one.time >= since && wanted(one)) {
            let at = view.peers as usize;
            ports[at] = candidate.port;
            networks[at] = ports::network(candidate.peer);
            view.add(candidate, now);
        }
        view.ports = distinct(&mut ports[..view.peers as usize]);
        view.networks = distinct(&mut networks[..view.peers as usize]);
        view
    }

    fn add(&mut self, candidate: &Candidate, now: Timestamp) {
        self.peers += 1;
        self.trifectas += u32::from(candidate.trifectas);
        self.udp += u32::from(candidate.protocol == Protocol::UDP);
        self.both_protocols += u32::from(candidate.both_protocols);
        self.usual += u32::from(ports::is_bittorrents(candidate.port));
        self.since = self.since.min(candidate.time);
        if now.since(candidate.time) >= RIPE {
            self.ripe += 1;
            let answered = matches!(candidate.answer, Answer::Answered | Answer::Standing);
            if candidate.protocol == Protocol::TCP {
                self.tcp.0 += 1;
                self.tcp.1 += u32::from(answered);
            }
            match candidate.answer {
                Answer::Answered | Answer::Standing => self.answered += 1,
                Answer::Refused => self.refused += 1,
                Answer::Unreachable => self.unreachable += 1,
                Answer::Pending | Answer::Silent => {}
            }
        }
    }

    /// Share of the ripe peers that answered; none without one.
    #[must_use]
    pub fn answered_share(&self) -> Option<f64> {
        (self.ripe > 0).then(|| f64::from(self.answered) / f64::from(self.ripe))
    }

    /// Peers tried over TCP, by itself or beside UDP.
    const fn over_tcp(&self) -> u32 {
        self.peers - self.udp + self.both_protocols
    }

    /// Whether peers are on ports usual with BitTorrent by more than chance.
    const fn has_usual_ports(&self) -> bool {
        let (least, one_in) = USUAL;
        self.usual >= least && self.usual * one_in >= self.peers
    }

    fn per_peer(&self, count: u32) -> f64 {
        if self.peers == 0 { 0.0 } else { f64::from(count) / f64::from(self.peers) }
    }
}

fn distinct<T: Ord + Copy>(values: &mut [T]) -> u32 {
    values.sort_unstable();
    let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    u32::try_from(changes + usize::from(!values.is_empty())).expect("a window is small")
}

/// One condition, as it stood when looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// What it keeps out, by name.
    pub name: &'static str,
    /// The measured value.
    pub value: f64,
    /// What the value is held against.
    pub limit: f64,
    /// Whether it is met.
    pub met: bool,
}

impl Condition {
    fn at_least(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit, met: value >= limit }
    }

    fn at_most(name: &'static str, value: f64, limit: f64) -> Self {
        Self { name, value, limit, met: value <= limit }
    }
}

/// What the conditions need to know beside the window.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    /// How much evidence is wanted.
    pub sensitivity: Sensitivity,
    /// Share of the peers on high ports whose port is rare with this source, 0 to 1.
    pub rare_share: f64,
    /// Whether the mirror seems to show one direction only, so that UDP without an answer says nothing.
    pub one_way: bool,
    /// External clients of the UDP socket that contacted the most peers, and how many it contacted.
    pub socket: (u16, u16),
    /// Whether the source is named a scanner.
    pub scanner: bool,
}

/// The conditions for opened conversations. The limits are one third to two thirds of what the measured
/// torrent hosts show (see docs/detection.md).
#[must_use]
pub fn conditions(view: &View, around: &Circumstances) -> Vec<Condition> {
    let mut list = shape(view, around);
    list.push(Condition::at_least("web or fixed-port client", around.rare_share, 0.6));
    let (ripe, answers) = if around.one_way { view.tcp } else { (view.ripe, view.answered) };
    let answered = f64::from(answers) / f64::from(ripe.max(1));
    if around.one_way && ripe < DUE {
        // TCP shows by its own second segment that it was answered, UDP shows nothing. UDP to many is
        // still unlike a scan.
        list.push(Condition::at_least("too few peers (one-way mirror)", f64::from(view.peers), 30.0));
        list.push(Condition::at_least("scan (one-way mirror)", view.per_peer(view.udp), 0.5));
        // What a server sends to its clients looks just like that where their requests are not seen.
        let usual = if view.has_usual_ports() { view.usual } else { 0 };
        let no_client = f64::from(view.over_tcp().max(usual));
        list.push(Condition::at_least("UDP server (one-way mirror)", no_client, OTHER_THAN_UDP));
        return list;
    }
    if f64::from(view.over_tcp()) < OTHER_THAN_UDP && view.both_protocols + view.usual == 0 {
        let least = around.sensitivity.scale(CALL_PARTNERS);
        list.push(Condition::at_least("call or game", f64::from(view.peers), f64::from(least)));
    }
    list.push(Condition::at_least("answers still due", f64::from(ripe), f64::from(DUE)));
    list.push(Condition::at_least("scan", answered, f64::max(0.06, 2.0 / f64::from(ripe.max(2)))));
    // The nodes of a DHT that others named are alive, and may nearly all answer; services have no such ports.
    if !view.has_usual_ports() {
        list.push(Condition::at_most("service where all answer", most_answering(answers, ripe), 0.9));
    }
    let (clients, contacted) = around.socket;
    if clients >= 10 && 2 * clients >= contacted {
        list.push(Condition::at_most("server", most_answering(answers, ripe), 0.8));
    }
    if around.scanner {
        list.push(Condition::at_least("named scanner", answered, 0.12));
    }
    list
}

/// The largest share of answering peers that `answers` of `ripe` leave likely: the upper end of Wilson's
/// interval (*Probable inference*, JASA 1927), which few peers move towards 1 and many towards what was seen.
fn most_answering(answers: u32, ripe: u32) -> f64 {
    let (count, square) = (f64::from(ripe.max(1)), CONFIDENCE * CONFIDENCE);
    let share = f64::from(answers) / count;
    let spread = (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
    (share + square / (2.0 * count) + CONFIDENCE * spread) / (1.0 + square / count)
}

/// The conditions for conversations under way, where no answer can be told from none.
#[must_use]
pub fn standing_conditions(view: &View, around: &Circumstances) -> Vec<Condition> {
    let mut list = shape(view, around);
    list.push(Condition::at_least("web client or gateway", around.rare_share, 0.5));
    list
}

fn shape(view: &View, around: &Circumstances) -> Vec<Condition> {
    vec![
        Condition::at_least("too few peers", f64::from(view.peers), f64::from(around.sensitivity.scale(8))),
        Condition::at_least("fixed port", view.per_peer(view.ports), 0.5),
        Condition::at_least("one operator", view.per_peer(view.networks), 0.4),
    ]
}

/// Whether a candidate was opened under the sensor's eyes.
#[must_use]
pub fn opened(candidate: &Candidate) -> bool {
    candidate.opened()
}

/// Whether a candidate was under way when first seen.
#[must_use]
pub fn standing(candidate: &Candidate) -> bool {
    !candidate.opened() && candidate.weighing == Weighing::Counted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: the largest share p for which what was seen lies within so many standard deviations of
    /// p.
    fn slowly(answers: u32, ripe: u32) -> f64 {
        let share = f64::from(answers) / f64::from(ripe);
        let likely = |p: f64| (p - share).powi(2) <= CONFIDENCE.powi(2) * p * (1.0 - p) / f64::from(ripe);
        let (mut low, mut high) = (share, 1.0);
        for _ in 0..80 {
            let middle = f64::midpoint(low, high);
            if likely(middle) { low = middle } else { high = middle }
        }
        low
    }

    #[test]
    fn nothing_seen_leaves_anything_likely() {
        assert!(most_answering(0, 0) > 0.6 && most_answering(0, 0) <= 1.0);
    }

    #[test]
    fn the_documented_numbers_of_silent_peers_are_asked_for() {
        for (peers, silent) in [(8, 2), (15, 3), (240, 30)] {
            assert!(most_answering(peers - silent, peers) <= 0.9, "{silent} of {peers}");
            assert!(most_answering(peers - silent + 1, peers) > 0.9, "{} of {peers}", silent - 1);
        }
    }

    proptest! {
        #[test]
        fn the_bound_is_the_upper_end_of_wilsons_interval(ripe in 1u32..2_000, answers in 0u32..2_000) {
            let answers = answers.min(ripe);
            let (bound, slow) = (most_answering(answers, ripe), slowly(answers, ripe));
            prop_assert!((bound - slow).abs() < 1e-9, "{answers} of {ripe}: {bound} is not {slow}");
            let share = f64::from(answers) / f64::from(ripe);
            prop_assert!((share - 1e-12..=1.0 + 1e-12).contains(&bound), "{bound}");
        }

        #[test]
        fn the_bound_falls_with_every_silent_peer_and_with_more_of_the_same(
            (answers, ripe) in (2u32..500).prop_flat_map(|ripe| (0..ripe, Just(ripe))),
        ) {
            prop_assert!(most_answering(answers, ripe) < most_answering(answers + 1, ripe));
            prop_assert!(most_answering(2 * answers, 2 * ripe) < most_answering(answers, ripe));
        }
    }
}
