//! The verdicts that count in a flow that never ends, and what they change in what it holds. Pure.
//!
//! A verdict counts from the window on with which it is heard, until it is too old, another one of the same direction takes its
//! place, or one of its VMs is gone: a VM that comes again may be another one.

use std::collections::{BTreeMap, BTreeSet};

use super::merge::{changes, replaces};
use super::record::Verdict;
use crate::dependencies::{Fact, State};
use crate::types::VmId;

/// The most verdicts that count at a time, at 300 bytes each: 3 MB, gone through in each window. A plan that never rests asks about
/// 50 pairs in 3 minutes, so these are of the last ten hours then; those that end first go first.
const MOST: usize = 10_000;

/// A verdict, and the last window in which it counts.
pub type Until = (Verdict, u64);

/// The verdicts that count, beside what is held without them.
#[derive(Default, Debug)]
pub struct Standing {
    /// By direction: the capped VM and the watched one.
    verdicts: BTreeMap<(VmId, VmId), Until>,
    /// What is held by use alone.
    held: State,
    /// What verdicts add to it (1) and take away (-1).
    amended: BTreeSet<(Fact, isize)>,
}

impl Standing {
    /// What was published, what of it verdicts had added and taken away, and these verdicts.
    pub fn resume(
        published: State,
        amended: impl Iterator<Item = (Fact, isize)>,
        verdicts: impl Iterator<Item = Until>,
    ) -> Self {
        let (mut held, amended) = (published, amended.collect::<BTreeSet<_>>());
        held.amend(&amended.iter().map(|(fact, diff)| (fact.clone(), -diff)).collect::<Vec<_>>());
        let direction = |until: Until| ((until.0.cause.clone(), until.0.vm.clone()), until);
        Standing { verdicts: verdicts.map(direction).collect(), held, amended }
    }

    /// Hears a verdict, which counts until that window.
    pub fn hear(&mut self, verdict: Verdict, until: u64) {
        let direction = (verdict.cause.clone(), verdict.vm.clone());
        if self.verdicts.get(&direction).is_none_or(|(earlier, _)| replaces(&verdict, earlier)) {
            self.verdicts.insert(direction, (verdict, until));
        }
        if self.verdicts.len() > MOST {
            let first = self.verdicts.iter().min_by_key(|(_, (_, until))| *until);
            let first = first.map(|(direction, _)| direction.clone());
            first.iter().for_each(|direction| drop(self.verdicts.remove(direction)));
        }
    }

    /// What verdicts change in this window, beside the changes that use alone brings.
    pub fn window(&mut self, number: u64, by_use: &[(Fact, isize)]) -> Vec<(Fact, isize)> {
        self.held.amend(by_use);
        let gone = by_use.iter().filter_map(|(fact, diff)| match fact {
            Fact::Alive(vm) if *diff < 0 => Some(vm),
            _ => None,
        });
        let gone: BTreeSet<&VmId> = gone.collect();
        self.verdicts.retain(|(cause, vm), (_, until)| {
            *until >= number && !gone.contains(cause) && !gone.contains(vm)
        });
        if self.verdicts.is_empty() && self.amended.is_empty() {
            return vec![];
        }
        let now = changes(&self.held, self.verdicts.values().map(|(verdict, _)| verdict));
        let now: BTreeSet<(Fact, isize)> = now.into_iter().collect();
        let ends = self.amended.difference(&now).map(|(fact, diff)| (fact.clone(), -diff));
        let out = ends.chain(now.difference(&self.amended).cloned()).collect();
        self.amended = now;
        out
    }

    /// The verdicts that count.
    pub fn verdicts(&self) -> impl Iterator<Item = &Until> {
        self.verdicts.values()
    }

