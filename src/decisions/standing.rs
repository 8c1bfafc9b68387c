//! What stands above use alone in a flow that never ends, and what it changes: what was found by asking, and above that what people
//! decided. Each counts from the window on with which it is heard.

use std::collections::{BTreeMap, BTreeSet};

use super::amend;
use super::book::Decisions;
use super::record::Entry;
use crate::dependencies::{Fact, State};
use crate::perturb::merge;
use crate::perturb::record::Verdict;
use crate::perturb::standing::Verdicts;
use crate::types::VmId;

/// The verdicts and decisions that count, beside what is held without them.
#[derive(Default, Debug)]
pub struct Standing {
    verdicts: Verdicts,
    decisions: Decisions,
    /// What is held by use alone.
    held: State,
    /// What the others add to it (1) and take away (-1).
    amended: BTreeSet<(Fact, isize)>,
}

impl Standing {
    /// What was published, what of it others than use had added and taken away, and these others.
    pub fn resume(
        published: State,
        amended: impl IntoIterator<Item = (Fact, isize)>,
        (verdicts, decisions): (Verdicts, Decisions),
    ) -> Self {
        let (mut held, amended) = (published, amended.into_iter().collect::<BTreeSet<_>>());
        held.amend(&amended.iter().map(|(fact, diff)| (fact.clone(), -diff)).collect::<Vec<_>>());
        Standing { verdicts, decisions, held, amended }
    }

    /// Hears a verdict, which counts until that window.
    pub fn hear(&mut self, verdict: Verdict, until: u64) {
        self.verdicts.hear(verdict, until);
    }

    /// Hears a decision, or that one is undone. One that is too many is passed over.
    pub fn decide(&mut self, entry: Entry) {
        self.decisions.hear(entry);
    }

    /// What they change in this window, beside the changes that use alone brings.
    pub fn window(&mut self, number: u64, by_use: &[(Fact, isize)]) -> Vec<(Fact, isize)> {
        self.held.amend(by_use);
        let gone = by_use.iter().filter_map(|(fact, diff)| match fact {
            Fact::Alive(vm) if *diff < 0 => Some(vm),
            _ => None,
        });
        self.verdicts.forget(number, &gone.collect::<BTreeSet<&VmId>>());
        let now = self.changes();
        let ends = self.amended.difference(&now).map(|(fact, diff)| (fact.clone(), -diff));
        let out = ends.chain(now.difference(&self.amended).cloned()).collect();
        self.amended = now;
        out
    }

    /// What they make of what is held by use alone.
    fn changes(&self) -> BTreeSet<(Fact, isize)> {
        let found = merge::changes(&self.held, self.verdicts.iter().map(|(verdict, _)| verdict));
        if self.decisions.is_empty() {
            return found.into_iter().collect();
        }
        let mut after = self.held.clone();
        after.amend(&found);
        let mut sum = BTreeMap::<Fact, isize>::new();
        let decided = amend::changes(&after, &self.decisions);
        found.into_iter().chain(decided).for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
        sum.into_iter().filter(|(_, diff)| *diff != 0).collect()
    }

