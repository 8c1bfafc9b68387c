//! Hysteresis: which of what the windows propose is held. Each membership and each pair is voted on by
//! itself; one that a window does not propose has a vote against it.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, materially_different};
use super::{Ensemble, Fact, Verdict};
use crate::types::VmId;

/// When a change counts: something begins to be held when `needed` of the last `of` windows proposed it, and
/// ends when as many did not.
///
/// While fewer windows than `of` have been seen, the same share of them is asked for, rounded up, so the
/// first window counts at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hysteresis {
    needed: usize,
    of: usize,
}

/// A hysteresis that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "hysteresis is M/N with M at most N, more than half of N, and N at most {}: not {needed}/{of}",
    Hysteresis::MAX
)]
pub struct BadHysteresis {
    needed: usize,
    of: usize,
}

impl Hysteresis {
    /// The longest memory, in windows: two hours of windows that slide by a minute. Votes are the bits of a
    /// `u128`, so 128 would fit.
    pub const MAX: usize = 120;

    /// `needed` of the last `of` windows.
    ///
    /// # Errors
    /// Unless `of / 2 < needed <= of <= MAX`: with half or fewer, both a change and its contrary could count.
    pub fn new(needed: usize, of: usize) -> Result<Self, BadHysteresis> {
        let fits = needed <= of && 2 * needed > of && of <= Self::MAX;
        if fits { Ok(Hysteresis { needed, of }) } else { Err(BadHysteresis { needed, of }) }
    }

    fn needed_of(self, seen: usize) -> usize {
        (self.needed * seen).div_ceil(self.of)
    }
}

/// The votes of the last windows on one thing, and what they came to.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Votes {
    /// A bit a window, the newest the lowest.
    #[serde(with = "bits")]
    recent: u128,
    holds: bool,
}

impl Votes {
    /// Takes in the vote of one window, the `seen`-th.
    fn cast(&mut self, yes: bool, seen: usize, hysteresis: Hysteresis) {
        let seen = seen.min(hysteresis.of);
        self.recent = ((self.recent << 1) | u128::from(yes)) & ((1 << hysteresis.of) - 1);
        let (for_it, needed) = (self.recent.count_ones() as usize, hysteresis.needed_of(seen));
        self.holds = if self.holds { seen - for_it.min(seen) < needed } else { for_it >= needed };
    }

    /// Whether no window that counts proposed it: then it is not held either.
    fn is_forgotten(self) -> bool {
        self.recent == 0
    }
}

/// What is held of one VM, and the votes that could change it.
///
/// 48 bytes for each ensemble that one of the last windows proposed: as many as a hub has, times at most
/// [`Hysteresis::MAX`] if every window named all of them anew.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Held {
    alive: bool,
    idle: bool,
    /// Windows since the VM appeared.
    seen: usize,
    ensembles: BTreeMap<Ensemble, Votes>,
}

impl Held {
    /// Takes in one window's verdict on `vm` and appends to `out` the facts that begin (+1) and end (-1).
    /// That a VM appears, idles or is gone counts at once; what ensembles it is in, by `hysteresis`.
    pub fn update(
        &mut self,
        vm: &VmId,
        verdict: Verdict,
        hysteresis: Hysteresis,
        out: &mut Vec<(Fact, isize)>,
    ) {
        let (alive, idle) = (verdict != Verdict::Gone, verdict == Verdict::Idle);
        change(self.alive, alive, || Fact::Alive(vm.clone()), out);
        change(self.idle, idle, || Fact::Idle(vm.clone()), out);
        (self.alive, self.idle, self.seen) = (alive, idle, if alive { self.seen + 1 } else { 0 });
        let proposed = if let Verdict::In(ensembles) = verdict { ensembles } else { vec![] };
        for ensemble in &proposed {
            self.ensembles.entry(ensemble.clone()).or_default();
        }
        let seen = self.seen;
        self.ensembles.retain(|ensemble, votes| {
            let before = votes.holds;
            votes.cast(proposed.binary_search(ensemble).is_ok(), seen, hysteresis);
            votes.holds &= alive;
            change(before, votes.holds, || Fact::Member(vm.clone(), ensemble.clone()), out);
            alive && !votes.is_forgotten()
        });
    }

