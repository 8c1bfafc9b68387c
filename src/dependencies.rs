//! What lwt holds true: which VMs are there, which ensemble each belongs to, and therefore which pairs
//! depend on each other. A window only *proposes*; [`Held`] decides, with hysteresis, what of it counts,
//! and says so as differences of three relations ([`Fact`]). Everything after this stage (pairs, events,
//! tables) is derived from those differences.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::transport::records::{Assignment, Dependency, Membership};
use crate::types::VmId;

/// The name of an ensemble, the same from window to window (see `cluster`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Ensemble(Arc<str>);

impl Ensemble {
    /// The ensemble called `name`.
    pub fn new(name: &str) -> Self {
        Ensemble(name.into())
    }
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one window says of one VM.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Not one sample in the whole window.
    Gone,
    /// Too many samples are missing for a model.
    Unjudged,
    /// It does nothing: there is nothing to compare.
    Idle,
    /// It works, alone.
    Alone,
    /// It works with the other members of this ensemble.
    In(Ensemble),
}

/// One element of the relations that hold what is true now.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Fact {
    /// The VM exists.
    Alive(VmId),
    /// The VM does nothing.
    Idle(VmId),
    /// The VM is a member of the ensemble.
    Member(VmId, Ensemble),
    /// The two VMs depend on each other; the first is the smaller, bytewise.
    Pair(VmId, VmId),
}

/// When a change counts: it must have been proposed in `needed` of the last `of` windows.
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
    /// The longest memory, in windows: two hours of windows that slide by a minute. A VM remembers at most
    /// that many names (16 bytes each, 2 KiB).
    pub const MAX: usize = 120;

    /// `needed` of the last `of` windows.
    ///
    /// # Errors
    /// Unless `of / 2 < needed <= of <= MAX`: with half or fewer, two answers could both count.
    pub fn new(needed: usize, of: usize) -> Result<Self, BadHysteresis> {
        let fits = needed <= of && 2 * needed > of && of <= Self::MAX;
        if fits { Ok(Hysteresis { needed, of }) } else { Err(BadHysteresis { needed, of }) }
    }

    fn needed_of(self, seen: usize) -> usize {
        (self.needed * seen).div_ceil(self.of)
    }
}

/// What is held of one VM, and the proposals that could change it.
#[derive(Clone, Default, Debug)]
pub struct Held {
    alive: bool,
    idle: bool,
    ensemble: Option<Ensemble>,
    recent: VecDeque<Option<Ensemble>>,
}

impl Held {
    /// Takes in one window's verdict on `vm` and appends to `out` the facts that begin (+1) and end (-1).
    /// That a VM appears, idles or is gone counts at once; what ensemble it is in, by `hysteresis`.
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
        (self.alive, self.idle) = (alive, idle);
        let held = if alive { self.decide(verdict, hysteresis) } else { None };
        if held != self.ensemble {
            out.extend(self.ensemble.take().map(|e| (Fact::Member(vm.clone(), e), -1)));
            out.extend(held.clone().map(|e| (Fact::Member(vm.clone(), e), 1)));
            self.ensemble = held;
        }
    }

    /// Whether nothing is left to remember.
    pub fn is_gone(&self) -> bool {
        !self.alive
    }

    fn decide(&mut self, verdict: Verdict, hysteresis: Hysteresis) -> Option<Ensemble> {
        let proposed = if let Verdict::In(ensemble) = verdict { Some(ensemble) } else { None };
        if self.recent.len() == hysteresis.of {
            self.recent.pop_front();
        }
        self.recent.push_back(proposed.clone());
        let votes = self.recent.iter().filter(|&e| *e == proposed).count();
        let counts = votes >= hysteresis.needed_of(self.recent.len());
        if counts { proposed } else { self.ensemble.clone() }
    }
}

fn change(before: bool, after: bool, fact: impl Fn() -> Fact, out: &mut Vec<(Fact, isize)>) {
    if before != after {
        out.push((fact(), if after { 1 } else { -1 }));
    }
}

/// Everything that is held true after some window: the differences, added up.
#[derive(Clone, Default, Debug)]
pub struct State {
    /// How many windows were added up.
    pub windows: u64,
    /// The VMs that exist, with the ensembles they are in, each with the window in which the VM joined.
    members: BTreeMap<VmId, BTreeMap<Ensemble, u64>>,
    idle: BTreeSet<VmId>,
    /// The dependent pairs, with the window in which each appeared.
    pairs: BTreeMap<(VmId, VmId), u64>,
}

