//! What decisions change in what is held true.
//!
//! A confirmed pair is held, marked as decided, with whatever use alone knows of it; a rejected one is not. Ensembles follow as
//! little as they must. An ignored VM is in no pair and no ensemble. Of VMs that are not there nothing is held; once they are,
//! the decision counts again.

use std::collections::BTreeSet;

use super::book::Decisions;
use super::record::What;
use crate::dependencies::{Ensemble, Fact, State, follow};
use crate::types::VmId;

/// The differences that make what is held agree with the decisions.
pub fn changes(state: &State, decisions: &Decisions) -> Vec<(Fact, isize)> {
    if decisions.is_empty() {
        return vec![];
    }
    let mut after = state.clone();
    ignore(&mut after, decisions);
    settle(&mut after, decisions);
    leave(&mut after, decisions);
    dissolve(&mut after);
    join(&mut after, decisions);
    name(&mut after, decisions);
    let (before, after) = (state.facts(), after.facts());
    let ends = before.difference(&after).map(|fact| (fact.clone(), -1));
    let mut out: Vec<_> = ends.chain(after.difference(&before).map(|fact| (fact.clone(), 1))).collect();
    out.sort();
    out
}

/// Who is ignored has no pair and no ensemble.
fn ignore(after: &mut State, decisions: &Decisions) {
    let ignored = decisions.iter().filter_map(|decision| match &decision.what {
        What::Ignored { vm } if after.knows(vm) => Some(vm),
        _ => None,
    });
    let ignored: BTreeSet<&VmId> = ignored.collect();
    let pairs = after
        .held()
        .filter(|fact| fact.pair().is_some_and(|(a, b)| ignored.contains(a) || ignored.contains(b)));
    let of = |vm: &&VmId| {
        let vm = (*vm).clone();
        let ensembles = after.of(&vm).into_iter().flatten();
        ensembles.map(|ensemble| (Fact::Member(vm.clone(), ensemble.clone()), -1)).collect::<Vec<_>>()
    };
    let mut out: Vec<_> = pairs.map(|fact| (fact, -1)).chain(ignored.iter().flat_map(of)).collect();
    out.extend(ignored.iter().map(|vm| (Fact::Ignored((*vm).clone()), 1)));
    after.amend(&out);
}

/// Pairs that are confirmed are held, those that are rejected are not.
fn settle(after: &mut State, decisions: &Decisions) {
    let mut out = vec![];
    for decision in decisions.iter() {
        let (What::Confirmed { a, b } | What::Rejected { a, b }) = &decision.what else { continue };
        let held = after.evidence(a, b);
        out.extend(held.map(|evidence| (Fact::Pair(a.clone(), b.clone(), evidence), -1)));
        if matches!(decision.what, What::Confirmed { .. }) && takes_part(after, a) && takes_part(after, b) {
            out.push((Fact::Confirmed(a.clone(), b.clone(), held.flatten()), 1));
        }
    }
    after.amend(&out);
}

fn takes_part(after: &State, vm: &VmId) -> bool {
    after.knows(vm) && !after.ignored().contains(vm)
}

/// Of a pair that is rejected, who depends on nobody else in an ensemble that the two share leaves it.
fn leave(after: &mut State, decisions: &Decisions) {
    let (all, mut out) = (after.ensembles(), vec![]);
    for decision in decisions.iter() {
        let What::Rejected { a, b } = &decision.what else { continue };
        let (Some(of_a), Some(of_b)) = (after.of(a), after.of(b)) else { continue };
        let of_b: BTreeSet<&Ensemble> = of_b.collect();
        for ensemble in of_a.filter(|ensemble| of_b.contains(ensemble)) {
            let members = all.get(ensemble).map_or(&[][..], |members| members);
            out.extend(follow::left((a, b), (ensemble, members), |(a, b)| after.evidence(a, b).is_some()));
        }
    }
    after.amend(&out);
}

/// Whom all others have left is in no ensemble.
fn dissolve(after: &mut State) {
    let ensembles = after.ensembles();
    let lone = ensembles.iter().filter_map(|(ensemble, members)| match members[..] {
        [vm] => Some((Fact::Member(vm.clone(), (*ensemble).clone()), -1)),
        _ => None,
    });
    let lone: Vec<_> = lone.collect();
    after.amend(&lone);
}