    /// What they add to what is held by use alone (1) and take away (-1).
    pub fn amended(&self) -> impl Iterator<Item = &(Fact, isize)> {
        self.amended.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependencies::{Ensemble, some_evidence};
    use crate::perturb::verdict::{Finding, Judgement, Open};

    fn verdict(cause: &str, vm: &str, finding: Finding) -> Verdict {
        let judgement = Judgement { verdict: finding, open: None, ..Judgement::open(Open::Noise) };
        Verdict::new(VmId::new(cause), VmId::new(vm), 0.01, judgement, 1)
    }

    fn vm(name: &str, diff: isize) -> (Fact, isize) {
        (Fact::Alive(VmId::new(name)), diff)
    }

    fn pair(a: &str, b: &str, evidence_s: u32, diff: isize) -> (Fact, isize) {
        let evidence = crate::dependencies::Evidence { evidence_s, ..some_evidence() };
        (Fact::Pair(VmId::new(a), VmId::new(b), Some(evidence)), diff)
    }

    fn member(name: &str, diff: isize) -> (Fact, isize) {
        (Fact::Member(VmId::new(name), Ensemble::new("e1")), diff)
    }

    /// What is heard before a window, and what use alone says in it.
    type Heard = (Vec<Until>, Vec<(Fact, isize)>);

    /// What is published after each window, `ab` for a pair, with a `!` if it is confirmed; everything is stopped and
    /// taken up again after each.
    fn published(windows: Vec<Heard>) -> Vec<String> {
        let (mut standing, mut state, mut whole) =
            (Standing::default(), State::default(), Standing::default());
        let mut all = vec![];
        for (number, (heard, by_use)) in windows.into_iter().enumerate() {
            for (verdict, until) in heard {
                whole.hear(verdict.clone(), until);
                standing.hear(verdict, until);
            }
            let more = standing.window(number as u64, &by_use);
            assert_eq!(more, whole.window(number as u64, &by_use), "window {number}");
            let mut sum = BTreeMap::<Fact, isize>::new();
            by_use.into_iter().chain(more).for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
            sum.retain(|_, diff| *diff != 0);
            assert!(sum.values().all(|diff| diff.abs() == 1), "{sum:?}");
            state.apply(&sum.into_iter().collect::<Vec<_>>());
            let shown = state
                .dependencies()
                .map(|held| format!("{}{}{}", held.a, held.b, if held.asked.is_some() { "!" } else { "" }));
            all.push(shown.collect::<Vec<_>>().join(" "));
            let (amended, verdicts) = (standing.amended().cloned(), standing.verdicts().cloned());
            standing = Standing::resume(state.clone(), amended.collect::<Vec<_>>().into_iter(), verdicts);
        }
        all
    }

    #[test]
    fn a_verdict_counts_from_a_window_to_another() {
        use Finding::{Confirmed, Refuted, Undecided};
        let all =
            vec![vm("a", 1), vm("b", 1), vm("c", 1), member("a", 1), member("b", 1), pair("a", "b", 300, 1)];
        let refuted = |until| vec![(verdict("a", "b", Refuted), until), (verdict("b", "a", Refuted), until)];
        let found = published(vec![
            (vec![], all),
            // Found only by asking; the evidence that use gives changes meanwhile.
            (vec![(verdict("c", "b", Confirmed), 3)], vec![pair("a", "b", 300, -1), pair("a", "b", 600, 1)]),
            (vec![(verdict("c", "b", Undecided), 9)], vec![pair("b", "c", 300, 1)]),
            (vec![], vec![]),
            (vec![], vec![pair("b", "c", 300, -1)]),
            // Refuted, though use says otherwise; until it is too old, or the VM another one.
            (refuted(9), vec![]),
            (vec![], vec![pair("a", "b", 600, -1), pair("a", "b", 900, 1)]),
            (vec![(verdict("b", "a", Confirmed), 12)], vec![]),
            (refuted(12), vec![]),
            (vec![], vec![vm("b", -1), member("b", -1), member("a", -1), pair("a", "b", 900, -1)]),
            (vec![], vec![vm("b", 1), member("b", 1), member("a", 1), pair("a", "b", 300, 1)]),
        ]);
        assert_eq!(found, ["ab", "ab bc!", "ab bc!", "ab bc!", "ab", "", "", "ab!", "", "", "ab"]);
    }

    #[test]
    fn the_number_of_verdicts_is_bounded() {
        let mut standing = Standing::default();
        for i in 0..MOST + 5 {
            standing.hear(verdict("a", &format!("v{i}"), Finding::Refuted), 1_000_000 - i as u64);
        }
        let last = standing.verdicts().map(|(_, until)| *until).min();
        assert_eq!((standing.verdicts().count(), last), (MOST, Some(1_000_001 - MOST as u64)));
    }
}