    /// Whether nothing is left to remember.
    pub fn is_gone(&self) -> bool {
        !self.alive
    }

    /// The ensembles that the VM is held to be in.
    pub fn ensembles(&self) -> impl Iterator<Item = &Ensemble> {
        self.ensembles.iter().filter(|(_, votes)| votes.holds).map(|(ensemble, _)| ensemble)
    }
}

fn change(before: bool, after: bool, fact: impl Fn() -> Fact, out: &mut Vec<(Fact, isize)>) {
    if before != after {
        out.push((fact(), if after { 1 } else { -1 }));
    }
}

/// What is held of pairs, with the evidence as it was published, and the votes that could change it.
///
/// 112 bytes for each pair that one of the last windows proposed; with a hash map's spare room up to 260.
#[derive(Clone, Default, Debug)]
pub struct HeldPairs {
    pairs: HashMap<(VmId, VmId), HeldPair>,
    /// Windows since the first.
    seen: usize,
}

/// What one window says of the pairs.
#[derive(Clone, Default, Debug)]
pub struct PairWindow {
    /// The pairs that the window finds dependent, each with the smaller VM first.
    pub proposed: HashMap<(VmId, VmId), Evidence>,
    /// The VMs that are gone: their pairs go with them at once.
    pub gone: HashSet<VmId>,
}

impl HeldPairs {
    /// Takes in one window and appends to `out`, in no order, the pairs that begin (+1) and end (-1) to be
    /// held. To be called for every window: a pair that it does not propose has a vote against it. A pair
    /// that stays and whose evidence changed materially ends with the old and begins with the new.
    pub fn update(&mut self, window: &PairWindow, hysteresis: Hysteresis, out: &mut Vec<(Fact, isize)>) {
        self.seen += 1;
        for (pair, evidence) in &window.proposed {
            self.pairs
                .entry(pair.clone())
                .or_insert(HeldPair { votes: Votes::default(), evidence: *evidence });
        }
        let (seen, fact) = (self.seen, |a: &VmId, b: &VmId, e| Fact::Pair(a.clone(), b.clone(), Some(e)));
        self.pairs.retain(|pair, held| {
            let (a, b) = pair;
            let (before, lost) = (held.published(), window.gone.contains(a) || window.gone.contains(b));
            held.take(window.proposed.get(pair), seen, hysteresis);
            let after = held.published().filter(|_| !lost);
            if before != after {
                out.extend(before.map(|evidence| (fact(a, b, evidence), -1)));
                out.extend(after.map(|evidence| (fact(a, b, evidence), 1)));
            }
            !lost && !held.votes.is_forgotten()
        });
    }

    /// What was remembered of pairs after `seen` windows.
    pub fn resume(pairs: HashMap<(VmId, VmId), HeldPair>, seen: usize) -> Self {
        HeldPairs { pairs, seen }
    }

    /// The pairs that are remembered, in no order.
    #[expect(clippy::disallowed_methods, reason = "said so")]
    pub fn pairs(&self) -> impl Iterator<Item = (&(VmId, VmId), &HeldPair)> {
        self.pairs.iter()
    }

    /// How many windows there were.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// How many pairs are remembered, held or not.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// What is remembered of one pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeldPair {
    votes: Votes,
    /// As published while the pair is held, else the newest.
    evidence: Evidence,
}

impl HeldPair {
    fn take(&mut self, now: Option<&Evidence>, seen: usize, hysteresis: Hysteresis) {
        if let Some(now) = now.filter(|now| !self.votes.holds || materially_different(&self.evidence, now)) {
            self.evidence = *now;
        }
        self.votes.cast(now.is_some(), seen, hysteresis);
    }

    fn published(&self) -> Option<Evidence> {
        self.votes.holds.then_some(self.evidence)
    }
}