/// Pairs that are confirmed share an ensemble. One after the other, so that a chain of them becomes one ensemble.
fn join(after: &mut State, decisions: &Decisions) {
    for decision in decisions.iter() {
        let What::Confirmed { a, b } = &decision.what else { continue };
        if !takes_part(after, a) || !takes_part(after, b) {
            continue;
        }
        let of = |vm: &VmId| after.of(vm).into_iter().flatten().collect::<BTreeSet<&Ensemble>>();
        let (of_a, of_b) = (of(a), of(b));
        if of_a.is_disjoint(&of_b) {
            let out = follow::joined((a, b), (&of_a, &of_b));
            after.amend(&out);
        }
    }
}

/// Ensembles get their names; not one that another ensemble has.
fn name(after: &mut State, decisions: &Decisions) {
    let mut out = vec![];
    {
        let ensembles = after.ensembles();
        let mut taken = BTreeSet::new();
        for decision in decisions.iter() {
            let What::Named { ensemble, name } = &decision.what else { continue };
            let (own, given) = (Ensemble::new(ensemble), Ensemble::new(name));
            let Some(members) = ensembles.get(&own) else { continue };
            if ensembles.contains_key(&given) || !taken.insert(name) {
                continue;
            }
            for vm in members {
                out.push((Fact::Member((*vm).clone(), own.clone()), -1));
                out.push((Fact::Member((*vm).clone(), given.clone()), 1));
            }
        }
    }
    after.amend(&out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decisions::record::Decision;
    use crate::dependencies::{some_evidence, some_state};

    fn vm(name: &str) -> VmId {
        VmId::new(name)
    }

    /// `+ab` confirmed, `-ab` rejected, `!a` ignored, `=1x` ensemble `e1` is named `x`.
    fn decision(word: &str) -> Decision {
        let (how, rest) = word.split_at(1);
        let [a, b] = [0, 1].map(|at| vm(rest.get(at..at + 1).unwrap_or("?")));
        let what = match how {
            "+" => What::Confirmed { a, b },
            "-" => What::Rejected { a, b },
            "!" => What::Ignored { vm: a },
            _ => What::Named { ensemble: format!("e{}", &rest[..1]), name: rest[1..].into() },
        };
        Decision::new(what, "w", None, 0).unwrap()
    }

    fn book(words: &str) -> Decisions {
        words.split_whitespace().map(decision).collect()
    }

    /// Pairs (`!` for one that is decided), and ensembles.
    fn shown(state: &State) -> (String, String) {
        let mark = |decided: Option<String>| if decided.is_some() { "!" } else { "" };
        let pairs = state.dependencies().map(|held| format!("{}{}{}", held.a, held.b, mark(held.decided)));
        let ensembles = state.ensembles();
        let ensembles = ensembles
            .iter()
            .map(|(name, vms)| format!("{name}:{}", vms.iter().map(|vm| vm.as_str()).collect::<String>()));
        (pairs.collect::<Vec<_>>().join(" "), ensembles.collect::<Vec<_>>().join(" "))
    }

    fn check(words: &str, pairs: &str, ensembles: &str) {
        let mut state = some_state();
        state.amend(&changes(&state, &book(words)));
        assert_eq!(shown(&state), (pairs.to_string(), ensembles.to_string()), "{words}");
    }

    #[test]
    fn what_is_decided_is_held() {
        check("", "ab bc de", "e1:abc e2:de");
        // Found, and confirmed; added.
        check("+ab", "ab! bc de", "e1:abc e2:de");
        check("+ac", "ab ac! bc de", "e1:abc e2:de");
        check("+af", "ab af! bc de", "e1:abcf e2:de");
        check("+cd", "ab bc cd! de", "c+d:cd e1:abc e2:de");
        check("+fg +gh", "ab bc de fg! gh!", "e1:abc e2:de f+g:fgh");
        check("+ax +xy", "ab bc de", "e1:abc e2:de");
        // Rejected.
        check("-ab", "bc de", "e1:bc e2:de");
        check("-de", "ab bc", "e1:abc");
        check("-ac", "ab bc de", "e1:abc e2:de");
        check("-ab -bc", "de", "e2:de");
        check("-ab +ac", "ac! bc de", "e1:abc e2:de");
        check("-af -xy", "ab bc de", "e1:abc e2:de");
        // Ignored, whatever else is decided.
        check("!b", "de", "e1:ac e2:de");
        check("!d", "ab bc", "e1:abc");
        check("!b +ab", "de", "e1:ac e2:de");
        check("!x", "ab bc de", "e1:abc e2:de");
        // Named; not by a name that another one has.
        check("=1shop", "ab bc de", "e2:de shop:abc");
        check("=1shop =2shop", "ab bc de", "e2:de shop:abc");
        check("=9shop", "ab bc de", "e1:abc e2:de");
        check("=1shop -ab +af", "af! bc de", "a+f:af e2:de shop:bc");
    }

    #[test]
    fn it_is_said_who_is_ignored_and_what_is_known() {
        let mut state = some_state();
        state.amend(&changes(&state, &book("!b +ac +de")));
        assert_eq!(state.ignored().iter().map(VmId::as_str).collect::<Vec<_>>(), ["b"]);
        assert_eq!(state.assignment(&vm("b")).decided.as_deref(), Some("ignored"));
        let added = state.dependency(&vm("a"), &vm("c")).unwrap();
        assert_eq!((added.decided.as_deref(), added.strength, added.q), (Some("confirmed"), None, None));
        let found = state.dependency(&vm("d"), &vm("e")).unwrap();
        assert_eq!((found.decided.as_deref(), found.strength), (Some("confirmed"), Some(0.5)));
    }

    const VMS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

    /// Some decisions, and a state that holds some pairs, in some ensembles.
    fn cases() -> impl Strategy<Value = (State, Decisions)> {
        let pair = || (0..8usize, 0..8usize);
        let word = prop_oneof![
            pair().prop_map(|(a, b)| format!("+{}{}", VMS[a], VMS[b])),
            pair().prop_map(|(a, b)| format!("-{}{}", VMS[a], VMS[b])),
            (0..8usize).prop_map(|a| format!("!{}", VMS[a])),
            (0..4usize, 0..3usize).prop_map(|(of, name)| format!("={of}n{name}")),
        ];
        let words = proptest::collection::vec(word, 0..12);
        let facts = (
            proptest::collection::vec(pair(), 0..12),
            proptest::collection::vec((0..8usize, 0..4usize), 0..16),
        );
        (words, facts).prop_map(|(words, (pairs, members))| {
            let same = |word: &&String| !(word.starts_with(['+', '-']) && word[1..2] == word[2..3]);
            let decisions = words.iter().filter(same).map(|word| decision(word)).collect();
            let mut state = State::default();
            // The last one is not there.
            let alive = VMS[..7].iter().map(|name| (Fact::Alive(vm(name)), 1));
            let members = members.into_iter().filter(|(at, _)| *at < 7);
            let members =
                members.map(|(at, of)| (Fact::Member(vm(VMS[at]), Ensemble::new(&format!("e{of}"))), 1));
            let pairs = pairs.into_iter().filter(|(a, b)| a < b && *b < 7);
            let pairs = pairs.map(|(a, b)| (Fact::Pair(vm(VMS[a]), vm(VMS[b]), Some(some_evidence())), 1));
            state.apply(&alive.chain(members).chain(pairs).collect::<Vec<_>>());
            dissolve(&mut state);
            (state, decisions)
        })
    }

    proptest! {
        #[test]
        fn whatever_is_decided_holds((state, decisions) in cases()) {
            let all = changes(&state, &decisions);
            let mut after = state.clone();
            after.amend(&all);
            for decision in decisions.iter() {
                match &decision.what {
                    What::Confirmed { a, b } => {
                        let both = takes_part(&after, a) && takes_part(&after, b);
                        prop_assert_eq!(after.dependency(a, b).is_some(), both);
                        let together = after.of(a).into_iter().flatten().any(|one| {
                            after.of(b).into_iter().flatten().any(|other| one == other)
                        });
                        prop_assert!(!both || together);
                    }
                    What::Rejected { a, b } => prop_assert!(after.dependency(a, b).is_none()),
                    What::Ignored { vm } => {
                        prop_assert_eq!(after.of(vm).map_or(0, |of| of.len()), 0);
                        prop_assert!(after.dependencies().all(|held| held.a != *vm && held.b != *vm));
                        prop_assert_eq!(after.ignored().contains(vm), after.knows(vm));
                    }
                    What::Named { .. } => {}
                }
            }
            // Only what is decided is marked, and nobody comes or goes.
            prop_assert!(all.iter().all(|(fact, diff)| diff.abs() == 1 && !matches!(fact, Fact::Alive(_))));
            let by_use: BTreeSet<(VmId, VmId)> = state.dependencies().map(|of| (of.a, of.b)).collect();
            for held in after.dependencies() {
                prop_assert!(held.decided.is_some() || by_use.contains(&(held.a, held.b)));
            }
            prop_assert!(after.ensembles().values().all(|members| members.len() > 1));
            // What holds with the decisions, taken back, is what use alone says.
            let back: Vec<_> = all.iter().map(|(fact, diff)| (fact.clone(), -diff)).collect();
            after.amend(&back);
            prop_assert_eq!(after.facts(), state.facts());
        }
    }
}
