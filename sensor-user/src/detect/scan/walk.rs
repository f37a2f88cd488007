//! One random walk: the outcomes of first contacts that have something in common, counted against two
//! hypotheses.
//!
//! Silence is an outcome that nothing reports, and it is known later than the others. A walk that took
//! each outcome when it is known would be ahead with the answers and behind with the failures, and
//! reflected at zero it would forget the answers. So contacts are kept by the second, as counts: what
//! became of a second is taken all at once when its last contact has had its time. No contact is
//! remembered by itself, so that a scanner at any speed costs the same.

use crate::{detect::cusum::Odds, observation::Outcome};

/// Seconds that a contact has for its outcome; 3 to 4, as the seconds fall.
const SECONDS: usize = 4;

/// How a walk is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What failures and successes add.
    pub odds: Odds,
    /// The walk at which the suspicion is decided.
    pub threshold: f64,
    /// Lost per second: scans that are slower than one failure per `odds.failure / leak` seconds are not
    /// seen.
    pub leak: f64,
    /// The largest share of answers that still looks like a scan.
    pub most_answered: f64,
}

/// The contacts of one second that have not had their time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recent {
    open: u16,
    answered: u16,
    refused: u16,
}

/// What is known of the contacts since the walk last was at zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// The sum of the likelihood ratios.
    pub sum: f64,
    /// Contacts that failed.
    pub failed: u32,
    /// Of these, those refused by RST or ICMP.
    pub refused: u32,
    /// Contacts that were answered.
    pub answered: u32,
}

impl Tally {
    /// Contacts with an outcome.
    #[must_use]
    pub const fn decided(&self) -> u32 {
        self.failed + self.answered
    }

    /// Share of the decided contacts that were answered; 0 without one.
    #[must_use]
    pub fn answered_share(&self) -> f64 {
        f64::from(self.answered) / f64::from(self.decided().max(1))
    }

    /// Whether the suspicion is decided, for at least `targets` of which most failed.
    #[must_use]
    pub fn is_scan(&self, targets: u32, rule: &Rule) -> bool {
        self.decided() >= targets && self.sum >= rule.threshold && self.answered_share() <= rule.most_answered
    }
}

/// The walk.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Walk {
    /// The sum of the likelihood ratios of what had its time, 0 or more.
    sum: f32,
    failed: u32,
    refused: u32,
    answered: u32,
    recent: [Recent; SECONDS],
    /// Second of the first contact since the walk was at zero.
    pub onset: u32,
    /// Second of the last contact.
    pub last: u32,
    /// Second as of which all this is.
    now: u32,
}