    /// The verdicts that count.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// The decisions that stand.
    pub fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// What they add to what is held by use alone (1) and take away (-1).
    pub fn amended(&self) -> impl Iterator<Item = &(Fact, isize)> {
        self.amended.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decisions::record::{About, Decision, What};
    use crate::dependencies::{Ensemble, some_evidence};
    use crate::perturb::standing::Until;
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
    type Heard = (Vec<Until>, Vec<Entry>, Vec<(Fact, isize)>);

    /// What is published after each window, `ab` for a pair, with a `!` if it was asked and a `+` if it is decided, and ensembles
    /// that have a name; everything is stopped and taken up again after each.
    fn published(windows: Vec<Heard>) -> Vec<String> {
        let (mut standing, mut state, mut whole) =
            (Standing::default(), State::default(), Standing::default());
        let mut all = vec![];
        for (number, (heard, decided, by_use)) in windows.into_iter().enumerate() {
            for (verdict, until) in heard {
                whole.hear(verdict.clone(), until);
                standing.hear(verdict, until);
            }
            for entry in decided {
                whole.decide(entry.clone());
                standing.decide(entry);
            }
            let more = standing.window(number as u64, &by_use);
            assert_eq!(more, whole.window(number as u64, &by_use), "window {number}");
            let mut sum = BTreeMap::<Fact, isize>::new();
            by_use.into_iter().chain(more).for_each(|(fact, diff)| *sum.entry(fact).or_default() += diff);
            sum.retain(|_, diff| *diff != 0);
            assert!(sum.values().all(|diff| diff.abs() == 1), "{sum:?}");
            state.apply(&sum.into_iter().collect::<Vec<_>>());
            all.push(shown(&state));
            let (verdicts, decisions) =
                (standing.verdicts().iter().cloned(), standing.decisions().iter().cloned());
            let others = (verdicts.collect(), decisions.collect());
            standing =
                Standing::resume(state.clone(), standing.amended().cloned().collect::<Vec<_>>(), others);
        }
        all
    }

    fn shown(state: &State) -> String {
        let pairs = state.dependencies().map(|held| {
            let mark = |is: bool, mark| if is { mark } else { "" };
            let marks = (mark(held.asked.is_some(), "!"), mark(held.decided.is_some(), "+"));
            format!("{}{}{}{}", held.a, held.b, marks.0, marks.1)
        });
        let ensembles = state.ensembles();
        let named = ensembles.keys().map(|ensemble| ensemble.to_string()).filter(|name| name != "e1");
        pairs.chain(named).collect::<Vec<_>>().join(" ")
    }

    fn made(what: What) -> Entry {
        Entry::made(Decision::new(what, "w", None, 0).unwrap())
    }

    #[test]
    fn a_decision_counts_until_it_is_undone() {
        use Finding::Confirmed;
        let [a, b, c] = ["a", "b", "c"].map(VmId::new);
        let all =
            vec![vm("a", 1), vm("b", 1), vm("c", 1), member("a", 1), member("b", 1), pair("a", "b", 300, 1)];
        let rejected = || made(What::Rejected { a: a.clone(), b: b.clone() });
        let added = || made(What::Confirmed { a: c.clone(), b: b.clone() });
        let ignored = || made(What::Ignored { vm: b.clone() });
        let named = || made(What::Named { ensemble: "e1".into(), name: "shop".into() });
        let undone = |entry: Entry| Entry::undone(entry.about);
        let found = published(vec![
            (vec![], vec![], all),
            (vec![], vec![rejected(), added()], vec![]),
            // Above what was found by asking; use changes its mind meanwhile.
            (
                vec![(verdict("a", "b", Confirmed), 9)],
                vec![],
                vec![pair("a", "b", 300, -1), pair("a", "b", 600, 1)],
            ),
            (vec![], vec![undone(rejected())], vec![]),
            (
                vec![],
                vec![made(What::Confirmed { a: a.clone(), b: b.clone() })],
                vec![pair("a", "b", 600, -1)],
            ),
            (vec![], vec![undone(added()), named()], vec![]),
            // Ignored, gone and back.
            (vec![], vec![ignored()], vec![]),
            (vec![], vec![], vec![vm("b", -1), member("b", -1)]),
            (vec![], vec![], vec![vm("b", 1), member("b", 1)]),
            (vec![], vec![undone(ignored())], vec![]),
            (vec![], vec![Entry::undone(About::pair(a.clone(), b.clone())), undone(named())], vec![]),
        ]);
        let expected =
            ["ab", "bc+ b+c", "bc+ b+c", "ab! bc+", "ab!+ bc+", "ab!+ shop", "", "", "", "ab+ shop", ""];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_verdict_counts_from_a_window_to_another() {
        use Finding::{Confirmed, Refuted, Undecided};
        let all =
            vec![vm("a", 1), vm("b", 1), vm("c", 1), member("a", 1), member("b", 1), pair("a", "b", 300, 1)];
        let refuted = |until| vec![(verdict("a", "b", Refuted), until), (verdict("b", "a", Refuted), until)];
        let found = published(vec![
            (vec![], vec![], all),
            // Found only by asking; the evidence that use gives changes meanwhile.
            (
                vec![(verdict("c", "b", Confirmed), 3)],
                vec![],
                vec![pair("a", "b", 300, -1), pair("a", "b", 600, 1)],
            ),
            (vec![(verdict("c", "b", Undecided), 9)], vec![], vec![pair("b", "c", 300, 1)]),
            (vec![], vec![], vec![]),
            (vec![], vec![], vec![pair("b", "c", 300, -1)]),
            // Refuted, though use says otherwise; until it is too old, or the VM another one.
            (refuted(9), vec![], vec![]),
            (vec![], vec![], vec![pair("a", "b", 600, -1), pair("a", "b", 900, 1)]),
            (vec![(verdict("b", "a", Confirmed), 12)], vec![], vec![]),
            (refuted(12), vec![], vec![]),
            (vec![], vec![], vec![vm("b", -1), member("b", -1), member("a", -1), pair("a", "b", 900, -1)]),
            (vec![], vec![], vec![vm("b", 1), member("b", 1), member("a", 1), pair("a", "b", 300, 1)]),
        ]);
        assert_eq!(found, ["ab", "ab bc!", "ab bc!", "ab bc!", "ab", "", "", "ab!", "", "", "ab"]);
    }
}
