//! What holds after some window: the differences, added up, and the records of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Ensemble, Evidence, Fact};
use crate::transport::records::{Assignment, Dependency, Membership};
use crate::types::VmId;

/// Everything that is held true after some window: the differences, added up.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct State {
    /// How many windows were added up.
    pub windows: u64,
    /// The VMs that exist, with the ensembles they are in, each with the window in which the VM joined.
    members: BTreeMap<VmId, BTreeMap<Ensemble, u64>>,
    idle: BTreeSet<VmId>,
    ignored: BTreeSet<VmId>,
    pairs: BTreeMap<(VmId, VmId), Since>,
}

/// A pair that is held dependent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Since {
    /// The window in which it appeared.
    since: u64,
    evidence: Option<Evidence>,
    /// Whether somebody decided that it is held.
    #[serde(default)]
    decided: bool,
}

/// A VM that exists: the ensembles that it is in, each with the window in which it joined, whether it does nothing, and
/// whether it is ignored.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Membered {
    ensembles: BTreeMap<Ensemble, u64>,
    idle: bool,
    #[serde(default)]
    ignored: bool,
}

impl State {
    /// The state after some windows, from its parts.
    pub fn resume(
        windows: u64,
        vms: impl Iterator<Item = (VmId, Membered)>,
        pairs: impl Iterator<Item = ((VmId, VmId), Since)>,
    ) -> Self {
        let mut state = State { windows, pairs: pairs.collect(), ..State::default() };
        for (vm, Membered { ensembles, idle, ignored }) in vms {
            state.idle.extend(idle.then(|| vm.clone()));
            state.ignored.extend(ignored.then(|| vm.clone()));
            state.members.insert(vm, ensembles);
        }
        state
    }

    /// Its parts: a VM, if it exists.
    pub fn membered(&self, vm: &VmId) -> Option<Membered> {
        let (idle, ignored) = (self.idle.contains(vm), self.ignored.contains(vm));
        self.members.get(vm).map(|of| Membered { ensembles: of.clone(), idle, ignored })
    }

    /// Its parts: a pair, if it is held dependent.
    pub fn since(&self, a: &VmId, b: &VmId) -> Option<Since> {
        self.pairs.get(&(a.clone(), b.clone())).copied()
    }

    /// Adds one window's differences.
    pub fn apply(&mut self, changes: &[(Fact, isize)]) {
        self.windows += 1;
        self.amend(changes);
    }

    /// Adds differences that no window brings.
    pub fn amend(&mut self, changes: &[(Fact, isize)]) {
        let (ends, begins): (Vec<_>, Vec<_>) = changes.iter().partition(|(_, diff)| *diff < 0);
        let mut ended = BTreeMap::new();
        ends.into_iter().for_each(|(fact, _)| self.end(fact, &mut ended));
        begins.into_iter().for_each(|(fact, _)| self.begin(fact, &ended));
    }