/// Votes as text, `101`, the oldest first: JSON has no numbers so large.
mod bits {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(bits: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{bits:b}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 2).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::tests::some;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// What is held after each verdict (`a|b` is both, `-` none), and the sum of the differences.
    fn held_after(verdicts: &[&str], hysteresis: Hysteresis) -> (Vec<String>, BTreeMap<Fact, isize>) {
        let (vm, mut held, mut shown, mut sum) = (VmId::new("v"), Held::default(), vec![], BTreeMap::new());
        for &word in verdicts {
            let verdict = match word {
                "gone" => Verdict::Gone,
                "?" => Verdict::Unjudged,
                "idle" => Verdict::Idle,
                "-" => Verdict::Alone,
                names => Verdict::In(names.split('|').map(Ensemble::new).collect()),
            };
            let mut out = vec![];
            held.update(&vm, verdict, hysteresis, &mut out);
            out.into_iter().for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
            let members = sum.iter().filter(|(_, n)| **n > 0).filter_map(|(fact, _)| match fact {
                Fact::Member(_, ensemble) => Some(ensemble.as_str()),
                _ => None,
            });
            let names: Vec<&str> = members.collect();
            shown.push(if names.is_empty() { "-".into() } else { names.join("|") });
        }
        assert!(held.ensembles.len() <= 2 * hysteresis.of, "what is forgotten is not kept: {held:?}");
        (shown, sum)
    }

    fn check(needed: usize, of: usize, proposed: &str, held: &str) {
        let proposed: Vec<_> = proposed.split(' ').collect();
        let (names, sum) = held_after(&proposed, Hysteresis::new(needed, of).unwrap());
        assert_eq!(names.join(" "), held, "{needed}/{of} {proposed:?}");
        assert!(sum.values().all(|n| *n == 0 || *n == 1), "each fact begins before it ends: {sum:?}");
    }

    #[test]
    fn a_change_counts_when_it_was_proposed_often_enough() {
        check(1, 1, "a b - a", "a b - a");
        check(2, 3, "a b a b b", "a a a b b");
        check(2, 3, "a b c d e", "a a - - -");
        check(2, 3, "- a - a a", "- - - a a");
        check(2, 3, "a ? a ? ?", "a a a - -");
        check(3, 3, "a b b b b", "a a a b b");
        check(2, 3, "a a gone a", "a a - a");
        check(2, 3, "a idle idle a a", "a a - - a");
    }

    #[test]
    fn each_membership_is_decided_by_itself() {
        check(1, 1, "a|b b|c -", "a|b b|c -");
        check(2, 3, "a|b a a b", "a|b a|b a a");
        check(2, 3, "a a|b a|b b b", "a a a|b a|b b");
        check(2, 3, "a|b gone a", "a|b - a");
    }

    #[test]
    fn hysteresis_needs_a_majority() {
        for (needed, of, fits) in
            [(1, 1, true), (2, 3, true), (1, 2, false), (0, 0, false), (4, 3, false), (120, 121, false)]
        {
            assert_eq!(Hysteresis::new(needed, of).is_ok(), fits, "{needed}/{of}");
        }
    }

    proptest! {
        /// The slow twin: counts the proposals of the last windows.
        #[test]
        fn votes_count_like_their_slow_twin(of in 1..=Hysteresis::MAX, proposed in vec(any::<bool>(), 1..300)) {
            let hysteresis = Hysteresis::new(of / 2 + 1, of).unwrap();
            let (mut votes, mut holds) = (Votes::default(), false);
            for seen in 1..=proposed.len() {
                votes.cast(proposed[seen - 1], seen, hysteresis);
                let last = &proposed[seen.saturating_sub(of)..seen];
                let (yes, needed) = (last.iter().filter(|yes| **yes).count(), hysteresis.needed_of(last.len()));
                holds = if holds { last.len() - yes < needed } else { yes >= needed };
                prop_assert_eq!(votes.holds, holds, "window {}", seen);
                prop_assert!(!votes.is_forgotten() || !holds);
            }
        }
    }