impl Walk {
    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sum == 0.0 && self.is_settled()
    }

    /// The sum of what had its time.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum.into()
    }

    /// What is known by now, including the outcomes of contacts that have not had their time. Silence is
    /// the only thing that cannot be included, so that this errs in favour of the source.
    #[must_use]
    pub fn tally(&self, rule: &Rule) -> Tally {
        let mut tally = Tally {
            sum: self.sum.into(),
            failed: self.failed,
            refused: self.refused,
            answered: self.answered,
        };
        for recent in &self.recent {
            tally.failed += u32::from(recent.refused);
            tally.refused += u32::from(recent.refused);
            tally.answered += u32::from(recent.answered);
            tally.sum += f64::from(recent.refused) * rule.odds.failure;
            tally.sum += f64::from(recent.answered) * rule.odds.success;
        }
        tally
    }

    /// A first contact in `second`.
    pub fn contact(&mut self, second: u32, rule: &Rule) {
        self.settle(second, rule);
        if self.is_empty() {
            self.onset = second;
        }
        self.last = second;
        let open = &mut self.recent[second as usize % SECONDS].open;
        *open = open.saturating_add(1);
    }

    /// An outcome in `second` of an earlier contact, taken for the latest one that is open: answers come
    /// soon or not at all.
    pub fn outcome(&mut self, second: u32, outcome: Outcome, rule: &Rule) {
        self.settle(second, rule);
        for age in 0..SECONDS {
            let recent = &mut self.recent[(self.now as usize + SECONDS - age) % SECONDS];
            if recent.open > 0 {
                recent.open -= 1;
                let count =
                    if outcome == Outcome::Answered { &mut recent.answered } else { &mut recent.refused };
                *count = count.saturating_add(1);
                return;
            }
        }
    }

    /// Moves to `second`: takes what became of the seconds that had their time, and the leak.
    pub fn settle(&mut self, second: u32, rule: &Rule) {
        if second <= self.now {
            return;
        }
        let passed = second - self.now;
        self.add(-rule.leak * f64::from(passed));
        for step in 1..=(passed as usize).min(SECONDS) {
            let place = &mut self.recent[(self.now as usize + step) % SECONDS];
            if *place != Recent::default() {
                let Recent { open, answered, refused } = std::mem::take(place);
                let failed = u32::from(open) + u32::from(refused);
                self.failed = self.failed.saturating_add(failed);
                self.refused = self.refused.saturating_add(refused.into());
                self.answered = self.answered.saturating_add(answered.into());
                self.add(f64::from(failed) * rule.odds.failure + f64::from(answered) * rule.odds.success);
            }
        }
        self.now = second;
    }

    fn is_settled(&self) -> bool {
        self.recent == [Recent::default(); SECONDS]
    }

    #[expect(clippy::cast_possible_truncation, reason = "a sum of few digits")]
    fn add(&mut self, evidence: f64) {
        /// Bounds how long a decided walk takes to be forgotten.
        const MOST: f64 = 1_000.0;
        self.sum = (f64::from(self.sum) + evidence).clamp(0.0, MOST) as f32;
        if self.sum == 0.0 {
            (self.failed, self.refused, self.answered) = (0, 0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule() -> Rule {
        Rule { odds: Odds::new(0.8, 0.2), threshold: 4.6, leak: 0.01, most_answered: 0.4 }
    }

    #[test]
    fn silence_counts_after_three_to_four_seconds() {
        let mut walk = Walk::default();
        walk.contact(100, &rule());
        walk.settle(103, &rule());
        assert_eq!(walk.tally(&rule()).failed, 0);
        walk.settle(104, &rule());
        assert_eq!(walk.tally(&rule()).failed, 1);
    }

    #[test]
    fn refusals_and_answers_count_at_once() {
        let mut walk = Walk::default();
        for outcome in [Outcome::Refused, Outcome::Unreachable, Outcome::Answered] {
            walk.contact(100, &rule());
            walk.outcome(100, outcome, &rule());
        }
        let tally = walk.tally(&rule());
        assert_eq!((tally.failed, tally.refused, tally.answered), (2, 2, 1));
        assert!((tally.sum - 4f64.ln()).abs() < 1e-6);
    }

    /// Eleven days of one failure in two minutes: the leak takes each back, and none is left over.
    #[test]
    fn a_million_seconds_of_slow_failures_add_up_to_nothing() {
        let rule = Rule { leak: Odds::new(0.8, 0.2).failure / 60.0, ..rule() };
        let mut walk = Walk::default();
        for second in (1_000..1_001_000).step_by(120) {
            walk.contact(second, &rule);
            (second + 1..second + 120).for_each(|second| walk.settle(second, &rule));
            assert!(walk.is_empty(), "{} is left after {second}", walk.sum());
        }
    }

    proptest! {
        /// Whatever the order and the gaps: what is in the walk never exceeds what was put in, the sum
        /// stays finite and positive, and after silence nothing is open.
        #[test]
        fn nothing_is_counted_twice(
            events in prop::collection::vec((0u32..8, 0u8..4), 0..300),
        ) {
            let (mut walk, mut second, mut contacts) = (Walk::default(), 1_000, 0);
            for (gap, what) in events {
                second += gap;
                match what {
                    0 => walk.outcome(second, Outcome::Answered, &rule()),
                    1 => walk.outcome(second, Outcome::Refused, &rule()),
                    _ => {
                        walk.contact(second, &rule());
                        contacts += 1;
                    }
                }
                let tally = walk.tally(&rule());
                prop_assert!(tally.decided() <= contacts);
                prop_assert!(tally.refused <= tally.failed);
                prop_assert!(walk.sum() >= 0.0 && walk.sum().is_finite());
            }
            walk.settle(second + 4, &rule());
            prop_assert!(walk.is_settled());
        }

        /// Against a model that remembers every contact by itself and is asked every second, as the detector
        /// does.
        #[test]
        fn the_walk_is_that_of_single_contacts(
            seconds in prop::collection::vec(prop::collection::vec(0u8..6, 0..6), 1..200),
        ) {
            #[derive(Clone, Copy, PartialEq)]
            enum Of { Open, Answered, Refused }
            let (mut walk, rule) = (Walk::default(), rule());
            let (mut sum, mut contacts) = (0.0_f64, Vec::<(u32, Of)>::new());
            for (second, events) in (1_000..).zip(&seconds) {
                walk.settle(second, &rule);
                sum = (sum - rule.leak).max(0.0);
                let (due, rest): (Vec<_>, Vec<_>) = contacts.iter().partition(|(at, _)| at + 4 <= second);
                contacts = rest;
                let added: f64 = due
                    .iter()
                    .map(|(_, of)| if *of == Of::Answered { rule.odds.success } else { rule.odds.failure })
                    .sum();
                sum = (sum + added).clamp(0.0, 1_000.0);
                prop_assert!((walk.sum() - sum).abs() < 1e-2, "{} is not {sum} at {second}", walk.sum());
                for event in events {
                    let outcome = match event {
                        0 => Outcome::Answered,
                        1 => Outcome::Refused,
                        _ => {
                            walk.contact(second, &rule);
                            contacts.push((second, Of::Open));
                            continue;
                        }
                    };
                    walk.outcome(second, outcome, &rule);
                    let latest = contacts.iter_mut().rev().find(|(_, of)| *of == Of::Open);
                    if let Some((_, of)) = latest {
                        *of = if outcome == Outcome::Answered { Of::Answered } else { Of::Refused };
                    }
                }
            }
        }

        /// Without leak and as long as it does not touch zero, the sum is the log of the likelihood
        /// ratio of all outcomes.
        #[test]
        fn the_sum_is_the_likelihood_ratio(failures in 1u32..300, answers in 0u32..300) {
            prop_assume!(failures > answers);
            let rule = Rule { leak: 0.0, ..rule() };
            let mut walk = Walk::default();
            for number in 0..failures + answers {
                walk.contact(1_000, &rule);
                let outcome = if number < failures { Outcome::Refused } else { Outcome::Answered };
                walk.outcome(1_000, outcome, &rule);
            }
            let expected = f64::from(failures) * (0.8f64 / 0.2).ln() + f64::from(answers) * (0.2f64 / 0.8).ln();
            prop_assert!((walk.tally(&rule).sum - expected).abs() < 1e-3);
            walk.settle(1_010, &rule);
            prop_assert!((walk.sum() - expected.min(1_000.0)).abs() < 1e-3);
        }
    }
}