impl State {
    /// Adds one window's differences.
    pub fn apply(&mut self, changes: &[(Fact, isize)]) {
        self.windows += 1;
        let (ends, begins): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, diff)| *diff < 0);
        ends.into_iter().for_each(|(fact, _)| self.end(fact));
        begins.into_iter().for_each(|(fact, _)| self.begin(fact));
    }

    fn end(&mut self, fact: &Fact) {
        match fact {
            Fact::Alive(vm) => drop(self.members.remove(vm)),
            Fact::Idle(vm) => drop(self.idle.remove(vm)),
            Fact::Member(vm, ensemble) => {
                if let Some(ensembles) = self.members.get_mut(vm) {
                    ensembles.remove(ensemble);
                }
            }
            Fact::Pair(a, b) => drop(self.pairs.remove(&(a.clone(), b.clone()))),
        }
    }

    fn begin(&mut self, fact: &Fact) {
        match fact {
            Fact::Alive(vm) => drop(self.members.entry(vm.clone()).or_default()),
            Fact::Idle(vm) => drop(self.idle.insert(vm.clone())),
            Fact::Member(vm, ensemble) => {
                self.members.entry(vm.clone()).or_default().insert(ensemble.clone(), self.windows);
            }
            Fact::Pair(a, b) => drop(self.pairs.insert((a.clone(), b.clone()), self.windows)),
        }
    }

    /// The VMs that exist, each with the ensembles it is in.
    pub fn members(
        &self,
    ) -> impl ExactSizeIterator<Item = (&VmId, impl ExactSizeIterator<Item = &Ensemble>)> {
        self.members.iter().map(|(vm, of)| (vm, of.keys()))
    }

    /// The ensembles, each with its members.
    pub fn ensembles(&self) -> BTreeMap<&Ensemble, Vec<&VmId>> {
        let mut ensembles = BTreeMap::<_, Vec<_>>::new();
        for (vm, of) in &self.members {
            of.keys().for_each(|e| ensembles.entry(e).or_default().push(vm));
        }
        ensembles
    }

    /// For how many windows nobody has joined this ensemble, whose members are `members`.
    pub fn steady_windows(&self, ensemble: &Ensemble, members: &[&VmId]) -> u64 {
        let joined = members.iter().filter_map(|vm| self.members.get(vm)?.get(ensemble));
        self.windows + 1 - joined.max().unwrap_or(&self.windows)
    }

    /// Whether the VM exists.
    pub fn knows(&self, vm: &VmId) -> bool {
        self.members.contains_key(vm)
    }

    /// The VMs that do nothing.
    pub fn idle(&self) -> &BTreeSet<VmId> {
        &self.idle
    }

    /// How many pairs are held dependent.
    pub fn pair_count(&self) -> usize {
        self.pairs.len()
    }

    /// The record of each VM's membership, in order of VM.
    pub fn assignments(&self) -> impl Iterator<Item = Assignment> + '_ {
        self.members.keys().map(|vm| self.assignment(vm))
    }

    /// The record of one VM's membership.
    pub fn assignment(&self, vm: &VmId) -> Assignment {
        let names = self.members.get(vm).into_iter().flat_map(|of| of.keys().map(Ensemble::as_str));
        Assignment { vm: vm.clone(), ensemble: Membership::from_names(names) }
    }

    /// The record of each dependent pair, in order of pair. K-means knows no more of a pair than that it is one.
    pub fn dependencies(&self) -> impl Iterator<Item = Dependency> + '_ {
        self.pairs.keys().filter_map(|(a, b)| self.dependency(a, b))
    }

    /// The record of one pair, if it is held dependent.
    pub fn dependency(&self, a: &VmId, b: &VmId) -> Option<Dependency> {
        let since = self.pairs.get(&(a.clone(), b.clone()))?;
        Some(Dependency::bare(a.clone(), b.clone(), self.windows + 1 - since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_after(verdicts: &[&str], hysteresis: Hysteresis) -> (Vec<String>, BTreeMap<Fact, isize>) {
        let (vm, mut held, mut names, mut sum) = (VmId::new("v"), Held::default(), vec![], BTreeMap::new());
        for &word in verdicts {
            let verdict = match word {
                "gone" => Verdict::Gone,
                "?" => Verdict::Unjudged,
                "idle" => Verdict::Idle,
                "-" => Verdict::Alone,
                name => Verdict::In(Ensemble::new(name)),
            };
            let mut out = vec![];
            held.update(&vm, verdict, hysteresis, &mut out);
            out.into_iter().for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
            names.push(held.ensemble.as_ref().map_or("-", |e| e.as_str()).to_string());
        }
        (names, sum)
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
        check(2, 3, "a b c d e", "a a a a a");
        check(2, 3, "- a - a a", "- - - a a");
        check(2, 3, "a ? a ? ?", "a a a - -");
        check(3, 3, "a b b b b", "a a a b b");
        check(2, 3, "a a gone a", "a a - a");
        check(2, 3, "a idle idle a a", "a a - - a");
    }

    #[test]
    fn hysteresis_needs_a_majority() {
        for (needed, of, fits) in
            [(1, 1, true), (2, 3, true), (1, 2, false), (0, 0, false), (4, 3, false), (120, 121, false)]
        {
            assert_eq!(Hysteresis::new(needed, of).is_ok(), fits, "{needed}/{of}");
        }
    }

    #[test]
    fn the_state_is_the_sum_of_the_differences() {
        let (a, b, e) = (VmId::new("a"), VmId::new("b"), Ensemble::new("e1"));
        let mut state = State::default();
        state.apply(&[
            (Fact::Alive(a.clone()), 1),
            (Fact::Alive(b.clone()), 1),
            (Fact::Member(a.clone(), e.clone()), 1),
        ]);
        state.apply(&[(Fact::Member(b.clone(), e.clone()), 1), (Fact::Pair(a.clone(), b.clone()), 1)]);
        state.apply(&[]);
        assert_eq!(state.dependency(&a, &b).unwrap().windows, 2);
        assert_eq!(state.steady_windows(&e, &[&a, &b]), 2);
        assert_eq!(state.ensembles()[&e], [&a, &b]);
        state.apply(&[
            (Fact::Alive(a.clone()), -1),
            (Fact::Member(a.clone(), e.clone()), -1),
            (Fact::Pair(a.clone(), b.clone()), -1),
        ]);
        assert_eq!((state.pair_count(), state.members().len()), (0, 1));
    }
}