    /// `ended` gets the pairs that end, with the window in which each appeared.
    fn end<'f>(&mut self, fact: &'f Fact, ended: &mut BTreeMap<(&'f VmId, &'f VmId), u64>) {
        match fact {
            Fact::Alive(vm) => drop(self.members.remove(vm)),
            Fact::Idle(vm) => drop(self.idle.remove(vm)),
            Fact::Ignored(vm) => drop(self.ignored.remove(vm)),
            Fact::Member(vm, ensemble) => {
                if let Some(ensembles) = self.members.get_mut(vm) {
                    ensembles.remove(ensemble);
                }
            }
            Fact::Pair(a, b, _) | Fact::Confirmed(a, b, _) => {
                let pair = self.pairs.remove(&(a.clone(), b.clone()));
                ended.extend(pair.map(|pair| ((a, b), pair.since)));
            }
        }
    }

    /// A pair that `ended` in this window and begins again has only other evidence.
    fn begin(&mut self, fact: &Fact, ended: &BTreeMap<(&VmId, &VmId), u64>) {
        match fact {
            Fact::Alive(vm) => drop(self.members.entry(vm.clone()).or_default()),
            Fact::Idle(vm) => drop(self.idle.insert(vm.clone())),
            Fact::Ignored(vm) => drop(self.ignored.insert(vm.clone())),
            Fact::Member(vm, ensemble) => {
                self.members.entry(vm.clone()).or_default().insert(ensemble.clone(), self.windows);
            }
            Fact::Pair(a, b, evidence) | Fact::Confirmed(a, b, evidence) => {
                let since = *ended.get(&(a, b)).unwrap_or(&self.windows);
                let (evidence, decided) = (*evidence, matches!(fact, Fact::Confirmed(..)));
                self.pairs.insert((a.clone(), b.clone()), Since { since, evidence, decided });
            }
        }
    }

    /// What holds, as the facts that make it.
    pub fn facts(&self) -> BTreeSet<Fact> {
        let alive = self.members.keys().cloned().map(Fact::Alive);
        let members = self
            .members
            .iter()
            .flat_map(|(vm, of)| of.keys().map(move |ensemble| Fact::Member(vm.clone(), ensemble.clone())));
        let idle = self.idle.iter().cloned().map(Fact::Idle);
        let ignored = self.ignored.iter().cloned().map(Fact::Ignored);
        alive.chain(members).chain(idle).chain(ignored).chain(self.held()).collect()
    }

    /// The pairs that are held, as facts, in order of pair.
    pub fn held(&self) -> impl Iterator<Item = Fact> + '_ {
        self.pairs.iter().map(|((a, b), pair)| {
            let fact = if pair.decided { Fact::Confirmed } else { Fact::Pair };
            fact(a.clone(), b.clone(), pair.evidence)
        })
    }

    /// The ensembles that the VM is in, if it exists.
    pub fn of(&self, vm: &VmId) -> Option<impl ExactSizeIterator<Item = &Ensemble>> {
        self.members.get(vm).map(|of| of.keys())
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

    /// The VMs that take part in nothing, because somebody decided so.
    pub fn ignored(&self) -> &BTreeSet<VmId> {
        &self.ignored
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
        let decided = self.ignored.contains(vm).then(|| "ignored".to_string());
        Assignment { vm: vm.clone(), ensemble: Membership::from_names(names), decided }
    }

    /// The mean confidence of the pairs within each ensemble, where there is evidence of any.
    pub fn confidence(&self) -> BTreeMap<&Ensemble, f64> {
        let mut sums = BTreeMap::<&Ensemble, (u64, u64)>::new();
        for ((a, b), pair) in &self.pairs {
            let (Some(of_a), Some(of_b)) = (self.members.get(a), self.members.get(b)) else { continue };
            let Some(evidence) = pair.evidence else { continue };
            for ensemble in of_a.keys().filter(|ensemble| of_b.contains_key(*ensemble)) {
                let (sum_ppm, pairs) = sums.entry(ensemble).or_default();
                *sum_ppm += u64::from(evidence.confidence_ppm);
                *pairs += 1;
            }
        }
        let mean = |(sum_ppm, pairs): (u64, u64)| sum_ppm as f64 / pairs as f64 / 1e6;
        sums.into_iter().map(|(ensemble, sum)| (ensemble, mean(sum))).collect()
    }

    /// The record of each dependent pair, in order of pair.
    pub fn dependencies(&self) -> impl Iterator<Item = Dependency> + '_ {
        self.pairs.keys().filter_map(|(a, b)| self.dependency(a, b))
    }

    /// What is known of a pair, if it is held dependent.
    pub fn evidence(&self, a: &VmId, b: &VmId) -> Option<Option<Evidence>> {
        self.pairs.get(&(a.clone(), b.clone())).map(|pair| pair.evidence)
    }

    /// The record of one pair, if it is held dependent.
    pub fn dependency(&self, a: &VmId, b: &VmId) -> Option<Dependency> {
        let pair = self.pairs.get(&(a.clone(), b.clone()))?;
        let mut record = Dependency::bare(a.clone(), b.clone(), self.windows + 1 - pair.since);
        pair.evidence.iter().for_each(|evidence| evidence.fill(&mut record));
        record.decided = pair.decided.then(|| "confirmed".to_string());
        Some(record)
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::evidence::tests::some;
    use super::*;

    /// Eight VMs: `e1` is a chain of three, `e2` two, and three are alone.
    pub fn some_state() -> State {
        let vm = VmId::new;
        let mut state = State::default();
        let member = |name, of| (Fact::Member(vm(name), Ensemble::new(of)), 1);
        let pair = |a, b| (Fact::Pair(vm(a), vm(b), Some(some())), 1);
        state.apply(&["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| (Fact::Alive(vm(name)), 1)));
        state.apply(&[
            member("a", "e1"),
            member("b", "e1"),
            member("c", "e1"),
            member("d", "e2"),
            member("e", "e2"),
            pair("a", "b"),
            pair("b", "c"),
            pair("d", "e"),
        ]);
        state
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
        state.apply(&[(Fact::Member(b.clone(), e.clone()), 1), (Fact::Pair(a.clone(), b.clone(), None), 1)]);
        state.apply(&[]);
        assert_eq!(state.dependency(&a, &b).unwrap().windows, 2);
        assert_eq!(state.steady_windows(&e, &[&a, &b]), 2);
        assert_eq!(state.ensembles()[&e], [&a, &b]);
        state.apply(&[
            (Fact::Alive(a.clone()), -1),
            (Fact::Member(a.clone(), e.clone()), -1),
            (Fact::Pair(a.clone(), b.clone(), None), -1),
        ]);
        assert_eq!((state.pair_count(), state.members().len()), (0, 1));
    }

    #[test]
    fn other_evidence_is_the_same_pair() {
        let (a, b) = (VmId::new("a"), VmId::new("b"));
        let pair = |evidence_s| Fact::Pair(a.clone(), b.clone(), Some(Evidence { evidence_s, ..some() }));
        let mut state = State::default();
        state.apply(&[(pair(300), 1)]);
        // In either order, as consolidation sorts them.
        state.apply(&[(pair(300), -1), (pair(600), 1)]);
        state.apply(&[(pair(450), 1), (pair(600), -1)]);
        let held = state.dependency(&a, &b).unwrap();
        assert_eq!((held.windows, held.evidence_s, state.pair_count()), (3, Some(450), 1));
        state.apply(&[(pair(450), -1)]);
        state.apply(&[(pair(300), 1)]);
        assert_eq!(state.dependency(&a, &b).unwrap().windows, 1, "it was gone in between");
    }

    #[test]
    fn what_is_decided_is_marked() {
        let [a, b, c] = ["a", "b", "c"].map(VmId::new);
        let (pair, confirmed) = (Fact::Pair, Fact::Confirmed);
        let mut state = State::default();
        let all = [&a, &b, &c].map(|vm| (Fact::Alive(vm.clone()), 1));
        state.apply(&all);
        state.apply(&[(pair(a.clone(), b.clone(), Some(some())), 1), (Fact::Ignored(c.clone()), 1)]);
        let said = |state: &State| state.dependency(&a, &b).map(|held| (held.decided, held.windows));
        assert_eq!(said(&state), Some((None, 1)));
        state.apply(&[
            (pair(a.clone(), b.clone(), Some(some())), -1),
            (confirmed(a.clone(), b.clone(), Some(some())), 1),
        ]);
        assert_eq!(said(&state), Some((Some("confirmed".into()), 2)), "the same pair");
        assert_eq!(state.assignment(&c).decided.as_deref(), Some("ignored"));
        let facts: Vec<(Fact, isize)> = state.facts().into_iter().map(|fact| (fact, 1)).collect();
        let mut again = State::default();
        again.amend(&facts);
        assert_eq!(again.facts(), state.facts());
        let resumed = State::resume(
            state.windows,
            state.members().map(|(vm, _)| (vm.clone(), state.membered(vm).unwrap())),
            state.pairs.clone().into_iter(),
        );
        assert_eq!(resumed, state);
    }

    #[test]
    fn a_hub_is_in_all_its_ensembles() {
        let vm = ["a", "b", "hub"].map(VmId::new);
        let [e, f] = ["e1", "e2"].map(Ensemble::new);
        let member = |vm: &VmId, of: &Ensemble| (Fact::Member(vm.clone(), of.clone()), 1);
        let sure = |ppm| Some(Evidence { confidence_ppm: ppm, ..some() });
        let mut state = State::default();
        state.apply(&[member(&vm[0], &e), member(&vm[2], &e), member(&vm[1], &f), member(&vm[2], &f)]);
        state.apply(&[
            (Fact::Pair(vm[0].clone(), vm[2].clone(), sure(900_000)), 1),
            (Fact::Pair(vm[1].clone(), vm[2].clone(), sure(800_000)), 1),
            (Fact::Pair(vm[0].clone(), vm[1].clone(), sure(100_000)), 1),
        ]);
        assert_eq!(state.assignment(&vm[2]).ensemble, Membership::Many(vec!["e1".into(), "e2".into()]));
        assert_eq!(state.ensembles()[&f], [&vm[1], &vm[2]]);
        assert_eq!(state.confidence(), BTreeMap::from([(&e, 0.9), (&f, 0.8)]), "a and b share no ensemble");
        state.apply(&[(Fact::Member(vm[2].clone(), e.clone()), -1)]);
        assert_eq!(state.assignment(&vm[2]).ensemble, Membership::One("e2".into()));
        assert_eq!(state.steady_windows(&f, &[&vm[1], &vm[2]]), 3, "leaving e1 is not joining e2");
    }
}