    proptest! {
        /// The pairs of K-means rely on it.
        #[test]
        fn of_one_proposal_a_window_one_at_most_is_held(
            of in 1..8_usize, more in 0..4_usize, proposed in vec(0..4_u8, 1..60),
        ) {
            let hysteresis = Hysteresis::new((of / 2 + 1 + more).min(of), of).unwrap();
            let words: Vec<&str> = proposed.iter().map(|i| ["a", "b", "-", "gone"][*i as usize]).collect();
            let (held, _) = held_after(&words, hysteresis);
            prop_assert!(held.iter().all(|names| !names.contains('|')), "{:?}", held);
        }
    }

    /// Feeds windows of the pair `a`-`b`, whose strength in per cent each says, 0 if it is not proposed, -1 if
    /// `b` is gone; gives what is held after each, and how many differences there were.
    fn pairs_after(strengths: &[i32], hysteresis: Hysteresis) -> (Vec<i32>, usize) {
        let (a, b) = (VmId::new("a"), VmId::new("b"));
        let (mut held, mut sum, mut shown, mut differences) =
            (HeldPairs::default(), BTreeMap::new(), vec![], 0);
        for &percent in strengths {
            let mut window = PairWindow::default();
            if percent != 0 {
                let evidence = Evidence { strength_ppm: percent * 10_000, ..some() };
                window.proposed.insert((a.clone(), b.clone()), evidence);
            }
            if percent == -1 {
                window.gone.insert(b.clone());
            }
            let mut out = vec![];
            held.update(&window, hysteresis, &mut out);
            differences += out.len();
            out.into_iter().for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
            sum.retain(|_, n: &mut isize| *n != 0);
            assert!(sum.len() <= 1 && sum.values().all(|n| *n == 1), "{sum:?}");
            shown.push(match sum.keys().next() {
                Some(Fact::Pair(_, _, Some(evidence))) => evidence.strength_ppm / 10_000,
                _ => 0,
            });
        }
        assert!(held.len() <= 1 && (!held.is_empty() || shown.last() == Some(&0)));
        (shown, differences)
    }

    #[test]
    fn a_pair_is_held_with_its_evidence() {
        type Row<'a> = (usize, usize, &'a [i32], &'a [i32], usize);
        let rows: [Row<'_>; 6] = [
            (1, 1, &[50, 0, 60], &[50, 0, 60], 3),
            // A window that does not propose it is a vote against it.
            (2, 3, &[50, 0, 50, 0, 0, 50], &[50, 50, 50, 0, 0, 0], 2),
            // The first of later windows does not count at once.
            (2, 3, &[0, 0, 50, 55, 55], &[0, 0, 0, 55, 55], 1),
            // Small changes are not said, large ones once; small steps add up.
            (2, 3, &[50, 55, 59, 60, 65, 65], &[50, 50, 50, 60, 60, 60], 3),
            (2, 3, &[50, 0, 70], &[50, 50, 70], 3),
            // With a VM its pairs and their votes are gone.
            (2, 3, &[50, 50, -1, 50, 50], &[50, 50, 0, 0, 50], 3),
        ];
        for (needed, of, proposed, held, differences) in rows {
            let hysteresis = Hysteresis::new(needed, of).unwrap();
            assert_eq!(pairs_after(proposed, hysteresis), (held.to_vec(), differences), "{proposed:?}");
        }
    }

    #[test]
    fn a_pair_that_nobody_proposes_any_more_is_forgotten() {
        let (mut held, hysteresis, mut out) = (HeldPairs::default(), Hysteresis::new(2, 3).unwrap(), vec![]);
        let mut window = PairWindow::default();
        window.proposed.insert((VmId::new("a"), VmId::new("b")), some());
        held.update(&window, hysteresis, &mut out);
        let kept: Vec<usize> = (0..3)
            .map(|_| {
                held.update(&PairWindow::default(), hysteresis, &mut out);
                held.len()
            })
            .collect();
        assert_eq!(kept, [1, 1, 0]);
        assert_eq!(out.iter().map(|(_, diff)| diff).sum::<isize>(), 0);
    }
}
